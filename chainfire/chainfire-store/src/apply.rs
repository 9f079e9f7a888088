//! What each command does to the state.
//!
//! Whether a command is refused is found out before it writes anything; what then comes of it cannot fail but for a
//! broken disk.

mod admin;
mod keys;
mod leases;
mod permissions;
mod roles;
mod txn;
mod users;

use std::sync::Arc;

use bytes::Bytes;
use flaredb_engine::{EngineError, NamespaceId, Transaction};
use prost::Message as _;

use crate::{
    Auth, StoreError,
    headers::Headers,
    internal::{Caller, Command, Outcome, Settings, command::Request, outcome},
    number::signed,
    refusal::{CORRUPT, KEY_NOT_FOUND},
    rows,
    store::{FIRST_REVISION, KEYS, is_corrupt},
    view::Applying,
};

pub(crate) use admin::MEMBERS_MAX;
pub(crate) use leases::LEASE_KEYS_MAX;
pub(crate) use roles::ROLES_MAX;
pub(crate) use users::USERS_MAX;

/// What came of a command.
type Effect = Result<outcome::Outcome, StoreError>;

/// What a run of commands need not read again and again.
pub(crate) struct Run<'a> {
    /// `None` before the first command.
    settings: Option<(NamespaceId, Settings)>,
    auth: Arc<Auth>,
    headers: &'a mut Headers,
}

impl<'a> Run<'a> {
    pub(crate) fn new(auth: Arc<Auth>, headers: &'a mut Headers) -> Self {
        Self { settings: None, auth, headers }
    }

    /// Users and settings as the run has left them; no settings if there was no command.
    pub(crate) fn end(self) -> (Arc<Auth>, Option<Settings>) {
        (self.auth, self.settings.map(|(_, settings)| settings))
    }

    pub(crate) fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        index: u64,
        command: &Bytes,
    ) -> Result<Outcome, EngineError> {
        let command = Command::decode(command.clone());
        let command = command.map_err(|source| EngineError::Command { index, source })?;
        let (keys, settings) = match &mut self.settings {
            Some((keys, settings)) => (*keys, settings),
            none => {
                let (keys, settings) = none.insert(begin(transaction, &mut self.auth)?);
                (*keys, settings)
            }
        };
        let (auth, headers) = (&mut self.auth, &mut *self.headers);
        let mut work = Work { transaction, keys, index, settings, auth, headers };
        let outcome = match work.dispatch(&command.caller.unwrap_or_default(), command.request) {
            Ok(outcome) => outcome,
            Err(StoreError::Refused(refusal)) => outcome::Outcome::Refused(refusal.into()),
            Err(StoreError::Engine(error)) => return Err(error),
            Err(StoreError::Installing) => return Err(EngineError::Corrupt { what: "order of commands" }),
        };
        Ok(Outcome { outcome: Some(outcome) })
    }
}

/// Reads what the first command of a run needs.
fn begin(
    transaction: &mut Transaction<'_>,
    auth: &mut Arc<Auth>,
) -> Result<(NamespaceId, Settings), EngineError> {
    let keys = transaction.ensure_namespace(KEYS, FIRST_REVISION)?;
    let settings: Settings = rows::decode(transaction.aux(keys, rows::SETTINGS)?)?;
    if !auth.is_of(&settings) {
        let read = |(start, end): (Vec<u8>, Vec<u8>), most| transaction.aux_rows(keys, &start, &end, most);
        let (users, roles) = (read(rows::users(), USERS_MAX)?, read(rows::roles(), ROLES_MAX)?);
        *auth = Arc::new(Auth::of_rows(&settings, users, roles)?);
    }
    Ok((keys, settings))
}

/// One command at work.
struct Work<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    keys: NamespaceId,
    /// Position of the command's entry.
    index: u64,
    settings: &'a mut Settings,
    auth: &'a mut Arc<Auth>,
    headers: &'a mut Headers,
}

impl<'b> Work<'_, 'b> {
    fn dispatch(&mut self, caller: &Caller, request: Option<Request>) -> Effect {
        let Some(request) = request else { return Err(KEY_NOT_FOUND.into()) };
        match request {
            Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::Compaction(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
                if is_corrupt(self.settings) =>
            {
                Err(CORRUPT.into())
            }
            Request::Put(put) => self.put(caller, &put),
            Request::DeleteRange(delete) => self.delete_range(caller, &delete),
            Request::Txn(txn) => self.txn(caller, &txn),
            Request::Compaction(compaction) => self.compact(compaction.revision),
            Request::Free(_) => self.free(),
            Request::LeaseGrant(grant) => self.grant(&grant),
            Request::LeaseRevoke(revoke) => self.revoke(caller, revoke.id),
            Request::LeaseExpire(expire) => self.expire(&expire),
            Request::BeginTerm(begin) => self.begin_term(begin.term),
            Request::LeaseCheckpoint(checkpoint) => self.checkpoint(&checkpoint),
            Request::Alarm(alarm) => self.alarm(caller, &alarm),
            Request::Member(member) => self.member(&member),
            Request::ForgetMember(forget) => self.forget_member(forget.id),
            request => self.change_auth(caller, request),
        }
    }

    /// The store's revision as the commands so far have left it.
    fn revision(&self) -> u64 {
        self.transaction.namespace(self.keys).map_or(FIRST_REVISION, |info| info.revision)
    }

    fn done(&self) -> outcome::Outcome {
        outcome::Outcome::Done(signed(self.revision()))
    }

    fn view<'s>(&'s mut self, unfinished: Option<u64>) -> Applying<'s, 'b> {
        Applying { transaction: self.transaction, keys: self.keys, unfinished }
    }

    fn begin(&self) -> Result<flaredb_engine::Revision, EngineError> {
        let info = self.transaction.namespace(self.keys);
        Ok(self.transaction.begin(info.ok_or(EngineError::Corrupt { what: "namespace of keys" })?))
    }

    fn save_settings(&mut self) {
        self.transaction.put_aux(self.keys, rows::SETTINGS, self.settings.encode_to_vec());
    }
}
