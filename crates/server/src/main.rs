//! The binary `stacksync-server`: hands the command line to the library and exits with what it says.

/// What one thread allocates another one frees, for every commit; here that costs neither of them a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    std::process::exit(stacksync_server::run(std::env::args_os(), std::env::vars_os()));
}
