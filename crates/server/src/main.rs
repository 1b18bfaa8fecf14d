//! The binary `stacksync-server`: hands the command line to the library and exits with what it says.

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    std::process::exit(stacksync_server::run(std::env::args_os(), std::env::vars_os()));
}
