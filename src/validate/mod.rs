//! Validation images while a run goes on.
