//! `copy`: all metadata to an empty store of whichever kind.

use super::print::table;
use super::{Failure, Report};
use crate::cli::exit::Exit;
use crate::config::{Config, Datasource};
use crate::data_dir::DataDir;
use crate::db::PostgresPlace;
use crate::db::transfer::{Place, TransferError, transfer};
use serde_json::{Map, json};
use std::path::Path;

pub async fn run(config: &Config, to: &str) -> Result<Report, Failure> {
    let (from, _lock) = match &config.datasource {
        Datasource::Sqlite => {
            let data = DataDir::open(&config.data)?;
            // A service that goes on would write what is not copied any more.
            let lock = data.lock()?;
            (Place::Sqlite(data.database()), Some(lock))
        }
        Datasource::Postgresql(place) => (Place::Postgres(place.clone()), None),
    };
    let target = target(to)?;
    let copied = transfer(&from, &target).await?;
    let rows: Vec<_> = copied.iter().map(|(name, summary)| [(*name).to_owned(), summary.rows.to_string()]).collect();
    let counts: Map<_, _> = copied.iter().map(|(name, summary)| ((*name).to_owned(), json!(summary.rows))).collect();
    let text = format!(
        "Copied from {from} to {target}; counts and checksums are the same.\n\n{}\n{}",
        table(["TABLE", "ROWS"], &rows, ""),
        advice(&target)
    );
    Ok(Report { text, json: json!({ "from": from.to_string(), "to": target.to_string(), "rows": counts }) })
}

fn target(to: &str) -> Result<Place, Failure> {
    if to.starts_with("postgres://") || to.starts_with("postgresql://") {
        let place = PostgresPlace::parse(to).map_err(|error| Failure::command(format!("--to: {error}")))?;
        return Ok(Place::Postgres(Box::new(place)));
    }
    if to.contains("://") {
        return Err(Failure::command("--to takes a data directory, or an address that begins with postgres://"));
    }
    Ok(Place::Sqlite(DataDir::open_or_create(Path::new(to))?.database()))
}

fn advice(target: &Place) -> &'static str {
    match target {
        Place::Postgres(_) => {
            "Set datasource=postgresql and the postgresql.* keys, keep the data directory (chunks and keys stay there), and start the \
             service.\n"
        }
        Place::Sqlite(_) => {
            "Chunks and keys were not copied: put chunks/, tls/ and ticket.key of the data directory that the service used beside the \
             file, set datasource=sqlite, and start the service.\n"
        }
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Open(error) => Self::new(Exit::Database, error),
            other => Self::command(other),
        }
    }
}
