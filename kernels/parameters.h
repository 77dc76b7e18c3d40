// Every parameter struct; bindgen makes src/kernels/parameters.rs from it.
//
// A new header gets a line here, then:
//   SARGENT_BLESS=1 cargo test --release --test parameters
// which needs libclang (LIBCLANG_PATH, or the folder .cuda, where .ci/run installs it).
//
// Structs have no padding: holes are fields called `reserved`. Constants are enums with a name. A comment at a struct or
// a field becomes its documentation in Rust.
#include "step_state.h"
