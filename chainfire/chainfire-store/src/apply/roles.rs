//! Roles: ranges of keys that their users may read and write (etcd's auth store).

use std::sync::Arc;

use chainfire_proto::{authpb::Permission, etcdserverpb::AuthRoleRevokePermissionRequest};
use prost::Message as _;

use super::{Effect, Work, users::NAME_BYTES_MAX};
use crate::{
    StoreError,
    auth::ROOT,
    internal::RoleRow,
    refusal::{
        INVALID_AUTH_MANAGEMENT, PERMISSION_NOT_GIVEN, PERMISSION_NOT_GRANTED, REQUEST_TOO_LARGE, ROLE_EMPTY,
        ROLE_EXISTS, ROLE_NOT_FOUND, TOO_MANY_REQUESTS,
    },
    rows,
    view::range_of,
};

/// Roles at most.
pub(crate) const ROLES_MAX: usize = 10_000;
/// Ranges of one role at most.
const PERMISSIONS_MAX: usize = 1_000;

impl Work<'_, '_> {
    pub(super) fn add_role(&mut self, name: String) -> Effect {
        if name.is_empty() {
            return Err(ROLE_EMPTY.into());
        }
        if self.auth.roles.contains_key(&name) {
            return Err(ROLE_EXISTS.into());
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(REQUEST_TOO_LARGE.into());
        }
        if self.auth.roles.len() >= ROLES_MAX {
            return Err(TOO_MANY_REQUESTS.into());
        }
        self.put_role(&name, RoleRow::default());
        self.auth_changed();
        Ok(self.done())
    }

    pub(super) fn delete_role(&mut self, name: &str) -> Effect {
        if self.auth.enabled && name == ROOT {
            return Err(INVALID_AUTH_MANAGEMENT.into());
        }
        self.role(name)?;
        for user in self.auth.users_with(name) {
            let mut row = self.user(&user)?;
            row.roles.retain(|role| role != name);
            self.put_user(&user, row);
        }
        Arc::make_mut(self.auth).roles.remove(name);
        self.transaction.delete_aux(self.keys, &rows::role(name));
        self.auth_changed();
        Ok(self.done())
    }

    pub(super) fn grant_permission(&mut self, name: &str, permission: Option<Permission>) -> Effect {
        let permission = permission.ok_or(PERMISSION_NOT_GIVEN)?;
        let range = range_of(&permission.key, &permission.range_end);
        if permission.key.is_empty() || range.is_empty() {
            return Err(INVALID_AUTH_MANAGEMENT.into());
        }
        let mut role = self.role(name)?;
        let place = |other: &Permission| {
            (&other.key, &other.range_end).cmp(&(&permission.key, &permission.range_end))
        };
        match role.permissions.binary_search_by(place) {
            Ok(at) if role.permissions[at] == permission => return Ok(self.done()),
            Ok(at) => role.permissions[at] = permission,
            Err(_) if role.permissions.len() >= PERMISSIONS_MAX => return Err(TOO_MANY_REQUESTS.into()),
            Err(at) => role.permissions.insert(at, permission),
        }
        self.put_role(name, role);
        self.auth_changed();
        Ok(self.done())
    }

    pub(super) fn revoke_permission(&mut self, revoke: &AuthRoleRevokePermissionRequest) -> Effect {
        let mut role = self.role(&revoke.role)?;
        let before = role.permissions.len();
        role.permissions.retain(|own| (&own.key, &own.range_end) != (&revoke.key, &revoke.range_end));
        if role.permissions.len() == before {
            return Err(PERMISSION_NOT_GRANTED.into());
        }
        self.put_role(&revoke.role, role);
        self.auth_changed();
        Ok(self.done())
    }

    fn role(&self, name: &str) -> Result<RoleRow, StoreError> {
        Ok(self.auth.roles.get(name).cloned().ok_or(ROLE_NOT_FOUND)?)
    }

    fn put_role(&mut self, name: &str, row: RoleRow) {
        self.transaction.put_aux(self.keys, &rows::role(name), row.encode_to_vec());
        Arc::make_mut(self.auth).roles.insert(name.to_owned(), row);
    }
}
