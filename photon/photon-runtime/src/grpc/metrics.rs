//! What is counted of calls and connections. Series are bounded: by the RPCs of the descriptors and gRPC's codes.

use std::sync::OnceLock;

use http::Response;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::metrics::Metrics;

/// From a cached read on loopback to the default deadline.
const BUCKETS_S: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0];
const CODES: usize = 17;

/// The gRPC server's metrics. Clones are of the same.
#[derive(Clone, Debug)]
pub(crate) struct GrpcMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<RpcLabels, Histogram>,
    /// Calls in flight, streams not counted.
    pub(super) in_flight: Gauge,
    /// Open connections.
    pub(super) connections: Gauge,
    /// Connections closed on arrival because too many were open.
    pub(super) refused: Counter,
}

/// One RPC's series, resolved once.
pub(super) struct RpcMetrics {
    rpc: String,
    by_code: [OnceLock<Counter>; CODES],
    calls: Family<CallLabels, Counter>,
    seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    rpc: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc: String,
}

impl GrpcMetrics {
    /// Registers the metrics of one server.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let own = Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            refused: Counter::default(),
        };
        metrics.register(|registry| {
            registry.register("grpc_calls", "Calls by RPC and the code of their answer", own.calls.clone());
            registry.register("grpc_call_seconds", "Time to the head of the answer", own.seconds.clone());
            registry.register(
                "grpc_calls_in_flight",
                "Calls in flight, streams not counted",
                own.in_flight.clone(),
            );
            registry.register("grpc_connections", "Open connections", own.connections.clone());
            let help = "Connections closed on arrival: server.connections_max were open";
            registry.register("grpc_connections_refused", help, own.refused.clone());
        });
        own
    }

    pub(super) fn of_rpc(&self, path: &str) -> RpcMetrics {
        let rpc = path.to_owned();
        let seconds = self.seconds.get_or_create(&RpcLabels { rpc: rpc.clone() }).clone();
        RpcMetrics { rpc, by_code: Default::default(), calls: self.calls.clone(), seconds }
    }
}

impl RpcMetrics {
    /// Counts a call that began at `began` and was answered now.
    pub(super) fn answered<B>(&self, began: Instant, response: &Response<B>) {
        // tonic leaves the status of an answer that is one; what a stream says later is not seen here.
        let code = response.extensions().get().map_or(Code::Ok, Status::code);
        if let Some(counter) = self.by_code.get(usize::try_from(code as i32).unwrap_or(CODES)) {
            counter.get_or_init(|| self.counter(code)).inc();
        }
        self.seconds.observe(began.elapsed().as_secs_f64());
    }

    fn counter(&self, code: Code) -> Counter {
        self.calls.get_or_create(&CallLabels { rpc: self.rpc.clone(), code: format!("{code:?}") }).clone()
    }
}
