// Every parameter struct; bindgen makes src/kernels/parameters.rs from it.
//
// A new header gets a line here, then:
//   SARGENT_BLESS=1 cargo test --release --test parameters
// which needs libclang (LIBCLANG_PATH, or the folder .cuda, where .ci/run installs it).
//
// Structs have no padding: holes are fields called `reserved`. Constants are enums with a name. A comment at a struct or
// a field becomes its documentation in Rust.
#include "activation.h"
#include "adamw.h"
#include "add.h"
#include "attention.h"
#include "cast.h"
#include "channels.h"
#include "column_sums.h"
#include "conv2d.h"
#include "effective_weight.h"
#include "flow.h"
#include "gated_multiply.h"
#include "gated_residual.h"
#include "gather_rows.h"
#include "gemm.h"
#include "gradient_norm.h"
#include "group_norm.h"
#include "layer_norm.h"
#include "layer_norm_affine.h"
#include "magnitude.h"
#include "patchify.h"
#include "positions.h"
#include "qk_norm.h"
#include "rms_norm.h"
#include "step_state.h"
#include "timestep_features.h"
#include "traversal.h"
#include "velocity_loss.h"
#include "gemm_exact.h"
#include "attention_exact.h"
