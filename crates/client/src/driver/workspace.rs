//! The loop around one engine: inputs in, effects out, each outcome an input again. It decides nothing.

use super::clock::Clock;
use stacksync_core::engine::{Effect, Engine, Input, LogEntry, StateDelta, Status};
use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Outcomes and hints that may wait for the engine.
const INPUTS_MAX: usize = 4_096;
/// Inputs that are taken before effects are started.
const TAKE_MAX: usize = 256;
/// While much happens, the status is told so often.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Something for a workspace's engine.
#[derive(Debug)]
enum Message {
    Input(Input),
    /// An input whose consequences the sender wants to have seen in the status.
    Ask(Input, oneshot::Sender<()>),
    Pause(oneshot::Sender<()>),
    Resume(oneshot::Sender<()>),
}

/// Tells a workspace something. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inputs(mpsc::Sender<Message>);

impl Inputs {
    /// Hands an input over; waits while too many wait.
    pub async fn send(&self, input: Input) {
        // The workspace is gone: it is stopping, and the outcome will be observed again by the next run.
        let _ = self.0.send(Message::Input(input)).await;
    }

    /// As [`Inputs::send`], and waits until the status tells of it.
    pub async fn ask(&self, input: Input) {
        self.and_wait(|done| Message::Ask(input, done)).await;
    }

    /// From now on nothing is begun.
    pub async fn pause(&self) {
        self.and_wait(Message::Pause).await;
    }

    /// What was kept back is begun.
    pub async fn resume(&self) {
        self.and_wait(Message::Resume).await;
    }

    async fn and_wait(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) {
        let (done, wait) = oneshot::channel();
        if self.0.send(message(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

/// Carries effects out. The outcome of each goes to the inputs it was given, once.
pub trait Executor: Send + 'static {
    /// Begins an effect that has an outcome; does not wait for it.
    fn begin(&self, effect: Effect);
    /// Saves a step of the state; later ones come later. May wait while the state cannot be written.
    fn remember(&self, delta: StateDelta) -> impl Future<Output = ()> + Send;
    /// Notes what happened.
    fn log(&self, at_ns: i64, entry: LogEntry) -> impl Future<Output = ()> + Send;
}

/// One workspace being kept in sync.
pub struct Workspace<E> {
    engine: Engine,
    executor: E,
    clock: Clock,
    waiting: mpsc::Receiver<Message>,
    tell: watch::Sender<Status>,
    told: Instant,
    /// Something happened since the status was told.
    untold: bool,
    /// While paused: what would have been begun.
    kept_back: Option<VecDeque<Effect>>,
}

/// The way in, for whoever makes a workspace and its executor.
pub fn channel() -> (Inputs, WaitingInputs) {
    let (sender, receiver) = mpsc::channel(INPUTS_MAX);
    (Inputs(sender), WaitingInputs(receiver))
}

/// The other end of [`Inputs`].
pub struct WaitingInputs(mpsc::Receiver<Message>);

impl<E: Executor> Workspace<E> {
    /// A workspace that begins with this engine.
    pub fn new(engine: Engine, executor: E, clock: Clock, waiting: WaitingInputs) -> (Self, watch::Receiver<Status>) {
        let (tell, told) = watch::channel(engine.status());
        (Self { engine, executor, clock, waiting: waiting.0, tell, told: clock.at(0), untold: false, kept_back: None }, told)
    }

    /// Runs until the task is aborted, or every [`Inputs`] is gone.
    pub async fn run(mut self) {
        let mut messages = Vec::with_capacity(TAKE_MAX);
        let mut asked = Vec::new();
        loop {
            let deadline = self.deadline();
            tokio::select! {
                count = self.waiting.recv_many(&mut messages, TAKE_MAX) => {
                    if count == 0 {
                        return;
                    }
                    for message in messages.drain(..) {
                        asked.extend(self.take(message));
                    }
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.engine.handle(Input::Woken, self.clock.now());
                }
            }
            self.carry_out().await;
            self.untold = true;
            self.tell(!asked.is_empty());
            for done in asked.drain(..) {
                let _ = done.send(());
            }
        }
    }

    /// When to wake up: for the engine, or to tell the status that was not told yet.
    fn deadline(&self) -> Option<Instant> {
        let untold = self.untold.then(|| self.told + TELL_EVERY);
        // A paused engine cannot do what is due, so waking it up would only repeat itself.
        let due = if self.kept_back.is_some() { None } else { self.engine.deadline().map(|ms| self.clock.at(ms)) };
        [untold, due].into_iter().flatten().min()
    }

    fn take(&mut self, message: Message) -> Option<oneshot::Sender<()>> {
        match message {
            Message::Input(input) => {
                self.engine.handle(input, self.clock.now());
                None
            }
            Message::Ask(input, done) => {
                self.engine.handle(input, self.clock.now());
                Some(done)
            }
            Message::Pause(done) => {
                self.kept_back.get_or_insert_default();
                Some(done)
            }
            Message::Resume(done) => {
                for effect in self.kept_back.take().unwrap_or_default() {
                    self.executor.begin(effect);
                }
                Some(done)
            }
        }
    }

    async fn carry_out(&mut self) {
        while let Some(effect) = self.engine.poll() {
            match effect {
                Effect::Remember(delta) => self.executor.remember(delta).await,
                Effect::Log(entry) => self.executor.log(super::clock::unix_ns(), entry).await,
                Effect::Scan { .. }
                | Effect::Upload { .. }
                | Effect::Commit { .. }
                | Effect::AskChanges { .. }
                | Effect::Apply { .. } => match &mut self.kept_back {
                    Some(kept_back) => kept_back.push_back(effect),
                    None => self.executor.begin(effect),
                },
            }
        }
    }

    /// The status costs more the more is wrong, so it is not told after every input; that the engine settled is told at once.
    fn tell(&mut self, now: bool) {
        let settles = self.engine.is_settled() && !self.tell.borrow().settled;
        if now || settles || self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            self.untold = false;
            let status = self.engine.status();
            self.tell.send_if_modified(|told| {
                let news = *told != status;
                *told = status;
                news
            });
        }
    }
}

#[cfg(test)]
mod tests;
