//! The parts of a SentencePiece model file that a Unigram tokenizer needs.
//!
//! The file is a protocol buffer: field 1 of `ModelProto` is a piece (1: text, 2: score, 3: type), field 3 the
//! normaliser, whose field 2 is the precompiled character map.

use tokenizers::Tokenizer;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;

/// The type of the piece that stands for everything unknown.
const UNKNOWN: u64 = 2;

/// Pieces with their log-probabilities, in the order of their ids.
pub(super) struct SentencePiece {
    pieces: Vec<(String, f64)>,
    unknown: Option<usize>,
    character_map: Vec<u8>,
}

impl SentencePiece {
    /// Reads a model file; nothing if it is not one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut model = Self { pieces: Vec::new(), unknown: None, character_map: Vec::new() };
        for field in fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => model.add_piece(piece)?,
                (3, Value::Bytes(normalizer)) => {
                    for field in fields(normalizer) {
                        if let (2, Value::Bytes(map)) = field? {
                            model.character_map = map.to_vec();
                        }
                    }
                }
                _ => {}
            }
        }
        let sound = model.character_map.is_empty() || is_character_map(&model.character_map);
        (sound && !model.pieces.is_empty()).then_some(model)
    }

    fn add_piece(&mut self, bytes: &[u8]) -> Option<()> {
        let (mut text, mut score) = (String::new(), 0.0);
        for field in fields(bytes) {
            match field? {
                (1, Value::Bytes(bytes)) => text = String::from_utf8(bytes.to_vec()).ok()?,
                (2, Value::Fixed32(bits)) => score = f64::from(f32::from_bits(bits)),
                (3, Value::Number(UNKNOWN)) => self.unknown = Some(self.pieces.len()),
                _ => {}
            }
        }
        self.pieces.push((text, score));
        Some(())
    }

    /// The tokenizer: character map, words between spaces, each led by `▁`.
    pub fn tokenizer(self) -> tokenizers::Result<Tokenizer> {
        let mut tokenizer = Tokenizer::new(Unigram::from(self.pieces, self.unknown, false)?);
        if !self.character_map.is_empty() {
            tokenizer.with_normalizer(Some(Precompiled::from(&self.character_map)?));
        }
        let words = Metaspace::new('▁', PrependScheme::Always, true);
        tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![WhitespaceSplit.into(), words.into()])));
        Ok(tokenizer)
    }
}

/// Whether the map is as long as its first number says and has the root of a trie; the crate that reads it takes both
/// for granted.
fn is_character_map(map: &[u8]) -> bool {
    const ROOT: usize = 256 * 4;
    map.split_first_chunk::<4>().is_some_and(|(length, rest)| {
        let length = u32::from_le_bytes(*length) as usize;
        (ROOT..=rest.len()).contains(&length)
    })
}

/// A field's content.
enum Value<'a> {
    Number(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

/// The fields of a message: (number, content), or nothing where the bytes make no sense.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u64, Value<'_>)>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = field(&mut bytes);
        if field.is_none() {
            bytes = &[];
        }
        Some(field)
    })
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Value::Number(varint(bytes)?),
        1 => {
            bytes.split_off(..8)?;
            Value::Fixed64
        }
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Value::Bytes(bytes.split_off(..length)?)
        }
        5 => Value::Fixed32(u32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?)),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
