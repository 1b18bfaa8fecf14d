//! Join codes, with what a person needs to use one.

use super::print::moment;
use super::{Admin, Failure};
use crate::accounts::secret::JoinCode;
use crate::config::value::show_time;
use crate::data_dir::server_file::ServerFile;
use crate::db::{UnixMs, User};
use crate::{process, secrets};
use serde_json::{Value, json};

/// A join code and where to use it.
pub struct Invitation {
    /// With the certificate's fingerprint, if the service made that itself.
    code: String,
    url: String,
    expires_at: UnixMs,
    server_runs: bool,
    valid_for: String,
}

impl Admin<'_> {
    /// A code that joins one more device of this user.
    pub async fn invite(&self, user: &User) -> Result<Invitation, Failure> {
        let code = JoinCode::random().map_err(Failure::command)?;
        let (url, fingerprint, server_runs) = match ServerFile::read(&self.data) {
            Some(server) => (server.url, server.fingerprint, true),
            None => {
                let certificate = secrets::certificate(&self.config.tls, &self.db, &self.data).await?;
                let fingerprint = certificate.and_then(|certificate| certificate.fingerprint);
                (process::url(self.config, self.config.listen), fingerprint, false)
            }
        };
        let lifetime = self.config.join_lifetime;
        let expires_at = UnixMs(UnixMs::now().0.saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)));
        self.db.add_join_code(user.id, code.hash(), expires_at).await?;
        let code = fingerprint.map_or_else(|| code.to_string(), |fingerprint| format!("{code}.{fingerprint}"));
        Ok(Invitation { code, url, expires_at, server_runs, valid_for: show_time(lifetime) })
    }
}

impl Invitation {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "Join a device within {}, on this or another computer, with a folder of your choice:\n\n  stacksync join {} {} DIR\n",
            self.valid_for, self.url, self.code
        );
        if !self.server_runs {
            text.push_str("\nThe service does not run at the moment; start it first: stacksync-server\n");
        }
        text
    }

    /// Adds the members for programs.
    pub fn add_to(&self, json: &mut Value) {
        json["join_code"] = json!(self.code);
        json["url"] = json!(self.url);
        json["expires_at"] = json!(moment(self.expires_at));
        json["join_command"] = json!(format!("stacksync join {} {}", self.url, self.code));
    }
}
