//! `import`: a database of the original StackSync.

use super::print::table;
use super::recover::{self, OldPlace};
use super::{Admin, Failure, Need, Report};
use crate::cli::exit::Exit;
use crate::config::{Config, Datasource};
use crate::data_dir::DataDir;
use crate::db::PostgresPlace;
use crate::db::import::{ImportError, Imported, Told, import};
use crate::db::transfer::Place;
use crate::storage;
use serde_json::json;
use std::path::Path;

/// Where the original's chunks are, if they are to be brought.
pub struct Old<'a> {
    /// A configuration, or a directory.
    pub chunks: Option<&'a Path>,
    /// A file with passwords of workspaces.
    pub passwords: Option<&'a Path>,
}

pub async fn run(config: &Config, from: &str, told: &Told, old: &Old<'_>) -> Result<Report, Failure> {
    // Whatever is wrong with them is said before anything is taken.
    let chunks = old.chunks.map(OldPlace::open).transpose()?;
    let passwords = old.passwords.map(recover::passwords).transpose()?.unwrap_or_default();
    let source = PostgresPlace::parse(from).map_err(|error| Failure::command(format!("--from: {error}")))?;
    let data = DataDir::open_or_create(&config.data)?;
    let target = match &config.datasource {
        Datasource::Sqlite => Place::Sqlite(data.database()),
        Datasource::Postgresql(place) => Place::Postgres(place.clone()),
    };
    let imported = import(&source, &target, told).await?;
    let mut report = Report { text: text(&source, &target, told, &imported), json: json(&imported) };
    let Some(chunks) = chunks else {
        report.text.push_str("\nChunks are named, but their bytes were not brought: with --chunks they are.\n");
        return Ok(report);
    };
    let admin = Admin::open(config, Need::Place).await?;
    let storage = storage::open(config, &admin.data, &admin.db).await?;
    let done = recover::run(&admin.db, &*storage.store, &chunks, &imported.containers, &passwords).await?;
    report.text.push_str(&done.text);
    report.json["chunks"] = done.json;
    Ok(report)
}

fn text(source: &PostgresPlace, target: &Place, told: &Told, imported: &Imported) -> String {
    let names: std::collections::BTreeSet<_> = imported.taken.keys().chain(imported.there.keys()).collect();
    let count = |counts: &std::collections::BTreeMap<&'static str, u64>, name| counts.get(name).copied().unwrap_or(0).to_string();
    let rows: Vec<_> =
        names.into_iter().map(|name| [(*name).to_owned(), count(&imported.taken, name), count(&imported.there, name)]).collect();
    let mut text = format!(
        "Imported from {source} (schema: {}, moments of {}) into {target}; counts and references were checked.\n\n{}",
        imported.schema,
        told.time_zone,
        table(["WHAT", "TAKEN", "THERE BEFORE"], &rows, "Nothing.")
    );
    if !imported.problems.is_empty() {
        text.push_str("\nNot taken as it was:\n");
        for problem in &imported.problems {
            text.push_str(&format!("  {problem}\n"));
        }
        if imported.problems_more > 0 {
            text.push_str(&format!("  and {} more\n", imported.problems_more));
        }
    }
    text.push_str("\nNobody has a password yet; give each person a code with: stacksync-server device invite NAME\n");
    text
}

fn json(imported: &Imported) -> serde_json::Value {
    json!({
        "schema": imported.schema,
        "taken": imported.taken,
        "there_before": imported.there,
        "problems": imported.problems,
        "problems_more": imported.problems_more,
    })
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Open(error) => Self::new(Exit::Database, error),
            other => Self::command(other),
        }
    }
}
