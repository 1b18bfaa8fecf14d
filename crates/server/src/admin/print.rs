//! What commands print: lines for people, or one JSON value.

use crate::cli::Output;
use serde_json::Value;

/// A result in both forms.
pub struct Report {
    /// For people; ends with a line break.
    pub text: String,
    /// For programs.
    pub json: Value,
}

impl Report {
    /// In the form that was asked for.
    pub fn print(self, output: Output) -> String {
        if output.json { format!("{}\n", self.json) } else { self.text }
    }
}

/// Columns as wide as what is in them, under their heads; `empty` where there are no rows.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]], empty: &str) -> String {
    if rows.is_empty() {
        return format!("{empty}\n");
    }
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].len()]).max().unwrap_or(0)
    });
    let heads = heads.map(str::to_owned);
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A time as text for people and programs: RFC 3339, UTC, in seconds.
pub fn moment(time: crate::db::UnixMs) -> String {
    let seconds = time::OffsetDateTime::from_unix_timestamp(time.0.div_euclid(1_000)).ok();
    seconds.and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let rows = [["anna".to_owned(), "1 GiB".to_owned()], ["é".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "QUOTA"], &rows, "none"), "NAME  QUOTA\nanna  1 GiB\né\n");
        assert_eq!(table(["NAME"], &[], "There are no users."), "There are no users.\n");
        assert_eq!(moment(crate::db::UnixMs(1_420_167_845_123)), "2015-01-02T03:04:05Z");
    }
}
