//! `storage check|gc|scrub|migrate`: what the chunk storage can do, what of it nobody needs any more, and whether everything is there and whole.

use super::print::table;
use super::{Admin, Failure, Need, Report, migrate};
use crate::cli::StorageCommand;
use crate::cli::exit::Exit;
use crate::config::Config;
use crate::config::value::show_size;
use crate::data_dir::DataDir;
use crate::db::Db;
use crate::storage::{self, Storage};
use futures_util::{StreamExt, stream};
use serde_json::json;
use stacksync_chunks::gc::{self, Act, Collected, Named, Rules};
use stacksync_chunks::store::{Answer, Health, StoreError};
use stacksync_core::values::{Body, ChunkName, WorkspaceId};
use stacksync_storage::bundled::{BundlesCollected, bundles_of};
use stacksync_storage::check::{self, Outcome};
use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime};

/// After setting chunks aside the names are read again so much later: longer than a commit usually takes.
const SETTLE: Duration = Duration::from_secs(5);
/// Less is asked for: a device may commit what it was told an hour ago that the storage has.
const GRACE_MIN: Duration = Duration::from_secs(3_600);
/// Chunks that are looked at together.
const CHECKS_MAX: usize = 16;

/// Carries a command out.
pub async fn run(config: &Config, command: &StorageCommand) -> Result<String, Failure> {
    match command {
        StorageCommand::Check { output } => {
            let (report, usable) = try_out(config).await?;
            well(report.print(*output), usable, "the chunk storage cannot be used like that".to_owned())
        }
        StorageCommand::Gc { grace, no_device_is_at_work, dry_run, output } => {
            if *grace < GRACE_MIN && !no_device_is_at_work && !dry_run {
                return Err(Failure::command(
                    "--grace: with less than an hour, chunks of a commit in flight could be collected; if no device is at work, say so with \
                     --no-device-is-at-work",
                ));
            }
            let act = if *dry_run { Act::DryRun } else { Act::Collect };
            let rules = Rules { grace: *grace, settle: SETTLE, act, now: SystemTime::now() };
            collect(config, &rules).await.map(|report| report.print(*output))
        }
        StorageCommand::Migrate { to, output } => {
            let (report, damaged) = migrate::run(config, to).await?;
            well(report.print(*output), damaged == 0, format!("{damaged} chunks are damaged and were not copied"))
        }
        StorageCommand::Scrub { output } => {
            let (report, wrong) = scrub(config).await?;
            well(report.print(*output), wrong == 0, format!("{wrong} chunks are missing or were damaged"))
        }
    }
}

/// Prints in any case; fails unless all is well.
fn well(printed: String, is_well: bool, or: String) -> Result<String, Failure> {
    if is_well { Ok(printed) } else { Err(Failure::new(Exit::Unwell, or).printing(printed)) }
}

async fn try_out(config: &Config) -> Result<(Report, bool), Failure> {
    let data = DataDir::open_or_create(&config.data)?;
    let plain = storage::open_plain(config, &data).await?;
    let findings = check::check(plain.store(), &config.storage.setup).await;
    let mut text = String::new();
    for finding in &findings {
        text.push_str(&match &finding.outcome {
            Outcome::Good => format!("yes   {}\n", finding.what),
            Outcome::Lacks(reason) => format!("no    {}: {reason}\n", finding.what),
            Outcome::Bad(reason) => format!("BAD   {}: {reason}\n", finding.what),
        });
    }
    let usable = check::usable(&findings);
    text.push_str(if usable { "\nThe service can use it.\n" } else { "\nThe service cannot use it.\n" });
    let rows = findings.iter().map(|finding| {
        let (word, reason) = match &finding.outcome {
            Outcome::Good => ("good", None),
            Outcome::Lacks(reason) => ("lacks", Some(reason)),
            Outcome::Bad(reason) => ("bad", Some(reason)),
        };
        json!({ "what": finding.what, "outcome": word, "reason": reason })
    });
    Ok((Report { text, json: json!({ "usable": usable, "findings": rows.collect::<Vec<_>>() }) }, usable))
}

/// The names that the metadata knows.
struct Names(Db);

impl Named for Names {
    fn named(&self, workspace: WorkspaceId) -> Answer<'_, HashSet<ChunkName>> {
        Box::pin(async move {
            let named = self.0.chunks(workspace).await;
            named.map_err(|error| StoreError::Unavailable(format!("the metadata store: {error}")))
        })
    }
}

/// Each workspace once, whoever is a member.
pub(super) async fn workspaces(db: &Db) -> Result<BTreeSet<WorkspaceId>, Failure> {
    let mut found = BTreeSet::new();
    for user in db.users().await? {
        found.extend(db.workspaces_of(user.id).await?.into_iter().map(|view| view.id));
    }
    Ok(found)
}

async fn collect(config: &Config, rules: &Rules) -> Result<Report, Failure> {
    let admin = Admin::open(config, Need::Data).await?;
    let storage = storage::open(config, &admin.data, &admin.db).await?;
    let store = storage.alone();
    // Before the workspaces: one that is made meanwhile is not taken for a stranger.
    let containers = store.containers().await.map_err(Failure::command)?;
    let names = Names(admin.db.clone());
    let mut sum = Collected::default();
    let known = workspaces(&admin.db).await?;
    let mut bundles = BundlesCollected::default();
    for workspace in &known {
        // Bundles first: what is unpacked of them is too young for the other.
        if let Some(bundled) = &storage.bundles {
            bundles += bundled.collect(&names, *workspace, rules).await.map_err(Failure::command)?;
        }
        sum += gc::collect(store, &names, *workspace, rules).await.map_err(Failure::command)?;
    }
    let ours: HashSet<WorkspaceId> = known.iter().flat_map(|known| [*known, gc::aside_of(*known), bundles_of(*known)]).collect();
    let strangers: Vec<String> = containers.iter().filter(|found| !ours.contains(found)).map(ToString::to_string).collect();
    let mut text = format!(
        "{} chunks stay. Set aside: {} ({}); they are removed by a run after the grace time. Put back: {}. Removed: {} ({}).\n",
        sum.kept,
        sum.aside,
        show_size(sum.aside_bytes),
        sum.restored,
        sum.removed,
        show_size(sum.removed_bytes),
    );
    if storage.bundles.is_some() {
        text.push_str(&of_bundles(&bundles));
    }
    if rules.act == Act::DryRun {
        text.push_str("Nothing was changed.\n");
    }
    if !strangers.is_empty() {
        text.push_str(&format!("Left alone, of no workspace that is known: {}\n", strangers.join(", ")));
    }
    let json = json!({
        "dry_run": rules.act == Act::DryRun, "kept": sum.kept, "aside": sum.aside, "aside_bytes": sum.aside_bytes,
        "restored": sum.restored, "removed": sum.removed, "removed_bytes": sum.removed_bytes, "unknown_containers": strangers,
        "bundles": {
            "kept": bundles.kept, "adopted": bundles.adopted, "retired": bundles.retired, "retired_bytes": bundles.retired_bytes,
            "rewritten": bundles.rewritten, "rewritten_bytes": bundles.rewritten_bytes, "restored": bundles.restored,
            "removed": bundles.removed, "removed_bytes": bundles.removed_bytes,
        },
    });
    Ok(Report { text, json })
}

fn of_bundles(done: &BundlesCollected) -> String {
    format!(
        "{} bundles stay. Set aside: {} ({}). Written again: {} (saves {}). Found: {}. Put back: {}. Removed: {} ({}).\n",
        done.kept,
        done.retired,
        show_size(done.retired_bytes),
        done.rewritten,
        show_size(done.rewritten_bytes),
        done.adopted,
        done.restored,
        done.removed,
        show_size(done.removed_bytes),
    )
}

async fn scrub(config: &Config) -> Result<(Report, usize), Failure> {
    let admin = Admin::open(config, Need::Data).await?;
    let storage = storage::open(config, &admin.data, &admin.db).await?;
    let (mut looked_at, mut wrong, mut rows, mut rows_json) = (0_usize, 0_usize, Vec::new(), Vec::new());
    for workspace in workspaces(&admin.db).await? {
        let names = admin.db.chunks(workspace).await?;
        looked_at += names.len();
        let bad = bad_chunks(&storage, workspace, names).await?;
        wrong += bad.len();
        if bad.is_empty() {
            continue;
        }
        let hurt = hurt_files(&admin.db, workspace, &bad).await?;
        for (name, health) in bad {
            let word = if health == Health::Missing { "missing" } else { "damaged" };
            let files = hurt.iter().filter(|(chunks, _)| chunks.contains(&name)).map(|(_, file)| file.clone()).collect::<Vec<_>>();
            let shown = if files.is_empty() { "(past versions only)".to_owned() } else { files.join(", ") };
            rows.push([workspace.to_string(), name.to_string(), word.to_owned(), shown]);
            rows_json
                .push(json!({ "workspace_id": workspace.to_string(), "chunk": name.to_string(), "health": word, "files": files }));
        }
    }
    let text = format!(
        "{}\n{looked_at} chunks were read and checked.\n",
        table(["WORKSPACE", "CHUNK", "IS", "FILES"], &rows, "Everything is there and whole.")
    );
    Ok((Report { text, json: json!({ "checked": looked_at, "problems": rows_json }) }, wrong))
}

async fn bad_chunks(
    storage: &Storage,
    workspace: WorkspaceId,
    mut names: HashSet<ChunkName>,
) -> Result<Vec<(ChunkName, Health)>, Failure> {
    if let Some(bundles) = &storage.bundles {
        // After metadata came back from a backup there may be some that it does not know.
        bundles.adopt(workspace).await.map_err(Failure::command)?;
        let sound = bundles.sound(workspace, &names).await.map_err(Failure::command)?;
        names.retain(|name| !sound.contains(name));
    }
    let store = &storage.store;
    let checks = names.into_iter().map(|name| async move { (name, store.check(workspace, name).await) });
    let mut checks = stream::iter(checks).buffer_unordered(CHECKS_MAX);
    let mut bad = Vec::new();
    while let Some((name, health)) = checks.next().await {
        match health.map_err(Failure::command)? {
            Health::Good => {}
            health @ (Health::Missing | Health::Damaged) => bad.push((name, health)),
        }
    }
    bad.sort_by_key(|(name, _)| *name);
    Ok(bad)
}

/// The files whose latest version names one of these chunks, with all their chunks.
pub(super) async fn hurt_files(
    db: &Db,
    workspace: WorkspaceId,
    bad: &[(ChunkName, Health)],
) -> Result<Vec<(HashSet<ChunkName>, String)>, Failure> {
    let bad: HashSet<ChunkName> = bad.iter().map(|(name, _)| *name).collect();
    let mut hurt = Vec::new();
    for entry in db.tree(workspace).await? {
        let item = &entry.entry.item;
        if let Body::File(file) = &item.body
            && !item.deleted
        {
            let chunks: HashSet<ChunkName> = file.chunks.iter().map(|chunk| chunk.name).collect();
            if !chunks.is_disjoint(&bad) {
                hurt.push((chunks, item.place.name.as_str().to_owned()));
            }
        }
    }
    Ok(hurt)
}
