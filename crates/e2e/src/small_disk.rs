//! A disk that gets full: a file system in memory of limited size. Mounting needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounted until this goes away.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one over a folder, which is made if need be.
    ///
    /// # Panics
    /// If it cannot be mounted: a story that cannot run is a story that fails.
    pub fn mount(at: &Path, bytes: u64) -> Self {
        std::fs::create_dir_all(at).expect("a folder can be made");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(at).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "a small disk cannot be mounted at {}: the stories of full disks need root (or a container that may mount)",
            at.display()
        );
        Self { at: at.to_path_buf() }
    }

    /// Makes it larger.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn grow(&self, bytes: u64) {
        let status = Command::new("mount").args(["-o", &format!("remount,size={bytes}")]).arg(&self.at).status();
        assert!(status.is_ok_and(|status| status.success()), "the small disk cannot grow");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}
