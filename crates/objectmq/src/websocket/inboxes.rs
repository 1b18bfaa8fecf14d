//! What a client follows and consumes, over all its connections.
//!
//! Invariant: every inbox in the table was asked for over the present connection, if there is one. Asking, and changing the
//! connection, happen under one lock.

use super::frames;
use super::outlet::Outlet;
use crate::queue::{Queue, Waiting, lock};
use crate::transport::{Guard, Inbox, Parcel, Settler};
use crate::{Caller, Message, SendError, Stats};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// What goes into an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The multi messages of a reference.
    Notices,
    /// A share of its unicast messages.
    Calls {
        /// At most so many that are not settled.
        unsettled: usize,
    },
}

pub struct Inboxes {
    wiring: Arc<Mutex<Wiring>>,
    notices_max: usize,
    stats: Arc<Stats>,
}

#[derive(Default)]
struct Wiring {
    link: Option<Arc<Outlet>>,
    inboxes: HashMap<u64, Entry>,
    /// Asked for again over this connection, and not confirmed yet.
    restoring: HashSet<u64>,
    last_n: u64,
    closed: bool,
}

struct Entry {
    reference: String,
    wants: Wants,
    queue: Arc<Queue>,
    /// Who waits for the first confirmation.
    opening: Option<oneshot::Sender<Result<(), SendError>>>,
}

impl Entry {
    fn request(&self, n: u64) -> Bytes {
        match self.wants {
            Wants::Notices => frames::follow(n, &self.reference),
            Wants::Calls { unsettled } => frames::consume(n, &self.reference, unsettled as u64),
        }
    }
}

impl Inboxes {
    pub fn new(notices_max: usize, stats: Arc<Stats>) -> Inboxes {
        Inboxes { wiring: Arc::default(), notices_max, stats }
    }

    /// The connection, if there is one.
    pub fn link(&self) -> Option<Arc<Outlet>> {
        lock(&self.wiring).link.clone()
    }

    /// The connection, once everything was followed again over it: whoever asks over it misses no notice of what happens later.
    pub fn restored_link(&self) -> Option<Arc<Outlet>> {
        let wiring = lock(&self.wiring);
        wiring.link.clone().filter(|_| wiring.restoring.is_empty())
    }

    /// Opens an inbox. With a connection, returns when it is confirmed; without one, at once.
    pub async fn open(&self, reference: &str, wants: Wants) -> Result<Inbox, SendError> {
        let capacity = match wants {
            Wants::Notices => self.notices_max,
            Wants::Calls { unsettled } => unsettled,
        };
        let queue = Arc::new(Queue::new(capacity, self.stats.clone()));
        let (opening, confirmed) = oneshot::channel();
        let entry = Entry { reference: reference.to_owned(), wants, queue: queue.clone(), opening: Some(opening) };
        let n = lock(&self.wiring).add(entry)?;
        let (wiring, closing) = (self.wiring.clone(), queue.clone());
        let inbox = Inbox::new(queue, None, Guard::new(move || leave(&wiring, n, &closing)));
        // Nobody to confirm it: it will be asked for with the next connection.
        confirmed.await.unwrap_or(Ok(()))?;
        Ok(inbox)
    }

    /// Uses a fresh connection: asks for everything again. Answers whether there was nothing to ask for.
    pub fn restore(&self, link: Arc<Outlet>) -> bool {
        let mut wiring = lock(&self.wiring);
        for (n, entry) in &wiring.inboxes {
            // A fresh connection takes it, or is gone again, which its end will tell.
            let _ = link.push(entry.request(*n));
        }
        wiring.restoring = wiring.inboxes.keys().copied().collect();
        wiring.link = Some(link);
        wiring.restoring.is_empty()
    }

    /// Forgets the connection. Answers whether everything had been asked for again over it, with success or not.
    pub fn disconnect(&self) -> bool {
        let mut wiring = lock(&self.wiring);
        wiring.link = None;
        for entry in wiring.inboxes.values_mut() {
            entry.opening = None;
            if let Wants::Calls { .. } = entry.wants {
                // The server gives them to others: what nobody has begun here is not begun.
                entry.queue.take_all();
            }
        }
        std::mem::take(&mut wiring.restoring).is_empty()
    }

    /// Ends all inboxes.
    pub fn close(&self) {
        let mut wiring = lock(&self.wiring);
        wiring.closed = true;
        for (_, entry) in wiring.inboxes.drain() {
            entry.queue.close();
        }
    }

    /// The server has, or has not, or no longer has, opened an inbox. Answers whether this was the last one to restore.
    pub fn confirm(&self, n: u64, outcome: Result<(), SendError>) -> bool {
        let mut wiring = lock(&self.wiring);
        let opening = wiring.inboxes.get_mut(&n).and_then(|entry| entry.opening.take());
        if let Err(error) = &outcome
            && let Some(entry) = wiring.inboxes.remove(&n)
        {
            tracing::warn!(reference = entry.reference, %error, "the server does not let us follow");
            entry.queue.close();
        }
        if let Some(opening) = opening {
            // Whoever opened it may have given up.
            let _ = opening.send(outcome);
        }
        wiring.restoring.remove(&n) && wiring.restoring.is_empty()
    }

    /// A multi message arrived. It is dropped, and counted, if there is no room.
    pub fn notice(&self, n: u64, message: Message) {
        let queue = lock(&self.wiring).inboxes.get(&n).map(|entry| entry.queue.clone());
        let parcel = Parcel::new(message, Caller::anonymous());
        if queue.is_some_and(|queue| queue.offer(parcel.into()).is_err()) {
            self.stats.dropped.add(1);
        }
    }

    /// A unicast message arrived. It is given back if nobody wants it here.
    pub fn deliver(&self, n: u64, tag: u64, message: Message, link: &Arc<Outlet>) {
        let queue = lock(&self.wiring).inboxes.get(&n).map(|entry| entry.queue.clone());
        let parcel = Parcel::new(message, Caller::anonymous());
        let waiting = Waiting { parcel, tag, settler: Some(link.clone()) };
        if queue.is_none_or(|queue| queue.offer(waiting).is_err()) {
            give_back(link, tag);
        }
    }
}

impl Wiring {
    fn add(&mut self, entry: Entry) -> Result<u64, SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        self.last_n += 1;
        let n = self.last_n;
        let mut entry = entry;
        match &self.link {
            Some(link) => {
                // If it is gone, its end will tell.
                let _ = link.push(entry.request(n));
            }
            None => entry.opening = None,
        }
        self.inboxes.insert(n, entry);
        Ok(n)
    }
}

fn leave(wiring: &Mutex<Wiring>, n: u64, queue: &Queue) {
    // If it is being restored, it stays in `restoring`: the server confirms it before it reads that we leave.
    let mut wiring = lock(wiring);
    if wiring.inboxes.remove(&n).is_some()
        && let Some(link) = &wiring.link
    {
        // If it is gone, there is nothing to leave.
        let _ = link.push(frames::leave(n));
    }
    drop(wiring);
    for waiting in queue.close() {
        if let Some(settler) = waiting.settler {
            settler.again(waiting.tag, waiting.parcel);
        }
    }
}

fn give_back(link: &Outlet, tag: u64) {
    // If it is gone, the server has given the message to somebody else.
    let _ = link.push(frames::settle_again(tag));
}

impl Settler for Outlet {
    fn done(&self, tag: u64) {
        // If it is gone, the message comes again: delivery is at least once.
        let _ = self.push(frames::settle_done(tag));
    }

    fn dead(&self, tag: u64, _parcel: Parcel, _why: &str) {
        // The other side is only told that it was dealt with: it knows no dead letters.
        self.done(tag);
    }

    fn again(&self, tag: u64, _parcel: Parcel) {
        give_back(self, tag);
    }
}
