//! The LoRA file: key names, alpha folded in, reproducible bytes.
