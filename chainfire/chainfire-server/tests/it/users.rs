//! Users of a test's cluster, who may read and write something or everything.

use chainfire_proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
        AuthUserGrantRoleRequest, AuthenticateRequest, auth_client::AuthClient,
    },
};
use tonic::{Request, Status, transport::Channel};

use crate::cloud::Running;

pub(crate) fn auth(node: &Running) -> AuthClient<Channel> {
    AuthClient::new(node.channel.clone())
}

pub(crate) async fn token(node: &Running, name: &str, password: &str) -> Result<String, Status> {
    let (name, password) = (name.to_owned(), password.to_owned());
    Ok(auth(node).authenticate(AuthenticateRequest { name, password }).await?.into_inner().token)
}

pub(crate) fn with<T>(token: &str, request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("token", token.parse().unwrap());
    request
}

async fn add_user(node: &Running, name: &str, role: &str) {
    let (name, password) = (name.to_owned(), format!("{name}'s"));
    let user = AuthUserAddRequest { name: name.clone(), password, ..AuthUserAddRequest::default() };
    auth(node).user_add(user).await.unwrap();
    auth(node).user_grant_role(AuthUserGrantRoleRequest { user: name, role: role.to_owned() }).await.unwrap();
}

/// Root, and Alice, who may read and write "a".
pub(crate) async fn enable(node: &Running) {
    let early = auth(node).auth_enable(AuthEnableRequest {}).await.unwrap_err();
    assert_eq!(early.message(), "etcdserver: root user does not exist");
    auth(node).role_add(AuthRoleAddRequest { name: "a".to_owned() }).await.unwrap();
    let perm = Permission { perm_type: Type::Readwrite.into(), key: "a".into(), range_end: "b".into() };
    let grant = AuthRoleGrantPermissionRequest { name: "a".to_owned(), perm: Some(perm) };
    auth(node).role_grant_permission(grant).await.unwrap();
    add_user(node, "alice", "a").await;
    add_user(node, "root", "root").await;
    auth(node).auth_enable(AuthEnableRequest {}).await.unwrap();
}
