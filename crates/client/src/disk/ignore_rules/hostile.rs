//! What must hold of rules whatever stands in a rules file.

use super::{FolderRules, OWN_PREFIX, OWN_SUFFIX, RulesFile};
use stacksync_core::engine::{FileId, Stat};
use stacksync_core::values::{ItemPath, Kind, ModifiedAt, Name};
use std::collections::HashSet;
use std::sync::Arc;

/// A rules file, and, behind a NUL, names that it judges. A line that decides is a line of the file, and the same file judges the same; our
/// own temporary files are never synced.
///
/// # Panics
/// When something of that does not hold.
pub fn ignore(bytes: &[u8]) {
    let (file, names) = bytes.split_at(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    let (rules, again) = (rules(file), rules(file));
    let names = String::from_utf8_lossy(names);
    let own = format!("{OWN_PREFIX}x{OWN_SUFFIX}");
    for name in names.split(['\0', '\n']).take(16).chain(["a", "a.txt", own.as_str()]) {
        let Ok(name) = Name::new(name) else { continue };
        for kind in [Kind::File, Kind::Folder, Kind::Link] {
            let rule = rules.rule(&name, kind);
            assert_eq!(rule, again.rule(&name, kind));
            assert_eq!(rules.ignores(&name, kind), rule.as_ref().is_some_and(|rule| rule.ignored));
            if let Some(rule) = rule.filter(|rule| rule.file.is_some()) {
                let lines = file.split(|&byte| byte == b'\n').count();
                assert!((1..=lines).contains(&rule.line));
                assert!(!rule.pattern.is_empty() && rule.ignored != rule.pattern.trim_start().starts_with('!'));
            }
        }
    }
    assert!(Name::new(&own).is_ok_and(|own| rules.ignores(&own, Kind::File)));
}

fn rules(file: &[u8]) -> FolderRules {
    let stat = Stat {
        kind: Kind::File,
        file: FileId { inode: 1, born_ns: 0 },
        size: file.len() as u64,
        modified: ModifiedAt(0),
        changed_ns: 0,
        executable: false,
        target: None,
    };
    let (file, _) = RulesFile::read(stat, file);
    FolderRules { files: vec![(ItemPath::top(), Arc::new(file))], above: None, reserved: HashSet::new(), folder: ItemPath::top() }
}
