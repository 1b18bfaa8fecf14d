//! Brings the programs to every crash point, each at least once: for each point a scene in which it is passed, and what must hold after.

use super::play::{Death, Play, dies};
use super::points::{Point, Side, all};
use super::power::device_on;
use super::{checks, play};
use crate::device::Device;
use crate::postgres::Database;
use crate::programs;
use crate::server::Server;
use crate::small_disk::SmallDisk;
use stacksync_powerfs::{PowerFs, Renames};
use std::path::Path;

/// In which scene a point is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scene {
    /// A device syncs every kind of change.
    DeviceSyncs,
    /// The server serves devices that sync every kind of change.
    ServerServes,
    /// The same with its metadata in PostgreSQL.
    PostgresServes,
    /// A device joins and begins its state.
    Joining,
    /// A device leaves.
    Leaving,
    /// The state of a device is damaged.
    DamagedState,
    /// The trash of a device holds what is too old.
    OldTrash,
    /// The folder of a device is on another file system than its home.
    OtherDisk,
    /// The folder of a device is on a file system that can neither exchange names nor refuse to replace.
    PlainDisk,
    /// A server starts with an empty data directory.
    NewServer,
    /// A chunk is damaged and asked for.
    DamagedChunk,
    /// A user is removed.
    RemovedUser,
}

/// The scene for a point. Whoever adds a point that none of the special ones passes need not add it here.
pub fn scene(point: &Point) -> Scene {
    const SPECIAL: [(&str, Scene); 17] = [
        ("pg.", Scene::PostgresServes),
        ("pg-write.", Scene::PostgresServes),
        ("home-file.", Scene::Joining),
        ("state-create.", Scene::Joining),
        ("home-forget.", Scene::Leaving),
        ("state-put-aside.", Scene::DamagedState),
        ("trash-sweep.", Scene::OldTrash),
        ("trash-copy.", Scene::OtherDisk),
        ("copy.", Scene::OtherDisk),
        ("tidy.", Scene::OtherDisk),
        ("rename.between-two-names", Scene::PlainDisk),
        ("replace-in-steps.", Scene::PlainDisk),
        ("server-file.", Scene::NewServer),
        ("ticket-key.", Scene::NewServer),
        ("db-open.", Scene::NewServer),
        ("chunk-set-aside.", Scene::DamagedChunk),
        ("chunks-remove.", Scene::RemovedUser),
    ];
    let special = SPECIAL.iter().find(|(prefix, _)| point.name.starts_with(prefix)).map(|(_, scene)| *scene);
    special.unwrap_or(match point.side {
        Side::Device => Scene::DeviceSyncs,
        Side::Server => Scene::ServerServes,
    })
}

/// The points of a scene.
pub fn points_of(wanted: Scene) -> Vec<String> {
    all().into_iter().filter(|point| scene(point) == wanted).map(|point| point.name).collect()
}

/// Every kind of change that the other side has to carry out on its disk. The scene is the same after each call, but for the number.
///
/// # Panics
/// If the disk does not take it.
pub fn every_kind_of_change(root: &Path, number: usize) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let at = |name: String| root.join(name);
    let write = |path: std::path::PathBuf, text: String| std::fs::write(path, text).expect("a file can be written");
    let last = number.wrapping_sub(1);
    std::fs::create_dir_all(at(format!("made-{number}/deeper"))).expect("a folder can be made");
    write(at(format!("made-{number}/deeper/file")), format!("in folder {number}"));
    write(at(format!("doomed-{number}")), format!("doomed {number}"));
    write(at("rewritten".into()), format!("rewritten {number}"));
    let moved = at(format!("moved-{number}"));
    if std::fs::rename(at(format!("moved-{last}")), &moved).is_err() {
        write(moved, "moved".into());
    }
    let _ = std::fs::remove_file(at(format!("doomed-{last}")));
    let _ = std::fs::remove_dir_all(at(format!("made-{last}")));
    let modes = at("modes".into());
    if !modes.exists() {
        write(modes.clone(), "modes".into());
    }
    std::fs::set_permissions(&modes, PermissionsExt::from_mode(if number.is_multiple_of(2) { 0o644 } else { 0o755 }))
        .expect("a mode");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000 + number as u64);
    std::fs::File::options().append(true).open(&modes).and_then(|file| file.set_modified(time)).expect("a time can be set");
    let link = at("link".into());
    let _ = std::fs::remove_file(&link);
    symlink(format!("target-{number}"), link).expect("a link can be made");
}

/// Visits the points of [`Scene::DeviceSyncs`]: a change of every kind comes in, or goes out, when the device dies.
///
/// # Panics
/// If a point cannot be reached, or something does not hold after one.
pub fn device_syncs(dir: &Path, points: &[String]) {
    device_syncs_in(Play::new(dir, 2, 1), points);
}

fn device_syncs_in(mut play: Play, points: &[String]) {
    let mut number = 0;
    // What is changed, moved and deleted later is made first.
    change(&mut play, 0, &mut number);
    play.settle();
    for name in points {
        let death = Death::Point(name.clone(), 1);
        change(&mut play, 0, &mut number);
        play.sync(0);
        let mut died = play.crash_device(1, &death);
        if !died {
            change(&mut play, 1, &mut number);
            died = play.crash_device(1, &death);
        }
        assert!(died, "no sync passes {name}");
        play.settle();
    }
}

/// A person at a device changes things of every kind.
fn change(play: &mut Play, device: usize, number: &mut usize) {
    *number += 1;
    every_kind_of_change(play.devices[device].root(), *number);
    play.look();
}

/// Visits the points of [`Scene::ServerServes`].
///
/// # Panics
/// As [`device_syncs`].
pub fn server_serves(dir: &Path, points: &[String]) {
    server_serves_in(&mut Play::new(dir, 2, 2), points);
}

/// Visits the points of [`Scene::PostgresServes`].
///
/// # Panics
/// As [`device_syncs`], and if there is no PostgreSQL.
pub fn postgres_serves(dir: &Path) {
    let server = Server::new(dir).with_database(Some(Database::fresh()));
    let devices = ["a", "b"].map(|name| Device::new(dir, name));
    let mut play = Play::on(server, devices.into(), 10);
    server_serves_in(&mut play, &points_of(Scene::PostgresServes));
}

fn server_serves_in(play: &mut Play, points: &[String]) {
    /// A checkpoint comes after some commits.
    const TRIES: usize = 12;
    let mut number = 0;
    for name in points {
        let died = (0..TRIES).any(|_| {
            change(play, 0, &mut number);
            play.crash_server(&Death::Point(name.clone(), 1))
        });
        assert!(died, "no service passes {name}");
        play.settle();
    }
}

/// Visits the points of [`Scene::Joining`]: a device that dies while it joins can be made to join again, and then syncs.
///
/// # Panics
/// As [`device_syncs`].
pub fn joining(dir: &Path, points: &[String]) {
    /// The probe, the token and the configuration are written one after the other.
    const FILES: usize = 3;
    let play = Play::new(dir, 1, 3);
    for (number, name) in points.iter().enumerate() {
        let mut visits = 0;
        for count in 1..=FILES {
            let device = Device::new(dir, &format!("joiner-{number}-{count}")).with_program(programs::crashing()[0].clone());
            std::fs::create_dir_all(device.root()).expect("a folder can be made");
            visits += usize::from(join_and_die(&device, &play.server, name, count));
            device.sync_once();
            assert!(play.devices[0].tree().difference(&device.tree()).is_empty(), "{name}: it does not get everything");
            checks::device_is_tidy(&device, &device.tree());
        }
        assert!(visits > 0, "no join passes {name}");
    }
}

/// Joins and dies; joins again, with another code if the first is used up; dies perhaps in the first sync. Whether it died.
fn join_and_die(device: &Device, server: &Server, name: &str, count: usize) -> bool {
    let root = device.root().display().to_string();
    let invitation = server.invite("ada");
    let died = dies(device.command(&["join", &invitation.url, &invitation.code, &root]), name, count);
    if died && !device.home().join("config.json").exists() {
        let again = device.run(&["join", &invitation.url, &invitation.code, &root]);
        if !again.status.success() {
            device.join(&server.invite("ada"));
        }
    }
    dies(device.command(&["sync", "--once"]), name, count) || died
}

/// Visits the points of [`Scene::Leaving`]: a device that dies while it leaves can leave again and join again, and keeps its files.
///
/// # Panics
/// As [`device_syncs`].
pub fn leaving(dir: &Path, points: &[String]) {
    let mut play = Play::new(dir, 2, 4);
    for name in points {
        let mut count = 1;
        while dies(play.devices[1].command(&["leave"]), name, count) {
            play.devices[1].run(&["leave"]);
            play.devices[1].must_fail(&["sync", "--once"]);
            play.devices[1].join(&play.server.invite("ada"));
            play.settle();
            count += 1;
        }
        assert!(count > 1, "no leaving passes {name}");
        play.devices[1].join(&play.server.invite("ada"));
    }
}

/// Visits the points of [`Scene::DamagedState`] and [`Scene::OldTrash`].
///
/// # Panics
/// As [`device_syncs`].
pub fn damaged_state_and_old_trash(dir: &Path) {
    let mut play = Play::new(dir, 2, 5);
    let visit = |play: &mut Play, name: &str| {
        assert!(play.crash_device(1, &Death::Point(name.to_owned(), 1)), "no sync passes {name}");
        play.settle();
    };
    for name in points_of(Scene::DamagedState) {
        std::fs::write(play.devices[1].home().join("state.db"), vec![7; 8192]).expect("a file can be written");
        visit(&mut play, &name);
    }
    for name in points_of(Scene::OldTrash) {
        let old = play.devices[1].home().join("trash/2001-02-03T04.05.06Z/folder");
        std::fs::create_dir_all(&old).expect("a folder can be made");
        std::fs::write(old.join("file"), "old").expect("a file can be written");
        visit(&mut play, &name);
        assert!(!old.exists(), "{name}: the old trash stays");
    }
}

/// Visits the points of [`Scene::OtherDisk`]: staged and set aside beside the person's files, copied to the trash.
///
/// # Panics
/// As [`device_syncs`].
pub fn other_disk(dir: &Path) {
    let _disk = SmallDisk::mount(&dir.join("b/home"), 64 * 1024 * 1024);
    device_syncs_after(dir, &points_of(Scene::OtherDisk), "copy.before-sync");
}

/// Visits the points of [`Scene::PlainDisk`].
///
/// # Panics
/// As [`device_syncs`].
pub fn plain_disk(dir: &Path) {
    let at = dir.join("b-disk");
    let _disk = PowerFs::mount(&at, Renames::Plain);
    let play = Play::with(dir, vec![Device::new(dir, "a"), device_on(dir, "b", &at)], 9);
    device_syncs_in(play, &points_of(Scene::PlainDisk));
}

/// As [`device_syncs`]; a point at which nothing passes while all is well is passed in the sync after a death at `first`.
pub fn device_syncs_after(dir: &Path, points: &[String], first: &str) {
    const TRIES: usize = 10;
    let mut play = Play::new(dir, 2, 6);
    let mut number = 0;
    change(&mut play, 0, &mut number);
    play.settle();
    for name in points {
        let death = Death::Point(name.clone(), 1);
        change(&mut play, 0, &mut number);
        play.sync(0);
        let died = (0..TRIES).any(|_| {
            play.crash_device(1, &death) || {
                change(&mut play, 0, &mut number);
                play.sync(0);
                // Which change comes first, and so what is left over, differs.
                play.crash_device(1, &Death::Point(first.to_owned(), 1)) && play.crash_device(1, &death)
            }
        });
        assert!(died, "no sync passes {name}");
        play.settle();
    }
}

/// Visits the points of [`Scene::NewServer`]: a server that dies in its first start starts as if nothing had been.
///
/// # Panics
/// As [`device_syncs`].
pub fn new_server(dir: &Path, points: &[String]) {
    /// Files that a start writes.
    const FILES: usize = 2;
    let [client, service] = programs::crashing();
    for (number, name) in points.iter().enumerate() {
        for count in 1..=FILES {
            let place = dir.join(format!("{number}-{count}"));
            std::fs::create_dir_all(&place).expect("a folder can be made");
            let mut server = Server::new(&place).with_database(None).with_program(service.clone());
            server.spawn(play::with(server.command(), &Death::Point(name.clone(), count)));
            let died = crate::wait::try_until(std::time::Duration::from_secs(30), || {
                if server.ended() {
                    return Ok(true);
                }
                let ready = matches!(crate::http::get(server.address(), "/readyz"), Ok((200, _)));
                let told = server.data().join("server.json").exists();
                if ready && told { Ok(false) } else { Err("neither ready nor dead".to_owned()) }
            });
            assert!(count > 1 || died == Ok(true), "no start passes {name}: {died:?}");
            server.start();
            let device = Device::new(&place, "a").with_program(client.clone());
            device.join(&server.add_user("ada"));
            std::fs::write(device.path("file"), name).expect("a file can be written");
            device.sync_once();
            checks::server_is_tidy(&server);
        }
    }
}

/// Visits the points of [`Scene::DamagedChunk`]: the storage dies while it sets a damaged chunk aside; when the chunk comes back, all is
/// well.
///
/// # Panics
/// As [`device_syncs`].
pub fn damaged_chunk(dir: &Path) {
    let mut play = Play::new(dir, 2, 7);
    for name in points_of(Scene::DamagedChunk) {
        let before = play.server.chunk_files();
        std::fs::write(play.devices[0].path("doc"), format!("{name} {}", "x".repeat(1000))).expect("a file can be written");
        play.look();
        play.sync(0);
        let new = play.server.chunk_files().into_iter().find(|file| !before.contains(file)).expect("a new chunk");
        let whole = std::fs::read(&new).expect("a chunk can be read");
        std::fs::write(&new, &whole[..whole.len() / 2]).expect("a chunk can be damaged");
        assert!(play.crash_server(&Death::Point(name.clone(), 1)), "no service passes {name}");
        std::fs::write(&new, &whole).expect("a chunk can be brought back");
        play.settle();
    }
}

/// Visits the points of [`Scene::RemovedUser`]: a removal that dies harms nobody else and leaves nothing half removed in sight.
///
/// # Panics
/// As [`device_syncs`].
pub fn removed_user(dir: &Path) {
    let mut play = Play::new(dir, 1, 8);
    for (number, name) in points_of(Scene::RemovedUser).iter().enumerate() {
        let user = format!("bob-{number}");
        let device = Device::new(dir, &user).with_program(programs::crashing()[0].clone());
        device.join(&play.server.add_user(&user));
        std::fs::write(device.path("his"), &user).expect("a file can be written");
        device.sync_once();
        let mut command = play.server.command();
        command.args(["user", "remove", &user, "--yes"]);
        assert!(dies(command, name, 1), "no removal passes {name}");
        device.must_fail(&["sync", "--once"]);
        play.server.kill();
        play.server.start();
        play.settle();
    }
}
