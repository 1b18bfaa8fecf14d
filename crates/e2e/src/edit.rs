//! A person at work: random changes to a folder, each of a kind that people and programs make.

use crate::random::Random;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Works in one folder. Two editors with different names never write the same new content.
#[derive(Debug)]
pub struct Editor {
    root: PathBuf,
    name: String,
    random: Random,
    made: usize,
    /// Most bytes of something new.
    large: usize,
    /// Most items that go with a folder that is deleted.
    deleted: usize,
}

/// The folder's entries by kind, by path.
struct Inventory {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    links: Vec<PathBuf>,
}

impl Editor {
    /// An editor of `root`.
    pub fn new(root: &Path, name: &str, random: Random) -> Self {
        Self { root: root.to_path_buf(), name: name.to_owned(), random, made: 0, large: 900_000, deleted: 20 }
    }

    /// The same, but all that it writes is small: a file is one chunk. And it deletes little at a time.
    #[must_use]
    pub fn small(mut self) -> Self {
        self.large = 20_000;
        self.deleted = 3;
        self
    }

    /// Does so many random things and says what it did.
    pub fn work(&mut self, operations: usize) -> Vec<String> {
        (0..operations).map(|_| self.work_once()).collect()
    }

    /// Does one random thing. What fails because the folder changes meanwhile is left undone, as it would be for a person.
    pub fn work_once(&mut self) -> String {
        let inventory = self.look();
        match self.operation(&inventory) {
            Ok(text) => text,
            Err(error) => format!("nothing: {error}"),
        }
    }

    fn look(&self) -> Inventory {
        let mut inventory = Inventory { files: Vec::new(), folders: vec![self.root.clone()], links: Vec::new() };
        let mut at = 0;
        while at < inventory.folders.len() {
            let mut entries: Vec<PathBuf> =
                std::fs::read_dir(&inventory.folders[at]).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            entries.sort();
            for path in entries {
                match path.symlink_metadata() {
                    Ok(metadata) if metadata.is_dir() => inventory.folders.push(path),
                    Ok(metadata) if metadata.is_symlink() => inventory.links.push(path),
                    Ok(metadata) if metadata.is_file() => inventory.files.push(path),
                    _ => {}
                }
            }
            at += 1;
        }
        inventory
    }

    fn operation(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        match self.random.below(22) {
            0..=3 => self.create(inventory),
            4 | 5 => self.rewrite(inventory),
            6 => self.save_by_rename(inventory),
            7 => self.append(inventory),
            8 => self.truncate(inventory),
            9 | 10 => self.move_file(inventory),
            11 | 12 => self.move_folder(inventory),
            13 => self.swap(inventory),
            14 | 15 => self.delete_file(inventory),
            16 => self.delete_folder(inventory),
            17 => self.file_to_folder(inventory),
            18 => self.folder_to_file(inventory),
            19 => self.touch(inventory),
            20 => self.chmod(inventory),
            _ => self.link(inventory),
        }
    }

    fn short(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    fn new_name(&mut self) -> String {
        self.made += 1;
        // Half of the names are taken from a small set that all editors share, so that they collide.
        if self.random.below(2) == 0 { format!("shared-{}", self.random.below(40)) } else { format!("{}-{}", self.name, self.made) }
    }

    fn new_content(&mut self) -> Vec<u8> {
        let len = match self.random.below(20) {
            0 => self.large / 3 + self.random.below(self.large * 2 / 3),
            1 => 0,
            _ => self.random.below(5_000),
        };
        let mut content = format!("{} {} ", self.name, self.random.next()).into_bytes();
        content.extend(self.random.bytes(len));
        content
    }

    /// A path where nothing is.
    fn free_path(&mut self, inventory: &Inventory) -> PathBuf {
        loop {
            let name = self.new_name();
            let path = self.random.pick(&inventory.folders).join(name);
            if path.symlink_metadata().is_err() {
                return path;
            }
        }
    }

    fn file<'a>(&mut self, inventory: &'a Inventory) -> std::io::Result<&'a Path> {
        if inventory.files.is_empty() {
            return Err(std::io::Error::other("no file"));
        }
        Ok(self.random.pick(&inventory.files).as_path())
    }

    /// A folder below the root.
    fn folder<'a>(&mut self, inventory: &'a Inventory) -> std::io::Result<&'a Path> {
        if inventory.folders.len() < 2 {
            return Err(std::io::Error::other("no folder"));
        }
        Ok(self.random.pick(&inventory.folders[1..]).as_path())
    }

    fn create(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.free_path(inventory);
        if self.random.below(4) == 0 {
            std::fs::create_dir(&path)?;
            return Ok(format!("make folder {}", self.short(&path)));
        }
        std::fs::write(&path, self.new_content())?;
        Ok(format!("create {}", self.short(&path)))
    }

    fn rewrite(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.file(inventory)?;
        std::fs::write(path, self.new_content())?;
        Ok(format!("rewrite {}", self.short(path)))
    }

    /// As many editors save: a new file renamed over the old one.
    fn save_by_rename(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.file(inventory)?;
        let aside = self.free_path(inventory);
        std::fs::write(&aside, self.new_content())?;
        std::fs::rename(&aside, path)?;
        Ok(format!("save {}", self.short(path)))
    }

    fn append(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.file(inventory)?;
        File::options().append(true).open(path)?.write_all(&self.new_content())?;
        Ok(format!("append to {}", self.short(path)))
    }

    fn truncate(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.file(inventory)?;
        let len = path.metadata()?.len();
        let keep = self.random.below(len as usize + 1) as u64;
        File::options().write(true).open(path)?.set_len(keep)?;
        Ok(format!("truncate {} to {keep}", self.short(path)))
    }

    fn move_file(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.file(inventory)?;
        let to = self.free_path(inventory);
        std::fs::rename(path, &to)?;
        Ok(format!("move {} to {}", self.short(path), self.short(&to)))
    }

    fn move_folder(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.folder(inventory)?;
        let to = self.free_path(inventory);
        std::fs::rename(path, &to)?;
        Ok(format!("move folder {} to {}", self.short(path), self.short(&to)))
    }

    fn swap(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let left = self.file(inventory)?;
        let right = self.file(inventory)?;
        rustix::fs::renameat_with(rustix::fs::CWD, left, rustix::fs::CWD, right, rustix::fs::RenameFlags::EXCHANGE)?;
        Ok(format!("swap {} and {}", self.short(left), self.short(right)))
    }

    fn delete_file(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.file(inventory)?;
        std::fs::remove_file(path)?;
        Ok(format!("delete {}", self.short(path)))
    }

    /// Only small ones: a person who deletes a fifth of everything is held up by the deletion guard, which has stories of its own.
    fn delete_folder(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.folder(inventory)?;
        let below = |of: &Vec<PathBuf>| of.iter().filter(|other| other.starts_with(path)).count();
        if below(&inventory.files) + below(&inventory.folders) > self.deleted {
            return Err(std::io::Error::other("too much to delete"));
        }
        std::fs::remove_dir_all(path)?;
        Ok(format!("delete folder {}", self.short(path)))
    }

    fn file_to_folder(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.file(inventory)?;
        std::fs::remove_file(path)?;
        std::fs::create_dir(path)?;
        std::fs::write(path.join("inside"), self.new_content())?;
        Ok(format!("file to folder {}", self.short(path)))
    }

    fn folder_to_file(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.folder(inventory)?;
        std::fs::remove_dir(path)?;
        std::fs::write(path, self.new_content())?;
        Ok(format!("folder to file {}", self.short(path)))
    }

    fn touch(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.file(inventory)?;
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_500_000_000 + self.random.below(1_000_000) as u64, 7);
        File::options().append(true).open(path)?.set_modified(time)?;
        Ok(format!("touch {}", self.short(path)))
    }

    fn chmod(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let path = self.file(inventory)?;
        let mode = path.metadata()?.permissions().mode() ^ 0o100;
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
        Ok(format!("chmod {}", self.short(path)))
    }

    fn link(&mut self, inventory: &Inventory) -> std::io::Result<String> {
        let target = format!("target-{}", self.random.below(1_000));
        let path = if inventory.links.is_empty() || self.random.below(2) == 0 {
            self.free_path(inventory)
        } else {
            let path = self.random.pick(&inventory.links).clone();
            std::fs::remove_file(&path)?;
            path
        };
        symlink(&target, &path)?;
        Ok(format!("link {} to {target}", self.short(&path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;
    use std::collections::BTreeSet;

    /// Every kind of work happens, and the same seed does the same.
    #[test]
    fn an_editor_does_everything_and_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut told = Vec::new();
        for name in ["one", "two"] {
            let root = dir.path().join(name);
            crate::seed::grow_flat(&root, 200, 100, &mut Random::new(1));
            told.push(Editor::new(&root, "editor", Random::new(2)).work(600));
        }
        assert_eq!(told[0], told[1]);
        let contents = |name: &str| Tree::of(&dir.path().join(name)).contents();
        assert_eq!(contents("one"), contents("two"));
        let verbs: BTreeSet<&str> = told[0].iter().filter_map(|line| line.split(' ').next()).collect();
        for verb in
            ["make", "create", "rewrite", "save", "append", "truncate", "move", "swap", "delete", "file", "touch", "chmod", "link"]
        {
            assert!(verbs.contains(verb), "{verb} never happened: {verbs:?}");
        }
    }
}
