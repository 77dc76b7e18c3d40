//! Parse, run, exit code.

fn main() -> std::process::ExitCode {
    sargent::cli::main(std::env::args_os())
}
