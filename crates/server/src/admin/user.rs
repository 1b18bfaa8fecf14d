//! `user add|list|show|quota|passwd|disable|enable|remove`.

use super::print::{moment, table};
use super::{Admin, Failure, Need, Report, device, workspace};
use crate::accounts::password;
use crate::cli::{Output, PasswordSource, UserCommand};
use crate::config::Config;
use crate::config::value::show_size;
use crate::db::{Access, DbError, NewUser, User};
use crate::storage;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};

/// Longest name and e-mail address, in bytes.
const NAME_BYTES_MAX: usize = 100;
const EMAIL_BYTES_MAX: usize = 254;
/// Passwords below this length are taken with a warning, in characters.
const PASSWORD_CHARACTERS_GOOD: usize = 8;

pub async fn run(config: &Config, command: &UserCommand) -> Result<String, Failure> {
    match command {
        UserCommand::Add { name, email, quota, password, output } => {
            check_name(name)?;
            check_email(email)?;
            let password_phc = if password.password_stdin { Some(read_password(*password)?) } else { None };
            let admin = Admin::open(config, Need::Place).await?;
            let quota_limit = quota.unwrap_or(config.quota_default);
            let new = NewUser { name: name.clone(), email: email.clone(), quota_limit, password_phc };
            add(&admin, new).await.map(|report| report.print(*output))
        }
        UserCommand::List { output } => list(&Admin::open(config, Need::Data).await?).await.map(|report| report.print(*output)),
        UserCommand::Show { user, output } => {
            show(&Admin::open(config, Need::Data).await?, user).await.map(|report| report.print(*output))
        }
        UserCommand::Quota { user, quota, output } => {
            let text = format!("may keep {} now.", show_size(*quota));
            let admin = Admin::open(config, Need::Data).await?;
            let found = admin.user(user).await?;
            admin.db.set_quota(found.id, *quota).await?;
            changed(&admin, &found, &text, *output).await
        }
        UserCommand::Passwd { user, password, output } => {
            let admin = Admin::open(config, Need::Data).await?;
            let found = admin.user(user).await?;
            admin.db.set_password(found.id, Some(read_password(*password)?)).await?;
            changed(&admin, &found, "has a new password.", *output).await
        }
        UserCommand::Disable { user, output } => {
            set_access(config, user, Access::Disabled, "is locked out; connected devices are turned away within seconds.", *output)
                .await
        }
        UserCommand::Enable { user, output } => set_access(config, user, Access::Allowed, "is let in again.", *output).await,
        UserCommand::Remove { user, yes, output } => {
            let admin = Admin::open(config, Need::Data).await?;
            let found = admin.user(user).await?;
            if !yes {
                confirm(&found)?;
            }
            remove(&admin, found).await.map(|report| report.print(*output))
        }
    }
}

async fn add(admin: &Admin<'_>, new: NewUser) -> Result<Report, Failure> {
    let (name, email) = (new.name.clone(), new.email.clone());
    let user = admin.db.add_user(new).await.map_err(|error| match error {
        DbError::NameTaken => {
            Failure::command(format!("there is a user '{name}' already; invite one more device with 'device invite {name}'"))
        }
        DbError::EmailTaken => Failure::command(format!("there is a user with the e-mail address '{email}' already")),
        other => other.into(),
    })?;
    let invitation = admin.invite(&user).await?;
    let mut json = describe(&user);
    invitation.add_to(&mut json);
    Ok(Report { text: format!("Added user {} ({}).\n{}", user.name, user.id, invitation.text()), json })
}

async fn list(admin: &Admin<'_>) -> Result<Report, Failure> {
    let users = admin.db.users().await?;
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            let used = format!("{} of {}", show_size(user.quota_used), show_size(user.quota_limit));
            [user.name.clone(), user.email.clone(), used, access_word(user.access).to_owned(), user.id.to_string()]
        })
        .collect();
    let empty = "There are no users yet; add one with: stacksync-server user add NAME --email ADDRESS";
    let text = table(["NAME", "E-MAIL", "USED", "ACCESS", "ID"], &rows, empty);
    Ok(Report { text, json: users.iter().map(describe).collect() })
}

async fn show(admin: &Admin<'_>, text: &str) -> Result<Report, Failure> {
    let user = admin.user(text).await?;
    let workspaces = admin.db.workspaces_of(user.id).await?;
    let devices = admin.db.devices(user.id).await?;
    let mut json = describe(&user);
    json["workspaces"] = workspaces.iter().map(workspace::describe).collect();
    json["devices"] = devices.iter().map(device::describe).collect();
    let text = format!(
        "Name:     {}\nE-mail:   {}\nId:       {}\nUsed:     {} of {}\nAccess:   {}\nPassword: {}\nAdded:    {}\n\n{}\n{}",
        user.name,
        user.email,
        user.id,
        show_size(user.quota_used),
        show_size(user.quota_limit),
        access_word(user.access),
        if user.password_phc.is_some() { "set" } else { "none" },
        moment(user.created_at),
        workspace::listed(&workspaces),
        device::listed(&devices),
    );
    Ok(Report { text, json })
}

async fn set_access(config: &Config, text: &str, access: Access, done: &str, output: Output) -> Result<String, Failure> {
    let admin = Admin::open(config, Need::Data).await?;
    let user = admin.user(text).await?;
    admin.db.set_access(user.id, access).await?;
    changed(&admin, &user, done, output).await
}

/// The user as he is after a change.
async fn changed(admin: &Admin<'_>, user: &User, done: &str, output: Output) -> Result<String, Failure> {
    let now = admin.user(&user.id.to_string()).await?;
    Ok(Report { text: format!("User {} {done}\n", now.name), json: describe(&now) }.print(output))
}

async fn remove(admin: &Admin<'_>, user: User) -> Result<Report, Failure> {
    // A storage that is away keeps the user: his chunks would stay for ever.
    let storage = storage::open(admin.config, &admin.data, &admin.db).await?;
    let containers = admin.db.remove_user(user.id).await?;
    for container in &containers {
        let removed = storage.remove(*container).await;
        removed
            .map_err(|error| Failure::command(format!("user {} is removed, but some of his chunks are not: {error}", user.name)))?;
    }
    let text = format!("Removed user {} with {} workspace(s). What is on his devices stays there.\n", user.name, containers.len());
    let workspaces: Vec<String> = containers.iter().map(ToString::to_string).collect();
    Ok(Report { text, json: json!({ "user_id": user.id.to_string(), "name": user.name, "removed_workspaces": workspaces }) })
}

fn describe(user: &User) -> Value {
    json!({
        "user_id": user.id.to_string(),
        "name": user.name,
        "email": user.email,
        "quota_limit": user.quota_limit,
        "quota_used": user.quota_used,
        "disabled": user.access == Access::Disabled,
        "has_password": user.password_phc.is_some(),
        "created_at": moment(user.created_at),
    })
}

const fn access_word(access: Access) -> &'static str {
    match access {
        Access::Allowed => "yes",
        Access::Disabled => "disabled",
    }
}

/// A name must be told from an address and an id, and be printable on a line.
fn check_name(name: &str) -> Result<(), Failure> {
    let good = !name.trim().is_empty()
        && name == name.trim()
        && name.len() <= NAME_BYTES_MAX
        && !name.contains('@')
        && !name.chars().any(char::is_control)
        && uuid::Uuid::parse_str(name).is_err();
    let problem = || {
        Failure::command(format!(
            "'{}' cannot be a name: it needs 1 to {NAME_BYTES_MAX} bytes, no '@', and must not be an id",
            name.escape_debug()
        ))
    };
    if good { Ok(()) } else { Err(problem()) }
}

fn check_email(email: &str) -> Result<(), Failure> {
    let good = email.len() <= EMAIL_BYTES_MAX
        && email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
        && !email.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    let problem = || Failure::command(format!("'{}' is not an e-mail address; write e.g. anna@example.org", email.escape_debug()));
    if good { Ok(()) } else { Err(problem()) }
}

/// The hash of the password that is typed or piped in.
fn read_password(source: PasswordSource) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| Failure::command(format!("cannot read the password: {error}"));
    let password = if source.password_stdin {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
        line.trim_end_matches(['\n', '\r']).to_owned()
    } else if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("New password: ").map_err(unreadable)?;
        let again = rpassword::prompt_password("Once more: ").map_err(unreadable)?;
        if first != again {
            return Err(Failure::command("the two passwords differ; nothing was changed"));
        }
        first
    } else {
        return Err(Failure::command("there is no terminal to ask for the password; use --password-stdin"));
    };
    if password.chars().count() < PASSWORD_CHARACTERS_GOOD {
        eprintln!("Warning: a password of fewer than {PASSWORD_CHARACTERS_GOOD} characters is easy to guess.");
    }
    password::hash(&password).map_err(Failure::command)
}

/// Asks whoever sits in front of a terminal; a script means what it says.
fn confirm(user: &User) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(());
    }
    eprint!("Remove {} ({}) with all workspaces, their history and their chunks? Type the name to go on: ", user.name, user.email);
    let mut line = String::new();
    let answered = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut line));
    match answered {
        Ok(_) if line.trim() == user.name => Ok(()),
        Ok(_) | Err(_) => Err(Failure::command("nothing was removed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        for name in ["anna", "Anna Müller", "a"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", " ", " anna", "a@b", "a\nb", "6f1c8c1e-0000-4000-8000-000000000000", &"x".repeat(101)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for email in ["a@b", "anna.m@example.org"] {
            assert!(check_email(email).is_ok(), "{email}");
        }
        for email in ["", "anna", "@b", "a@", "a@b@c", "a b@c", "a@b\n"] {
            assert!(check_email(email).is_err(), "{email}");
        }
    }
}
