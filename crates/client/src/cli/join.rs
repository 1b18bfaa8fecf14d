//! `join` and `leave`.

use super::args::Join;
use super::exit::{Exit, Failure};
use super::out::Out;
use crate::disk::RootIdentity;
use crate::home::{Config, Home, Limits};
use crate::session::{self, Address, Connector, JoinCode};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Answer<'a> {
    server: &'a str,
    user: &'a str,
    device: &'a str,
    device_id: uuid::Uuid,
    folder: &'a Path,
}

/// Everything that can be wrong on this side is looked at before the one-time code is sent.
pub fn join(home: &Home, join: &Join, out: Out) -> Result<Exit, Failure> {
    let address: Address = join.url.parse()?;
    let code: JoinCode = join.code.parse()?;
    check_privacy(&address, &code, join.allow_plain_http)?;
    home.prepare()?;
    let root = open_root(home, &join.dir)?;
    let root_identity =
        RootIdentity::of(&root).map_err(|text| Failure::new(Exit::Other, text, "Choose a folder that you may write to."))?;
    let device_name = join.name.clone().unwrap_or_else(computer_name);
    let connector = Connector::new(address.clone(), code.fingerprint)?;
    let joined = super::runtime()?.block_on(session::join(&connector, &code, &device_name))?;
    let config = Config {
        format: Config::FORMAT,
        server: address.to_string(),
        fingerprint: code.fingerprint.map(|fingerprint| fingerprint.to_string()),
        plain_http: join.allow_plain_http,
        user_id: joined.user_id,
        user_name: joined.user_name,
        device_id: joined.device_id,
        device_name,
        root,
        root_identity,
        limits: Limits::default(),
    };
    home.create(&config, &joined.token)?;
    let answer = Answer {
        server: &config.server,
        user: &config.user_name,
        device: &config.device_name,
        device_id: config.device_id,
        folder: &config.root,
    };
    out.answer(&answer, || {
        let Config { device_name, user_name, server, root, .. } = &config;
        let root = root.display();
        format!("This is now the device '{device_name}' of {user_name} at {server}.\n`stacksync sync` keeps {root} in sync.")
    });
    Ok(Exit::Done)
}

/// Forgets the device here. The service keeps listing it until somebody revokes it there.
pub fn leave(home: &Home, out: Out) -> Result<Exit, Failure> {
    let config = home.config();
    if let Err(error @ crate::home::HomeError::NotJoined(_)) = config {
        return Err(error.into());
    }
    let _lock = home.lock()?;
    home.forget()?;
    out.answer(&serde_json::json!({ "left": true }), || match config {
        Ok(config) => format!(
            "This device has left {}. The files in {} stay as they are.\nThe service still lists it: `stacksync-server device revoke {}` ends that.",
            config.server,
            config.root.display(),
            config.device_id
        ),
        Err(_) => "This device has left. Your files stay as they are.".to_owned(),
    });
    Ok(Exit::Done)
}

fn check_privacy(address: &Address, code: &JoinCode, allow_plain_http: bool) -> Result<(), Failure> {
    if address.encrypted() {
        return Ok(());
    }
    if code.fingerprint.is_some() {
        let advice = "Use the address that the server printed with the code, with https://.";
        return Err(Failure::new(Exit::Other, "this join code is for an encrypted connection, the address is not", advice));
    }
    if !address.is_loopback() && !allow_plain_http {
        let advice = "Use https://, or --allow-plain-http where the network in between is your own.";
        return Err(Failure::new(
            Exit::Other,
            format!("{address} is another computer, and the connection is not encrypted"),
            advice,
        ));
    }
    Ok(())
}

/// The folder as a real, absolute path; made if it does not exist. Neither it nor the home may be inside the other.
fn open_root(home: &Home, dir: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(dir).map_err(|error| unusable(dir, &error))?;
    let root = dir.canonicalize().map_err(|error| unusable(dir, &error))?;
    let home = home.dir().canonicalize().map_err(|error| unusable(home.dir(), &error))?;
    if home.starts_with(&root) || root.starts_with(&home) {
        let message = format!("the folder {} and the home {} are inside one another", root.display(), home.display());
        return Err(Failure::new(Exit::Other, message, "Choose another folder, or another place with --home."));
    }
    Ok(root)
}

fn unusable(dir: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Other, format!("cannot use {}: {error}", dir.display()), "Choose a folder that you may write to.")
}

fn computer_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "device".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str, code: &str, dir: &Path) -> Join {
        Join { url: url.into(), code: code.into(), dir: dir.to_owned(), name: Some("laptop".into()), allow_plain_http: false }
    }

    #[test]
    fn what_is_wrong_on_this_side_is_said_before_the_code_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().join("home"))).unwrap();
        let folder = dir.path().join("folder");
        let print = session::Fingerprint::of(b"x");
        for (url, code, folder, exit, text) in [
            ("localhost", "CODE", folder.clone(), Exit::Other, "must begin with http"),
            ("http://localhost:1", "", folder.clone(), Exit::Other, "not a join code"),
            ("http://10.0.0.1:1", "CODE", folder.clone(), Exit::Other, "not encrypted"),
            ("http://localhost:1", &format!("CODE.{print}"), folder.clone(), Exit::Other, "for an encrypted connection"),
            ("http://localhost:1", "CODE", dir.path().join("home/inside"), Exit::Other, "inside one another"),
            ("http://localhost:1", "CODE", dir.path().to_owned(), Exit::Other, "inside one another"),
            ("http://127.0.0.1:1", "CODE", folder.clone(), Exit::Unreachable, "cannot reach http://127.0.0.1:1"),
        ] {
            let failure = join(&home, &args(url, code, &folder), Out::Text).unwrap_err();
            assert_eq!(failure.exit, exit, "{url} {code}: {failure:?}");
            assert!(failure.message.contains(text), "{url} {code}: {failure:?}");
        }
        assert!(home.config().is_err());
    }

    #[test]
    fn leaving_needs_a_device_and_a_free_home() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().join("home"))).unwrap();
        assert!(leave(&home, Out::Text).unwrap_err().message.contains("not joined"));
        home.prepare().unwrap();
        home.create(&Config::example(dir.path()), &crate::home::Token::new("x".into())).unwrap();
        let lock = home.lock().unwrap();
        assert_eq!(leave(&home, Out::Text).unwrap_err().exit, Exit::Busy);
        drop(lock);
        assert_eq!(leave(&home, Out::Text), Ok(Exit::Done));
    }
}
