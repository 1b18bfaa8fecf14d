//! What all instances on a database sign and prove themselves with. Never in a message, never in a log.

use super::link::{Link, Stop, query};
use super::rows::{column, damaged};
use crate::db::DbError;
use zeroize::Zeroizing;

/// The secret of this name: what the database has, or else `first`, which it has from now on. Of many that ask at once all get the same.
pub(super) async fn shared(link: &Link, name: &str, first: &Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Stop<DbError>> {
    let sql = query!("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", TEXT, BYTEA);
    link.run(&sql, &[&name, &first.as_slice()]).await?;
    let row = link.first(&query!("SELECT value FROM secrets WHERE name = $1", TEXT), &[&name]).await?;
    let row = row.ok_or_else(|| damaged("a secret is gone as soon as it was kept"))?;
    Ok(Zeroizing::new(column::<&[u8]>(&row, 0)?.to_vec()))
}
