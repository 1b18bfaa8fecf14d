//! The program `sim`: see `sim --help`.

fn main() {
    std::process::exit(stacksync_sim::cli::main());
}
