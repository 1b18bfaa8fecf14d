//! `copy`: all metadata to an empty store of whichever kind.

use super::print::table;
use super::{Failure, Report};
use crate::cli::exit::Exit;
use crate::config::{Config, Datasource};
use crate::data_dir::DataDir;
use crate::db::transfer::{Place, TransferError, transfer};
use crate::db::{Db, PostgresPlace};
use crate::secrets;
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
    move_secrets(config, &from, &target).await?;
    let rows: Vec<_> = copied.iter().map(|(name, summary)| [(*name).to_owned(), summary.rows.to_string()]).collect();
    let counts: Map<_, _> = copied.iter().map(|(name, summary)| ((*name).to_owned(), json!(summary.rows))).collect();
    let text = format!(
        "Copied from {from} to {target}; counts and checksums are the same.\n\n{}\n{}",
        table(["TABLE", "ROWS"], &rows, ""),
        advice(&target)
    );
    Ok(Report { text, json: json!({ "from": from.to_string(), "to": target.to_string(), "rows": counts }) })
}

/// What devices know the service by, and what opens the chunks, moves with the metadata.
async fn move_secrets(config: &Config, from: &Place, to: &Place) -> Result<(), Failure> {
    let failed = |error| Failure::new(Exit::Database, error);
    match (from, to) {
        (Place::Sqlite(_), Place::Postgres(place)) => {
            let db = Db::connect(place).await.map_err(failed)?;
            secrets::bring_in(&db, &DataDir::open(&config.data)?).await
        }
        (Place::Postgres(place), Place::Sqlite(file)) => {
            let db = Db::connect(place).await.map_err(failed)?;
            let folder = file.parent().unwrap_or(Path::new("."));
            secrets::take_out(&db, &DataDir::open(folder)?).await
        }
        (Place::Postgres(from), Place::Postgres(to)) => {
            let (from, to) = (Db::connect(from).await.map_err(failed)?, Db::connect(to).await.map_err(failed)?);
            secrets::hand_over(&from, &to).await
        }
        (Place::Sqlite(_), Place::Sqlite(_)) => Ok(()),
    }
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
            "Set datasource=postgresql and the postgresql.* keys, keep the data directory (chunks stay there), and start the service.\n"
        }
        Place::Sqlite(_) => {
            "Chunks were not copied: put chunks/ of the data directory that the service used beside the file, set datasource=sqlite, \
             and start the service.\n"
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
