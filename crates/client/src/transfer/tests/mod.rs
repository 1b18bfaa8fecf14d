//! The data plane against a storage that misbehaves.

mod bundles;
mod world;

use super::{Rate, Rates, Source};
use futures_util::future::join_all;
use stacksync_chunks::pack;
use stacksync_chunks::store::{ChunkStore, Fault as StoreFault};
use stacksync_core::cut::Cutter;
use stacksync_core::engine::{ApplyError, CallError, UploadError, Uploaded};
use stacksync_core::values::{ChunkName, ChunkRef, FileBody};
use std::fs::File;
use std::future::Future;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use world::{Fault, HOME, World, look};

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn cut(bytes: &[u8]) -> FileBody {
    let mut chunks: Vec<ChunkRef> = Vec::new();
    let mut cutter = Cutter::new();
    cutter.feed(bytes, |chunk, _| chunks.push(chunk));
    let total = cutter.finish(|chunk, _| chunks.push(chunk));
    FileBody { size: total.size, chunks: chunks.into(), adler32: total.adler32, executable: false }
}

fn read(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

impl World {
    async fn upload(&self, path: &Path) -> Result<Uploaded, UploadError> {
        self.transfer.uploader(self.desk.clone()).upload(File::open(path).unwrap(), look(path)).await
    }

    async fn fetch(&self, body: &FileBody) -> Result<Vec<u8>, ApplyError> {
        let target = self.target();
        self.transfer.downloader(self.desk.clone()).fetch(body, vec![], target.clone()).await?;
        Ok(read(&target))
    }

    /// What an early end left on its way may still have some, but not for ever.
    async fn all_room_is_back(&self) {
        while self.transfer.room_left() < self.transfer.room_max() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// A file that the storage holds.
    async fn stored(&self, bytes: &[u8]) -> FileBody {
        let path = self.file("stored", bytes);
        self.upload(&path).await.unwrap().body
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_any_size_come_back_as_they_were() {
    let world = World::new().await;
    for (seed, len) in [0, 1, 4096, 128 << 10, (128 << 10) + 1, 700_000, 21 << 20].into_iter().enumerate() {
        let bytes = noise(len, seed as u64);
        let path = world.file("file", &bytes);
        let uploaded = world.upload(&path).await.unwrap();
        assert_eq!(uploaded.body, cut(&bytes), "{len}");
        assert_eq!(uploaded.stat, look(&path));
        assert!(world.fetch(&uploaded.body).await.unwrap() == bytes, "{len}");
    }
    world.all_room_is_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_storage_has_is_not_sent_again() {
    let world = World::new().await;
    let body = world.stored(&noise(5 << 20, 1)).await;
    let sent = world.transfer.meter().sent_bytes();
    assert!(sent >= 5 << 20);
    assert_eq!(world.stored(&noise(5 << 20, 1)).await, body);
    assert_eq!(world.transfer.meter().sent_bytes(), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_files_travel_in_few_requests() {
    const FILES: usize = 1_500;
    let world = World::new().await;
    let uploader = world.transfer.uploader(world.desk.clone());
    let paths: Vec<_> = (0..FILES).map(|index| world.file(&index.to_string(), &noise(1000 + index, index as u64))).collect();
    let uploads = paths.iter().map(|path| uploader.upload(File::open(path).unwrap(), look(path)));
    let bodies: Vec<_> = join_all(uploads).await.into_iter().map(|uploaded| uploaded.unwrap().body).collect();
    let (asked, put) = (world.desk.calls.lock().unwrap().len(), world.site.count("POST /put"));
    assert!(asked <= FILES / 10 && put <= FILES / 10, "{asked} times asked, {put} times put");

    let downloader = world.transfer.downloader(world.desk.clone());
    let targets: Vec<_> = bodies.iter().map(|_| world.target()).collect();
    let fetches = bodies.iter().zip(&targets).map(|(body, target)| downloader.fetch(body, vec![], target.clone()));
    assert!(join_all(fetches).await.into_iter().all(|fetched| fetched.is_ok()));
    let got = world.site.count("POST /get");
    assert!(got <= FILES / 10, "{got} times got");
    assert_eq!(world.site.count("GET") + world.site.count("PUT"), 0);
    for (path, target) in paths.iter().zip(&targets) {
        assert!(std::fs::read(path).unwrap() == read(target));
    }
    world.all_room_is_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_copies_of_one_file_are_sent_once() {
    let world = World::new().await;
    let uploader = world.transfer.uploader(world.desk.clone());
    let path = world.file("copy", &noise(3000, 1));
    let uploads = (0..300).map(|_| uploader.upload(File::open(&path).unwrap(), look(&path)));
    assert!(join_all(uploads).await.into_iter().all(|uploaded| uploaded.is_ok()));
    assert_eq!(world.site.store.counts().chunks_put, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sparse_file_stays_sparse_and_costs_nothing() {
    let world = World::new().await;
    let path = world.file("sparse", b"");
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(96 << 20).unwrap();
    file.write_all_at(b"in the middle", 50 << 20).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let body = world.upload(&path).await.unwrap().body;
    assert!(world.transfer.meter().sent_bytes() < 100_000, "{}", world.transfer.meter().sent_bytes());
    let target = world.target();
    world.transfer.downloader(world.desk.clone()).fetch(&body, vec![], target.clone()).await.unwrap();
    assert!(read(&target) == std::fs::read(&path).unwrap());
    let kib = target.metadata().unwrap().blocks() / 2;
    assert!(kib <= 64, "{kib} KiB on the disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_as_described_is_not_reported() {
    let world = World::new().await;
    let path = world.file("file", &noise(10_000, 1));
    let seen = look(&path);
    let uploader = world.transfer.uploader(world.desk.clone());
    for (what, wrong) in [
        ("size", {
            let mut stat = seen.clone();
            stat.size -= 1;
            stat
        }),
        ("time", {
            let mut stat = seen.clone();
            stat.modified.0 += 1;
            stat
        }),
        ("change", {
            let mut stat = seen.clone();
            stat.changed_ns += 1;
            stat
        }),
        ("inode", {
            let mut stat = seen.clone();
            stat.file.inode += 1;
            stat
        }),
    ] {
        let uploaded = uploader.upload(File::open(&path).unwrap(), wrong).await;
        assert_eq!(uploaded, Err(UploadError::Changed), "{what}");
    }
    assert!(uploader.upload(File::open(&path).unwrap(), seen).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_during_its_upload_is_not_reported() {
    let world = World::new().await;
    // The storage keeps the first part waiting long enough for a change in place, after which reading goes on.
    let path = world.file("file", &noise(150 << 20, 1));
    let seen = look(&path);
    world.site.misbehave("PUT", 1_000, Fault::Silence);
    let uploader = world.transfer.uploader(world.desk.clone());
    let upload = tokio::spawn({
        let file = File::open(&path).unwrap();
        async move { uploader.upload(file, seen).await }
    });
    // It cannot have read all: there is room for a third of it only.
    while world.transfer.meter().read_bytes() < 24 << 20 {
        tokio::task::yield_now().await;
    }
    File::options().write(true).open(&path).unwrap().write_all_at(b"!", 149 << 20).unwrap();
    world.site.behave();
    let uploaded = upload.await.unwrap();
    assert!(matches!(uploaded, Err(UploadError::Changed)), "{uploaded:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_young_file_is_looked_at_again() {
    let world = World::new().await;
    let path = world.file("young", b"first");
    File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    let start = std::time::Instant::now();
    let modified = look(&path).modified.0;
    world.upload(&path).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
    assert!(now - modified >= 20_000_000, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_once_is_repeated() {
    let world = World::new().await;
    for fault in [Fault::Status(500), Fault::Status(503), Fault::Status(403), Fault::Status(429), Fault::Silence] {
        for len in [2000, 3 << 20] {
            let bytes = noise(len, fault_seed(fault, len));
            world.site.misbehave("PUT", 1, fault);
            world.site.misbehave("POST /put", 1, fault);
            let body = world.stored(&bytes).await;
            world.site.misbehave("GET", 1, fault);
            world.site.misbehave("POST /get", 1, fault);
            assert!(world.fetch(&body).await.unwrap() == bytes, "{fault:?} {len}");
            world.site.behave();
        }
    }
    for fault in [Fault::CutOff, Fault::Flip] {
        for len in [2000, 3 << 20] {
            let bytes = noise(len, 7);
            let body = world.stored(&bytes).await;
            world.site.misbehave("GET", 1, fault);
            world.site.misbehave("POST /get", 1, fault);
            assert!(world.fetch(&body).await.unwrap() == bytes, "{fault:?} {len}");
            world.site.behave();
        }
    }
    world.all_room_is_back().await;
}

fn fault_seed(fault: Fault, len: usize) -> u64 {
    ChunkName::of(format!("{fault:?} {len}").as_bytes()).as_bytes()[0].into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_always_is_reported_as_not_now() {
    let world = World::new().await;
    let (small, large) = (noise(2000, 1), noise(3 << 20, 2));
    let bodies = [world.stored(&small).await, world.stored(&large).await];
    for fault in [Fault::Status(500), Fault::Status(507), Fault::CutOff, Fault::Silence] {
        world.site.misbehave("", usize::MAX, fault);
        for body in &bodies {
            let fetched = world.fetch(body).await;
            assert!(matches!(fetched, Err(ApplyError::Call(CallError::NotNow(_)))), "{fault:?} {fetched:?}");
        }
        if fault != Fault::CutOff {
            for (seed, len) in [(3, 2000), (4, 3 << 20)] {
                let path = world.file("fresh", &noise(len, seed));
                let uploaded = world.upload(&path).await;
                assert!(matches!(uploaded, Err(UploadError::Call(CallError::NotNow(_)))), "{fault:?} {uploaded:?}");
            }
        }
        world.site.behave();
    }
    world.site.misbehave("", usize::MAX, Fault::Status(400));
    let fetched = world.fetch(&bodies[1]).await;
    assert!(matches!(fetched, Err(ApplyError::Call(CallError::Refused(_)))), "{fetched:?}");
    world.all_room_is_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_storage_is_named() {
    let world = World::new().await;
    world.site.store.set_fault(StoreFault::Full);
    let path = world.file("file", &noise(2000, 1));
    let uploaded = world.upload(&path).await;
    let full = "the service's storage is full, nothing is lost; it is tried again".to_owned();
    assert_eq!(uploaded, Err(UploadError::Call(CallError::NotNow(full))));
    world.site.store.set_fault(StoreFault::None);
    world.upload(&path).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_is_damaged_or_missing_is_named_and_comes_back() {
    let world = World::new().await;
    for len in [2000, 3 << 20] {
        let bytes = noise(len, 1);
        let body = world.stored(&bytes).await;
        let victim = body.chunks[body.chunks.len() / 2].name;
        let whole = world.site.store.get(HOME, victim).await.unwrap().unwrap();
        for damage in [pack::pack(b"another").unwrap(), whole.slice(..whole.len() - 1), whole.slice(..4)] {
            world.site.store.plant(HOME, victim, damage);
            for _ in 0..2 {
                match world.fetch(&body).await {
                    Err(ApplyError::ChunkUnavailable { chunk, .. }) => assert_eq!(chunk, victim),
                    fetched => panic!("{fetched:?}"),
                }
            }
            // The storage noticed: whoever has the file brings the chunk back.
            assert_eq!(world.stored(&bytes).await, body);
            assert!(world.fetch(&body).await.unwrap() == bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_this_computer_are_used_and_not_believed() {
    let world = World::new().await;
    let bytes = noise(6 << 20, 1);
    let body = Arc::new(world.stored(&bytes).await);
    let downloader = world.transfer.downloader(world.desk.clone());
    let asked = world.desk.calls.lock().unwrap().len();

    let same = Source { file: File::open(world.file("same", &bytes)).unwrap(), body: body.clone() };
    let target = world.target();
    // On a task of its own, as the driver does it: a fetch must not borrow what cannot be sent.
    let fetch = tokio::spawn({
        let (downloader, body, target) = (downloader.clone(), body.clone(), target.clone());
        async move { downloader.fetch(&body, vec![same], target).await }
    });
    fetch.await.unwrap().unwrap();
    assert!(read(&target) == bytes);
    assert_eq!(world.desk.calls.lock().unwrap().len(), asked, "nobody was asked");

    let mut other = bytes.clone();
    other[3 << 20] ^= 1;
    other.truncate(5 << 20);
    let changed = Source { file: File::open(world.file("changed", &other)).unwrap(), body: body.clone() };
    let target = world.target();
    let received = world.transfer.meter().received_bytes();
    downloader.fetch(&body, vec![changed], target.clone()).await.unwrap();
    assert!(read(&target) == bytes);
    let received = world.transfer.meter().received_bytes() - received;
    assert!(received > 0 && received < 5 << 20, "{received}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_without_batches_works_too() {
    let world = World::new().await;
    *world.desk.batches.lock().unwrap() = false;
    for len in [10, 3000, 1 << 20] {
        let bytes = noise(len, 9);
        let body = world.stored(&bytes).await;
        assert!(world.fetch(&body).await.unwrap() == bytes);
    }
    assert_eq!(world.site.count("POST"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_nobody_waits_for_ends_and_gives_its_room_back() {
    let world = World::new().await;
    world.site.misbehave("", usize::MAX, Fault::Silence);
    let path = world.file("long", &noise(100 << 20, 1));
    let upload = world.upload(&path);
    let _ = tokio::time::timeout(std::time::Duration::from_millis(100), upload).await;
    world.site.behave();
    world.all_room_is_back().await;
}

/// Longer than any of these tests is in its own time.
const DAYS: Duration = Duration::from_secs(1_000_000);

/// Runs with a clock that goes on by a step whenever there was time for bytes to move. A clock that is only paused would jump to the
/// next timer while they are on their way.
async fn with_steps_of<T>(step: Duration, work: impl Future<Output = T>) -> T {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    // While something blocks, the clock does not jump.
    let blocking = tokio::task::spawn_blocking(move || stopped.recv().is_err());
    tokio::pin!(work);
    let done = loop {
        if let std::task::Poll::Ready(done) = futures_util::poll!(&mut work) {
            break done;
        }
        for _ in 0..10 {
            std::thread::sleep(Duration::from_micros(20));
            tokio::task::yield_now().await;
        }
        tokio::time::advance(step).await;
    };
    drop(stop);
    blocking.await.unwrap();
    done
}

#[tokio::test(start_paused = true)]
async fn files_go_no_faster_than_they_may_each_way() {
    with_steps_of(Duration::from_millis(50), no_faster()).await;
}

async fn no_faster() {
    let world = World::with_patience(DAYS).await;
    let bytes = noise(3 << 20, 1);
    let start = Instant::now();
    world.transfer.limit(Rates { up: Rate::new(256 << 10), down: Rate::new(128 << 10) });
    let body = world.stored(&bytes).await;
    let sent = start.elapsed().as_secs_f64();
    assert!((11.5..20.0).contains(&sent), "{sent} s for 3 MiB at 256 KiB/s");
    let start = Instant::now();
    assert!(world.fetch(&body).await.unwrap() == bytes);
    let received = start.elapsed().as_secs_f64();
    assert!((23.0..40.0).contains(&received), "{received} s for 3 MiB at 128 KiB/s");

    let small: Vec<_> = (0..40).map(|index| world.file(&index.to_string(), &noise(20_000, 100 + index))).collect();
    let start = Instant::now();
    let uploader = world.transfer.uploader(world.desk.clone());
    let uploads = small.iter().map(|path| uploader.upload(File::open(path).unwrap(), look(path)));
    let bodies: Vec<_> = join_all(uploads).await.into_iter().map(|uploaded| uploaded.unwrap().body).collect();
    let sent = start.elapsed().as_secs_f64();
    assert!(sent >= 2.5, "{sent} s for 800,000 bytes in batches at 256 KiB/s");
    world.transfer.limit(Rates::default());
    for body in &bodies {
        world.fetch(body).await.unwrap();
    }
    world.all_room_is_back().await;
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_says_when_to_come_again_is_left_alone_until_then() {
    with_steps_of(Duration::from_secs(5), left_alone()).await;
}

async fn left_alone() {
    let world = World::with_patience(DAYS).await;
    for (status, bytes) in [(503, 2000), (429, 1 << 20)] {
        let path = world.file("file", &noise(bytes, u64::from(status)));
        world.site.misbehave("P", 1, Fault::RetryAfter(status, "7"));
        let start = Instant::now();
        world.upload(&path).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(7), "{status}: {:?}", start.elapsed());
        world.site.behave();
    }
    world.site.misbehave("P", 1, Fault::RetryAfter(429, "Fri, 31 Dec 2999 23:59:59 GMT"));
    let path = world.file("another", &noise(2000, 1));
    let asked = world.site.count("");
    let start = Instant::now();
    for _ in 0..20 {
        match world.upload(&path).await {
            Err(UploadError::Call(CallError::NotNow(reason))) => {
                assert!(reason.contains("left alone") || reason.contains("429"), "{reason}");
            }
            uploaded => panic!("{uploaded:?}"),
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(world.site.count(""), asked + 1, "it was asked again");
    // For an hour, whatever it says.
    tokio::time::sleep(Duration::from_secs(3_600).saturating_sub(start.elapsed())).await;
    world.upload(&path).await.unwrap();
}

/// One refusal made all files that travelled together be told the same, and cost the others their further tries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_those_that_travel_together_fails_for_its_own_reason() {
    let world = World::new().await;
    *world.desk.batches.lock().unwrap() = false;
    let contents: Vec<_> = (0..3).map(|seed| noise(2000, seed)).collect();
    let name = |content: &[u8]| cut(content).chunks[0].name;
    let line = |method: &str, content: &[u8]| -> &'static str { format!("{method} /chunk/{}", name(content)).leak() };
    world.site.misbehave(line("PUT", &contents[0]), usize::MAX, Fault::Status(405));
    world.site.misbehave(line("PUT", &contents[1]), 2, Fault::Status(503));
    let uploader = world.transfer.uploader(world.desk.clone());
    let paths: Vec<_> = (0..3).map(|index| world.file(&index.to_string(), &contents[index])).collect();
    let uploads = join_all(paths.iter().map(|path| uploader.upload(File::open(path).unwrap(), look(path)))).await;
    assert!(matches!(&uploads[0], Err(UploadError::Call(CallError::Refused(why))) if why.contains("405")), "{uploads:?}");
    assert!(uploads[1].is_ok() && uploads[2].is_ok(), "{uploads:?}");

    world.site.behave();
    world.upload(&paths[0]).await.unwrap();
    world.site.misbehave(line("GET", &contents[0]), usize::MAX, Fault::Status(405));
    world.site.misbehave(line("GET", &contents[1]), 2, Fault::Status(503));
    let downloader = world.transfer.downloader(world.desk.clone());
    let bodies: Vec<_> = contents.iter().map(|content| cut(content)).collect();
    let fetches = join_all(bodies.iter().map(|body| downloader.fetch(body, vec![], world.target()))).await;
    assert!(matches!(&fetches[0], Err(ApplyError::Call(CallError::Refused(why))) if why.contains("405")), "{fetches:?}");
    assert!(fetches[1].is_ok() && fetches[2].is_ok(), "{fetches:?}");
    world.all_room_is_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_transfer_goes_on_at_the_chunk_both_ways() {
    let world = World::new().await;
    let bytes = noise(12 << 20, 5);
    let body = cut(&bytes);
    let victim = body.chunks[body.chunks.len() / 2].name;
    let line = |method: &str| -> &'static str { format!("{method} /chunk/{victim}").leak() };
    let path = world.file("long", &bytes);
    let downloader = world.transfer.downloader(world.desk.clone());
    for method in ["PUT", "GET"] {
        world.site.misbehave(line(method), usize::MAX, Fault::Status(503));
        for _ in 0..3 {
            let failed = match method {
                "PUT" => world.upload(&path).await.is_err(),
                _ => downloader.fetch(&body, vec![], world.target()).await.is_err(),
            };
            assert!(failed, "{method}");
        }
        world.site.behave();
        if method == "PUT" {
            assert_eq!(world.upload(&path).await.unwrap().body, body);
        } else {
            let target = world.target();
            downloader.fetch(&body, vec![], target.clone()).await.unwrap();
            assert!(read(&target) == bytes);
        }
        let again = (body.chunks.iter())
            .filter(|chunk| chunk.name != victim && world.site.count(&format!("{method} /chunk/{}", chunk.name)) > 1);
        // Those that were on their way when the upload or download was given up.
        let (again, all) = (again.count(), body.chunks.len());
        assert!(again <= 8 && all > 12, "{method}: {again} of {all} chunks went more than once");
    }
}
