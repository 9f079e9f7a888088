//! `flaredb snapshot`: the whole cluster into a file, and a new cluster out of one.
//!
//! Saving writes beside the target and renames at the end, so a file of the right name is always a whole snapshot.
//! Restoring reads the file twice: once to prove that it is whole, then to send it.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Subcommand;
use flaredb_proto::v1::SnapshotChunk;
use futures::{TryStreamExt as _, stream};
use serde::Serialize;

use super::{
    Options,
    archive::{ArchiveError, Reader, Totals, Writer},
    output::{self, Row},
};

/// What to do with a snapshot.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Saves everything, of one moment, into a file.
    Save {
        /// The file; replaced when it is there.
        file: PathBuf,
    },
    /// Checks that a file is a whole snapshot.
    Verify {
        /// The file.
        file: PathBuf,
    },
    /// Writes a snapshot into a cluster that has no namespaces. Versions stay as they were.
    Restore {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct Saved {
    file: String,
    chunks: u64,
    bytes: u64,
}

impl Saved {
    fn new(file: &Path, totals: Totals) -> Self {
        Self { file: file.display().to_string(), chunks: totals.chunks, bytes: totals.bytes }
    }
}

impl Row for Saved {
    const COLUMNS: &'static [&'static str] = &["FILE", "CHUNKS", "BYTES"];

    fn cells(&self) -> Vec<String> {
        vec![self.file.clone(), self.chunks.to_string(), self.bytes.to_string()]
    }
}

#[derive(Serialize)]
struct Restored {
    namespaces: u64,
    records: u64,
}

impl Row for Restored {
    const COLUMNS: &'static [&'static str] = &["NAMESPACES", "RECORDS"];

    fn cells(&self) -> Vec<String> {
        vec![self.namespaces.to_string(), self.records.to_string()]
    }
}

/// Does it.
pub(crate) async fn run(verb: Verb, options: &Options) -> anyhow::Result<()> {
    match verb {
        Verb::Save { file } => save(&file, options).await,
        Verb::Verify { file } => Ok(options.output.row(&Saved::new(&file, verify(&file)?))?),
        Verb::Restore { file } => restore(&file, options).await,
    }
}

async fn save(file: &Path, options: &Options) -> anyhow::Result<()> {
    let unfinished = unfinished(file);
    let written = write(&unfinished, options).await;
    if written.is_err() {
        // What is there is no snapshot; that it could not be removed as well is the smaller news.
        drop(fs::remove_file(&unfinished));
    }
    let totals = written.with_context(|| format!("no snapshot was saved into {}", file.display()))?;
    fs::rename(&unfinished, file).with_context(|| format!("cannot replace {}", file.display()))?;
    Ok(options.output.row(&Saved::new(file, totals))?)
}

fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    file.with_file_name(name)
}

async fn write(file: &Path, options: &Options) -> anyhow::Result<Totals> {
    let client = options.connect.client().await?;
    let mut chunks = client.maintenance().save_snapshot().await?;
    let out = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut writer = Writer::new(BufWriter::new(out))?;
    while let Some(chunk) = chunks.try_next().await? {
        writer.append(&chunk)?;
    }
    let (out, totals) = writer.finish()?;
    out.into_inner()?.sync_all()?;
    Ok(totals)
}

fn verify(file: &Path) -> anyhow::Result<Totals> {
    let verified = open(file).and_then(Reader::verify);
    verified.with_context(|| format!("{} cannot be restored", file.display()))
}

fn open(file: &Path) -> Result<Reader<BufReader<File>>, ArchiveError> {
    Reader::new(BufReader::new(File::open(file)?))
}

async fn restore(file: &Path, options: &Options) -> anyhow::Result<()> {
    let totals = verify(file)?;
    output::remark(&format!(
        "{} is whole: {} bytes in {} chunks",
        file.display(),
        totals.bytes,
        totals.chunks
    ));
    let client = options.connect.client().await?;
    let restored = client.maintenance().restore_snapshot(chunks(open(file)?)).await?;
    Ok(options.output.row(&Restored { namespaces: restored.namespaces, records: restored.records })?)
}

/// The file's chunks as a stream. A file that breaks after it was verified ends the stream early, which the server
/// refuses.
fn chunks(reader: Reader<BufReader<File>>) -> impl futures::Stream<Item = SnapshotChunk> + Send + 'static {
    stream::unfold(reader, |mut reader| async {
        match reader.next_chunk() {
            Ok(chunk) => chunk.map(|chunk| (chunk, reader)),
            Err(error) => {
                output::remark(&format!("the snapshot cannot be read any further: {error}"));
                None
            }
        }
    })
}
