//! Every kernel's CUDA form on the emulator, against its definition on the processor: the small cases of the doctor.

use sargent::device::{self, Choice, Device};
use sargent::doctor::{Scale, cases, check};

/// The device in `SARGENT_DEVICE`, else the emulator.
fn device() -> Device {
    let wanted = std::env::var("SARGENT_DEVICE").unwrap_or_else(|_| "emulator".to_owned());
    device::choose(wanted.parse::<Choice>().unwrap()).unwrap().0
}

/// Checks the small cases of the kernels called `kernel`.
fn check_all(kernel: &str) {
    let device = device();
    let mut failures = Vec::new();
    let cases = cases::all().into_iter().filter(|case| case.kernel == kernel && case.scale == Scale::Small);
    let mut count = 0;
    for case in cases {
        count += 1;
        match check(&case, &device) {
            Ok(verdict) if verdict.passed => {}
            Ok(verdict) => failures.push(format!("{case:?}: {verdict:?}")),
            Err(error) => failures.push(format!("{case:?}: {error}")),
        }
    }
    assert!(count > 0, "there is no case of {kernel}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A test for each family of kernels.
macro_rules! kernels {
    ($($test:ident $kernel:literal,)*) => {
        $(#[test] fn $test() { check_all($kernel); })*
    };
}

kernels! {
    linear "linear",
    low_rank "low_rank",
    activation "activation",
    add "add",
    cast "cast",
    gated_multiply "gated_multiply",
    gated_residual "gated_residual",
    gather_rows "gather_rows",
    layer_norm "layer_norm",
    layer_norm_affine "layer_norm_affine",
    patchify "patchify",
    positions "positions",
    qk_norm "qk_norm",
    rms_norm "rms_norm",
    timestep_features "timestep_features",
}
