//! The one directory that holds everything a device knows: `config.json`, `token`, `state.db`, `staging/`, `trash/`, `lock`.
//!
//! Several homes are several devices, also on one machine. Nothing of ours is kept in the user's folder, and no secret outside `token`.

mod config;
mod limits;
mod lock;
mod token;

pub use config::Config;
pub use limits::{Limits, LocalTime, Schedule, ScheduleError};
pub use lock::HomeLock;
pub use token::Token;

use stacksync_chunks::crash_point;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.json";
const TOKEN: &str = "token";
const STATE: &str = "state.db";
const LOCK: &str = "lock";

/// What keeps a home from being used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The platform names no place for it.
    #[error("this account has no data directory")]
    NoPlace,
    /// There is no device here yet.
    #[error("this device has not joined a service (its home is {0})")]
    NotJoined(PathBuf),
    /// There is a device here already.
    #[error("this device has already joined {url} with the folder {root}", root = root.display())]
    AlreadyJoined {
        /// The service.
        url: String,
        /// The folder that it keeps in sync.
        root: PathBuf,
    },
    /// Another process uses it.
    #[error("another stacksync is running with {home} (process {pid})", home = home.display())]
    Locked {
        /// This home.
        home: PathBuf,
        /// Its process id, `?` if it did not say.
        pid: String,
    },
    /// One of its files does not hold what it should.
    #[error("{file} is damaged: {problem}", file = file.display())]
    Damaged {
        /// Which.
        file: PathBuf,
        /// How.
        problem: String,
    },
    /// It was written by a later version of this program.
    #[error("{file} was written by a newer stacksync (format {found}; this one knows {known})", file = file.display())]
    Newer {
        /// Which file.
        file: PathBuf,
        /// The format that it has.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// The operating system said no.
    #[error("cannot {verb} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_owned();
    move |source| HomeError::Io { verb, path, source }
}

/// A device's own directory. It need not exist before the device joins.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// The directory asked for, else the one that the platform has for such data. Always absolute.
    ///
    /// # Errors
    /// When the platform has none, or the working directory is gone.
    pub fn locate(asked: Option<PathBuf>) -> Result<Self, HomeError> {
        let dir = match asked {
            Some(dir) => dir,
            None => {
                directories::ProjectDirs::from("com", "StackSync", "stacksync").ok_or(HomeError::NoPlace)?.data_dir().to_owned()
            }
        };
        let dir = std::path::absolute(&dir).map_err(failed("find", &dir))?;
        Ok(Self { dir })
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The configuration.
    pub fn config_file(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// The state database.
    pub fn state_file(&self) -> PathBuf {
        self.dir.join(STATE)
    }

    /// Where files are written before they take their place in the user's folder.
    pub fn staging_dir(&self) -> PathBuf {
        self.dir.join("staging")
    }

    /// Where files go that were deleted or replaced from elsewhere.
    pub fn trash_dir(&self) -> PathBuf {
        self.dir.join("trash")
    }

    /// What the device has been told when it joined.
    ///
    /// # Errors
    /// [`HomeError::NotJoined`] where there is no device; otherwise what is wrong with the file.
    pub fn config(&self) -> Result<Config, HomeError> {
        let file = self.dir.join(CONFIG);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(HomeError::NotJoined(self.dir.clone())),
            Err(error) => return Err(failed("read", &file)(error)),
        };
        Config::parse(&file, &text)
    }

    /// The device's secret.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn token(&self) -> Result<Token, HomeError> {
        Token::read(&self.dir.join(TOKEN))
    }

    /// Makes sure that a device can be kept here, before its one-time code is used up.
    ///
    /// # Errors
    /// [`HomeError::AlreadyJoined`], or why nothing can be written here.
    pub fn prepare(&self) -> Result<(), HomeError> {
        match self.config() {
            Ok(config) => return Err(HomeError::AlreadyJoined { url: config.server, root: config.root }),
            Err(HomeError::NotJoined(_)) => {}
            Err(error) => return Err(error),
        }
        private_dir(&self.dir)?;
        write_durably(&self.dir.join("probe"), b"")?;
        fs::remove_file(self.dir.join("probe")).map_err(failed("write in", &self.dir))
    }

    /// Keeps a new device: from now on it has joined. The token is written first, so that a device with a configuration has one.
    ///
    /// # Errors
    /// Why a file could not be written.
    pub fn create(&self, config: &Config, token: &Token) -> Result<(), HomeError> {
        private_dir(&self.dir)?;
        write_durably(&self.dir.join(TOKEN), token.secret().as_bytes())?;
        write_durably(&self.dir.join(CONFIG), config.to_text().as_bytes())
    }

    /// Rewrites the configuration.
    ///
    /// # Errors
    /// Why the file could not be written.
    pub fn save(&self, config: &Config) -> Result<(), HomeError> {
        write_durably(&self.dir.join(CONFIG), config.to_text().as_bytes())
    }

    /// Takes the home for this process alone; given back when the lock is dropped, also by a crash.
    ///
    /// # Errors
    /// [`HomeError::Locked`] when another process has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        HomeLock::take(&self.dir, &self.dir.join(LOCK))
    }

    /// The process that uses this home now.
    pub fn running(&self) -> Option<String> {
        HomeLock::holder(&self.dir.join(LOCK))
    }

    /// Forgets the device: configuration, token, state and staged files. The user's folder and the trash stay.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn forget(&self) -> Result<(), HomeError> {
        for name in [TOKEN, CONFIG, STATE, "state.db-wal", "state.db-shm"] {
            let file = self.dir.join(name);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &file)(error)),
                Ok(()) | Err(_) => {}
            }
            crash_point!("home-forget.after-remove");
        }
        match fs::remove_dir_all(self.staging_dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &self.staging_dir())(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn private_dir(dir: &Path) -> Result<(), HomeError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create", dir))
}

/// Whole or not at all: beside, fsync, rename, fsync of the directory. Only the owner may read it.
fn write_durably(file: &Path, content: &[u8]) -> Result<(), HomeError> {
    let beside = file.with_extension("new");
    let write = || -> io::Result<()> {
        let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        out.write_all(content)?;
        crash_point!("home-file.before-sync");
        out.sync_all()?;
        crash_point!("home-file.before-rename");
        fs::rename(&beside, file)?;
        crash_point!("home-file.after-rename");
        match file.parent() {
            Some(dir) => fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(failed("write", file))?;
    crash_point!("home-file.after-sync");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().join("home"))).unwrap();
        (dir, home)
    }

    fn config() -> Config {
        Config::example(Path::new("/some/folder"))
    }

    #[test]
    fn a_device_is_kept_and_found_again() {
        let (_dir, home) = home();
        assert!(matches!(home.config(), Err(HomeError::NotJoined(_))));
        home.prepare().unwrap();
        home.create(&config(), &Token::new("secret".into())).unwrap();
        assert_eq!(home.config().unwrap(), config());
        assert_eq!(home.token().unwrap().secret(), "secret");
        let mode = fs::metadata(home.dir().join(TOKEN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_second_join_is_refused_before_the_code_is_used() {
        let (_dir, home) = home();
        home.create(&config(), &Token::new("secret".into())).unwrap();
        let error = home.prepare().unwrap_err();
        assert!(matches!(error, HomeError::AlreadyJoined { .. }), "{error}");
    }

    #[test]
    fn one_process_at_a_time() {
        let (_dir, home) = home();
        home.prepare().unwrap();
        assert_eq!(home.running(), None);
        let lock = home.lock().unwrap();
        let error = home.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(home.running().is_some());
        drop(lock);
        home.lock().unwrap();
    }

    #[test]
    fn forgetting_leaves_the_trash() {
        let (_dir, home) = home();
        home.create(&config(), &Token::new("secret".into())).unwrap();
        fs::create_dir(home.trash_dir()).unwrap();
        fs::create_dir(home.staging_dir()).unwrap();
        home.forget().unwrap();
        home.forget().unwrap();
        assert!(matches!(home.config(), Err(HomeError::NotJoined(_))));
        assert!(home.trash_dir().exists() && !home.staging_dir().exists());
    }

    #[test]
    fn damaged_and_newer_files_are_told_apart() {
        let (_dir, home) = home();
        home.create(&config(), &Token::new("secret".into())).unwrap();
        fs::write(home.dir().join(CONFIG), "{").unwrap();
        assert!(matches!(home.config(), Err(HomeError::Damaged { .. })));
        fs::write(home.dir().join(CONFIG), r#"{"format": 99, "more": true}"#).unwrap();
        assert!(matches!(home.config(), Err(HomeError::Newer { found: 99, .. })));
        fs::write(home.dir().join(TOKEN), " \n").unwrap();
        assert!(matches!(home.token(), Err(HomeError::Damaged { .. })));
    }
}
