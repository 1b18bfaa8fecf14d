//! With `E2E_STORAGE=s3`, `swift`, ... every server under test keeps its chunks at a storage of that kind, each in a place of its own, in
//! a private server that this program starts and that ends with it. `E2E_STORAGE_PORT` names one that runs already, `E2E_STORAGE_DIR` its directory.

use crate::programs::checkout;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// Environment variable that chooses the chunk storage of the servers under test.
pub const STORAGE_ENV: &str = "E2E_STORAGE";

/// A place for the chunks of one server.
#[derive(Clone, Debug)]
pub struct Storage {
    kind: Kind,
    name: String,
    /// Where it is for the service and its devices, if not at its own address.
    address: SocketAddr,
    /// Further lines of the configuration.
    more: Vec<(String, String)>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ceph's gateway.
    S3,
    /// With users of its own.
    Swift,
    /// ProFTPD, with TLS.
    Ftp,
    /// OpenSSH's.
    Sftp,
}

struct Instance {
    port: u16,
    dir: PathBuf,
    _script: Option<Child>,
}

impl Storage {
    /// A fresh one if servers are to use one; `None` if they keep chunks in their data directory.
    ///
    /// # Panics
    /// If it cannot be started, or the variable says something else.
    pub fn wanted() -> Option<Self> {
        match std::env::var(STORAGE_ENV).unwrap_or_default().as_str() {
            "" | "filesystem" => None,
            "s3" => Some(Self::fresh(Kind::S3)),
            "swift" => Some(Self::fresh(Kind::Swift)),
            "ftp" => Some(Self::fresh(Kind::Ftp)),
            "sftp" => Some(Self::fresh(Kind::Sftp)),
            other => panic!("{STORAGE_ENV} is '{other}'; it may be filesystem, s3, swift, ftp or sftp"),
        }
    }

    /// A fresh one.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn fresh(kind: Kind) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("story-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from(([127, 0, 0, 1], instance(kind).port));
        Self { kind, name, address, more: Vec::new() }
    }

    /// What it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where its own server listens.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn own_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], instance(self.kind).port))
    }

    /// The same at another address, behind which somebody stands who passes everything on.
    #[must_use]
    pub fn behind(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// The same with one more key.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.more.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Its keys and values in the configuration.
    pub fn configuration(&self) -> Vec<(String, String)> {
        let port = self.address.port().to_string();
        let dir = &instance(self.kind).dir;
        let file = |name: &str| dir.join(name).display().to_string();
        let (authority, key, known_hosts, user) = (file("ca.pem"), file("key"), self.known_hosts(), current_user());
        let endpoint = format!("http://{}", self.address);
        let keys: Vec<(&str, &str)> = match self.kind {
            Kind::S3 => vec![
                ("storage", "s3"),
                ("s3.endpoint", &endpoint),
                ("s3.bucket", &self.name),
                ("s3.access_key", "stacksync"),
                ("s3.secret_key", "stacksync-secret"),
            ],
            Kind::Swift => vec![
                ("storage", "swift"),
                ("swift.auth", "v1"),
                ("swift.host", "127.0.0.1"),
                ("swift.port", &port),
                ("swift.public_url", &endpoint),
                ("swift.user", "test:tester"),
                ("swift.password", "testing"),
                ("swift.containers", &self.name),
            ],
            Kind::Ftp => vec![
                ("storage", "ftp"),
                ("storage.ca", &authority),
                ("ftp.host", "localhost"),
                ("ftp.port", &port),
                ("ftp.user", "alice"),
                ("ftp.password", "alicepw"),
                ("ftp.folder", &self.name),
            ],
            Kind::Sftp => vec![
                ("storage", "sftp"),
                ("sftp.host", "127.0.0.1"),
                ("sftp.port", &port),
                ("sftp.user", &user),
                ("sftp.key", &key),
                ("sftp.known_hosts", &known_hosts),
                ("sftp.folder", &self.name),
            ],
        };
        let keys = keys.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        keys.chain(self.more.iter().cloned()).collect()
    }

    /// A file with the server's key under the port at which it is reached.
    fn known_hosts(&self) -> String {
        let dir = &instance(self.kind).dir;
        let file = dir.join(format!("known_hosts-{}", self.address.port()));
        if let Ok(own) = std::fs::read_to_string(dir.join("known_hosts")) {
            let key = own.split_once(' ').map_or("", |(_, key)| key);
            std::fs::write(&file, format!("[127.0.0.1]:{} {key}", self.address.port())).expect("the directory can be written");
        }
        file.display().to_string()
    }

    /// Sets it in the environment of a server.
    pub fn configure(&self, command: &mut Command) {
        for (key, value) in self.configuration() {
            command.env(format!("STACKSYNC_{}", key.to_ascii_uppercase().replace('.', "_")), value);
        }
    }
}

/// The name of the user who runs this.
fn current_user() -> String {
    let output = Command::new("id").arg("-un").output().expect("`id` can be run");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn instance(kind: Kind) -> &'static Instance {
    static S3: OnceLock<Instance> = OnceLock::new();
    static SWIFT: OnceLock<Instance> = OnceLock::new();
    static FTP: OnceLock<Instance> = OnceLock::new();
    static SFTP: OnceLock<Instance> = OnceLock::new();
    match kind {
        Kind::S3 => S3.get_or_init(|| start("s3")),
        Kind::Swift => SWIFT.get_or_init(|| start("swift")),
        Kind::Ftp => FTP.get_or_init(|| start("ftp")),
        Kind::Sftp => SFTP.get_or_init(|| start("sftp")),
    }
}

fn start(name: &str) -> Instance {
    if let Ok(port) = std::env::var("E2E_STORAGE_PORT") {
        let dir = std::env::var_os("E2E_STORAGE_DIR").unwrap_or_default().into();
        return Instance { port: port.parse().expect("E2E_STORAGE_PORT is a port"), dir, _script: None };
    }
    let port = free_ports();
    let dir = std::env::temp_dir().join(format!("stacksync-story-{name}-{}-{port}", std::process::id()));
    let mut script = Command::new(checkout().join("scripts/backends").join(name))
        .args(["run".as_ref(), dir.as_os_str(), port.to_string().as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the script can be started");
    let mut said = String::new();
    BufReader::new(script.stdout.take().expect("it is a pipe")).read_line(&mut said).expect("the script can be read");
    assert_eq!(said, "ready\n", "the storage did not start; see what scripts/backends/{name} says above");
    Instance { port, dir, _script: Some(script) }
}

/// The first of many ports in a row that nobody listens on, each time others.
fn free_ports() -> u16 {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().expect("no holder panics");
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let offset = std::process::id() % 400;
    loop {
        let base = 18_000 + ((offset + u32::from(*next)) * 70 % 28_000) as u16;
        *next += 1;
        assert!(*next < 400, "there are no free ports");
        if (0..70).all(|more| free(base + more)) {
            return base;
        }
    }
}
