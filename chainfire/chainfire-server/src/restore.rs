//! The data folder of a new cluster's node, made of a snapshot.
//!
//! Every first member is given the same snapshot and the same members, so all begin at the same place in a log that has
//! nothing in it yet: the snapshot is what came of the entries before. A member that is added later gets it from them.

use std::{
    fs::{self, File},
    io::BufReader,
    path::PathBuf,
};

use clap::Parser;
use flaredb_engine::{Durability, Engine, Options, RegionId};
use flaredb_node::{
    ClaimError, Identity,
    config::{DIALABLE, InitialMember, is_dialable},
};

use crate::{
    node::REGION,
    snapshot_file::{Decoder, FileError, verify},
};

/// Memory for the database while it is written.
const MEMORY_BYTES: u64 = 64 << 20;

/// What a restore must be told.
#[derive(Debug, Parser)]
pub struct Args {
    /// What `etcdctl snapshot save` has saved.
    pub snapshot: PathBuf,
    /// The folder to make: `node.data_dir` of the node. It must not be there, or be empty.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// `cluster.id` of the new cluster.
    #[arg(long, default_value = "photon")]
    pub cluster: String,
    /// `node.id` of the node.
    #[arg(long)]
    pub node_id: u64,
    /// A first member of the new cluster, as ID=URL; given once for each, this node included.
    #[arg(long = "member", required = true, value_parser = member)]
    pub members: Vec<InitialMember>,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// Into which folder.
    pub folder: PathBuf,
    /// Bytes of the snapshot.
    pub bytes: u64,
}

/// Why a snapshot was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is of no use.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is something in the folder already.
    #[error("{} has something in it already; a snapshot is restored into a new folder", .0.display())]
    Occupied(PathBuf),
    /// The folder cannot be looked at.
    #[error("{} cannot be looked at", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The node is not among the members.
    #[error("node {0} is none of the members; give --member {0}=URL as well")]
    NotAMember(u64),
    /// The folder cannot be made this node's.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The database cannot be written.
    #[error("the database cannot be written")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn member(text: &str) -> Result<InitialMember, String> {
    let (id, endpoint) = text.split_once('=').ok_or("expected ID=URL, such as 1=https://db1:2380")?;
    let id = id.parse().ok().filter(|id| *id > 0).ok_or("expected an id from 1 before the =")?;
    match is_dialable(endpoint) {
        true => Ok(InitialMember { id, endpoint: endpoint.to_owned() }),
        false => Err(format!("expected {DIALABLE} after the =")),
    }
}

/// Restores a snapshot.
///
/// # Errors
/// [`RestoreError`]; the folder is of no use then and can be removed.
pub fn restore(args: &Args) -> Result<Restored, RestoreError> {
    if !args.members.iter().any(|member| member.id == args.node_id) {
        return Err(RestoreError::NotAMember(args.node_id));
    }
    check_empty(args)?;
    let bytes = verify(File::open(&args.snapshot).map_err(FileError::from)?)?;
    let file = BufReader::new(File::open(&args.snapshot).map_err(FileError::from)?);
    let mut chunks = Decoder::new(file)?;
    Identity { node_id: args.node_id, cluster: args.cluster.clone() }.claim(&args.data_dir)?;
    let members = args.members.iter().map(|member| (member.id, member.endpoint.clone()));
    let position = flaredb_raft::Applied::beginning(members).map_err(failed)?;
    let applied = flaredb_engine::Applied { index: position.index, host: position.host };
    let options = Options { durability: Durability::Flushed, memory_bytes: MEMORY_BYTES };
    let engine = Engine::open(&args.data_dir.join("state"), options).map_err(failed)?;
    let region = engine.region(RegionId(REGION)).map_err(failed)?;
    let mut install = region.install().map_err(failed)?;
    while let Some(chunk) = chunks.next()? {
        install.write(&chunk).map_err(failed)?;
    }
    install.finish(applied).map_err(failed)?;
    region.flush().map_err(failed)?;
    Ok(Restored { folder: args.data_dir.clone(), bytes })
}

fn check_empty(args: &Args) -> Result<(), RestoreError> {
    let folder = &args.data_dir;
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RestoreError::Occupied(folder.clone())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(RestoreError::Folder { path: folder.clone(), source }),
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> RestoreError {
    RestoreError::Engine(Box::new(error))
}
