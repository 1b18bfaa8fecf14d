//! `stacksync` as the crash tests run it: the same program, built with its crash points.

use std::process::ExitCode;

fn main() -> ExitCode {
    stacksync::cli::main()
}
