//! The two ways in which emulated kernels are compiled; each has symbols of its own, so that one program holds both.

/// A way to compile kernels for the emulator.
pub struct Variant {
    /// Folder of its objects.
    pub name: &'static str,
    /// Arguments beside the usual ones.
    pub arguments: &'static [&'static str],
    /// What stands before a kernel's symbol.
    pub prefix: &'static str,
}

/// The kernels as they are.
pub const PLAIN: Variant = Variant { name: "plain", arguments: &[], prefix: "sargent_emulated_" };

/// Every access calls the emulator, which looks for races, and so does what C++ leaves undefined. The arguments are
/// GCC's; the runtime libraries that they usually go with are not linked (`kernels/emulator/hooks.cpp`).
pub const CHECKED: Variant = Variant {
    name: "checked",
    arguments: &[
        "-DSARGENT_CHECKED",
        "-fsanitize=thread",
        "--param",
        "tsan-instrument-func-entry-exit=0",
        "-fsanitize=alignment,bool,bounds,enum,integer-divide-by-zero,return,shift,signed-integer-overflow,unreachable",
    ],
    prefix: "sargent_checked_",
};
