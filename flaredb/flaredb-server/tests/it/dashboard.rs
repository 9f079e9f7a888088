//! The dashboard and the node's metrics fit together.

use std::{collections::BTreeSet, time::Duration};

use flaredb_proto::v1::NamespaceMode;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::cloud::{Cloud, Running, create};

const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nix/monitoring/flaredb-dashboard.json");

/// Everything under an `expr` or a `query`.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().filter(|_| matches!(name.as_str(), "expr" | "query")) {
                    Some(text) => found.push(text.to_owned()),
                    None => expressions(field, found),
                }
            }
        }
        _ => {}
    }
}

/// The metrics that an expression names.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("flaredb_") || word.starts_with("process_"))
}

async fn metrics(node: &Running) -> String {
    let mut stream = TcpStream::connect(node.process.admin_address()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// The names of the series of an exposition.
fn series(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_dashboard_is_one_of_the_nodes_and_the_other_way_round() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let client = cloud.client([&node]);
    create(&client, "notes", NamespaceMode::Strong).await;
    client.cas_put("notes", "k", "v", 0).await.unwrap();
    let text = metrics(&node).await;
    let there = series(&text);
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(DASHBOARD).unwrap()).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let shown: BTreeSet<&str> = found.iter().flat_map(|expression| names(expression)).collect();
    assert!(shown.len() > 30, "{shown:?}");
    let unknown: Vec<&&str> = shown.difference(&there).collect();
    assert!(unknown.is_empty(), "no node has {unknown:?}");
    let parts = ["_sum", "_count", "_created"];
    let whole = |name: &&&str| name.starts_with("flaredb_") && !parts.iter().any(|part| name.ends_with(part));
    let hidden: Vec<&&str> = there.difference(&shown).filter(whole).collect();
    assert!(hidden.is_empty(), "the dashboard does not show {hidden:?}");
    node.stop().await;
}
