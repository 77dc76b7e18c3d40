//! Runs the encoders over the dataset and fills the cache.
