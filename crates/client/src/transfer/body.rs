//! The body of a request: bytes that are there already, sent in steps, so that somebody can see them move.

use super::shared::Meter;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// Bytes of a step.
const STEP_BYTES: usize = 64 * 1024;

/// What a request carries.
pub(super) struct Outgoing {
    left: Bytes,
    moved: Arc<AtomicU64>,
    meter: Arc<Meter>,
}

impl Outgoing {
    /// All of `bytes`; `moved` grows with each step.
    pub(super) const fn new(bytes: Bytes, moved: Arc<AtomicU64>, meter: Arc<Meter>) -> Self {
        Self { left: bytes, moved, meter }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.left.len().min(STEP_BYTES);
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
