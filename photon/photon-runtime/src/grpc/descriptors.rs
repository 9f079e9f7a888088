//! Which RPCs there are, by the descriptors that the protobuf compiler wrote.

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};

/// One RPC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RpcPath {
    /// `package.Service`
    pub service: String,
    /// `Method`
    pub method: String,
    /// The caller sends many messages.
    pub client_streaming: bool,
    /// The server sends many messages.
    pub server_streaming: bool,
}

/// Bytes are no descriptors.
#[derive(Debug, thiserror::Error)]
#[error("the protobuf descriptors cannot be read")]
pub struct DescriptorError(#[from] prost::DecodeError);

impl RpcPath {
    /// `/package.Service/Method`, as it stands in a request.
    pub fn path(&self) -> String {
        format!("/{}/{}", self.service, self.method)
    }
}

/// Every RPC of an encoded `FileDescriptorSet`, sorted; for tests that each one must pass.
///
/// # Errors
/// When the bytes are none.
pub fn rpc_paths(encoded: &[u8]) -> Result<Vec<RpcPath>, DescriptorError> {
    let set = FileDescriptorSet::decode(encoded)?;
    let mut paths = set.file.iter().flat_map(of_file).collect::<Vec<_>>();
    paths.sort();
    Ok(paths)
}

fn of_file(file: &FileDescriptorProto) -> impl Iterator<Item = RpcPath> {
    file.service.iter().flat_map(move |service| {
        let name = match file.package() {
            "" => service.name().to_owned(),
            package => format!("{package}.{}", service.name()),
        };
        of_service(name, service)
    })
}

fn of_service(name: String, service: &ServiceDescriptorProto) -> impl Iterator<Item = RpcPath> {
    service.method.iter().map(move |method: &MethodDescriptorProto| RpcPath {
        service: name.clone(),
        method: method.name().to_owned(),
        client_streaming: method.client_streaming(),
        server_streaming: method.server_streaming(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_is_listed_with_its_path_and_its_directions() {
        let paths = rpc_paths(tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
        let shown = paths
            .iter()
            .map(|rpc| (rpc.path(), rpc.client_streaming, rpc.server_streaming))
            .collect::<Vec<_>>();
        let expected =
            [("/grpc.health.v1.Health/Check", false, false), ("/grpc.health.v1.Health/Watch", false, true)];
        assert_eq!(shown, expected.map(|(path, client, server)| (path.to_owned(), client, server)));
    }

    #[test]
    fn bytes_that_are_no_descriptors_are_refused() {
        assert!(rpc_paths(b"\xff\xff").is_err());
    }
}
