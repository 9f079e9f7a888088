//! `Auth`: users, roles, and tokens for those who show their password.
//!
//! Passwords are hashed here, slowly and a few at a time, and only hashes go into the log.

use chainfire_proto::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
    AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest,
    AuthRoleGetResponse, AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse,
    AuthRoleListRequest, AuthRoleListResponse, AuthRoleRevokePermissionRequest,
    AuthRoleRevokePermissionResponse, AuthStatusRequest, AuthStatusResponse, AuthUserAddRequest,
    AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
    AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse,
    AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse,
    AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse,
    ResponseHeader, auth_server::Auth as AuthService,
};
use chainfire_store::{
    hash_password,
    internal::{AuthEnable, Caller, command::Request as Proposal, outcome::Outcome},
    refusal,
};
use tonic::{Request, Response, Status};

use crate::{
    api::Api,
    status::{self, unexpected},
    tokens,
};

impl Api {
    /// Has a change of users or roles done; returns the header of its answer.
    async fn change_auth(
        &self,
        caller: Caller,
        proposal: Proposal,
    ) -> Result<Option<ResponseHeader>, Status> {
        match self.propose(caller, proposal).await? {
            Outcome::Done(revision) => Ok(Some(self.header(revision))),
            _ => Err(unexpected("a change of users or roles")),
        }
    }

    /// Does something with a password that takes a good part of a second.
    async fn with_password<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let place = self.passwords.enter_owned();
        let place = place.map_err(|_busy| status::refused(refusal::TOO_MANY_REQUESTS))?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        done.await.map_err(|_stopped| status::refused(refusal::STOPPED))
    }

    /// What is kept of a password. etcd's clients may bring the hash themselves, in base64.
    async fn password_hash(&self, password: String, hashed: &str) -> Result<String, Status> {
        if !hashed.is_empty() {
            return tokens::decode_hash(hashed)
                .ok_or_else(|| status::refused(refusal::INVALID_AUTH_MANAGEMENT));
        }
        let hash = self.with_password(move || hash_password(&password)).await?;
        hash.map_err(|error| status::storage(&error))
    }

    /// Lets in who may change users and roles, and waits until this replica knows all of them.
    async fn auth_reader<T>(&self, request: &Request<T>) -> Result<(Caller, Option<ResponseHeader>), Status> {
        self.read_index().await?;
        let caller = self.caller(request)?;
        Ok((caller, Some(self.header_now())))
    }
}

#[tonic::async_trait]
impl AuthService for Api {
    async fn auth_enable(
        &self,
        request: Request<AuthEnableRequest>,
    ) -> Result<Response<AuthEnableResponse>, Status> {
        let caller = self.caller(&request)?;
        let enable = Proposal::AuthEnable(AuthEnable { token_key: tokens::new_key() });
        Ok(Response::new(AuthEnableResponse { header: self.change_auth(caller, enable).await? }))
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Result<Response<AuthDisableResponse>, Status> {
        let caller = self.caller(&request)?;
        let disable = Proposal::AuthDisable(request.into_inner());
        Ok(Response::new(AuthDisableResponse { header: self.change_auth(caller, disable).await? }))
    }

    async fn auth_status(
        &self,
        request: Request<AuthStatusRequest>,
    ) -> Result<Response<AuthStatusResponse>, Status> {
        self.read_index().await?;
        self.administrator(&request)?;
        let auth = self.auth()?;
        let (header, enabled) = (Some(self.header_now()), auth.enabled());
        Ok(Response::new(AuthStatusResponse { header, enabled, auth_revision: auth.revision() }))
    }

    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        self.read_index().await?;
        let AuthenticateRequest { name, password } = request.into_inner();
        let auth = self.auth()?;
        let token = self.with_password(move || {
            auth.authenticate(&name, &password)?;
            tokens::issue(&auth, &name).ok_or(refusal::AUTH_NOT_ENABLED)
        });
        let token = token.await?.map_err(status::refused)?;
        Ok(Response::new(AuthenticateResponse { header: Some(self.header_now()), token }))
    }

    async fn user_add(
        &self,
        request: Request<AuthUserAddRequest>,
    ) -> Result<Response<AuthUserAddResponse>, Status> {
        let caller = self.administrator(&request)?;
        let mut user = request.into_inner();
        let password = std::mem::take(&mut user.password);
        user.hashed_password = match user.options.is_some_and(|options| options.no_password) {
            true => String::new(),
            false => self.password_hash(password, &user.hashed_password).await?,
        };
        Ok(Response::new(AuthUserAddResponse {
            header: self.change_auth(caller, Proposal::UserAdd(user)).await?,
        }))
    }

    async fn user_get(
        &self,
        request: Request<AuthUserGetRequest>,
    ) -> Result<Response<AuthUserGetResponse>, Status> {
        let (caller, header) = self.auth_reader(&request).await?;
        let (auth, name) = (self.auth()?, request.into_inner().name);
        // Everybody may know what they may do.
        if name != caller.user || name.is_empty() {
            auth.may_administer(&caller).map_err(status::refused)?;
        }
        let roles = auth.roles_of(&name).map_err(status::refused)?.to_vec();
        Ok(Response::new(AuthUserGetResponse { header, roles }))
    }

    async fn user_list(
        &self,
        request: Request<AuthUserListRequest>,
    ) -> Result<Response<AuthUserListResponse>, Status> {
        let (caller, header) = self.auth_reader(&request).await?;
        let auth = self.auth()?;
        auth.may_administer(&caller).map_err(status::refused)?;
        Ok(Response::new(AuthUserListResponse { header, users: auth.users().map(str::to_owned).collect() }))
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Result<Response<AuthUserDeleteResponse>, Status> {
        let caller = self.caller(&request)?;
        let delete = Proposal::UserDelete(request.into_inner());
        Ok(Response::new(AuthUserDeleteResponse { header: self.change_auth(caller, delete).await? }))
    }

    async fn user_change_password(
        &self,
        request: Request<AuthUserChangePasswordRequest>,
    ) -> Result<Response<AuthUserChangePasswordResponse>, Status> {
        let caller = self.administrator(&request)?;
        let mut change = request.into_inner();
        let password = std::mem::take(&mut change.password);
        change.hashed_password = self.password_hash(password, &change.hashed_password).await?;
        let header = self.change_auth(caller, Proposal::UserChangePassword(change)).await?;
        Ok(Response::new(AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Result<Response<AuthUserGrantRoleResponse>, Status> {
        let caller = self.caller(&request)?;
        let grant = Proposal::UserGrantRole(request.into_inner());
        Ok(Response::new(AuthUserGrantRoleResponse { header: self.change_auth(caller, grant).await? }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Result<Response<AuthUserRevokeRoleResponse>, Status> {
        let caller = self.caller(&request)?;
        let revoke = Proposal::UserRevokeRole(request.into_inner());
        Ok(Response::new(AuthUserRevokeRoleResponse { header: self.change_auth(caller, revoke).await? }))
    }

    async fn role_add(
        &self,
        request: Request<AuthRoleAddRequest>,
    ) -> Result<Response<AuthRoleAddResponse>, Status> {
        let caller = self.caller(&request)?;
        let add = Proposal::RoleAdd(request.into_inner());
        Ok(Response::new(AuthRoleAddResponse { header: self.change_auth(caller, add).await? }))
    }

    async fn role_get(
        &self,
        request: Request<AuthRoleGetRequest>,
    ) -> Result<Response<AuthRoleGetResponse>, Status> {
        let (caller, header) = self.auth_reader(&request).await?;
        let (auth, role) = (self.auth()?, request.into_inner().role);
        // Everybody may know what their roles allow.
        if !auth.roles_of(&caller.user).is_ok_and(|roles| roles.contains(&role)) {
            auth.may_administer(&caller).map_err(status::refused)?;
        }
        let perm = auth.permissions_of(&role).map_err(status::refused)?.to_vec();
        Ok(Response::new(AuthRoleGetResponse { header, perm }))
    }

    async fn role_list(
        &self,
        request: Request<AuthRoleListRequest>,
    ) -> Result<Response<AuthRoleListResponse>, Status> {
        let (caller, header) = self.auth_reader(&request).await?;
        let auth = self.auth()?;
        auth.may_administer(&caller).map_err(status::refused)?;
        Ok(Response::new(AuthRoleListResponse { header, roles: auth.roles().map(str::to_owned).collect() }))
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Result<Response<AuthRoleDeleteResponse>, Status> {
        let caller = self.caller(&request)?;
        let delete = Proposal::RoleDelete(request.into_inner());
        Ok(Response::new(AuthRoleDeleteResponse { header: self.change_auth(caller, delete).await? }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<AuthRoleGrantPermissionResponse>, Status> {
        let caller = self.caller(&request)?;
        let grant = Proposal::RoleGrantPermission(request.into_inner());
        Ok(Response::new(AuthRoleGrantPermissionResponse { header: self.change_auth(caller, grant).await? }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<AuthRoleRevokePermissionResponse>, Status> {
        let caller = self.caller(&request)?;
        let revoke = Proposal::RoleRevokePermission(request.into_inner());
        Ok(Response::new(AuthRoleRevokePermissionResponse {
            header: self.change_auth(caller, revoke).await?,
        }))
    }
}
