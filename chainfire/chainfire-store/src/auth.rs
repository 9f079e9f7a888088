//! Who may do what: users, their roles, and the ranges of keys that these may read and write (etcd's auth design).
//!
//! While auth is not enabled, everybody may do everything.

mod ranges;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chainfire_proto::{KeyRange, authpb::Permission, authpb::permission::Type};
use flaredb_engine::EngineError;
use prost::Message;

use crate::{
    internal::{Caller, RoleRow, Settings, UserRow},
    password,
    refusal::{
        AUTH_FAILED, AUTH_NOT_ENABLED, AUTH_OLD_REVISION, PERMISSION_DENIED, ROLE_NOT_FOUND, Refusal,
        USER_EMPTY, USER_NOT_FOUND,
    },
    rows,
};

/// The user without whom auth cannot be enabled, and the role that may do everything.
pub(crate) const ROOT: &str = "root";

/// Users, roles and permissions at one auth revision.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    pub(crate) enabled: bool,
    pub(crate) revision: u64,
    pub(crate) token_keys: Vec<Bytes>,
    pub(crate) users: BTreeMap<String, UserRow>,
    pub(crate) roles: BTreeMap<String, RoleRow>,
}

impl Auth {
    /// What the rows of users and roles say.
    pub(crate) fn of_rows(
        settings: &Settings,
        users: Vec<(Bytes, Bytes)>,
        roles: Vec<(Bytes, Bytes)>,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            enabled: settings.auth_enabled,
            revision: settings.auth_revision,
            token_keys: settings.token_keys.clone(),
            users: by_name(users)?,
            roles: by_name(roles)?,
        })
    }

    /// Whether this is what the settings speak of, so that nothing has changed since it was read.
    pub(crate) fn is_of(&self, settings: &Settings) -> bool {
        (self.enabled, self.revision, &self.token_keys)
            == (settings.auth_enabled, settings.auth_revision, &settings.token_keys)
    }

    /// Whether requests are checked.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Rises with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Keys under which tokens are good, the newest first, which is the one for new ones; at most two.
    pub fn token_keys(&self) -> &[Bytes] {
        &self.token_keys
    }

    /// Names of the users, in order.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// Names of the roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// The roles of a user, in order.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn roles_of(&self, user: &str) -> Result<&[String], Refusal> {
        self.users.get(user).map(|user| &user.roles[..]).ok_or(USER_NOT_FOUND)
    }

    /// The hash of a user's password, which another password does not have; `None`: there is no such user.
    pub fn password_hash(&self, user: &str) -> Option<&str> {
        self.users.get(user).map(|user| &user.password_hash[..])
    }

    /// What a role may do, in the order of keys.
    ///
    /// # Errors
    /// When there is no such role.
    pub fn permissions_of(&self, role: &str) -> Result<&[Permission], Refusal> {
        self.roles.get(role).map(|role| &role.permissions[..]).ok_or(ROLE_NOT_FOUND)
    }

    /// Whether this is the user's password. Takes a good part of a second of CPU time.
    ///
    /// # Errors
    /// When it is not, or nobody has to say who they are.
    pub fn authenticate(&self, user: &str, password: &str) -> Result<(), Refusal> {
        if !self.enabled {
            return Err(AUTH_NOT_ENABLED);
        }
        let row = self.users.get(user).filter(|user| !user.no_password);
        match row.is_some_and(|user| password::matches(password, &user.password_hash)) {
            true => Ok(()),
            false => Err(AUTH_FAILED),
        }
    }

    /// Whether the caller may change users, roles and the cluster.
    ///
    /// # Errors
    /// When not.
    pub fn may_administer(&self, caller: &Caller) -> Result<(), Refusal> {
        if !self.enabled {
            return Ok(());
        }
        if self.is_root(self.known(caller)?) { Ok(()) } else { Err(PERMISSION_DENIED) }
    }

    /// Whether the caller may do everything: nothing needs to be looked at.
    pub(crate) fn may_everything(&self, caller: &Caller) -> Result<bool, Refusal> {
        if !self.enabled {
            return Ok(true);
        }
        Ok(self.is_root(self.known(caller)?))
    }

    /// Whether the caller may read all of a range.
    ///
    /// # Errors
    /// When not.
    pub fn may_read(&self, caller: &Caller, range: &KeyRange) -> Result<(), Refusal> {
        self.may(caller, range, Type::Read)
    }

    /// Whether the caller may write all of a range.
    ///
    /// # Errors
    /// When not.
    pub fn may_write(&self, caller: &Caller, range: &KeyRange) -> Result<(), Refusal> {
        self.may(caller, range, Type::Write)
    }

    fn may(&self, caller: &Caller, range: &KeyRange, wanted: Type) -> Result<(), Refusal> {
        if !self.enabled {
            return Ok(());
        }
        let user = self.known(caller)?;
        if self.is_root(user) {
            return Ok(());
        }
        let granted = user.roles.iter().filter_map(|role| self.roles.get(role));
        let granted =
            granted.flat_map(|role| &role.permissions).filter(|permission| allows(permission, wanted));
        let granted =
            granted.map(|permission| KeyRange::new(permission.key.clone(), permission.range_end.clone()));
        if ranges::cover(granted.collect(), range) { Ok(()) } else { Err(PERMISSION_DENIED) }
    }

    /// The user on whose behalf something is done, if nothing has changed since it was found out who that is.
    fn known(&self, caller: &Caller) -> Result<&UserRow, Refusal> {
        if caller.user.is_empty() {
            return Err(USER_EMPTY);
        }
        if caller.auth_revision < self.revision {
            return Err(AUTH_OLD_REVISION);
        }
        self.users.get(&caller.user).ok_or(PERMISSION_DENIED)
    }

    fn is_root(&self, user: &UserRow) -> bool {
        user.roles.iter().any(|role| role == ROOT)
    }

    /// The users that have a role.
    pub(crate) fn users_with(&self, role: &str) -> BTreeSet<String> {
        let users = self.users.iter().filter(|(_, user)| user.roles.iter().any(|own| own == role));
        users.map(|(name, _)| name.clone()).collect()
    }
}

fn by_name<T: Message + Default>(rows: Vec<(Bytes, Bytes)>) -> Result<BTreeMap<String, T>, EngineError> {
    rows.into_iter().map(|(key, row)| Ok((rows::name(&key)?, rows::decode(Some(row))?))).collect()
}

fn allows(permission: &Permission, wanted: Type) -> bool {
    permission.perm_type() == Type::Readwrite || permission.perm_type() == wanted
}
