//! Random commits, here and against the rule in memory: both must say the same, item by item.

use super::home::Kind;
use super::world::{World, bytes, id};
use crate::db::{Db, PlaceRule};
use stacksync_core::commit::{ItemCommit, Verdict};
use stacksync_core::decide::{Facts, memory::MemoryWorkspace};
use stacksync_core::values::{Body, ItemId, ModifiedAt, Name, Place, RemoteItem, Revision, Status, Version};

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

fn proposal(dice: &mut Dice, memory: &MemoryWorkspace) -> ItemCommit {
    let number = 1 + dice.below(12) as i64;
    let head = memory.heads().find(|head| head.id == id(number));
    let right = head.map_or(0, |head| head.version.get() as i64) + 1;
    let off = dice.pick(&[0, 0, 0, 0, 0, 0, -1, -2, 1]);
    let kind = if dice.below(12) == 0 { number + 1 } else { number } % 4;
    let content = dice.pick(&["", "x", "yy", "three hundred bytes"]);
    ItemCommit {
        id: id(number),
        version: Version::new((right + off).max(1) as u64).unwrap(),
        status: dice.pick(&[Status::New, Status::Changed, Status::Changed, Status::Renamed, Status::Deleted]),
        place: Place {
            parent: ItemId::new(dice.below(13) as i64),
            name: Name::new(dice.pick(&["a", "B", "b", "c", "É", "e\u{301}"])).unwrap(),
        },
        body: match kind {
            0 => Body::Link("target".into()),
            1 => bytes(content),
            _ => Body::Folder,
        },
        modified: ModifiedAt(dice.below(2) as i64),
    }
}

async fn compare(kind: Kind, seed: u64) {
    let world = World::new(kind).await;
    world.db.set_quota(world.user.id, 30).await.unwrap();
    let mut memory = MemoryWorkspace::new(30);
    let mut dice = Dice(seed);
    for _ in 0..80 {
        let place_rule = dice.pick(&[PlaceRule::Full, PlaceRule::Full, PlaceRule::AsOriginal]);
        let items: Vec<_> = (0..1 + dice.below(3)).map(|_| proposal(&mut dice, &memory)).collect();
        let mut commit = world.commit_of(items);
        commit.place_rule = place_rule;
        if dice.below(8) == 0 {
            commit.present.clear();
        }
        let expected = memory.commit(&commit.items, Facts { present: &commit.present, place_rule });
        let outcome = world.db.commit(commit.clone()).await.unwrap();
        assert_eq!(outcome.answer, expected, "seed {seed}: {:?}", commit.items);
        assert_eq!(outcome.quota_used, memory.quota.used, "seed {seed}");
        for (verdict, made) in outcome.answer.verdicts.iter().zip(&outcome.made) {
            let shown = match verdict {
                Verdict::Accepted(item) | Verdict::Existing(item) | Verdict::Refused { current: Some(item), .. } => Some(item),
                Verdict::Refused { current: None, .. } => None,
            };
            assert_eq!(shown.map(|item| memory.log[item.revision.0 as usize - 1].1), made.map(|made| made.status), "seed {seed}");
        }
        let again = world.db.commit(commit).await.unwrap();
        assert!(again.replay);
        assert_eq!(again.answer, outcome.answer, "seed {seed}");
        assert_eq!(again.made, outcome.made, "seed {seed}");
    }
    check_stored(&world.db, &world, &memory).await;
}

async fn check_stored(db: &Db, world: &World, memory: &MemoryWorkspace) {
    let mut expected: Vec<RemoteItem> = memory.heads().cloned().collect();
    expected.sort_unstable_by_key(|item| item.revision);
    assert_eq!(world.items().await, expected);
    let page = db.changes(world.workspace, Revision::ZERO, 1_000).await.unwrap();
    assert_eq!((page.to, page.head), (memory.revision(), memory.revision()));
    assert!(page.items.iter().all(|changed| memory.log[changed.item.revision.0 as usize - 1] == (changed.item.id, changed.status)));
    assert_eq!(world.quota_used().await, memory.quota.used);
}

pub async fn the_store_and_the_rule_in_memory_say_the_same(kind: Kind) {
    let tasks: Vec<_> = (0..24).map(|seed| tokio::spawn(compare(kind, seed))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}
