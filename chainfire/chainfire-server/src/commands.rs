//! What a region's replica makes of ChainFire's commands, and how they are encoded.
//!
//! A command always names its caller, an unknown one by an empty name: so no command begins with the byte by which a
//! node knows its own entries, the audits.

use bytes::Bytes;
use chainfire_store::{
    Store,
    internal::{Caller, Command, command::Request},
};
use flaredb_engine::{Applied, EngineError, Entry, Region};
use flaredb_node::Commands;
use prost::Message as _;

/// The store as a host of replicas drives it.
#[derive(Debug)]
pub(crate) struct StoreCommands(pub(crate) Store);

impl Commands for StoreCommands {
    fn state(&self) -> &Region {
        self.0.region()
    }

    fn apply(&self, entries: &[Entry<'_>], applied: Applied) -> Result<Vec<Bytes>, EngineError> {
        self.0.apply(entries, applied)
    }

    fn makes_room(&self, command: &[u8]) -> bool {
        let decoded = Command::decode(command).ok().and_then(|command| command.request);
        decoded.is_some_and(|request| makes_room(&request))
    }
}

/// The command of a caller.
pub(crate) fn command(caller: Caller, request: Request) -> Command {
    Command { caller: Some(caller), request: Some(request) }
}

/// Commands that are small and let something be forgotten: how an operator gets room back.
pub(crate) fn makes_room(request: &Request) -> bool {
    matches!(
        request,
        Request::DeleteRange(_)
            | Request::Compaction(_)
            | Request::Free(_)
            | Request::LeaseRevoke(_)
            | Request::LeaseExpire(_)
            | Request::BeginTerm(_)
            | Request::LeaseCheckpoint(_)
            | Request::TokenKey(_)
            | Request::Alarm(_)
    )
}

#[cfg(test)]
mod tests {
    use chainfire_proto::etcdserverpb::{LeaseRevokeRequest, PutRequest};

    use super::*;

    #[test]
    fn no_command_is_taken_for_an_audit_of_the_node() {
        let requests = [
            Request::Put(PutRequest::default()),
            Request::LeaseRevoke(LeaseRevokeRequest::default()),
            Request::LeaseExpire(Default::default()),
        ];
        for request in requests {
            let encoded = command(Caller::default(), request).encode_to_vec();
            assert!(!flaredb_node::audit::is_audit(&encoded), "{encoded:?}");
        }
    }
}
