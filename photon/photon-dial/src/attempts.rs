//! Decides what follows a failed attempt: another one, where and when, or the end. Pure.

use std::time::Duration;

/// What went wrong at one node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{endpoint}: {message}")]
pub struct NodeError {
    /// The node.
    pub endpoint: String,
    /// Its words, or those of the connection to it.
    pub message: String,
}

impl NodeError {
    /// Silence.
    pub fn no_answer(endpoint: &str, waited: Duration) -> Self {
        let message = format!("no answer within {} ms", waited.as_millis());
        Self { endpoint: endpoint.to_owned(), message }
    }
}

/// A client library's error: what it must be able to say.
pub trait CallError {
    /// It did not happen: no node could do it before the deadline.
    fn unavailable(source: NodeError) -> Self;
    /// It may or may not have happened.
    fn indeterminate(source: NodeError) -> Self;
}

/// What is known after an attempt that brought no answer.
#[derive(Debug)]
pub enum Outcome<E> {
    /// It was judged, and is refused anywhere.
    Refused(E),
    /// It did not happen; ask the leader, at this address if the node knew it.
    Redirected(Option<String>),
    /// It did not happen: no connection could be made.
    Unreachable,
    /// It did not happen: this node cannot do it now.
    Unavailable,
    /// It did not happen: this node has too much to do.
    Busy,
    /// It may or may not have happened.
    Unknown,
}

/// What repeating a request can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// Nothing: it changes nothing.
    Read,
    /// Nothing more than the first one did: it carries an idempotency id or a timestamp.
    Idempotent,
    /// It can take effect twice, so it is repeated only after it certainly did not happen.
    Once,
}

/// Where the next attempt goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// To the leader, at this address.
    Leader(String),
    /// To another node.
    Other,
    /// To the same node.
    Same,
}

/// What follows.
#[derive(Debug)]
pub enum Verdict<E> {
    /// Another attempt, at once (`None`) or after the pause of this round.
    Again(Next, Option<u32>),
    /// No other attempt.
    End(E),
}

/// The attempts of one call.
#[derive(Debug)]
pub struct Attempts {
    safety: Safety,
    failed: u32,
    maybe_done: bool,
    unreachable: Option<String>,
}

impl Attempts {
    /// None yet.
    pub fn new(safety: Safety) -> Self {
        Self { safety, failed: 0, maybe_done: false, unreachable: None }
    }

    /// Judges a failed attempt. `nodes` is how many there are to ask.
    pub fn judge<E: CallError>(&mut self, outcome: Outcome<E>, at: &NodeError, nodes: u32) -> Verdict<E> {
        let next = match outcome {
            Outcome::Refused(error) => return Verdict::End(self.refused(error, at)),
            Outcome::Unknown => {
                self.maybe_done |= self.safety != Safety::Read;
                if self.safety == Safety::Once {
                    return Verdict::End(self.given_up(at.clone()));
                }
                Next::Other
            }
            Outcome::Redirected(Some(leader)) if !self.is_unreachable(&leader) => Next::Leader(leader),
            Outcome::Unreachable => {
                self.unreachable = Some(at.endpoint.clone());
                Next::Other
            }
            Outcome::Redirected(_) | Outcome::Unavailable => Next::Other,
            Outcome::Busy => Next::Same,
        };
        let waits = next == Next::Same || self.failed >= nodes;
        // Asking each node once costs no pause; from then on the cluster needs time rather than questions.
        let round = waits.then(|| self.failed.saturating_sub(nodes));
        self.failed = self.failed.saturating_add(1);
        Verdict::Again(next, round)
    }

    /// What to report when there is no time for another attempt.
    pub fn given_up<E: CallError>(&self, source: NodeError) -> E {
        if self.maybe_done { E::indeterminate(source) } else { E::unavailable(source) }
    }

    /// A refusal says nothing about an earlier attempt that nobody answered. (A conflict is no refusal but an answer:
    /// it was found with the idempotency id in view.)
    fn refused<E: CallError>(&self, error: E, at: &NodeError) -> E {
        if self.maybe_done { E::indeterminate(at.clone()) } else { error }
    }

    /// A follower may name a dead leader until the next election; going there again teaches nobody anything.
    fn is_unreachable(&self, leader: &str) -> bool {
        let bare = |address: &str| address.trim_end_matches('/').to_owned();
        self.unreachable.as_ref().is_some_and(|endpoint| bare(endpoint) == bare(leader))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(endpoint: &str) -> NodeError {
        NodeError { endpoint: endpoint.to_owned(), message: "words".to_owned() }
    }

    #[derive(Debug)]
    enum Failed {
        NotFound,
        Unavailable,
        Indeterminate,
    }

    impl CallError for Failed {
        fn unavailable(_source: NodeError) -> Self {
            Self::Unavailable
        }

        fn indeterminate(_source: NodeError) -> Self {
            Self::Indeterminate
        }
    }

    fn refusal() -> Outcome<Failed> {
        Outcome::Refused(Failed::NotFound)
    }

    fn outcome(number: u8) -> Outcome<Failed> {
        match number {
            0 => Outcome::Redirected(Some("http://l".to_owned())),
            1 => Outcome::Redirected(None),
            2 => Outcome::Unreachable,
            3 => Outcome::Unavailable,
            4 => Outcome::Busy,
            _ => Outcome::Unknown,
        }
    }

    #[test]
    fn redirect_is_followed_at_once() {
        let mut attempts = Attempts::new(Safety::Once);
        let verdict =
            attempts.judge::<Failed>(Outcome::Redirected(Some("http://b".to_owned())), &at("http://a"), 3);
        assert!(matches!(verdict, Verdict::Again(Next::Leader(leader), None) if leader == "http://b"));
    }

    #[test]
    fn redirect_to_a_leader_that_was_just_unreachable_is_not_followed() {
        let mut attempts = Attempts::new(Safety::Once);
        attempts.judge::<Failed>(Outcome::Unreachable, &at("http://a"), 3);
        let verdict =
            attempts.judge::<Failed>(Outcome::Redirected(Some("http://a/".to_owned())), &at("http://b"), 3);
        assert!(matches!(verdict, Verdict::Again(Next::Other, None)), "{verdict:?}");
    }

    #[test]
    fn unknown_outcome_of_a_write_without_id_is_the_end_and_is_told_so() {
        let verdict = Attempts::new(Safety::Once).judge::<Failed>(Outcome::Unknown, &at("http://a"), 3);
        assert!(matches!(verdict, Verdict::End(Failed::Indeterminate)), "{verdict:?}");
    }

    #[test]
    fn busy_node_is_asked_again_after_a_pause() {
        let verdict = Attempts::new(Safety::Once).judge::<Failed>(Outcome::Busy, &at("http://a"), 3);
        assert!(matches!(verdict, Verdict::Again(Next::Same, Some(0))), "{verdict:?}");
    }

    #[test]
    fn each_node_is_asked_once_before_the_first_pause() {
        let mut attempts = Attempts::new(Safety::Read);
        let rounds: Vec<Option<u32>> = (0..5)
            .map(|_| match attempts.judge::<Failed>(Outcome::Unavailable, &at("http://a"), 3) {
                Verdict::Again(_, round) => round,
                Verdict::End(error) => panic!("{error:?}"),
            })
            .collect();
        assert_eq!(rounds, [None, None, None, Some(0), Some(1)]);
    }

    proptest! {
        #[test]
        fn a_write_that_may_have_happened_is_never_reported_otherwise(
            steps in prop::collection::vec(0..6_u8, 0..20),
            refused in any::<bool>(),
        ) {
            let mut attempts = Attempts::new(Safety::Idempotent);
            let unknown = steps.contains(&5);
            for step in steps {
                prop_assert!(matches!(attempts.judge(outcome(step), &at("http://a"), 3), Verdict::Again(..)));
            }
            let error: Failed = match attempts.judge(refusal(), &at("http://a"), 3) {
                Verdict::End(error) if refused => error,
                _ => attempts.given_up(at("http://a")),
            };
            prop_assert_eq!(matches!(error, Failed::Indeterminate), unknown);
        }

        #[test]
        fn a_read_is_repeated_after_everything_but_a_refusal(steps in prop::collection::vec(0..6_u8, 0..20)) {
            let mut attempts = Attempts::new(Safety::Read);
            for step in steps {
                prop_assert!(matches!(attempts.judge(outcome(step), &at("http://a"), 3), Verdict::Again(..)));
            }
            prop_assert!(matches!(attempts.judge(refusal(), &at("http://a"), 3), Verdict::End(Failed::NotFound)), "refusal");
        }
    }
}
