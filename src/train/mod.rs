//! The training run: steps, checkpoints, resume.
