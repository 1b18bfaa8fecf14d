//! The peer of the service's commits: the same rows, into the same tables with the same indexes, by SQLite alone in batches. That includes
//! the rows that the service takes away again: an answer and a notice for each commit. What it updates and reads is left out.

use crate::measure::seconds;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use std::path::Path;

/// The rows of one table.
struct Table {
    name: String,
    rows: Vec<Vec<Value>>,
}

/// Seconds that SQLite needs to write all rows of `database` into a new one beside it, durably (WAL, synchronous FULL), with the rows of
/// `batch` commits in each transaction; the rows of each table are spread evenly over the transactions.
///
/// # Panics
/// If a database cannot be read or written.
pub fn write_again(database: &Path, copy: &Path, commits: usize, batch: usize) -> f64 {
    let (schema, mut tables) = read(database);
    for table in &mut tables {
        match table.name.as_str() {
            "answers" => table.rows = answers(&table.rows, commits),
            "notices" => table.rows = notices(commits),
            _ => {}
        }
    }
    let mut connection = Connection::open(copy).expect("a database can be made");
    connection.pragma_update(None, "journal_mode", "WAL").expect("WAL");
    connection.pragma_update(None, "synchronous", "FULL").expect("synchronous");
    connection.pragma_update(None, "foreign_keys", false).expect("foreign_keys");
    connection.set_prepared_statement_cache_capacity(64);
    for statement in schema {
        connection.execute_batch(&statement).expect("a table can be made");
    }
    let transactions = commits.div_ceil(batch);
    seconds(|| {
        for number in 0..transactions {
            let transaction = connection.transaction().expect("a transaction can be begun");
            for table in &tables {
                let part = |at: usize| table.rows.len() * at / transactions;
                let places = table.rows.first().map_or(0, Vec::len);
                let places = vec!["?"; places].join(",");
                for row in &table.rows[part(number)..part(number + 1)] {
                    let sql = format!("INSERT INTO {} VALUES ({places})", table.name);
                    let mut insert = transaction.prepare_cached(&sql).expect("an insert can be prepared");
                    insert.execute(params_from_iter(row)).expect("a row can be written");
                }
            }
            transaction.commit().expect("a transaction can be committed");
        }
    })
}

/// An answer for each commit, made of those that are left.
fn answers(left: &[Vec<Value>], commits: usize) -> Vec<Vec<Value>> {
    let numbered = |number: usize| {
        let mut row = left.get(number % left.len().max(1))?.clone();
        row[0] = Value::Integer(number as i64 + 1);
        row[2] = Value::Integer((number as i64).wrapping_mul(0x2545_f491_4f6c_dd1d));
        Some(row)
    };
    (0..commits).filter_map(numbered).collect()
}

/// A notice for each commit: number, kind, workspace, device, revisions, request, and nothing for the rest.
fn notices(commits: usize) -> Vec<Vec<Value>> {
    let id = |number: usize| Value::Blob((number as u128).to_be_bytes().to_vec());
    let revision = |number: usize| Value::Integer(number as i64);
    let row = |number: usize| {
        let request = Value::Text(uuid::Uuid::from_u128(number as u128).to_string());
        let head = [
            revision(number + 1),
            Value::Integer(1),
            id(number % 8),
            id(number % 64),
            revision(number),
            revision(number + 1),
            request,
        ];
        head.into_iter().chain([Value::Null, Value::Null]).collect()
    };
    (0..commits).map(row).collect()
}

fn read(database: &Path) -> (Vec<String>, Vec<Table>) {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database can be read");
    let mut all = connection
        .prepare("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
        .expect("the schema can be read");
    let objects: Vec<(String, String, String)> = all
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .and_then(Iterator::collect)
        .expect("the schema can be read");
    let tables = objects.iter().filter(|(kind, _, _)| kind == "table").map(|(_, name, _)| read_table(&connection, name)).collect();
    (objects.into_iter().map(|(_, _, sql)| sql).collect(), tables)
}

fn read_table(connection: &Connection, name: &str) -> Table {
    // Items in the order in which they came, over all workspaces.
    let order = if name == "items" { " ORDER BY revision" } else { "" };
    let mut statement = connection.prepare(&format!("SELECT * FROM {name}{order}")).expect("a table can be read");
    let columns = statement.column_count();
    let rows = statement
        .query_map([], |row| (0..columns).map(|column| row.get(column)).collect())
        .and_then(Iterator::collect)
        .expect("a table can be read");
    Table { name: name.to_owned(), rows }
}
