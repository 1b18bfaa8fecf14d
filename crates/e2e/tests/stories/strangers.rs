//! Bad input and people who try: each gets a clear answer, and the service goes on for everybody else.

use serde_json::{Value, json};
use stacksync_core::values::ChunkName;
use stacksync_e2e::device_line::{DeviceLine, join};
use stacksync_e2e::http;
use stacksync_e2e::random::Random;
use stacksync_e2e::world::World;
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// A device on a line of its own, and its default workspace.
struct Caller {
    line: DeviceLine,
    workspace: String,
}

impl Caller {
    async fn new(world: &World, user: &str) -> Self {
        let invitation = if user == stacksync_e2e::world::USER { world.invite() } else { world.server.add_user(user) };
        let token = join(world.server.address(), &invitation, user).token;
        let mut line = DeviceLine::open(world.server.address(), &token).await;
        let workspaces = line.call(SYNC_SERVICE, "getWorkspaces", &json!({})).await;
        Self { line, workspace: workspaces[0]["id"].as_str().unwrap().to_owned() }
    }

    /// Whether the line still serves.
    async fn must_be_served(&mut self) {
        self.line.call(SYNC_SERVICE, "getWorkspaces", &json!({})).await;
    }

    async fn commit(&mut self, request: &str, items: Value) -> Value {
        let commit = json!({"workspaceId": self.workspace, "requestId": request, "items": items});
        self.line.call(SYNC_SERVICE, "commit", &commit).await
    }

    async fn put_ticket(&mut self, content: &[u8]) -> Value {
        let request = json!({"workspaceId": self.workspace, "chunks": [ChunkName::of(content).to_string()]});
        self.line.call(CHUNK_SERVICE, "putTickets", &request).await["tickets"][0].take()
    }

    /// Puts a chunk; the HTTP status.
    async fn put(&mut self, world: &World, content: &[u8], body: &[u8]) -> u16 {
        let ticket = self.put_ticket(content).await;
        http::request(world.server.address(), ticket["method"].as_str().unwrap(), ticket["url"].as_str().unwrap(), body).unwrap().0
    }
}

fn folder(id: i64, version: i64, name: &str) -> Value {
    json!({"id": id, "version": version, "status": if version == 1 { "NEW" } else { "RENAMED" }, "filename": name, "isFolder": true,
        "modifiedAt": "2026-01-02T03:04:05.006Z", "checksum": 0, "chunks": [], "size": 0})
}

fn file(id: i64, name: &str, content: &[u8]) -> Value {
    json!({"id": id, "version": 1, "status": "NEW", "filename": name, "isFolder": false, "modifiedAt": "2026-01-02T03:04:05.006Z",
        "checksum": 1, "chunks": [ChunkName::of(content).to_string()], "chunkSizes": [content.len()], "size": content.len()})
}

fn reason(answer: &Value) -> &str {
    answer["items"][0]["reason"].as_str().unwrap_or("accepted")
}

#[tokio::test]
async fn nobody_gets_a_line_without_a_token() {
    let world = World::new();
    for headers in [
        vec![],
        vec![("authorization", "Bearer made-up".to_owned())],
        vec![("authorization", format!("Bearer {}", "0".repeat(64)))],
        vec![("authorization", "Basic YWRhOmFkYQ==".to_owned())],
    ] {
        assert_eq!(DeviceLine::try_open(world.server.address(), &headers).await.err(), Some(401), "{headers:?}");
    }
}

#[tokio::test]
async fn garbage_frames_are_answered_and_the_line_goes_on() {
    let world = World::new();
    let mut caller = Caller::new(&world, "bob").await;
    for garbage in [
        "",
        "{",
        "null",
        "[]",
        "\"\u{0}\"",
        r#"{"op":"dance"}"#,
        r#"{"op":"publish"}"#,
        r#"{"op":"publish","to":"ISyncService","id":"x","app":"x","type":"gson","body":"not an object"}"#,
        r#"{"op":"publish","to":"ISyncService","id":"x","app":"x","type":"java","body":{}}"#,
        r#"{"op":"publish","to":"nobody","id":"x","app":"x","type":"gson","reply":true,"body":{"method":"m","id":"x"}}"#,
        r#"{"op":"settle","tag":99}"#,
        r#"{"op":"leave","n":99}"#,
        r#"{"op":"answer","to":"somebody","id":"x","app":"x","type":"normalResponse","body":{}}"#,
        r#"{"op":"consume","n":1,"to":"ISyncService","max":100}"#,
    ] {
        assert!(caller.line.send(Message::text(garbage)).await);
    }
    let deep = format!("{{\"op\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(caller.line.send(Message::text(deep)).await);
    caller.must_be_served().await;
}

#[tokio::test]
async fn a_frame_that_is_too_long_ends_only_its_own_line() {
    let world = World::new();
    let mut other = Caller::new(&world, "other").await;
    let mut caller = Caller::new(&world, "bob").await;
    let long = format!(r#"{{"op":"publish","to":"{}"}}"#, "x".repeat(40 * 1024 * 1024));
    caller.line.send(Message::text(long)).await;
    while caller.line.next().await.is_some() {}
    other.must_be_served().await;
}

#[tokio::test]
async fn unknown_methods_and_wrong_parameters_are_errors_not_deaths() {
    let world = World::new();
    let mut caller = Caller::new(&world, "bob").await;
    let workspace = caller.workspace.clone();
    for (method, param) in [
        ("noSuchMethod", json!({})),
        ("getChanges", json!({})),
        ("getChanges", json!({"workspaceId": 7})),
        ("getChanges", json!({"workspaceId": "not a uuid"})),
        ("getChanges", json!({"workspaceId": workspace, "since": -1})),
        ("getChanges", json!("text")),
        ("commit", json!({"workspaceId": workspace})),
        ("commit", json!({"workspaceId": workspace, "items": [{}], "requestId": "x".repeat(1_000)})),
        ("commit", json!({"workspaceId": workspace, "items": vec![folder(1, 1, "n"); 5_000]})),
    ] {
        let answer = caller.line.try_call(SYNC_SERVICE, method, &param).await;
        assert!(answer.is_err(), "{method} {}: {answer:?}", &param.to_string()[..param.to_string().len().min(200)]);
    }
    caller.must_be_served().await;
}

#[tokio::test]
async fn what_belongs_to_others_stays_theirs() {
    let world = World::new();
    let mut ada = Caller::new(&world, stacksync_e2e::world::USER).await;
    let mut bob = Caller::new(&world, "bob").await;
    assert_eq!(ada.put(&world, b"hers", &stacksync_chunks::pack::pack(b"hers").unwrap()).await / 100, 2);
    assert_eq!(reason(&ada.commit("1", json!([file(77, "diary", b"hers")])).await), "accepted");

    let (hers, chunk) = (ada.workspace.clone(), ChunkName::of(b"hers").to_string());
    for (object, method, param) in [
        (SYNC_SERVICE, "getChanges", json!({"workspaceId": hers, "since": 0})),
        (SYNC_SERVICE, "getChanges", json!({"workspaceId": hers})),
        (SYNC_SERVICE, "commit", json!({"workspaceId": hers, "requestId": "2", "items": [folder(78, 1, "mine now")]})),
        (SYNC_SERVICE, "updateWorkspace", json!({"workspaceId": hers, "workspaceName": "mine now"})),
        (CHUNK_SERVICE, "getTickets", json!({"workspaceId": hers, "chunks": [chunk]})),
        (CHUNK_SERVICE, "putTickets", json!({"workspaceId": hers, "chunks": [chunk]})),
    ] {
        let answer = bob.line.try_call(object, method, &param).await;
        assert!(answer.is_err(), "{method}: {answer:?}");
    }
    // Her item by its id in his own workspace; her chunk, which his storage does not have.
    assert_ne!(reason(&bob.commit("3", json!([folder(77, 2, "stolen")])).await), "accepted");
    assert_eq!(reason(&bob.commit("4", json!([file(79, "copy", b"hers")])).await), "chunksMissing");
    // Her notices.
    let follow = json!({"op": "follow", "n": 5, "to": hers}).to_string();
    assert!(bob.line.send(Message::text(follow)).await);
    let answer = bob.line.next().await.unwrap();
    assert_eq!(answer["op"], "error", "{answer}");
    bob.must_be_served().await;
}

#[tokio::test]
async fn tickets_open_only_what_they_are_for() {
    let world = World::new();
    let address = world.server.address();
    let mut ada = Caller::new(&world, "bob").await;
    let packed = stacksync_chunks::pack::pack(b"one").unwrap();
    let ticket = ada.put_ticket(b"one").await;
    let url = ticket["url"].as_str().unwrap().to_owned();
    let (one, two) = (ChunkName::of(b"one").to_string(), ChunkName::of(b"two").to_string());
    let mut forged = url.clone();
    let last = if forged.pop() == Some('0') { '1' } else { '0' };
    forged.push(last);
    let bare = url.split('?').next().unwrap().to_owned();
    let two_packed = stacksync_chunks::pack::pack(b"two").unwrap();
    for (what, method, url, body) in [
        ("another chunk", "PUT", url.replace(&one, &two), &two_packed),
        ("another direction", "GET", url.clone(), &Default::default()),
        ("a forged signature", "PUT", forged, &packed),
        ("no ticket", "PUT", bare.clone(), &packed),
        ("no ticket at all", "GET", bare, &Default::default()),
    ] {
        let (status, answer) = http::request(address, method, &url, body).unwrap();
        assert!(matches!(status, 400 | 401 | 403 | 404), "{what}: {status} {answer}");
    }
    // Bytes that are not the chunk, and bytes that are nothing.
    for (what, body) in
        [("another chunk's bytes", &two_packed[..]), ("nothing packed", b"garbage"), ("cut off", &packed[..packed.len() - 1])]
    {
        let (status, answer) = http::request(address, "PUT", &url, body).unwrap();
        assert!((400..500).contains(&status), "{what}: {status} {answer}");
    }
    assert!(world.server.chunk_files().is_empty(), "something was stored");
    assert_eq!(http::request(address, "PUT", &url, &packed).unwrap().0 / 100, 2);
}

#[tokio::test]
async fn a_revoked_device_loses_its_line() {
    let world = World::new();
    let invitation = world.invite();
    let joined = join(world.server.address(), &invitation, "lost laptop");
    let mut line = DeviceLine::open(world.server.address(), &joined.token).await;
    line.call(SYNC_SERVICE, "getWorkspaces", &json!({})).await;
    assert!(world.server.admin_output(&["device", "revoke", &joined.device_id.to_string()]).status.success());
    let ended = tokio::time::timeout(Duration::from_secs(30), async {
        while line.send(Message::text(r#"{"op":"leave","n":99}"#)).await && line.next().await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(ended.await.is_ok(), "the line of a revoked device lives on");
    let headers = [("authorization", format!("Bearer {}", joined.token))];
    assert_eq!(DeviceLine::try_open(world.server.address(), &headers).await.err(), Some(401));
}

#[tokio::test]
async fn commits_that_cannot_be_are_refused_one_by_one_with_their_reason() {
    let world = World::new();
    let mut caller = Caller::new(&world, "bob").await;
    let inside = |id: i64, parent: i64, name: &str| {
        let mut item = folder(id, 1, name);
        item["parentId"] = json!(parent);
        item
    };
    let (orphan, in_deleted, under_file) = (inside(20, 999, "orphan"), inside(21, 3, "late"), inside(22, 4, "under"));
    let mut into_itself = folder(1, 2, "a");
    into_itself["parentId"] = json!(2);
    let mut below = folder(2, 1, "below");
    below["parentId"] = json!(1);
    let mut deleted = folder(3, 2, "gone");
    deleted["status"] = json!("DELETED");
    caller.put(&world, b"content", &stacksync_chunks::pack::pack(b"content").unwrap()).await;
    let setup =
        caller.commit("setup", json!([folder(1, 1, "a"), below, folder(3, 1, "gone"), deleted, file(4, "f", b"content")])).await;
    assert!(setup["items"].as_array().unwrap().iter().all(|item| item["commitSucceed"] == true), "{setup}");

    let mut too_new = folder(1, 9, "a");
    too_new["status"] = json!("RENAMED");
    for (number, (item, expected)) in [
        (file(10, "missing", b"never put"), "chunksMissing"),
        (orphan, "parentUnknown"),
        (in_deleted, "parentDeleted"),
        (under_file, "parentNotFolder"),
        (into_itself, "cycle"),
        (folder(11, 1, "a"), "nameTaken"),
        (folder(12, 1, "A"), "nameTaken"),
        (too_new, "wrongVersion"),
        (folder(13, 5, "unknown"), "unknownItem"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = caller
            .commit(&format!("refused {number}"), json!([item, folder(100 + number as i64, 1, &format!("beside {number}"))]))
            .await;
        assert_eq!(reason(&answer), expected, "{answer}");
        assert_eq!(answer["items"][1]["commitSucceed"], true, "its neighbour is judged for itself: {answer}");
    }
    let long = "n".repeat(256);
    let request = json!({"workspaceId": caller.workspace, "requestId": "long", "items": [folder(14, 1, &long)]});
    match caller.line.try_call(SYNC_SERVICE, "commit", &request).await {
        Ok(answer) => assert_eq!(answer["items"][0]["commitSucceed"], false, "{answer}"),
        Err(error) => assert!(error.to_string().contains("255") || error.to_string().contains("name"), "{error}"),
    }
    // Again: the first answer, and nothing new.
    let once = caller.commit("again", json!([folder(50, 1, "once")])).await;
    assert_eq!(caller.commit("again", json!([folder(50, 1, "once")])).await, once);
}

#[test]
fn noise_at_the_port_harms_nobody() {
    let world = World::new();
    let mut random = Random::from_environment("noise at the port");
    let huge_header = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(10 * 1024 * 1024));
    let huge_body = format!("POST /v1/join HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{}", "x".repeat(1024 * 1024));
    for noise in [random.bytes(100_000), huge_header.into_bytes(), huge_body.into_bytes(), b"GET /healthz HTTP/1.1\r\n".to_vec()] {
        let mut stream = TcpStream::connect(world.server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        // It may hang up at any point of this.
        let _ = stream.write_all(&noise);
        let _ = stream.read(&mut [0; 1024]);
    }
    for path in ["/v1/chunks/x/y", "/v1/chunks/../../etc/passwd", "/%00", "/nowhere", "/v1/objectmq", "/v1/join"] {
        let (status, _) = http::get(world.server.address(), path).unwrap();
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    let (status, _) = http::request(world.server.address(), "POST", "/v1/join", b"{\"code\": 7}").unwrap();
    assert!((400..500).contains(&status), "{status}");
    assert_eq!(http::get(world.server.address(), "/healthz").unwrap().0, 200);
    let device = world.device("a");
    crate::write(&device.path("file"), "text");
    device.sync_once();
}
