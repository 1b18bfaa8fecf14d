//! Lets what comes from many files at about the same time travel together.
//!
//! Nobody waits for company that is not on its way: a lone small file leaves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Members of a group.
const GROUP_MEMBERS_MAX: usize = 1_000;
/// Plain bytes of a group; the last member may go beyond.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The first member of a group waits so long for others at most.
const GROUP_WAIT_MAX: Duration = Duration::from_millis(3);
/// Members that wait to be gathered; those who bring more wait themselves.
pub(super) const QUEUE_MEMBERS_MAX: usize = 1_000;
/// Groups on their way at once, per workspace and direction. While all are out, the next one grows.
pub(super) const GROUPS_MAX: usize = 4;

const _: () = assert!(GROUP_MEMBERS_MAX <= stacksync_protocol::chunk_service::TICKET_CHUNKS_MAX);

/// Counts those who are about to bring something.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(Arc<AtomicUsize>);

/// Is about to bring something, until dropped.
#[derive(Debug)]
pub(super) struct Arrival(Arc<AtomicUsize>);

impl Arrivals {
    /// Announces one.
    pub(super) fn announce(&self) -> Arrival {
        self.0.fetch_add(1, Ordering::AcqRel);
        Arrival(self.0.clone())
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The next group: at least one member. `None` when nobody can bring anything any more.
pub(super) async fn gather<T>(
    queue: &mut mpsc::Receiver<T>,
    arrivals: &Arrivals,
    bytes_of: impl Fn(&T) -> usize,
) -> Option<Vec<T>> {
    let mut group = vec![queue.recv().await?];
    let mut bytes = group.iter().map(&bytes_of).sum::<usize>();
    let end = Instant::now() + GROUP_WAIT_MAX;
    while group.len() < GROUP_MEMBERS_MAX && bytes < GROUP_BYTES_MAX {
        let Some(member) = next(queue, arrivals, end).await else { break };
        bytes += bytes_of(&member);
        group.push(member);
    }
    Some(group)
}

async fn next<T>(queue: &mut mpsc::Receiver<T>, arrivals: &Arrivals, end: Instant) -> Option<T> {
    if queue.is_empty() {
        // Those who were started together with the last member come to announce themselves.
        tokio::task::yield_now().await;
    }
    match queue.try_recv() {
        Ok(member) => Some(member),
        Err(_) if !arrivals.any() => None,
        Err(_) => timeout_at(end, queue.recv()).await.ok().flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lone_member_leaves_at_once() {
        let (sender, mut queue) = mpsc::channel(10);
        let start = Instant::now();
        sender.send(1).await.unwrap();
        assert_eq!(gather(&mut queue, &Arrivals::default(), |_| 1).await, Some(vec![1]));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn those_announced_are_waited_for_but_not_for_long() {
        let (sender, mut queue) = mpsc::channel(10);
        let arrivals = Arrivals::default();
        let _announced = arrivals.announce();
        let start = Instant::now();
        let later = async {
            sender.send(1).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            sender.send(2).await.unwrap();
        };
        let (group, ()) = tokio::join!(gather(&mut queue, &arrivals, |_| 1), later);
        assert_eq!(group, Some(vec![1, 2]));
        assert!(start.elapsed() <= GROUP_WAIT_MAX + Duration::from_millis(2), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_has_limits() {
        let (sender, mut queue) = mpsc::channel(3_000);
        for member in 0..2_500 {
            sender.send(member).await.unwrap();
        }
        let arrivals = Arrivals::default();
        assert_eq!(gather(&mut queue, &arrivals, |_| 1).await.unwrap().len(), GROUP_MEMBERS_MAX);
        assert_eq!(gather(&mut queue, &arrivals, |_| 1 << 20).await.unwrap().len(), 4);
        drop(sender);
        assert_eq!(gather(&mut queue, &arrivals, |_| 1).await.unwrap().len(), GROUP_MEMBERS_MAX);
        assert_eq!(gather(&mut queue, &arrivals, |_| 1).await.unwrap().len(), 496);
        assert_eq!(gather(&mut queue, &arrivals, |_| 1).await, None);
    }
}
