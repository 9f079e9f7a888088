//! How nodes tell each other what their replicas found at an audit.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tonic::{Request, Response, Status, transport::Endpoint};

use super::PATIENCE;
use crate::{
    host::Hosted,
    proto::v1::{
        GetFindingRequest, GetFindingResponse,
        audits_client::AuditsClient,
        audits_server::{Audits, AuditsServer},
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The service by which other nodes are told; put it behind [`crate::peers_only`].
pub type AuditsService = AuditsServer<Answers>;

/// Asks the node at `endpoint` what its replica of a region found; `None` if it does not say.
pub(super) async fn ask<D>(dial: &D, endpoint: &str, region_id: u64, index: u64) -> Option<Vec<u8>>
where
    D: Fn(&str) -> Result<Endpoint, tonic::transport::Error>,
{
    let asked = async {
        let channel = dial(endpoint)?.connect_timeout(CONNECT_TIMEOUT).connect().await?;
        let mut request = Request::new(GetFindingRequest { region_id, index });
        request.set_timeout(PATIENCE);
        let answer = AuditsClient::new(channel).get_finding(request).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer.into_inner())
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Some(answer.sha256.into()),
        Ok(Err(error)) => {
            tracing::debug!(endpoint, index, %error, "a node has nothing to say to an audit");
            None
        }
        Err(_late) => None,
    }
}

/// Answers for the regions of this node. One under quarantine answers as well: it is there to be compared.
#[derive(Debug)]
pub struct Answers(Vec<Arc<Hosted>>);

impl Answers {
    /// The service of a node with these regions.
    pub fn service(regions: impl IntoIterator<Item = Arc<Hosted>>) -> AuditsService {
        AuditsServer::new(Self(regions.into_iter().collect()))
    }
}

#[tonic::async_trait]
impl Audits for Answers {
    async fn get_finding(
        &self,
        request: Request<GetFindingRequest>,
    ) -> Result<Response<GetFindingResponse>, Status> {
        let GetFindingRequest { region_id, index } = request.into_inner();
        let region = self.0.iter().find(|region| region.id == region_id);
        let region =
            region.ok_or_else(|| Status::not_found(format!("region {region_id} is not on this node")))?;
        let found = region.auditor.finding(index).await;
        let found =
            found.ok_or_else(|| Status::unavailable(format!("nothing was found here at audit {index}")))?;
        Ok(Response::new(GetFindingResponse { sha256: found.hash.to_vec().into() }))
    }
}
