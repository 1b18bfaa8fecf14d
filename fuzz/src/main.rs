//! One fuzzer for all targets: `FUZZ_TARGET=name stacksync-fuzz [libFuzzer's arguments]`; `FUZZ_LIST=1 stacksync-fuzz` prints the names.
//!
//! What a target checks stands in the `hostile` module of the crate that it belongs to. Checked here for all of them: how much memory an
//! input makes us hold at a time.

#![no_main]

mod memory;

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

/// A check, and what it may hold in memory.
struct Target {
    name: &'static str,
    check: fn(&[u8]),
    /// Bytes that any input may make us hold, beside...
    held_bytes: usize,
    /// ...so many for each byte of it.
    held_per_byte: usize,
    /// Longest input that is tried, in bytes.
    input_bytes_max: usize,
    /// Folders of `testdata/` with inputs to begin with, beside the one of its own.
    more_seeds: &'static str,
}

const fn target(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check, held_bytes: 64 << 10, held_per_byte: 200, input_bytes_max: 4096, more_seeds: "" }
}

/// Longest chunk, in bytes: any header may claim it.
const CHUNK: usize = stacksync_chunks::pack::PACKED_BYTES_MAX;

/// What a message of an original client may become: references let it say the same thing many times.
const ORIGINAL: usize = 4 * objectmq::java::JSON_BYTES_MAX;

static TARGETS: &[Target] = &[
    Target { more_seeds: "wire/gson", ..target("request", objectmq::hostile::request) },
    Target { more_seeds: "wire/gson", ..target("response", objectmq::hostile::response) },
    Target { held_bytes: ORIGINAL, ..target("original-request", stacksync_server::hostile::original_request) },
    Target { held_bytes: ORIGINAL, ..target("original-response", stacksync_server::hostile::original_response) },
    Target { held_per_byte: 1000, more_seeds: "wire/java", ..target("java", stacksync_server::hostile::java) },
    target("frame", objectmq::hostile::frame),
    Target { held_bytes: 4 * CHUNK, ..target("chunk", stacksync_chunks::hostile::chunk) },
    Target { held_bytes: 4 * CHUNK, ..target("batch", stacksync_chunks::hostile::batch) },
    target("bundle", stacksync_chunks::hostile::bundle),
    Target { held_bytes: 4 * CHUNK, more_seeds: "hostile/batch", ..target("batch-upload", stacksync_server::hostile::batch) },
    Target { input_bytes_max: 256, ..target("ticket", stacksync_chunks::hostile::ticket) },
    target("sync-request", stacksync_protocol::hostile::request),
    target("sync-answer", stacksync_protocol::hostile::answer),
    Target { more_seeds: "hostile/sync-request", ..target("commit", stacksync_server::hostile::commit) },
    Target { held_bytes: 1 << 20, held_per_byte: 400, ..target("engine", stacksync::hostile::engine) },
    Target { input_bytes_max: 64, ..target("date", stacksync_protocol::hostile::date) },
    Target { input_bytes_max: 128, ..target("secret", stacksync_server::hostile::secret) },
    Target { input_bytes_max: 256, ..target("address", stacksync::hostile::address) },
    target("properties", stacksync_server::hostile::properties),
    // A rule becomes an automaton: that costs what it costs.
    Target { held_bytes: 8 << 20, held_per_byte: 4 << 10, input_bytes_max: 1024, ..target("ignore", stacksync::hostile::ignore) },
    target("row", stacksync::hostile::row),
    target("answer", stacksync_server::hostile::answer),
];

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
            eprintln!("FUZZ_TARGET must name a target; FUZZ_LIST=1 prints them");
            std::process::exit(2)
        })
    })
}

fn begin() {
    if std::env::var_os("FUZZ_LIST").is_some() {
        for target in TARGETS {
            println!("{} {} {}", target.name, target.input_bytes_max, target.more_seeds);
        }
        std::process::exit(0);
    }
    // Once, so that what is made on first use is not taken for what an input costs.
    (chosen().check)(b"");
}

fuzz_target!(init: begin(), |bytes: &[u8]| {
    let target = chosen();
    let held = memory::most_held(|| (target.check)(bytes));
    let most = target.held_bytes + target.held_per_byte * bytes.len();
    assert!(held <= most, "{} bytes make us hold {held} bytes, more than {most}", bytes.len());
});
