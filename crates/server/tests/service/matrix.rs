//! Who may do what: every method of every remote object and every HTTP route, for everybody who must be turned away. The rows are asked for
//! by the service's own lists, so a new method or route without a row fails here.
//!
//! There is no read-only access yet; whoever adds it adds a column.

use crate::device::{Device, folder};
use crate::house::House;
use crate::http::{self, Answer};
use serde_json::{Value, json};
use stacksync_chunks::pack;
use stacksync_chunks::ticket::{Grant, Op, Subject, TicketKey};
use stacksync_core::values::{ChunkName, DeviceId, WorkspaceId};
use stacksync_protocol::fault::{ACCESS_DENIED, DEVICE_NOT_UPDATED, SHARE_PROPOSAL_NOT_CREATED};
use stacksync_server::accounts::secret::JoinCode;
use stacksync_server::db::{UnixMs, UserKey};
use stacksync_server::http::served;
use stacksync_server::service::OBJECTS;
use std::time::Duration;
use uuid::Uuid;

/// What a member may say to a method, and how else the method can be misused.
struct Call {
    /// Accepted from a member.
    param: Value,
    /// The kind of the error that even he gets, for what is not part of this version.
    yet: Option<&'static str>,
    /// Members with which a request could speak for another user or device, and what that is answered with.
    speaks_for: &'static [(&'static str, &'static str)],
}

const FOR_USER: (&str, &str) = ("userId", ACCESS_DENIED);

fn call(object: &str, method: &str, workspace: Uuid) -> Call {
    let chunks = ["0".repeat(64)];
    let row = |param: Value, speaks_for| Call { param, yet: None, speaks_for };
    match method {
        "getChanges" => row(json!({ "workspaceId": workspace, "since": 0 }), &[FOR_USER]),
        "commit" => {
            let items = [folder(Uuid::new_v4().as_u128() as i64 & i64::MAX | 1, &Uuid::new_v4().to_string())];
            row(json!({ "workspaceId": workspace, "items": items }), &[FOR_USER, ("deviceId", ACCESS_DENIED)])
        }
        "updateWorkspace" => row(json!({ "workspaceId": workspace, "workspaceName": Uuid::new_v4().to_string() }), &[FOR_USER]),
        "getWorkspaces" | "getAccountInfo" => row(json!({}), &[FOR_USER]),
        "updateDevice" => row(json!({ "os": "linux" }), &[FOR_USER, ("deviceId", DEVICE_NOT_UPDATED)]),
        // Refused to everybody before it is looked at.
        "createShareProposal" => {
            Call { yet: Some(SHARE_PROPOSAL_NOT_CREATED), ..row(json!({ "emails": ["a@b"], "itemId": 1 }), &[]) }
        }
        "putTickets" | "getTickets" => row(json!({ "workspaceId": workspace, "chunks": chunks }), &[]),
        "bundleTickets" | "addBundles" => row(json!({ "workspaceId": workspace, "bundles": chunks }), &[]),
        _ => panic!("{object}.{method} is a method without a row: say who may call it"),
    }
}

fn methods() -> impl Iterator<Item = (&'static str, &'static str)> {
    OBJECTS.into_iter().flat_map(|(object, methods)| methods.iter().map(move |method| (object, *method)))
}

/// How a call ends: `None` with a result, else with an error of this kind.
async fn ending(device: &Device, object: &str, method: &str, param: &Value) -> Option<String> {
    match device.call::<Value>(object, method, param).await {
        Ok(_) => None,
        Err(objectmq::CallError::Remote(error)) => Some(error.kind),
        Err(other) => panic!("{method}: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_serves_members_and_nobody_else() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let bert = house.user("bert").await;
    // A shared workspace: the default one has a fixed name.
    let shared = Shared::new(&house, &anna, &bert);
    for (object, method) in methods() {
        let row = call(object, method, shared.id);
        let expected = row.yet.map(str::to_owned);
        for member in [&anna, &bert] {
            let param = call(object, method, shared.id).param;
            assert_eq!(ending(member, object, method, &param).await, expected, "{method}, by a member");
        }
        for (member, kind) in row.speaks_for {
            let mut param = row.param.clone();
            param[member] = json!(if *member == "userId" { anna.user } else { anna.id });
            assert_eq!(ending(&bert, object, method, &param).await.as_deref(), Some(*kind), "{method}, for another {member}");
        }
        if row.param.get("workspaceId").is_some() {
            for nobodys in [anna.workspace, Uuid::new_v4()] {
                let param = call(object, method, nobodys).param;
                assert_eq!(ending(&bert, object, method, &param).await.as_deref(), Some(ACCESS_DENIED), "{method}, another's");
            }
        }
    }
    shared.remove(&bert).await;
    for (object, method) in methods() {
        let row = call(object, method, shared.id);
        let expected = if row.param.get("workspaceId").is_some() { Some(ACCESS_DENIED) } else { row.yet };
        assert_eq!(ending(&bert, object, method, &row.param).await.as_deref(), expected, "{method}, by a removed member");
    }
}

/// A workspace of the first device's user, of which the second one's is a member.
struct Shared {
    id: Uuid,
    metadata: rusqlite::Connection,
}

impl Shared {
    /// There is no command for this yet.
    fn new(house: &House, owner: &Device, member: &Device) -> Self {
        let metadata = rusqlite::Connection::open(house.data().join("stacksync.db")).unwrap();
        let id = Uuid::new_v4();
        let insert = "INSERT INTO workspaces (id, owner, is_default) SELECT ?1, number, 0 FROM users WHERE id = ?2";
        metadata.execute(insert, (id.as_bytes(), owner.user.as_bytes())).unwrap();
        for user in [owner, member] {
            let insert = "INSERT INTO memberships (user, workspace, name, name_key)
                SELECT users.number, workspaces.number, 'shared', 'shared' FROM users, workspaces WHERE users.id = ?1 AND workspaces.id = ?2";
            assert_eq!(metadata.execute(insert, (user.user.as_bytes(), id.as_bytes())).unwrap(), 1);
        }
        Self { id, metadata }
    }

    /// Until nobody believes any more that he is a member: a membership is believed for a second.
    async fn remove(&self, member: &Device) {
        let delete = "DELETE FROM memberships WHERE user = (SELECT number FROM users WHERE id = ?1)
            AND workspace = (SELECT number FROM workspaces WHERE id = ?2)";
        assert_eq!(self.metadata.execute(delete, (member.user.as_bytes(), self.id.as_bytes())).unwrap(), 1);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
}

/// Somebody at the HTTP door, with what he shows.
struct Visitor {
    who: &'static str,
    token: Option<String>,
    code: Option<String>,
    /// Signs a ticket for a subject; `None` for whoever has none.
    grant: Option<Grant>,
    /// What a ticket of his is for, if not for what he asks.
    ticket_for: fn(Subject) -> Subject,
    /// What he is told by what a token, a code, and a ticket open: status and word; 0 if he is let in.
    told: [(u16, &'static str); 3],
}

const LET_IN: (u16, &str) = (0, "");
const NO_TOKEN: (u16, &str) = (401, "unauthorized");
const NO_CODE: (u16, &str) = (403, "badJoinCode");
const NO_TICKET: (u16, &str) = (403, "badTicket");
const DENIED: (u16, &str) = (403, "accessDenied");

struct Doorway {
    house: House,
    key: TicketKey,
    container: Uuid,
    chunk: Vec<u8>,
}

impl Doorway {
    fn name(&self) -> ChunkName {
        ChunkName::of(&self.chunk)
    }

    fn subject(&self, op: Op) -> Subject {
        let chunk = matches!(op, Op::Get | Op::Put).then(|| self.name());
        Subject { op, container: WorkspaceId(self.container), chunk }
    }

    async fn send(&self, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> Answer {
        let authorization = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
        let headers = [("authorization", &*authorization)];
        http::send(self.house.address(), method, path, if token.is_some() { &headers } else { &[] }, body).await
    }

    /// Asks as this visitor, and says what he should be told: status and word, 0 if he is let in.
    async fn visit(&self, visitor: &Visitor, method: &str, path: &str) -> (Answer, (u16, &'static str)) {
        let [by_token, by_code, by_ticket] = visitor.told;
        let token = visitor.token.as_deref();
        let (op, body) = match (method, path) {
            ("GET", "/healthz" | "/readyz" | "/metrics") => return (self.send(method, path, token, b"").await, LET_IN),
            ("GET", "/v1/objectmq") => return (self.send(method, path, token, b"").await, by_token),
            ("POST", "/v1/join") => {
                let code = visitor.code.as_deref().unwrap_or_default();
                let body = json!({ "code": code, "deviceName": "d" }).to_string();
                return (self.send(method, path, token, body.as_bytes()).await, by_code);
            }
            ("GET", "/v1/chunks/{container}/{name}") => (Op::Get, Vec::new()),
            ("PUT", "/v1/chunks/{container}/{name}") => (Op::Put, pack::pack(&self.chunk).unwrap().to_vec()),
            ("POST", "/v1/chunks/{container}/get") => (Op::GetBatch, self.name().as_bytes().to_vec()),
            ("POST", "/v1/chunks/{container}/put") => {
                let mut body = Vec::new();
                stacksync_chunks::batch::append(&mut body, &self.name(), &pack::pack(&self.chunk).unwrap());
                (Op::PutBatch, body)
            }
            _ => panic!("{method} {path} is a route without a row: say who may use it"),
        };
        let signed = visitor.grant.map(|grant| self.key.sign(&(visitor.ticket_for)(self.subject(op)), &grant)).unwrap_or_default();
        let path = path.replace("{container}", &self.container.to_string()).replace("{name}", &self.name().to_string());
        (self.send(method, &format!("{path}?ticket={signed}"), token, &body).await, by_ticket)
    }
}

fn same(subject: Subject) -> Subject {
    subject
}

fn grant(device: Uuid) -> Option<Grant> {
    Some(Grant { device: DeviceId(device), expires: u64::MAX })
}

/// A code of this user that is too old.
async fn expired_code(house: &House, name: &str) -> String {
    let db = house.db();
    let user = db.user(UserKey::Name(name.into())).await.unwrap().unwrap();
    let code = JoinCode::random().unwrap();
    db.add_join_code(user.id, code.hash(), UnixMs(UnixMs::now().0 - 1)).await.unwrap();
    code.to_string()
}

fn invite(house: &House, name: &str) -> String {
    house.admin(&["device", "invite", name])["join_code"].as_str().unwrap().to_owned()
}

/// Everybody, and the service that they come to.
async fn everybody() -> (Doorway, Vec<Visitor>) {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let bert = house.user("bert").await;
    let carl = house.user("carl").await;
    let phone = house.device_of("anna").await;
    let (fresh, used, disabled) = (invite(&house, "anna"), invite(&house, "anna"), invite(&house, "carl"));
    assert_eq!(house.try_join(&used).await.status, 200);
    let expired = expired_code(&house, "anna").await;
    let shared = Shared::new(&house, &anna, &carl);
    let container = shared.id;
    house.admin(&["device", "revoke", &phone.id.to_string()]);
    house.admin(&["user", "disable", "carl"]);
    let key = TicketKey::open(&house.data().join("ticket.key")).unwrap();
    let plain = |who, told| Visitor { who, token: None, code: None, grant: None, ticket_for: same, told };
    let ticket = |who, ticket_for| Visitor { grant: grant(anna.id), ticket_for, ..plain(who, [NO_TOKEN, NO_CODE, NO_TICKET]) };
    let other_op = |subject: Subject| {
        let op = match subject.op {
            Op::Get => Op::Put,
            Op::Put => Op::Get,
            Op::GetBatch => Op::PutBatch,
            Op::PutBatch => Op::GetBatch,
        };
        Subject { op, ..subject }
    };
    let visitors = vec![
        plain("with nothing", [NO_TOKEN, NO_CODE, NO_TICKET]),
        Visitor {
            token: Some("0".repeat(64)),
            code: Some("00000-00000-00000-00000".into()),
            grant: grant(Uuid::new_v4()),
            ..plain("with made-up secrets", [NO_TOKEN, NO_CODE, DENIED])
        },
        Visitor {
            code: Some(used),
            grant: Some(Grant { device: DeviceId(anna.id), expires: 1 }),
            ..plain("with a used code and an expired ticket", [NO_TOKEN, NO_CODE, (403, "ticketExpired")])
        },
        Visitor { code: Some(expired), ..plain("with an expired code", [NO_TOKEN, NO_CODE, NO_TICKET]) },
        ticket("with a ticket for the other direction", other_op),
        ticket("with a ticket for another workspace", |subject| Subject { container: WorkspaceId(Uuid::nil()), ..subject }),
        ticket("with a ticket for another chunk", |subject| Subject { chunk: Some(ChunkName::of(b"another")), ..subject }),
        Visitor {
            token: Some(phone.token.clone()),
            grant: grant(phone.id),
            ..plain("on a revoked device", [NO_TOKEN, NO_CODE, DENIED])
        },
        Visitor {
            token: Some(carl.token.clone()),
            code: Some(disabled),
            grant: grant(carl.id),
            ..plain("a member who is disabled", [NO_TOKEN, NO_CODE, DENIED])
        },
        Visitor { token: Some(bert.token.clone()), grant: grant(bert.id), ..plain("another user", [LET_IN, NO_CODE, DENIED]) },
        Visitor {
            token: Some(anna.token.clone()),
            code: Some(fresh),
            grant: grant(anna.id),
            ..plain("the owner", [LET_IN, LET_IN, LET_IN])
        },
    ];
    (Doorway { house, key, container, chunk: b"a chunk".to_vec() }, visitors)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_serves_whom_it_should_and_nobody_else() {
    let (doorway, visitors) = everybody().await;
    for visitor in &visitors {
        // What is put must be there before it is got.
        let mut routes: Vec<_> = served().into_iter().map(|served| (served.method.to_string(), served.path)).collect();
        routes.sort_by_key(|(method, _)| method != "PUT");
        for (method, path) in routes {
            let (answer, told) = doorway.visit(visitor, &method, path).await;
            let place = format!("{method} {path}, {}", visitor.who);
            if told == LET_IN {
                // Without an upgrade the WebSocket's address has nothing to say to whoever it knows.
                assert!(matches!(answer.status, 200 | 204 | 426), "{place}: {}", answer.text());
            } else {
                assert_eq!((answer.status, &*answer.code()), told, "{place}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_s_tickets_open_nothing() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let bert = house.user("bert").await;
    let shared = Shared::new(&house, &anna, &bert);
    let key = TicketKey::open(&house.data().join("ticket.key")).unwrap();
    let member = Visitor {
        who: "a member",
        token: None,
        code: None,
        grant: grant(bert.id),
        ticket_for: same,
        told: [NO_TOKEN, NO_CODE, LET_IN],
    };
    let doorway = Doorway { house, key, container: shared.id, chunk: b"a chunk".to_vec() };
    let chunks = || served().into_iter().filter(|served| served.path.starts_with("/v1/chunks/"));
    let (answer, _) = doorway.visit(&member, "PUT", "/v1/chunks/{container}/{name}").await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    shared.remove(&bert).await;
    for served in chunks() {
        let (answer, _) = doorway.visit(&member, served.method.as_str(), served.path).await;
        assert_eq!((answer.status, &*answer.code()), DENIED, "{} {}", served.method, served.path);
    }
}
