//! The service `chainfire.v1.Gossip`: what this node's gossip knows, and the keys of this node.
//!
//! On the process's own port, the keys are changed by an administrator. On the port of etcd's clients there are no
//! principals: there, as etcd's member list, the members are everybody's, and the keys nobody's.

use std::sync::Arc;

use chainfire_gossip::{KeyId, Member, Metadata, Status};
use chainfire_proto::v1::{
    AddKeyRequest, IdentifyRequest, IdentifyResponse, KeysResponse, ListKeysRequest, Member as Told,
    MembersRequest, MembersResponse, RemoveKeyRequest, State, UseKeyRequest, gossip_server,
};
use photon_runtime::{Action, Resource, authorize, errors::chain, principal};
use tonic::{Request, Response, Status as Refusal};

use super::{
    Gossip, id_of,
    keys::{Change, KEY_BYTES, KeyFileError},
};

/// The service on one of the process's ports.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// What it answers from.
    pub(crate) gossip: Arc<Gossip>,
}

#[tonic::async_trait]
impl gossip_server::Gossip for Service {
    async fn identify(&self, _: Request<IdentifyRequest>) -> Result<Response<IdentifyResponse>, Refusal> {
        let name = self.gossip.name.clone();
        let id = id_of(&name).0;
        Ok(Response::new(IdentifyResponse { name, id }))
    }

    async fn members(&self, _: Request<MembersRequest>) -> Result<Response<MembersResponse>, Refusal> {
        Ok(Response::new(MembersResponse { members: self.gossip.told() }))
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<KeysResponse>, Refusal> {
        authorize(principal(&request)?, Action::Read, &Resource::Cluster)?;
        answer(self.gossip.keys.ids().await)
    }

    async fn add_key(&self, request: Request<AddKeyRequest>) -> Result<Response<KeysResponse>, Refusal> {
        let AddKeyRequest { key } = administrators(request)?;
        let key = <[u8; KEY_BYTES]>::try_from(&*key);
        let key = key.map_err(|_other| Refusal::invalid_argument(format!("a key has {KEY_BYTES} bytes")))?;
        answer(self.gossip.keys.change(Change::Add(key)).await)
    }

    async fn use_key(&self, request: Request<UseKeyRequest>) -> Result<Response<KeysResponse>, Refusal> {
        let id = self.key_named(&administrators(request)?.id).await?;
        answer(self.gossip.keys.change(Change::Use(id)).await)
    }

    async fn remove_key(
        &self,
        request: Request<RemoveKeyRequest>,
    ) -> Result<Response<KeysResponse>, Refusal> {
        let id = self.key_named(&administrators(request)?.id).await?;
        answer(self.gossip.keys.change(Change::Remove(id)).await)
    }
}

impl Service {
    async fn key_named(&self, name: &str) -> Result<KeyId, Refusal> {
        let ids = self.gossip.keys.ids().await.map_err(refused)?;
        let named = ids.into_iter().find(|id| id.to_string() == name);
        named.ok_or_else(|| Refusal::failed_precondition(format!("the ring has no key {name}")))
    }
}

/// The message of an administrator.
fn administrators<T>(request: Request<T>) -> Result<T, Refusal> {
    authorize(principal(&request)?, Action::Admin, &Resource::Cluster)?;
    Ok(request.into_inner())
}

fn answer(ids: Result<Vec<KeyId>, KeyFileError>) -> Result<Response<KeysResponse>, Refusal> {
    let ids = ids.map_err(refused)?.iter().map(ToString::to_string).collect();
    Ok(Response::new(KeysResponse { ids }))
}

fn refused(error: KeyFileError) -> Refusal {
    match error {
        KeyFileError::Keyring(error) => Refusal::failed_precondition(error.to_string()),
        KeyFileError::Ring(error) => Refusal::unavailable(error.to_string()),
        error => {
            let error = chain(&error).to_string();
            tracing::error!(error, "the gossip keys cannot be changed");
            Refusal::internal(error)
        }
    }
}

impl Gossip {
    /// This node, then the others.
    fn told(&self) -> Vec<Told> {
        let (members, lives) = (self.members(), self.lives());
        let others = members.iter().map(|member| told(member, lives.since_ms(member.identity.node)));
        std::iter::once(self.told_of_self()).chain(others).collect()
    }

    fn told_of_self(&self) -> Told {
        let identity = self.handle.identity();
        let own = Told {
            id: identity.node.0,
            address: identity.addr.to_string(),
            state: State::Alive.into(),
            generation: identity.generation,
            since_ms: self.started_ms,
            ..Told::default()
        };
        with_metadata(own, &self.metadata)
    }
}

fn told(member: &Member, since_ms: u64) -> Told {
    let state = match member.status {
        Status::Alive => State::Alive,
        Status::Suspected => State::Suspected,
        Status::Failed => State::Failed,
        Status::Left => State::Left,
    };
    let bare = Told {
        id: member.identity.node.0,
        address: member.identity.addr.to_string(),
        state: state.into(),
        generation: member.identity.generation,
        since_ms,
        ..Told::default()
    };
    match &member.metadata {
        Some(metadata) => with_metadata(bare, metadata),
        None => bare,
    }
}

fn with_metadata(bare: Told, metadata: &Metadata) -> Told {
    Told {
        name: metadata.name().to_owned(),
        zone: metadata.zone().to_owned(),
        addresses: metadata.addresses().iter().map(ToString::to_string).collect(),
        services: metadata.services().to_vec(),
        ..bare
    }
}
