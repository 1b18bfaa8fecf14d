//! The line of one device to the service, spoken by hand: join, WebSocket, calls. For load, where sixty-four whole devices would be too
//! many for one machine; it knows the protocol only as its documents tell it.

use crate::http;
use crate::server::Invitation;
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stacksync_protocol::join::{JOIN_PATH, JoinAnswer, JoinRequest, OBJECTMQ_PATH};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// Of the buffer that a line reads into.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// An open line.
#[derive(Debug)]
pub struct DeviceLine {
    socket: WebSocketStream<TcpStream>,
    /// Begins the ids of its calls: those of another line of the same device are others.
    name: String,
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

#[derive(Deserialize)]
struct Answer<'a, R> {
    id: &'a str,
    body: AnswerBody<R>,
}

#[derive(Deserialize)]
struct AnswerBody<R> {
    result: R,
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
        let headers = [("authorization", format!("Bearer {token}"))];
        Self::try_open(server, &headers).await.unwrap_or_else(|status| panic!("the server refuses the line: {status}"))
    }

    /// As [`DeviceLine::open`]; the HTTP status if the server refuses.
    ///
    /// # Errors
    /// The status, or 0 where there was none.
    pub async fn try_open(server: SocketAddr, headers: &[(&'static str, String)]) -> Result<Self, u16> {
        let stream = TcpStream::connect(server).await.map_err(|_| 0_u16)?;
        stream.set_nodelay(true).map_err(|_| 0_u16)?;
        let mut request = format!("ws://{server}{OBJECTMQ_PATH}").into_client_request().map_err(|_| 0_u16)?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().map_err(|_| 0_u16)?);
        }
        // The library clears the whole buffer before every read.
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(Self { socket, name: uuid::Uuid::new_v4().simple().to_string(), calls: 0 }),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(_) => Err(0),
        }
    }

    /// Calls a method and waits for its result.
    ///
    /// # Panics
    /// If the answer is an error, or none.
    pub async fn call(&mut self, object: &str, method: &str, param: &impl Serialize) -> Value {
        self.try_call(object, method, param).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method and waits for the answer.
    ///
    /// # Errors
    /// What the service or the door said instead of a result.
    ///
    /// # Panics
    /// If the line ends.
    pub async fn try_call(&mut self, object: &str, method: &str, param: &impl Serialize) -> Result<Value, Value> {
        self.attempt(object, method, param).await.expect("the line is open")
    }

    /// As [`DeviceLine::try_call`]; `None` if the line ends.
    pub async fn attempt(&mut self, object: &str, method: &str, param: &impl Serialize) -> Option<Result<Value, Value>> {
        let (id, frame) = self.frame(object, method, param);
        if !self.send(Message::text(frame)).await {
            return None;
        }
        loop {
            let mut answer = self.next().await?;
            if answer["id"] == id.as_str() {
                let result = answer["body"]["result"].take();
                return Some(if result.is_null() { Err(answer) } else { Ok(result) });
            }
        }
    }

    /// Follows a reference: its notices come as frames with this number.
    ///
    /// # Panics
    /// If the line ends, or the service refuses.
    pub async fn follow(&mut self, number: u64, reference: &str) {
        let frame = serde_json::json!({ "op": "follow", "n": number, "to": reference });
        assert!(self.send(Message::text(frame.to_string())).await, "the line is open");
        let answer = self.next().await.expect("the line is open");
        assert!(answer["op"] == "ok" && answer["n"] == number, "{answer}");
    }

    /// Calls a method and reads no more of its result than `R` has: for load, where what the caller does with an answer must cost little.
    /// The line must follow nothing.
    ///
    /// # Panics
    /// If the answer is not an `R`.
    pub async fn call_briefly<R: DeserializeOwned>(&mut self, object: &str, method: &str, param: &impl Serialize) -> R {
        let id = self.ask(object, method, param).await;
        let text = self.next_text().await.expect("the line is open");
        let answer: Answer<'_, R> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method}: {error}: {text}"));
        assert_eq!(answer.id, id, "{text}");
        answer.body.result
    }

    /// Sends a call; its id.
    async fn ask(&mut self, object: &str, method: &str, param: &impl Serialize) -> String {
        let (id, frame) = self.frame(object, method, param);
        assert!(self.send(Message::text(frame)).await, "the line is open");
        id
    }

    /// The next call: its id and its frame.
    fn frame(&mut self, object: &str, method: &str, param: &impl Serialize) -> (String, String) {
        self.calls += 1;
        let id = format!("{}-{}", self.name, self.calls);
        let body = Body { method, params: [param], id: &id, r#async: false };
        let frame = Publish { op: "publish", to: object, id: &id, app: object, r#type: "gson", reply: true, body };
        let frame = serde_json::to_string(&frame).expect("a frame can be encoded");
        (id, frame)
    }

    /// Sends any frame; whether the line took it.
    pub async fn send(&mut self, frame: Message) -> bool {
        self.socket.send(frame).await.is_ok()
    }

    /// The next frame of the server; `None` when the line has ended.
    ///
    /// # Panics
    /// If the server sends something that is not JSON.
    pub async fn next(&mut self) -> Option<Value> {
        let text = self.next_text().await?;
        Some(serde_json::from_str(&text).expect("a frame of the server is JSON"))
    }

    async fn next_text(&mut self) -> Option<Utf8Bytes> {
        loop {
            match self.socket.next().await?.ok()? {
                Message::Text(text) => return Some(text),
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
                Message::Close(_) => return None,
            }
        }
    }

    /// Calls a method and returns the frame of the answer as it is. The line must follow nothing.
    ///
    /// # Panics
    /// If the line ends.
    pub async fn call_raw(&mut self, object: &str, method: &str, param: &impl Serialize) -> String {
        self.ask(object, method, param).await;
        self.next_text().await.expect("the line is open").as_str().to_owned()
    }

    /// Calls a method, and waits until it is answered and the notice with these words has come, which must be in no other notice. Looks
    /// no further into either: for load.
    ///
    /// # Panics
    /// If the answer is an error, or the line ends.
    pub async fn call_and_be_told(&mut self, object: &str, method: &str, param: &impl Serialize, words: &str) {
        self.ask(object, method, param).await;
        let (mut answered, mut told) = (false, false);
        while !(answered && told) {
            let text = self.next_text().await.expect("the line is open");
            if text.contains(r#""op":"notice""#) {
                told |= text.contains(words);
            } else {
                assert!(text.contains(r#""result""#), "{method}: {text}");
                answered = true;
            }
        }
    }
}
