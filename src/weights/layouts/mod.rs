//! Key layouts as tables: what the tensors of one model are called in each kind of file.
//!
//! Canonical names are those of Stability's single files without their prefix (MMDiT, VAE) and those of
//! transformers (text encoders). A pattern is a name in which `{i}` and `{j}` stand for numbers and `{p}` for
//! `weight` or `bias`.

mod load;
mod mmdit;
mod text;
mod vae;

pub use mmdit::MMDIT;
pub use text::{CLIP_G, CLIP_L, T5};
pub use vae::VAE;

/// How the names of one part of a model map to those of diffusers.
#[derive(Debug)]
pub struct Table {
    /// The part, for errors.
    pub part: &'static str,
    /// What may stand before the names in a file.
    pub prefixes: &'static [&'static str],
    /// One rule for each kind of tensor.
    pub rules: &'static [Rule],
}

/// One kind of tensor.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its canonical name.
    pub canonical: &'static str,
    /// Its name in diffusers, or the names of the tensors that it is stacked from along dimension 0.
    pub diffusers: &'static [&'static str],
    /// What becomes of diffusers' rows.
    pub rows: Rows,
    /// What becomes of the shape, in either layout.
    pub form: Form,
    /// Whether diffusers counts `{i}` from the other end.
    pub reversed: bool,
}

/// The order of rows, from diffusers to canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// The same.
    Same,
    /// The second half first: (scale, shift) becomes (shift, scale).
    HalvesSwapped,
    /// [`Rows::HalvesSwapped`] in the last block, the same in the others.
    HalvesSwappedInLastBlock,
}

/// What a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Read as it is.
    Plain,
    /// A matrix, which some files store as a 1x1 convolution [out, in, 1, 1].
    Matrix,
    /// A convolution kernel [out, in, kh, kw], read with its channels last.
    Convolution,
}

/// Which of a rule's names a file uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Canonical names.
    Canonical,
    /// Those of diffusers.
    Diffusers,
}

/// A rule's name in diffusers, with the rule and the numbers that led to it.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a> {
    /// The rule.
    pub rule: &'static Rule,
    /// Which of the stacked tensors the name is; 0 if there is one.
    pub part: usize,
    captured: Captured<'a>,
}

/// What the placeholders of a pattern stand for.
#[derive(Debug, Clone, Copy, Default)]
struct Captured<'a> {
    i: Option<usize>,
    j: Option<usize>,
    p: &'a str,
}

impl Rule {
    /// A tensor of the same name and content in both layouts.
    const fn same(name: &'static [&'static str; 1]) -> Self {
        Self::named(name[0], name)
    }

    /// A tensor with the name `canonical` here and `diffusers` (stacked, if several) there.
    const fn named(canonical: &'static str, diffusers: &'static [&'static str]) -> Self {
        Self { canonical, diffusers, rows: Rows::Same, form: Form::Plain, reversed: false }
    }

    const fn rows(self, rows: Rows) -> Self {
        Self { rows, ..self }
    }

    const fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    const fn reversed(self) -> Self {
        Self { reversed: true, ..self }
    }

    fn patterns(&'static self, keys: Keys) -> &'static [&'static str] {
        match keys {
            Keys::Canonical => std::slice::from_ref(&self.canonical),
            Keys::Diffusers => self.diffusers,
        }
    }
}

impl Table {
    /// The rule that the name `name` (without a prefix) falls under.
    pub fn find<'a>(&self, keys: Keys, name: &'a str) -> Option<Match<'a>> {
        self.rules.iter().find_map(|rule| {
            rule.patterns(keys).iter().enumerate().find_map(|(part, pattern)| {
                let captured = capture(pattern, name)?;
                Some(Match { rule, part, captured })
            })
        })
    }

    /// The names in diffusers of the tensors that the canonical `name` is stacked from; `blocks` is the number of
    /// blocks (MMDiT) or resolution levels (VAE).
    pub fn to_diffusers(&self, name: &str, blocks: usize) -> Option<Vec<String>> {
        Some(self.find(Keys::Canonical, name)?.names(Keys::Canonical, Keys::Diffusers, blocks))
    }

    /// The canonical name of the tensor that diffusers calls `name`, and which of the stacked tensors it is.
    pub fn to_canonical(&self, name: &str, blocks: usize) -> Option<(String, usize)> {
        let found = self.find(Keys::Diffusers, name)?;
        Some((found.canonical(Keys::Diffusers, blocks), found.part))
    }
}

impl Match<'_> {
    /// The number of the block or level, as the file counts it.
    pub fn block(&self) -> Option<usize> {
        self.captured.i
    }

    /// Whether rows have to be swapped when a tensor comes from diffusers.
    pub fn swaps_halves(&self, blocks: usize) -> bool {
        match self.rule.rows {
            Rows::Same => false,
            Rows::HalvesSwapped => true,
            Rows::HalvesSwappedInLastBlock => self.captured.i.is_some_and(|i| i + 1 == blocks),
        }
    }

    /// The canonical name.
    pub fn canonical(&self, from: Keys, blocks: usize) -> String {
        self.names(from, Keys::Canonical, blocks).swap_remove(0)
    }

    /// The names under `to` of what was found under `from`.
    fn names(&self, from: Keys, to: Keys, blocks: usize) -> Vec<String> {
        let mut captured = self.captured;
        if self.rule.reversed && from != to {
            captured.i = captured.i.map(|i| blocks.saturating_sub(i + 1));
        }
        self.rule.patterns(to).iter().map(|pattern| fill(pattern, &captured)).collect()
    }
}

/// What the placeholders of `pattern` stand for in `name`, if it fits.
fn capture<'a>(pattern: &str, name: &'a str) -> Option<Captured<'a>> {
    let mut captured = Captured::default();
    let mut words = name.split('.');
    for expected in pattern.split('.') {
        let word = words.next()?;
        match expected {
            "{i}" => captured.i = Some(number(word)?),
            "{j}" => captured.j = Some(number(word)?),
            "{p}" if word == "weight" || word == "bias" => captured.p = word,
            literal if literal == word => {}
            _ => return None,
        }
    }
    words.next().is_none().then_some(captured)
}

/// A number of at most four digits, as block numbers are.
fn number(word: &str) -> Option<usize> {
    let digits = word.len() <= 4 && word.bytes().all(|b| b.is_ascii_digit());
    if digits { word.parse().ok() } else { None }
}

fn fill(pattern: &str, captured: &Captured<'_>) -> String {
    let mut name = pattern.replace("{p}", captured.p);
    for (placeholder, number) in [("{i}", captured.i), ("{j}", captured.j)] {
        if let Some(number) = number {
            name = name.replace(placeholder, &number.to_string());
        }
    }
    name
}

#[cfg(test)]
mod tests;
