//! What connected devices cost that do nothing, and how long it takes to tell all of them of a commit: 10,000 WebSockets that follow one
//! workspace. The other end of all of them is a plain program with one thread, on the same machine.
//!
//! Options: `--devices N` (10,000), `--runs N` (10) notices.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::bench::load::{Client, Member, Way};
use stacksync_e2e::bench::service::Service;
use stacksync_e2e::device_line::join;
use stacksync_e2e::measure::{become_undisturbed, directory, heading, median, option, row};
use stacksync_e2e::process::memory;
use stacksync_protocol::join::OBJECTMQ_PATH;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

/// Sessions that share a device: each device has to be invited by a run of a program.
const SESSIONS_PER_DEVICE: usize = 100;
/// Connections that are being opened at the same time.
const OPENING_MAX: usize = 64;
/// Time for the service to come to rest.
const REST: Duration = Duration::from_secs(3);

fn main() {
    let (devices, runs) = (option("--devices", 10_000), option("--runs", 10));
    heading(&format!("{devices} connected devices of one workspace, by WebSocket without TLS, metadata in SQLite"));
    become_undisturbed();
    raise_file_limit();
    let dir = directory("idle");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(measure(&dir, devices, runs)));
    std::fs::remove_dir_all(&dir).unwrap();
}

fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the limit of open files can be raised");
}

/// Counts the lines that were told.
#[derive(Default)]
struct Told {
    count: std::cell::Cell<usize>,
    more: Notify,
}

async fn measure(dir: &Path, devices: usize, runs: usize) {
    let service = Service::start(dir, vec![("STACKSYNC_HTTP_CONNECTIONS_MAX", (devices + 100).to_string())]);
    let address = service.server.address();
    let member = Member::new(&service, "anna").await;
    let workspace = member.workspace().to_string();
    let mut committer = Client::open(&service, member, Way::WebSocket).await;
    tokio::time::sleep(REST).await;
    let before = memory(service.server.pid());

    let (told, opening, start) = (Rc::new(Told::default()), Rc::new(Semaphore::new(OPENING_MAX)), Instant::now());
    let mut lines = Vec::new();
    for number in 0..devices.div_ceil(SESSIONS_PER_DEVICE) {
        let token: Rc<str> = join(address, &service.invite("anna"), &format!("device {number}")).token.into();
        for _ in 0..SESSIONS_PER_DEVICE.min(devices - number * SESSIONS_PER_DEVICE) {
            let (told, opening, token, workspace) = (told.clone(), opening.clone(), token.clone(), workspace.clone());
            lines.push(tokio::task::spawn_local(async move {
                let turn = opening.acquire().await.unwrap();
                let stream = open(address, &token, &workspace).await;
                drop(turn);
                listen(stream, &told).await;
            }));
            tokio::task::yield_now().await;
        }
    }
    // Each is told once that it follows.
    all(&told, devices).await;
    row("time to connect them, the invitations included", format!("{:.1} s", start.elapsed().as_secs_f64()));
    tokio::time::sleep(REST).await;
    let after = memory(service.server.pid());
    row(
        "memory of the service for each device",
        format!("{:.1} KiB (aim 20); {} MiB with all of them", (after - before) as f64 / devices as f64 / 1024.0, after >> 20),
    );

    let (mut first, mut last) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        told.count.set(0);
        let start = Instant::now();
        let (commit, ()) = tokio::join!(
            async {
                committer.commit().await;
                start.elapsed().as_secs_f64() * 1000.0
            },
            all(&told, devices)
        );
        first.push(commit);
        last.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    row("a commit, until its committer is told", format!("{:.1} ms (median of {runs})", median(&mut first)));
    row("until all devices are told", format!("{:.1} ms", median(&mut last)));
    row("memory of the service afterwards", format!("{} MiB", memory(service.server.pid()) >> 20));
    lines.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn all(told: &Told, count: usize) {
    while told.count.get() < count {
        told.more.notified().await;
    }
}

/// Opens a WebSocket by hand and asks to follow the workspace.
async fn open(address: SocketAddr, token: &str, workspace: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the service listens");
    let head = format!(
        "GET {OBJECTMQ_PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the service reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("the service answers"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let frame = format!(r#"{{"op":"follow","n":1,"to":"{workspace}"}}"#);
    // One short text frame, masked with zeros.
    let mut bytes = vec![0x81, 0x80 | u8::try_from(frame.len()).expect("a short frame"), 0, 0, 0, 0];
    bytes.extend_from_slice(frame.as_bytes());
    stream.write_all(&bytes).await.expect("the service reads");
    stream
}

/// Counts every frame but pings, which are answered by nobody for as long as this lasts.
async fn listen(mut stream: TcpStream, told: &Told) {
    loop {
        let Ok(kind) = stream.read_u8().await else { return };
        let len = match stream.read_u8().await.expect("the service goes on") {
            126 => usize::from(stream.read_u16().await.expect("the service goes on")),
            127 => panic!("a notice is short"),
            short => usize::from(short),
        };
        let mut frame = vec![0; len];
        stream.read_exact(&mut frame).await.expect("the service goes on");
        if kind == 0x81 {
            told.count.set(told.count.get() + 1);
            told.more.notify_one();
        }
    }
}
