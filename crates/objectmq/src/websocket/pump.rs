//! Moves frames between one WebSocket and its session: reads and writes in one task, so that nothing is locked or handed over per
//! frame, and what waits to be written is written with one flush.

use super::Keepalive;
use super::outlet::{Out, Outflow};
use super::socket::{CloseReason, Frame, Socket, SocketError};
use crate::Stats;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Frames that are read before what they caused is written.
const FRAMES_PER_TURN: usize = 64;
/// Time that the other side gets to read what waits for it when the connection is to end.
const END_GRACE: Duration = Duration::from_secs(5);
/// Time that the other side gets to answer a close frame.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The other side closed it, or the connection was cut.
    #[error("closed by the other side{}", .0.as_ref().map(|why| format!(" ({} {})", why.code, why.text)).unwrap_or_default())]
    Peer(Option<CloseReason>),
    /// We closed it.
    #[error("closed: {}", .0.text)]
    Ours(CloseReason),
    /// The network or the framing failed.
    #[error("broken: {0}")]
    Broken(SocketError),
    /// Nothing came for too long.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    /// The other side does not read what is sent to it.
    #[error("it did not read what was sent to it")]
    Slow,
}

/// Is told what comes in. Must not block.
pub trait Inflow: Send {
    /// A text frame.
    fn text(&mut self, frame: Bytes);
    /// A frame that the protocol has no use for.
    fn binary(&mut self);
}

pub struct Pump<'a, S, I> {
    socket: S,
    outflow: Outflow,
    inflow: &'a mut I,
    stats: &'a Stats,
    keepalive: Keepalive,
    heard: Instant,
    pinged: Instant,
    alarm: Pin<Box<Sleep>>,
    ping_due: bool,
    unflushed: bool,
    /// What was written before this poll; only that is flushed in it.
    flush_due: bool,
    ending: bool,
}

impl<'a, S: Socket, I: Inflow> Pump<'a, S, I> {
    pub fn new(socket: S, outflow: Outflow, inflow: &'a mut I, keepalive: Keepalive, stats: &'a Stats) -> Self {
        let now = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(now + keepalive.ping_every.min(keepalive.dead_after)));
        Pump {
            socket,
            outflow,
            inflow,
            stats,
            keepalive,
            heard: now,
            pinged: now,
            alarm,
            ping_due: false,
            unflushed: false,
            flush_due: false,
            ending: false,
        }
    }

    /// Runs until the connection ends, for whatever reason.
    pub async fn run(mut self) -> End {
        let end = std::future::poll_fn(|cx| self.poll(cx)).await;
        let reason = match &end {
            End::Ours(reason) => reason.clone(),
            End::Broken(SocketError::TooLarge) => CloseReason::new(CloseReason::TOO_LARGE, "the frame is too long"),
            End::Silent(_) => CloseReason::new(CloseReason::POLICY, "nothing came for too long"),
            End::Peer(_) => return self.part(None, end).await,
            End::Broken(SocketError::Broken(_)) | End::Slow => return end,
        };
        self.part(Some(reason), end).await
    }

    /// Says farewell, and reads until the other side has said it too; not for long.
    async fn part(mut self, reason: Option<CloseReason>, end: End) -> End {
        drop(self.outflow);
        let farewell = async {
            if reason.is_some() {
                self.socket.send(Frame::Close(reason)).await?;
            }
            while let Some(Ok(_)) = self.socket.next().await {}
            Ok::<(), SocketError>(())
        };
        // It ends either way.
        let _ = tokio::time::timeout(CLOSE_GRACE, farewell).await;
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.outflow.register(cx);
        self.flush_due = self.unflushed;
        if !self.ending && self.outflow.is_ending() {
            self.ending = true;
            self.alarm.as_mut().reset(Instant::now() + END_GRACE);
        }
        loop {
            if let Poll::Ready(Err(end)) = self.poll_write(cx) {
                return Poll::Ready(end);
            }
            let read = match self.poll_read(cx) {
                Ok(read) => read,
                Err(end) => return Poll::Ready(end),
            };
            let alarmed = match self.poll_alarm(cx) {
                Ok(alarmed) => alarmed,
                Err(end) => return Poll::Ready(end),
            };
            // Only when all three wait will somebody wake this task for all three.
            if !read && !alarmed {
                return Poll::Pending;
            }
        }
    }

    /// Writes all that waits, then flushes once: when this task has its turn again, after all others that are ready now. They may have
    /// more for the same connection, such as the notice of what was just answered.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if self.outflow.is_cut() {
                return Poll::Ready(Err(End::Slow));
            }
            ready!(self.socket.poll_ready_unpin(cx)).map_err(End::Broken)?;
            let frame = if std::mem::take(&mut self.ping_due) {
                Frame::Ping(Bytes::new())
            } else {
                match self.outflow.poll_take(cx) {
                    Poll::Ready(Some(Out::Frame(frame))) => Frame::Text(frame),
                    Poll::Ready(Some(Out::End(reason))) => return Poll::Ready(Err(End::Ours(reason))),
                    Poll::Ready(None) => return Poll::Ready(Err(End::Ours(CloseReason::new(CloseReason::NORMAL, "done")))),
                    Poll::Pending => break,
                }
            };
            self.stats.frames_out.add(1);
            self.unflushed = true;
            self.socket.start_send_unpin(frame).map_err(End::Broken)?;
        }
        if self.unflushed && !self.flush_due {
            cx.waker().wake_by_ref();
        } else if self.unflushed {
            ready!(self.socket.poll_flush_unpin(cx)).map_err(End::Broken)?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    /// Reads what is there, up to a turn's worth. Answers whether there may be more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        for turn in 0..FRAMES_PER_TURN {
            let Poll::Ready(frame) = self.socket.poll_next_unpin(cx) else {
                if turn > 0 {
                    self.heard = Instant::now();
                }
                return Ok(turn > 0);
            };
            match frame {
                None => return Err(End::Peer(None)),
                Some(Err(error)) => return Err(End::Broken(error)),
                Some(Ok(Frame::Close(reason))) => return Err(End::Peer(reason)),
                Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                // Who is being shown out is not listened to.
                Some(Ok(Frame::Text(_) | Frame::Binary(_))) if self.ending => {}
                Some(Ok(Frame::Text(text))) => {
                    self.stats.frames_in.add(1);
                    self.inflow.text(text);
                }
                Some(Ok(Frame::Binary(_))) => {
                    self.stats.frames_in.add(1);
                    self.inflow.binary();
                }
            }
        }
        self.heard = Instant::now();
        Ok(true)
    }

    /// Pings, and gives up, in time. Answers whether a ping is due.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.alarm.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        if self.ending {
            return Err(End::Slow);
        }
        let now = Instant::now();
        let Keepalive { ping_every, dead_after } = self.keepalive;
        if now >= self.heard + dead_after {
            return Err(End::Silent(dead_after));
        }
        if now >= self.pinged + ping_every {
            self.ping_due = true;
            self.pinged = now;
        }
        self.alarm.as_mut().reset((self.pinged + ping_every).min(self.heard + dead_after));
        Ok(true)
    }
}
