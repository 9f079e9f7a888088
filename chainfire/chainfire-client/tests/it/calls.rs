//! Clients of a test's cloud.

use chainfire_client::{Client, ClientConfig, Error, Tls, User};
use chainfire_proto::etcdserverpb::{PutRequest, RangeRequest};
use photon_runtime::ClientTls;

use crate::cloud::{Cloud, PATIENCE, Running};

/// How to reach these nodes with these credentials, patiently.
pub(crate) fn config(nodes: &[Running], credentials: ClientTls) -> ClientConfig {
    let tls = Tls { ca: credentials.ca_pem.unwrap(), identity: credentials.identity_pem };
    ClientConfig {
        endpoints: nodes.iter().map(|node| format!("https://{}", node.config.client.listen)).collect(),
        tls: Some(tls),
        request_timeout: PATIENCE,
        ..ClientConfig::default()
    }
}

/// A client of these nodes, with a certificate of the cloud.
pub(crate) fn client(cloud: &Cloud, nodes: &[Running]) -> Client {
    Client::new(config(nodes, cloud.member())).unwrap()
}

/// The same, for a user.
pub(crate) fn client_of(cloud: &Cloud, nodes: &[Running], name: &str, password: &str) -> Client {
    let user = User { name: name.to_owned(), password: password.to_owned() };
    Client::new(ClientConfig { user: Some(user), ..config(nodes, cloud.member()) }).unwrap()
}

/// Writes a record.
pub(crate) async fn put(client: &Client, key: &'static str) -> Result<(), Error> {
    client.put(PutRequest { key: key.into(), ..PutRequest::default() }).await.map(drop)
}

/// Writes a record under a lease.
pub(crate) async fn put_under(client: &Client, key: &'static str, lease: i64) -> Result<(), Error> {
    client.put(PutRequest { key: key.into(), lease, ..PutRequest::default() }).await.map(drop)
}

/// Whether there is such a record.
pub(crate) async fn exists(client: &Client, key: &'static str) -> Result<bool, Error> {
    let range = client.range(RangeRequest { key: key.into(), ..RangeRequest::default() }).await?;
    Ok(range.count > 0)
}
