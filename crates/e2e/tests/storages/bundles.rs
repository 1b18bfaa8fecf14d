//! Stories of small files that lie together in bundles.

use super::stories::{Backstage, Stage, fresh, settle, write};
use stacksync_chunks::bundle;
use stacksync_chunks::store::{ChunkStore, Stored, conformance};
use stacksync_e2e::random::Random;
use stacksync_e2e::storage::Kind;
use stacksync_e2e::tree::assert_same;
use stacksync_storage::backend::When;
use stacksync_storage::bundled::bundles_of;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

impl Backstage {
    fn bundles(&self) -> Vec<Stored> {
        self.runtime.block_on(self.store.list(bundles_of(self.home), None, 1_000)).unwrap()
    }
}

pub fn small_files_lie_in_bundles(kind: Kind) {
    const FILES: usize = 400;
    let stage = Stage::new(fresh(kind));
    let (a, b) = (stage.device("a"), stage.device("b"));
    let mut random = Random::from_environment("storages: bundles");
    for number in 0..FILES {
        write(&a.path(&format!("small/{}/{number}", number % 9)), random.bytes(1_000 + number * 10));
    }
    a.sync_once();
    let backstage = Backstage::of(&stage);
    let (alone, bundles) = (backstage.chunks().len(), backstage.bundles().len());
    assert!(alone < FILES / 10 && (1..FILES / 10).contains(&bundles), "{alone} alone, {bundles} bundles");
    b.sync_once();
    assert_same(a.root(), b.root());
    // Both go on: some change, some are copied, some go.
    for number in (0..FILES).step_by(3) {
        write(&b.path(&format!("small/{}/{number}", number % 9)), random.bytes(700));
        let copied = number / 2;
        std::fs::copy(a.path(&format!("small/{}/{copied}", copied % 9)), a.path(&format!("copy {number}"))).unwrap();
    }
    std::fs::remove_dir_all(a.path("small/8")).unwrap();
    settle(&[&b, &a]);
    assert_same(a.root(), b.root());
    assert_eq!(stage.relayed(), 0, "bytes passed through the service");
    let c = stage.device("c");
    c.sync_once();
    assert_same(a.root(), c.root());
    let scrubbed = stage.server.admin(&["storage", "scrub"]);
    assert!(scrubbed["checked"].as_u64().unwrap() as usize >= FILES, "{scrubbed}");
    assert_eq!(scrubbed["problems"].as_array().unwrap().len(), 0, "{scrubbed}");
    let collected = stage.server.admin(&["storage", "gc", "--grace", "1s", "--no-device-is-at-work"]);
    assert_eq!((&collected["bundles"]["retired"], &collected["bundles"]["rewritten"]), (&0.into(), &0.into()), "{collected}");
}

pub fn a_damaged_bundle_hurts_one_file_and_is_told(kind: Kind) {
    let stage = Stage::new(fresh(kind));
    let (a, b) = (stage.device("a"), stage.device("b"));
    let mut random = Random::from_environment("storages: damaged bundle");
    for number in 0..20 {
        write(&a.path(&format!("doc {number}")), random.bytes(5_000));
    }
    a.sync_once();
    let backstage = Backstage::of(&stage);
    let place = bundles_of(backstage.home);
    let stored = *backstage.bundles().iter().max_by_key(|stored| stored.bytes).unwrap();
    let whole = backstage.runtime.block_on(backstage.backend.get_part(place, stored.name, 0, stored.bytes)).unwrap().unwrap().bytes;
    let table = bundle::read_table(stored.name, &whole).unwrap();
    let mut damaged = whole.to_vec();
    damaged[table.parts[0].start as usize + 100] ^= 8;
    backstage.runtime.block_on(backstage.backend.put(place, stored.name, damaged.into(), When::Always)).unwrap();
    let said = b.must_fail(&["sync", "--once"]);
    assert!(said.contains("doc"), "it does not name the file:\n{said}");
    let output = stage.server.admin_output(&["storage", "scrub"]);
    let said = stacksync_e2e::process::printed(&output);
    assert_eq!(output.status.code(), Some(8), "{said}");
    assert!(said.contains(&table.parts[0].name.to_string()) && said.contains("doc"), "{said}");
    let missing = (0..20).filter(|number| !b.path(&format!("doc {number}")).exists()).count();
    assert_eq!(missing, 1, "the others are not hurt");
    // It is not looked for there any more, and comes back as any chunk does.
    let start = table.parts[0].start as usize;
    let packed = whole.slice(start..start + table.parts[0].length as usize);
    backstage.runtime.block_on(backstage.store.put_batch(backstage.home, vec![(table.parts[0].name, packed)])).unwrap();
    settle(&[&b, &a]);
    assert_same(a.root(), b.root());
    assert_eq!(stage.server.admin(&["storage", "scrub"])["problems"].as_array().unwrap().len(), 0);
}

pub fn cleaning_up_beside_devices_loses_no_bundle(kind: Kind) {
    let stage = Stage::new(fresh(kind));
    let (a, b) = (stage.device("a"), stage.device("b"));
    let mut random = Random::from_environment("storages: gc beside devices");
    // Bundles of which nothing or little is ever named, as devices leave them that die.
    let backstage = Backstage::of(&stage);
    let left: Vec<_> = (0..9).map(|number| conformance::chunk(&format!("nobody names {number}"))).collect();
    let (table, bytes) = bundle::encode(&left);
    let put = async {
        backstage.backend.make_container(bundles_of(backstage.home)).await?;
        backstage.backend.put(bundles_of(backstage.home), table.name, bytes, When::Absent).await
    };
    backstage.runtime.block_on(put).unwrap();
    let done = AtomicBool::new(false);
    let (mut retired, mut removed) = (0, 0);
    std::thread::scope(|scope| {
        let cleaner = scope.spawn(|| {
            let mut runs = Vec::new();
            while !done.load(Ordering::Relaxed) || runs.len() < 3 {
                runs.push(stage.server.admin(&["storage", "gc", "--grace", "1s", "--no-device-is-at-work"]));
            }
            runs
        });
        for round in 0..8 {
            for number in 0..30 {
                write(&a.path(&format!("{round}/{number}")), random.bytes(2_000));
            }
            settle(&[&a, &b]);
            std::thread::sleep(Duration::from_millis(200));
        }
        done.store(true, Ordering::Relaxed);
        for run in cleaner.join().unwrap() {
            retired += run["bundles"]["retired"].as_u64().unwrap();
            removed += run["bundles"]["removed"].as_u64().unwrap();
        }
    });
    assert!(retired > 0 && removed > 0, "{retired} retired, {removed} removed");
    assert!(backstage.bundles().iter().all(|stored| stored.name != table.name), "what nobody names is still there");
    let scrubbed = stage.server.admin(&["storage", "scrub"]);
    assert_eq!(scrubbed["problems"].as_array().unwrap().len(), 0, "{scrubbed}");
    let c = stage.device("c");
    c.sync_once();
    assert_same(a.root(), c.root());
    assert_same(a.root(), b.root());
}
