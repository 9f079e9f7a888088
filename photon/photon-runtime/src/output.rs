//! What a command line prints: columns for people or JSON for programs, from the same rows.
//!
//! One way for every binary, so that `photon` and the operator's verbs of a service look alike and can be piped alike.
//! Data goes to stdout; a reader that went away (`photon … | head`) is no error.

use std::io::{self, Write as _};

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

/// How a verb prints what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Aligned columns under a header.
    Table,
    /// JSON.
    Json,
}

/// Something that a table shows as one row.
pub trait Row: Serialize {
    /// Names of the columns.
    const COLUMNS: &'static [&'static str];

    /// This row's cells, in the columns' order.
    fn cells(&self) -> Vec<String>;
}

impl Output {
    /// Prints many rows: as a table, or as a JSON array.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn rows<R: Row>(self, rows: &[R]) -> io::Result<()> {
        match self {
            Self::Json => line(&serde_json::to_string_pretty(rows)?),
            Self::Table => line(&table(rows)),
        }
    }

    /// Prints one row: as a table of one, or as a JSON object.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn row<R: Row>(self, row: &R) -> io::Result<()> {
        match self {
            Self::Json => line(&serde_json::to_string_pretty(row)?),
            Self::Table => line(&table(std::slice::from_ref(row))),
        }
    }

    /// Prints one row of an endless list: without a header, or as one line of JSON.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn item<R: Row>(self, row: &R) -> io::Result<()> {
        match self {
            Self::Json => line(&serde_json::to_string(row)?),
            Self::Table => line(&row.cells().join("  ")),
        }
    }
}

/// Writes one line to stdout.
///
/// # Errors
/// When stdout cannot be written.
pub fn line(text: &str) -> io::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes bytes to stdout as they are.
///
/// # Errors
/// When stdout cannot be written.
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// A remark on stderr; a closed stderr leaves nobody to tell.
pub fn remark(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

fn table<R: Row>(rows: &[R]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(R::COLUMNS);
    rows.iter().for_each(|row| {
        table.add_row(row.cells());
    });
    // The preset starts each line with one space and fills the last column.
    let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair(&'static str, u32);

    impl Row for Pair {
        const COLUMNS: &'static [&'static str] = &["NAME", "COUNT"];

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_string()]
        }
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let printed = table(&[Pair("a", 1), Pair("longer", 22)]);
        assert_eq!(printed, "NAME    COUNT\na       1\nlonger  22");
    }
}
