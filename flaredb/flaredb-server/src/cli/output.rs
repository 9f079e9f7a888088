//! Printing: columns for people, JSON for programs, from the same rows. Data goes to stdout, talk to stderr.

use std::io::{self, Write as _};

use base64::Engine as _;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

/// How a verb prints what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns under a header.
    Table,
    /// JSON.
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
    pub(crate) fn rows<R: Row>(self, rows: &[R]) -> anyhow::Result<()> {
        match self {
            Self::Json => line(&serde_json::to_string_pretty(rows)?),
            Self::Table => line(&table(rows)),
        }
    }

    /// Prints one row: as a table of one, or as a JSON object.
    pub(crate) fn row<R: Row>(self, row: &R) -> anyhow::Result<()> {
        match self {
            Self::Json => line(&serde_json::to_string_pretty(row)?),
            Self::Table => line(&table(std::slice::from_ref(row))),
        }
    }

    /// Prints one row of an endless list: without a header, or as one line of JSON.
    pub(crate) fn item<R: Row>(self, row: &R) -> anyhow::Result<()> {
        match self {
            Self::Json => line(&serde_json::to_string(row)?),
            Self::Table => line(&row.cells().join("  ")),
        }
    }
}

/// Writes one line to stdout; a reader that went away (`flaredb … | head`) is no error.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes bytes to stdout as they are; a reader that went away is no error.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A remark on stderr; a closed stderr leaves nobody to tell.
pub(crate) fn remark(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Bytes as people and programs read them: text as it is, anything else as `base64:…`.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with(BASE64) => text.to_owned(),
        _ => format!("{BASE64}{}", base64::engine::general_purpose::STANDARD.encode(bytes)),
    }
}

/// Reads what [`text`] wrote.
pub(crate) fn parse_bytes(text: &str) -> Result<bytes::Bytes, base64::DecodeError> {
    match text.strip_prefix(BASE64) {
        None => Ok(bytes::Bytes::copy_from_slice(text.as_bytes())),
        Some(encoded) => base64::engine::general_purpose::STANDARD.decode(encoded).map(Into::into),
    }
}

const BASE64: &str = "base64:";

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

    #[test]
    fn any_bytes_can_be_printed_and_given_back() {
        for bytes in [&b"/flashdns/zones"[..], b"\xff\x00", b"", b"base64:trap"] {
            assert_eq!(parse_bytes(&text(bytes)).unwrap(), bytes);
        }
    }
}
