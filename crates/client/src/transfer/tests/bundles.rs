//! Small files in bundles, against a storage and a service that misbehave.

use super::world::{Fault, HOME, World, look};
use super::{noise, read};
use futures_util::future::join_all;
use stacksync_chunks::store::ChunkStore;
use stacksync_core::engine::ApplyError;
use stacksync_core::values::FileBody;
use std::fs::File;
use std::path::PathBuf;

const FILES: usize = 600;

async fn world(relied_on: bool) -> (World, Vec<PathBuf>) {
    let world = World::new().await;
    *world.desk.bundles.lock().unwrap() = Some(relied_on);
    let paths = (0..FILES).map(|index| world.file(&index.to_string(), &noise(1_000 + index, index as u64))).collect();
    (world, paths)
}

async fn upload(world: &World, paths: &[PathBuf]) -> Vec<FileBody> {
    let uploader = world.transfer.uploader(world.desk.clone());
    let uploads = paths.iter().map(|path| uploader.upload(File::open(path).unwrap(), look(path)));
    join_all(uploads).await.into_iter().map(|uploaded| uploaded.unwrap().body).collect()
}

async fn fetch(world: &World, bodies: &[FileBody]) -> Vec<Result<Vec<u8>, ApplyError>> {
    let downloader = world.transfer.downloader(world.desk.clone());
    let fetch = |body| {
        let (downloader, target) = (downloader.clone(), world.target());
        async move { downloader.fetch(body, vec![], target.clone()).await.map(|()| read(&target)) }
    };
    join_all(bodies.iter().map(fetch)).await
}

fn same(paths: &[PathBuf], fetched: &[Result<Vec<u8>, ApplyError>]) -> bool {
    paths.iter().zip(fetched).all(|(path, bytes)| bytes.as_ref().is_ok_and(|bytes| *bytes == std::fs::read(path).unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_files_are_few_objects() {
    let (world, paths) = world(true).await;
    let bodies = upload(&world, &paths).await;
    let put = world.site.count("PUT /bundle");
    assert!(put <= FILES / 10, "{put} bundles");
    let before = world.transfer.meter().sent_bytes();
    assert_eq!(upload(&world, &paths).await, bodies);
    assert_eq!(world.transfer.meter().sent_bytes(), before, "what lies in bundles is not sent again");
    assert!(same(&paths, &fetch(&world, &bodies).await));
    let got = world.site.count("GET /bundle");
    assert!(got <= 4 * put, "{got} reads of {put} bundles");
    assert_eq!(world.site.count("GET /chunk") + world.site.count("PUT /chunk") + world.site.count("POST"), 0);
    world.all_room_is_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_rely_on_a_bundle_gets_its_chunks_alone() {
    let (world, paths) = world(false).await;
    let bodies = upload(&world, &paths[..50]).await;
    // The desk has a batch address for those that do not go into bundles.
    assert!(world.site.count("PUT /chunk") + world.site.count("POST /put") > 0);
    let chunk = bodies[0].chunks[0].name;
    assert!(world.site.store.get(HOME, chunk).await.unwrap().is_some());
    assert!(same(&paths[..50], &fetch(&world, &bodies).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_once_with_a_bundle_is_repeated() {
    for fault in [Fault::Status(503), Fault::Status(403), Fault::CutOff, Fault::Silence] {
        let (world, paths) = world(true).await;
        world.site.misbehave("PUT /bundle", 1, fault);
        let bodies = upload(&world, &paths[..40]).await;
        world.site.misbehave("GET /bundle", 1, fault);
        assert!(same(&paths[..40], &fetch(&world, &bodies).await), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_a_bundle_lacks_may_be_elsewhere() {
    let (world, paths) = world(true).await;
    let bodies = upload(&world, &paths[..20]).await;
    let (name, packed) = {
        let mut bundles = world.site.bundles.lock().unwrap();
        let (_, (bytes, parts)) = bundles.iter_mut().find(|(_, (_, parts))| parts.len() > 1).unwrap();
        let last = parts[parts.len() - 1];
        let packed = bytes.slice(last.start as usize..);
        *bytes = bytes.slice(..last.start as usize);
        (last.name, packed)
    };
    let fetched = fetch(&world, &bodies).await;
    assert_eq!(fetched.iter().filter(|file| file.is_err()).count(), 1);
    world.site.store.put_batch(HOME, vec![(name, packed)]).await.unwrap();
    assert!(same(&paths[..20], &fetch(&world, &bodies).await));
    world.all_room_is_back().await;
}
