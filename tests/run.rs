//! Whole runs of the real program on the miniature: what a user does, what goes wrong, and what is left on disk.

#![allow(clippy::unwrap_used)]

mod run {
    mod adapters;
    mod beginning;
    mod captions;
    mod checkpoints;
    mod concepts;
    mod disk;
    mod drawing;
    mod emulated;
    mod encoding;
    mod examples;
    mod exporting;
    mod guarding;
    mod interrupting;
    mod mistakes;
    mod optimizers;
    mod planning;
    mod reporting;
    mod setting_up;
    mod shuffling;
    mod surgery;
    mod workshop;
}
