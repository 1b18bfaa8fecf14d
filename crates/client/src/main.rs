//! The program `stacksync`. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    stacksync::cli::main()
}
