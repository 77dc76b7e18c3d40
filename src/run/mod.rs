//! A whole run, wired from the rooms: what `train`, `plan` and `sample` do, without printing.
//!
//! [`opening`] turns settings into everything that a run consists of, before a weight is read; [`forecast`] says what
//! it would do; [`disk`] whether there is room for it; [`training`] makes a trainer ready and `steps` takes it to the
//! end, which [`progress`] tells, with [`validation`] images on the way, captions encoded between epochs
//! (`epoch_texts`) and [`watch`] over it; [`report`] tells it in one page; [`sampling`] draws one picture, with weights
//! into which `merged` puts what adapters change; [`init`] makes settings for a folder of pictures.

pub mod captions;
mod data_sets;
pub mod disk;
mod epoch_texts;
pub mod forecast;
pub mod init;
mod merged;
pub mod opening;
pub mod pace;
pub mod progress;
pub mod report;
mod samples;
pub mod sampling;
mod steps;
pub mod training;
pub mod validation;
pub mod watch;

pub use opening::Opened;
