//! Lets what comes from many files at about the same time travel together.
//!
//! A lone small file leaves at once; one that comes just after others, or while they are on their way, waits a little for company.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

/// Members of a group.
const GROUP_MEMBERS_MAX: usize = 1_000;
/// Plain bytes of a group; the last member may go beyond.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The first member of a group waits so long for others at most.
const GROUP_WAIT_MAX: Duration = Duration::from_millis(3);
/// Members that wait to be gathered; those who bring more wait themselves.
const QUEUE_MEMBERS_MAX: usize = 1_000;
/// Groups on their way at once, per workspace and direction. While all are out, the next one grows.
const GROUPS_MAX: usize = 4;

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

/// Makes groups out of what is brought.
pub(super) struct Gatherer<T> {
    queue: mpsc::Receiver<T>,
    arrivals: Arrivals,
    places: Arc<Semaphore>,
    bytes_of: fn(&T) -> usize,
    /// When the last group left.
    left: Option<Instant>,
}

/// Members that travel together, and their place among the groups on their way: given back when dropped.
pub(super) type Group<T> = (Vec<T>, OwnedSemaphorePermit);

impl<T> Gatherer<T> {
    /// Where members are brought, and who gathers them.
    pub(super) fn new(arrivals: Arrivals, bytes_of: fn(&T) -> usize) -> (mpsc::Sender<T>, Self) {
        let (sender, queue) = mpsc::channel(QUEUE_MEMBERS_MAX);
        (sender, Self { queue, arrivals, places: Arc::new(Semaphore::new(GROUPS_MAX)), bytes_of, left: None })
    }

    /// The next group: at least one member. `None` when nobody can bring anything any more.
    pub(super) async fn gather(&mut self) -> Option<Group<T>> {
        let place = self.places.clone().acquire_owned().await.ok()?;
        let mut members = vec![self.queue.recv().await?];
        let mut bytes = members.iter().map(self.bytes_of).sum::<usize>();
        let end = Instant::now() + GROUP_WAIT_MAX;
        while members.len() < GROUP_MEMBERS_MAX && bytes < GROUP_BYTES_MAX {
            let Some(member) = self.another(end).await else { break };
            bytes += (self.bytes_of)(&member);
            members.push(member);
        }
        self.left = Some(Instant::now());
        Some((members, place))
    }

    async fn another(&mut self, end: Instant) -> Option<T> {
        if self.queue.is_empty() {
            // Those who were started together with the last member come to announce themselves.
            tokio::task::yield_now().await;
        }
        match self.queue.try_recv() {
            Ok(member) => Some(member),
            Err(_) if self.is_quiet() => None,
            Err(_) => timeout_at(end, self.queue.recv()).await.ok().flatten(),
        }
    }

    /// Nothing is announced, no other group is on its way, and none has just left.
    fn is_quiet(&self) -> bool {
        let just_left = self.left.is_some_and(|left| left.elapsed() < GROUP_WAIT_MAX);
        !self.arrivals.any() && !just_left && self.places.available_permits() == GROUPS_MAX - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lone_member_leaves_at_once() {
        let (sender, mut gatherer) = Gatherer::new(Arrivals::default(), |_| 1);
        let start = Instant::now();
        sender.send(1).await.unwrap();
        assert_eq!(gatherer.gather().await.unwrap().0, [1]);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn those_announced_are_waited_for_but_not_for_long() {
        let arrivals = Arrivals::default();
        let (sender, mut gatherer) = Gatherer::new(arrivals.clone(), |_| 1);
        let _announced = arrivals.announce();
        let start = Instant::now();
        let later = async {
            sender.send(1).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            sender.send(2).await.unwrap();
        };
        let (group, ()) = tokio::join!(gatherer.gather(), later);
        assert_eq!(group.unwrap().0, [1, 2]);
        assert!(start.elapsed() <= GROUP_WAIT_MAX + Duration::from_millis(2), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn company_is_waited_for_only_while_others_are_on_their_way() {
        let (sender, mut gatherer) = Gatherer::new(Arrivals::default(), |_| 1);
        sender.send(1).await.unwrap();
        let first = gatherer.gather().await.unwrap();
        let start = Instant::now();
        sender.send(2).await.unwrap();
        drop(gatherer.gather().await.unwrap());
        assert!(start.elapsed() >= GROUP_WAIT_MAX);
        drop(first);
        tokio::time::sleep(GROUP_WAIT_MAX).await;
        let start = Instant::now();
        sender.send(3).await.unwrap();
        drop(gatherer.gather().await.unwrap());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_has_limits() {
        let arrivals = Arrivals::default();
        let (sender, mut gatherer) = Gatherer::new(arrivals.clone(), |&member: &usize| member);
        let _announced = arrivals.announce();
        let bring = async {
            for member in [vec![1; GROUP_MEMBERS_MAX + 1], vec![1 << 20; 5]].concat() {
                sender.send(member).await.unwrap();
            }
            drop(sender);
        };
        let gather = async {
            let mut lengths = Vec::new();
            while let Some((members, _)) = gatherer.gather().await {
                lengths.push(members.len());
            }
            lengths
        };
        let ((), lengths) = tokio::join!(bring, gather);
        assert_eq!(lengths, [GROUP_MEMBERS_MAX, 5, 1]);
    }
}
