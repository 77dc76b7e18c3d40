//! `--set key=value`.

/// A setting and its value, both as written.
pub type Override = (String, String);

/// Splits `key=value`; whether there is such a setting and may have the value is for the settings to say.
pub fn parse(text: &str) -> Result<Override, String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("it has no `=`; write key=value, such as lora_rank=32".to_owned());
    };
    match key.trim() {
        "" => Err("there is no key before the `=`; write key=value, such as lora_rank=32".to_owned()),
        key => Ok((key.to_owned(), value.to_owned())),
    }
}

/// The settings with `--compat` as one of them.
pub fn with_compat(set: &[Override], compat: Option<&str>) -> Vec<Override> {
    let compat = compat.map(|compat| ("compat".to_owned(), compat.to_owned()));
    set.iter().cloned().chain(compat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_ends_the_key() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(parse("lora_rank=32"), pair("lora_rank", "32"));
        assert_eq!(parse("optimizer_config=beta1=0.9"), pair("optimizer_config", "beta1=0.9"));
        assert_eq!(parse(" seed =1"), pair("seed", "1"));
        assert_eq!(parse("validation_prompt="), pair("validation_prompt", ""));
    }

    #[test]
    fn what_is_no_pair_is_refused_with_an_example() {
        for wrong in ["lora_rank", "", "=32", "  =x"] {
            assert!(parse(wrong).unwrap_err().contains("lora_rank=32"), "{wrong}");
        }
    }
}
