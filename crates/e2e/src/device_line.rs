//! The line of one device to the service, spoken by hand: join, WebSocket, calls. For load, where sixty-four whole devices would be too
//! many for one machine; it knows the protocol only as its documents tell it.

use crate::http;
use crate::server::Invitation;
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde_json::Value;
use stacksync_protocol::join::{JOIN_PATH, JoinAnswer, JoinRequest, OBJECTMQ_PATH};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// An open line.
#[derive(Debug)]
pub struct DeviceLine {
    socket: WebSocketStream<TcpStream>,
    calls: u64,
}

#[derive(Serialize)]
struct Publish<'a, P> {
    op: &'static str,
    to: &'a str,
    id: &'a str,
    app: &'a str,
    r#type: &'static str,
    reply: bool,
    body: Body<'a, P>,
}

#[derive(Serialize)]
struct Body<'a, P> {
    method: &'a str,
    params: [P; 1],
    id: &'a str,
    r#async: bool,
}

/// Uses up a join code; the device's token.
///
/// # Panics
/// If the code is not taken.
pub fn join(server: SocketAddr, invitation: &Invitation, name: &str) -> JoinAnswer {
    let request = JoinRequest {
        code: invitation.code.clone(),
        device_name: name.to_owned(),
        os: "load".to_owned(),
        app_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let body = serde_json::to_vec(&request).expect("a request can be encoded");
    let (status, answer) = http::request(server, "POST", JOIN_PATH, &body).expect("the server answers");
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).expect("a join answer")
}

impl DeviceLine {
    /// Opens the line.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn open(server: SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(server).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket takes options");
        let mut request = format!("ws://{server}{OBJECTMQ_PATH}").into_client_request().expect("an address");
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("the server takes WebSockets");
        Self { socket, calls: 0 }
    }

    /// Calls a method and waits for its result.
    ///
    /// # Panics
    /// If the answer is an error, or none.
    pub async fn call(&mut self, object: &str, method: &str, param: &impl Serialize) -> Value {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        let body = Body { method, params: [param], id: &id, r#async: false };
        let frame = Publish { op: "publish", to: object, id: &id, app: object, r#type: "gson", reply: true, body };
        let frame = serde_json::to_string(&frame).expect("a frame can be encoded");
        self.socket.send(Message::text(frame)).await.expect("the line is open");
        loop {
            match self.socket.next().await.expect("the line is open").expect("the line is open") {
                Message::Text(text) => {
                    let mut answer: Value = serde_json::from_str(&text).expect("a frame is JSON");
                    if answer["id"] == id.as_str() {
                        let result = answer["body"]["result"].take();
                        assert!(!result.is_null(), "{method}: {answer}");
                        return result;
                    }
                }
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
                Message::Close(reason) => panic!("the server closed the line: {reason:?}"),
            }
        }
    }
}
