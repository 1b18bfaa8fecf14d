//! The door of a hub: brings WebSocket sessions to it, and keeps track of them.

use super::outlet::{Outlet, OutletLimits};
use super::pump::{End, Pump};
use super::session::Session;
use super::socket::{CloseReason, Socket};
use super::{Keepalive, PING_EVERY};
use crate::local::Hub;
use crate::queue::lock;
use crate::transport::Address;
use crate::{BoxFuture, Caller, Stats};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

pub use super::pump::End as SessionEnd;

/// Judges what one session may do. It was made for a caller that was authenticated before the upgrade.
pub trait Gate: Send + Sync + 'static {
    /// Who is on the other side.
    fn caller(&self) -> Caller;

    /// Whether it may send to this address ([`Address::Unicast`] or [`Address::Multi`]). Called for every message: it must be quick.
    fn admit_publish(&self, to: Address<'_>) -> Result<(), Refusal>;

    /// Whether it may get the notifications of this reference.
    fn admit_follow<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<(), Refusal>>;

    /// Whether it may take calls to this reference: be a server. Refused unless a gate says otherwise.
    fn admit_consume<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(std::future::ready(Err(Refusal(format!("calls to {reference:?} are not for you")))))
    }
}

/// Why a gate refuses; told to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// Limits of the sessions of a door.
#[derive(Clone, Copy, Debug)]
pub struct DoorOptions {
    /// When to ping, and when to give a session up.
    pub keepalive: Keepalive,
    /// Messages of one session that wait or are carried out; more are refused as busy.
    pub in_flight_max: usize,
    /// References that one session follows or consumes.
    pub inboxes_max: usize,
    /// Frames that wait to be written to one session; a session that lets more wait is ended.
    pub unsent_frames_max: usize,
    /// Bytes of such frames.
    pub unsent_bytes_max: usize,
}

impl Default for DoorOptions {
    fn default() -> DoorOptions {
        let outlet = OutletLimits::default();
        DoorOptions {
            keepalive: Keepalive::default(),
            in_flight_max: 1_024,
            inboxes_max: 1_024,
            unsent_frames_max: outlet.frames_max,
            unsent_bytes_max: outlet.bytes_max,
        }
    }
}

/// The door of a hub. Cheap to clone; all clones are one door.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

struct Shared {
    hub: Hub,
    options: DoorOptions,
    sessions: Mutex<Sessions>,
    open: watch::Sender<usize>,
}

#[derive(Default)]
struct Sessions {
    last: u64,
    open: HashMap<u64, Arc<Session>>,
    closed: Option<CloseReason>,
}

impl Door {
    /// A door to a hub.
    pub fn new(hub: Hub, options: DoorOptions) -> Door {
        Door(Arc::new(Shared { hub, options, sessions: Mutex::default(), open: watch::Sender::new(0) }))
    }

    /// Longest frame that a socket for this door should accept, in bytes: the longest body, and what is around it.
    pub fn frame_bytes_max(&self) -> usize {
        super::frame_bytes_max(crate::Transport::message_bytes_max(&self.0.hub))
    }

    /// Carries on one session until it ends. The socket is upgraded, and the gate made for whoever was authenticated before that.
    pub async fn serve(&self, socket: impl Socket, gate: Arc<dyn Gate>) -> SessionEnd {
        let options = &self.0.options;
        let limits = OutletLimits { frames_max: options.unsent_frames_max, bytes_max: options.unsent_bytes_max };
        let outflow = Outlet::open(limits);
        let (session, mut controls) = Session::open(self.0.hub.clone(), gate, outflow.outlet.clone(), options);
        let place = self.enter(&session);
        let stats = self.0.hub.stats();
        let mut inflow = session.inflow();
        let pump = Pump::new(socket, outflow, &mut inflow, options.keepalive, stats);
        // Both end with the session: dropping the second gives back what the session had consumed, and stops its following.
        let end = tokio::select! {
            end = pump.run() => end,
            () = controls.run() => SessionEnd::Ours(CloseReason::new(CloseReason::NORMAL, "done")),
        };
        drop((controls, place));
        session.give_back();
        count(stats, &end);
        tracing::debug!(caller = ?session.caller(), %end, "a session ended");
        end
    }

    /// Ends the sessions of the callers that `which` names, for example those of a device that was revoked.
    pub fn end_sessions(&self, reason: &CloseReason, which: impl Fn(&Caller) -> bool) {
        for session in lock(&self.0.sessions).open.values().filter(|session| which(session.caller())) {
            session.end(reason.clone());
        }
    }

    /// Stops the following and consuming of a reference by the callers that `which` names, for example those that left a workspace.
    pub fn withdraw(&self, reference: &str, which: impl Fn(&Caller) -> bool) {
        for session in lock(&self.0.sessions).open.values().filter(|session| which(session.caller())) {
            session.withdraw(reference);
        }
    }

    /// Ends all sessions after what waits for them is written, and lets nobody in any more. Returns when they have ended.
    pub async fn close(&self, reason: &CloseReason) {
        lock(&self.0.sessions).closed = Some(reason.clone());
        self.end_sessions(reason, |_| true);
        // The sender is ours, so this cannot fail.
        let _ = self.0.open.subscribe().wait_for(|open| *open == 0).await;
    }

    fn enter(&self, session: &Arc<Session>) -> Place<'_> {
        let mut sessions = lock(&self.0.sessions);
        if let Some(reason) = &sessions.closed {
            session.end(reason.clone());
        }
        sessions.last += 1;
        let number = sessions.last;
        sessions.open.insert(number, session.clone());
        self.0.open.send_modify(|open| *open += 1);
        let stats = self.0.hub.stats();
        stats.sessions.add(1);
        stats.sessions_total.add(1);
        Place { door: self, number }
    }
}

/// The place of a session in the door's table.
struct Place<'a> {
    door: &'a Door,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.door.0.sessions).open.remove(&self.number);
        self.door.0.hub.stats().sessions.sub(1);
        self.door.0.open.send_modify(|open| *open -= 1);
    }
}

fn count(stats: &Stats, end: &End) {
    match end {
        End::Slow => stats.sessions_slow.add(1),
        End::Silent(_) => stats.sessions_silent.add(1),
        End::Peer(_) | End::Ours(_) | End::Broken(_) => {}
    }
}

const _: () = assert!(PING_EVERY.as_secs() * 2 < super::DEAD_AFTER.as_secs());
