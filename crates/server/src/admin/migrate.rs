//! `storage migrate`: all chunks of all workspaces from the storage that is configured to another one, while devices go on.
//!
//! Chunks never change, so what was copied once is done. It may be broken off and run again, and is: once before the configuration
//! is changed, and once after that, for what came in between.

use super::storage::workspaces;
use super::{Admin, Failure, Need, Report};
use crate::config::{self, Config, Sources};
use crate::data_dir::DataDir;
use crate::storage::{self, Storage};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use stacksync_chunks::pack;
use stacksync_chunks::store::{ChunkStore, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_storage::bundled::Copied;
use std::path::Path;

/// Chunks of a listing.
const PAGE: usize = 1_000;
/// Chunks that are in memory together: at most 2 MiB each.
const GROUP: usize = 16;
/// Groups on their way at once.
const GROUPS_MAX: usize = 4;

#[derive(Default)]
struct Moved {
    copied: u64,
    bytes: u64,
    there: u64,
    damaged: Vec<String>,
    bundles: Copied,
}

impl Moved {
    fn add_bundles(&mut self, more: Copied) {
        self.bundles.bundles += more.bundles;
        self.bundles.bytes += more.bytes;
        self.bundles.there += more.there;
        self.damaged.extend(more.damaged.iter().map(ToString::to_string));
    }
}

/// Copies everything to the storage of another configuration. Answers, too, how many chunks were damaged.
pub async fn run(config: &Config, to: &Path) -> Result<(Report, usize), Failure> {
    let admin = Admin::open(config, Need::Data).await?;
    let sources = Sources { file: Some(to.to_owned()), environment: Vec::new(), options: Vec::new() };
    let wanted = config::load(&sources).map_err(Failure::command)?;
    let place = DataDir::open_or_create(&wanted.data)?;
    let from = storage::open(config, &admin.data, &admin.db).await?;
    let target = storage::open(&wanted, &place, &admin.db).await?;
    let mut moved = Moved::default();
    for workspace in workspaces(&admin.db).await? {
        let from_store = match (&from.bundles, &target.bundles) {
            // As they are: both are found by the same index.
            (Some(bundles), Some(there)) => {
                moved.add_bundles(bundles.copy_to(there, workspace).await.map_err(Failure::command)?);
                from.alone()
            }
            // Unpacked, where there are none.
            _ => &*from.store,
        };
        copy(from_store, &target, workspace, &mut moved).await?;
    }
    let mut text = format!(
        "Copied {} chunks ({}), each checked against its name; {} were there already.\n",
        moved.copied,
        config::value::show_size(moved.bytes),
        moved.there
    );
    if moved.bundles.bundles + moved.bundles.there > 0 {
        let Copied { bundles, bytes, there, .. } = &moved.bundles;
        text.push_str(&format!("Copied {bundles} bundles ({}); {there} were there already.\n", config::value::show_size(*bytes)));
    }
    if !moved.damaged.is_empty() {
        text.push_str(&format!("Damaged where they are, and so not copied: {}\n", moved.damaged.join(", ")));
    }
    text.push_str(
        "Now start the service with the new configuration, and run this once more with the old one, for what came in between.\n",
    );
    let json = json!({ "copied": moved.copied, "bytes": moved.bytes, "there": moved.there, "damaged": moved.damaged,
        "bundles": { "copied": moved.bundles.bundles, "bytes": moved.bundles.bytes, "there": moved.bundles.there } });
    Ok((Report { text, json }, moved.damaged.len()))
}

/// What the target lacks goes there alone: the index of bundles speaks of both storages.
async fn copy(from: &dyn ChunkStore, to: &Storage, workspace: WorkspaceId, moved: &mut Moved) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = from.list(workspace, after, PAGE).await.map_err(Failure::command)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.name);
        let names: Vec<ChunkName> = page.iter().map(|stored| stored.name).collect();
        let there = to.store.present(workspace, names).await.map_err(Failure::command)?;
        let lacking: Vec<Stored> = page.iter().zip(&there).filter_map(|(stored, there)| (!there).then_some(*stored)).collect();
        moved.there += (page.len() - lacking.len()) as u64;
        let groups: Vec<Vec<Stored>> = lacking.chunks(GROUP).map(<[_]>::to_vec).collect();
        let mut groups =
            stream::iter(groups).map(|group| copy_group(from, to.alone(), workspace, group)).buffer_unordered(GROUPS_MAX);
        while let Some((copied, bytes, damaged)) = groups.try_next().await? {
            moved.copied += copied;
            moved.bytes += bytes;
            moved.damaged.extend(damaged);
        }
    }
}

async fn copy_group(
    from: &dyn ChunkStore,
    to: &dyn ChunkStore,
    workspace: WorkspaceId,
    group: Vec<Stored>,
) -> Result<(u64, u64, Vec<String>), Failure> {
    let names: Vec<ChunkName> = group.iter().map(|stored| stored.name).collect();
    let found = from.get_batch(workspace, names.clone()).await.map_err(Failure::command)?;
    let (mut whole, mut damaged) = (Vec::new(), Vec::new());
    for (name, packed) in names.into_iter().zip(found) {
        match packed {
            Some(packed) if pack::unpack(&name, &packed).is_ok() => whole.push((name, packed)),
            Some(_) => damaged.push(name.to_string()),
            // Collected meanwhile.
            None => {}
        }
    }
    let (copied, bytes) = (whole.len() as u64, whole.iter().map(|(_, packed)| packed.len() as u64).sum());
    to.put_batch(workspace, whole).await.map_err(Failure::command)?;
    Ok((copied, bytes, damaged))
}
