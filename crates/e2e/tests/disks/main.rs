//! The simulated disk is what the real one is: one random sequence of edits and of the client's actions, on a folder of this machine's
//! file system through the client's own code and on the simulated one, gives the same outcomes, the same pictures and the same
//! trash.
//!
//! What the two say of times and inode numbers cannot be equal; what follows from them must be: the same files are the same.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod real;
mod twins;

use stacksync_e2e::random::Random;
use stacksync_sim::disk::Flavour;
use std::path::Path;
use twins::Twins;

/// Sequences of so many operations.
const OPERATIONS: usize = 120;

fn sequences() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number("DISKS_SEED"), number("DISKS_SEEDS").unwrap_or(60));
    first.map_or(0..count, |first| first..first + 1)
}

fn compare(flavour: &str, home: Option<&Path>) {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for seed in sequences() {
        let mut twins = Twins::new(flavour.parse::<Flavour>().unwrap(), home, seed);
        let mut random = Random::new(seed);
        for operation in 0..OPERATIONS {
            match twins.operate(&mut random) {
                Ok(what) => *seen.entry(what).or_default() += 1,
                Err(difference) => panic!("{flavour}, DISKS_SEED={seed}, operation {operation}: {difference}"),
            }
        }
    }
    println!("{flavour}: {seen:#?}");
    if sequences().count() > 1 {
        for what in twins::OUTCOMES {
            assert!(seen.contains_key(*what), "{what} never happened: {seen:#?}");
        }
    }
}

#[test]
fn the_simulated_disk_does_what_the_real_one_does() {
    compare("fine", None);
}

/// With the client's home on another file system, where this machine has one.
#[test]
fn the_simulated_disk_does_what_the_real_one_does_with_its_home_elsewhere() {
    use std::os::unix::fs::MetadataExt;
    let shm = Path::new("/dev/shm");
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    assert!(shm.is_dir() && device(shm) != device(&std::env::temp_dir()), "this test needs a file system of its own at /dev/shm");
    compare("fine+away", Some(shm));
}
