//! The device: its workspaces, its connection, its person's wishes, its end.

mod lists;
mod looks;
mod wants;

use super::ending::Ending;
use super::limits::LimitKeeper;
use super::member::{Member, Surroundings};
use super::overview::Overview;
use super::wishes::Wishes;
use crate::home::LocalTime;
use crate::session::{Link, News, WorkspaceInfo, follow_user, follow_workspace, refusal_text};
use crate::state::{Loaded, StateReader, WorkspaceEntry, WriteError};
use objectmq::transport::Trouble;
use objectmq::{BindError, Binding, ConnectionState};
use stacksync_core::engine::{CallError, Input};
use stacksync_core::values::{UserId, WorkspaceId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// Flags are looked at, and what failed is tried again, so often.
const TICK: Duration = Duration::from_secs(1);
/// The trash is gone through so often.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// News that may wait.
const NEWS_MAX: usize = 1_024;

/// Whether to go on for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Until stopped.
    ForGood,
    /// Until both sides agree, or nothing more can be done.
    Once,
}

/// How a run ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was to run once.
    Once(Ending),
    /// The service does not accept this device any more; what it said.
    Refused(String),
    /// The state is damaged; the next run begins afresh.
    StateDamaged(String),
}

enum Event {
    News(News),
    Listed(Result<Vec<WorkspaceInfo>, CallError>),
    Followed(WorkspaceId, Result<Binding, BindError>),
    FollowedUser(Result<Binding, BindError>),
}

/// Everything that runs on this device.
pub struct Device {
    around: Surroundings,
    link: Link,
    flags: StateReader,
    limits: LimitKeeper,
    stay: Stay,
    members: BTreeMap<WorkspaceId, Member>,
    /// Workspaces that are remembered but do not run: the user is no member any more, or their folder cannot be used.
    idle: BTreeMap<WorkspaceId, WorkspaceEntry>,
    user: Option<Binding>,
    following_user: bool,
    events: mpsc::Receiver<Event>,
    tell: mpsc::Sender<Event>,
    news: mpsc::Sender<News>,
    connected: bool,
    listed: bool,
    list_due: bool,
    offline_since: Instant,
    trouble: String,
    wishes: Wishes,
    moved_on: (Instant, u64),
    swept: Option<Instant>,
    overview: watch::Sender<Overview>,
}

impl Device {
    /// A device that begins with these workspaces.
    pub fn new(
        around: Surroundings,
        link: Link,
        flags: StateReader,
        limits: LimitKeeper,
        stay: Stay,
        remembered: Vec<(WorkspaceEntry, Loaded)>,
        overview: watch::Sender<Overview>,
    ) -> Self {
        let (tell, events) = mpsc::channel(NEWS_MAX);
        let (news, heard) = mpsc::channel(NEWS_MAX);
        tokio::spawn(forward(heard, tell.clone()));
        let mut device = Self {
            link,
            around,
            flags,
            limits,
            stay,
            members: BTreeMap::new(),
            idle: BTreeMap::new(),
            user: None,
            following_user: false,
            events,
            tell,
            news,
            connected: false,
            listed: false,
            list_due: true,
            offline_since: Instant::now(),
            trouble: String::new(),
            wishes: Wishes::default(),
            moved_on: (Instant::now(), 0),
            swept: None,
            overview,
        };
        for (entry, loaded) in remembered {
            device.start(entry, loaded);
        }
        device.reserve_folders();
        device
    }

    /// Runs until the end. Dropping the future stops everything; what was under way is observed again by the next run.
    pub async fn run(mut self) -> End {
        self.read_flags().await;
        let (wishes, attention) = (self.wishes, self.attention());
        for member in self.members.values_mut() {
            lists::begin(member, wishes, attention).await;
        }
        let mut line = self.link.service().broker().state();
        let mut trouble = self.around.shared.state.trouble();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let state = line.borrow_and_update().clone();
        let mut end = self.line_changed(&state).await;
        loop {
            if let Some(end) = end.or_else(|| self.once()) {
                self.keep_snapshots().await;
                if self.sweep_is_due() {
                    // A device that only ever runs once would otherwise never come to it.
                    let _ = self.sweep().await;
                }
                return end;
            }
            let changed = self.around.changed.clone();
            end = tokio::select! {
                Ok(()) = line.changed() => {
                    let state = line.borrow_and_update().clone();
                    self.line_changed(&state).await
                }
                Some(event) = self.events.recv() => {
                    self.take(event).await;
                    None
                }
                () = changed.notified() => {
                    self.mind_held().await;
                    None
                }
                Ok(()) = trouble.changed() => self.state_troubled(&trouble.borrow_and_update().clone()),
                _ = tick.tick() => {
                    self.tick().await;
                    None
                }
            };
            self.overview.send_replace(self.look());
        }
    }

    async fn line_changed(&mut self, state: &ConnectionState) -> Option<End> {
        match state {
            ConnectionState::Connected => self.connect().await,
            ConnectionState::Waiting { trouble: Trouble::Rejected { status: 401 | 403, text }, .. } => {
                return Some(End::Refused(refusal_text(text)));
            }
            ConnectionState::Waiting { trouble: Trouble::Unreachable(text), .. } => self.disconnect(text.clone()).await,
            ConnectionState::Waiting { trouble, .. } => self.disconnect(trouble.to_string()).await,
            ConnectionState::Connecting => self.disconnect(String::new()).await,
            ConnectionState::Closed => self.disconnect("the connection is closed".into()).await,
        }
        None
    }

    async fn connect(&mut self) {
        self.connected = true;
        self.list_due = true;
        self.trouble.clear();
        for member in self.members.values().filter(|member| member.binding.is_some()) {
            member.online().await;
        }
        self.try_again();
    }

    async fn disconnect(&mut self, trouble: String) {
        if self.connected {
            self.connected = false;
            self.offline_since = Instant::now();
            for member in self.members.values() {
                member.inputs.send(Input::Offline).await;
            }
        }
        if !trouble.is_empty() {
            tracing::info!("not connected: {trouble}");
            self.trouble = trouble;
        }
    }

    /// Asks for what is not known or followed yet.
    fn try_again(&mut self) {
        if !self.connected {
            return;
        }
        let tell = self.tell.clone();
        if std::mem::take(&mut self.list_due) {
            let service = self.link.service().clone();
            let tell = tell.clone();
            tokio::spawn(async move { tell.send(Event::Listed(service.workspaces().await)).await });
        }
        let broker = self.link.service().broker();
        if self.user.is_none() && !self.following_user {
            self.following_user = true;
            let (broker, news, tell) = (broker.clone(), self.news.clone(), tell.clone());
            let user = UserId(self.around.config.user_id);
            tokio::spawn(async move { tell.send(Event::FollowedUser(follow_user(&broker, user, news).await)).await });
        }
        for (&id, member) in &mut self.members {
            if member.binding.is_none() && !member.following {
                member.following = true;
                let (broker, news, tell) = (broker.clone(), self.news.clone(), tell.clone());
                tokio::spawn(async move { tell.send(Event::Followed(id, follow_workspace(&broker, id, news).await)).await });
            }
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::News(News::Moved(id, notice)) => {
                if let Some(member) = self.members.get(&id) {
                    member.inputs.send(Input::Noticed(notice)).await;
                }
            }
            Event::News(News::Workspaces) => {
                self.list_due = true;
                self.try_again();
            }
            Event::Listed(Ok(found)) => self.take_list(found).await,
            Event::Listed(Err(error)) => {
                self.list_due = true;
                self.trouble = format!("the service does not tell the workspaces: {error}");
            }
            Event::Followed(id, outcome) => self.followed(id, outcome).await,
            Event::FollowedUser(outcome) => self.followed_user(outcome),
        }
    }

    fn followed_user(&mut self, outcome: Result<Binding, BindError>) {
        self.following_user = false;
        match outcome {
            Ok(binding) => {
                self.user = Some(binding);
                // What changed between the list that was asked for and now was told to nobody here.
                self.list_due = true;
                self.try_again();
            }
            // Tried again with the next tick; until then the list is asked for at each connection.
            Err(error) => tracing::debug!("cannot follow the user: {error}"),
        }
    }

    async fn followed(&mut self, id: WorkspaceId, outcome: Result<Binding, BindError>) {
        let connected = self.connected;
        let Some(member) = self.members.get_mut(&id) else { return };
        member.following = false;
        match outcome {
            Ok(binding) => {
                member.binding = Some(binding);
                if connected {
                    member.online().await;
                }
            }
            Err(error) => self.trouble = format!("cannot follow the workspace '{}': {error}", member.entry.name),
        }
    }

    async fn tick(&mut self) {
        self.read_flags().await;
        self.limits.look(LocalTime::now());
        self.mind_held().await;
        self.try_again();
        self.keep_snapshots().await;
        if self.sweep_is_due() {
            drop(self.sweep());
        }
    }

    fn sweep_is_due(&self) -> bool {
        self.swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY)
            && self.members.values().all(|member| member.status.borrow().settled)
    }

    /// Old trash goes, and what a killed run left behind.
    fn sweep(&mut self) -> JoinHandle<()> {
        self.swept = Some(Instant::now());
        let folders = self.around.folders.clone();
        let disks: Vec<_> = self.members.values().map(|member| member.disk.clone()).collect();
        tokio::task::spawn_blocking(move || {
            disks.iter().for_each(|disk| {
                disk.tidy();
            });
            if let Err(error) = folders.trash().sweep(crate::disk::TrashLimits::default(), std::time::SystemTime::now()) {
                tracing::warn!("cannot go through the trash: {error}");
            }
        })
    }

    fn state_troubled(&mut self, trouble: &Option<WriteError>) -> Option<End> {
        match trouble {
            None => {
                self.trouble.clear();
                None
            }
            Some(WriteError::NotNow(text)) => {
                self.trouble = format!("the state cannot be written: {text}");
                tracing::warn!("{}", self.trouble);
                None
            }
            Some(WriteError::Damaged(text)) => Some(End::StateDamaged(text.clone())),
        }
    }
}

async fn forward(mut heard: mpsc::Receiver<News>, tell: mpsc::Sender<Event>) {
    while let Some(news) = heard.recv().await {
        if tell.send(Event::News(news)).await.is_err() {
            return;
        }
    }
}
