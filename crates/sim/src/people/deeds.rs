//! What people do with one thing or a few.

use super::names;
use super::person::Person;
use stacksync_core::values::{ItemPath, Kind, Name};

/// A person deletes a folder with at most so many things in it: more is what the guard is for, and that is another deed.
const DELETED_MAX: usize = 12;

/// Of what is saved by renaming, one in so many gets the length and the time of what it replaces.
const ALIKE_ONE_IN: u64 = 6;

pub(super) fn create(person: &mut Person<'_>) -> Option<String> {
    let (path, bytes) = (person.free()?, person.content());
    person.disk.make_file(&path, bytes).ok()?;
    if person.random.one_in(8) {
        person.disk.chmod(&path, 0o755).ok()?;
    }
    Some(path.to_string())
}

pub(super) fn make_folder(person: &mut Person<'_>) -> Option<String> {
    let path = person.free()?;
    person.disk.make_folder(&path).ok()?;
    Some(path.to_string())
}

pub(super) fn edit(person: &mut Person<'_>) -> Option<String> {
    let (path, bytes) = (person.file()?, person.content());
    person.disk.rewrite(&path, &bytes).ok()?;
    Some(path.to_string())
}

pub(super) fn edit_in_place(person: &mut Person<'_>) -> Option<String> {
    let path = person.file()?;
    let len = person.disk.read(&path).ok()?.len();
    if len == 0 {
        return None;
    }
    let fresh = person.content();
    let offset = person.random.below(len);
    let bytes = &fresh[..fresh.len().min(len - offset)];
    person.disk.write_at(&path, offset, bytes).ok()?;
    Some(format!("{path} from {offset} on"))
}

pub(super) fn append(person: &mut Person<'_>) -> Option<String> {
    let (path, bytes) = (person.file()?, person.content());
    let len = person.disk.read(&path).ok()?.len();
    person.disk.write_at(&path, len, &bytes).ok()?;
    Some(path.to_string())
}

pub(super) fn truncate(person: &mut Person<'_>) -> Option<String> {
    let path = person.file()?;
    let len = person.disk.read(&path).ok()?.len();
    let keep = person.random.below(len + 1);
    person.disk.truncate(&path, keep).ok()?;
    Some(format!("{path} to {keep}"))
}

pub(super) fn write_slowly(person: &mut Person<'_>) -> Option<String> {
    let path = person.file()?;
    let pieces = (0..2 + person.random.below(4)).map(|_| person.content()).collect();
    person.disk.write_slowly(&path, pieces).ok()?;
    Some(path.to_string())
}

pub(super) fn save_by_rename(person: &mut Person<'_>) -> Option<String> {
    let (path, bytes) = (person.file()?, person.content());
    let aside = person.beside(&path, "saving")?;
    person.disk.make_file(&aside, bytes).ok()?;
    if person.random.one_in(2) {
        person.disk.fsync(&aside).ok();
    }
    if person.random.one_in(ALIKE_ONE_IN) {
        make_alike(person, &aside, &path)?;
    }
    person.disk.rename(&aside, &path).ok()?;
    Some(path.to_string())
}

/// As long and as old as another file, as programs leave it that set times: only that it is another file tells them apart.
fn make_alike(person: &mut Person<'_>, path: &ItemPath, other: &ItemPath) -> Option<()> {
    let (len, time) = (person.disk.read(other).ok()?.len(), person.disk.modified_ns(other).ok()?);
    person.disk.truncate(path, len).ok()?;
    person.disk.touch(path, time).ok()
}

pub(super) fn save_with_backup(person: &mut Person<'_>) -> Option<String> {
    let (path, bytes) = (person.file()?, person.content());
    let (folder, name) = path.split()?;
    let backup = folder.join(&Name::new(&format!("{name}~")).ok()?);
    person.disk.rename(&path, &backup).ok()?;
    person.disk.make_file(&path, bytes).ok()?;
    if person.random.one_in(2) {
        person.disk.remove(&backup).ok()?;
    }
    Some(path.to_string())
}

pub(super) fn rename(person: &mut Person<'_>) -> Option<String> {
    let (path, name) = (person.anything()?, person.name()?);
    let to = path.split()?.0.join(&name);
    person.disk.rename_new(&path, &to).ok()?;
    Some(format!("{path} to {to}"))
}

pub(super) fn move_elsewhere(person: &mut Person<'_>) -> Option<String> {
    let (path, place) = (person.anything()?, person.place());
    let to = place.join(path.split()?.1);
    person.disk.rename_new(&path, &to).ok()?;
    Some(format!("{path} to {to}"))
}

pub(super) fn nest(person: &mut Person<'_>) -> Option<String> {
    let (path, place) = (person.folder()?, person.folder()?);
    let to = place.join(path.split()?.1);
    person.disk.rename_new(&path, &to).ok()?;
    Some(format!("{path} to {to}"))
}

pub(super) fn swap(person: &mut Person<'_>) -> Option<String> {
    let (a, b) = (person.anything()?, person.anything()?);
    if person.random.one_in(2) {
        person.disk.exchange(&a, &b).ok()?;
        return Some(format!("{a} and {b} at once"));
    }
    let aside = person.beside(&a, "swap")?;
    person.disk.rename_new(&a, &aside).ok()?;
    if person.disk.rename_new(&b, &a).is_err() {
        person.disk.rename_new(&aside, &a).ok()?;
        return None;
    }
    person.disk.rename_new(&aside, &b).ok()?;
    Some(format!("{a} and {b}"))
}

pub(super) fn circle(person: &mut Person<'_>) -> Option<String> {
    let (a, b, c) = (person.anything()?, person.anything()?, person.anything()?);
    person.disk.exchange(&a, &b).ok()?;
    person.disk.exchange(&b, &c).ok();
    Some(format!("{a}, {b} and {c}"))
}

pub(super) fn chain(person: &mut Person<'_>) -> Option<String> {
    let (a, b, c) = (person.anything()?, person.anything()?, person.free()?);
    person.disk.rename_new(&b, &c).ok()?;
    person.disk.rename_new(&a, &b).ok()?;
    Some(format!("{b} to {c}, {a} to {b}"))
}

pub(super) fn case_rename(person: &mut Person<'_>) -> Option<String> {
    let path = person.anything()?;
    let (folder, name) = path.split()?;
    let to = folder.join(&names::other_case(name)?);
    person.disk.rename(&path, &to).ok()?;
    Some(format!("{path} to {to}"))
}

pub(super) fn twin(person: &mut Person<'_>) -> Option<String> {
    let accented = |path: &&(ItemPath, Kind)| path.0.names().last().is_some_and(|name| names::other_form(name).is_some());
    let found: Vec<ItemPath> = person.items().iter().filter(accented).map(|(path, _)| path.clone()).collect();
    let path = person.random.pick(&found).cloned()?;
    let (folder, name) = path.split()?;
    let to = folder.join(&names::other_form(name)?);
    if person.random.one_in(2) {
        person.disk.rename(&path, &to).ok()?;
        return Some(format!("{path} gets its other form"));
    }
    let bytes = person.content();
    person.disk.make_file(&to, bytes).ok()?;
    Some(format!("of {path}, in its other form"))
}

pub(super) fn odd_name(person: &mut Person<'_>) -> Option<String> {
    let (place, bytes) = (person.place(), person.content());
    let path = place.join(&names::odd(person.random)?);
    if person.random.one_in(4) { person.disk.make_folder(&path) } else { person.disk.make_file(&path, bytes) }.ok()?;
    Some(path.to_string())
}

pub(super) fn delete(person: &mut Person<'_>) -> Option<String> {
    let path = person.leaf()?;
    person.disk.remove(&path).ok()?;
    Some(path.to_string())
}

pub(super) fn delete_folder(person: &mut Person<'_>) -> Option<String> {
    let path = person.folder()?;
    let below = person.items().iter().filter(|(other, _)| other.names().starts_with(path.names())).count();
    if below > DELETED_MAX {
        return None;
    }
    person.disk.remove(&path).ok()?;
    Some(path.to_string())
}

pub(super) fn empty_folder(person: &mut Person<'_>) -> Option<String> {
    let place = person.place();
    let inside = |path: &ItemPath| path.split().is_some_and(|(folder, _)| folder == place);
    let found: Vec<ItemPath> = person.items().iter().map(|(path, _)| path.clone()).filter(inside).collect();
    if person.random.one_in(2) {
        person.disk.remove_slowly(found.clone());
        return (!found.is_empty()).then(|| format!("\"{place}\", one after the other"));
    }
    found.iter().try_for_each(|path| person.disk.remove(path)).ok()?;
    (!found.is_empty()).then(|| format!("\"{place}\""))
}

pub(super) fn recreate(person: &mut Person<'_>) -> Option<String> {
    let (path, bytes) = (person.leaf()?, person.content());
    person.disk.remove(&path).ok()?;
    person.disk.make_file(&path, bytes).ok()?;
    Some(path.to_string())
}

pub(super) fn to_folder(person: &mut Person<'_>) -> Option<String> {
    let (path, name, bytes) = (person.leaf()?, person.name()?, person.content());
    person.disk.remove(&path).ok()?;
    person.disk.make_folder(&path).ok()?;
    person.disk.make_file(&path.join(&name), bytes).ok()?;
    Some(path.to_string())
}

pub(super) fn to_file(person: &mut Person<'_>) -> Option<String> {
    let path = person.folder()?;
    let below = person.items().iter().filter(|(other, _)| other.names().starts_with(path.names())).count();
    if below > DELETED_MAX {
        return None;
    }
    let bytes = person.content();
    person.disk.remove(&path).ok()?;
    person.disk.make_file(&path, bytes).ok()?;
    Some(path.to_string())
}

pub(super) fn to_link(person: &mut Person<'_>) -> Option<String> {
    let path = person.leaf()?;
    person.disk.remove(&path).ok()?;
    person.disk.make_link(&path, "elsewhere").ok()?;
    Some(path.to_string())
}

pub(super) fn link(person: &mut Person<'_>) -> Option<String> {
    let path = person.free()?;
    let target = format!("target-{}", person.random.below(5));
    person.disk.make_link(&path, &target).ok()?;
    Some(format!("{path} to {target}"))
}

pub(super) fn hard_link(person: &mut Person<'_>) -> Option<String> {
    let (path, to) = (person.file()?, person.free()?);
    person.disk.hard_link(&path, &to).ok()?;
    Some(format!("{path} as {to}"))
}

pub(super) fn touch(person: &mut Person<'_>) -> Option<String> {
    let path = person.file()?;
    let now = person.disk.clock_ns();
    let time = match person.random.below(4) {
        0 => now,
        1 => person.disk.modified_ns(&path).ok()? + 1,
        2 => now + 86_400_000_000_000,
        _ => 1_000_000_000_000_000_000 + person.random.below(1_000_000) as i64 * 1_000_003,
    };
    person.disk.touch(&path, time).ok()?;
    Some(format!("{path} at {time}"))
}

pub(super) fn chmod(person: &mut Person<'_>) -> Option<String> {
    let path = person.file()?;
    let mode = person.disk.mode(&path).ok()? ^ 0o100;
    person.disk.chmod(&path, mode).ok()?;
    Some(format!("{path} to {mode:o}"))
}

pub(super) fn copy(person: &mut Person<'_>) -> Option<String> {
    let (path, to) = (person.file()?, person.free()?);
    person.disk.copy(&path, &to).ok()?;
    Some(format!("{path} to {to}"))
}

pub(super) fn ignore(person: &mut Person<'_>) -> Option<String> {
    let place = person.place();
    if person.random.one_in(2) {
        let (path, bytes) = (place.join(&names::ignored(person.random)?), person.content());
        person.disk.make_file(&path, bytes).ok()?;
        return Some(format!("{path}, which is ignored"));
    }
    let path = place.join(&".syncignore".parse().ok()?);
    let rules = ["*.txt\n", "photos/\n", "/a\n", "*.o\n!notes.txt\n", ""][person.random.below(5)];
    if person.disk.kind_at(&path).is_some() {
        person.disk.rewrite(&path, rules.as_bytes()).ok()?;
    } else {
        person.disk.make_file(&path, rules.as_bytes().to_vec()).ok()?;
    }
    Some(format!("{rules:?} in \"{place}\""))
}

pub(super) fn sync(person: &mut Person<'_>) -> Option<String> {
    person.disk.sync();
    Some(String::new())
}
