//! Numbers in remarks, as people write them.

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Some things, small numbers in words.
pub fn counted(number: u64, what: &str) -> String {
    const WORDS: [&str; 13] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let word = WORDS.get(number as usize).map_or_else(|| grouped(number), |word| (*word).to_owned());
    let plural = if number == 1 { "" } else { "s" };
    format!("{word} {what}{plural}")
}

/// A learning rate as people write it.
pub fn rate(rate: f64) -> String {
    let rounded = format!("{rate:.3e}");
    let (digits, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits}e{exponent}")
}
