//! Namespaces: made, listed, described and deleted.

use flaredb_proto::{
    v1::{
        CreateNamespaceRequest, DeleteNamespaceRequest, DescribeNamespaceRequest, ListNamespacesRequest,
        Namespace, namespaces_client::NamespacesClient,
    },
    validate,
};

use crate::{
    Error, RdbClient, check,
    client::{ANSWER_BYTES_MAX, Plan},
};

/// The namespaces of a cluster: [`RdbClient::namespaces`].
#[derive(Debug, Clone)]
pub struct Namespaces(pub(crate) RdbClient);

impl Namespaces {
    /// Makes a namespace.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::AlreadyExists`] when there is one of that name.
    pub async fn create(&self, request: CreateNamespaceRequest) -> Result<Namespace, Error> {
        check::accept(validate::create_namespace(&request))?;
        let send =
            |channel, request| async move { NamespacesClient::new(channel).create_namespace(request).await };
        self.0.call(Plan::ONCE, request, send).await
    }

    /// Lists the namespaces that the caller may read.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn list(&self) -> Result<Vec<Namespace>, Error> {
        let send = |channel, request| async move {
            let client = NamespacesClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.list_namespaces(request).await
        };
        Ok(self.0.call(Plan::READ, ListNamespacesRequest {}, send).await?.namespaces)
    }

    /// Describes one namespace.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::NotFound`] when there is none of that name.
    pub async fn describe(&self, name: &str) -> Result<Namespace, Error> {
        check::accept(validate::namespace(name))?;
        let request = DescribeNamespaceRequest { name: name.to_owned() };
        let send = |channel, request| async move {
            NamespacesClient::new(channel).describe_namespace(request).await
        };
        self.0.call(Plan::READ, request, send).await
    }

    /// Deletes a namespace with everything in it.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::NotFound`] when there is none of that name.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        check::accept(validate::namespace(name))?;
        let request = DeleteNamespaceRequest { name: name.to_owned() };
        let send =
            |channel, request| async move { NamespacesClient::new(channel).delete_namespace(request).await };
        self.0.call(Plan::ONCE, request, send).await.map(drop)
    }
}
