//! What waits to be written to one WebSocket. Anybody may offer frames; one pump takes them. Bounded by frames and bytes.

use super::socket::CloseReason;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::task::{Context, Poll};
use tokio::sync::{Notify, mpsc};

/// What may wait to be written to one WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct OutletLimits {
    /// Frames.
    pub frames_max: usize,
    /// Bytes. One frame of any length is always taken when nothing waits.
    pub bytes_max: usize,
}

impl Default for OutletLimits {
    fn default() -> OutletLimits {
        OutletLimits { frames_max: 4_096, bytes_max: 64 << 20 }
    }
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    Full,
    /// The connection ended.
    Gone,
}

pub enum Out {
    Frame(Bytes),
    /// Nothing follows.
    End(CloseReason),
}

pub struct Outlet {
    limits: OutletLimits,
    frames: AtomicUsize,
    bytes: AtomicUsize,
    gone: AtomicBool,
    /// Set when the connection is to end after writing what waits, but soon.
    ending: AtomicBool,
    /// Set when the connection must end without writing what waits.
    cut: AtomicBool,
    /// Wakes the pump for either.
    end_waker: AtomicWaker,
    room: Notify,
    queue: mpsc::UnboundedSender<Out>,
}

/// The end that the pump takes frames from.
pub struct Outflow {
    pub outlet: std::sync::Arc<Outlet>,
    queue: mpsc::UnboundedReceiver<Out>,
}

impl Outlet {
    pub fn open(limits: OutletLimits) -> Outflow {
        let (queue, taken) = mpsc::unbounded_channel();
        let outlet = Outlet {
            limits,
            frames: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            end_waker: AtomicWaker::new(),
            room: Notify::new(),
            queue,
        };
        Outflow { outlet: outlet.into(), queue: taken }
    }

    /// Appends a frame if there is room.
    pub fn offer(&self, frame: Bytes) -> Result<(), NotTaken> {
        let (frames, bytes) = (self.frames.load(Acquire), self.bytes.load(Acquire));
        if frames >= self.limits.frames_max || (frames > 0 && bytes + frame.len() > self.limits.bytes_max) {
            return Err(if self.gone.load(Acquire) { NotTaken::Gone } else { NotTaken::Full });
        }
        self.push(frame)
    }

    /// Appends a frame even if there is no room; for what is small and limited otherwise.
    pub fn push(&self, frame: Bytes) -> Result<(), NotTaken> {
        if self.gone.load(Acquire) {
            return Err(NotTaken::Gone);
        }
        self.frames.fetch_add(1, AcqRel);
        self.bytes.fetch_add(frame.len(), AcqRel);
        self.queue.send(Out::Frame(frame)).map_err(|_| NotTaken::Gone)
    }

    /// Appends a frame as soon as there is room.
    pub async fn send(&self, frame: Bytes) -> Result<(), NotTaken> {
        loop {
            // Registered before looking, so that room made in between is not missed.
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            match self.offer(frame.clone()) {
                Err(NotTaken::Full) => room.await,
                taken => return taken,
            }
        }
    }

    /// Ends the connection after what waits is written, for which there is little time. Nothing that comes in counts any more.
    pub fn end(&self, reason: CloseReason) {
        self.ending.store(true, Release);
        // If nobody reads it, the connection has ended already.
        let _ = self.queue.send(Out::End(reason));
        self.end_waker.wake();
    }

    /// Ends the connection now.
    pub fn cut(&self) {
        self.cut.store(true, Release);
        self.end_waker.wake();
    }
}

impl Outflow {
    /// The next frame. Every frame taken makes room.
    pub fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Out>> {
        let out = std::task::ready!(self.queue.poll_recv(cx));
        if let Some(Out::Frame(frame)) = &out {
            self.outlet.bytes.fetch_sub(frame.len(), AcqRel);
            // Whoever waits for room found it full, so the way back from full is the moment to tell.
            let frames = self.outlet.frames.fetch_sub(1, AcqRel);
            if frames == 1 || frames == self.outlet.limits.frames_max / 2 {
                self.outlet.room.notify_waiters();
            }
        }
        Poll::Ready(out)
    }

    /// Asks to be woken when the connection is to end.
    pub fn register(&self, cx: &mut Context<'_>) {
        self.outlet.end_waker.register(cx.waker());
    }

    /// Whether the connection is to end without writing what waits.
    pub fn is_cut(&self) -> bool {
        self.outlet.cut.load(Acquire)
    }

    /// Whether the connection is to end.
    pub fn is_ending(&self) -> bool {
        self.outlet.ending.load(Acquire)
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        self.outlet.gone.store(true, Release);
        self.outlet.room.notify_waiters();
    }
}
