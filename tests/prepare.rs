//! `sargent prepare` from folder to folder.

#![allow(clippy::unwrap_used)]

#[path = "prepare/folders.rs"]
mod folders;
#[path = "prepare/mistakes.rs"]
mod mistakes;
#[path = "prepare/pictures.rs"]
mod pictures;
#[path = "prepare/repeating.rs"]
mod repeating;
#[path = "prepare/wishes.rs"]
mod wishes;
