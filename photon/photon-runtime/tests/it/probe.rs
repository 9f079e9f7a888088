//! A service as small as one can be: it says who calls, waits until it is let go, and streams.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::ready,
    sync::{Arc, LazyLock, Mutex},
    task::{Context as Poller, Poll},
};

use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream};
use photon_runtime::{
    AuthConfig, CommonRef, ConfigError, Context, GrpcServer, HasCommon, LogConfig, Secret, ServerConfig,
    Service, StartError, Started, TlsConfig, principal,
};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

pub(crate) const WHO: &str = "/photon.test.Probe/Who";
/// Like [`WHO`], and let in when there is no room.
pub(crate) const VITAL: &str = "/photon.test.Probe/Vital";
pub(crate) const WAIT: &str = "/photon.test.Probe/Wait";
pub(crate) const COUNT: &str = "/photon.test.Probe/Count";
pub(crate) const LAST: &str = "/photon.test.Probe/Last";
/// Ends by itself, once its gate is open.
pub(crate) const FINISH: &str = "/photon.test.Probe/Finish";

/// The service's configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) server: ServerConfig,
    pub(crate) tls: TlsConfig,
    pub(crate) auth: AuthConfig,
    pub(crate) log: LogConfig,
    pub(crate) probe: ProbeConfig,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProbeConfig {
    /// Of which [`Gate`] its calls wait.
    pub(crate) gate: String,
    pub(crate) fail: bool,
    pub(crate) workers: u16,
    pub(crate) password: Secret,
}

impl HasCommon for Config {
    fn common(&self) -> CommonRef<'_> {
        CommonRef { server: &self.server, tls: &self.tls, auth: &self.auth, log: &self.log }
    }
}

/// Where calls wait, and how a test knows that they do.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) entered: Semaphore,
    pub(crate) open: Semaphore,
}

static GATES: LazyLock<Mutex<HashMap<String, Arc<Gate>>>> = LazyLock::new(Mutex::default);

/// The gate of that name.
pub(crate) fn gate(name: &str) -> Arc<Gate> {
    let new = || Arc::new(Gate { entered: Semaphore::new(0), open: Semaphore::new(0) });
    Arc::clone(GATES.lock().unwrap().entry(name.to_owned()).or_insert_with(new))
}

#[derive(Debug)]
pub(crate) struct Probe;

impl Service for Probe {
    const NAME: &'static str = "probe";
    type Config = Config;

    fn validate(config: &Config) -> Result<(), ConfigError> {
        match config.probe.workers {
            0..=64 => Ok(()),
            many => Err(ConfigError::invalid("probe.workers", many.to_string(), "0 to 64")),
        }
    }

    async fn start(config: Config, context: Context) -> Result<Started, StartError> {
        if config.probe.fail {
            return Err(StartError::new("the disk is on fire"));
        }
        let gate = gate(&config.probe.gate);
        let ready = context.health.condition("gate");
        let stopping = context.tasks.shutdown();
        let watched = Arc::clone(&gate);
        context.tasks.spawn_critical("gatekeeper", async move {
            ready.ok_with(format!("{} open", watched.open.available_permits()));
            stopping.cancelled().await;
        });
        Ok(GrpcServer::new()
            .descriptors(descriptors())
            .streams(&[LAST])
            .finishing(&[FINISH])
            .vital(&[VITAL])
            .service(Calls(gate))
            .into())
    }
}

/// The descriptors that a protobuf compiler would have written.
fn descriptors() -> &'static [u8] {
    static ENCODED: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let method = |path: &str, server_streaming| MethodDescriptorProto {
            name: path.rsplit('/').next().map(str::to_owned),
            input_type: Some(".photon.test.Text".to_owned()),
            output_type: Some(".photon.test.Text".to_owned()),
            server_streaming: Some(server_streaming),
            ..Default::default()
        };
        let methods =
            [(WHO, false), (VITAL, false), (WAIT, false), (COUNT, true), (LAST, true), (FINISH, true)];
        let service = ServiceDescriptorProto {
            name: Some("Probe".to_owned()),
            method: methods.map(|(path, streams)| method(path, streams)).to_vec(),
            ..Default::default()
        };
        let text = prost_types::DescriptorProto { name: Some("Text".to_owned()), ..Default::default() };
        let file = FileDescriptorProto {
            name: Some("probe.proto".to_owned()),
            package: Some("photon.test".to_owned()),
            message_type: vec![text],
            service: vec![service],
            syntax: Some("proto3".to_owned()),
            ..Default::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    });
    &ENCODED
}

/// What tonic would generate for `service Probe`.
#[derive(Clone)]
struct Calls(Arc<Gate>);

struct Who;
struct Wait(Arc<Gate>);
struct Count;
struct Last;
struct Finish(Arc<Gate>);

impl NamedService for Calls {
    const NAME: &'static str = "photon.test.Probe";
}

impl tower::Service<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let gate = Arc::clone(&self.0);
        async move {
            let mut grpc = Grpc::new(ProstCodec::<String, String>::default());
            Ok(match request.uri().path() {
                WHO | VITAL => grpc.unary(Who, request).await,
                WAIT => grpc.unary(Wait(gate), request).await,
                COUNT => grpc.server_streaming(Count, request).await,
                FINISH => grpc.server_streaming(Finish(gate), request).await,
                LAST => grpc.server_streaming(Last, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        }
        .boxed()
    }
}

impl UnaryService<String> for Who {
    type Response = String;
    type Future = BoxFuture<'static, Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        ready(principal(&request).map(|who| Response::new(who.to_string()))).boxed()
    }
}

impl UnaryService<String> for Wait {
    type Response = String;
    type Future = BoxFuture<'static, Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let gate = Arc::clone(&self.0);
        async move {
            gate.entered.add_permits(1);
            let open = gate.open.acquire().await;
            open.map_err(|_closed| Status::internal("the gate is gone"))?.forget();
            Ok(Response::new(request.into_inner()))
        }
        .boxed()
    }
}

type Texts = std::pin::Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// One message, and then none for ever.
fn endless() -> Texts {
    stream::once(ready(Ok("first".to_owned()))).chain(stream::pending()).boxed()
}

impl ServerStreamingService<String> for Count {
    type Response = String;
    type ResponseStream = Texts;
    type Future = BoxFuture<'static, Result<Response<Texts>, Status>>;

    fn call(&mut self, _request: Request<String>) -> Self::Future {
        ready(Ok(Response::new(endless()))).boxed()
    }
}

impl ServerStreamingService<String> for Finish {
    type Response = String;
    type ResponseStream = Texts;
    type Future = BoxFuture<'static, Result<Response<Texts>, Status>>;

    fn call(&mut self, _request: Request<String>) -> Self::Future {
        let gate = Arc::clone(&self.0);
        let last = async move {
            gate.open.acquire().await.unwrap().forget();
            Ok("last".to_owned())
        };
        let texts = stream::iter([Ok("first".to_owned())]).chain(stream::once(last)).boxed();
        ready(Ok(Response::new(texts))).boxed()
    }
}

impl ServerStreamingService<String> for Last {
    type Response = String;
    type ResponseStream = Texts;
    type Future = BoxFuture<'static, Result<Response<Texts>, Status>>;

    fn call(&mut self, _request: Request<String>) -> Self::Future {
        ready(Ok(Response::new(endless()))).boxed()
    }
}
