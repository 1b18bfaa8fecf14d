//! Files that cannot be read and folders that cannot be written: told with their path, and everything else goes on.

use crate::write;
use stacksync_e2e::device::Device;
use stacksync_e2e::process::printed;
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::wait::PATIENCE;
use stacksync_e2e::world::World;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

fn set_mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// `sync --once` as a person for whom modes count: also root, without the right to pass them over.
fn sync_as_a_person(device: &Device) -> Output {
    let plain = device.command(&["sync", "--once"]);
    if !rustix::process::geteuid().is_root() {
        return stacksync_e2e::process::run(plain, PATIENCE);
    }
    let mut command = Command::new("setpriv");
    for set in ["bounding-set", "inh-caps"] {
        command.arg(format!("--{set}=-dac_override,-dac_read_search"));
    }
    command.arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    stacksync_e2e::process::run(command, PATIENCE)
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_the_rest_goes_on() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("secret"), "nobody may read this");
    write(&a.path("closed/inside"), "nor look in here");
    write(&a.path("open"), "this is fine");
    set_mode(&a.path("secret"), 0o000);
    set_mode(&a.path("closed"), 0o000);
    let output = sync_as_a_person(&a);
    let said = printed(&output);
    assert!(said.contains("secret"), "it does not name the file:\n{said}");
    assert!(said.contains("closed"), "it does not name the folder:\n{said}");
    b.sync_once();
    assert!(b.path("open").exists());
    assert!(!b.path("secret").exists());

    set_mode(&a.path("secret"), 0o644);
    set_mode(&a.path("closed"), 0o755);
    world.settle(&[&a, &b]);
    assert!(b.path("secret").exists() && b.path("closed/inside").exists());
}

#[test]
fn a_synced_file_that_becomes_unreadable_is_not_deleted_elsewhere() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("folder/secret"), "still here");
    write(&a.path("open"), "this is fine");
    world.settle(&[&a, &b]);
    set_mode(&a.path("folder"), 0o000);
    write(&a.path("more"), "goes on");
    sync_as_a_person(&a);
    b.sync_once();
    assert!(b.path("folder/secret").exists(), "what cannot be seen was taken for gone");
    assert!(b.path("more").exists());
    set_mode(&a.path("folder"), 0o755);
    world.settle(&[&a, &b]);
}

#[test]
fn a_folder_that_cannot_be_written_is_told_and_heals() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("folder/file"), "here");
    world.settle(&[&a, &b]);
    set_mode(&b.path("folder"), 0o555);
    write(&a.path("folder/added"), "cannot be written");
    write(&a.path("folder/file"), "cannot be replaced");
    write(&a.path("elsewhere"), "can");
    a.sync_once();
    let output = sync_as_a_person(&b);
    let said = printed(&output);
    assert!(!output.status.success() && said.contains("folder"), "it does not tell:\n{said}");
    assert!(b.path("elsewhere").exists());
    assert_eq!(crate::read(&b.path("folder/file")), "here");
    set_mode(&b.path("folder"), 0o755);
    world.settle(&[&a, &b]);
    assert_same(a.root(), b.root());
}
