//! The line of one client to the message broker, spoken by hand: AMQP 0-9-1 as far as a client of the original needs it to commit and
//! to be told. For load: what it does with a message must cost little, since it shares the processor with what is measured.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
/// Property flags of a request: correlation id, reply queue, type, application id.
const REQUEST_FLAGS: u16 = 1 << 10 | 1 << 9 | 1 << 5 | 1 << 3;

/// An open line with one channel.
#[derive(Debug)]
pub struct AmqpLine {
    stream: TcpStream,
    read: Vec<u8>,
    /// What was read before this is done with.
    begin: usize,
    reply_queue: Vec<u8>,
}

/// A frame, by its place in what was read.
struct Frame {
    kind: u8,
    begin: usize,
    end: usize,
}

impl AmqpLine {
    /// Opens a line as user guest, with a reply queue of its own.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the broker listens");
        stream.set_nodelay(true).expect("a socket can be set");
        let mut line = Self { stream, read: Vec::new(), begin: 0, reply_queue: Vec::new() };
        line.write(b"AMQP\x00\x00\x09\x01").await;
        line.expect([0, 10, 0, 10]).await;
        let mut ok = vec![0, 0, 0, 0];
        short(&mut ok, b"PLAIN");
        long(&mut ok, b"\0guest\0guest");
        short(&mut ok, b"en_US");
        line.method(0, [0, 10, 0, 11], &ok).await;
        let mut tune = line.expect([0, 10, 0, 30]).await;
        // No heartbeat.
        tune.truncate(6);
        tune.extend([0, 0]);
        line.method(0, [0, 10, 0, 31], &tune).await;
        line.call(0, [0, 10, 0, 40], b"\x01/\x00\x00").await;
        line.call(1, [0, 20, 0, 10], b"\x00").await;
        line.reply_queue = line.declare_queue().await;
        line
    }

    /// Is told what is sent to all who follow this reference, from now on.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn follow(&mut self, reference: &str) {
        let exchange = format!("multi#{reference}").into_bytes();
        let mut declare = vec![0, 0];
        short(&mut declare, &exchange);
        short(&mut declare, b"fanout");
        declare.extend([0, 0, 0, 0, 0]);
        self.call(1, [0, 40, 0, 10], &declare).await;
        let queue = self.declare_queue().await;
        let mut bind = vec![0, 0];
        short(&mut bind, &queue);
        short(&mut bind, &exchange);
        bind.extend([0, 0, 0, 0, 0, 0]);
        self.call(1, [0, 50, 0, 20], &bind).await;
        let mut consume = vec![0, 0];
        short(&mut consume, &queue);
        // No tag of ours; without acknowledgements.
        consume.extend([0, 2, 0, 0, 0, 0]);
        self.call(1, [0, 60, 0, 20], &consume).await;
    }

    /// Sends a call to an object that nobody answers.
    ///
    /// # Panics
    /// If the line ends.
    pub async fn cast(&mut self, exchange: &str, object: &str, id: &str, body: &[u8]) {
        let mut publish = vec![0, 60, 0, 40, 0, 0];
        short(&mut publish, exchange.as_bytes());
        short(&mut publish, object.as_bytes());
        publish.push(0);
        let mut header = vec![0, 60, 0, 0];
        header.extend((body.len() as u64).to_be_bytes());
        header.extend(REQUEST_FLAGS.to_be_bytes());
        short(&mut header, id.as_bytes());
        short(&mut header, &self.reply_queue);
        short(&mut header, b"gson");
        short(&mut header, object.as_bytes());
        let mut frames = Vec::with_capacity(publish.len() + header.len() + body.len() + 24);
        for (kind, payload) in [(METHOD, &publish[..]), (HEADER, &header), (BODY, body)] {
            frame(&mut frames, kind, 1, payload);
        }
        self.write(&frames).await;
    }

    /// Waits for a message whose body has these bytes; others are passed over.
    ///
    /// # Panics
    /// If the line ends.
    pub async fn told(&mut self, of: &[u8]) {
        loop {
            let next = self.next().await;
            let found = next.kind == BODY && self.read[next.begin..next.end].windows(of.len()).any(|bytes| bytes == of);
            if found {
                return;
            }
        }
    }

    /// A queue that only this line uses.
    async fn declare_queue(&mut self) -> Vec<u8> {
        // A name of the broker's making; exclusive, and deleted with its user.
        let said = self.call(1, [0, 50, 0, 10], &[0, 0, 0, 4 | 8, 0, 0, 0, 0]).await;
        said[1..=usize::from(said[0])].to_vec()
    }

    /// Calls a method of the broker, and waits for its answer, which has the next number.
    async fn call(&mut self, channel: u8, method: [u8; 4], arguments: &[u8]) -> Vec<u8> {
        self.method(channel, method, arguments).await;
        self.expect([method[0], method[1], method[2], method[3] + 1]).await
    }

    async fn method(&mut self, channel: u8, method: [u8; 4], arguments: &[u8]) {
        let mut frames = Vec::new();
        frame(&mut frames, METHOD, channel, &[&method[..], arguments].concat());
        self.write(&frames).await;
    }

    /// The arguments of the next method, which must be this one.
    async fn expect(&mut self, method: [u8; 4]) -> Vec<u8> {
        let next = self.next().await;
        let payload = &self.read[next.begin..next.end];
        assert_eq!((next.kind, &payload[..4]), (METHOD, &method[..]), "{}", String::from_utf8_lossy(payload));
        payload[4..].to_vec()
    }

    /// The next frame.
    async fn next(&mut self) -> Frame {
        loop {
            let left = &self.read[self.begin..];
            if let Some(len) = left.get(3..7) {
                let len = u32::from_be_bytes(len.try_into().expect("four bytes")) as usize;
                if left.len() >= len + 8 {
                    let begin = self.begin + 7;
                    self.begin += len + 8;
                    return Frame { kind: left[0], begin, end: begin + len };
                }
            }
            self.read.drain(..self.begin);
            self.begin = 0;
            let read = self.stream.read_buf(&mut self.read).await.expect("the broker can be read");
            assert!(read > 0, "the broker ended the line");
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the broker takes what is written");
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: u8, payload: &[u8]) {
    out.extend([kind, 0, channel]);
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out.push(FRAME_END);
}

fn short(out: &mut Vec<u8>, text: &[u8]) {
    out.push(u8::try_from(text.len()).expect("a short text"));
    out.extend(text);
}

fn long(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u32).to_be_bytes());
    out.extend(text);
}
