//! Chunks over HTTP: tickets, single and in batches, and everything that is refused.

use crate::device::file;
use crate::house::House;
use crate::http;
use serde_json::json;
use stacksync_chunks::pack;
use stacksync_chunks::ticket::{Grant, Op, Subject, TicketKey};
use stacksync_core::values::{ChunkName, DeviceId, WorkspaceId};
use stacksync_protocol::chunk_service::{GetTickets, PutTickets};
use stacksync_protocol::{CHUNK_SERVICE, fault};

fn name(plain: &[u8]) -> String {
    ChunkName::of(plain).to_string()
}

fn record(plain: &[u8]) -> Vec<u8> {
    let packed = pack::pack(plain).unwrap();
    [ChunkName::of(plain).as_bytes(), &(packed.len() as u32).to_be_bytes()[..], &packed].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_travel_alone_and_in_batches() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let large = vec![7; 300_000];
    let names = [name(b"one"), name(b"two"), name(&large)];
    let asked = json!({ "workspaceId": anna.workspace, "chunks": names, "batched": [0, 1] });
    let put: PutTickets = anna.call(CHUNK_SERVICE, "putTickets", &asked).await.unwrap();
    assert_eq!(put.missing, [0, 1, 2]);
    assert_eq!(put.tickets.iter().map(|ticket| ticket.chunk).collect::<Vec<_>>(), [Some(2)]);
    assert_eq!(anna.use_ticket(&put.tickets[0], &pack::pack(&large).unwrap()).await.status, 204);
    let batch = put.batch.unwrap();
    assert_eq!(anna.use_ticket(&batch, &[record(b"one"), record(b"two")].concat()).await.status, 204);
    assert_eq!(anna.put_tickets(&names).await.missing, Vec::<u32>::new());

    let get: GetTickets = anna.call(CHUNK_SERVICE, "getTickets", &asked).await.unwrap();
    let read = anna.use_ticket(&get.tickets[0], b"").await;
    assert_eq!(pack::unpack(&ChunkName::of(&large), &read.body.into()).unwrap(), large);
    let wanted = [ChunkName::of(b"two"), ChunkName::of(b"none"), ChunkName::of(b"one")].map(|name| *name.as_bytes()).concat();
    let read = anna.use_ticket(get.batch.as_ref().unwrap(), &wanted).await;
    let none = [&ChunkName::of(b"none").as_bytes()[..], &[0; 4]].concat();
    assert_eq!(read.body, [record(b"two"), none, record(b"one")].concat());
    assert!(anna.commit(vec![file(1, "f", &[b"one", &large])]).await.items[0].commit_succeed);
    let page = house.metrics().await;
    for line in ["stacksync_chunks_received_total 3", "stacksync_chunks_sent_total 3", "route=\"batch_put\",status=\"2xx\"} 1"] {
        assert!(page.contains(line), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_for_what_it_says_only() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let bert = house.user("bert").await;
    let key = TicketKey::open(&house.data().join("ticket.key")).unwrap();
    let chunk = ChunkName::of(b"one");
    let signed = |container: uuid::Uuid, device: uuid::Uuid, op: Op, chunk: Option<ChunkName>, expires: u64| {
        let subject = Subject { op, container: WorkspaceId(container), chunk };
        key.sign(&subject, &Grant { device: DeviceId(device), expires })
    };
    let later = u64::from(u32::MAX);
    let (hers, his) = (anna.workspace, bert.workspace);
    let body = pack::pack(b"one").unwrap();
    for (ticket, status, code) in [
        (signed(hers, anna.id, Op::Put, Some(chunk), 1), 403, "ticketExpired"),
        (signed(hers, anna.id, Op::Get, Some(chunk), later), 403, "badTicket"),
        (signed(hers, anna.id, Op::PutBatch, None, later), 403, "badTicket"),
        (signed(his, anna.id, Op::Put, Some(chunk), later), 403, "badTicket"),
        (signed(hers, anna.id, Op::Put, Some(ChunkName::of(b"two")), later), 403, "badTicket"),
        (
            TicketKey::random().unwrap().sign(
                &Subject { op: Op::Put, container: WorkspaceId(hers), chunk: Some(chunk) },
                &Grant { device: DeviceId(anna.id), expires: later },
            ),
            403,
            "badTicket",
        ),
        // Of a device that was a member once, or never was one.
        (signed(hers, bert.id, Op::Put, Some(chunk), later), 403, "accessDenied"),
        (signed(hers, uuid::Uuid::new_v4(), Op::Put, Some(chunk), later), 403, "accessDenied"),
        (String::new(), 403, "badTicket"),
        ("x".repeat(5_000), 403, "badTicket"),
    ] {
        let path = format!("/v1/chunks/{hers}/{chunk}?ticket={ticket}");
        let answer = http::send(house.address(), "PUT", &path, &[], &body).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{ticket}");
    }
    let path = format!("/v1/chunks/{hers}/{chunk}");
    assert_eq!(http::send(house.address(), "PUT", &path, &[], &body).await.status, 403);
    let good = signed(hers, anna.id, Op::Put, Some(chunk), later);
    assert_eq!(http::send(house.address(), "PUT", &format!("{path}?ticket={good}"), &[], &body).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_what_their_name_promises_are_not_stored() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let names = [name(b"one"), name(b"two")];
    let tickets = anna.put_tickets(&names).await;
    let other = pack::pack(b"other").unwrap();
    for body in [&other[..], b"", b"garbage", &pack::pack(b"one").unwrap()[..10]] {
        let answer = anna.use_ticket(&tickets.tickets[0], body).await;
        assert_eq!((answer.status, &*answer.code()), (422, "badChunk"), "{body:?}");
    }
    let long = vec![0; pack::PACKED_BYTES_MAX + 1];
    assert_eq!(anna.use_ticket(&tickets.tickets[0], &long).await.code(), "tooLarge");
    let batch = tickets.batch.unwrap();
    let lying = [ChunkName::of(b"two").as_bytes(), &(other.len() as u32).to_be_bytes()[..], &other].concat();
    let cut = &record(b"one")[..20];
    let endless = [&[0; 32][..], &u32::MAX.to_be_bytes()].concat();
    let empty = [&[0; 32][..], &[0; 4]].concat();
    for (body, status, code) in
        [(&lying[..], 422, "badChunk"), (cut, 400, "badRequest"), (&endless, 400, "badRequest"), (&empty, 400, "badRequest")]
    {
        let answer = anna.use_ticket(&batch, body).await;
        assert_eq!((answer.status, &*answer.code()), (status, code));
    }
    let mut huge = batch.clone();
    huge.headers.clear();
    let announced = format!("POST {} HTTP/1.1\r\nhost: test\r\ncontent-length: 99999999\r\nconnection: close\r\n\r\n", huge.url);
    assert_eq!(http::raw(house.address(), announced.as_bytes()).await.code(), "tooLarge");
    assert_eq!(anna.put_tickets(&names).await.missing, [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_requests_that_make_no_sense_are_answered() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    for path in ["/v1/chunks/x/y", "/v1/chunks/x/put", &format!("/v1/chunks/{}/..%2f..%2fticket.key", anna.workspace)] {
        let method = if path.ends_with("put") { "POST" } else { "GET" };
        assert_eq!(http::send(house.address(), method, path, &[], b"").await.code(), "badRequest", "{path}");
    }
    let many: Vec<String> = (0..4_097).map(|_| "0".repeat(64)).collect();
    for chunks in [json!(many), json!(["short"]), json!(["G".repeat(64)])] {
        let param = json!({ "workspaceId": anna.workspace, "chunks": chunks });
        assert_eq!(anna.refusal(CHUNK_SERVICE, "putTickets", param.clone()).await, fault::INVALID_REQUEST);
        assert_eq!(anna.refusal(CHUNK_SERVICE, "getTickets", param).await, fault::INVALID_REQUEST);
    }
    let get: GetTickets =
        anna.call(CHUNK_SERVICE, "getTickets", &json!({ "workspaceId": anna.workspace, "chunks": [name(b"x")] })).await.unwrap();
    assert_eq!(anna.use_ticket(&get.tickets[0], b"").await.code(), "chunkMissing");
    let batch = get.batch.unwrap();
    for body in [&b""[..], b"too short"] {
        assert_eq!(anna.use_ticket(&batch, body).await.code(), "badRequest");
    }
}
