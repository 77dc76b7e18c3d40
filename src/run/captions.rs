//! The captions of data sets, as their settings say: where they come from, and what will be trained.

use super::opening;
use crate::dataset::{self, CaptionOptions, Captioned, Naming, Survey, TableOptions};
use crate::error::Result;
use crate::models::tokenizer::{CLIP_LENGTH, ClipTokenizer, Fit, PadToken, T5Tokenizer};
use crate::settings::{BackendSettings, CaptionLines, CaptionStrategy, RunSettings};
use crate::weights::TextEncoder;
use serde::Serialize;
use std::cmp::Reverse;
use std::path::PathBuf;

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

/// The captions of a data set, and how much of each an encoder sees.
#[derive(Debug, Serialize)]
pub struct CaptionReport {
    /// The data set.
    pub id: String,
    /// The folder of its pictures.
    pub folder: PathBuf,
    /// Where its captions come from.
    pub strategy: &'static str,
    /// What they are like.
    #[serde(flatten)]
    pub survey: Survey,
    /// One an encoder; none without the model's tokenizers.
    pub encoders: Option<Vec<EncoderReport>>,
    /// What is wrong with pictures without a usable caption.
    pub problems: Vec<String>,
}

/// How the captions fit an encoder.
#[derive(Debug, Serialize)]
pub struct EncoderReport {
    /// The encoder.
    pub encoder: &'static str,
    /// Tokens that it takes, those that begin and end a text included.
    pub limit: usize,
    /// Tokens of the shortest caption.
    pub least: usize,
    /// Tokens of the longest caption.
    pub most: usize,
    /// The captions that are cut, the longest first.
    pub cut: Vec<Cut>,
}

/// A caption that an encoder does not see whole.
#[derive(Debug, Serialize)]
pub struct Cut {
    /// The picture.
    pub picture: String,
    /// Tokens of the whole caption.
    pub tokens: usize,
    /// The words that are cut off.
    pub lost: String,
}

/// The tokenizers of a model.
#[derive(Debug)]
pub struct Tokenizers {
    clip_l: ClipTokenizer,
    clip_g: ClipTokenizer,
    t5: T5Tokenizer,
    t5_length: usize,
}

impl Tokenizers {
    /// Those of the model that the settings name; T5 takes their number of tokens.
    ///
    /// # Errors
    /// No model, or one without a tokenizer.
    pub fn open(settings: &RunSettings) -> Result<Self> {
        let model = opening::open_model(settings)?;
        Ok(Self {
            clip_l: ClipTokenizer::open(model.tokenizer(TextEncoder::ClipL)?, PadToken::End)?,
            clip_g: ClipTokenizer::open(model.tokenizer(TextEncoder::ClipG)?, PadToken::Exclamation)?,
            t5: T5Tokenizer::open(model.tokenizer(TextEncoder::T5)?)?,
            t5_length: settings.tokenizer_max_length,
        })
    }

    fn reports(&self, captioned: &[Captioned]) -> Result<Vec<EncoderReport>> {
        Ok(vec![
            encoder_report("CLIP-L", CLIP_LENGTH, captioned, |text| self.clip_l.fit(text))?,
            encoder_report("CLIP-G", CLIP_LENGTH, captioned, |text| self.clip_g.fit(text))?,
            encoder_report("T5", self.t5_length, captioned, |text| self.t5.fit(text, self.t5_length))?,
        ])
    }
}

/// What the captions of `set` are like. `trigger` is the word that they should have; without it, the data set's own.
///
/// # Errors
/// A folder without pictures, or a source of captions that cannot be read at all.
pub fn report(
    set: &BackendSettings,
    trigger: Option<&str>,
    tokenizers: Option<&Tokenizers>,
) -> Result<CaptionReport> {
    let survey = Survey::new(&options(set), &set.instance_data_dir, trigger)?;
    let encoders = tokenizers.map(|tokenizers| tokenizers.reports(&survey.captioned)).transpose()?;
    Ok(CaptionReport {
        id: set.id.clone(),
        folder: set.instance_data_dir.clone(),
        strategy: set.caption_strategy.name(),
        problems: survey.broken.iter().map(|error| format!("{}: {}", error.place, error.cause)).collect(),
        survey,
        encoders,
    })
}

fn encoder_report(
    encoder: &'static str,
    limit: usize,
    captioned: &[Captioned],
    fit: impl Fn(&str) -> Result<Fit>,
) -> Result<EncoderReport> {
    let mut report = EncoderReport { encoder, limit, least: usize::MAX, most: 0, cut: Vec::new() };
    for picture in captioned {
        for caption in &picture.captions {
            let fit = fit(caption)?;
            report.least = report.least.min(fit.tokens);
            report.most = report.most.max(fit.tokens);
            if let Some(lost) = fit.cut_at.and_then(|at| caption.get(at..)) {
                let (picture, lost) = (picture.name.clone(), lost.trim().to_owned());
                report.cut.push(Cut { picture, tokens: fit.tokens, lost });
            }
        }
    }
    report.least = report.least.min(report.most);
    report.cut.sort_by_key(|cut| Reverse(cut.tokens));
    Ok(report)
}
