//! `Namespaces`: made, listed, described and deleted through the log like any other write.

use flaredb_proto::{
    v1::{
        CreateNamespaceRequest, DeleteNamespaceRequest, DeleteNamespaceResponse, DescribeNamespaceRequest,
        ListNamespacesRequest, ListNamespacesResponse, Namespace, flare_request::Command,
        flare_response::Outcome, namespaces_server::Namespaces,
    },
    validate,
};
use photon_runtime::{Action, principal};
use tonic::{Request, Response, Status};

use super::{Api, may_read};
use crate::{region, status::Refusal};

#[tonic::async_trait]
impl Namespaces for Api {
    async fn create_namespace(
        &self,
        request: Request<CreateNamespaceRequest>,
    ) -> Result<Response<Namespace>, Status> {
        let region = self.allow(&request, Action::Write, &request.get_ref().name)?;
        let request = request.into_inner();
        validate::create_namespace(&request).map_err(Refusal::from)?;
        let name = request.name.clone();
        match region.propose(Command::CreateNamespace(request)).await? {
            Outcome::Namespace(namespace) => Ok(Response::new(namespace)),
            outcome => Err(unexpected(&name, outcome).into()),
        }
    }

    async fn list_namespaces(
        &self,
        request: Request<ListNamespacesRequest>,
    ) -> Result<Response<ListNamespacesResponse>, Status> {
        let caller = principal(&request)?;
        self.quarantine.check().map_err(Refusal::from)?;
        let region = self.regions.first()?;
        region.read_index().await?;
        let visible =
            region.state.namespaces().into_iter().filter(|namespace| may_read(caller, &namespace.name));
        Ok(Response::new(ListNamespacesResponse { namespaces: visible.map(Into::into).collect() }))
    }

    async fn describe_namespace(
        &self,
        request: Request<DescribeNamespaceRequest>,
    ) -> Result<Response<Namespace>, Status> {
        let name = &request.get_ref().name;
        let region = self.allow(&request, Action::Read, name)?;
        region.read_index().await?;
        Ok(Response::new(region.known(name)?.into()))
    }

    async fn delete_namespace(
        &self,
        request: Request<DeleteNamespaceRequest>,
    ) -> Result<Response<DeleteNamespaceResponse>, Status> {
        let region = self.allow(&request, Action::Admin, &request.get_ref().name)?;
        let request = request.into_inner();
        let name = request.name.clone();
        match region.propose(Command::DeleteNamespace(request)).await? {
            Outcome::Done(_) => Ok(Response::new(DeleteNamespaceResponse {})),
            outcome => Err(unexpected(&name, outcome).into()),
        }
    }
}

fn unexpected(name: &str, outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refused) => region::refused(name, &refused),
        _ => region::unexpected("a namespace command"),
    }
}
