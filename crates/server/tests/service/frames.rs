//! Garbage, too long, out of order: whatever comes over the wire is answered or cut off, and nobody else notices.

use crate::device::Device;
use crate::house::House;
use crate::http;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

async fn websocket(house: &House, device: &Device) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{}/v1/objectmq", house.address()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", device.token).parse().unwrap());
    let stream = TcpStream::connect(house.address()).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

async fn answer(socket: &mut WebSocketStream<TcpStream>) -> Value {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("an answer comes");
        match frame.expect("the session lives").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(reason) => panic!("closed: {reason:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_frames_are_answered_and_the_session_goes_on() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let mut socket = websocket(&house, &anna).await;
    let body = r#"{"method":"getWorkspaces","params":[{}],"id":"x","async":false}"#;
    for frame in [
        "",
        "{",
        "[]",
        "null",
        r#"{"op":"explode"}"#,
        r#"{"op":"publish"}"#,
        r#"{"op":"publish","to":5,"id":"x","app":"a","type":"gson","body":{}}"#,
        r#"{"op":"settle","tag":99}"#,
        r#"{"op":"leave","n":12345}"#,
        r#"{"op":"consume","n":1,"to":"ISyncService","max":5}"#,
        r#"{"op":"follow","n":1}"#,
    ] {
        socket.send(Message::text(frame)).await.unwrap();
    }
    socket.send(Message::binary(vec![0_u8, 159, 146, 150])).await.unwrap();
    let good =
        format!(r#"{{"op":"publish","to":"ISyncService","id":"x","app":"ISyncService","type":"gson","reply":true,"body":{body}}}"#);
    socket.send(Message::text(good)).await.unwrap();
    let mut errors = 0;
    loop {
        let frame = answer(&mut socket).await;
        match frame["op"].as_str() {
            Some("error") => errors += 1,
            // To leave what was never entered is no error.
            Some("ok") => assert_eq!(frame["n"], 12345),
            Some("answer") => {
                assert_eq!(frame["body"]["result"][0]["name"], "default");
                break;
            }
            other => panic!("{other:?}: {frame}"),
        }
    }
    assert!(errors >= 8, "{errors}");
    assert_eq!(anna.workspaces().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_calls_are_answered_with_errors() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let mut socket = websocket(&house, &anna).await;
    for body in [
        r#"{}"#,
        r#"5"#,
        r#"{"method":5,"params":[],"id":"x"}"#,
        r#"{"method":"getChanges","params":[],"id":"x"}"#,
        r#"{"method":"getChanges","params":[1,2,3],"id":"x"}"#,
        r#"{"method":"getChanges","params":[{"workspaceId":"not one"}],"id":"x"}"#,
        r#"{"method":"commit","params":[{"workspaceId":"00000000-0000-0000-0000-000000000000","items":[{"version":1e99}]}],"id":"x"}"#,
        r#"{"method":"","params":[{}],"id":"x"}"#,
    ] {
        let frame = format!(
            r#"{{"op":"publish","to":"ISyncService","id":"x","app":"ISyncService","type":"gson","reply":true,"body":{body}}}"#
        );
        socket.send(Message::text(frame)).await.unwrap();
        let told = answer(&mut socket).await;
        let refused = told["op"] == "error" || told["body"]["error"]["type"].is_string();
        assert!(refused, "{body}: {told}");
    }
    assert_eq!(anna.workspaces().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_long_ends_its_session_only() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let mut socket = websocket(&house, &anna).await;
    let long = Message::text("x".repeat(20 << 20));
    let _ = socket.send(long).await;
    let ended = async {
        while let Some(Ok(frame)) = socket.next().await {
            if frame.is_close() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the session ends");
    assert_eq!(anna.workspaces().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_framing_ends_the_connection() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let mut stream = websocket(&house, &anna).await.into_inner();
    // A frame with reserved bits, not masked.
    stream.write_all(&[0xff, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("the connection ends").ok();
    let garbage = http::raw(house.address(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 what is this\r\n\r\n").await;
    assert_eq!(garbage.status, 400);
    assert_eq!(anna.workspaces().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_slow_to_ask_is_cut_off() {
    let house = House::with(&[("http.header_timeout", "1s"), ("http.body_timeout", "1s")]).await;
    let head = http::raw(house.address(), b"GET /healthz HTTP/1.1\r\nhost:").await;
    assert!(head.status == 0 || head.status == 408, "{}", head.head);
    let body =
        http::raw(house.address(), b"POST /v1/join HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{")
            .await;
    assert_eq!((body.status, &*body.code()), (408, "timeout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let house = House::with(&[("http.connections_max", "2")]).await;
    let first = TcpStream::connect(house.address()).await.unwrap();
    let second = TcpStream::connect(house.address()).await.unwrap();
    let address = house.address();
    let third = tokio::spawn(async move { http::send(address, "GET", "/healthz", &[], b"").await.status });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!third.is_finished());
    drop((first, second));
    assert_eq!(third.await.unwrap(), 200);
}
