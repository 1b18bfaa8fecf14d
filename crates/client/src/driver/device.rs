//! The device: its workspaces, its connection, its person's wishes, its end.

use super::clock;
use super::ending::{self, Ending, Known, Standing};
use super::member::{self, Attention, Member, Surroundings};
use super::overview::Overview;
use super::snapshot::Snapshot;
use super::wishes::{Verdict, Wishes};
use crate::session::{Link, News, WorkspaceInfo, follow_user, follow_workspace, refusal_text};
use crate::state::{Flag, Loaded, StateReader, WorkspaceEntry, WriteError};
use objectmq::transport::Trouble;
use objectmq::{BindError, Binding, ConnectionState};
use stacksync_core::engine::{CallError, Cursor, Input};
use stacksync_core::values::{Name, UserId, WorkspaceId};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
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
    stay: Stay,
    members: BTreeMap<WorkspaceId, Member>,
    /// Workspaces that are remembered but do not run: the user is no member any more, or their folder cannot be used.
    idle: BTreeMap<WorkspaceId, WorkspaceEntry>,
    user: Option<Binding>,
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
            stay,
            members: BTreeMap::new(),
            idle: BTreeMap::new(),
            user: None,
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
            begin(member, wishes, attention).await;
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
        if self.user.is_none() {
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
            Event::FollowedUser(Ok(binding)) => self.user = Some(binding),
            // Tried again with the next tick; until then the list is asked for at each connection.
            Event::FollowedUser(Err(error)) => tracing::debug!("cannot follow the user: {error}"),
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

    /// The user's workspaces, as the service has them now: new ones begin, lost ones stop.
    async fn take_list(&mut self, found: Vec<WorkspaceInfo>) {
        self.listed = true;
        let listed: HashSet<WorkspaceId> = found.iter().map(|info| info.id).collect();
        let lost: Vec<WorkspaceId> = self.members.keys().copied().filter(|id| !listed.contains(id)).collect();
        for id in lost {
            if let Some(member) = self.members.remove(&id) {
                tracing::warn!("no longer a member of the workspace '{}'; its folder stays as it is", member.entry.name);
                self.idle.insert(id, member.entry.clone());
            }
        }
        // The default workspace first: the folders of the others are in its folder.
        let (default, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|info| info.is_default);
        for info in default.into_iter().chain(others) {
            self.meet(info).await;
        }
        self.reserve_folders();
        self.try_again();
    }

    async fn meet(&mut self, info: WorkspaceInfo) {
        if self.members.contains_key(&info.id) {
            return;
        }
        let known = self.idle.remove(&info.id);
        let mut entry = known.unwrap_or_else(|| new_entry(&info));
        entry.name.clone_from(&info.name);
        let needs_folder = !entry.is_default && entry.folder.is_empty();
        if needs_folder && let Err(text) = self.make_folder(&mut entry) {
            tracing::warn!("{text}");
            self.trouble = text;
            return;
        }
        self.around.shared.state.workspace(entry.clone()).await;
        self.around.shared.state.flush().await;
        let loaded = self.flags.load(entry.id).unwrap_or_default();
        let id = entry.id;
        self.start(entry, loaded);
        self.reserve_folders();
        let (wishes, attention) = (self.wishes, self.attention());
        if let Some(member) = self.members.get_mut(&id) {
            begin(member, wishes, attention).await;
        }
    }

    const fn attention(&self) -> Attention {
        match self.stay {
            Stay::ForGood => Attention::Lasting,
            Stay::Once => Attention::Once,
        }
    }

    fn make_folder(&self, entry: &mut WorkspaceEntry) -> Result<(), String> {
        let root = self.members.values().find(|member| member.entry.is_default);
        if let Some(member) = root.filter(|member| member.root_lost()) {
            return Err(format!("the folder {} is missing", member.disk.root().display()));
        }
        member::make_folder(&self.around.config, entry, &self.folder_names())
    }

    fn start(&mut self, entry: WorkspaceEntry, loaded: Loaded) {
        let id = entry.id;
        match Member::start(&self.around, entry.clone(), loaded) {
            Ok(member) => {
                self.members.insert(id, member);
            }
            Err(text) => {
                tracing::warn!("{text}");
                self.trouble = text;
                self.idle.insert(id, entry);
            }
        }
    }

    fn folder_names(&self) -> Vec<Name> {
        let running = self.members.values().filter_map(Member::folder_name);
        running.chain(self.idle.values().filter_map(member::folder_name)).collect()
    }

    /// The default workspace leaves the folders of the others alone.
    fn reserve_folders(&self) {
        let names: HashSet<Name> = self.folder_names().into_iter().collect();
        for member in self.members.values().filter(|member| member.entry.is_default) {
            member.disk.reserve(names.clone());
        }
    }

    async fn tick(&mut self) {
        self.read_flags().await;
        self.mind_held().await;
        self.try_again();
        self.keep_snapshots().await;
        if self.swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY)
            && self.members.values().all(|member| member.status.borrow().settled)
        {
            self.swept = Some(Instant::now());
            self.sweep();
        }
    }

    /// Old trash goes, and what a killed run left behind.
    fn sweep(&self) {
        let folders = self.around.folders.clone();
        let disks: Vec<_> = self.members.values().map(|member| member.disk.clone()).collect();
        tokio::task::spawn_blocking(move || {
            disks.iter().for_each(|disk| {
                disk.tidy();
            });
            if let Err(error) = folders.trash().sweep(crate::disk::TrashLimits::default(), std::time::SystemTime::now()) {
                tracing::warn!("cannot go through the trash: {error}");
            }
        });
    }

    async fn read_flags(&mut self) {
        let flags = match self.flags.flags() {
            Ok(flags) => flags,
            Err(error) => return tracing::warn!("{error}"),
        };
        let wishes = Wishes::of(&flags);
        if wishes.paused != self.wishes.paused {
            for member in self.members.values() {
                if wishes.paused {
                    member.inputs.pause().await;
                } else {
                    member.inputs.resume().await;
                }
            }
        }
        self.wishes = wishes;
        if flags.contains(&(Flag::Paused, Flag::WANTED)) {
            self.around.shared.state.flag(Flag::Paused, Some(Flag::IN_EFFECT)).await;
        }
    }

    async fn mind_held(&mut self) {
        let known = self.members.values().all(|member| member.status.borrow().current);
        let held = self.members.values().map(|member| member.status.borrow().held).sum();
        let input = match self.wishes.about_held(held, known && !self.members.is_empty()) {
            Verdict::Nothing => return,
            Verdict::Approve => Some(Input::Approve),
            Verdict::Restore => Some(Input::Restore),
            Verdict::Void => None,
            Verdict::More => {
                tracing::warn!("more deletions are held than were approved: see `stacksync status`, then approve again");
                None
            }
        };
        if let Some(input) = input {
            for member in self.members.values() {
                member.inputs.ask(input.clone()).await;
            }
        }
        self.wishes = Wishes { paused: self.wishes.paused, ..Wishes::default() };
        self.around.shared.state.flag(Flag::Approve, None).await;
        self.around.shared.state.flag(Flag::Restore, None).await;
        self.around.shared.state.flush().await;
    }

    fn state_troubled(&mut self, trouble: &Option<WriteError>) -> Option<End> {
        match trouble {
            None => None,
            Some(WriteError::NotNow(text)) => {
                self.trouble = format!("the state cannot be written: {text}");
                tracing::warn!("{}", self.trouble);
                None
            }
            Some(WriteError::Damaged(text)) => Some(End::StateDamaged(text.clone())),
        }
    }

    async fn keep_snapshots(&mut self) {
        let now = clock::unix_ns();
        for (&id, member) in &mut self.members {
            let snapshot = Snapshot::of(&member.status.borrow(), &self.trouble, now);
            if !snapshot.says_the_same(&member.kept) {
                self.around.shared.state.status(id, snapshot.to_json()).await;
                member.kept = snapshot;
            }
        }
    }

    /// What whoever watches is shown.
    fn look(&self) -> Overview {
        let meter = self.around.transfer.meter();
        let now = clock::unix_ns();
        let snapshot = |member: &Member| (member.entry.name.clone(), Snapshot::of(&member.status.borrow(), &self.trouble, now));
        Overview {
            connected: self.connected,
            trouble: self.trouble.clone(),
            paused: self.wishes.paused,
            sent_bytes: meter.sent_bytes(),
            received_bytes: meter.received_bytes(),
            workspaces: self.members.values().map(snapshot).collect(),
        }
    }

    fn once(&mut self) -> Option<End> {
        if self.stay == Stay::ForGood {
            return None;
        }
        let look = self.look();
        let progress = look.progress() + self.around.transfer.meter().read_bytes() + self.around.transfer.meter().written_bytes();
        if progress != self.moved_on.1 || !self.connected {
            self.moved_on = (Instant::now(), progress);
        }
        let standing = |member: &Member| {
            let status = member.status.borrow();
            let in_sync = Snapshot::of(&status, "", 0).in_sync();
            // The engine has to have heard of it too, so that its reason is told.
            let root_lost = member.root_lost() && status.problems.iter().any(|problem| problem.path.is_top());
            Standing { settled: status.settled, in_sync, root_lost }
        };
        let workspaces: Vec<Standing> = self.members.values().map(standing).collect();
        let snapshots = || look.workspaces.iter().map(|(_, snapshot)| snapshot);
        let known = Known {
            listed: self.listed && !workspaces.is_empty(),
            workspaces: &workspaces,
            paused: self.wishes.paused,
            offline: (!self.connected).then(|| self.offline_since.elapsed()),
            untrusted: self.link.is_untrusted(),
            still: self.moved_on.0.elapsed(),
            problems: !self.trouble.is_empty() || snapshots().any(|snapshot| !snapshot.problems.is_empty()),
            busy: snapshots().any(|snapshot| snapshot.uploads + snapshot.applies > 0),
        };
        ending::ending(&known).map(End::Once)
    }
}

/// A workspace that starts looks at everything; a paused device begins nothing.
async fn begin(member: &mut Member, wishes: Wishes, attention: Attention) {
    if wishes.paused {
        member.inputs.pause().await;
    }
    member.look(attention);
}

fn new_entry(info: &WorkspaceInfo) -> WorkspaceEntry {
    WorkspaceEntry {
        id: info.id,
        name: info.name.clone(),
        is_default: info.is_default,
        folder: String::new(),
        identity: String::new(),
        cursor: Cursor::default(),
        status: String::new(),
    }
}

async fn forward(mut heard: mpsc::Receiver<News>, tell: mpsc::Sender<Event>) {
    while let Some(news) = heard.recv().await {
        if tell.send(Event::News(news)).await.is_err() {
            return;
        }
    }
}
