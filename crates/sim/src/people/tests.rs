//! Everything that people can do happens, and the same seed does the same.

use super::*;
use std::collections::BTreeMap;

fn work(seed: u64, steps: u64, skip: Option<u64>) -> (Disk, Vec<(u64, Done)>) {
    let mut disk = Disk::new(crate::disk::Flavour::default(), seed);
    start(&mut disk, &mut Random::stream(seed, "start", 0), 20);
    let mut done = Vec::new();
    for step in (0..steps).filter(|step| Some(*step) != skip) {
        disk.set_clock(disk.clock_ns() + 50_000_000);
        done.extend(act(&mut disk, &mut Random::stream(seed, "people", step), &Habits { step }).map(|done| (step, done)));
    }
    (disk, done)
}

#[test]
fn everything_happens_and_the_same_again() {
    let mut counts: BTreeMap<Operation, usize> = BTreeMap::new();
    for seed in 0..40 {
        let (disk, done) = work(seed, 100, None);
        let (again, same) = work(seed, 100, None);
        assert_eq!((disk.visible(), &done), (again.visible(), &same));
        done.iter().for_each(|(_, done)| *counts.entry(done.operation).or_default() += 1);
    }
    let rare: Vec<_> = Operation::ALL.iter().filter(|operation| counts.get(operation).copied().unwrap_or(0) < 3).collect();
    assert!(rare.is_empty(), "hardly ever: {rare:?} {counts:?}");
}

/// Leaving one step out changes what the others are no more than it must: their kinds stay.
#[test]
fn a_step_that_is_left_out_leaves_the_others_alone() {
    let (_, all) = work(7, 60, None);
    let (_, some) = work(7, 60, Some(11));
    let kind = |done: &[(u64, Done)], step: u64| done.iter().find(|(other, _)| *other == step).map(|(_, done)| done.operation);
    for step in (0..60).filter(|step| *step != 11) {
        let (before, after) = (kind(&all, step), kind(&some, step));
        assert!(before.is_none() || after.is_none() || before == after, "{step}: {before:?} {after:?}");
    }
}

/// What is followed change by change is what a look at everything finds, whatever people do and whenever the power fails.
#[test]
fn what_changed_adds_up_to_what_is_there() {
    for seed in 0..30 {
        let mut random = Random::stream(seed, "flavour", 0);
        let mut disk = Disk::new(crate::disk::Flavour::draw(&mut random), seed);
        start(&mut disk, &mut Random::stream(seed, "start", 0), 20);
        let mut picture = BTreeMap::new();
        for step in 0..100 {
            disk.set_clock(disk.clock_ns() + 50_000_000);
            act(&mut disk, &mut Random::stream(seed, "people", step), &Habits { step });
            if random.one_in(20) {
                disk.crash();
            }
            if random.one_in(3) {
                continue;
            }
            for shift in disk.take_shifts() {
                assert_ne!(shift.before, shift.now);
                let before = match shift.now {
                    Some(now) => picture.insert(shift.path, now),
                    None => picture.remove(&shift.path),
                };
                assert_eq!(before, shift.before);
            }
            assert_eq!(picture, disk.visible(), "seed {seed}, step {step}");
            assert!(disk.is_followed());
        }
    }
}
