//! Bare HTTP/1.1, one request per connection, so that a test sees and sends exactly what is on the wire.

use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The stable word of an error.
    pub fn code(&self) -> String {
        let json = self.json();
        assert!(json["message"].as_str().is_some_and(|text| text.ends_with('.')), "{json}");
        json["code"].as_str().unwrap().to_owned()
    }
}

pub async fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    raw(to, &[head.as_bytes(), body].concat()).await
}

/// Sends bytes and reads until the service closes the connection.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // The service may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("the service answers");
    let _ = read;
    parse(&answer)
}

pub fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.get(end + 4..).unwrap_or_default();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Answer { status, body: if chunked { dechunk(body) } else { body.to_vec() }, head }
}

fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let Some(line) = body.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&body[..line]).unwrap(), 16).unwrap();
        plain.extend_from_slice(&body[line + 2..line + 2 + length]);
        body = &body[line + 4 + length..];
        if length == 0 {
            break;
        }
    }
    plain
}
