//! Which names are not synced: `.syncignore` files with git's syntax, and a short built-in list.
//!
//! Judged from the top down: below an ignored folder everything is ignored, whatever deeper rules say. In one folder the
//! deepest rule file decides first, and in a file the last matching line. Must never ignore an ordinary file on its own:
//! the built-in list holds only names that programs make for themselves and remove again, or remake on each computer.

use super::folder::open_folder;
use super::look::{Look, look, look_at_open};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{Mode, OFlags, openat};
use stacksync_core::engine::Stat;
use stacksync_core::values::{ItemPath, Kind, Name};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// Name of the files that hold rules. They are synced like any other file.
pub const RULES_FILE: &str = ".syncignore";
/// A larger rules file is not read, in bytes.
const RULES_BYTES_MAX: u64 = 1024 * 1024;
/// Rule files kept parsed; above it all are forgotten and read again as needed.
const RULES_CACHED_MAX: usize = 10_000;

/// What the names of our own temporary files start and end with. No rule re-includes them.
pub(super) const OWN_PREFIX: &str = ".~stacksync-";
pub(super) const OWN_SUFFIX: &str = ".tmp";

/// Names that are not synced unless a `.syncignore` re-includes them, each with whose they are.
///
/// Left out on purpose: `*~` and `*.bak` (a user's backups), `*.part` and `*.crdownload` (unfinished, but the user's),
/// `4913` (Vim's probe: gone within a millisecond, and somebody's invoice), `._*` (may hold the rest of a Mac file).
pub const BUILT_IN: &[(&str, &str)] = &[
    (".#*", "Emacs: lock"),
    ("#*#", "Emacs: automatic save"),
    (".*.sw[a-p]", "Vim: swap file"),
    (".sw[a-p]", "Vim: swap file of an unnamed text"),
    ("*.swp", "Vim: swap file kept elsewhere"),
    ("*.swx", "Vim: probe for a swap file"),
    (".*.kate-swp", "Kate: swap file"),
    (".goutputstream-*", "GNOME programs: a file being written"),
    ("~$*", "Microsoft Office: lock"),
    (".~lock.*#", "LibreOffice: lock"),
    ("*___jb_tmp___", "JetBrains: a file being written"),
    ("*___jb_old___", "JetBrains: a file being replaced"),
    (".fuse_hidden*", "FUSE: deleted but still open"),
    (".nfs[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]*", "NFS: deleted but still open"),
    (".DS_Store", "macOS: how a folder is shown"),
    ("Thumbs.db", "Windows: previews"),
    ("desktop.ini", "Windows: how a folder is shown"),
];

/// The rule that decides about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// The rules file, relative to the top of the workspace; `None` for a built-in rule.
    pub file: Option<ItemPath>,
    /// Line in that file, from 1; 0 for a built-in rule.
    pub line: usize,
    /// The rule as it is written.
    pub pattern: String,
    /// Which part of the asked path it matched: the path itself or a folder above it.
    pub matched: ItemPath,
    /// Whether the path is ignored; `false` if the rule re-includes it (`!pattern`).
    pub ignored: bool,
}

static BUILT_IN_RULES: LazyLock<Gitignore> = LazyLock::new(|| parse(BUILT_IN.iter().map(|(pattern, _)| built_in_line(pattern))).0);

fn built_in_line(pattern: &str) -> String {
    // `#` at the start of a line is a comment in git's syntax.
    if pattern.starts_with('#') { format!("\\{pattern}") } else { pattern.to_owned() }
}

/// All rules of one workspace. Parsed files are kept for as long as the file on disk stays the same one.
#[derive(Debug, Default)]
pub(super) struct IgnoreRules {
    parsed: Mutex<HashMap<ItemPath, Arc<RulesFile>>>,
    /// Folders at the top that belong to other workspaces.
    reserved: Mutex<HashSet<Name>>,
    /// A file that was parsed is another one now, and nobody was told yet.
    changed: AtomicBool,
}

#[derive(Debug)]
struct RulesFile {
    stat: Stat,
    rules: Gitignore,
    lines: Vec<String>,
}

impl RulesFile {
    /// What stands in a rules file, and which lines are no rules.
    fn read(stat: Stat, bytes: &[u8]) -> (Self, Vec<(usize, String)>) {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines: Vec<String> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned()).collect();
        let (rules, bad) = parse(lines.iter().cloned());
        (Self { stat, rules, lines }, bad)
    }

    fn unused(stat: Stat) -> Self {
        Self { stat, rules: Gitignore::empty(), lines: Vec::new() }
    }
}

/// The rules that hold in one folder, as they were when it was asked for.
#[derive(Debug)]
pub(super) struct FolderRules {
    /// From the top down: where a file is, and what it says.
    files: Vec<(ItemPath, Arc<RulesFile>)>,
    /// The rule that ignores the folder itself, or one above it.
    above: Option<RuleMatch>,
    reserved: HashSet<Name>,
    folder: ItemPath,
}

impl IgnoreRules {
    /// Names at the top that belong to other workspaces from now on.
    pub fn reserve(&self, names: HashSet<Name>) {
        *lock(&self.reserved) = names;
    }

    /// The rules that hold in a folder. Costs one look per level; reads only files that are new or changed.
    pub fn gather(&self, root: impl AsFd, folder: &ItemPath) -> FolderRules {
        let reserved = lock(&self.reserved).clone();
        let mut rules = FolderRules { files: Vec::new(), above: None, reserved, folder: ItemPath::top() };
        self.add_file(&root, &mut rules);
        for name in folder.names() {
            if rules.above.is_none() {
                rules.above = rules.decide(name, Kind::Folder).filter(|rule| rule.ignored);
            }
            rules.folder = rules.folder.join(name);
            self.add_file(&root, &mut rules);
        }
        rules
    }

    /// Whether a known rules file has changed or gone since this was asked last.
    pub fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    /// Adds the rules file of `rules.folder`, if there is one.
    fn add_file(&self, root: impl AsFd, rules: &mut FolderRules) {
        let relative = if rules.folder.is_top() { RULES_FILE.to_owned() } else { format!("{}/{RULES_FILE}", rules.folder) };
        let known = lock(&self.parsed).get(&rules.folder).cloned();
        let now = match look(&root, &relative) {
            Ok(Look::Here(seen)) if seen.stat.kind == Kind::File => Some(seen.stat),
            // What cannot be looked at is not gone: the rules that were known go on to hold.
            Err(_) => known.as_ref().map(|file| file.stat.clone()),
            Ok(Look::Here(_) | Look::Absent | Look::Odd(_)) => None,
        };
        if let (Some(known), Some(now)) = (&known, &now)
            && known.stat == *now
        {
            rules.files.push((rules.folder.clone(), known.clone()));
            return;
        }
        // A file that cannot be used is remembered too, so that it is not read (and complained about) again and again.
        let fresh = now.map(|stat| Arc::new(read_rules(&root, &rules.folder).unwrap_or_else(|| RulesFile::unused(stat))));
        self.remember(&rules.folder, fresh.as_ref());
        rules.files.extend(fresh.map(|file| (rules.folder.clone(), file)));
        if known.is_some() {
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    fn remember(&self, folder: &ItemPath, file: Option<&Arc<RulesFile>>) {
        let mut parsed = lock(&self.parsed);
        match file {
            Some(file) => {
                if parsed.len() >= RULES_CACHED_MAX {
                    parsed.clear();
                }
                parsed.insert(folder.clone(), file.clone());
            }
            None => {
                parsed.remove(folder);
            }
        }
    }
}

impl FolderRules {
    /// Whether a rule ignores this entry of the folder.
    pub fn ignores(&self, name: &Name, kind: Kind) -> bool {
        self.above.is_some() || self.decide(name, kind).is_some_and(|rule| rule.ignored)
    }

    /// The rule that decides about this entry of the folder, if any.
    pub fn rule(&self, name: &Name, kind: Kind) -> Option<RuleMatch> {
        self.above.clone().or_else(|| self.decide(name, kind))
    }

    fn decide(&self, name: &Name, kind: Kind) -> Option<RuleMatch> {
        if is_own(name.as_str()) {
            return Some(self.own_rule(name, format!("{OWN_PREFIX}*{OWN_SUFFIX}")));
        }
        if self.folder.is_top() && self.reserved.contains(name) {
            return Some(self.own_rule(name, format!("/{name}/ (another workspace)")));
        }
        let folder = kind == Kind::Folder;
        for (at, file) in self.files.iter().rev() {
            let below: PathBuf = self.folder.names()[at.names().len()..].iter().chain([name]).map(Name::as_str).collect();
            if let Some((line, ignored)) = verdict(file.rules.matched(&below, folder)) {
                return Some(RuleMatch {
                    file: RULES_FILE.parse().ok().map(|name| at.join(&name)),
                    line,
                    pattern: file.lines.get(line.wrapping_sub(1)).cloned().unwrap_or_default(),
                    matched: self.folder.join(name),
                    ignored,
                });
            }
        }
        let (index, _) = verdict(BUILT_IN_RULES.matched(name.as_str(), folder))?;
        let pattern = BUILT_IN.get(index.wrapping_sub(1)).map(|(pattern, _)| (*pattern).to_owned()).unwrap_or_default();
        Some(self.own_rule(name, pattern))
    }

    fn own_rule(&self, name: &Name, pattern: String) -> RuleMatch {
        RuleMatch { file: None, line: 0, pattern, matched: self.folder.join(name), ignored: true }
    }
}

/// Whether this is a name of one of our own temporary files.
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with(OWN_PREFIX) && name.ends_with(OWN_SUFFIX)
}

fn verdict(found: Match<&ignore::gitignore::Glob>) -> Option<(usize, bool)> {
    let (glob, ignored) = match found {
        Match::None => return None,
        Match::Ignore(glob) => (glob, true),
        Match::Whitelist(glob) => (glob, false),
    };
    // `from` carries the number of the line, see `parse`.
    let line = glob.from().and_then(|from| from.to_str()).and_then(|text| text.parse().ok()).unwrap_or(0);
    Some((line, ignored))
}

fn read_rules(root: impl AsFd, folder: &ItemPath) -> Option<RulesFile> {
    let handle = open_folder(root, folder).ok()?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(&handle, RULES_FILE, flags, Mode::empty()).map_err(|errno| unused(folder, &errno.to_string())).ok()?;
    let Ok(Look::Here(seen)) = look_at_open(&file) else { return None };
    if seen.stat.kind != Kind::File {
        return None;
    }
    if seen.stat.size > RULES_BYTES_MAX {
        unused(folder, "it is larger than 1 MiB");
        return None;
    }
    let mut bytes = Vec::new();
    File::from(file).take(RULES_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| unused(folder, &error.to_string())).ok()?;
    let (file, bad) = RulesFile::read(seen.stat, &bytes);
    for (line, reason) in bad {
        tracing::warn!("{folder}/{RULES_FILE}: line {line} is not a rule: {reason}");
    }
    Some(file)
}

fn unused(folder: &ItemPath, reason: &str) {
    tracing::warn!("the rules in {folder}/{RULES_FILE} are not used: {reason}");
}

/// Parses lines; those that are no rules are left out and told with their number.
fn parse(lines: impl Iterator<Item = String>) -> (Gitignore, Vec<(usize, String)>) {
    let mut builder = GitignoreBuilder::new("");
    let mut bad = Vec::new();
    for (index, line) in lines.enumerate() {
        let number = index + 1;
        if let Err(error) = builder.add_line(Some(PathBuf::from(number.to_string())), &without_braces(&line)) {
            bad.push((number, error.to_string()));
        }
    }
    let rules = builder.build().unwrap_or_else(|error| {
        bad.push((0, error.to_string()));
        Gitignore::empty()
    });
    (rules, bad)
}

/// Braces mean nothing to git, but alternatives to the library: escapes them (not within `[...]`).
fn without_braces(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let (mut in_class, mut escaped) = (false, false);
    for character in line.chars() {
        if matches!(character, '{' | '}') && !in_class && !escaped {
            text.push('\\');
        }
        match character {
            '[' if !escaped => in_class = true,
            ']' if !escaped => in_class = false,
            _ => {}
        }
        escaped = character == '\\' && !escaped;
        text.push(character);
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is replaced whole, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
#[cfg(test)]
mod tests;
