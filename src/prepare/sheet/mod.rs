//! The review sheet: one HTML page with every original, its focus and its crop, those that need a look first.
//!
//! The page carries all it needs and opens from disk. It is written piece by piece: small pictures go from their
//! files to the page one at a time, in blocks of text that the browser leaves alone until a page shows them.

use super::folder::LeftOut;
use super::record::{Entry, Extent, FocusRecord, Record, Remark, State};
use super::region::Region;
use super::target::Target;
use crate::error::Result;
use crate::files;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::Write;

/// Small pictures in a block.
const BLOCK: usize = 48;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The long side of small pictures when there are so many: a page of ten thousand must still open.
pub(super) fn thumbnail_side(pictures: usize) -> u32 {
    match pictures {
        0..=1000 => 384,
        1001..=4000 => 256,
        _ => 192,
    }
}

/// A picture as the page's script reads it. Boxes are x, y, width and height.
#[derive(Serialize)]
struct Card<'a> {
    name: &'a str,
    state: State,
    file: Option<&'a str>,
    picture: [u32; 2],
    size: Option<[u32; 2]>,
    r#box: Option<[f64; 4]>,
    focus: Focus<'a>,
    scale: Option<f64>,
    reason: &'a str,
    doubts: &'a [Remark],
    doubt: f64,
    like: Option<&'a str>,
}

/// What a picture is about, as the script reads it.
#[derive(Serialize)]
struct Focus<'a> {
    kind: &'a super::FocusKind,
    r#box: [f64; 4],
    heads: Vec<[f64; 4]>,
}

impl<'a> From<&'a Entry> for Card<'a> {
    fn from(entry: &'a Entry) -> Self {
        let sides = |extent: Extent| [extent.width, extent.height];
        let FocusRecord { kind, region, faces, certainty: _ } = &entry.focus;
        Self {
            name: &entry.source,
            state: entry.state,
            file: entry.output.as_ref().map(|output| output.file.as_str()),
            picture: sides(entry.picture),
            size: entry.size.map(sides),
            r#box: entry.window.as_ref().map(edges),
            focus: Focus {
                kind,
                r#box: edges(region),
                heads: faces.iter().map(|face| edges(&face.head)).collect(),
            },
            scale: entry.scale,
            reason: &entry.reason,
            doubts: &entry.doubts,
            doubt: entry.doubt(),
            like: entry.like.as_deref(),
        }
    }
}

/// To hundredths of a pixel: the page draws with it.
fn edges(region: &Region) -> [f64; 4] {
    [region.x, region.y, region.width, region.height].map(|edge| (edge * 100.0).round() / 100.0)
}

/// Writes the sheet for `record`; `wishes` are those of overrides.json as they are written.
///
/// # Errors
/// A page that cannot be written.
pub(super) fn write(
    target: &Target,
    record: &Record,
    wishes: &Map<String, Value>,
    left_out: &[LeftOut],
) -> Result<()> {
    let mut pictures: Vec<&Entry> =
        record.pictures.iter().filter(|entry| entry.state != State::Vanished).collect();
    pictures.sort_by(|a, b| b.doubt().total_cmp(&a.doubt()).then_with(|| a.source.cmp(&b.source)));
    let folder = target.sheet().parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let facts = json!({
        "source": record.source,
        "folder": folder,
        "sizes": record.sizes,
        "limit": record.max_enlarge,
        "block": BLOCK,
        "wishes": wishes,
        "leftOut": left_out,
        "pictures": pictures.iter().map(|entry| Card::from(*entry)).collect::<Vec<_>>(),
    });
    files::replace(&target.sheet(), |out| {
        let mut rest = PAGE;
        for (mark, part) in [
            ("{{style}}", Part::Text(STYLE)),
            ("{{pictures}}", Part::Pictures),
            ("{{facts}}", Part::Facts),
            ("{{script}}", Part::Text(SCRIPT)),
        ] {
            let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
            out.write_all(before.as_bytes())?;
            match part {
                Part::Text(text) => out.write_all(text.as_bytes())?,
                Part::Facts => out.write_all(harmless(&facts).as_bytes())?,
                Part::Pictures => write_pictures(out, &pictures, target)?,
            }
            rest = after;
        }
        out.write_all(rest.as_bytes())
    })
}

/// What stands in the place of a mark.
enum Part {
    Text(&'static str),
    Facts,
    Pictures,
}

/// JSON that cannot end the element that it stands in.
fn harmless(facts: &Value) -> String {
    facts.to_string().replace('<', "\\u003c")
}

/// The small pictures in the order of the cards: a line each, a block of them an element.
fn write_pictures(out: &mut dyn Write, pictures: &[&Entry], target: &Target) -> std::io::Result<()> {
    for (number, block) in pictures.chunks(BLOCK).enumerate() {
        write!(out, "<script type=\"text/plain\" id=\"block{number}\">")?;
        for entry in block {
            // A small picture that is gone leaves an empty line; the page shows a gap.
            let bytes = std::fs::read(target.thumbnail(&entry.source)).unwrap_or_default();
            writeln!(out, "{}", STANDARD.encode(bytes))?;
        }
        writeln!(out, "</script>")?;
    }
    Ok(())
}
