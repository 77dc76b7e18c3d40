//! A command line's flags as settings: `--key=value`, `--key value`, `--switch`.

use serde_json::{Map, Value};

/// The settings that `text` gives, quoted as in a shell. A key that occurs again wins.
///
/// # Errors
/// A quote without its end, a word that belongs to no flag.
pub fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let words = words(text)?;
    let mut all = Map::new();
    let mut rest = words.into_iter().peekable();
    while let Some(word) = rest.next() {
        let Some(flag) = word.strip_prefix("--") else {
            return Err(format!("`{word}` belongs to no flag; flags begin with --"));
        };
        let (key, value) = match flag.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.into()),
            None => {
                let value = rest.next_if(|next| !next.starts_with("--"));
                (flag.to_owned(), value.map_or(true.into(), Value::from))
            }
        };
        all.insert(key, value);
    }
    Ok(all)
}

/// The words of a command line: separated by white space, kept together by quotes or a backslash.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            // Within single quotes a backslash is itself.
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a quote ({open}) has no end"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flags_have_values_after_an_equals_sign_or_a_space_or_are_on() {
        let read = parse(
            "--lora_rank=16  --lora_alpha 8 --use_ema --validation_prompt=\"a red star\" --x 'it is' --e -1",
        );
        let expected = json!({"lora_rank": "16", "lora_alpha": "8", "use_ema": true,
            "validation_prompt": "a red star", "x": "it is", "e": "-1"});
        assert_eq!(Value::Object(read.unwrap()), expected);
        assert_eq!(parse("--a=1 --a=2").unwrap()["a"], "2");
        assert_eq!(parse("--a=[7, 8]").unwrap_err(), "`8]` belongs to no flag; flags begin with --");
        assert_eq!(parse("--a='[7, 8]' --b=a\\ b").unwrap()["b"], "a b");
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        assert!(parse("lora_rank=16").is_err());
        assert!(parse("--a=\"x").unwrap_err().contains("no end"));
    }
}
