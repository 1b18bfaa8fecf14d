//! `plan`, `why` and `check-ignore`: questions about what would be done. Nothing is changed by asking.

use super::exit::{Exit, Failure};
use super::out::Out;
use super::place::item_path;
use crate::disk::{self, Disk};
use crate::driver::{Onlooker, Snapshot, connector, open_folder};
use crate::home::{Config, Home};
use crate::session::{Link, Service};
use crate::state::{StateReader, WorkspaceEntry};
use objectmq::ConnectionState;
use serde::Serialize;
use serde_json::json;
use stacksync_core::engine::Why;
use stacksync_core::values::{Body, ItemPath, Kind, Name};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// How long the service is waited for; without it the plan is made of what is known here.
const SERVICE_MAX: Duration = Duration::from_secs(3);

/// Everything a question needs.
struct Question {
    home: Home,
    config: Config,
    state: Option<StateReader>,
    entries: Vec<WorkspaceEntry>,
    folders: disk::OwnFolders,
}

impl Question {
    fn open(home: &Home) -> Result<Self, Failure> {
        let config = home.config()?;
        let state = StateReader::open(&home.state_file())?;
        let entries = state.as_ref().map(StateReader::workspaces).transpose()?.unwrap_or_default();
        let folders =
            disk::OwnFolders::open_beside(home.dir()).map_err(|error| Failure::new(Exit::Other, error.to_string(), ""))?;
        Ok(Self { home: home.clone(), config, state, entries, folders })
    }

    fn disk(&self, entry: &WorkspaceEntry) -> Result<Disk, Failure> {
        let disk = open_folder(&self.config, &self.folders, entry).map_err(|text| Failure::new(Exit::Other, text, ""))?;
        if entry.is_default {
            let names = self.entries.iter().filter(|other| !other.is_default).filter_map(|other| Name::new(&other.folder).ok());
            disk.reserve(names.collect::<HashSet<_>>());
        }
        Ok(disk)
    }

    async fn look(&self, entry: &WorkspaceEntry, service: Option<&Service>) -> Result<Onlooker, Failure> {
        let loaded = self.state.as_ref().map(|state| state.load(entry.id)).transpose()?.unwrap_or_default();
        let looked = Onlooker::look(entry.id, loaded, &self.disk(entry)?, service).await;
        looked.map_err(|error| Failure::new(Exit::Other, error.to_string(), ""))
    }

    /// The workspace that a path of the root folder belongs to, and the path in it.
    fn find<'a>(&'a self, path: &ItemPath) -> Option<(&'a WorkspaceEntry, ItemPath)> {
        let first = path.names().first().map(Name::as_str);
        let in_folder = self.entries.iter().find(|entry| !entry.is_default && Some(entry.folder.as_str()) == first);
        match in_folder {
            Some(entry) => Some((entry, ItemPath::from_names(path.names()[1..].to_vec()))),
            None => self.entries.iter().find(|entry| entry.is_default).map(|entry| (entry, path.clone())),
        }
    }

    fn path(&self, typed: &Path) -> Result<ItemPath, Failure> {
        item_path(&self.config.root, &std::env::current_dir().unwrap_or_default(), typed)
    }

    fn never_ran(&self) -> Failure {
        let message = format!("nothing is known of {} yet", self.config.root.display());
        Failure::new(Exit::Other, message, "Run `stacksync sync --once` first.")
    }

    /// The service, if it answers soon.
    async fn service(&self) -> Result<Option<Link>, Failure> {
        let link = Link::open(connector(&self.home, &self.config)?, self.home.token()?);
        let mut state = link.service().broker().state();
        let settled = state.wait_for(|state| matches!(state, ConnectionState::Connected | ConnectionState::Waiting { .. }));
        let connected = match tokio::time::timeout(SERVICE_MAX, settled).await {
            Ok(Ok(state)) => *state == ConnectionState::Connected,
            Ok(Err(_)) | Err(_) => false,
        };
        Ok(connected.then_some(link))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    workspace: &'a str,
    path: String,
    action: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Plan<'a> {
    /// Whether the service was asked; without it, only what is known here counts.
    service_asked: bool,
    lines: Vec<Line<'a>>,
}

/// Prints what would be done now.
pub fn plan(home: &Home, out: Out) -> Result<Exit, Failure> {
    let question = Question::open(home)?;
    if question.entries.is_empty() {
        return Err(question.never_ran());
    }
    super::runtime()?.block_on(async {
        let link = question.service().await?;
        let mut lines = Vec::new();
        for entry in &question.entries {
            let looker = question.look(entry, link.as_ref().map(Link::service)).await?;
            lines.extend(looker.plan().into_iter().map(|line| Line {
                workspace: &entry.name,
                path: shown(entry, &line.path),
                action: line.action,
                reason: line.reason,
            }));
        }
        lines.sort_by(|a, b| a.path.cmp(&b.path));
        let plan = Plan { service_asked: link.is_some(), lines };
        out.answer(&plan, || plan_text(&plan));
        Ok(Exit::Done)
    })
}

fn plan_text(plan: &Plan<'_>) -> String {
    let mut lines: Vec<String> =
        plan.lines.iter().map(|line| format!("{:<20}  {}  ({})", line.action, line.path, line.reason)).collect();
    if lines.is_empty() {
        lines.push("Nothing to do.".into());
    }
    if !plan.service_asked {
        lines.push("The service was not reached: what changed there is not in this plan.".into());
    }
    lines.join("\n")
}

fn shown(entry: &WorkspaceEntry, path: &ItemPath) -> String {
    if entry.folder.is_empty() { path.to_string() } else { format!("{}/{path}", entry.folder) }
}

/// Prints all that is known of a path.
pub fn why(home: &Home, path: &Path, out: Out) -> Result<Exit, Failure> {
    let question = Question::open(home)?;
    let path = question.path(path)?;
    let Some((entry, inside)) = question.find(&path) else { return Err(question.never_ran()) };
    super::runtime()?.block_on(async {
        let link = question.service().await?;
        let looker = question.look(entry, link.as_ref().map(Link::service)).await?;
        let told = Snapshot::parse(&entry.status);
        let told = told.problems.into_iter().find(|problem| problem.path == inside.to_string()).map(|problem| problem.text);
        match looker.why(&inside) {
            Some(why) => {
                let problem = why.problem.clone().or(told);
                out.answer(&why_json(&path, &why, problem.as_deref()), || why_text(&path, &why, problem.as_deref()));
                Ok(Exit::Done)
            }
            None => unknown(&question, entry, &inside, &path, told, out),
        }
    })
}

/// A path that the engine does not know: ignored, skipped, or simply not there.
fn unknown(
    question: &Question,
    entry: &WorkspaceEntry,
    inside: &ItemPath,
    path: &ItemPath,
    told: Option<String>,
    out: Out,
) -> Result<Exit, Failure> {
    let rule = question.disk(entry)?.check(inside, kind_at(&question.config, path)).ok().flatten();
    let reason = match (told, rule.filter(|rule| rule.ignored)) {
        (Some(problem), _) => problem,
        (None, Some(rule)) => format!("ignored by the rule `{}`", rule.pattern),
        (None, None) => return Err(Failure::new(Exit::Other, format!("there is no {path} here or on the service"), "")),
    };
    out.answer(&json!({ "path": path.to_string(), "action": "nothing", "reason": reason }), || format!("{path}: {reason}"));
    Ok(Exit::Done)
}

fn why_json(path: &ItemPath, why: &Why, problem: Option<&str>) -> serde_json::Value {
    let item = &why.item;
    json!({
        "path": path.to_string(),
        "item": why.id.get(),
        "action": why.next.action,
        "reason": why.next.reason,
        "problem": problem,
        "local": item.local.as_ref().map(|local| json!({
            "kind": kind_word(local.stat.kind), "name": local.place.name.as_str(), "size": local.stat.size,
            "modified_ns": local.stat.modified.0, "executable": local.stat.executable, "content_known": local.body.is_some(),
        })),
        "synced": item.synced.as_ref().map(|synced| json!({
            "version": synced.version.get(), "name": synced.place.name.as_str(), "size": synced.body.size(),
            "modified_ns": synced.modified.0, "chunks": synced.body.chunks().len(),
        })),
        "remote": item.remote.as_ref().map(|remote| json!({
            "version": remote.version.get(), "revision": remote.revision.0, "deleted": remote.deleted,
            "name": remote.place.name.as_str(), "size": remote.body.size(), "modified_ns": remote.modified.0,
            "chunks": remote.body.chunks().len(),
        })),
    })
}

fn why_text(path: &ItemPath, why: &Why, problem: Option<&str>) -> String {
    let item = &why.item;
    let next = if why.next.action == "nothing" { "nothing to do".to_owned() } else { why.next.action.to_owned() };
    let mut lines = vec![format!("{path}: {next} ({})", why.next.reason)];
    lines.push(match &item.local {
        Some(local) => format!("  here:      {}, {} bytes", kind_word(local.stat.kind), local.stat.size),
        None => "  here:      not there".into(),
    });
    lines.push(match &item.synced {
        Some(synced) => format!("  agreed:    version {}, {}", synced.version, body_text(&synced.body)),
        None => "  agreed:    nothing yet".into(),
    });
    lines.push(match &item.remote {
        Some(remote) if remote.deleted => format!("  service:   deleted with version {}", remote.version),
        Some(remote) => format!("  service:   version {}, {}", remote.version, body_text(&remote.body)),
        None => "  service:   not there".into(),
    });
    lines.extend(problem.map(|problem| format!("  problem:   {problem}")));
    lines.join("\n")
}

fn body_text(body: &Body) -> String {
    match body {
        Body::File(file) => format!("{} bytes in {} chunks", file.size, file.chunks.len()),
        Body::Folder => "a folder".into(),
        Body::Link(target) => format!("a link to {target}"),
    }
}

const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Folder => "folder",
        Kind::Link => "link",
    }
}

fn kind_at(config: &Config, path: &ItemPath) -> Kind {
    match std::fs::symlink_metadata(config.root.join(path.to_string())).map(|found| found.file_type()) {
        Ok(found) if found.is_dir() => Kind::Folder,
        Ok(found) if found.is_symlink() => Kind::Link,
        Ok(_) | Err(_) => Kind::File,
    }
}

/// Prints which ignore rule matches.
pub fn check_ignore(home: &Home, path: &Path, out: Out) -> Result<Exit, Failure> {
    let question = Question::open(home)?;
    let path = question.path(path)?;
    let fallback;
    let (entry, inside) = match question.find(&path) {
        Some(found) => found,
        None => {
            fallback = default_entry();
            (&fallback, path.clone())
        }
    };
    let kind = kind_at(&question.config, &path);
    let rule = question.disk(entry)?.check(&inside, kind).map_err(|text| Failure::new(Exit::Other, text, ""))?;
    let ignored = rule.as_ref().is_some_and(|rule| rule.ignored);
    let shown_rule = rule.as_ref().map(|rule| {
        json!({ "file": rule.file.as_ref().map(ToString::to_string), "line": rule.line, "pattern": rule.pattern,
                "matched": rule.matched.to_string() })
    });
    out.answer(&json!({ "path": path.to_string(), "ignored": ignored, "rule": shown_rule }), || match &rule {
        None => format!("{path}: not ignored, no rule matches"),
        Some(rule) => {
            let place = rule.file.as_ref().map_or("built in".to_owned(), |file| format!("{file}:{}", rule.line));
            let verdict = if ignored { "ignored" } else { "not ignored" };
            format!("{path}: {verdict} by `{}` ({place})", rule.pattern)
        }
    });
    Ok(Exit::Done)
}

/// Before the first run only the root folder is known.
fn default_entry() -> WorkspaceEntry {
    WorkspaceEntry {
        id: stacksync_core::values::WorkspaceId(uuid::Uuid::nil()),
        name: String::new(),
        is_default: true,
        folder: String::new(),
        identity: String::new(),
        cursor: stacksync_core::engine::Cursor::default(),
        status: String::new(),
    }
}
