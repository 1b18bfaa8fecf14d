//! Measures the ways to make a batch of small files durable, for `docs/decisions/chunk-durability.md`.
//!
//! `chrt -r 1 cargo run --release -p stacksync-chunks --example durability -- DIR`: prints files/s for each way. Removes nothing:
//! after mass deletions ext4 takes up to twenty times longer to create files, for minutes.

use stacksync_chunks::pack;
use stacksync_chunks::store::{ChunkStore, FolderStore};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BATCHES: usize = 12;
const BATCH_FILES: usize = 400;
const FILE_BYTES: usize = 4096;
const FAN_OUT: usize = 256;

#[derive(Clone, Copy, Debug)]
enum Way {
    /// `fdatasync`, one after the other, no writeback started before.
    OneByOne,
    /// Writeback started for all, then `fdatasync` from so many threads.
    Parallel(usize),
    /// One `syncfs` for the data, one for the names.
    SyncFs,
    /// Writeback started for all, `fdatasync` from so many threads; the names by one `syncfs`.
    ParallelThenSyncFs(usize),
}

fn main() -> io::Result<()> {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "/tmp".to_owned()))
        .join(format!("durability-{}", std::process::id()));
    let ways = [
        Way::OneByOne,
        Way::Parallel(2),
        Way::Parallel(4),
        Way::Parallel(8),
        Way::Parallel(16),
        Way::Parallel(32),
        Way::ParallelThenSyncFs(8),
        Way::ParallelThenSyncFs(16),
        Way::SyncFs,
    ];
    for (index, way) in ways.into_iter().enumerate() {
        let root = dir.join(index.to_string());
        fs::create_dir_all(root.join("tmp"))?;
        for fan in 0..FAN_OUT {
            fs::create_dir(root.join(format!("{fan:02x}")))?;
        }
        File::open(&root)?.sync_all()?;
        let mut phases = [Duration::ZERO; 3];
        let start = Instant::now();
        for batch in 0..BATCHES {
            store_batch(&root, batch, way, &mut phases)?;
        }
        let rate = (BATCHES * BATCH_FILES) as f64 / start.elapsed().as_secs_f64();
        let [write, data, names] = phases.map(|phase| phase.as_secs_f64() * 1e3 / BATCHES as f64);
        println!(
            "{way:?}: {rate:.0} files/s; per batch of {BATCH_FILES}: write {write:.1} ms, data {data:.1} ms, names {names:.1} ms"
        );
    }
    for callers in [1, 4] {
        let rate = tokio::runtime::Runtime::new()?.block_on(store_rate(&dir.join(format!("store-{callers}")), callers));
        println!("FolderStore, {callers} callers, batches of {BATCH_FILES}: {rate:.0} chunks/s");
    }
    let rate = tokio::runtime::Runtime::new()?.block_on(single_rate(&dir.join("single")));
    println!("FolderStore, one caller, one chunk at a time: {rate:.0} chunks/s");
    println!("kept: {}", dir.display());
    Ok(())
}

/// The storage itself: proof, look for what is there, and all.
async fn store_rate(root: &Path, callers: usize) -> f64 {
    let Ok(store) = FolderStore::open(root) else { return 0.0 };
    let start = Instant::now();
    let work: Vec<_> = (0..callers)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                for batch in 0..BATCHES {
                    let first = (caller * BATCHES + batch) * BATCH_FILES;
                    put(&store, (first..first + BATCH_FILES).filter_map(chunk).collect()).await;
                }
            })
        })
        .collect();
    for one in work {
        let _ = one.await;
    }
    (callers * BATCHES * BATCH_FILES) as f64 / start.elapsed().as_secs_f64()
}

async fn single_rate(root: &Path) -> f64 {
    let Ok(store) = FolderStore::open(root) else { return 0.0 };
    let start = Instant::now();
    for number in 0..BATCH_FILES {
        put(&store, chunk(number).into_iter().collect()).await;
    }
    BATCH_FILES as f64 / start.elapsed().as_secs_f64()
}

async fn put(store: &FolderStore, chunks: Vec<(ChunkName, bytes::Bytes)>) {
    if let Err(error) = store.put_batch(WorkspaceId(uuid::Uuid::from_u128(1)), chunks).await {
        eprintln!("{error}");
    }
}

/// Another chunk for each number, that cannot be compressed.
fn chunk(number: usize) -> Option<(ChunkName, bytes::Bytes)> {
    let mut plain = [0; FILE_BYTES];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut plain);
    Some((ChunkName::of(&plain), pack::pack(&plain).ok()?))
}

fn store_batch(root: &Path, batch: usize, way: Way, phases: &mut [Duration; 3]) -> io::Result<()> {
    let start = Instant::now();
    let mut files = Vec::new();
    for index in 0..BATCH_FILES {
        let path = root.join("tmp").join(format!("{batch}-{index}"));
        let mut file = File::create(&path)?;
        file.write_all(&[index as u8; FILE_BYTES])?;
        files.push((path, file));
    }
    let written = Instant::now();
    sync_data(&files, root, way)?;
    let durable = Instant::now();
    let mut touched = Vec::new();
    for (index, (path, _)) in files.iter().enumerate() {
        let fan = (batch * 7 + index * 31) % FAN_OUT;
        let folder = root.join(format!("{fan:02x}"));
        fs::rename(path, folder.join(format!("{batch}-{index}")))?;
        touched.push(folder);
    }
    touched.sort();
    touched.dedup();
    sync_names(&touched, root, way)?;
    phases[0] += written - start;
    phases[1] += durable - written;
    phases[2] += durable.elapsed();
    Ok(())
}

fn sync_data(files: &[(PathBuf, File)], root: &Path, way: Way) -> io::Result<()> {
    match way {
        Way::OneByOne => files.iter().try_for_each(|(_, file)| file.sync_data()),
        Way::Parallel(threads) | Way::ParallelThenSyncFs(threads) => {
            for (_, file) in files {
                start_writeback(file);
            }
            in_parallel(threads, files.len(), |index| files[index].1.sync_data())
        }
        Way::SyncFs => Ok(rustix::fs::syncfs(File::open(root)?.as_fd())?),
    }
}

fn sync_names(folders: &[PathBuf], root: &Path, way: Way) -> io::Result<()> {
    match way {
        Way::OneByOne => folders.iter().try_for_each(|folder| File::open(folder)?.sync_all()),
        Way::Parallel(threads) => in_parallel(threads, folders.len(), |index| File::open(&folders[index])?.sync_all()),
        Way::SyncFs | Way::ParallelThenSyncFs(_) => Ok(rustix::fs::syncfs(File::open(root)?.as_fd())?),
    }
}

/// Asks the kernel to start writing, without waiting: `posix_fadvise(DONTNEED)` starts writeback on Linux and is a safe call.
fn start_writeback(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

fn in_parallel(threads: usize, count: usize, work: impl Fn(usize) -> io::Result<()> + Sync) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count {
                            return Ok(());
                        }
                        work(index)?;
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker died"))))
    })
}
