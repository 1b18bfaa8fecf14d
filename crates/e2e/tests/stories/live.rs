//! Devices that run side by side: what one does appears on the others, also when lines and servers fail meanwhile.

use crate::{read, write};
use stacksync_e2e::device::{Device, wait_until_same};
use stacksync_e2e::edit::Editor;
use stacksync_e2e::proxy::Proxy;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::server::Invitation;
use stacksync_e2e::tree::{assert_holds, assert_same};
use stacksync_e2e::wait::{until, until_true};
use stacksync_e2e::world::World;
use std::io::Write;

#[test]
fn changes_appear_on_the_other_device_in_both_directions() {
    let (_world, [mut a, mut b]) = World::with_devices();
    a.start();
    b.start();
    write(&a.path("from a/hello"), "hello from a");
    until_true("b has the file", || b.path("from a/hello").exists());
    assert_eq!(read(&b.path("from a/hello")), "hello from a");
    write(&b.path("from b"), "hello from b");
    until_true("a has the file", || a.path("from b").exists());

    write(&b.path("from a/hello"), "changed on b");
    until_true("a has the change", || read(&a.path("from a/hello")) == "changed on b");
    std::fs::rename(a.path("from a"), a.path("renamed")).unwrap();
    until_true("b has the new name", || b.path("renamed/hello").exists() && !b.path("from a").exists());
    std::fs::remove_file(b.path("from b")).unwrap();
    until_true("a has the deletion", || !a.path("from b").exists());
    wait_until_same(&[&a, &b]);
}

#[test]
fn four_people_work_at_once_and_end_with_the_same_folder() {
    let (world, mut devices) = World::with_devices::<4>();
    let mut random = Random::from_environment("four people");
    seed::grow_flat(devices[0].root(), 300, 1_500, &mut random);
    world.settle(&devices.each_ref());
    for device in &mut devices {
        device.start();
    }
    let mut editors: Vec<Editor> =
        devices.iter().map(|device| Editor::new(device.root(), device.name(), Random::new(random.next()))).collect();
    for _ in 0..25 {
        for editor in &mut editors {
            println!("{}", editor.work_once());
        }
    }
    let [a, b, c, d] = &devices;
    wait_until_same(&[a, b, c, d]);
    for device in &mut devices {
        device.stop();
    }
    world.settle(&devices.each_ref());
}

#[test]
fn a_file_that_is_being_written_arrives_whole() {
    let (_world, [mut a, mut b]) = World::with_devices();
    a.start();
    b.start();
    let mut file = std::fs::File::create(a.path("growing")).unwrap();
    let mut random = Random::from_environment("being written");
    for round in 0..60 {
        file.write_all(&random.bytes(100_000)).unwrap();
        write(&a.path("flickering"), random.bytes(200_000 + round));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(file);
    wait_until_same(&[&a, &b]);
    assert_eq!(b.path("growing").metadata().unwrap().len(), 6_000_000);
    assert_eq!(a.tree().files(), 2, "no conflict copies of a file that one device alone writes: {:?}", a.tree().0.keys());
}

/// Devices whose line goes through a relay.
fn behind_a_proxy(world: &World, names: [&str; 2]) -> (Proxy, [Device; 2]) {
    let proxy = Proxy::to(world.server.address());
    let devices = names.map(|name| {
        let device = world.stranger(name);
        let invitation = world.invite();
        device.join(&Invitation { url: format!("http://{}", proxy.address()), ..invitation });
        device
    });
    (proxy, devices)
}

#[test]
fn a_line_that_breaks_again_and_again_loses_nothing() {
    let world = World::new();
    let (proxy, [mut a, mut b]) = behind_a_proxy(&world, ["a", "b"]);
    let mut random = Random::from_environment("a line that breaks");
    seed::grow_flat(a.root(), 1_000, 3_000, &mut random);
    let wanted = a.tree();
    a.start();
    b.start();
    for _ in 0..10 {
        let (up, down) = proxy.bytes();
        let enough = up + down + random.below(400_000) as u64;
        let start = std::time::Instant::now();
        until_true("some bytes have passed", || {
            let (up, down) = proxy.bytes();
            up + down > enough || start.elapsed().as_secs() > 5
        });
        proxy.cut();
    }
    until("everything is on b", || {
        let lines = wanted.difference(&b.tree());
        if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
    });
    assert_same(a.root(), b.root());
}

#[test]
fn work_goes_on_while_the_server_is_away() {
    let mut world = World::new();
    let (proxy, [mut a, mut b]) = behind_a_proxy(&world, ["a", "b"]);
    a.start();
    b.start();
    write(&a.path("before"), "before");
    until_true("the line works", || b.path("before").exists());

    proxy.take_down();
    world.server.kill();
    let mut random = Random::from_environment("the server is away");
    seed::grow_flat(&a.path("by a"), 200, 500, &mut random);
    seed::grow_flat(&b.path("by b"), 200, 500, &mut random);
    write(&b.path("before"), "changed while it was away");
    let (of_a, of_b) = (a.tree().contents(), b.tree().without("before").contents());
    assert!(!a.ended() && !b.ended(), "a device gave up:\n{}", stacksync_e2e::process::tail(a.log()));
    world.server.start();
    proxy.bring_up();

    until_true("a has the change", || read(&a.path("before")) == "changed while it was away");
    wait_until_same(&[&a, &b]);
    assert_holds(&a.tree(), &of_b, "b");
    let changed = blake3::hash(b"before");
    let of_a = of_a.into_iter().filter(|content| content != changed.as_bytes()).collect();
    assert_holds(&b.tree(), &of_a, "a");
}

#[test]
fn a_paused_device_keeps_still_until_it_resumes() {
    let (_world, [mut a, mut b, mut c]) = World::with_devices();
    for device in [&mut a, &mut b, &mut c] {
        device.start();
    }
    write(&a.path("first"), "first");
    until_true("everyone has the first", || b.path("first").exists() && c.path("first").exists());
    a.must(&["pause"]);
    until_true("a says that it pauses", || a.ask(&["status"]).to_lowercase().contains("paused"));

    write(&a.path("of a"), "waits");
    write(&b.path("of b"), "passes");
    until_true("c has what b made", || c.path("of b").exists());
    assert!(!a.path("of b").exists(), "a paused device took a change");
    assert!(!b.path("of a").exists() && !c.path("of a").exists(), "a paused device gave a change");

    a.must(&["resume"]);
    until_true("a goes on", || a.path("of b").exists() && c.path("of a").exists());
    wait_until_same(&[&a, &b, &c]);
}
