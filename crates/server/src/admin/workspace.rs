//! `workspace add|list`.

use super::print::table;
use super::{Admin, Failure, Need, Report};
use crate::cli::WorkspaceCommand;
use crate::config::Config;
use crate::db::{DbError, Role, WorkspaceView};
use serde_json::{Value, json};
use stacksync_core::values::Name;

pub async fn run(config: &Config, command: &WorkspaceCommand) -> Result<String, Failure> {
    let admin = Admin::open(config, Need::Data).await?;
    match command {
        WorkspaceCommand::Add { user, path, output } => add(&admin, user, path).await.map(|report| report.print(*output)),
        WorkspaceCommand::List { user, output } => list(&admin, user.as_deref()).await.map(|report| report.print(*output)),
    }
}

async fn add(admin: &Admin<'_>, user: &str, path: &str) -> Result<Report, Failure> {
    let name = Name::new(path.trim_matches('/')).map_err(|error| {
        Failure::command(format!(
            "'{path}' cannot be the folder of a workspace: {error}; it stands at the top of the user's folder"
        ))
    })?;
    let user = admin.user(user).await?;
    let added = admin.db.add_workspace(user.id, name, None).await.map_err(|error| match error {
        DbError::WorkspaceNameTaken => {
            Failure::command(format!("{} has a workspace '{path}' already; choose another name with --path", user.name))
        }
        other => other.into(),
    })?;
    let mut json = describe(&added);
    json["user_id"] = json!(user.id.to_string());
    Ok(Report { text: format!("Added workspace '{}' ({}) for {}.\n", added.name.as_str(), added.id, user.name), json })
}

async fn list(admin: &Admin<'_>, user: Option<&str>) -> Result<Report, Failure> {
    let users = match user {
        Some(text) => vec![admin.user(text).await?],
        None => admin.db.users().await?,
    };
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for user in users {
        for view in admin.db.workspaces_of(user.id).await? {
            let [name, role, revision, id] = row(&view);
            rows.push([user.name.clone(), name, role, revision, id]);
            let mut described = describe(&view);
            described["user_id"] = json!(user.id.to_string());
            described["user"] = json!(user.name);
            json.push(described);
        }
    }
    let text = table(["USER", "NAME", "ROLE", "REVISION", "ID"], &rows, "There are no workspaces.");
    Ok(Report { text, json: json.into() })
}

/// The workspaces of one user, for people.
pub fn listed(workspaces: &[WorkspaceView]) -> String {
    let rows: Vec<_> = workspaces.iter().map(row).collect();
    table(["WORKSPACE", "ROLE", "REVISION", "ID"], &rows, "There are no workspaces.")
}

fn row(view: &WorkspaceView) -> [String; 4] {
    [view.name.as_str().to_owned(), role_word(view.role).to_owned(), view.revision.to_string(), view.id.to_string()]
}

/// A workspace, for programs.
pub fn describe(view: &WorkspaceView) -> Value {
    json!({
        "workspace_id": view.id.to_string(),
        "name": view.name.as_str(),
        "owner_id": view.owner.to_string(),
        "role": role_word(view.role),
        "revision": view.revision.0,
        "default": view.is_default,
        "shared": view.is_shared,
    })
}

const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Member => "member",
    }
}
