//! What the service signs and proves itself with: the key of chunk tickets, and the certificate that it made for itself.
//!
//! A service of its own keeps them as files of its data directory. Where many instances share a database they share these, too, in it:
//! the first instance brings in what its data directory has, or makes it, and all others take it from there, so that a ticket of one
//! opens the door of any other and devices find the same certificate everywhere. Never logged; wiped from memory as far as it is ours.

use crate::cli::exit::{Exit, Failure};
use crate::config::Tls;
use crate::data_dir::certificate::{self, Credentials};
use crate::data_dir::{DataDir, write_private};
use crate::db::Db;
use stacksync_chunks::ticket::{KeyError, TicketKey};
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

const TICKETS: &str = "chunk tickets";
const CERTIFICATE: &str = "certificate";
/// Of the key of tickets.
const KEY_BYTES: usize = 32;

/// Bytes that nobody else is to see.
type Secret = Zeroizing<Vec<u8>>;

/// The certificate of the HTTP door, if it has one.
pub struct Certificate {
    /// Certificate and key.
    pub credentials: Credentials,
    /// What devices must know of it, if the service made it itself.
    pub fingerprint: Option<String>,
}

/// The key of chunk tickets.
///
/// # Errors
/// If it can be neither had nor kept.
pub async fn tickets(db: &Db, data: &DataDir) -> Result<TicketKey, Failure> {
    let unusable = |error: KeyError| Failure::new(Exit::Config, error);
    let first = match own_tickets(data)? {
        Some(own) => own,
        None => random()?,
    };
    let Some(shared) = shared(db, TICKETS, first).await? else { return TicketKey::open(&data.ticket_key()).map_err(unusable) };
    let key: Zeroizing<[u8; KEY_BYTES]> = match shared.as_slice().try_into() {
        Ok(key) => Zeroizing::new(key),
        Err(_) => return Err(Failure::new(Exit::Database, "the key of chunk tickets in the database is damaged")),
    };
    Ok(TicketKey::from_bytes(*key))
}

/// The certificate that the configuration asks for, made if need be.
///
/// # Errors
/// If it cannot be had, or cannot be used.
pub async fn certificate(tls: &Tls, db: &Db, data: &DataDir) -> Result<Option<Certificate>, Failure> {
    let credentials = match tls {
        Tls::Off => return Ok(None),
        Tls::Files { certificate, key } => {
            return Ok(Some(Certificate { credentials: Credentials::read(certificate, key)?, fingerprint: None }));
        }
        Tls::SelfMade => {
            let first = match certificate::kept(data)? {
                Some(own) => own,
                None => certificate::make()?,
            };
            match shared(db, CERTIFICATE, first).await? {
                Some(pem) => Credentials::parse(&pem, Path::new("the certificate in the database"))?,
                None => {
                    let (certificate, key) = certificate::self_made(data)?;
                    Credentials::read(&certificate, &key)?
                }
            }
        }
    };
    let fingerprint = Some(credentials.fingerprint());
    Ok(Some(Certificate { credentials, fingerprint }))
}

/// Makes what this data directory has the secrets of all instances on a database, unless they have some already.
///
/// # Errors
/// If it cannot be read or kept.
pub async fn bring_in(db: &Db, data: &DataDir) -> Result<(), Failure> {
    if let Some(key) = own_tickets(data)? {
        shared(db, TICKETS, key).await?;
    }
    if let Some(pem) = certificate::kept(data)? {
        shared(db, CERTIFICATE, pem).await?;
    }
    Ok(())
}

/// Puts the secrets of a database into a data directory, whose service goes on alone.
///
/// # Errors
/// If they cannot be had or kept.
pub async fn take_out(db: &Db, data: &DataDir) -> Result<(), Failure> {
    if let Some(key) = shared(db, TICKETS, random()?).await? {
        write_private(&data.ticket_key(), &key)?;
    }
    if let Some(pem) = shared(db, CERTIFICATE, certificate::make()?).await? {
        certificate::keep(data, &pem)?;
    }
    Ok(())
}

/// Makes the secrets of one database those of another one, unless that has some already.
///
/// # Errors
/// If they cannot be had or kept.
pub async fn hand_over(from: &Db, to: &Db) -> Result<(), Failure> {
    for (name, made) in [(TICKETS, random()?), (CERTIFICATE, certificate::make()?)] {
        if let Some(secret) = shared(from, name, made).await? {
            shared(to, name, secret).await?;
        }
    }
    Ok(())
}

async fn shared(db: &Db, name: &str, first: Secret) -> Result<Option<Secret>, Failure> {
    db.shared_secret(name, first).await.map_err(|error| Failure::new(Exit::Database, error))
}

/// The key of tickets that this data directory has. A damaged one must not become that of all instances.
fn own_tickets(data: &DataDir) -> Result<Option<Secret>, Failure> {
    let path = data.ticket_key();
    let key = match std::fs::read(&path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(crate::data_dir::on("read", &path)(error).into()),
    };
    if key.len() == KEY_BYTES {
        return Ok(Some(key));
    }
    let reason =
        format!("{} is damaged: a key of chunk tickets has {KEY_BYTES} bytes; remove it to have a new one", path.display());
    Err(Failure::new(Exit::Config, reason))
}

fn random() -> Result<Secret, Failure> {
    let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
    getrandom::fill(&mut key).map_err(|error| Failure::command(format!("the system gives no random bytes: {error}")))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_key_of_tickets_is_refused_before_it_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open_or_create(folder.path()).unwrap();
        assert!(own_tickets(&data).unwrap().is_none());
        write_private(&data.ticket_key(), &[7; KEY_BYTES]).unwrap();
        assert_eq!(own_tickets(&data).unwrap().unwrap().as_slice(), [7; KEY_BYTES]);
        write_private(&data.ticket_key(), &[7; KEY_BYTES - 1]).unwrap();
        let refused = own_tickets(&data).unwrap_err();
        assert!(refused.message.contains("is damaged"), "{refused}");
    }
}
