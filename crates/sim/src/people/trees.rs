//! What people do with many things at once.

use super::names;
use super::person::Person;
use stacksync_core::values::{ItemPath, Kind, Name};

/// A folder with more in it is not copied again and again.
const COPIED_MAX: usize = 60;
/// Folders in folders.
const DEPTH_MAX: usize = 12;

/// Makes about so many files and folders below the top.
pub(super) fn grow(person: &mut Person<'_>, items: usize) {
    let mut folders = vec![ItemPath::top()];
    for number in 0..items {
        let folder = folders[person.random.below(folders.len())].clone();
        let name = if person.random.one_in(3) { names::usual(person.random, number as u64) } else { numbered(number) };
        let Some(path) = name.map(|name| folder.join(&name)) else { continue };
        if person.random.one_in(5) {
            if person.disk.make_folder(&path).is_ok() {
                folders.push(path);
            }
        } else if person.random.one_in(20) {
            person.disk.make_link(&path, "somewhere").ok();
        } else {
            let bytes = person.content();
            person.disk.make_file(&path, bytes).ok();
        }
    }
    person.disk.sync();
}

fn numbered(number: usize) -> Option<Name> {
    Name::new(&format!("item-{number}")).ok()
}

pub(super) fn unpack(person: &mut Person<'_>) -> Option<String> {
    let path = person.free()?;
    person.disk.make_folder(&path).ok()?;
    // Hardly ever thousands: such a world takes as long as a thousand others.
    let many = [10, 25, 40, 60][person.random.below(4)] * if person.random.one_in(400) { 30 } else { 1 };
    for number in 0..many {
        let bytes = person.content();
        person.disk.make_file(&path.join(&numbered(number)?), bytes).ok()?;
    }
    Some(format!("{many} files as {path}"))
}

pub(super) fn deep_tree(person: &mut Person<'_>) -> Option<String> {
    let path = person.free()?;
    let depth = 3 + person.random.below(DEPTH_MAX);
    let mut at = path.clone();
    for level in 0..depth {
        person.disk.make_folder(&at).ok()?;
        let bytes = person.content();
        person.disk.make_file(&at.join(&numbered(level)?), bytes).ok()?;
        at = at.join(&person.name()?);
    }
    Some(format!("{path}, {depth} deep"))
}

pub(super) fn copy_folder(person: &mut Person<'_>) -> Option<String> {
    let (path, to) = (person.folder()?, person.free()?);
    let below = |(other, _): &&(ItemPath, Kind)| other.names().starts_with(path.names());
    if person.items().iter().filter(below).count() > COPIED_MAX || to.names().starts_with(path.names()) {
        return None;
    }
    person.disk.copy(&path, &to).ok()?;
    Some(format!("{path} to {to}"))
}

pub(super) fn move_many(person: &mut Person<'_>) -> Option<String> {
    let size = |folder: &ItemPath| person.items().iter().filter(|(path, _)| path.names().starts_with(folder.names())).count();
    let folders = person.items().iter().filter(|(_, kind)| *kind == Kind::Folder).map(|(path, _)| path);
    let (_, path) = folders.map(|path| (size(path), path.clone())).max()?;
    let place = person.place();
    let to = place.join(&person.name()?);
    person.disk.rename_new(&path, &to).ok()?;
    Some(format!("{path} to {to}"))
}
