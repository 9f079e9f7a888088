//! Printing: a table for people, JSON for programs, from the same rows.

use std::io::{self, Write as _};

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

/// How a verb prints what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns under a header.
    Table,
    /// One JSON document.
    Json,
}

/// Something that a table shows as one row.
pub(crate) trait Row: Serialize {
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
    pub(crate) fn rows<R: Row>(self, rows: &[R]) -> anyhow::Result<()> {
        match self {
            Self::Json => json(&rows),
            Self::Table => line(&table(rows)),
        }
    }

    /// Prints one row: as a table of one, or as a JSON object.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn row<R: Row>(self, row: &R) -> anyhow::Result<()> {
        match self {
            Self::Json => json(row),
            Self::Table => line(&table(std::slice::from_ref(row))),
        }
    }
}

/// Writes one line to stdout; a reader that went away (`photon … | head`) is no error.
///
/// # Errors
/// When stdout cannot be written for another reason.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    self::text(&format!("{text}\n"))
}

/// Writes text to stdout as it is; a reader that went away is no error.
///
/// # Errors
/// When stdout cannot be written for another reason.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

fn table<R: Row>(rows: &[R]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(R::COLUMNS);
    rows.iter().for_each(|row| {
        table.add_row(row.cells());
    });
    let lines = table.lines();
    lines
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
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
        expect_test::expect![[r#"
             NAME    COUNT
             a       1
             longer  22"#]]
        .assert_eq(&printed);
    }
}
