//! Users, devices, workspaces and memberships of the original as rows of ours.

use super::Imported;
use super::source::{OldDevice, OldMember, OldUser, OldWorkspace};
use super::target::{Known, Target};
use super::tree::Tree;
use crate::db::DbError;
use crate::db::transfer::{Cell, Row};
use stacksync_core::values::Name;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The account under which the original's web client and API worked.
const WEB_USER: Uuid = Uuid::from_u128(0x9db8_3ed6_c22f_4bef_905f_4e4a_f931_d92b);
/// The name of a default workspace.
const DEFAULT_NAME: &str = "default";

/// A workspace whose items are to be taken.
pub(super) struct Workspace {
    pub id: Uuid,
    pub number: i64,
    pub owner: Uuid,
    pub is_default: bool,
}

/// Who has which number, and what is in use.
pub(super) struct People {
    users: HashMap<Uuid, i64>,
    devices: HashSet<Uuid>,
    workspaces: HashMap<Uuid, i64>,
    names: HashSet<String>,
    emails: HashSet<String>,
    /// Folders that hold other things, by workspace.
    folders: HashMap<Uuid, HashSet<i64>>,
    /// Default workspaces by owner.
    defaults: HashMap<Uuid, Uuid>,
    used: HashMap<Uuid, i64>,
    new_users: Vec<Uuid>,
    members: HashSet<(i64, i64)>,
    member_names: HashSet<(i64, String)>,
    next_user: i64,
    next_device: i64,
    next_workspace: i64,
    /// Rows of items that were written.
    pub(super) items: u64,
    /// The numbers of the workspaces that were written.
    pub(super) fresh: Vec<i64>,
}

fn text(text: &str) -> Cell {
    Cell::Text(text.replace('\0', "\u{fffd}"))
}

fn id(id: Uuid) -> Cell {
    Cell::Bytes(id.as_bytes().to_vec())
}

impl People {
    pub(super) fn of(known: &Known) -> Self {
        let next = |numbers: &mut dyn Iterator<Item = i64>| numbers.max().unwrap_or(0) + 1;
        Self {
            next_user: next(&mut known.users.values().copied()),
            next_device: known.last_device + 1,
            next_workspace: next(&mut known.workspaces.values().copied()),
            new_users: Vec::new(),
            members: known.members.clone(),
            member_names: known.member_names.clone(),
            users: known.users.clone(),
            devices: known.devices.clone(),
            workspaces: known.workspaces.clone(),
            names: known.names.clone(),
            emails: known.emails.clone(),
            folders: HashMap::new(),
            defaults: HashMap::new(),
            used: HashMap::new(),
            items: 0,
            fresh: Vec::new(),
        }
    }

    pub(super) async fn take_users(
        &mut self,
        users: Vec<OldUser>,
        target: &mut Target,
        report: &mut Imported,
    ) -> Result<(), DbError> {
        let mut rows = Vec::new();
        for user in users {
            if self.users.contains_key(&user.id) {
                report.had("users", 1);
            } else if user.id == WEB_USER {
                report.problem("the account 'web' of the original's web client is not taken; nobody would use it");
            } else {
                rows.push(self.user_row(&user, report));
            }
        }
        report.take("users", rows.len());
        target.insert("users", &rows).await
    }

    fn user_row(&mut self, user: &OldUser, report: &mut Imported) -> Row {
        let mut name = user.name.clone();
        let mut more = 1;
        while !self.names.insert(name.to_lowercase()) {
            more += 1;
            name = format!("{} {more}", user.name);
        }
        if name != user.name {
            report.problem(format!("user {}: there is another '{}'; the account was taken as '{name}'", user.id, user.name));
        }
        let mut email = user.email.to_lowercase();
        if !email.contains('@') || !self.emails.insert(email.clone()) {
            email = format!("{}@imported.invalid", user.id);
            report.problem(format!("user {} ('{name}'): '{}' is no address of its own; '{email}' was taken", user.id, user.email));
            self.emails.insert(email.clone());
        }
        let number = self.next_user;
        self.next_user += 1;
        self.users.insert(user.id, number);
        self.new_users.push(user.id);
        vec![
            Cell::Int(number),
            id(user.id),
            text(&name),
            text(&name.to_lowercase()),
            text(&email),
            Cell::Int(user.quota_limit),
            Cell::Int(0),
            Cell::Null,
            Cell::Int(0),
            Cell::Int(user.created_at),
        ]
    }

    /// They have no token of ours: nobody can come in as one of them through our own door before it joins.
    pub(super) async fn take_devices(
        &mut self,
        devices: Vec<OldDevice>,
        target: &mut Target,
        report: &mut Imported,
    ) -> Result<(), DbError> {
        let (mut rows, mut nobodys) = (Vec::new(), 0);
        for device in devices {
            if self.devices.contains(&device.id) {
                report.had("devices", 1);
                continue;
            }
            let Some(&user) = device.user.and_then(|user| self.users.get(&user)) else {
                nobodys += 1;
                continue;
            };
            let mut token = [0; 32];
            getrandom::fill(&mut token).map_err(|error| DbError::Failed(error.to_string()))?;
            rows.push(vec![
                Cell::Int(self.next_device),
                id(device.id),
                Cell::Int(user),
                Cell::Bytes(token.to_vec()),
                text(&device.name),
                text(&device.os),
                text(&device.app_version),
                text(&device.ip),
                Cell::Int(device.created_at),
                Cell::Int(device.seen_at),
                Cell::Int(0),
            ]);
            self.next_device += 1;
        }
        if nobodys > 0 {
            report.problem(format!(
                "{nobodys} device(s) of nobody, or of an account that was not taken, were not taken; their versions were"
            ));
        }
        report.take("devices", rows.len());
        target.insert("devices", &rows).await
    }

    /// Returns those whose items are to be taken.
    pub(super) async fn take_workspaces(
        &mut self,
        workspaces: &[OldWorkspace],
        members: &[OldMember],
        target: &mut Target,
        report: &mut Imported,
    ) -> Result<Vec<Workspace>, DbError> {
        let named_default: HashSet<Uuid> =
            members.iter().filter(|member| member.name == DEFAULT_NAME).map(|member| member.workspace).collect();
        let mut order: Vec<&OldWorkspace> = workspaces.iter().collect();
        // Of several that are not shared, the one that is called so is the default one.
        order.sort_by_key(|workspace| !named_default.contains(&workspace.id));
        let (mut rows, mut fresh) = (Vec::new(), Vec::new());
        for workspace in order {
            if self.workspaces.contains_key(&workspace.id) {
                report.had("workspaces", 1);
                self.defaults.entry(workspace.owner).or_insert(workspace.id);
                continue;
            }
            let Some(&owner) = self.users.get(&workspace.owner) else {
                if workspace.owner != WEB_USER {
                    report.problem(format!("workspace {}: its owner was not taken, so it was not", workspace.id));
                }
                continue;
            };
            let is_default = !workspace.is_shared && !self.defaults.contains_key(&workspace.owner);
            if is_default {
                self.defaults.insert(workspace.owner, workspace.id);
            }
            let number = self.number_workspace(workspace.id);
            rows.push(workspace_row(number, workspace.id, owner, is_default, workspace.is_encrypted));
            fresh.push(Workspace { id: workspace.id, number, owner: workspace.owner, is_default });
        }
        self.add_missing_defaults(&mut rows, &mut fresh, report);
        report.take("workspaces", rows.len());
        target.insert("workspaces", &rows).await?;
        Ok(fresh)
    }

    fn number_workspace(&mut self, id: Uuid) -> i64 {
        let number = self.next_workspace;
        self.next_workspace += 1;
        self.workspaces.insert(id, number);
        self.fresh.push(number);
        number
    }

    /// Everybody has one; its id follows from his, so that another run finds it.
    fn add_missing_defaults(&mut self, rows: &mut Vec<Row>, fresh: &mut Vec<Workspace>, report: &mut Imported) {
        // Users who were there before have theirs.
        for owner in self.new_users.clone() {
            let Some(&user) = self.users.get(&owner).filter(|_| !self.defaults.contains_key(&owner)) else { continue };
            let hash = blake3::hash(&[b"default workspace of ".as_slice(), owner.as_bytes()].concat());
            let id = uuid::Builder::from_random_bytes(*hash.as_bytes().first_chunk().unwrap_or(&[0; 16])).into_uuid();
            self.defaults.insert(owner, id);
            report.problem(format!("user {owner} has no default workspace; an empty one was made"));
            let number = self.number_workspace(id);
            rows.push(workspace_row(number, id, user, true, false));
            fresh.push(Workspace { id, number, owner, is_default: true });
        }
    }

    /// Writes the items of a workspace, its revision, and what its owner uses.
    pub(super) async fn take_tree(
        &mut self,
        workspace: &Workspace,
        tree: Tree,
        target: &mut Target,
        report: &mut Imported,
    ) -> Result<(), DbError> {
        let taken = target.taken(&tree.items).await?;
        if !taken.is_empty() {
            // Their ids are used by others; without them the history of the workspace would have gaps.
            return Err(DbError::Failed(format!("items of workspace {} have ids that are in use: {taken:?}", workspace.id)));
        }
        target.insert("items", &tree.items).await?;
        target.insert("past_versions", &tree.past).await?;
        target.run(&format!("UPDATE workspaces SET revision = {} WHERE number = {}", tree.revision, workspace.number)).await?;
        report.take("items", tree.items.len());
        report.take("versions", tree.items.len() + tree.past.len());
        self.items += tree.items.len() as u64;
        let used = self.used.entry(workspace.owner).or_default();
        *used = used.saturating_add(tree.used);
        self.folders.insert(workspace.id, tree.folders);
        Ok(())
    }

    /// Writes who is a member of the workspaces that were taken; every owner is.
    pub(super) async fn take_members(
        &mut self,
        members: &[OldMember],
        fresh: &[Workspace],
        target: &mut Target,
        report: &mut Imported,
    ) -> Result<(), DbError> {
        let taken: HashMap<Uuid, &Workspace> = fresh.iter().map(|workspace| (workspace.id, workspace)).collect();
        let mut rows = Vec::new();
        // Default workspaces first: their name is theirs.
        for workspace in fresh.iter().filter(|workspace| workspace.is_default) {
            rows.extend(self.member_row(workspace, workspace.owner, DEFAULT_NAME, None, report));
        }
        for member in members {
            let Some(workspace) = taken.get(&member.workspace) else {
                if self.workspaces.contains_key(&member.workspace) {
                    report.had("memberships", 1);
                }
                continue;
            };
            let default = self.defaults.get(&member.user).and_then(|default| self.folders.get(default));
            let parent = member.parent.filter(|parent| default.is_some_and(|folders| folders.contains(parent)));
            if member.parent.is_some() && parent.is_none() {
                report.problem(format!(
                    "workspace {} of user {}: its folder is not there; it is at the top",
                    member.workspace, member.user
                ));
            }
            rows.extend(self.member_row(workspace, member.user, &member.name, parent, report));
        }
        for workspace in fresh {
            rows.extend(self.member_row(workspace, workspace.owner, "Workspace", None, report));
        }
        report.take("memberships", rows.len());
        target.insert("memberships", &rows).await
    }

    /// `None` if he is a member already, or was not taken.
    fn member_row(
        &mut self,
        workspace: &Workspace,
        user: Uuid,
        name: &str,
        parent: Option<i64>,
        report: &mut Imported,
    ) -> Option<Row> {
        let Some(&number) = self.users.get(&user) else {
            if user != WEB_USER {
                report.problem(format!("workspace {}: its member {user} was not taken", workspace.id));
            }
            return None;
        };
        if !self.members.insert((number, workspace.number)) {
            return None;
        }
        let mut chosen = Name::new(name).or_else(|_| Name::new(&format!("Workspace {}", workspace.number))).ok()?;
        if !self.member_names.insert((number, chosen.key().as_str().to_owned())) {
            let other = Name::new(&format!("{:.200} {}", chosen.as_str(), workspace.number)).ok()?;
            report.problem(format!("user {user} has two workspaces '{chosen}'; one was taken as '{other}'"));
            self.member_names.insert((number, other.key().as_str().to_owned()));
            chosen = other;
        }
        Some(vec![
            Cell::Int(number),
            Cell::Int(workspace.number),
            text(chosen.as_str()),
            text(chosen.key().as_str()),
            parent.map_or(Cell::Null, Cell::Int),
        ])
    }

    /// Writes what everybody uses.
    pub(super) async fn finish(&self, target: &mut Target) -> Result<(), DbError> {
        for (owner, used) in &self.used {
            if let Some(number) = self.users.get(owner) {
                target.run(&format!("UPDATE users SET quota_used = quota_used + {used} WHERE number = {number}")).await?;
            }
        }
        Ok(())
    }
}

fn workspace_row(number: i64, workspace: Uuid, owner: i64, is_default: bool, is_encrypted: bool) -> Row {
    vec![
        Cell::Int(number),
        id(workspace),
        Cell::Int(owner),
        Cell::Int(is_default.into()),
        Cell::Int(is_encrypted.into()),
        Cell::Int(0),
    ]
}
