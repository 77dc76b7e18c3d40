//! Model files: mapped safetensors, key layouts and weights.
