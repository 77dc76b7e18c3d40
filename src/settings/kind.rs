//! What a setting's value may be, and how what the user wrote becomes its one canonical JSON form.

use super::choices::{LoraPreset, Size, Words};
use super::compat::Compat;
use super::nearest::nearest;
use serde_json::{Map, Value};

/// The type of a setting, with its range or its choices.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true` or `false`, also as a string.
    Switch,
    /// A whole number between two limits, both included.
    Whole(i64, i64),
    /// A number between two limits, both included.
    Real(f64, f64),
    /// Any text.
    Text,
    /// What stands between the parts of a text: characters, be they blank, or a word for them.
    Separator,
    /// One of some words.
    Choice(Words),
    /// A file or folder that is read; looked for in the current directory, then beside the settings file.
    Source,
    /// A model: a path as of [`Source`](Self::Source), or the id of one in the Hugging Face cache.
    Model,
    /// A file or folder that is written; relative to the current directory.
    Target,
    /// An edge in pixels, a multiple of 16 in a sane range; small numbers are megapixels and become the edge of a
    /// square of that area.
    Resolution,
    /// Aspect ratios, width over height: numbers, `W:H` or `WxH`, with commas or as a list.
    Ratios,
    /// Whole numbers between two limits, several with commas or as a list.
    Wholes(i64, i64),
    /// Numbers between two limits, several with commas or as a list.
    Reals(f64, f64),
    /// Picture sizes: `WxH`, a number for a square, several with commas or as a list.
    Sizes,
    /// A preset of adapter targets, or module names.
    Targets,
    /// Whose behaviour is reproduced, and of which version.
    Compat,
    /// `name=value` pairs separated by commas, or a JSON object.
    Pairs,
    /// The same with numbers between two limits.
    Numbers(f64, f64),
    /// Numbers of transformer blocks: single ones and ranges.
    Blocks,
    /// A JSON object, or a file that holds one.
    Document,
    /// A text, or a list of texts.
    Texts,
    /// A JSON object with a table of keys of its own.
    Block,
}

/// The smallest edge of a picture that is worth encoding: 8 x 8 latents.
pub const SMALLEST_EDGE: i64 = 64;
/// Beyond the position table of every model of the family; the model itself sets the real limit.
pub const LARGEST_EDGE: i64 = 8192;
/// A latent pixel is 8 pixels wide, a patch is 2 latents wide.
pub const EDGE_STEP: i64 = 16;

/// A resolution up to this is in megapixels.
const MOST_MEGAPIXELS: f64 = 16.0;
/// The aspect ratios that are worth a bucket.
const RATIOS: std::ops::RangeInclusive<f64> = 0.1..=10.0;

impl Kind {
    /// The canonical form of `value`, `Null` when it means "not set"; or the reason why it has none.
    pub fn read(&self, value: &Value) -> Result<Value, String> {
        let canonical = match self {
            Self::Separator => separator(value),
            _ if is_unset(value) => Some(Value::Null),
            Self::Switch => switch(value),
            _ if is_off(value) => Some(Value::Null),
            Self::Whole(low, high) => whole(value).filter(|n| (low..=high).contains(&n)).map(Value::from),
            Self::Real(low, high) => real(value).filter(|x| (low..=high).contains(&x)).map(Value::from),
            Self::Text => text(value),
            Self::Choice(words) => value.as_str().and_then(|word| choice(words, word)),
            Self::Source | Self::Model | Self::Target => path(value),
            Self::Resolution => {
                return resolution(value).unwrap_or_else(|| Err(self.refusal(value))).map(Value::from);
            }
            Self::Ratios => return ratios(value),
            Self::Wholes(..) | Self::Reals(..) => return self.several(value),
            Self::Sizes => return sizes(value),
            Self::Targets => return targets(value),
            Self::Compat => return compat(value),
            Self::Pairs => return pairs(value),
            Self::Numbers(low, high) => return numbers(value, *low, *high),
            Self::Blocks => return blocks(value),
            Self::Document => return document(value),
            Self::Texts => texts(value),
            Self::Block => value.is_object().then(|| value.clone()),
        };
        canonical.ok_or_else(|| self.refusal(value))
    }

    /// What a value may be, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Switch => "true or false".into(),
            Self::Whole(low, i64::MAX) => format!("whole number from {low}"),
            Self::Whole(low, high) => format!("whole number, {low} to {high}"),
            Self::Real(low, high) => format!("number, {} to {}", brief(*low), brief(*high)),
            Self::Text => "text".into(),
            Self::Separator => "characters, or `comma`, `period`, `space`".into(),
            Self::Choice(words) => {
                names(words).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Source | Self::Target => "path".into(),
            Self::Model => "path, or a Hugging Face id".into(),
            Self::Resolution => format!(
                "pixels, a multiple of {EDGE_STEP} from {SMALLEST_EDGE} to {LARGEST_EDGE}; or megapixels up to \
                 {MOST_MEGAPIXELS}"
            ),
            Self::Ratios => "numbers or `W:H`, with commas or as a list".into(),
            Self::Wholes(low, high) => format!("whole numbers, {low} to {high}"),
            Self::Reals(low, high) => format!("numbers, {} to {}", brief(*low), brief(*high)),
            Self::Sizes => "`WxH`, or several".into(),
            Self::Targets => "preset, or a list of module names".into(),
            Self::Compat => "`none`, `simpletuner` or `simpletuner=VERSION`".into(),
            Self::Pairs => "`name=value,name=value`".into(),
            Self::Numbers(low, high) => {
                format!("`name=number,name=number`, {} to {}", brief(*low), brief(*high))
            }
            Self::Blocks => "`12-24`, or several with commas".into(),
            Self::Document => "JSON object, or the path of a file with one".into(),
            Self::Texts => "text, or a list of texts".into(),
            Self::Block => "JSON object".into(),
        }
    }

    /// A list of numbers, each by the rule of the single one.
    fn several(&self, value: &Value) -> Result<Value, String> {
        let one = match *self {
            Self::Wholes(low, high) => Self::Whole(low, high),
            Self::Reals(low, high) => Self::Real(low, high),
            _ => return Err(self.refusal(value)),
        };
        if value.as_array().is_some_and(Vec::is_empty) {
            return Ok(Value::Null);
        }
        let numbers = items(value)?.into_iter().map(|item| one.read(&item.into()));
        Ok(numbers.collect::<Result<Vec<_>, _>>()?.into())
    }

    fn refusal(&self, value: &Value) -> String {
        let one_of = if matches!(self, Self::Choice(_)) { "one of " } else { "" };
        format!("expected {one_of}{}, found {}", self.describe(), shown(value))
    }
}

/// A value as it stands in a message: JSON on one line, cut when long.
pub fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let json = value.to_string();
    match json.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &json[..end]),
        None => json,
    }
}

/// A limit as people write it: very large and very small ones with an exponent.
fn brief(limit: f64) -> String {
    let readable = limit == 0.0 || (1e-3..1e4).contains(&limit.abs());
    if readable { limit.to_string() } else { format!("{limit:e}") }
}

fn names(words: Words) -> impl Iterator<Item = &'static str> {
    words.iter().filter_map(|spellings| spellings.first().copied())
}

fn is_unset(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|s| s.trim().is_empty())
}

/// `false` for what is no switch: other trainers write it for what is not there.
fn is_off(value: &Value) -> bool {
    switch(value) == Some(false.into())
}

fn switch(value: &Value) -> Option<Value> {
    let on = match value {
        Value::Bool(on) => *on,
        Value::String(word) if word.trim().eq_ignore_ascii_case("true") => true,
        Value::String(word) if word.trim().eq_ignore_ascii_case("false") => false,
        _ => return None,
    };
    Some(on.into())
}

fn real(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(n) => n.as_f64()?,
        Value::String(s) => s.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A whole number, also when written as `1e3` or `20.0`.
fn whole(value: &Value) -> Option<i64> {
    let exact = match value {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    };
    /// Beyond this a double no longer tells neighbours apart.
    const EXACT_IN_F64: f64 = 9_007_199_254_740_992.0;
    let rounded = || real(value).filter(|x| x.fract() == 0.0 && x.abs() < EXACT_IN_F64).map(|x| x as i64);
    exact.or_else(rounded)
}

fn text(value: &Value) -> Option<Value> {
    match value {
        Value::String(s) => Some(s.as_str().into()),
        Value::Number(n) => Some(n.to_string().into()),
        _ => None,
    }
}

/// A text stays one, since it may mean something else than a list of it.
fn texts(value: &Value) -> Option<Value> {
    match value {
        Value::Array(items) => items.iter().map(text).collect::<Option<Vec<_>>>().map(Value::from),
        other => text(other),
    }
}

/// A blank is a separator like any other; only no characters at all count as not set.
fn separator(value: &Value) -> Option<Value> {
    let characters = match value {
        Value::Null => return Some(Value::Null),
        Value::String(word) => match word.trim() {
            "comma" => ",",
            "period" => ".",
            "space" => " ",
            _ => word,
        },
        _ => return None,
    };
    Some(if characters.is_empty() { Value::Null } else { characters.into() })
}

fn path(value: &Value) -> Option<Value> {
    value.as_str().map(Value::from)
}

fn choice(words: Words, word: &str) -> Option<Value> {
    let spelt = |spelling: &&str| spelling.eq_ignore_ascii_case(word.trim());
    words.iter().find(|spellings| spellings.iter().any(spelt)).map(|spellings| spellings[0].into())
}

fn edge(pixels: i64) -> Result<i64, String> {
    if !(SMALLEST_EDGE..=LARGEST_EDGE).contains(&pixels) {
        return Err(format!("{pixels} pixels is outside {SMALLEST_EDGE} to {LARGEST_EDGE}"));
    }
    if pixels % EDGE_STEP != 0 {
        let below = pixels / EDGE_STEP * EDGE_STEP;
        return Err(format!("{pixels} pixels is not a multiple of {EDGE_STEP}; {below} is"));
    }
    Ok(pixels)
}

/// The edge that a resolution in pixels or megapixels means; none if it is no number.
///
/// An edge that comes from megapixels is rounded as SimpleTuner does it: down to whole pixels, then to the nearest
/// 64, or 16 where that is too coarse for a bucket.
fn resolution(value: &Value) -> Option<Result<i64, String>> {
    let number = real(value)?;
    if !(0.0 < number && number <= MOST_MEGAPIXELS) {
        return whole(value).map(edge);
    }
    let pixels = (number * 1e6).sqrt().floor();
    let step = if pixels < 512.0 { EDGE_STEP as f64 } else { 64.0 };
    Some(edge((pixels / step).round_ties_even() as i64 * step as i64))
}

fn ratios(value: &Value) -> Result<Value, String> {
    let ratio = |text: &String| {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let parsed = match text.split_once([':', 'x', 'X', '×']) {
            Some((width, height)) => number(width).zip(number(height)).map(|(width, height)| width / height),
            None => number(text),
        };
        let (low, high) = (RATIOS.start(), RATIOS.end());
        parsed
            .filter(|ratio| RATIOS.contains(ratio))
            .map(Value::from)
            .ok_or_else(|| format!("`{text}` is not an aspect ratio from {low} to {high}, like 1.5 or 3:2"))
    };
    Ok(items(value)?.iter().map(ratio).collect::<Result<Vec<_>, _>>()?.into())
}

fn sizes(value: &Value) -> Result<Value, String> {
    let sizes = items(value)?.iter().map(|item| size(item)).collect::<Result<Vec<_>, _>>()?;
    Ok(sizes.into())
}

fn size(text: &str) -> Result<Value, String> {
    let size: Size = text.parse()?;
    edge(size.width.into())?;
    edge(size.height.into())?;
    Ok(size.to_string().into())
}

fn targets(value: &Value) -> Result<Value, String> {
    let items = items(value)?;
    if let [only] = items.as_slice()
        && let Some(preset) = choice(LoraPreset::WORDS, only)
    {
        return Ok(preset);
    }
    let presets = || names(LoraPreset::WORDS);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
    for item in &items {
        if choice(LoraPreset::WORDS, item).is_some() {
            return Err(format!("the preset `{item}` stands alone, without other names"));
        }
        if !item.chars().all(plain) {
            let preset = nearest(item, presets()).unwrap_or_default();
            return Err(format!(
                "`{item}` is neither a preset nor a module name; the nearest preset is `{preset}`"
            ));
        }
    }
    Ok(items.into())
}

/// The parts of a list, of a list written as text (`[a, b]`), or of words separated by commas.
fn items(value: &Value) -> Result<Vec<String>, String> {
    let one = |item: &Value| match item {
        Value::String(s) => Ok(s.trim().to_owned()),
        Value::Number(n) => Ok(n.to_string()),
        other => Err(format!("{} is neither a word nor a number", shown(other))),
    };
    let items = match value {
        Value::Array(list) => list.iter().map(one).collect::<Result<Vec<_>, _>>()?,
        Value::String(text) => {
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
            inner.split(',').map(|part| part.trim().trim_matches(['"', '\'']).to_owned()).collect()
        }
        other => vec![one(other)?],
    };
    if items.is_empty() || items.iter().any(String::is_empty) {
        return Err(format!("{} is a list with nothing in it", shown(value)));
    }
    Ok(items)
}

fn compat(value: &Value) -> Result<Value, String> {
    let text =
        value.as_str().ok_or_else(|| format!("{} is neither `none` nor `simpletuner`", shown(value)))?;
    Ok(text.parse::<Compat>()?.to_string().into())
}

fn pairs(value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::Object(map) => return Ok(map.clone().into()),
        Value::Bool(false) => return Ok(Value::Null),
        Value::String(text) => text,
        other => return Err(format!("{} is not of the form name=value,name=value", shown(other))),
    };
    let mut map = Map::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("`{pair}` is not of the form name=value"))?;
        map.insert(name.trim().to_owned(), value.trim().into());
    }
    Ok(map.into())
}

fn numbers(value: &Value, low: f64, high: f64) -> Result<Value, String> {
    let value = match value.as_str().map(str::trim) {
        Some(text) if text.starts_with('{') => &serde_json::from_str(text).map_err(|e| e.to_string())?,
        _ => value,
    };
    let Value::Object(pairs) = pairs(value)? else { return Ok(Value::Null) };
    let number = |(name, value): (String, Value)| match real(&value).filter(|x| (low..=high).contains(x)) {
        Some(number) => Ok((name, number.into())),
        None => Err(format!(
            "`{name}`: expected a number, {} to {}, found {}",
            brief(low),
            brief(high),
            shown(&value)
        )),
    };
    let numbers = pairs.into_iter().map(number).collect::<Result<Map<_, _>, _>>()?;
    Ok(if numbers.is_empty() { Value::Null } else { numbers.into() })
}

/// Deeper than any transformer: a larger number is a mistake.
const MOST_BLOCKS: i64 = 1000;

fn blocks(value: &Value) -> Result<Value, String> {
    if value.as_str().is_some_and(|word| word.trim().eq_ignore_ascii_case("all")) {
        return Ok(Value::Null);
    }
    let block = |text: &str| {
        let number = text.trim().parse::<i64>().ok().filter(|number| (0..MOST_BLOCKS).contains(number));
        number.ok_or_else(|| format!("`{text}` is not the number of a block"))
    };
    let mut all = Vec::new();
    for item in items(value)? {
        let (first, last) = item.split_once('-').unwrap_or((&item, &item));
        let (first, last) = (block(first)?, block(last)?);
        if last < first {
            return Err(format!("the range `{item}` runs backwards"));
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all.into())
}

fn document(value: &Value) -> Result<Value, String> {
    match value {
        Value::Object(_) => Ok(value.clone()),
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str(text).map_err(|e| format!("not valid JSON: {e}"))
        }
        other => path(other).ok_or_else(|| format!("{} is neither a JSON object nor a path", shown(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_may_be_strings_and_whole_numbers_may_have_an_exponent() {
        assert_eq!(Kind::Whole(0, 2000).read(&json!("1e3")), Ok(json!(1000)));
        assert_eq!(Kind::Whole(0, 2000).read(&json!(20.0)), Ok(json!(20)));
        assert_eq!(Kind::Whole(0, i64::MAX).read(&json!(i64::MAX)), Ok(json!(i64::MAX)));
        assert_eq!(Kind::Real(0.0, 1.0).read(&json!("1e-4")), Ok(json!(1e-4)));
        assert_eq!(Kind::Real(0.0, 1.0).read(&json!(1)), Ok(json!(1.0)));
    }

    #[test]
    fn a_separator_may_be_blank_or_a_word() {
        let read = |value: &str| Kind::Separator.read(&json!(value)).unwrap();
        for (written, meant) in
            [(",", ","), (" ", " "), ("space", " "), ("comma", ","), ("period", "."), ("; ", "; ")]
        {
            assert_eq!(read(written), json!(meant));
            assert_eq!(read(meant), json!(meant));
        }
        assert_eq!(read(""), Value::Null);
        assert!(Kind::Separator.read(&json!(3)).is_err());
    }

    #[test]
    fn numbers_out_of_range_or_not_finite_are_refused() {
        for wrong in [json!(-1), json!("3"), json!(0.5), json!("x"), json!(true), json!([1]), json!(u64::MAX)]
        {
            assert!(Kind::Whole(0, 2).read(&wrong).is_err(), "{wrong}");
        }
        for wrong in [json!("nan"), json!("inf"), json!("1e999"), json!(1.5), json!({})] {
            assert!(Kind::Real(0.0, 1.0).read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_and_the_empty_string_mean_not_set() {
        for kind in [
            Kind::Switch,
            Kind::Text,
            Kind::Resolution,
            Kind::Ratios,
            Kind::Sizes,
            Kind::Targets,
            Kind::Pairs,
        ] {
            assert_eq!(kind.read(&Value::Null), Ok(Value::Null));
            assert_eq!(kind.read(&json!("")), Ok(Value::Null));
        }
        for kind in [Kind::Source, Kind::Text, Kind::Sizes, Kind::Whole(1, 2), Kind::Real(1.0, 2.0)] {
            assert_eq!(kind.read(&json!(false)), Ok(Value::Null));
            assert_eq!(kind.read(&json!("False")), Ok(Value::Null));
        }
    }

    #[test]
    fn switches_are_booleans_or_the_two_words() {
        assert_eq!(Kind::Switch.read(&json!("True")), Ok(json!(true)));
        assert_eq!(Kind::Switch.read(&json!(false)), Ok(json!(false)));
        assert!(Kind::Switch.read(&json!("yes")).is_err());
    }

    #[test]
    fn sizes_are_numbers_pairs_or_lists() {
        assert_eq!(Kind::Sizes.read(&json!(128)), Ok(json!(["128x128"])));
        assert_eq!(Kind::Sizes.read(&json!("1024x768, 512")), Ok(json!(["1024x768", "512x512"])));
        assert_eq!(Kind::Sizes.read(&json!(["64x128", 64])), Ok(json!(["64x128", "64x64"])));
        for wrong in
            [json!("100x128"), json!("48"), json!("1024x"), json!("16384"), json!([]), json!("a"), json!(-64)]
        {
            assert!(Kind::Sizes.read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn resolutions_are_edges_or_megapixels() {
        let read = |value: Value| Kind::Resolution.read(&value);
        assert_eq!(read(json!("1024")), Ok(json!(1024)));
        // A square of 1 megapixel has an edge of 1000, of 0.5 one of 707, of 0.1 one of 316.
        for (megapixels, edge) in
            [(json!(1.0), 1024), (json!("0.5"), 704), (json!(0.1), 320), (json!(1), 1024)]
        {
            assert_eq!(read(megapixels), Ok(json!(edge)));
        }
        for wrong in [json!(0), json!(-1), json!(32), json!(1000), json!(0.001), json!("big"), json!(512.5)] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ratios_are_numbers_or_two_sides() {
        let read = |value: Value| Kind::Ratios.read(&value);
        assert_eq!(read(json!([1, "3:2", 0.5, "1216x832"])), Ok(json!([1.0, 1.5, 0.5, 1216.0 / 832.0])));
        assert_eq!(read(json!("1.0, 0.75")), Ok(json!([1.0, 0.75])));
        for wrong in
            [json!([]), json!(["a"]), json!([0]), json!("1:0"), json!(11), json!([true]), json!("-2")]
        {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_numbers_are_a_list_or_separated_by_commas() {
        let blocks = Kind::Wholes(0, 99);
        for written in [json!([7, 8, 9]), json!("[7, 8, 9]"), json!("7,8,9"), json!(["7", 8.0, 9])] {
            assert_eq!(blocks.read(&written), Ok(json!([7, 8, 9])), "{written}");
        }
        assert_eq!(blocks.read(&json!(7)), Ok(json!([7])));
        assert_eq!(blocks.read(&json!([])), Ok(Value::Null));
        assert_eq!(Kind::Reals(0.0, 2.0).read(&json!("0.5, 1")), Ok(json!([0.5, 1.0])));
        for wrong in [json!([100]), json!("7,x"), json!([true]), json!("7,,8"), json!([1.5])] {
            assert!(blocks.read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_are_a_preset_or_names() {
        assert_eq!(Kind::Targets.read(&json!("all_linear")), Ok(json!("all-linear")));
        assert_eq!(Kind::Targets.read(&json!(["diffusers"])), Ok(json!("diffusers")));
        assert_eq!(Kind::Targets.read(&json!("to_q, attn.to_out.0")), Ok(json!(["to_q", "attn.to_out.0"])));
        assert_eq!(Kind::Targets.read(&json!("[\"to_q\", 'to_k']")), Ok(json!(["to_q", "to_k"])));
        assert!(Kind::Targets.read(&json!("diffusers,to_q")).is_err());
        let cause = Kind::Targets.read(&json!("all-linaer")).unwrap_err();
        assert!(cause.contains("`all-linear`"), "{cause}");
    }

    #[test]
    fn blocks_are_numbers_and_ranges() {
        assert_eq!(Kind::Blocks.read(&json!("12-14,0")), Ok(json!([0, 12, 13, 14])));
        assert_eq!(Kind::Blocks.read(&json!(["3", 1, "2-3"])), Ok(json!([1, 2, 3])));
        assert_eq!(Kind::Blocks.read(&json!(7)), Ok(json!([7])));
        assert_eq!(Kind::Blocks.read(&json!("all")), Ok(Value::Null));
        for wrong in [json!("5-3"), json!("a"), json!("-1"), json!("1-"), json!("4000"), json!([1.5])] {
            assert!(Kind::Blocks.read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_by_name_are_pairs_or_an_object() {
        let kind = Kind::Numbers(1.0, 64.0);
        assert_eq!(
            kind.read(&json!("attn.to_q=4, ff.net.2=8")),
            Ok(json!({"attn.to_q": 4.0, "ff.net.2": 8.0}))
        );
        assert_eq!(kind.read(&json!({"to_q": "16"})), Ok(json!({"to_q": 16.0})));
        assert_eq!(kind.read(&json!("{\"to_q\": 2}")), Ok(json!({"to_q": 2.0})));
        assert_eq!(kind.read(&json!({})), Ok(Value::Null));
        for wrong in [json!("to_q"), json!({"to_q": 65}), json!({"to_q": []}), json!("{"), json!(3)] {
            assert!(kind.read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_document_is_an_object_or_a_path() {
        assert_eq!(Kind::Document.read(&json!({"algo": "lokr"})), Ok(json!({"algo": "lokr"})));
        assert_eq!(Kind::Document.read(&json!("{\"algo\": \"lokr\"}")), Ok(json!({"algo": "lokr"})));
        assert_eq!(Kind::Document.read(&json!("config/lycoris.json")), Ok(json!("config/lycoris.json")));
        assert!(Kind::Document.read(&json!("{algo}")).is_err() && Kind::Document.read(&json!(3)).is_err());
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        assert!(shown(&json!("ä".repeat(1000))).chars().count() < 70);
    }
}
