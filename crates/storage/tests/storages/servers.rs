//! Starts a server by its script, once for all tests of this program; it ends with the program.
//!
//! `STORAGE_TEST_S3=PORT` (and so on) names one that runs already, in /tmp/storage-s3, for whoever repeats a test.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// A server that runs.
pub struct Server {
    pub port: u16,
    pub dir: PathBuf,
    _script: Option<Child>,
}

/// The server of this script, started when it is asked for first.
pub fn server(script: &'static str, place: &'static OnceLock<Server>) -> &'static Server {
    place.get_or_init(|| match std::env::var(format!("STORAGE_TEST_{}", script.to_uppercase())) {
        Ok(port) => Server { port: port.parse().expect("a port"), dir: format!("/tmp/storage-{script}").into(), _script: None },
        Err(_) => start(script),
    })
}

fn start(name: &str) -> Server {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let port = free_ports();
    let dir = std::env::temp_dir().join(format!("stacksync-test-{name}-{}-{port}", std::process::id()));
    let mut script = Command::new(checkout.join("scripts/backends").join(name))
        .args(["run".as_ref(), dir.as_os_str(), port.to_string().as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the script can be started");
    let mut said = String::new();
    BufReader::new(script.stdout.take().expect("a pipe")).read_line(&mut said).expect("the script can be read");
    assert_eq!(said, "ready\n", "scripts/backends/{name} did not start its server; it says above what is missing");
    Server { port, dir, _script: Some(script) }
}

/// The first of many ports in a row that nobody listens on, each time others.
fn free_ports() -> u16 {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().expect("no holder panics");
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let offset = std::process::id() % 400;
    loop {
        let base = 18_000 + ((offset + u32::from(*next)) * 70 % 28_000) as u16;
        *next += 1;
        assert!(*next < 400, "there are no free ports");
        if (0..70).all(|more| free(base + more)) {
            return base;
        }
    }
}
