//! `import`: a database of the original StackSync.

use super::print::table;
use super::{Failure, Report};
use crate::cli::exit::Exit;
use crate::config::{Config, Datasource};
use crate::data_dir::DataDir;
use crate::db::PostgresPlace;
use crate::db::import::{ImportError, Imported, Told, import};
use crate::db::transfer::Place;
use serde_json::json;

pub async fn run(config: &Config, from: &str, told: &Told) -> Result<Report, Failure> {
    let source = PostgresPlace::parse(from).map_err(|error| Failure::command(format!("--from: {error}")))?;
    let data = DataDir::open_or_create(&config.data)?;
    let target = match &config.datasource {
        Datasource::Sqlite => Place::Sqlite(data.database()),
        Datasource::Postgresql(place) => Place::Postgres(place.clone()),
    };
    let imported = import(&source, &target, told).await?;
    Ok(Report { text: text(&source, &target, told, &imported), json: json(&imported) })
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
    text.push_str(
        "\nChunks are named, but their bytes were not brought: they are where the original has them. Nobody has a password yet; give each \
         person a code with: stacksync-server device invite NAME\n",
    );
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
