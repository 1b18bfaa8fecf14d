//! A storage that misbehaves: stands before a real one, passes HTTP requests on, and does to some of them what it was told.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Deed {
    /// This status, with these header lines and this body; the storage hears nothing of it.
    Answer(u16, &'static str, &'static str),
    /// Says that it is done, and does nothing.
    Lie,
    /// The connection ends in the middle of what the device sends.
    CutRequest,
    /// The connection ends in the middle of the answer.
    CutAnswer,
    /// The answer is half as long, and says so.
    ShortAnswer,
    /// A byte of the answer is another one.
    FlipAnswer,
}

/// See the module. Ends with the process.
#[derive(Debug)]
pub struct Mischief {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    /// Method whose requests go wrong.
    method: &'static str,
    /// What happens to the next objects that are asked for ...
    next: Vec<Deed>,
    /// ... and to those that were, each time.
    deeds: HashMap<String, Deed>,
    /// Methods of the requests so far.
    seen: Vec<String>,
}

impl Plan {
    /// What happens to a request.
    fn deed(&mut self, method: &str, path: &str) -> Option<Deed> {
        self.seen.push(method.to_owned());
        let object = path.split('?').next().unwrap_or_default();
        if method != self.method {
            return None;
        }
        if !self.deeds.contains_key(object)
            && let Some(next) = self.next.pop()
        {
            self.deeds.insert(object.to_owned(), next);
        }
        self.deeds.get(object).cloned()
    }
}

impl Mischief {
    /// Before this server, on a free port; does nothing bad yet.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let plan = Arc::<Mutex<Plan>>::default();
        let shared = plan.clone();
        std::thread::spawn(move || {
            for device in listener.incoming().flatten() {
                let plan = shared.clone();
                std::thread::spawn(move || {
                    // A device that goes away is no news here.
                    let _ = serve(&device, server, &plan);
                    let _ = device.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, plan }
    }

    /// Where devices connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on each of the objects for which a request of this method comes gets one of these, and keeps it.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn plan(&self, method: &'static str, deeds: Vec<Deed>) {
        let mut plan = self.plan.lock().expect("no holder panics");
        (plan.method, plan.next) = (method, deeds);
        plan.deeds.clear();
    }

    /// Ends it.
    pub fn behave(&self) {
        self.plan("", Vec::new());
    }

    /// Requests of this method so far.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn count(&self, method: &str) -> usize {
        self.plan.lock().expect("no holder panics").seen.iter().filter(|seen| *seen == method).count()
    }
}

/// One request on a connection of its own.
fn serve(mut device: &TcpStream, server: SocketAddr, plan: &Mutex<Plan>) -> std::io::Result<()> {
    let (head, body) = head(device)?;
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let deed = plan.lock().expect("no holder panics").deed(method, path);
    let length = value(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0_u64);
    let left = length.saturating_sub(body.len() as u64);
    let mut rest = device.take(if matches!(deed, Some(Deed::CutRequest)) { left / 2 } else { left });
    let mut nowhere = std::io::sink();
    match deed {
        Some(Deed::CutRequest) => return std::io::copy(&mut rest, &mut nowhere).map(drop),
        Some(Deed::Answer(status, headers, text)) => {
            std::io::copy(&mut rest, &mut nowhere)?;
            return answer(device, status, headers, text);
        }
        Some(Deed::Lie) => {
            std::io::copy(&mut rest, &mut nowhere)?;
            return answer(device, 201, "", "");
        }
        Some(Deed::CutAnswer | Deed::ShortAnswer | Deed::FlipAnswer) | None => {}
    }
    let mut storage = TcpStream::connect(server)?;
    storage.write_all(closing(&head).as_bytes())?;
    storage.write_all(&body)?;
    // As it comes: a storage looks at a ticket when the request begins.
    std::io::copy(&mut rest, &mut storage)?;
    let (head, mut body) = self::head(&storage)?;
    storage.read_to_end(&mut body)?;
    let half = body.len() / 2;
    let mut head = closing(&head);
    match deed {
        Some(Deed::CutAnswer) => body.truncate(half),
        Some(Deed::ShortAnswer) => {
            body.truncate(half);
            let length = value(&head, "content-length").unwrap_or_default().to_owned();
            head = head.replace(&format!(": {length}\r\n"), &format!(": {half}\r\n"));
        }
        Some(Deed::FlipAnswer) => body.iter_mut().skip(half).take(1).for_each(|byte| *byte ^= 1),
        _ => {}
    }
    device.write_all(head.as_bytes())?;
    device.write_all(&body)
}

fn answer(mut device: &TcpStream, status: u16, headers: &str, text: &str) -> std::io::Result<()> {
    let length = text.len();
    write!(device, "HTTP/1.1 {status} Told\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{text}")
}

/// The lines up to the empty one, which is part of them, and what came with them.
fn head(mut stream: &TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The same, with the word that nothing follows on this connection.
fn closing(head: &str) -> String {
    let keeps = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").filter(keeps).collect();
    lines.push("Connection: close\r\n\r\n");
    lines.join("\r\n")
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
