//! The body of a request: bytes that are there already, sent in steps, at the pace that is allowed, so that somebody can see them move.

use super::pace::Pace;
use super::shared::Meter;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep_until};

/// What a request carries.
pub(super) struct Outgoing {
    left: Bytes,
    moved: Arc<AtomicU64>,
    meter: Arc<Meter>,
    pace: Arc<Pace>,
    /// So many bytes are in line, and wait for their turn if there is one.
    next: Option<(usize, Option<Pin<Box<Sleep>>>)>,
}

impl Outgoing {
    /// All of `bytes`; `moved` grows with each step.
    pub(super) const fn new(bytes: Bytes, moved: Arc<AtomicU64>, meter: Arc<Meter>, pace: Arc<Pace>) -> Self {
        Self { left: bytes, moved, meter, pace, next: None }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let Outgoing { left, pace, next, .. } = &mut *self;
        let (len, turn) = next.get_or_insert_with(|| {
            let len = left.len().min(pace.step());
            (len, pace.turn(len).map(|turn| Box::pin(sleep_until(turn))))
        });
        let len = *len;
        if let Some(turn) = turn {
            ready!(turn.as_mut().poll(context));
        }
        self.next = None;
        let step = self.left.split_to(len);
        self.moved.fetch_add(len as u64, Ordering::Relaxed);
        self.meter.add_sent(len);
        Poll::Ready(Some(Ok(Frame::data(step))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
