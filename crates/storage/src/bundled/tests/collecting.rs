//! Cleaning up: what it removes and what it keeps; that it may die at every step; that it may meet a commit at every step.

use super::super::{Making, bundles_of};
use super::world::{HOME, Names, World};
use super::{bring, chunks, leave, names, whole};
use crate::bundled::BundlesCollected;
use stacksync_chunks::gc::{Act, Rules};
use stacksync_chunks::store::{ChunkStore, StoreError};
use stacksync_core::values::ChunkName;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

const GRACE: u64 = 100;

fn rules(world: &World) -> Rules {
    Rules { grace: Duration::from_secs(GRACE), settle: Duration::ZERO, act: Act::Collect, now: world.shared.now() }
}

async fn collect(world: &World) -> Result<BundlesCollected, StoreError> {
    world.store.collect(&Names(world.shared.clone()), HOME, &rules(world)).await
}

fn name_these(world: &World, names: &[ChunkName]) {
    world.shared.named.lock().unwrap().extend(names);
}

fn objects(world: &World) -> HashSet<ChunkName> {
    let objects = world.memory.objects.lock().unwrap();
    objects.keys().filter(|(container, _)| *container == bundles_of(HOME)).map(|(_, name)| *name).collect()
}

/// One bundle that is all named (0..10), one of which a third is (10..40), one of which nothing is (40..50), one that nobody knows and
/// nobody needs (50..60), and one that nobody knows and that holds what is named (60..70). Everything is old.
async fn scene() -> (World, Vec<ChunkName>) {
    let world = World::new().await;
    for range in [0..10, 10..40, 40..50] {
        bring(&world, &chunks(range)).await;
    }
    leave(&world, &chunks(50..60));
    leave(&world, &chunks(60..70));
    let named = [names(&chunks(0..20)), names(&chunks(60..65))].concat();
    name_these(&world, &named);
    world.shared.pass(GRACE);
    (world, named)
}

#[tokio::test]
async fn what_nobody_names_goes_in_two_runs_and_the_rest_stays() {
    let (world, named) = scene().await;
    let dry = Rules { act: Act::DryRun, ..rules(&world) };
    let planned = world.store.collect(&Names(world.shared.clone()), HOME, &dry).await.unwrap();
    let done = collect(&world).await.unwrap();
    let counts = |done: BundlesCollected| (done.kept, done.adopted, done.retired, done.rewritten, done.restored, done.removed);
    assert_eq!(counts(done), (1, 1, 2, 1, 0, 0));
    assert_eq!(counts(planned), counts(done));
    assert_eq!(whole(&world.store, &named).await.len(), named.len());
    assert_eq!(world.store.present(HOME, names(&chunks(40..50))).await.unwrap(), [false; 10]);
    // Before the grace time is over nothing is removed.
    world.shared.pass(GRACE - 1);
    assert_eq!(collect(&world).await.unwrap().removed, 0);
    assert_eq!(objects(&world).len(), 6);
    world.shared.pass(1);
    let done = collect(&world).await.unwrap();
    assert_eq!((done.removed, done.retired, done.restored), (3, 0, 0));
    assert_eq!(whole(&world.store, &named).await.len(), named.len());
    assert_eq!(objects(&world).len(), 3);
    world.shared.pass(GRACE);
    assert_eq!(counts(collect(&world).await.unwrap()), (3, 0, 0, 0, 0, 0));
}

#[tokio::test]
async fn what_is_young_is_left_alone() {
    let world = World::new().await;
    bring(&world, &chunks(0..10)).await;
    leave(&world, &chunks(10..20));
    world.shared.pass(GRACE - 1);
    assert_eq!(collect(&world).await.unwrap(), BundlesCollected { kept: 2, ..BundlesCollected::default() });
}

#[tokio::test]
async fn wherever_it_dies_nothing_that_is_named_is_lost() {
    let mut ended = false;
    for step in (1..).take_while(|_| true) {
        let (world, named) = scene().await;
        world.shared.die_at(step);
        let died = collect(&world).await;
        ended |= died.is_ok();
        world.shared.die_at(0);
        // 60..65 were nobody's until they were adopted; the others are there at every moment.
        let here = whole(&world.store, &named).await;
        assert!(named[..20].iter().all(|name| here.contains(name)), "after {step} steps");
        world.shared.pass(GRACE / 2);
        // Another run that dies at the same step, then some that do not.
        world.shared.die_at(step);
        let _ = collect(&world).await;
        world.shared.die_at(0);
        for _ in 0..6 {
            collect(&world).await.unwrap();
            world.shared.pass(GRACE);
            assert_eq!(whole(&world.store, &named).await.len(), named.len(), "died at step {step}");
        }
        assert_eq!(objects(&world).len(), 3, "died at step {step}");
        assert_eq!(collect(&world).await.unwrap().kept, 3, "died at step {step}");
        if ended {
            assert!(step > 15, "{step}");
            return;
        }
    }
}

#[tokio::test]
async fn a_commit_that_comes_at_any_step_keeps_its_chunks() {
    // The commit found its chunks before the run began, and is saved at this step. Of the bundles that are dead and sparse.
    for committed in [chunks(40..42), chunks(30..32)] {
        for step in 1.. {
            let (world, mut named) = scene().await;
            let wanted = names(&committed);
            assert_eq!(world.store.present(HOME, wanted.clone()).await.unwrap(), [true; 2]);
            named.extend(&wanted);
            *world.shared.commits.lock().unwrap() = Some((world.shared.steps.load(Ordering::Relaxed) + step, wanted.clone()));
            collect(&world).await.unwrap();
            let came = world.shared.commits.lock().unwrap().take().is_none();
            name_these(&world, &wanted);
            for _ in 0..5 {
                world.shared.pass(GRACE / 2);
                collect(&world).await.unwrap();
                assert_eq!(whole(&world.store, &named).await.len(), named.len(), "committed at step {step}");
            }
            if !came {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_device_that_brings_a_bundle_while_it_is_removed_is_told() {
    let (world, _) = scene().await;
    collect(&world).await.unwrap();
    let (_, relied_on) = bring(&world, &chunks(50..60)).await;
    assert!(!relied_on, "it is being removed");
    world.shared.pass(GRACE);
    collect(&world).await.unwrap();
    let (_, relied_on) = bring(&world, &chunks(50..60)).await;
    assert!(relied_on, "it is gone, and so it is new");
}

#[tokio::test]
async fn of_what_is_damaged_the_rest_is_kept() {
    let (world, mut named) = scene().await;
    let lost = {
        let mut objects = world.memory.objects.lock().unwrap();
        let table = stacksync_chunks::bundle::encode(&chunks(10..40)).0;
        let (bytes, _) = objects.get_mut(&(bundles_of(HOME), table.name)).unwrap();
        let mut changed = bytes.to_vec();
        changed[table.parts[3].start as usize + 14] ^= 4;
        *bytes = changed.into();
        table.parts[3].name
    };
    named.retain(|name| *name != lost);
    for _ in 0..4 {
        collect(&world).await.unwrap();
        world.shared.pass(GRACE);
        assert_eq!(whole(&world.store, &named).await.len(), named.len());
        assert_eq!(world.store.present(HOME, vec![lost]).await.unwrap(), [false], "it comes back from a device");
    }
    assert_eq!(objects(&world).len(), 3);
}

#[tokio::test]
async fn bundles_are_unpacked_where_none_are_made() {
    let (world, named) = scene().await;
    let unpacking = world.unpacking();
    assert_eq!(unpacking.making(), Making::Off);
    for _ in 0..5 {
        unpacking.collect(&Names(world.shared.clone()), HOME, &rules(&world)).await.unwrap();
        world.shared.pass(GRACE);
        assert_eq!(whole(&unpacking, &named).await.len(), named.len());
    }
    assert_eq!(objects(&world).len(), 0);
    assert!(unpacking.alone().present(HOME, named).await.unwrap().into_iter().all(|there| there));
}
