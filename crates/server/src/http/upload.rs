//! Bodies of requests as they arrive: bounded in length, in memory over all requests, and in patience.

use super::Problem;
use crate::config::HttpLimits;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// After a body's first silence period it must have arrived at this rate, in bytes per second.
const RATE_MIN: u64 = 4 * 1024;
/// The unit in which memory is reserved, in bytes.
const PAGE: u64 = 1024;
/// Longest wait for memory.
const MEMORY_PATIENCE: Duration = Duration::from_secs(30);

/// Memory and patience for bodies that are being received.
#[derive(Clone, Debug)]
pub struct Uploads {
    memory: Arc<Semaphore>,
    memory_pages: u32,
    silence_max: Duration,
}

impl Uploads {
    /// As configured.
    pub fn new(limits: &HttpLimits) -> Self {
        let memory_pages = u32::try_from(limits.upload_memory / PAGE).unwrap_or(u32::MAX).clamp(1, Semaphore::MAX_PERMITS as u32);
        Self { memory: Arc::new(Semaphore::new(memory_pages as usize)), memory_pages, silence_max: limits.body_timeout }
    }

    /// Begins to receive a body of at most `bytes_max`, of which at most `held_max` are in memory at a time. Waits for that memory.
    ///
    /// # Errors
    /// The body says that it is longer, or there is no memory for too long.
    pub async fn receive(&self, headers: &HeaderMap, body: Body, bytes_max: usize, held_max: usize) -> Result<Upload, Problem> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > bytes_max as u64) {
            return Err(too_long(bytes_max));
        }
        let held = announced.unwrap_or(u64::MAX).min(held_max as u64);
        let pages = u32::try_from(held.div_ceil(PAGE)).unwrap_or(u32::MAX).min(self.memory_pages);
        let memory = Arc::clone(&self.memory).acquire_many_owned(pages);
        let memory = match tokio::time::timeout(MEMORY_PATIENCE, memory).await {
            Ok(Ok(memory)) => memory,
            Ok(Err(_)) | Err(_) => return Err(Problem::unavailable("Too many uploads at the same time. Try again.")),
        };
        Ok(Upload {
            stream: body.into_data_stream(),
            // Only what arrives takes memory, and growing would copy.
            buffer: BytesMut::with_capacity(announced.map_or(0, |_| held as usize)),
            received: 0,
            bytes_max,
            started: Instant::now(),
            silence_max: self.silence_max,
            _memory: memory,
        })
    }
}

fn too_long(bytes_max: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "tooLarge", format!("The body is longer than {bytes_max} bytes."))
}

/// A body that is being received.
pub struct Upload {
    stream: BodyDataStream,
    buffer: BytesMut,
    received: usize,
    bytes_max: usize,
    started: Instant,
    silence_max: Duration,
    _memory: OwnedSemaphorePermit,
}

impl Upload {
    /// The next `count` bytes, or `None` if the body ends here. Call it with at most `held_max` of [`Uploads::receive`].
    ///
    /// # Errors
    /// The body ends within them, is too long, or comes too slowly.
    pub async fn take(&mut self, count: usize) -> Result<Option<Bytes>, Problem> {
        while self.buffer.len() < count {
            match self.more().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Problem::bad_request("The body ends too early.")),
            }
        }
        Ok(Some(self.buffer.split_to(count).freeze()))
    }

    /// The whole body.
    ///
    /// # Errors
    /// It is too long, or comes too slowly.
    pub async fn rest(mut self) -> Result<Bytes, Problem> {
        while let Some(bytes) = self.more().await? {
            self.buffer.extend_from_slice(&bytes);
        }
        Ok(self.buffer.copy_to_bytes(self.buffer.len()))
    }

    async fn more(&mut self) -> Result<Option<Bytes>, Problem> {
        let slow = || Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The body came too slowly.");
        let next = tokio::time::timeout(self.silence_max, self.stream.next()).await.map_err(|_| slow())?;
        let Some(bytes) = next else { return Ok(None) };
        let bytes = bytes.map_err(|error| Problem::bad_request(format!("The body broke off: {error}.")))?;
        self.received += bytes.len();
        if self.received > self.bytes_max {
            return Err(too_long(self.bytes_max));
        }
        let patience = self.silence_max + Duration::from_secs(self.received as u64 / RATE_MIN);
        if self.started.elapsed() > patience { Err(slow()) } else { Ok(Some(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn uploads(memory: &str) -> Uploads {
        let options = vec![("http.upload_memory", memory.to_owned())];
        Uploads::new(&config::load(&config::Sources { options, ..Default::default() }).unwrap().http)
    }

    fn streamed(parts: Vec<(u64, &'static [u8])>) -> Body {
        let parts = futures_util::stream::iter(parts).then(|(wait, bytes)| async move {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            Ok::<_, std::io::Error>(bytes)
        });
        Body::from_stream(parts)
    }

    async fn all(parts: Vec<(u64, &'static [u8])>, bytes_max: usize) -> Result<Bytes, Problem> {
        uploads("1MiB").receive(&HeaderMap::new(), streamed(parts), bytes_max, bytes_max).await?.rest().await
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_within_the_limits_arrive() {
        assert_eq!(all(vec![(29, b"ab"), (0, b"cd")], 4).await.unwrap(), "abcd");
        let mut upload = uploads("1MiB")
            .receive(&HeaderMap::new(), streamed(vec![(0, b"abc"), (0, b"de")]), 9, 4)
            .await
            .unwrap_or_else(|_| panic!());
        assert_eq!(upload.take(4).await.unwrap().unwrap(), "abcd");
        assert_eq!(upload.take(1).await.unwrap().unwrap(), "e");
        assert_eq!(upload.take(1).await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_beyond_the_limits_do_not() {
        assert_eq!(all(vec![(0, b"abcde")], 4).await.unwrap_err().code(), "tooLarge");
        assert_eq!(all(vec![(31, b"a")], 4).await.unwrap_err().code(), "timeout");
        assert_eq!(all(vec![(20, b"a"), (20, b"b")], 4).await.unwrap_err().code(), "timeout");
        let headers = [(header::CONTENT_LENGTH, "5".parse().unwrap())].into_iter().collect();
        let announced = uploads("1MiB").receive(&headers, Body::empty(), 4, 4).await;
        assert_eq!(announced.err().unwrap().code(), "tooLarge");
        let mut cut =
            uploads("1MiB").receive(&HeaderMap::new(), streamed(vec![(0, b"abc")]), 9, 9).await.unwrap_or_else(|_| panic!());
        assert_eq!(cut.take(4).await.unwrap_err().code(), "badRequest");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_waited_for_but_not_for_ever() {
        let uploads = uploads("2KiB");
        let headers = HeaderMap::new();
        let receive = || uploads.receive(&headers, Body::empty(), 2048, 2048);
        let first = receive().await.unwrap_or_else(|_| panic!());
        assert_eq!(receive().await.err().unwrap().code(), "unavailable");
        drop(first);
        assert!(receive().await.is_ok());
    }
}
