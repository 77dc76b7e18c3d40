//! The captions of data sets, as their settings say.

use crate::dataset::{self, CaptionOptions, Naming, TableOptions};
use crate::settings::{BackendSettings, CaptionLines, CaptionStrategy};

/// Where the captions of a data set come from, and what is done to them.
pub fn options(set: &BackendSettings) -> CaptionOptions {
    let prompt = set.instance_prompt.clone();
    let strategy = match set.caption_strategy {
        CaptionStrategy::Textfile => dataset::CaptionStrategy::TextFile,
        CaptionStrategy::Filename => dataset::CaptionStrategy::FileName,
        CaptionStrategy::InstancePrompt => {
            dataset::CaptionStrategy::InstancePrompt(prompt.clone().unwrap_or_default())
        }
        CaptionStrategy::Parquet => dataset::CaptionStrategy::Table(table(set, Naming::SimpleTuner)),
        CaptionStrategy::Metadata => dataset::CaptionStrategy::Table(table(set, Naming::Metadata)),
    };
    let prompt = prompt.filter(|_| set.prepend_instance_prompt);
    let before = [prompt, set.caption_prefix.clone()];
    let before: Vec<String> = before.into_iter().flatten().map(|text| text.trim().to_owned()).collect();
    CaptionOptions {
        strategy,
        lines: match set.caption_lines {
            CaptionLines::Variants => dataset::CaptionLines::Variants,
            CaptionLines::First => dataset::CaptionLines::First,
            CaptionLines::Whole => dataset::CaptionLines::Whole,
        },
        extension: set.caption_extension.clone(),
        fallback: set.class_tokens.clone(),
        prefix: Some(before.join(" ")).filter(|text| !text.is_empty()),
        suffix: set.caption_suffix.clone(),
        filter: set.caption_filter_list.clone(),
        trigger: set.trigger_word.clone(),
    }
}

fn table(set: &BackendSettings, naming: Naming) -> TableOptions {
    let table = set.parquet.clone();
    TableOptions {
        path: table.as_ref().and_then(|table| table.path.clone()),
        naming,
        filename_column: table.as_ref().and_then(|table| table.filename_column.clone()),
        caption_columns: table.as_ref().map(|table| table.caption_column.clone()).unwrap_or_default(),
        fallback_caption_column: table.as_ref().and_then(|table| table.fallback_caption_column.clone()),
        names_have_extensions: table.is_some_and(|table| table.identifier_includes_extension),
    }
}
