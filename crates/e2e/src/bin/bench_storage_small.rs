//! Many small files from one device to the chunk storage, and from there to another one: S3 and Swift by signed addresses, and the folder
//! back-end; files per second, and requests to the storage for each file.
//!
//! Options: `--files N` (10000), `--runs N` (3), `--alone N` (2000 files with bundles switched off; 0 leaves that out). Peer, in the same run:
//! `rclone copy --transfers 32` of the same tree to the same server, installed if it is missing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use stacksync_e2e::bench_world::{BenchWorld, in_sync};
use stacksync_e2e::counting::CountingLine;
use stacksync_e2e::measure::{become_undisturbed, count_files, directory, heading, median, option, row, seconds, seconds_until};
use stacksync_e2e::programs::checkout;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed::grow_flat;
use stacksync_e2e::storage::{Kind, Storage};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const FILE_BYTES: usize = 4096;

/// Seconds, or requests, each way.
#[derive(Clone, Copy)]
struct BothWays {
    up: f64,
    down: f64,
}

fn main() {
    let (files, runs, alone) = (option("--files", 10_000), option("--runs", 3), option("--alone", 2_000));
    // Before any server is started, so that all of them are.
    become_undisturbed();
    heading(&format!("{files} files of {FILE_BYTES} bytes, device A -> chunk storage -> device B"));
    need_rclone();
    let dir = directory("storage-small");
    let folder = medians(runs, |run| stacksync(&dir.join(format!("folder-{run}")), files, None));
    print("the folder back-end, through the service", files, folder, None);
    for kind in [Kind::S3, Kind::Swift] {
        println!("\n## {kind:?}");
        // In turns, so that both meet the same machine.
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for run in 0..runs {
            let place = dir.join(format!("{kind:?}-{run}"));
            ours.push(stacksync(&place, files, Some(Storage::fresh(kind))));
            theirs.push(rclone(
                kind,
                Storage::fresh(kind).own_address(),
                &place.join("a/folder"),
                &dir.join(format!("{kind:?}-{run}-back")),
            ));
        }
        let (ours, theirs) = (middle(&ours), middle(&theirs));
        let place = dir.join(format!("{kind:?}-counted"));
        let line = CountingLine::to(Storage::fresh(kind).own_address());
        let counted = stacksync_counted(&place, files, kind, &line, None);
        let counted_theirs = rclone_counted(kind, &line, &place.join("a/folder"), &dir.join(format!("{kind:?}-counted-back")));
        print("StackSync", files, ours, Some(counted));
        print("rclone copy --transfers 32", files, theirs, Some(counted_theirs));
        row("StackSync / rclone, up and down", format!("{:.2} and {:.2}", theirs.up / ours.up, theirs.down / ours.down));
        row("StackSync / folder, up and down", format!("{:.2} and {:.2}", folder.up / ours.up, folder.down / ours.down));
        if alone > 0 {
            let off = || Storage::fresh(kind).with("storage.bundles", "off");
            let time = stacksync(&dir.join(format!("{kind:?}-alone")), alone, Some(off()));
            let place = dir.join(format!("{kind:?}-alone-counted"));
            let counted = stacksync_counted(&place, alone, kind, &line, Some("off"));
            print(&format!("StackSync without bundles, {alone} files"), alone, time, Some(counted));
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn print(who: &str, files: usize, seconds: BothWays, requests: Option<BothWays>) {
    let rate = |seconds: f64| files as f64 / seconds;
    row(who, format!("up {:.0} files/s, down {:.0} files/s", rate(seconds.up), rate(seconds.down)));
    if let Some(requests) = requests {
        let each = |requests: f64| requests / files as f64;
        row("  requests to the storage per file", format!("up {:.3}, down {:.3}", each(requests.up), each(requests.down)));
    }
}

fn middle(runs: &[BothWays]) -> BothWays {
    let of = |value: fn(&BothWays) -> f64| median(&mut runs.iter().map(value).collect::<Vec<_>>());
    BothWays { up: of(|run| run.up), down: of(|run| run.down) }
}

fn medians(runs: usize, measure: impl Fn(usize) -> BothWays) -> BothWays {
    middle(&(0..runs).map(measure).collect::<Vec<_>>())
}

/// Seconds from the start of A until everything is acknowledged, and from the start of B until it has everything.
fn stacksync(dir: &Path, files: usize, storage: Option<Storage>) -> BothWays {
    let mut world = prepared(dir, files, storage);
    BothWays { up: up(&mut world), down: down(&mut world, files) }
}

fn stacksync_counted(dir: &Path, files: usize, kind: Kind, line: &CountingLine, bundles: Option<&str>) -> BothWays {
    let storage = Storage::fresh(kind).behind(line.address());
    let storage = bundles.into_iter().fold(storage, |storage, value| storage.with("storage.bundles", value));
    let mut world = prepared(dir, files, Some(storage));
    line.take();
    up(&mut world);
    let up = line.take() as f64;
    down(&mut world, files);
    BothWays { up, down: line.take() as f64 }
}

fn prepared(dir: &Path, files: usize, storage: Option<Storage>) -> BenchWorld {
    let world = BenchWorld::on(dir, storage);
    grow_flat(&world.a.path("all"), files, FILE_BYTES, &mut Random::new(files as u64));
    world
}

fn up(world: &mut BenchWorld) -> f64 {
    let start = Instant::now();
    world.start_a();
    seconds_until(start, Duration::from_millis(20), || in_sync(&world.a))
}

fn down(world: &mut BenchWorld, files: usize) -> f64 {
    let start = Instant::now();
    world.start_b();
    seconds_until(start, Duration::from_millis(20), || in_sync(&world.b) && count_files(world.b.root()) == files)
}

fn need_rclone() {
    if Command::new("rclone").arg("version").output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let installed = Command::new(checkout().join("scripts/apt-install")).arg("rclone").status();
    assert!(
        installed.is_ok_and(|status| status.success()),
        "rclone is missing and could not be installed; install the package rclone"
    );
}

/// Where rclone copies to: a place of its own at a server.
struct Peer {
    settings: Vec<(&'static str, String)>,
    place: String,
}

impl Peer {
    fn new(kind: Kind, server: SocketAddr) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let settings = match kind {
            Kind::S3 => vec![
                ("TYPE", "s3".to_owned()),
                ("PROVIDER", "Ceph".to_owned()),
                ("ENDPOINT", format!("http://{server}")),
                ("ACCESS_KEY_ID", "stacksync".to_owned()),
                ("SECRET_ACCESS_KEY", "stacksync-secret".to_owned()),
            ],
            Kind::Swift => vec![
                ("TYPE", "swift".to_owned()),
                ("AUTH", format!("http://{server}/auth/v1.0")),
                ("AUTH_VERSION", "1".to_owned()),
                ("USER", "test:tester".to_owned()),
                ("KEY", "testing".to_owned()),
            ],
            Kind::Ftp | Kind::Sftp => panic!("devices do not go there themselves"),
        };
        Self { settings, place: format!("peer:rclone-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)) }
    }

    fn copy(&self, from: &str, to: &str) {
        let mut command = Command::new("rclone");
        command.args(["copy", "--transfers", "32", "--config", "/dev/null", from, to]);
        // What the machine says of other services is not meant for this one.
        command.env_remove("AWS_CA_BUNDLE");
        command.envs(self.settings.iter().map(|(key, value)| (format!("RCLONE_CONFIG_PEER_{key}"), value)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn up(&self, tree: &Path) {
        self.copy(tree.to_str().unwrap(), &self.place);
    }

    fn down(&self, back: &Path) {
        self.copy(&self.place, back.to_str().unwrap());
    }
}

/// The same tree there and back.
fn rclone(kind: Kind, server: SocketAddr, tree: &Path, back: &Path) -> BothWays {
    let peer = Peer::new(kind, server);
    BothWays { up: seconds(|| peer.up(tree)), down: seconds(|| peer.down(back)) }
}

fn rclone_counted(kind: Kind, line: &CountingLine, tree: &Path, back: &Path) -> BothWays {
    let peer = Peer::new(kind, line.address());
    line.take();
    peer.up(tree);
    let up = line.take() as f64;
    peer.down(back);
    BothWays { up, down: line.take() as f64 }
}
