//! `flaredb doctor`: examines every node and says what is not as it should be, and what to do about it.
//!
//! Facts are gathered here; what they mean is decided in [`findings`], without any I/O.

mod findings;

use std::time::{SystemTime, UNIX_EPOCH};

use flaredb_client::RdbClient;
use flaredb_proto::v1::{ExamineResponse, StatusResponse};

use self::findings::{Level, Node};
use super::{Options, failure::Failure, status};

/// Examines the cluster.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let mut nodes = Vec::new();
    for (endpoint, answer) in status::ask_all(options).await? {
        let node = match answer {
            Ok(status) => examine(options, endpoint, status).await,
            Err(error) => Node { endpoint, error: Some(format!("{error:#}")), ..Node::default() },
        };
        nodes.push(node);
    }
    let findings = findings::judge(&nodes, now_ms() / 1_000);
    options.output.rows(&findings)?;
    let bad = findings.iter().filter(|finding| finding.level == Level::Bad).count();
    match bad {
        0 => Ok(()),
        bad => Err(Failure::Unwell { bad, findings: findings.len() }.into()),
    }
}

async fn examine(options: &Options, endpoint: String, status: StatusResponse) -> Node {
    let examined = match options.connect.client_of(vec![endpoint.clone()]).await {
        Ok(client) => ask(&client).await,
        Err(error) => Err(error),
    };
    let (examined, clock_ahead_ms, error) = match examined {
        Ok((examined, ahead_ms)) => (Some(examined), ahead_ms, None),
        Err(error) => (None, 0, Some(format!("{error:#}"))),
    };
    Node { endpoint, status: Some(status), examined, clock_ahead_ms, error }
}

/// What a node tells of its machine, and how far its clock is ahead of this one. It reads its clock at the end, so the
/// time of its answer's way is all that blurs the comparison.
async fn ask(client: &RdbClient) -> anyhow::Result<(ExamineResponse, i64)> {
    let examined = client.maintenance().examine().await?;
    let ahead_ms = i64::try_from(examined.clock_ms)?.saturating_sub(i64::try_from(now_ms())?);
    Ok((examined, ahead_ms))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
