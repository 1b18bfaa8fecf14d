//! A line to an HTTP server that counts the requests which go over it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What ends the first line of a request. Bodies hold random bytes, among which it does not occur.
const END_OF_LINE: &[u8] = b" HTTP/1.1\r\n";

/// See the module. Ends with the process.
#[derive(Debug)]
pub struct CountingLine {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl CountingLine {
    /// A line to this server.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                if let Ok(called) = TcpStream::connect(server) {
                    pass(&caller, &called, Some(counter.clone()));
                    pass(&called, &caller, None);
                }
            }
        });
        Self { address, requests }
    }

    /// Where it begins.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests since the last call.
    pub fn take(&self) -> u64 {
        self.requests.swap(0, Ordering::Relaxed)
    }
}

fn pass(from: &TcpStream, to: &TcpStream, requests: Option<Arc<AtomicU64>>) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 128 * 1024];
        // What came before, as far as a line may have begun in it.
        let mut kept = 0;
        while let Ok(count) = from.read(&mut buffer[kept..]) {
            if count == 0 || to.write_all(&buffer[kept..kept + count]).is_err() {
                break;
            }
            let end = kept + count;
            if let Some(requests) = &requests {
                let found = buffer[..end].windows(END_OF_LINE.len()).filter(|window| *window == END_OF_LINE).count();
                requests.fetch_add(found as u64, Ordering::Relaxed);
                kept = end.min(END_OF_LINE.len() - 1);
                buffer.copy_within(end - kept..end, 0);
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_however_they_are_cut() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = CountingLine::to(server.local_addr().unwrap());
        let mut caller = TcpStream::connect(line.address()).unwrap();
        let (mut called, _) = server.accept().unwrap();
        let said = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nPUT /b HTTP/1.1\r\n\r\nbody";
        for piece in said.chunks(7) {
            caller.write_all(piece).unwrap();
            caller.flush().unwrap();
            std::thread::yield_now();
        }
        caller.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        called.read_to_end(&mut heard).unwrap();
        assert_eq!((heard.as_slice(), line.take(), line.take()), (said.as_slice(), 2, 0));
    }
}
