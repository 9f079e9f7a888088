//! Users, and whether anybody is asked who they are (etcd's auth store).

use std::sync::Arc;

use bytes::Bytes;
use chainfire_proto::etcdserverpb::{AuthUserAddRequest, AuthUserChangePasswordRequest};
use prost::Message as _;

use super::{Effect, Work};
use crate::{
    StoreError,
    auth::ROOT,
    internal::{Caller, UserRow, command::Request},
    refusal::{
        INVALID_AUTH_MANAGEMENT, KEY_NOT_FOUND, REQUEST_TOO_LARGE, ROLE_NOT_FOUND, ROLE_NOT_GRANTED,
        ROOT_ROLE_MISSING, ROOT_USER_MISSING, TOO_MANY_REQUESTS, USER_EMPTY, USER_EXISTS, USER_NOT_FOUND,
    },
    rows,
};

/// Users at most.
pub(crate) const USERS_MAX: usize = 10_000;
/// The name of a user or role, at most.
pub(super) const NAME_BYTES_MAX: usize = 1_024;
/// A hash of bcrypt has 60.
const PASSWORD_HASH_BYTES_MAX: usize = 256;
/// Roles of one user at most.
const USER_ROLES_MAX: usize = 1_000;
/// The key of tokens and the one before.
const TOKEN_KEYS_MAX: usize = 2;
const TOKEN_KEY_BYTES_MAX: usize = 64;

impl Work<'_, '_> {
    pub(super) fn change_auth(&mut self, caller: &Caller, request: Request) -> Effect {
        // The key of tokens is the nodes' own affair.
        if let Request::TokenKey(key) = request {
            return self.token_key(key.token_key);
        }
        self.auth.may_administer(caller)?;
        match request {
            Request::AuthEnable(enable) => self.enable(enable.token_key),
            Request::AuthDisable(_) => self.disable(),
            Request::UserAdd(user) => self.add_user(user),
            Request::UserDelete(user) => self.delete_user(&user.name),
            Request::UserChangePassword(change) => self.change_password(change),
            Request::UserGrantRole(grant) => self.grant_role(&grant.user, grant.role),
            Request::UserRevokeRole(revoke) => self.revoke_role(&revoke.name, &revoke.role),
            Request::RoleAdd(role) => self.add_role(role.name),
            Request::RoleDelete(role) => self.delete_role(&role.role),
            Request::RoleGrantPermission(grant) => self.grant_permission(&grant.name, grant.perm),
            Request::RoleRevokePermission(revoke) => self.revoke_permission(&revoke),
            _ => Err(KEY_NOT_FOUND.into()),
        }
    }

    fn enable(&mut self, token_key: Bytes) -> Effect {
        if self.auth.enabled {
            return Ok(self.done());
        }
        let root = self.auth.users.get(ROOT).ok_or(ROOT_USER_MISSING)?;
        if !root.roles.iter().any(|role| role == ROOT) {
            return Err(ROOT_ROLE_MISSING.into());
        }
        self.settings.auth_enabled = true;
        self.token_key(token_key)
    }

    fn disable(&mut self) -> Effect {
        if self.auth.enabled {
            self.settings.auth_enabled = false;
            self.auth_changed();
        }
        Ok(self.done())
    }

    fn token_key(&mut self, key: Bytes) -> Effect {
        if key.len() > TOKEN_KEY_BYTES_MAX {
            return Err(REQUEST_TOO_LARGE.into());
        }
        self.settings.token_keys.insert(0, key);
        self.settings.token_keys.truncate(TOKEN_KEYS_MAX);
        self.settings_of_auth_changed();
        Ok(self.done())
    }

    fn add_user(&mut self, user: AuthUserAddRequest) -> Effect {
        if user.name.is_empty() {
            return Err(USER_EMPTY.into());
        }
        if self.auth.users.contains_key(&user.name) {
            return Err(USER_EXISTS.into());
        }
        if user.name.len() > NAME_BYTES_MAX || user.hashed_password.len() > PASSWORD_HASH_BYTES_MAX {
            return Err(REQUEST_TOO_LARGE.into());
        }
        if self.auth.users.len() >= USERS_MAX {
            return Err(TOO_MANY_REQUESTS.into());
        }
        let no_password = user.options.is_some_and(|options| options.no_password);
        let password_hash = if no_password { String::new() } else { user.hashed_password };
        self.put_user(&user.name, UserRow { password_hash, no_password, roles: Vec::new() });
        self.auth_changed();
        Ok(self.done())
    }

    fn delete_user(&mut self, name: &str) -> Effect {
        if self.auth.enabled && name == ROOT {
            return Err(INVALID_AUTH_MANAGEMENT.into());
        }
        self.user(name)?;
        Arc::make_mut(self.auth).users.remove(name);
        self.transaction.delete_aux(self.keys, &rows::user(name));
        self.auth_changed();
        Ok(self.done())
    }

    fn change_password(&mut self, change: AuthUserChangePasswordRequest) -> Effect {
        let user = self.user(&change.name)?;
        if change.hashed_password.len() > PASSWORD_HASH_BYTES_MAX {
            return Err(REQUEST_TOO_LARGE.into());
        }
        let password_hash = if user.no_password { String::new() } else { change.hashed_password };
        self.put_user(&change.name, UserRow { password_hash, ..user });
        self.auth_changed();
        Ok(self.done())
    }

    fn grant_role(&mut self, name: &str, role: String) -> Effect {
        let mut user = self.user(name)?;
        // The role that may do everything need not be there.
        if role != ROOT && !self.auth.roles.contains_key(&role) {
            return Err(ROLE_NOT_FOUND.into());
        }
        if let Err(place) = user.roles.binary_search(&role) {
            if user.roles.len() >= USER_ROLES_MAX {
                return Err(TOO_MANY_REQUESTS.into());
            }
            user.roles.insert(place, role);
            self.put_user(name, user);
            self.auth_changed();
        }
        Ok(self.done())
    }

    fn revoke_role(&mut self, name: &str, role: &str) -> Effect {
        if self.auth.enabled && name == ROOT && role == ROOT {
            return Err(INVALID_AUTH_MANAGEMENT.into());
        }
        let mut user = self.user(name)?;
        let place = user.roles.iter().position(|own| own == role).ok_or(ROLE_NOT_GRANTED)?;
        user.roles.remove(place);
        self.put_user(name, user);
        self.auth_changed();
        Ok(self.done())
    }

    pub(super) fn user(&self, name: &str) -> Result<UserRow, StoreError> {
        Ok(self.auth.users.get(name).cloned().ok_or(USER_NOT_FOUND)?)
    }

    pub(super) fn put_user(&mut self, name: &str, row: UserRow) {
        self.transaction.put_aux(self.keys, &rows::user(name), row.encode_to_vec());
        Arc::make_mut(self.auth).users.insert(name.to_owned(), row);
    }

    /// What was found out of a user before this counts no more.
    pub(super) fn auth_changed(&mut self) {
        // The first change makes it 2: nobody has found out anything at 0.
        self.settings.auth_revision = self.settings.auth_revision.max(1) + 1;
        self.settings_of_auth_changed();
    }

    fn settings_of_auth_changed(&mut self) {
        let auth = Arc::make_mut(self.auth);
        auth.enabled = self.settings.auth_enabled;
        auth.revision = self.settings.auth_revision;
        auth.token_keys = self.settings.token_keys.clone();
        self.save_settings();
    }
}
