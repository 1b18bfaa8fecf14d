//! Who may: revoked devices, used codes, other people's things, quota, certificates, a second server on the same data.

use crate::{read, write};
use serde_json::Value;
use stacksync_e2e::device::Device;
use stacksync_e2e::process::{printed, run};
use stacksync_e2e::server::{Invitation, Server};
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::wait::{PATIENCE, until_true};
use stacksync_e2e::world::{USER, World};

/// All strings in a JSON value under a key.
fn strings_under<'a>(value: &'a Value, key: &str, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key {
                    into.extend(member.as_str());
                }
                strings_under(member, key, into);
            }
        }
        Value::Array(members) => members.iter().for_each(|member| strings_under(member, key, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_revoked_device_is_shut_out_at_once_and_keeps_its_files() {
    let (world, [mut a, b]) = World::with_devices();
    write(&a.path("before"), "before");
    world.settle(&[&a, &b]);
    a.start();
    let device_id = a.json(&["status"]);
    let mut ids = Vec::new();
    for key in ["device_id", "deviceId", "device"] {
        strings_under(&device_id, key, &mut ids);
    }
    assert!(!ids.is_empty(), "status --json does not name the device: {device_id}");
    let revoked = ids.iter().any(|id| world.server.admin_output(&["device", "revoke", id]).status.success());
    assert!(revoked, "none of {ids:?} can be revoked: {}", world.server.admin(&["device", "list"]));

    write(&b.path("after"), "after");
    b.sync_once();
    a.kill();
    let said = a.must_fail(&["sync", "--once"]);
    assert!(said.to_lowercase().contains("revoked"), "it does not say why:\n{said}");
    assert!(a.path("before").exists() && !a.path("after").exists());
}

#[test]
fn a_join_code_works_once() {
    let world = World::new();
    let invitation = world.invite();
    world.stranger("a").join(&invitation);
    let b = world.stranger("b");
    std::fs::create_dir_all(b.root()).unwrap();
    let root = b.root().display().to_string();
    b.must_fail(&["join", &invitation.url, &invitation.code, &root]);
    b.must_fail(&["join", &invitation.url, "made-up-code", &root]);
    b.must_fail(&["sync", "--once"]);
}

#[test]
fn people_do_not_see_each_others_files() {
    let (world, [a]) = World::with_devices();
    let other = world.stranger("other");
    other.join(&world.server.add_user("bob"));
    write(&a.path("mine"), "the same words in both accounts");
    write(&other.path("his"), "the same words in both accounts");
    a.sync_once();
    other.sync_once();
    a.sync_once();
    assert_eq!(a.tree().0.into_keys().collect::<Vec<_>>(), ["mine"]);
    assert_eq!(other.tree().0.into_keys().collect::<Vec<_>>(), ["his"]);
}

#[test]
fn a_full_account_takes_no_more_and_says_so() {
    let world = World::new();
    let a = world.stranger("a");
    a.join(&world.server.add_user_with_quota("small", "1MiB"));
    write(&a.path("fits"), vec![1; 400_000]);
    a.sync_once();
    write(&a.path("too big"), vec![2; 900_000]);
    write(&a.path("tiny"), "fits beside");
    let said = a.must_fail(&["sync", "--once"]);
    assert!(said.to_lowercase().contains("quota"), "it does not say why:\n{said}");
    assert!(said.contains("too big"), "it does not name the file:\n{said}");
    let b = world.stranger("b");
    b.join(&world.server.invite("small"));
    b.sync_once();
    assert_eq!(b.tree().0.into_keys().collect::<Vec<_>>(), ["fits", "tiny"]);
    world.server.admin_output(&["user", "quota", "small", "10MiB"]);
    world.settle(&[&a, &b]);
    assert!(b.path("too big").exists());
}

#[test]
fn beyond_this_machine_the_line_is_encrypted_and_the_certificate_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(dir.path());
    server.listen(std::net::SocketAddr::from(([0, 0, 0, 0], server.address().port())));
    server.spawn(server.command());
    server.wait_for_address();
    let invitation = server.add_user(USER);
    assert!(invitation.url.starts_with("https://"), "{invitation:?}");
    let (code, fingerprint) = invitation.code.split_once('.').expect("the code carries the fingerprint");
    assert_eq!(fingerprint.len(), 64);

    let wrong = Device::new(dir.path(), "wrong");
    std::fs::create_dir_all(wrong.root()).unwrap();
    let first = if fingerprint.starts_with('0') { "1" } else { "0" };
    let forged = format!("{code}.{first}{}", &fingerprint[1..]);
    wrong.must_fail(&["join", &invitation.url, &forged, &wrong.root().display().to_string()]);

    // The code was not spent on the server that could not prove itself.
    let a = Device::new(dir.path(), "a");
    a.join(&invitation);
    let b = Device::new(dir.path(), "b");
    b.join(&server.invite(USER));
    write(&a.path("file"), "over an encrypted line");
    a.sync_once();
    b.sync_once();
    assert_same(a.root(), b.root());

    // Another certificate at the same address: refused, whoever signs it.
    server.kill();
    match server.database() {
        // What instances share is there.
        Some(database) => drop(database.query("DELETE FROM secrets WHERE name = 'certificate'")),
        None => std::fs::remove_dir_all(server.data().join("tls")).unwrap(),
    }
    let _ = std::fs::remove_file(server.data().join("server.json"));
    server.spawn(server.command());
    server.wait_for_address();
    write(&a.path("secret"), "must not leave");
    a.must_fail(&["sync", "--once"]);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let world = World::new();
    let mut second = world.server.command();
    second.env("STACKSYNC_HTTP_LISTEN", "127.0.0.1:0");
    let output = run(second, PATIENCE);
    assert!(!output.status.success(), "it runs");
    assert_eq!(printed(&output).lines().filter(|line| !line.is_empty()).count(), 1, "not one clear line:\n{}", printed(&output));
}

#[test]
fn data_of_a_newer_server_is_left_alone() {
    let mut world = World::new();
    world.server.kill();
    let format = world.server.data().join("format");
    let newer = read(&format).replace(|letter: char| letter.is_ascii_digit(), "9999");
    std::fs::write(&format, &newer).unwrap();
    let output = run(world.server.command(), PATIENCE);
    assert!(!output.status.success() && printed(&output).contains("newer"), "{}", printed(&output));
    assert_eq!(printed(&output).lines().count(), 1);
    assert_eq!(read(&format), newer);
}

#[test]
fn a_server_whose_port_is_taken_says_so() {
    let world = World::new();
    let mut second = Server::new(&world.path("second"));
    std::fs::create_dir_all(world.path("second")).unwrap();
    second.listen(world.server.address());
    let output = run(second.command(), PATIENCE);
    assert!(
        !output.status.success() && printed(&output).contains(&world.server.address().port().to_string()),
        "{}",
        printed(&output)
    );
}

#[test]
fn a_server_ends_cleanly_when_asked() {
    let (mut world, [mut a, b]) = World::with_devices();
    a.start();
    write(&a.path("file"), "text");
    until_true("it is stored", || !world.server.chunk_files().is_empty());
    let status = world.server.stop();
    assert!(status.success(), "{status}");
    assert!(!world.server.data().join("server.json").exists());
    world.server.start();
    a.kill();
    world.settle(&[&a, &b]);
    assert!(b.path("file").exists());
}

/// Kept here so that a code for one address is never tried at another by mistake.
#[test]
fn a_wrong_address_is_told() {
    let world = World::new();
    let a = world.stranger("a");
    std::fs::create_dir_all(a.root()).unwrap();
    let nowhere = Invitation { url: "http://127.0.0.1:1".to_owned(), ..world.invite() };
    let said = a.must_fail(&["join", &nowhere.url, &nowhere.code, &a.root().display().to_string()]);
    assert!(said.contains("127.0.0.1:1"), "{said}");
}
