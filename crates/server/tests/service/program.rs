//! The program: exit codes, one clear line when it cannot start, commands beside it, and how it stops.

use crate::device::{Device, folder};
use crate::house::{House, admin, config, program};
use crate::http;
use serde_json::Value;
use stacksync_server::process;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stacksync-server")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Ends the process however the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(data: &Path) -> Self {
        // One that was killed left its file.
        let _ = std::fs::remove_file(data.join("server.json"));
        let server = Self(program(data, &[]).stderr(Stdio::null()).spawn().unwrap());
        let since = Instant::now();
        while !data.join("server.json").exists() {
            assert!(since.elapsed() < Duration::from_secs(20), "the server starts");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn address(data: &Path) -> SocketAddr {
        let file: Value = serde_json::from_slice(&std::fs::read(data.join("server.json")).unwrap()).unwrap();
        file["url"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn terminate(&mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap().code().unwrap()
    }
}

#[test]
fn exit_codes_are_those_of_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for (arguments, code, expected) in [
        (vec!["--nonsense"], 1, "--nonsense"),
        (vec!["-c", "/no/such/file"], 2, "ERROR: '/no/such/file' file not found"),
        (vec!["/no/such/file"], 2, "ERROR: '/no/such/file' file not found"),
        (vec!["-c", &file("p", "datasource=oracle")], 3, "'oracle' is not known; use sqlite, postgresql"),
        (vec!["-c", &file("k", "http.listn=x")], 7, "did you mean 'http.listen'?"),
        (vec!["user", "list", "--data", "/no/such/directory"], 7, "holds no StackSync data"),
    ] {
        let output = run(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    for (argument, expected) in
        [("-v", "StackSync SyncService v"), ("-V", "StackSync SyncService v"), ("-h", "Usage: "), ("--dump-config", "http.listen=")]
    {
        let output = run(&[argument]);
        assert!(output.status.success() && text(&output.stdout).contains(expected), "{argument}");
    }
}

#[test]
fn a_damaged_or_newer_database_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    admin(folder.path(), &["user", "add", "anna", "--email", "a@b"]);
    let db = folder.path().join("stacksync.db");
    rusqlite::Connection::open(&db).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let output = program(folder.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
    std::fs::write(&db, "this is no database, however long one looks at it".repeat(100)).unwrap();
    let output = program(folder.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    std::fs::write(folder.path().join("format"), "stacksync-server data, format 2\n").unwrap();
    let output = program(folder.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains("written by a newer StackSync"));
    assert_eq!(text(&output.stderr).lines().count(), 1);
}

#[test]
fn a_second_server_and_a_port_in_use_are_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let second = program(folder.path(), &[]).output().unwrap();
    let error = text(&second.stderr);
    assert_eq!((second.status.code(), error.lines().count()), (Some(7), 1), "{error}");
    assert!(error.contains(&format!("another stacksync-server (process {})", server.0.id())), "{error}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let output =
        program(elsewhere.path(), &[]).env("STACKSYNC_HTTP_LISTEN", taken.local_addr().unwrap().to_string()).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), error.lines().count()), (Some(6), 1), "{error}");
    assert!(error.contains("cannot listen on 127.0.0.1:"), "{error}");

    assert_eq!(server.terminate(), 0);
    assert!(!folder.path().join("server.json").exists());
}

#[test]
fn commands_work_without_a_server_and_tell_people_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = |arguments: &[&str]| program(&data, arguments).output().unwrap();
    let added = run(&["user", "add", "anna", "--email", "Anna@Example.org", "--quota", "5 GiB"]);
    let shown = text(&added.stdout);
    assert!(shown.contains("Added user anna (") && shown.contains("stacksync join http://127.0.0.1:0 "), "{shown}");
    assert!(shown.contains("start it first"), "{shown}");
    for (arguments, expected) in [
        (vec!["user", "add", "Anna", "--email", "b@b"], "there is a user 'Anna' already"),
        (vec!["user", "add", "bert", "--email", "anna@example.ORG"], "there is a user with the e-mail address"),
        (vec!["user", "add", "bert", "--email", "nonsense"], "'nonsense' is not an e-mail address"),
        (vec!["workspace", "add", "--user", "anna", "--path", "a/b"], "cannot be the folder of a workspace"),
        (vec!["device", "revoke", "x"], "there is no device 'x'"),
        (vec!["device", "invite", "carl"], "there is no user 'carl'"),
        (vec!["user", "show", "nobody"], "there is no user 'nobody'"),
    ] {
        let output = run(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(error.starts_with("ERROR: ") && error.contains(expected), "{arguments:?}: {error}");
    }
    assert!(text(&run(&["user", "list"]).stdout).contains("anna@example.org"));
    let quota = admin(&data, &["user", "quota", "anna@example.org", "1 MiB"]);
    assert_eq!(quota["quota_limit"], 1 << 20);
    let shown = admin(&data, &["user", "show", "anna"]);
    assert_eq!((shown["workspaces"][0]["name"].as_str(), shown["devices"].as_array().map(Vec::len)), (Some("default"), Some(0)));
    assert_eq!(admin(&data, &["workspace", "list", "--user", "anna"]).as_array().unwrap().len(), 1);
}

#[test]
fn passwords_are_read_from_standard_input_and_kept_as_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let with_input = |arguments: &[&str], input: &str| {
        let mut command = program(folder.path(), arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let added = with_input(&["user", "add", "anna", "--email", "a@b", "--password-stdin", "--json"], "correct horse\n");
    let json: Value = serde_json::from_slice(&added.stdout).unwrap();
    assert_eq!(json["has_password"], true);
    assert!(!text(&added.stdout).contains("argon2") && !text(&added.stdout).contains("horse"));
    assert!(with_input(&["user", "passwd", "anna", "--password-stdin"], "battery staple\n").status.success());
    let empty = with_input(&["user", "passwd", "anna", "--password-stdin"], "\n");
    assert!(text(&empty.stderr).contains("the password is empty"));
    assert!(text(&with_input(&["user", "passwd", "anna"], "x").stderr).contains("use --password-stdin"));
}

#[test]
fn join_codes_carry_the_fingerprint_of_a_self_made_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(folder.path(), &["user", "add", "anna", "--email", "a@b", "--json"]);
    let output = command.env("STACKSYNC_HTTP_LISTEN", "0.0.0.0:18181").output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (code, fingerprint) = json["join_code"].as_str().unwrap().split_once('.').unwrap();
    assert_eq!((code.len(), fingerprint.len()), (23, 64));
    let url = json["url"].as_str().unwrap();
    assert!(url.starts_with("https://") && url.ends_with(":18181") && !url.contains("0.0.0.0"), "{url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_speaks_with_the_pinned_certificate() {
    use rustls::pki_types::pem::PemObject;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let house = House::with(&[("http.tls", "on")]).await;
    assert!(house.running.url().starts_with("https://127.0.0.1:"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(house.data().join("tls/cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(house.address()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(http::parse(&answer).status, 200);
    let plain = http::raw(house.address(), b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_ne!(plain.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_metrics_are_told() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    anna.commit(vec![folder(1, "a")]).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::send(house.address(), "GET", path, &[], b"").await.status, 200, "{path}");
    }
    let page = house.metrics().await;
    for line in [
        "stacksync_commits_total 1",
        "stacksync_commit_items_total{verdict=\"accepted\"} 1",
        "stacksync_call_seconds_count{method=\"commit\"} 1",
        "stacksync_commit_seconds_count 1",
        "stacksync_devices_joined_total 1",
        "stacksync_objectmq{counter=\"sessions\"} 1",
        "stacksync_db_queue_depth 0",
        "stacksync_errors_total 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
    }
    for name in ["stacksync_network_received_bytes_total", "stacksync_network_sent_bytes_total", "stacksync_connections"] {
        assert!(
            page.lines().any(|line| line.strip_prefix(name).is_some_and(|value| value.trim() != "0" && value.starts_with(' '))),
            "{name}"
        );
    }
    assert!(!page.contains(&anna.token) && !page.contains("anna"));
}

/// Commits folder after folder until it is told to stop or the service is gone; the ids of those that were acknowledged.
async fn keep_committing(device: &Device, ids: &AtomicI64, stop: &AtomicBool) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let id = ids.fetch_add(1, Ordering::Relaxed);
        let request = device.request(vec![folder(id, &format!("n{id}"))]);
        let answer: Result<stacksync_protocol::sync_service::CommitNotification, _> = device
            .broker
            .lookup("ISyncService")
            .call("commit", &request, objectmq::CallOptions::new(Duration::from_secs(3), 1))
            .await;
        match answer {
            Ok(answer) if answer.items[0].commit_succeed => acknowledged.push(id),
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_by_a_stop_or_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let ids = AtomicI64::new(1);
    let mut acknowledged = Vec::new();
    let mut joined: Option<Value> = None;
    for round in 0..4 {
        let mut server = Server::start(data);
        let address = Server::address(data);
        let device = match &joined {
            Some(joined) => Device::connect(address, joined).await,
            None => {
                let code = admin(data, &["user", "add", "anna", "--email", "a@b"])["join_code"].clone();
                let body = serde_json::json!({ "code": code, "deviceName": "d" }).to_string();
                let answer = http::send(address, "POST", "/v1/join", &[], body.as_bytes()).await.json();
                let device = Device::connect(address, &answer).await;
                joined = Some(answer);
                device
            }
        };
        let kept = device.item_ids().await;
        for id in &acknowledged {
            assert!(kept.contains(id), "round {round}: {id} is lost");
        }
        let stop = AtomicBool::new(false);
        let committing = futures_util::future::join_all((0..8).map(|_| keep_committing(&device, &ids, &stop)));
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let ended = tokio::task::spawn_blocking(move || {
                if round % 2 == 0 {
                    assert_eq!(server.terminate(), 0);
                } else {
                    server.0.kill().unwrap();
                    server.0.wait().unwrap();
                }
            });
            ended.await.unwrap();
            stop.store(true, Ordering::Relaxed);
        };
        let (rounds, ()) = tokio::join!(committing, stopping);
        acknowledged.extend(rounds.concat());
        device.broker.close().await;
        assert!(!acknowledged.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stopped_can_be_started_again_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &[]);
    for _ in 0..3 {
        let running = process::start(&config).await.map_err(|failure| failure.to_string()).unwrap();
        let idle = tokio::net::TcpStream::connect(running.address()).await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), running.stop()).await.expect("an idle connection does not hold it up");
        drop(idle);
    }
}
