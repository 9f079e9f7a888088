//! How often, how long, to how many.

use std::{num::NonZeroU8, time::Duration};

use foca::PeriodicParams;

use crate::{frame::SWIM_BYTES_MAX, identity::Identity};

/// Timings of the protocol. They must be the same on all nodes of a cluster only in so far as failures are found as
/// fast as the slowest node looks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One member is probed in each such period.
    pub probe_period: Duration,
    /// An answer that takes longer is asked for over other members and over TCP. Well below the period.
    pub probe_timeout: Duration,
    /// How long a member of a cluster of ten or fewer has to refute a suspicion; larger clusters take longer, with the
    /// logarithm of their size.
    pub suspicion: Duration,
    /// News is told to others in each such period, while there is any.
    pub gossip_period: Duration,
    /// To how many at once.
    pub gossip_fanout: u8,
    /// How many members are asked to probe one that did not answer.
    pub indirect_probes: u8,
    /// A node that knows nobody announces itself to its seeds each such period.
    pub join_period: Duration,
    /// A node that knows others announces itself to a seed that is not among them each such period.
    pub seed_period: Duration,
    /// Members that are down are announced to in each such period, so that the two sides of a partition find together.
    pub down_announce_period: Duration,
    /// A member is asked for other members each such period.
    pub feed_period: Duration,
    /// Members that failed or left are forgotten after this.
    pub forget_after: Duration,
}

impl Default for Config {
    /// For a local network: a failure is known to 64 nodes within 3.5 s, to 5 within 2 s.
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(250),
            probe_timeout: Duration::from_millis(80),
            suspicion: Duration::from_millis(500),
            gossip_period: Duration::from_millis(100),
            gossip_fanout: 3,
            indirect_probes: 3,
            join_period: Duration::from_secs(1),
            seed_period: Duration::from_secs(30),
            down_announce_period: Duration::from_secs(5),
            feed_period: Duration::from_secs(10),
            forget_after: Duration::from_secs(3600),
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A period or a number is zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// A probe could not end before the next.
    #[error(
        "probe_timeout {timeout:?} must be at most half of probe_period {period:?}: indirect probes need the rest"
    )]
    TimeoutTooLong {
        /// As given.
        timeout: Duration,
        /// As given.
        period: Duration,
    },
    /// Nobody could send to this address.
    #[error("address {0} cannot be told to others; give one with an IP address and a port")]
    Address(std::net::SocketAddr),
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// When a period or a number is zero, or a probe's timeout is over half of its period.
    pub fn check(&self) -> Result<(), ConfigError> {
        let periods = [
            ("probe_period", self.probe_period),
            ("probe_timeout", self.probe_timeout),
            ("suspicion", self.suspicion),
            ("gossip_period", self.gossip_period),
            ("join_period", self.join_period),
            ("seed_period", self.seed_period),
            ("down_announce_period", self.down_announce_period),
            ("feed_period", self.feed_period),
            ("forget_after", self.forget_after),
            ("gossip_fanout", Duration::from_secs(self.gossip_fanout.into())),
            ("indirect_probes", Duration::from_secs(self.indirect_probes.into())),
        ];
        if let Some((name, _)) = periods.iter().find(|(_, value)| value.is_zero()) {
            return Err(ConfigError::Zero(name));
        }
        if self.probe_timeout > self.probe_period / 2 {
            return Err(ConfigError::TimeoutTooLong {
                timeout: self.probe_timeout,
                period: self.probe_period,
            });
        }
        Ok(())
    }

    /// How long a member of a cluster of so many nodes has to refute a suspicion.
    pub(crate) fn suspicion_of(&self, nodes: usize) -> Duration {
        // log10, as ilog2 × 0.3.
        self.suspicion * (nodes.max(1).ilog2() * 3).max(10) / 10
    }

    /// The same for foca, in a cluster of so many nodes.
    pub(crate) fn swim(&self, nodes: usize) -> foca::Config {
        let digits = nodes.max(1).ilog2();
        let every = |frequency, count| Some(PeriodicParams { frequency, num_members: nonzero(count).into() });
        foca::Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_timeout,
            num_indirect_probes: nonzero(self.indirect_probes).into(),
            max_transmissions: nonzero(u8::try_from(digits + 8).unwrap_or(u8::MAX)),
            suspect_to_down_after: self.suspicion_of(nodes),
            remove_down_after: Some(self.forget_after),
            max_packet_size: SWIM_PACKET,
            notify_down_members: true,
            periodic_announce: every(self.feed_period, 1),
            periodic_announce_to_down_members: every(self.down_announce_period, 2),
            periodic_gossip: every(self.gossip_period, self.gossip_fanout),
        }
    }
}

const SWIM_PACKET: std::num::NonZeroUsize = match std::num::NonZeroUsize::new(SWIM_BYTES_MAX) {
    Some(bytes) => bytes,
    None => std::num::NonZeroUsize::MIN,
};

fn nonzero(count: u8) -> NonZeroU8 {
    NonZeroU8::new(count).unwrap_or(NonZeroU8::MIN)
}

pub(crate) fn check_address(identity: &Identity) -> Result<(), ConfigError> {
    let addr = identity.addr;
    if addr.ip().is_unspecified() || addr.port() == 0 { Err(ConfigError::Address(addr)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        assert_eq!(Config::default().check(), Ok(()));
        let zero = Config { gossip_fanout: 0, ..Config::default() };
        assert_eq!(zero.check(), Err(ConfigError::Zero("gossip_fanout")));
        let slow = Config { probe_timeout: Duration::from_millis(200), ..Config::default() };
        assert!(matches!(slow.check(), Err(ConfigError::TimeoutTooLong { .. })));
    }

    #[test]
    fn larger_clusters_wait_longer_and_tell_news_more_often() {
        let (small, large) = (Config::default().swim(5), Config::default().swim(64));
        assert_eq!(small.suspect_to_down_after, Duration::from_millis(500));
        assert_eq!(large.suspect_to_down_after, Duration::from_millis(900));
        assert!(large.max_transmissions > small.max_transmissions);
    }
}
