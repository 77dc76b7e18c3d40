//! Data sets whose files are not on this machine.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// Refuses pictures and caches that are not on this machine.
pub fn refuse(object: &Map<String, Value>) -> Result<()> {
    let Some(kind) = object.get("type").and_then(Value::as_str) else { return Ok(()) };
    let kind = kind.trim().to_lowercase();
    let (_, what, instead) = match ELSEWHERE.iter().find(|(name, ..)| *name == kind) {
        Some(elsewhere) => elsewhere,
        None => return Ok(()),
    };
    Err(Error::setting("type", format!("`{kind}` means {what}, which is not read here")).hint(*instead))
}

/// Types of data sets that need a network or another program: what they are, and what to do instead.
const ELSEWHERE: [(&str, &str, &str); 5] = [
    (
        "csv",
        "pictures behind a list of URLs",
        "download them into a folder; then type `local` with caption_strategy `csv` and `csv_file` reads the captions",
    ),
    (
        "huggingface",
        "a dataset on the Hugging Face Hub",
        "get it with `hf download --repo-type dataset NAME --local-dir DIR`, save its pictures as files in DIR; then \
         type `local` with caption_strategy `metadata` or `parquet`",
    ),
    (
        "aws",
        "files in an S3 bucket",
        "copy them with `aws s3 sync s3://BUCKET DIR`; then type `local` with instance_data_dir (or cache_dir) in DIR",
    ),
    ("webshart", "shards of tar files", "unpack them into a folder; then type `local`"),
    ("memory", "a cache in a RAM disk", "use type `local` with a cache_dir on the RAM disk"),
];
