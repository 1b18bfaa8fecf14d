//! A bound object: its workers, and how they end.

use super::answers::{AnswerLimits, Answers};
use super::worker::{Kind, Worker};
use crate::envelope::Encodings;
use crate::queue::lock;
use crate::transport::Inbox;
use crate::{BindError, RemoteObject, SendError, Transport};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// How an object is bound.
#[derive(Clone, Debug)]
pub struct BindOptions {
    /// Calls that the object carries out at the same time, at least one.
    pub workers: usize,
    /// How much is remembered to answer retries.
    pub answers: AnswerLimits,
}

impl Default for BindOptions {
    fn default() -> BindOptions {
        BindOptions { workers: 64, answers: AnswerLimits::default() }
    }
}

/// What reaches an object.
pub(super) enum Reach {
    UnicastAndMulti(BindOptions),
    Multi,
}

type Table = Mutex<HashMap<Arc<str>, Arc<Bound>>>;

/// An object that is bound, or listens. Dropping it ends that: calls that were taken are finished, no further ones are taken.
#[must_use = "dropping a binding unbinds the object"]
pub struct Binding {
    bound: Arc<Bound>,
    table: Arc<Table>,
}

/// The running side of a binding.
pub(super) struct Bound {
    reference: Arc<str>,
    stop: watch::Sender<bool>,
    /// Workers that run.
    running: watch::Sender<usize>,
    /// Workers that run for all bindings of the broker.
    all_running: Arc<watch::Sender<usize>>,
}

impl Binding {
    /// Takes the reference in the table, so that nobody else can bind it.
    pub(super) fn reserve(
        table: &Arc<Table>,
        all_running: &Arc<watch::Sender<usize>>,
        reference: &str,
    ) -> Result<Binding, BindError> {
        let mut references = lock(table);
        if references.contains_key(reference) {
            return Err(BindError::AlreadyBound(reference.to_owned()));
        }
        let reference: Arc<str> = reference.into();
        let bound = Arc::new(Bound {
            reference: reference.clone(),
            stop: watch::Sender::new(false),
            running: watch::Sender::new(0),
            all_running: all_running.clone(),
        });
        references.insert(reference, bound.clone());
        Ok(Binding { bound, table: table.clone() })
    }

    /// Opens the inboxes and starts the workers.
    pub(super) async fn start(
        &self,
        transport: &Arc<dyn Transport>,
        encodings: &Encodings,
        object: Arc<dyn RemoteObject>,
        reach: Reach,
    ) -> Result<(), SendError> {
        let reference = &self.bound.reference;
        let notices = transport.subscribe(reference).await?;
        let (limits, calls) = match reach {
            Reach::Multi => (AnswerLimits::default(), None),
            Reach::UnicastAndMulti(BindOptions { workers, answers }) => {
                let workers = workers.max(1);
                (answers, Some((transport.consume(reference, workers).await?, workers)))
            }
        };
        let answers = Answers::new(limits);
        let worker = Arc::new(Worker {
            reference: reference.clone(),
            transport: transport.clone(),
            encodings: encodings.clone(),
            object,
            answers,
        });
        if let Some((calls, workers)) = calls {
            self.run(&worker, calls, Kind::Unicast, workers);
        }
        self.run(&worker, notices, Kind::Multi, 1);
        Ok(())
    }

    fn run(&self, worker: &Arc<Worker>, inbox: Inbox, kind: Kind, workers: usize) {
        let inbox = Arc::new(inbox);
        self.bound.running.send_modify(|running| *running += workers);
        self.bound.all_running.send_modify(|running| *running += workers);
        for _ in 0..workers {
            let (worker, inbox, bound) = (worker.clone(), inbox.clone(), self.bound.clone());
            tokio::spawn(async move {
                let ended = Ended(bound.clone());
                worker.run(inbox, kind, bound.stop.subscribe()).await;
                drop(ended);
            });
        }
    }

    /// The reference.
    pub fn reference(&self) -> &str {
        &self.bound.reference
    }

    /// Whether calls still arrive; not if the transport ended, or the gate withdrew what it had allowed.
    pub fn is_active(&self) -> bool {
        *self.bound.running.borrow() > 0 && !*self.bound.stop.borrow()
    }

    /// Waits until calls no longer arrive and those that were taken are finished.
    pub async fn ended(&self) {
        self.bound.finished().await;
    }

    /// Stops taking calls and waits until those that were taken are finished.
    pub async fn unbind(self) {
        self.bound.stop();
        self.bound.finished().await;
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.bound.stop();
        lock(&self.table).remove(&self.bound.reference);
    }
}

impl Bound {
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(super) async fn finished(&self) {
        // The sender is ours, so this cannot fail.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }
}

/// Counts a worker out when dropped, also when it panicked.
struct Ended(Arc<Bound>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
        self.0.all_running.send_modify(|running| *running -= 1);
    }
}
