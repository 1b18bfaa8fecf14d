//! `kill -9` of server and devices at random moments of a sync of thousands of files; then all converge and nothing is lost.

use stacksync_e2e::device::Device;
use stacksync_e2e::edit::Editor;
use stacksync_e2e::proxy::Proxy;
use stacksync_e2e::random::Random;
use stacksync_e2e::seed;
use stacksync_e2e::server::Invitation;
use stacksync_e2e::tree::{Tree, assert_holds};
use stacksync_e2e::wait::until_true;
use stacksync_e2e::world::World;
use std::time::{Duration, Instant};

const FILES: usize = 2_000;
const FILE_BYTES: usize = 2_500;
pub const KILLS: usize = 8;

pub struct Stage {
    world: World,
    proxy: Proxy,
    pub a: Device,
    pub b: Device,
    random: Random,
    pub wanted: Tree,
}

/// Two devices behind a relay that counts; the first one has thousands of files that nobody else has.
pub fn stage(story: &str) -> Stage {
    let world = World::new();
    let proxy = Proxy::to(world.server.address());
    let mut random = Random::from_environment(story);
    let [a, b] = ["a", "b"].map(|name| {
        let device = world.stranger(name);
        device.join(&Invitation { url: format!("http://{}", proxy.address()), ..world.invite() });
        device
    });
    seed::grow_flat(a.root(), FILES, FILE_BYTES, &mut random);
    let wanted = a.tree();
    Stage { world, proxy, a, b, random, wanted }
}

impl Stage {
    /// Waits for a random moment, measured in bytes that pass; for a few seconds at most, for the end may come before.
    pub fn random_moment(&mut self) {
        let passed = || {
            let (up, down) = self.proxy.bytes();
            up + down
        };
        let enough = passed() + self.random.below(2 * FILES * FILE_BYTES / KILLS) as u64;
        let start = Instant::now();
        until_true("a moment passes", || passed() > enough || start.elapsed() > Duration::from_secs(4));
    }

    pub fn must_end_well(mut self) {
        for device in [&mut self.a, &mut self.b] {
            device.kill();
        }
        self.world.settle(&[&self.a, &self.b]);
        for device in [&self.a, &self.b] {
            let lines = self.wanted.difference(&device.tree());
            assert!(lines.is_empty(), "{} is not what was wanted:\n{}", device.name(), lines.join("\n"));
        }
    }
}

#[test]
fn a_server_that_is_killed_keeps_what_it_acknowledged() {
    let mut stage = stage("a killed server");
    stage.a.start();
    stage.b.start();
    for _ in 0..KILLS {
        stage.random_moment();
        stage.world.server.kill();
        stage.world.server.start();
    }
    stage.must_end_well();
}

#[test]
fn everything_is_killed_while_two_people_work() {
    let mut stage = stage("everything is killed");
    stage.world.settle(&[&stage.a, &stage.b]);
    let mut editors = [&stage.a, &stage.b].map(|device| {
        Editor::new(device.root(), device.name(), Random::new(blake3::hash(device.name().as_bytes()).as_bytes()[0].into()))
    });
    for round in 0..KILLS {
        stage.a.start();
        stage.b.start();
        for editor in &mut editors {
            for line in editor.work(6) {
                println!("round {round}: {line}");
            }
        }
        std::thread::sleep(Duration::from_millis(stage.random.below(1_500) as u64));
        match stage.random.below(3) {
            0 => stage.a.kill(),
            1 => stage.b.kill(),
            _ => {
                stage.world.server.kill();
                stage.world.server.start();
            }
        }
    }
    stage.a.kill();
    stage.b.kill();
    // From here on nobody edits: what is on either disk now must be on both in the end, unless somebody deleted or replaced it.
    // New words of this last round exist on one disk only and can have been replaced by nobody else.
    let before = stage.a.tree().contents();
    for line in editors[0].work(10) {
        println!("last round: {line}");
    }
    let written = stage.a.tree().contents().difference(&before).copied().collect();
    stage.world.settle(&[&stage.a, &stage.b]);
    assert_holds(&stage.b.tree(), &written, "a");
}
