//! How a verb reaches the cloud: the endpoints and credentials of a context, and a deadline on every call.

use std::time::Duration;

use anyhow::Result;

use flashdns_proto::v1::{record_sets_client::RecordSetsClient, zones_client::ZonesClient};
use photon_runtime::{
    ClientTls,
    client::{BearerToken, ClientError, CredentialFiles},
    errors::chain,
};
use tonic::{Request, service::interceptor::InterceptedService, transport::Channel};

use crate::{
    context::{self, Context},
    failure::Misuse,
};

/// Largest answer that is read; an exported zone comes in chunks below it.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A connection that sends the caller's token with every call.
pub(crate) type Caller = InterceptedService<Channel, BearerToken>;

/// A context's credentials, read.
#[derive(Clone, Debug)]
pub(crate) struct Credentials(ClientTls);

/// FlashDNS's control API.
#[derive(Clone, Debug)]
pub(crate) struct FlashDns {
    caller: Caller,
    timeout: Duration,
}

impl Credentials {
    /// Reads what a context names.
    ///
    /// # Errors
    /// When a file cannot be read or holds no token.
    pub(crate) fn read(context: &Context) -> Result<Self> {
        let files = CredentialFiles {
            ca: Some(context.ca.clone()),
            identity: context.cert.clone().zip(context.key.clone()),
            token: Some(context.token_file.clone()),
        };
        Ok(Self(ClientTls::read(&files).map_err(misuse)?))
    }

    /// A connection to one process, opened by its first call.
    ///
    /// # Errors
    /// When the endpoint is no URL, or the token would leave the machine in plaintext.
    pub(crate) fn caller(&self, endpoint: &str) -> Result<Caller> {
        let channel = self.0.endpoint(endpoint).map_err(misuse)?.connect_lazy();
        Ok(InterceptedService::new(channel, self.0.bearer()))
    }
}

/// What is wrong with a context's files is for the caller to put right.
fn misuse(error: ClientError) -> Misuse {
    Misuse(format!("the context cannot be used: {}", chain(&error)))
}

impl FlashDns {
    /// Gets ready to call the FlashDNS of a context.
    ///
    /// # Errors
    /// When there is no such context, it has no FlashDNS, or its files cannot be used.
    pub(crate) fn connect(context: Option<&str>, timeout_s: u64) -> Result<Self> {
        let context = context::load(context)?;
        let Some(endpoint) = &context.flashdns_endpoint else {
            return Err(Misuse(
                "the context has no FlashDNS: add --flashdns-endpoint to photon context set".to_owned(),
            )
            .into());
        };
        let caller = Credentials::read(&context)?.caller(endpoint)?;
        Ok(Self { caller, timeout: Duration::from_secs(timeout_s) })
    }

    /// Calls on zones.
    pub(crate) fn zones(&self) -> ZonesClient<Caller> {
        ZonesClient::new(self.caller.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Calls on record sets.
    pub(crate) fn record_sets(&self) -> RecordSetsClient<Caller> {
        RecordSetsClient::new(self.caller.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// A request with the deadline of this command.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        request(message, self.timeout)
    }
}

/// A request with a deadline.
pub(crate) fn request<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}
