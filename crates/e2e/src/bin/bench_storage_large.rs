//! One large file to each storage of the operator's own and back, beside the same bytes by the storage's usual tool in the same run; and
//! what the service does while four devices of four people move theirs.
//!
//! Options: `--mib N` (1024), `--runs N` (3), `--each N` (1024: MiB of each of the four). Everything runs with the same priority, the
//! storages included. Peers: curl (S3, Swift, FTP with TLS), OpenSSH's sftp.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::device::Device;
use stacksync_e2e::http::metric;
use stacksync_e2e::measure::{become_undisturbed, directory, heading, median, option, row, seconds};
use stacksync_e2e::random::Random;
use stacksync_e2e::server::Server;
use stacksync_e2e::storage::{Kind, Storage};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const KINDS: [(Kind, &str); 4] = [(Kind::S3, "s3"), (Kind::Swift, "swift"), (Kind::Ftp, "ftp"), (Kind::Sftp, "sftp")];

fn main() {
    let (size, runs, each) = (option("--mib", 1024), option("--runs", 3), option("--each", 1024));
    heading(&format!("a file of {size} MiB to a storage and back, {runs} runs; then 4 devices with {each} MiB each"));
    // Before anything is started: what is started then has the same priority.
    become_undisturbed();
    let dir = directory("storage-large");
    let original = dir.join("original");
    for (kind, name) in KINDS {
        let (mut ours, mut peers) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for run in 0..runs {
            // Fresh bytes, so that nothing is there already.
            write_random(&original, size, run as u64);
            let storage = Storage::fresh(kind);
            let place = dir.join(format!("{name}-{run}"));
            let [up, down] = sync(&place, storage.clone(), &original);
            let [peer_up, peer_down] = peer(&storage, &original, &place);
            ours[0].push(up);
            ours[1].push(down);
            peers[0].push(peer_up);
            peers[1].push(peer_down);
            std::fs::remove_dir_all(&place).unwrap();
        }
        for (way, (ours, peers)) in ["up", "down"].iter().zip(ours.iter_mut().zip(&mut peers)) {
            let (ours, peer) = (median(ours), median(peers));
            let speed = |seconds: f64| size as f64 / seconds;
            let text = format!("{ours:.2} s, {:.0} MiB/s; peer {peer:.2} s; ratio {:.2}", speed(ours), peer / ours);
            row(&format!("{name}, {way}"), text);
        }
    }
    for (kind, name) in &KINDS[..2] {
        four_devices(&dir.join(format!("four-{name}")), *kind, name, each);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn server(dir: &Path, storage: Storage) -> Server {
    std::fs::create_dir_all(dir).unwrap();
    let mut server = Server::new(dir).with_database(None).with_storage(Some(storage));
    server.start();
    server
}

/// From one device to the storage, and from there to another one: whole runs of `sync --once`.
fn sync(dir: &Path, storage: Storage, original: &Path) -> [f64; 2] {
    let server = server(dir, storage);
    let (a, b) = (Device::new(dir, "a"), Device::new(dir, "b"));
    a.join(&server.add_user("bench"));
    b.join(&server.invite("bench"));
    std::fs::copy(original, a.path("large")).unwrap();
    [&a, &b].map(|device| seconds(|| drop(device.sync_once())))
}

/// The same bytes by the storage's usual tool.
fn peer(storage: &Storage, original: &Path, dir: &Path) -> [f64; 2] {
    let set = |key: &str| storage.configuration().into_iter().find(|(name, _)| name == key).unwrap().1;
    let address = storage.own_address();
    let (from, to) = (original.display().to_string(), dir.join("fetched").display().to_string());
    let curl = |arguments: &[&str]| run(Command::new("curl").args(["-sSf"]).args(arguments));
    match storage.kind() {
        Kind::S3 => {
            let user = format!("{}:{}", set("s3.access_key"), set("s3.secret_key"));
            let url = format!("http://{address}/{}/peer", set("s3.bucket"));
            let signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "-u", &user, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"];
            [curl(&[&signed[..], &["-T", &from, &url]].concat()), curl(&[&signed[..], &["-o", &to, &url]].concat())]
        }
        Kind::Swift => {
            let (user, key) = (format!("X-Auth-User: {}", set("swift.user")), format!("X-Auth-Key: {}", set("swift.password")));
            let asked =
                Command::new("curl").args(["-si", "-H", &user, "-H", &key, &format!("http://{address}/auth/v1.0")]).output();
            let answer = String::from_utf8_lossy(&asked.unwrap().stdout).into_owned();
            let header = |name: &str| {
                let lines = answer.lines().filter_map(|line| line.split_once(": "));
                lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).unwrap().1.trim().to_owned()
            };
            let (token, account) = (format!("X-Auth-Token: {}", header("x-auth-token")), header("x-storage-url"));
            let container = format!("{account}/peer");
            curl(&["-X", "PUT", "-H", &token, &container]);
            let url = format!("{container}/{}", set("swift.containers"));
            [curl(&["-H", &token, "-T", &from, &url]), curl(&["-H", &token, "-o", &to, &url])]
        }
        Kind::Ftp => {
            let (user, authority) = (format!("{}:{}", set("ftp.user"), set("ftp.password")), set("storage.ca"));
            let url = format!("ftp://localhost:{}/peer-{}", address.port(), set("ftp.folder"));
            let login = ["--ssl-reqd", "--cacert", &authority, "-u", &user];
            [curl(&[&login[..], &["-T", &from, &url]].concat()), curl(&[&login[..], &["-o", &to, &url]].concat())]
        }
        Kind::Sftp => {
            let (key, known) = (set("sftp.key"), format!("UserKnownHostsFile={}", set("sftp.known_hosts")));
            let (port, place) = (address.port().to_string(), format!("{}@127.0.0.1", set("sftp.user")));
            let name = format!("peer-{}", set("sftp.folder"));
            [format!("put {from} {name}\n"), format!("get {name} {to}\n")].map(|batch| {
                let file = dir.join("batch");
                std::fs::write(&file, batch).unwrap();
                let batch = file.display().to_string();
                run(Command::new("sftp").args(["-q", "-b", &batch, "-i", &key, "-o", &known, "-P", &port, &place]))
            })
        }
    }
}

/// Seconds of a command that must succeed.
fn run(command: &mut Command) -> f64 {
    seconds(|| {
        let output = command.stdin(Stdio::null()).output().expect("the peer is installed");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    })
}

/// What passes through the service while four people move their files to the storage and back.
fn four_devices(dir: &Path, kind: Kind, name: &str, mib: usize) {
    let server = server(dir, Storage::fresh(kind));
    let pairs: Vec<[Device; 2]> = (0..4)
        .map(|number| {
            let user = format!("bench{number}");
            let devices = ["up", "down"].map(|end| Device::new(dir, &format!("{end}-{number}")));
            devices[0].join(&server.add_user(&user));
            devices[1].join(&server.invite(&user));
            write_random(&devices[0].path("large"), mib, 1_000 + number);
            devices
        })
        .collect();
    let passed = |page: &str| {
        let total = |way: &str| metric(page, &format!("stacksync_network_{way}_bytes_total"));
        total("received") + total("sent")
    };
    let (before, ticks) = (passed(&server.metrics()), server.usage().cpu_ticks);
    let seconds = seconds(|| {
        for end in 0..2 {
            std::thread::scope(|scope| pairs.iter().for_each(|pair| drop(scope.spawn(|| pair[end].sync_once()))));
        }
    });
    let payload = (2 * 4 * mib) as f64 * 1024.0 * 1024.0;
    let bytes = passed(&server.metrics()) - before;
    let cpu = (server.usage().cpu_ticks - ticks) as f64 / 100.0;
    let percent = 100.0 * bytes / payload;
    row(
        &format!("{name}: through the service, of {:.1} GiB up and down", payload / (1 << 30) as f64),
        format!("{:.2} MB, {percent:.3} % (aim < 1 %); {cpu:.2} s of processor time in {seconds:.1} s", bytes / 1e6),
    );
}

fn write_random(path: &Path, mib: usize, seed: u64) {
    let mut file = File::create(path).unwrap();
    let mut random = Random::new(seed);
    for _ in 0..mib {
        file.write_all(&random.bytes(1024 * 1024)).unwrap();
    }
    file.sync_all().unwrap();
}
