//! A real RabbitMQ for tests: one that the tests of a process share, each in a virtual host of its own, or one that a test has alone.
//!
//! Needs scripts/backends/rabbitmq, which installs RabbitMQ if it is missing. Also included by the tests of other crates.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A broker.
pub struct Rabbit {
    pub port: u16,
    folder: PathBuf,
    /// Ends when its standard input does: with this process.
    runner: Option<Child>,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/backends/rabbitmq")
}

/// The first of ten ports that nobody uses.
fn free_ports() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..500 {
        let number = std::process::id().wrapping_mul(7).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 550;
        let port = 20_000 + number as u16 * 20;
        if (port..port + 10).all(is_free) {
            return port;
        }
    }
    panic!("there are no free ports");
}

impl Rabbit {
    /// The broker that all tests of this process share. They must not stop it.
    pub fn shared() -> &'static Rabbit {
        static SHARED: OnceLock<Rabbit> = OnceLock::new();
        SHARED.get_or_init(|| {
            let (port, folder) = Rabbit::place();
            let mut runner = Command::new(script())
                .arg("run")
                .arg(&folder)
                .arg(port.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("scripts/backends/rabbitmq cannot be run");
            let mut line = String::new();
            BufReader::new(runner.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n", "scripts/backends/rabbitmq did not start; it said above why");
            Rabbit { port, folder, runner: Some(runner) }
        })
    }

    /// A broker that a test has alone; it goes with the value.
    pub fn alone() -> Rabbit {
        let (port, folder) = Rabbit::place();
        let rabbit = Rabbit { port, folder, runner: None };
        rabbit.start();
        rabbit
    }

    fn place() -> (u16, PathBuf) {
        let port = free_ports();
        (port, std::env::temp_dir().join(format!("stacksync-rabbitmq-{}-{port}", std::process::id())))
    }

    fn run(&self, command: &str, arguments: &[&str]) {
        let status = Command::new(script()).arg(command).arg(&self.folder).args(arguments).stdout(Stdio::null()).status();
        assert!(status.unwrap().success(), "scripts/backends/rabbitmq {command} failed; it said above why");
    }

    /// Starts it; again, if it was ended.
    pub fn start(&self) {
        self.run("start", &[&self.port.to_string()]);
    }

    /// Ends it like a crash.
    pub fn kill(&self) {
        self.run("kill", &[]);
    }

    /// Runs `rabbitmqctl`.
    pub fn control(&self, arguments: &[&str]) {
        self.run("ctl", arguments);
    }

    /// Another virtual host.
    pub fn vhost(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (made, _) = self.api("PUT", &format!("/api/vhosts/{name}"), "{}");
        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        let (allowed, _) = self.api("PUT", &format!("/api/permissions/{name}/guest"), all);
        assert!(made < 300 && allowed < 300, "{made} {allowed}");
        name
    }

    /// Asks the management API: status and body.
    pub fn api(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port + 2)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        if self.runner.is_none() {
            self.run("stop", &[]);
        }
    }
}
