//! What a service gives to the runtime, and what it is given.

use std::{error::Error, fmt, net::SocketAddr, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    config::{ConfigError, HasCommon},
    errors::chain,
    grpc::GrpcServer,
    health::Health,
    metrics::Metrics,
    open_port::OpenPort,
    shutdown::Shutdown,
    tasks::Tasks,
    tls::Tls,
};

/// Any error that can cross threads.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A service: its whole `main` is [`run::<Self>()`](crate::run()).
pub trait Service: 'static {
    /// The bare name: of the binary, in certificates, before environment variables and metrics.
    const NAME: &'static str;
    /// The configuration, the common sections included; its default is what holds when nothing is set.
    type Config: Serialize + DeserializeOwned + Default + HasCommon + Send + 'static;

    /// Checks what the types of the configuration do not say. Pure: nothing is opened.
    ///
    /// # Errors
    /// The first value that is not acceptable.
    fn validate(_config: &Self::Config) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Opens what the service needs, starts its tasks and returns what it serves. The ports are bound already, so
    /// that a second process on the same ports has failed before it touches any data; calls wait until this returns.
    fn start(
        config: Self::Config,
        context: Context,
    ) -> impl Future<Output = Result<Started, StartError>> + Send;
}

/// What a service is given at its start. Clones are of the same process.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Context {
    /// Where it reports what it needs to be ready.
    pub health: Health,
    /// Where it registers metrics.
    pub metrics: Metrics,
    /// Where it starts tasks.
    pub tasks: Tasks,
    /// The end of the process, to watch or to ask for.
    pub shutdown: Shutdown,
    /// The certificate of this process; none on plaintext loopback.
    pub tls: Option<Arc<Tls>>,
    /// The address at which gRPC is served, its real port included.
    pub grpc: SocketAddr,
}

/// What a service has started.
#[derive(Debug)]
pub struct Started {
    pub(crate) grpc: GrpcServer,
    pub(crate) open: Option<(OpenPort, GrpcServer)>,
}

impl Started {
    /// The service serves this.
    pub fn new(grpc: GrpcServer) -> Self {
        Self { grpc, open: None }
    }

    /// The service serves `grpc` on a port of its own as well, to whoever may connect there.
    #[must_use]
    pub fn open(mut self, port: OpenPort, grpc: GrpcServer) -> Self {
        self.open = Some((port, grpc));
        self
    }
}

impl From<GrpcServer> for Started {
    fn from(grpc: GrpcServer) -> Self {
        Self::new(grpc)
    }
}

/// Why a service did not start. Made from any error by `?`; a [`ConfigError`] keeps its exit code, 64.
///
/// It is no `Error` itself, so that `?` can make it from each that is. Displayed, it is the whole chain.
pub struct StartError(BoxError);

impl StartError {
    /// An error, or a message of one line.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }

    /// The error itself.
    pub fn into_inner(self) -> BoxError {
        self.0
    }

    /// Whether the configuration is to blame.
    pub fn is_config(&self) -> bool {
        self.0.is::<ConfigError>()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for StartError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chain(self.0.as_ref()).fmt(f)
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StartError({})", chain(self.0.as_ref()))
    }
}
