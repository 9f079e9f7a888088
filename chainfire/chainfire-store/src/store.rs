//! The store: where its parts are, how it is driven, and what there is besides keys.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chainfire_proto::etcdserverpb::{AlarmMember, AlarmType};
use flaredb_engine::{Applied, Engine, EngineError, Entry, NamespaceInfo, Region, RegionId};
use prost::Message as _;

use crate::{
    Auth, StoreError,
    apply::{LEASE_KEYS_MAX, MEMBERS_MAX, ROLES_MAX, Run, USERS_MAX},
    headers::Headers,
    internal::{LeaseRow, MemberAttributes, Settings},
    number::signed,
    refusal::{COMPACTED, CORRUPT, FUTURE_REVISION},
    rows,
};

/// The engine's namespace of all keys, and of the small rows beside them.
pub(crate) const KEYS: &str = "keys";
/// The revision of a store in which nothing has happened.
pub(crate) const FIRST_REVISION: u64 = 1;

/// ChainFire's replicated state. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    region: Region,
    known: Mutex<Known>,
    /// Held while commands are applied.
    headers: Mutex<Headers>,
}

/// What need not be read again and again.
#[derive(Debug, Default)]
struct Known {
    /// Users and roles as they were read last; whether they still are so, the settings say.
    auth: Arc<Auth>,
    /// As the last commands have left them; `None`: they have to be read.
    settings: Option<Arc<Settings>>,
    /// Which state both are of, where one replaces another.
    installs: u64,
}

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: i64,
    /// Its whole time to live.
    pub ttl_s: i64,
    /// Which grant of this number it is of.
    pub epoch: u64,
    /// How many keys go with it.
    pub keys: u64,
    /// What was left of it when a leader said so last; 0: its whole time.
    pub left_ms: u64,
}

impl Store {
    /// The store in a region, empty if that is new.
    ///
    /// # Errors
    /// When its rows are damaged.
    pub fn open(engine: &Engine, region: RegionId) -> Result<Self, EngineError> {
        Ok(Self(Arc::new(Inner {
            region: engine.region(region)?,
            known: Mutex::default(),
            headers: Mutex::default(),
        })))
    }

    /// What it is kept in, for all that any replicated state needs: position, flushes, snapshots, hashes.
    pub fn region(&self) -> &Region {
        &self.0.region
    }

    /// Applies entries that hold encoded [`Command`](crate::internal::Command)s and moves the position to `applied`, in
    /// one atomic write. The answers are encoded [`Outcome`](crate::internal::Outcome)s, and empty for entries without
    /// a command and for those that had been applied before.
    ///
    /// # Errors
    /// When the state cannot be read or written, or a command cannot be decoded: the replica can no longer be trusted.
    pub fn apply(&self, entries: &[Entry<'_>], applied: Applied) -> Result<Vec<Bytes>, EngineError> {
        let installs = self.region().installs();
        let mut headers = self.0.headers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut run = Run::new(self.known(installs).0, &mut headers);
        let answers = self.region().apply_with(entries, applied, |transaction, index, command| {
            run.apply(transaction, index, command)
        })?;
        let (auth, settings) = run.end();
        self.remember(auth, settings, installs);
        let encoded = answers.into_iter().map(|answer| answer.map(|outcome| outcome.encode_to_vec().into()));
        Ok(encoded.map(Option::unwrap_or_default).collect())
    }

    /// Calls `listener` after each apply that changed something, and after an installation. It must not block.
    pub fn set_listener(&self, listener: Box<dyn Fn() + Send + Sync>) {
        self.region().set_listener(Box::new(move |_| listener()));
    }

    /// The revision of the last change; 1: there was none.
    pub fn revision(&self) -> i64 {
        signed(self.namespace().map_or(FIRST_REVISION, |info| info.revision))
    }

    /// The revision up to which history is forgotten; 0: nothing is.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn compacted(&self) -> Result<i64, StoreError> {
        Ok(self.settings()?.compacted)
    }

    /// Whether what is compacted still takes room, so that the leader is to propose
    /// [`Free`](crate::internal::Free).
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn has_to_free(&self) -> Result<bool, StoreError> {
        let Some(info) = self.namespace() else { return Ok(false) };
        Ok(signed(info.oldest_revision) < self.compacted()?)
    }

    /// A lease; `None`: there is no such one.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn lease(&self, id: i64) -> Result<Option<Lease>, StoreError> {
        let Some(info) = self.namespace() else { return Ok(None) };
        let row = self.region().aux(info.id, &rows::lease(id))?;
        Ok(row.map(|row| lease(id, row)).transpose()?)
    }

    /// The leases behind one (`None`: from the first), by number, at most `limit` of them.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn leases(&self, after: Option<i64>, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let found = self.rows(rows::leases(after), limit)?.into_iter();
        Ok(found.map(|(key, row)| lease(rows::lease_id(&key)?, row)).collect::<Result<_, EngineError>>()?)
    }

    /// The leases that were granted behind an epoch and still are, in the order of their grants, at most `limit` of them.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn granted(&self, after: u64, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let mut leases = Vec::new();
        for (_, lease) in self.rows(rows::grants(after), limit)? {
            // One that has ended meanwhile is left out.
            leases.extend(self.lease(rows::lease_id(&lease)?)?);
        }
        Ok(leases)
    }

    /// The keys that go with a lease, in order.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn lease_keys(&self, id: i64) -> Result<Vec<Bytes>, StoreError> {
        let found = self.rows(rows::lease_keys(id), LEASE_KEYS_MAX)?;
        Ok(found.iter().map(|(key, _)| rows::key_of_lease(key)).collect())
    }

    /// The term of the leader that may end leases.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn term(&self) -> Result<u64, StoreError> {
        Ok(self.settings()?.term)
    }

    /// The alarms that are raised.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn alarms(&self) -> Result<Vec<AlarmMember>, StoreError> {
        Ok(self.settings()?.alarms.clone())
    }

    /// What nodes say of themselves, by number.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn members(&self) -> Result<Vec<MemberAttributes>, StoreError> {
        let found = self.rows(rows::members(), MEMBERS_MAX)?.into_iter();
        Ok(found.map(|(_, row)| rows::decode(Some(row))).collect::<Result<_, EngineError>>()?)
    }

    /// Users, roles and permissions.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn auth(&self) -> Result<Arc<Auth>, StoreError> {
        loop {
            let installs = self.region().installs();
            let (known, settings) = (self.known(installs).0, self.settings()?);
            if known.is_of(&settings) {
                return Ok(known);
            }
            let (users, roles) = (self.rows(rows::users(), USERS_MAX)?, self.rows(rows::roles(), ROLES_MAX)?);
            // Rows of two moments would be nobody's state.
            if self.settings()? == settings && self.region().installs() == installs {
                let auth = Arc::new(Auth::of_rows(&settings, users, roles)?);
                self.remember(Arc::clone(&auth), None, installs);
                return Ok(auth);
            }
        }
    }

    /// What is known of users and of the settings, if it is of this state.
    fn known(&self, installs: u64) -> (Arc<Auth>, Option<Arc<Settings>>) {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.installs == installs {
            (Arc::clone(&known.auth), known.settings.clone())
        } else {
            Default::default()
        }
    }

    /// Keeps what commands have left, or what was read where `settings` is `None`: only who changes the settings knows
    /// that nobody has changed them since.
    fn remember(&self, auth: Arc<Auth>, settings: Option<Settings>, installs: u64) {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.installs != installs {
            *known = Known { installs, ..Known::default() };
        }
        known.auth = auth;
        if let Some(settings) = settings
            && known.settings.as_deref() != Some(&settings)
        {
            known.settings = Some(Arc::new(settings));
        }
    }

    /// `None` until the first command.
    pub(crate) fn namespace(&self) -> Option<NamespaceInfo> {
        self.region().namespace(KEYS)
    }

    pub(crate) fn settings(&self) -> Result<Arc<Settings>, StoreError> {
        if let (_, Some(settings)) = self.known(self.region().installs()) {
            return Ok(settings);
        }
        let Some(info) = self.namespace() else { return Ok(Arc::default()) };
        Ok(Arc::new(rows::decode(self.region().aux(info.id, rows::SETTINGS)?)?))
    }

    /// Refuses a revision (0: the present one) that cannot be read; returns up to which one history is forgotten.
    pub(crate) fn readable(&self, revision: i64) -> Result<i64, StoreError> {
        let settings = self.settings()?;
        if is_corrupt(&settings) {
            return Err(CORRUPT.into());
        }
        if revision > 0 && revision < settings.compacted {
            return Err(COMPACTED.into());
        }
        if revision > self.revision() { Err(FUTURE_REVISION.into()) } else { Ok(settings.compacted) }
    }

    fn rows(&self, range: (Vec<u8>, Vec<u8>), limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let Some(info) = self.namespace() else { return Ok(Vec::new()) };
        Ok(self.region().aux_rows(info.id, &range.0, &range.1, limit)?)
    }
}

fn lease(id: i64, row: Bytes) -> Result<Lease, EngineError> {
    let LeaseRow { ttl_s, epoch, keys, left_ms } = rows::decode(Some(row))?;
    Ok(Lease { id, ttl_s, epoch, keys, left_ms })
}

/// Whether replicas were found to differ, so that nothing is answered before somebody has looked.
pub(crate) fn is_corrupt(settings: &Settings) -> bool {
    settings.alarms.iter().any(|alarm| alarm.alarm() == AlarmType::Corrupt)
}
