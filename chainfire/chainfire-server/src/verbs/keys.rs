//! `chainfire gossip keys`: made here, changed on all nodes, with a word about each.
//!
//! A node that seals with a key which another one lacks is not heard by it. So a key is used only when every node that is
//! there has it, and removed only when none of them seals with it; what would break that is refused before anything is
//! changed.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use chainfire_gossip::Key;
use chainfire_proto::v1::{
    AddKeyRequest, KeysResponse, ListKeysRequest, Member, MembersRequest, RemoveKeyRequest, State,
    UseKeyRequest, gossip_client::GossipClient,
};
use clap::{Args, Subcommand};
use futures::future::join_all;
use photon_runtime::{
    output::{Row, line, remark},
    pki::write_private,
};
use serde::Serialize;

use super::{Options, connect::Caller, members::words};
use crate::gossip::{decode, encode, random};

const EXAMPLES: &str = "Examples:
  chainfire gossip keys generate --out new.key
  chainfire gossip keys list --endpoints https://db1:2380 --ca ca.crt --token-file ada.token
  chainfire gossip keys add new.key --endpoints https://db1:2380 --ca ca.crt --token-file ada.token
  chainfire gossip keys use 5f0c22a1 --endpoints https://db1:2380 --ca ca.crt --token-file ada.token
  chainfire gossip keys remove 09e1b7d4 --endpoints https://db1:2380 --ca ca.crt --token-file ada.token";

/// What is done. All but `generate` ask a node's own port, by `--endpoints`, for the others.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Verb {
    /// Makes a random key: into a file that only its owner may read, or on stdout.
    Generate {
        /// The file; it must not be there yet.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Shows the names of each node's keys; the first is the one that it seals with.
    List(Options),
    /// Gives all nodes a key, so that they understand who uses it. The first round.
    Add {
        /// The file that holds the key.
        file: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Has all nodes seal with a key that they all have. The second round.
    Use(Named),
    /// Takes a key from all nodes that none of them seals with. The last round.
    Remove(Named),
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The key's name, as `list` shows it.
    id: String,
    #[command(flatten)]
    options: Options,
}

/// What a change is.
#[derive(Debug, Clone)]
enum Change {
    None,
    Add([u8; crate::gossip::KEY_BYTES]),
    Use(String),
    Remove(String),
}

/// What became of one node.
#[derive(Debug, Clone, Serialize)]
struct NodeRow {
    node: String,
    state: &'static str,
    keys: Vec<String>,
    error: Option<String>,
}

impl Row for NodeRow {
    const COLUMNS: &'static [&'static str] = &["NODE", "STATE", "KEYS", "ERROR"];

    fn cells(&self) -> Vec<String> {
        let error = self.error.clone().unwrap_or_else(|| "-".to_owned());
        vec![self.node.clone(), self.state.to_owned(), self.keys.join(" "), error]
    }
}

/// Does it.
pub(super) async fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Generate { out } => generate(out),
        Verb::List(options) => everywhere(&options, Change::None).await,
        Verb::Add { file, options } => {
            let text =
                fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            let key = decode(&text).with_context(|| format!("{} does not hold one key", file.display()))?;
            everywhere(&options, Change::Add(key)).await
        }
        Verb::Use(Named { id, options }) => everywhere(&options, Change::Use(id)).await,
        Verb::Remove(Named { id, options }) => everywhere(&options, Change::Remove(id)).await,
    }
}

fn generate(out: Option<PathBuf>) -> Result<()> {
    let key = random().context("the system gives no random numbers")?;
    let Some(out) = out else { return Ok(line(&encode(&key))?) };
    ensure!(!out.exists(), "{} is there already", out.display());
    write_private(&out, (encode(&key) + "\n").as_bytes())
        .with_context(|| format!("{} cannot be written", out.display()))?;
    remark(&format!("key {} is in {}", Key::new(key).id(), out.display()));
    Ok(())
}

/// Changes the keys of all nodes, or of none if that would make some deaf.
async fn everywhere(options: &Options, change: Change) -> Result<()> {
    let (scheme, members) =
        options.connect.first(async |endpoint, caller| of(options, endpoint, caller).await).await?;
    let members: Vec<Member> = members.into_iter().filter(|member| member.state() != State::Left).collect();
    let before = on_all(options, &scheme, &members, &Change::None).await;
    if let Change::None = change {
        options.output.rows(&before)?;
        return complete(&before);
    }
    if let Err(error) = allowed(&change, &before) {
        options.output.rows(&before)?;
        return Err(error.context("nothing was changed"));
    }
    let after = on_all(options, &scheme, &members, &change).await;
    options.output.rows(&after)?;
    complete(&after)
}

/// All members that a node knows, and how the others are reached.
async fn of(options: &Options, endpoint: &str, caller: Caller) -> Result<(String, Vec<Member>)> {
    let scheme = endpoint.split_once("://").map_or("https", |(scheme, _)| scheme).to_owned();
    let answer = GossipClient::new(caller).members(options.connect.request(MembersRequest {})).await?;
    Ok((scheme, answer.into_inner().members))
}

async fn on_all(options: &Options, scheme: &str, members: &[Member], change: &Change) -> Vec<NodeRow> {
    join_all(members.iter().map(|member| on_one(options, scheme, member, change))).await
}

async fn on_one(options: &Options, scheme: &str, member: &Member, change: &Change) -> NodeRow {
    let node = if member.name.is_empty() { member.address.clone() } else { member.name.clone() };
    let row = NodeRow { node, state: words(member.state()), keys: Vec::new(), error: None };
    match call(options, scheme, member, change).await {
        Ok(keys) => NodeRow { keys, ..row },
        Err(error) => NodeRow { error: Some(format!("{error:#}")), ..row },
    }
}

async fn call(options: &Options, scheme: &str, member: &Member, change: &Change) -> Result<Vec<String>> {
    let address = member.addresses.first().context("it has not told where it is reached")?;
    let connect = &options.connect;
    let mut node = GossipClient::new(connect.caller(&format!("{scheme}://{address}"))?);
    let answer = match change.clone() {
        Change::None => node.list_keys(connect.request(ListKeysRequest {})).await,
        Change::Add(key) => node.add_key(connect.request(AddKeyRequest { key: key.to_vec().into() })).await,
        Change::Use(id) => node.use_key(connect.request(UseKeyRequest { id })).await,
        Change::Remove(id) => node.remove_key(connect.request(RemoveKeyRequest { id })).await,
    };
    let KeysResponse { ids } = answer.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner();
    Ok(ids)
}

/// Whether all nodes that are there would go on understanding each other.
fn allowed(change: &Change, before: &[NodeRow]) -> Result<()> {
    let there = before.iter().filter(|row| row.state != words(State::Failed));
    let wrong = |row: &NodeRow| match change {
        Change::None | Change::Add(_) => None,
        Change::Use(_) | Change::Remove(_) if row.error.is_some() => Some("does not answer"),
        Change::Use(id) => (!row.keys.contains(id)).then_some("does not have the key; add it first"),
        Change::Remove(id) => {
            (row.keys.first() == Some(id)).then_some("seals with the key; use another one first")
        }
    };
    for row in there {
        if let Some(wrong) = wrong(row) {
            bail!("{} {wrong}", row.node);
        }
    }
    Ok(())
}

/// Fails when any node did not.
fn complete(rows: &[NodeRow]) -> Result<()> {
    let failed: Vec<_> = rows.iter().filter(|row| row.error.is_some()).map(|row| row.node.as_str()).collect();
    ensure!(failed.is_empty(), "not done on: {}", failed.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node: &str, state: State, keys: &[&str]) -> NodeRow {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        NodeRow { node: node.to_owned(), state: words(state), keys, error: None }
    }

    #[test]
    fn key_is_used_only_when_all_that_are_there_have_it() {
        let uses = Change::Use("b".to_owned());
        let both = || row("1", State::Alive, &["a", "b"]);
        assert!(allowed(&uses, &[both(), row("2", State::Suspected, &["a", "b"])]).is_ok());
        assert!(allowed(&uses, &[both(), row("2", State::Alive, &["a"])]).is_err());
        let silent = |state| NodeRow { error: Some("silent".to_owned()), ..row("2", state, &[]) };
        assert!(allowed(&uses, &[both(), silent(State::Alive)]).is_err());
        assert!(allowed(&uses, &[both(), silent(State::Failed)]).is_ok());
    }

    #[test]
    fn key_is_removed_only_when_nobody_that_is_there_seals_with_it() {
        let remove = Change::Remove("a".to_owned());
        assert!(
            allowed(&remove, &[row("1", State::Alive, &["b", "a"]), row("2", State::Alive, &["b"])]).is_ok()
        );
        assert!(
            allowed(&remove, &[row("1", State::Alive, &["b"]), row("2", State::Alive, &["a", "b"])]).is_err()
        );
    }

    #[test]
    fn node_that_did_not_is_named() {
        let failed = NodeRow { error: Some("why".to_owned()), ..row("2", State::Alive, &[]) };
        let error = complete(&[row("1", State::Alive, &[]), failed]).unwrap_err();
        assert_eq!(error.to_string(), "not done on: 2");
    }
}
