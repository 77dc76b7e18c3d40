//! How a caption's words change from one appearance of its picture to the next.
//!
//! A caption is a list of parts (tags) between separators. Parts can be put in another order each time and left out
//! now and then, all but those at the beginning that are kept. The keys and their meaning are those of kohya's
//! sd-scripts (`process_caption`) and of SimpleTuner's `caption_shuffle`.

use crate::random::{Purpose, Stream};

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Wording {
    /// How often a caption is replaced by the empty one.
    pub dropout: f64,
    /// Whether the parts come in another order each time.
    pub shuffle: bool,
    /// How often a part is left out.
    pub tag_dropout: f64,
    /// What stands between parts.
    pub separator: String,
    /// Parts at the beginning that are neither moved nor left out.
    pub keep_first: usize,
    /// What ends the part of a caption that is kept, instead of `keep_first`; where it stands twice, what comes after
    /// the second is kept at the end.
    pub keep_marker: Option<String>,
    /// What stands for the separator inside a part that stays together.
    pub inner_separator: Option<String>,
    /// Whether `{a|b}` is one of a and b; `{{` and `}}` are braces.
    pub wildcards: bool,
    /// A beginning of every caption that is no part of it: an instance prompt that was put before it.
    pub lead: Option<String>,
}

impl Default for Wording {
    fn default() -> Self {
        Self {
            dropout: 0.0,
            shuffle: false,
            tag_dropout: 0.0,
            separator: ",".to_owned(),
            keep_first: 0,
            keep_marker: None,
            inner_separator: None,
            wildcards: false,
            lead: None,
        }
    }
}

/// Where a caption appears: what its draws depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appearance {
    /// The run's seed.
    pub seed: u64,
    /// Optimizer step, from 0.
    pub step: usize,
    /// Number of the sample in the step.
    pub ordinal: usize,
    /// Which of the picture's captions it is.
    pub variant: usize,
}

impl Appearance {
    fn draws(&self, purpose: Purpose) -> Stream {
        Stream::new(self.seed, purpose, self.variant as u32, self.step as u32, self.ordinal as u32)
    }
}

/// A caption in parts.
struct Parts<'a> {
    /// Kept at the beginning.
    first: Vec<&'a str>,
    /// Moved and left out.
    free: Vec<&'a str>,
    /// Kept at the end.
    last: Vec<&'a str>,
}

impl Wording {
    /// Whether a caption may read differently each time.
    pub fn varies(&self) -> bool {
        self.shuffle || self.tag_dropout > 0.0 || self.wildcards
    }

    /// `caption` as it reads at an appearance.
    pub fn text(&self, caption: &str, at: &Appearance) -> String {
        let (lead, rest) = self.without_lead(caption);
        let chosen = self.wildcards.then(|| {
            let draws = at.draws(Purpose::CaptionWildcard);
            with_choices(rest, |choice, alternatives| draws.below(choice, alternatives))
        });
        let rest = chosen.as_deref().unwrap_or(rest);
        if !self.takes_apart(rest) {
            return self.finished(lead, rest.to_owned());
        }
        let mut parts = self.parts(rest);
        let dropping = at.draws(Purpose::TagDropout);
        let is_kept = |tag: &usize| f64::from(dropping.uniform(*tag)) >= self.tag_dropout;
        let mut order: Vec<usize> = (0..parts.free.len()).collect();
        if self.shuffle {
            at.draws(Purpose::CaptionShuffle).shuffle(&mut order);
        }
        parts.free = order.into_iter().filter(is_kept).map(|tag| parts.free[tag]).collect();
        self.finished(lead, self.joined(&parts))
    }

    /// `caption` without chance: every part in its place, the first of each choice.
    pub fn plain(&self, caption: &str) -> String {
        let (lead, rest) = self.without_lead(caption);
        let chosen = self.wildcards.then(|| with_choices(rest, |_, _| 0));
        let rest = chosen.as_deref().unwrap_or(rest);
        let text = if self.takes_apart(rest) { self.joined(&self.parts(rest)) } else { rest.to_owned() };
        self.finished(lead, text)
    }

    /// Whether `caption` is split into parts and put together again; otherwise its spaces stay as they are.
    fn takes_apart(&self, caption: &str) -> bool {
        let is_marked = self.keep_marker.as_ref().is_some_and(|marker| caption.contains(marker));
        self.shuffle || self.tag_dropout > 0.0 || is_marked
    }

    fn without_lead<'a>(&'a self, caption: &'a str) -> (Option<&'a str>, &'a str) {
        let lead = self.lead.as_deref().map(str::trim).filter(|lead| !lead.is_empty());
        match lead.and_then(|lead| Some((lead, caption.strip_prefix(lead)?))) {
            Some((lead, rest)) => (Some(lead), rest),
            None => (None, caption),
        }
    }

    fn parts<'a>(&self, caption: &'a str) -> Parts<'a> {
        let tags = |text: &'a str| -> Vec<&'a str> {
            text.split(&self.separator).map(str::trim).filter(|tag| !tag.is_empty()).collect()
        };
        let marked = self.keep_marker.as_ref().and_then(|m| Some((m, caption.split_once(m.as_str())?)));
        if let Some((marker, (first, rest))) = marked {
            let (free, last) = rest.split_once(marker.as_str()).unwrap_or((rest, ""));
            return Parts { first: tags(first), free: tags(free), last: tags(last) };
        }
        let mut first = tags(caption);
        let free = first.split_off(self.keep_first.min(first.len()));
        Parts { first, free, last: Vec::new() }
    }

    fn joined(&self, parts: &Parts<'_>) -> String {
        let between = match self.separator.trim_end() {
            "" => self.separator.clone(),
            separator => format!("{separator} "),
        };
        let all = parts.first.iter().chain(&parts.free).chain(&parts.last);
        all.copied().collect::<Vec<_>>().join(&between)
    }

    /// `text` behind the lead, parts that stayed together taken apart.
    fn finished(&self, lead: Option<&str>, text: String) -> String {
        let text = match &self.inner_separator {
            Some(inner) => text.replace(inner, &self.separator),
            None => text,
        };
        match lead {
            Some(lead) if text.trim().is_empty() => lead.to_owned(),
            Some(lead) if text.starts_with(char::is_whitespace) => format!("{lead}{text}"),
            Some(lead) => format!("{lead} {text}"),
            None => text,
        }
    }
}

/// `text` with every `{a|b}` replaced by one of its alternatives, which `choose` picks by the choice's number and the
/// number of alternatives; `{{` and `}}` become single braces.
fn with_choices(text: &str, choose: impl Fn(usize, usize) -> usize) -> String {
    let (mut out, mut rest, mut choice) = (String::with_capacity(text.len()), text, 0);
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        out.push_str(before);
        let doubled = ["{{", "}}"].into_iter().find(|doubled| brace.starts_with(doubled));
        if let Some(doubled) = doubled {
            out.push_str(&doubled[1..]);
            rest = &brace[2..];
            continue;
        }
        let inside = brace.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        match inside.filter(|(inside, _)| !inside.is_empty()) {
            Some((inside, after)) => {
                let alternatives = inside.split('|').count();
                out.push_str(inside.split('|').nth(choose(choice, alternatives)).unwrap_or_default());
                choice += 1;
                rest = after;
            }
            None => {
                out.push_str(&brace[..1]);
                rest = &brace[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
