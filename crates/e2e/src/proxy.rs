//! A relay between a device and the server that can cut the line, or be out of order for a while.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

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
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A relay to `server` on a free port.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let line = Arc::new(Line::default());
        let shared = Arc::clone(&line);
        std::thread::spawn(move || {
            for incoming in listener.incoming().flatten() {
                if !shared.down.load(Ordering::SeqCst) {
                    relay(&incoming, server, &shared);
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

    /// Bytes relayed so far, from devices and to devices.
    pub fn bytes(&self) -> (u64, u64) {
        (self.line.bytes_up.load(Ordering::SeqCst), self.line.bytes_down.load(Ordering::SeqCst))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.take_down();
    }
}

fn relay(device: &TcpStream, server: SocketAddr, line: &Arc<Line>) {
    let Ok(server) = TcpStream::connect(server) else { return };
    let (Ok(device_in), Ok(device_out)) = (device.try_clone(), device.try_clone()) else { return };
    let (Ok(server_in), Ok(server_out)) = (server.try_clone(), server.try_clone()) else { return };
    let _ = (device.set_nodelay(true), server.set_nodelay(true));
    {
        let mut open = line.open.lock().expect("no holder panics");
        open.extend([device.try_clone(), server.try_clone()].into_iter().flatten());
    }
    let (up, down) = (Arc::clone(line), Arc::clone(line));
    std::thread::spawn(move || pump(device_in, server_out, |bytes| up.bytes_up.fetch_add(bytes, Ordering::SeqCst)));
    std::thread::spawn(move || pump(server_in, device_out, |bytes| down.bytes_down.fetch_add(bytes, Ordering::SeqCst)));
}

fn pump(mut from: TcpStream, mut to: TcpStream, count: impl Fn(u64) -> u64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len) = from.read(&mut buffer) {
        if len == 0 || to.write_all(&buffer[..len]).is_err() {
            break;
        }
        count(len as u64);
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
