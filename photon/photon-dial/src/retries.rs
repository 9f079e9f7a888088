//! The attempts of one call, with their clock and their nodes: [`Attempts`] decides, this acts.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Response, Status};

use crate::{
    Attempts, CallError, Next, Node, NodeError, Outcome, Pool, Route, Safety, Verdict, pause, words,
};

/// Where there is another node to ask, one node gets only this part of a call's time.
const SHARES: u32 = 4;

/// The attempts of a call.
#[derive(Debug)]
pub struct Retries<'a, S> {
    pool: &'a Pool<S>,
    route: Route,
    attempts: Attempts,
    deadline: Instant,
    /// How long one node may take.
    share: Duration,
}

/// One attempt.
#[derive(Debug)]
pub struct Attempt<S> {
    /// Where.
    pub node: Arc<Node<S>>,
    /// Until when.
    pub deadline: Instant,
    /// How long that is.
    pub left: Duration,
}

impl<'a, S: Default> Retries<'a, S> {
    /// The attempts of a call that begins now.
    pub fn new(pool: &'a Pool<S>, route: Route, safety: Safety, timeout: Duration) -> Self {
        // A write without an id has one attempt that may take effect, which therefore gets all the time there is.
        let shares = if safety == Safety::Once || pool.len() == 1 { 1 } else { SHARES };
        Self {
            pool,
            route,
            attempts: Attempts::new(safety),
            deadline: Instant::now() + timeout,
            share: timeout / shares,
        }
    }

    /// The next one.
    pub fn next_attempt(&self) -> Attempt<S> {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now).min(self.share);
        Attempt { node: self.pool.pick(self.route), deadline: now + left, left }
    }

    /// Takes a status as the attempt's outcome, and waits until the next attempt may start.
    ///
    /// # Errors
    /// When there is none.
    pub async fn failed<E: CallError>(
        &mut self,
        node: &Node<S>,
        status: &Status,
        outcome: Outcome<E>,
    ) -> Result<(), E> {
        let error = NodeError { endpoint: node.address.clone(), message: words(status) };
        self.judge(node, outcome, error).await
    }

    /// Takes silence as the attempt's outcome.
    ///
    /// # Errors
    /// When there is no other attempt.
    pub async fn unanswered<E: CallError>(&mut self, attempt: &Attempt<S>) -> Result<(), E> {
        let error = NodeError::no_answer(&attempt.node.address, attempt.left);
        self.judge(&attempt.node, Outcome::Unknown, error).await
    }

    async fn judge<E: CallError>(
        &mut self,
        node: &Node<S>,
        outcome: Outcome<E>,
        error: NodeError,
    ) -> Result<(), E> {
        let nodes = u32::try_from(self.pool.len()).unwrap_or(u32::MAX);
        let round = match self.attempts.judge(outcome, &error, nodes) {
            Verdict::End(error) => return Err(error),
            Verdict::Again(next, round) => {
                self.go(next, node);
                round
            }
        };
        let pause = round.map_or(Duration::ZERO, |round| pause(round, rand::random()));
        if Instant::now() + pause >= self.deadline {
            return Err(self.attempts.given_up(error));
        }
        if !pause.is_zero() {
            tracing::debug!(%error, ?pause, "trying again after a pause");
            sleep(pause).await;
        }
        Ok(())
    }

    fn go(&self, next: Next, from: &Node<S>) {
        match next {
            Next::Leader(address) if self.route == Route::Leader && self.pool.follow(&address) => {}
            Next::Leader(_) | Next::Other => self.pool.leave(self.route, from),
            Next::Same => {}
        }
    }
}

/// Makes attempt after attempt until one is answered, refused, in doubt, or out of time; `outcome` is what a status
/// says about the request. Returns the node that answered as well.
///
/// # Errors
/// When no attempt was answered.
pub async fn until_answered<S, R, E, F>(
    mut retries: Retries<'_, S>,
    attempt_at: impl Fn(&Attempt<S>) -> F,
    outcome: impl Fn(&Status, &str) -> Outcome<E>,
) -> Result<(Arc<Node<S>>, R), E>
where
    S: Default,
    E: CallError,
    F: Future<Output = Result<Response<R>, Status>>,
{
    loop {
        let attempt = retries.next_attempt();
        match timeout_at(attempt.deadline, attempt_at(&attempt)).await {
            Ok(Ok(response)) => return Ok((attempt.node, response.into_inner())),
            Ok(Err(status)) => {
                let outcome = outcome(&status, &attempt.node.address);
                retries.failed(&attempt.node, &status, outcome).await?;
            }
            Err(_elapsed) => retries.unanswered(&attempt).await?,
        }
    }
}
