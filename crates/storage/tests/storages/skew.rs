//! A storage whose clock is hours ahead of ours: signatures follow it, those of the service and those for devices.

use stacksync_chunks::store::conformance::chunk;
use stacksync_chunks::store::{ChunkStore, DirectOp};
use stacksync_core::values::WorkspaceId;
use stacksync_storage::s3::{Keys, S3, S3Place, Style};
use stacksync_storage::{HttpSetup, RemoteStore};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// It is always this time there.
const DATE: &str = "Sat, 01 Jan 2135 00:00:00 GMT";
const SIGNED_DAYS: [&str; 2] = ["x-amz-date: 21350101T00", "X-Amz-Date=21350101T00"];

/// Answers as S3 does: who signed another day is told so, everybody else that there is nothing.
fn serve(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        let mut head = Vec::new();
        let mut buffer = [0; 8_192];
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => head.extend_from_slice(&buffer[..count]),
            }
        }
        let head = String::from_utf8_lossy(&head);
        let (status, body) = if head.contains(SIGNED_DAYS[0]) {
            ("200 OK", "<ListBucketResult></ListBucketResult>")
        } else {
            ("403 Forbidden", "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>")
        };
        let length = body.len();
        let _ = write!(stream, "HTTP/1.1 {status}\r\nDate: {DATE}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_with_another_clock_is_used_and_devices_get_tickets_of_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || serve(&listener));
    let place = S3Place {
        public_endpoint: endpoint.clone(),
        endpoint,
        region: "us-east-1".to_owned(),
        bucket: "skewed".to_owned(),
        prefix: String::new(),
        style: Style::Path,
    };
    let keys = Keys { access: "a".to_owned(), secret: "b".to_owned().into(), token: None };
    let store = RemoteStore::open(Arc::new(S3::new(place, keys, &HttpSetup::default()).unwrap())).await.unwrap();
    let home = WorkspaceId(Uuid::from_u128(1));
    assert_eq!(store.list(home, None, 10).await.unwrap(), []);
    let tickets = store.direct(home, DirectOp::Get, vec![chunk("x").0], Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(tickets[0].url.contains(SIGNED_DAYS[1]), "{}", tickets[0].url);
}
