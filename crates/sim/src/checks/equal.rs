//! At rest every disk holds what the service has: kinds, bytes, modes and times, as far as the disk can hold them.

use super::contents::Contents;
use super::pictures::{Picture, key_of_body};
use super::{Facts, fail, said};
use crate::outcome::{Check, Failure};
use crate::world::World;
use stacksync_core::values::{Body, ItemPath, Kind, RemoteItem};
use std::collections::{BTreeMap, HashMap};

/// What the name of an item that exchanges its name with another one begins with.
const PASSING: &str = "stacksync-renaming-";

/// Compares one member's disk with the service.
pub fn disk(world: &World, number: usize, picture: &Picture, contents: &Contents, facts: &Facts) -> Result<(), Failure> {
    let member = &world.members()[number];
    let who = facts.name(member.laptop, member.workspace);
    let service: BTreeMap<ItemPath, &RemoteItem> = world.service(member.workspace).picture();
    let places = said::places(world, member.workspace);
    let holds_all = places.values().all(|place| member.disk.holds(&place.to_string()));
    let stays = |path: &String| !holds_all && ItemPath::parse(path).is_ok_and(|path| said::cannot_go(member, &places, &path));
    let mut on_disk: HashMap<String, &super::pictures::Entry> = picture
        .iter()
        .filter(|(path, _)| !member.disk.is_ignored(path) && !stays(path))
        .map(|(path, entry)| (member.disk.spelling(path), entry))
        .collect();
    for (path, item) in &service {
        let comes = holds_all || !said::cannot_come(member, &places, path);
        let path = member.disk.spelling(&path.to_string());
        let Some(entry) = on_disk.remove(&path) else {
            if member.disk.is_ignored(&path) || !comes {
                continue;
            }
            return fail(world, Check::AllEqual, format!("{who} does not have {path}"));
        };
        if contents.is_invisible(entry.key) {
            continue;
        }
        if let Some(difference) = difference(member, entry, item) {
            return fail(world, Check::AllEqual, format!("{who}, {path}: {difference}"));
        }
    }
    let mut more: Vec<&String> = on_disk.keys().collect();
    more.sort();
    more.first().map_or(Ok(()), |path| fail(world, Check::AllEqual, format!("{who} has {path}, the service has not")))
}

fn difference(member: &crate::world::Member, entry: &super::pictures::Entry, item: &RemoteItem) -> Option<String> {
    let seen = &entry.seen;
    if seen.kind != item.body.kind() {
        return Some(format!("a {:?} here, a {:?} there", seen.kind, item.body.kind()));
    }
    match &item.body {
        Body::Folder => None,
        Body::Link(target) => (target.as_bytes() != seen.bytes.as_slice()).then(|| "the link points elsewhere".to_owned()),
        Body::File(file) => {
            if entry.key != key_of_body(&item.body) || seen.bytes.len() as u64 != file.size {
                return Some(format!("other bytes: {:?}", String::from_utf8_lossy(&seen.bytes)));
            }
            if seen.executable != member.disk.kept_mode(file.executable) {
                return Some(format!("executable {} here, {} there", seen.executable, file.executable));
            }
            let time = member.disk.kept_time(item.modified.0);
            (seen.modified_ns != time).then(|| format!("time {} here, {} there", seen.modified_ns, item.modified.0))
        }
    }
}

/// No passing name is left, and no content is there more often than people put it there.
pub fn names_and_copies(
    world: &World,
    workspace: usize,
    facts: &Facts,
    put: &HashMap<super::pictures::Key, usize>,
) -> Result<(), Failure> {
    let mut counts: HashMap<super::pictures::Key, usize> = HashMap::new();
    for (path, item) in world.service(workspace).picture() {
        if item.place.name.as_str().starts_with(PASSING) && !facts.restarted {
            return fail(world, Check::NoPassingName, format!("{path}"));
        }
        if item.body.kind() == Kind::File
            && let Some(key) = key_of_body(&item.body)
        {
            let count = counts.entry(key).or_default();
            *count += 1;
            let most = put.get(&key).copied().unwrap_or(1).max(1);
            if *count > most && !facts.may_duplicate() {
                let text = format!("{path} has a content that is live {count} times, and people put it there {most} times");
                return fail(world, Check::NoDuplicateSubtree, text);
            }
        }
    }
    Ok(())
}
