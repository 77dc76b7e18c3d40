//! Finding the calls of a kernel's source that synchronise, and taking them out.

use std::ops::Range;

/// The words of `kernels/device` that synchronise: a namespace, and its words; every one where none is named.
const WORDS: [(&str, &[&str]); 8] = [
    ("block", &["sync"]),
    ("warp", &["sync"]),
    ("named_barrier", &[]),
    ("cp_async", &["commit", "wait", "wait_all"]),
    ("mbarrier", &[]),
    ("fence", &[]),
    ("tma", &["commit", "wait", "wait_read"]),
    ("wgmma", &["fence", "commit", "wait"]),
];

/// The methods of `Ring` that synchronise.
const METHODS: [&str; 4] = ["wait_free", "wait_full", "release", "expect"];

/// One call that synchronises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The word with its template arguments, such as `cp_async::wait<1>`.
    pub word: String,
    /// Counted from one.
    pub line: usize,
    /// The line before, that of the call and the line after, trimmed; empty lines do not count. They tell which call
    /// it is when lines have moved.
    pub context: Vec<String>,
    /// Where it stands in the source, arguments included.
    bytes: Range<usize>,
}

impl Call {
    /// `source` without the call.
    pub fn deleted_from(&self, source: &str) -> String {
        // What comes behind keeps its line.
        let lines = "\n".repeat(source[self.bytes.clone()].matches('\n').count());
        format!("{}(void)0{lines}{}", &source[..self.bytes.start], &source[self.bytes.end..])
    }
}

/// The calls that synchronise, in order.
pub fn calls(source: &str) -> Vec<Call> {
    let code = without_comments(source);
    let mut separators: Vec<(usize, &str)> =
        code.match_indices("::").chain(code.match_indices(".")).collect();
    separators.sort_unstable();
    let names = separators.into_iter().filter_map(|(at, separator)| {
        let (before, after) = (&code[..at], at + separator.len());
        let start = before.rfind(|c| !is_name(c)).map_or(0, |other| other + 1);
        let end = after + code[after..].find(|c| !is_name(c))?;
        let (owner, word) = (&before[start..], &code[after..end]);
        let known = if separator == "." { METHODS.contains(&word) } else { synchronises(owner, word) };
        known.then_some((start, end))
    });
    names.filter_map(|(start, end)| call(source, &code, start, end)).collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn synchronises(namespace: &str, word: &str) -> bool {
    WORDS.iter().any(|(known, words)| *known == namespace && (words.is_empty() || words.contains(&word)))
}

/// The call whose name stands from `start` to `end`; none if it is not called there.
fn call(source: &str, code: &str, start: usize, end: usize) -> Option<Call> {
    let end = if code[end..].starts_with('<') { end + closing(&code[end..], '<', '>')? } else { end };
    let arguments = code[end..].starts_with('(').then(|| closing(&code[end..], '(', ')'))??;
    let line = source[..start].matches('\n').count();
    let filled = |(_, text): &(usize, &str)| !text.trim().is_empty();
    let mut lines: Vec<(usize, &str)> = source.lines().enumerate().filter(filled).collect();
    lines.iter_mut().for_each(|(_, text)| *text = text.trim());
    let at = lines.iter().position(|(number, _)| *number == line)?;
    let context =
        lines[at.saturating_sub(1)..lines.len().min(at + 2)].iter().map(|(_, text)| (*text).to_owned());
    Some(Call {
        word: code[start..end].to_owned(),
        line: line + 1,
        context: context.collect(),
        bytes: start..end + arguments,
    })
}

/// Bytes up to and with the `close` that belongs to the `open` at the start.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            return Some(at + c.len_utf8());
        }
    }
    None
}

/// `source` with blanks for comments, byte for byte as long.
fn without_comments(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        let end = if rest[start..].starts_with("//") {
            rest[start..].find('\n')
        } else {
            rest[start..].find("*/").map(|end| end + 2)
        };
        let (comment, after) = rest[start..].split_at(end.unwrap_or(rest.len() - start));
        code.push_str(&rest[..start]);
        code.extend(comment.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        rest = after;
    }
    code + rest
}
