//! The stories.

use bytes::Bytes;
use stacksync_chunks::store::{ChunkStore, Stored};
use stacksync_core::values::WorkspaceId;
use stacksync_e2e::device::Device;
use stacksync_e2e::proxy::Proxy;
use stacksync_e2e::random::Random;
use stacksync_e2e::server::Server;
use stacksync_e2e::storage::{Kind, Storage};
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::world::USER;
use stacksync_storage::backend::{Backend, When};
use stacksync_storage::ftp::{Ftp, FtpPlace, FtpTls};
use stacksync_storage::s3::{Keys, S3, S3Place, Style};
use stacksync_storage::sftp::{Sftp, SftpPlace, SftpSecret};
use stacksync_storage::swift::{Login, LoginVersion, Swift, SwiftPlace};
use stacksync_storage::{HttpSetup, RemoteStore};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// A server with its chunks elsewhere, and its devices.
pub struct Stage {
    pub dir: tempfile::TempDir,
    pub server: Server,
}

impl Stage {
    pub fn new(storage: Storage) -> Self {
        Self::with_settings(storage, &[])
    }

    /// With more variables in the server's environment.
    pub fn with_settings(storage: Storage, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("stacksync-storages-").tempdir().unwrap();
        let mut server = Server::new(dir.path()).with_storage(Some(storage));
        settings.iter().for_each(|(name, value)| server.set(name, value));
        server.start();
        server.add_user(USER);
        Self { dir, server }
    }

    pub fn device(&self, name: &str) -> Device {
        let device = Device::new(self.dir.path(), name);
        device.join(&self.server.invite(USER));
        device
    }

    /// Bytes of chunks that passed through the service so far, both ways.
    pub fn relayed(&self) -> u64 {
        let page = self.server.metrics();
        let lines = page.lines().filter(|line| line.starts_with("stacksync_chunk_") && line.contains("_bytes_total "));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    fn workspace(&self) -> WorkspaceId {
        let list = self.server.admin(&["workspace", "list"]);
        let row = &list.as_array().unwrap()[0];
        row["workspace_id"].as_str().or(row["id"].as_str()).unwrap().parse().unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.kill();
        if std::thread::panicking() {
            println!("{}", stacksync_e2e::process::tail(self.server.log()));
        }
    }
}

pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

pub fn settle(devices: &[&Device]) {
    stacksync_e2e::device::settle(devices);
}

/// What the storage holds, behind the service's back.
pub struct Backstage {
    pub backend: Arc<dyn Backend>,
    swift: Option<Arc<Swift>>,
    pub store: RemoteStore,
    pub runtime: tokio::runtime::Runtime,
    pub home: WorkspaceId,
}

impl Backstage {
    pub fn of(stage: &Stage) -> Self {
        let storage = stage.server.storage().unwrap();
        let set = |key: &str| storage.configuration().into_iter().find(|(name, _)| name == key).unwrap().1;
        let address = format!("http://{}", storage.own_address());
        let mut swift = None;
        let backend: Arc<dyn Backend> = match storage.kind() {
            Kind::S3 => {
                let keys = Keys { access: set("s3.access_key"), secret: set("s3.secret_key").into(), token: None };
                let place = S3Place {
                    endpoint: address.clone(),
                    public_endpoint: address,
                    region: "us-east-1".to_owned(),
                    bucket: set("s3.bucket"),
                    prefix: String::new(),
                    style: Style::Path,
                };
                Arc::new(S3::new(place, keys, &HttpSetup::default()).unwrap())
            }
            Kind::Swift => {
                let login = Login {
                    version: LoginVersion::V1,
                    address,
                    user: set("swift.user"),
                    password: set("swift.password").into(),
                    project: String::new(),
                    domain: String::new(),
                    storage: None,
                };
                let place = SwiftPlace { login, public_address: None, prefix: set("swift.containers") };
                swift = Some(Arc::new(Swift::new(place, &HttpSetup::default()).unwrap()));
                swift.clone().unwrap()
            }
            Kind::Ftp => {
                let place = FtpPlace {
                    host: set("ftp.host"),
                    port: storage.own_address().port(),
                    user: set("ftp.user"),
                    password: set("ftp.password").into(),
                    folder: set("ftp.folder"),
                    tls: FtpTls::Explicit,
                    connections: 4,
                };
                Arc::new(Ftp::new(place, &HttpSetup { authorities: Some(set("storage.ca").into()) }).unwrap())
            }
            Kind::Sftp => {
                let known_hosts = Path::new(&set("sftp.known_hosts")).with_file_name("known_hosts");
                Arc::new(Sftp::new(SftpPlace {
                    host: set("sftp.host"),
                    port: storage.own_address().port(),
                    user: set("sftp.user"),
                    secret: SftpSecret::Key { file: set("sftp.key").into(), passphrase: None },
                    known_hosts,
                    folder: set("sftp.folder"),
                    requests: 8,
                }))
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = runtime.block_on(RemoteStore::open(backend.clone())).unwrap();
        Self { backend, swift, store, runtime, home: stage.workspace() }
    }

    pub fn chunks(&self) -> Vec<Stored> {
        self.runtime.block_on(self.store.list(self.home, None, 1_000)).unwrap()
    }
}

pub fn fresh(kind: Kind) -> Storage {
    Storage::fresh(kind)
}

pub fn many_files_and_a_long_one_arrive_without_passing_through_the_service(kind: Kind) {
    let stage = Stage::new(fresh(kind));
    let (a, b) = (stage.device("a"), stage.device("b"));
    let mut random = Random::from_environment("storages: first sync");
    for number in 0..150 {
        write(&a.path(&format!("small/{}/{number}", number % 7)), random.bytes(3_000));
    }
    write(&a.path("long"), random.bytes(20 << 20));
    write(&a.path("empty"), "");
    a.sync_once();
    b.sync_once();
    assert_same(a.root(), b.root());
    write(&b.path("small/1/1"), "changed on b");
    settle(&[&b, &a]);
    assert_eq!(stage.relayed(), 0, "bytes passed through the service");
    // A second try finds everything there.
    let chunks = Backstage::of(&stage).chunks().len();
    std::fs::copy(a.path("long"), a.path("long again")).unwrap();
    settle(&[&a, &b]);
    assert_eq!(Backstage::of(&stage).chunks().len(), chunks);
}

pub fn everything_passes_through_the_service_if_it_is_told_to_relay(kind: Kind) {
    let stage = Stage::new(fresh(kind).with("storage.relay", "only"));
    let (a, b) = (stage.device("a"), stage.device("b"));
    let mut random = Random::from_environment("storages: relay");
    for number in 0..40 {
        write(&a.path(&format!("small/{number}")), random.bytes(2_000));
    }
    write(&a.path("long"), random.bytes(3 << 20));
    settle(&[&a, &b]);
    assert_same(a.root(), b.root());
    assert!(stage.relayed() >= 2 * (3 << 20), "{}", stage.relayed());
}

/// The storage as the service reaches it stays; as devices do, it is gone.
fn out_of_reach(kind: Kind) -> Storage {
    let storage = fresh(kind);
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let key = if kind == Kind::S3 { "s3.public_endpoint" } else { "swift.public_url" };
    storage.with(key, &format!("http://{nobody}"))
}

pub fn a_device_that_cannot_reach_the_storage_takes_the_service(kind: Kind) {
    let stage = Stage::new(out_of_reach(kind));
    let (a, b) = (stage.device("a"), stage.device("b"));
    write(&a.path("a"), Random::from_environment("storages: detour").bytes(700_000));
    write(&a.path("b"), "small");
    a.sync_once();
    b.sync_once();
    assert_same(a.root(), b.root());
    assert!(stage.relayed() >= 2 * 700_000, "{}", stage.relayed());
}

pub fn a_storage_that_is_away_is_told_and_waited_for(kind: Kind) {
    let storage = fresh(kind);
    let line = Proxy::to(storage.own_address());
    let stage = Stage::new(storage.behind(line.address()));
    let (a, b) = (stage.device("a"), stage.device("b"));
    write(&a.path("early"), "before");
    settle(&[&a, &b]);
    line.take_down();
    write(&a.path("late"), "while it is away");
    let said = a.must_fail(&["sync", "--once"]);
    assert!(said.contains("late"), "it does not name the file:\n{said}");
    assert!(said.contains("storage"), "it does not say what is away:\n{said}");
    line.bring_up();
    settle(&[&a, &b]);
    assert_eq!(std::fs::read(b.path("late")).unwrap(), b"while it is away");
}

pub fn a_lost_chunk_and_a_damaged_one_leave_files_alone_and_heal(kind: Kind) {
    let stage = Stage::new(fresh(kind));
    let (a, b) = (stage.device("a"), stage.device("b"));
    write(&a.path("doc"), "first version");
    settle(&[&a, &b]);
    let backstage = Backstage::of(&stage);
    let before = backstage.chunks();
    let content = Random::from_environment("storages: damage").bytes(50_000);
    write(&a.path("doc"), &content);
    a.sync_once();
    let new: Vec<_> = backstage.chunks().into_iter().filter(|chunk| before.iter().all(|old| old.name != chunk.name)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    let (home, name) = (backstage.home, new[0].name);
    let whole = backstage.runtime.block_on(backstage.store.get(home, name)).unwrap().unwrap();
    let mut damaged = whole.to_vec();
    damaged[25_000] ^= 0x40;
    backstage.runtime.block_on(backstage.backend.put(home, name, Bytes::from(damaged), When::Always)).unwrap();
    let hold_on = || {
        let said = b.must_fail(&["sync", "--once"]);
        assert!(said.contains("doc"), "it does not name the file:\n{said}");
        assert_eq!(std::fs::read(b.path("doc")).unwrap(), b"first version", "the person's file was touched");
    };
    hold_on();
    // The service looked at it itself, and set it aside.
    assert_eq!(backstage.runtime.block_on(backstage.store.present(home, vec![name])).unwrap(), [false]);
    hold_on();
    backstage.runtime.block_on(backstage.store.put_batch(home, vec![(name, whole)])).unwrap();
    settle(&[&b, &a]);
    assert_eq!(std::fs::read(b.path("doc")).unwrap(), content);
}

pub fn what_it_can_do_is_found_out_and_garbage_is_collected_beside_devices(kind: Kind) {
    let stage = Stage::new(fresh(kind));
    let found = stage.server.admin(&["storage", "check"]);
    assert_eq!(found["usable"], true, "{found}");
    let lacking: Vec<_> = found["findings"].as_array().unwrap().iter().filter(|finding| finding["outcome"] != "good").collect();
    // Devices go only where there are signed addresses.
    assert_eq!(lacking.len(), usize::from(matches!(kind, Kind::Ftp | Kind::Sftp)), "{lacking:?}");

    let (a, b) = (stage.device("a"), stage.device("b"));
    write(&a.path("doc"), "one");
    settle(&[&a, &b]);
    let backstage = Backstage::of(&stage);
    let garbage = stacksync_chunks::store::conformance::chunk("nobody names this");
    let wanted = stacksync_chunks::store::conformance::chunk("somebody will");
    let stored = backstage.store.put_batch(backstage.home, vec![garbage.clone(), wanted.clone()]);
    backstage.runtime.block_on(stored).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let refused = stage.server.admin_output(&["storage", "gc", "--grace", "1s"]);
    assert!(!refused.status.success() && stacksync_e2e::process::printed(&refused).contains("commit in flight"));
    let gc = ["storage", "gc", "--grace", "1s", "--no-device-is-at-work"];
    let first = stage.server.admin(&gc);
    assert_eq!((&first["aside"], &first["removed"]), (&2.into(), &0.into()), "{first}");
    // Its chunk is aside, not there: the device brings it again.
    write(&b.path("late"), "somebody will");
    write(&a.path("doc"), "two");
    settle(&[&b, &a]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let second = stage.server.admin(&gc);
    assert_eq!((&second["restored"], &second["removed"]), (&1.into(), &1.into()), "{second}");
    let there = backstage.store.present(backstage.home, vec![garbage.0, wanted.0]);
    assert_eq!(backstage.runtime.block_on(there).unwrap(), [false, true]);
    let scrubbed = stage.server.admin(&["storage", "scrub"]);
    // Past versions keep their chunks.
    assert_eq!((&scrubbed["checked"], scrubbed["problems"].as_array().unwrap().len()), (&3.into(), 0), "{scrubbed}");
    let c = stage.device("c");
    c.sync_once();
    assert_same(a.root(), c.root());

    backstage.runtime.block_on(backstage.store.remove(backstage.home, vec![wanted.0])).unwrap();
    let output = stage.server.admin_output(&["storage", "scrub"]);
    let said = stacksync_e2e::process::printed(&output);
    assert_eq!(output.status.code(), Some(8), "{said}");
    assert!(said.contains("late") && said.contains("missing"), "{said}");
}

pub fn chunks_move_to_another_storage_and_back(kind: Kind) {
    let mut stage = Stage::new(fresh(kind));
    let (a, b) = (stage.device("a"), stage.device("b"));
    let mut random = Random::from_environment("storages: migrate");
    for number in 0..30 {
        write(&a.path(&format!("{number}")), random.bytes(9_000));
    }
    a.sync_once();
    // Into a folder, and the service with it.
    let folder = stage.dir.path().join("folder.properties");
    write(&folder, format!("data={}\n", stage.server.data().display()));
    let there = stage.dir.path().join("there.properties");
    let lines: Vec<String> =
        stage.server.storage().unwrap().configuration().iter().map(|(key, value)| format!("{key}={value}")).collect();
    write(&there, format!("data={}\n{}\n", stage.server.data().display(), lines.join("\n")));
    let moved = stage.server.admin(&["storage", "migrate", "--to", folder.to_str().unwrap()]);
    assert_eq!((&moved["copied"], &moved["there"]), (&30.into(), &0.into()), "{moved}");
    write(&a.path("in between"), random.bytes(9_000));
    a.sync_once();
    let again = stage.server.admin(&["storage", "migrate", "--to", folder.to_str().unwrap()]);
    assert_eq!((&again["copied"], &again["there"]), (&1.into(), &30.into()), "{again}");
    stage.server.keep_chunks_in(None);
    stage.server.start();
    b.sync_once();
    assert_same(a.root(), b.root());
    let back = stage.server.admin(&["storage", "migrate", "--to", there.to_str().unwrap()]);
    assert_eq!((&back["copied"], &back["there"]), (&0.into(), &31.into()), "{back}");
}

pub fn a_full_storage_is_told_and_loses_nothing() {
    let stage = Stage::new(fresh(Kind::Swift));
    let (a, b) = (stage.device("a"), stage.device("b"));
    write(&a.path("early"), "before it is full");
    settle(&[&a, &b]);
    let backstage = Backstage::of(&stage);
    let swift = backstage.swift.clone().unwrap();
    backstage.runtime.block_on(swift.limit(backstage.home, Some(100))).unwrap();
    // Swift knows a container's limit a moment later.
    std::thread::sleep(std::time::Duration::from_secs(3));
    write(&a.path("late"), Random::from_environment("storages: full").bytes(50_000));
    let said = a.must_fail(&["sync", "--once"]);
    assert!(said.contains("late") && said.contains("full"), "it does not say what and why:\n{said}");
    backstage.runtime.block_on(swift.limit(backstage.home, None)).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    settle(&[&a, &b]);
    assert_same(a.root(), b.root());
}
