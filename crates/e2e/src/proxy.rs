//! A relay between a device and the server that can cut the line, or be out of order for a while. With several servers behind it, it is
//! what stands in front of a cluster: each connection goes to the next server that takes it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Relays connections until it goes away.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
}

#[derive(Debug, Default)]
struct Line {
    down: AtomicBool,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    /// Nothing passes to devices beyond so many bytes.
    limit_down: Mutex<Option<u64>>,
    raised: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A relay to `server` on a free port.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn to(server: SocketAddr) -> Self {
        Self::to_any(vec![server])
    }

    /// A relay to these servers in turn, on a free port; those that refuse are passed over.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn to_any(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let line = Arc::new(Line::default());
        let shared = Arc::clone(&line);
        std::thread::spawn(move || {
            let mut turn = servers.iter().cycle();
            for incoming in listener.incoming().flatten() {
                if !shared.down.load(Ordering::SeqCst) {
                    let server = turn.by_ref().take(servers.len()).find_map(|server| TcpStream::connect(server).ok());
                    if let Some(server) = server {
                        relay(&incoming, &server, &shared);
                    }
                }
            }
        });
        Self { address, line }
    }

    /// Where devices connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection; further ones are relayed.
    pub fn cut(&self) {
        for stream in self.line.open.lock().expect("no holder panics").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Cuts every connection, and every further one as soon as it is made.
    pub fn take_down(&self) {
        self.line.down.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Ends [`Proxy::take_down`].
    pub fn bring_up(&self) {
        self.line.down.store(false, Ordering::SeqCst);
    }

    /// After so many more bytes nothing passes to devices, until [`Proxy::go_on`].
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn hold_after(&self, bytes: u64) {
        *self.line.limit_down.lock().expect("no holder panics") = Some(self.bytes().1 + bytes);
    }

    /// Whether the limit of [`Proxy::hold_after`] is reached.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn is_holding(&self) -> bool {
        self.line.limit_down.lock().expect("no holder panics").is_some_and(|limit| self.bytes().1 >= limit)
    }

    /// Ends [`Proxy::hold_after`].
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn go_on(&self) {
        *self.line.limit_down.lock().expect("no holder panics") = None;
        self.line.raised.notify_all();
    }

    /// Bytes relayed so far, from devices and to devices.
    pub fn bytes(&self) -> (u64, u64) {
        (self.line.bytes_up.load(Ordering::SeqCst), self.line.bytes_down.load(Ordering::SeqCst))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.take_down();
        self.go_on();
    }
}

impl Line {
    /// Waits while devices get nothing, and says how many of these bytes may pass.
    fn room_down(&self, wanted: usize) -> usize {
        let passed = || self.bytes_down.load(Ordering::SeqCst);
        let mut limit = self.limit_down.lock().expect("no holder panics");
        while limit.is_some_and(|limit| passed() >= limit) {
            limit = self.raised.wait(limit).expect("no holder panics");
        }
        let room = limit.map_or(u64::MAX, |limit| limit - passed());
        let granted = usize::try_from(room).unwrap_or(usize::MAX).min(wanted);
        self.bytes_down.fetch_add(granted as u64, Ordering::SeqCst);
        granted
    }
}

fn relay(device: &TcpStream, server: &TcpStream, line: &Arc<Line>) {
    let (Ok(device_in), Ok(device_out)) = (device.try_clone(), device.try_clone()) else { return };
    let (Ok(server_in), Ok(server_out)) = (server.try_clone(), server.try_clone()) else { return };
    let _ = (device.set_nodelay(true), server.set_nodelay(true));
    {
        let mut open = line.open.lock().expect("no holder panics");
        open.extend([device.try_clone(), server.try_clone()].into_iter().flatten());
    }
    let (up, down) = (Arc::clone(line), Arc::clone(line));
    let count_up = move |bytes: usize| {
        up.bytes_up.fetch_add(bytes as u64, Ordering::SeqCst);
        bytes
    };
    std::thread::spawn(move || pump(device_in, server_out, count_up));
    std::thread::spawn(move || pump(server_in, device_out, |bytes| down.room_down(bytes)));
}

/// `pass` counts, and says how many of so many bytes may pass now.
fn pump(mut from: TcpStream, mut to: TcpStream, pass: impl Fn(usize) -> usize) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len) = from.read(&mut buffer) {
        if len == 0 || forward(&buffer[..len], &mut to, &pass).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn forward(mut bytes: &[u8], to: &mut TcpStream, pass: &impl Fn(usize) -> usize) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let (now, later) = bytes.split_at(pass(bytes.len()));
        to.write_all(now)?;
        bytes = later;
    }
    Ok(())
}
