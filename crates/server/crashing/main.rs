//! `stacksync-server` as the crash tests run it: the same program, built with its crash points.

fn main() {
    std::process::exit(stacksync_server::run(std::env::args_os(), std::env::vars_os()));
}
