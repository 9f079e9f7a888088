//! The operator's verbs, run as the binary that people run.

use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::cloud::{Cloud, Running, free_address};

struct Operator<'a> {
    cloud: &'a Cloud,
    node: &'a Running,
}

impl Operator<'_> {
    async fn run(&self, verb: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flaredb"));
        command.args(verb).env_clear().kill_on_drop(true);
        command.env("FLAREDB_ENDPOINTS", &self.node.endpoint);
        command.env("FLAREDB_CA", self.cloud.path("ca.crt"));
        command.env("FLAREDB_TOKEN", self.cloud.admin_token());
        command.output().await.unwrap()
    }

    /// What a verb that works prints.
    async fn text(&self, verb: &[&str]) -> String {
        let output = self.run(verb).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb:?} failed: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn json(&self, verb: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[verb, &["--output", "json"]].concat()).await).unwrap()
    }

    /// Exit code and message of a verb that does not.
    async fn refused(&self, verb: &[&str]) -> (i32, String) {
        let output = self.run(verb).await;
        assert!(output.stdout.is_empty(), "{verb:?} printed {}", String::from_utf8_lossy(&output.stdout));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_written_read_scanned_and_deleted() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let operator = Operator { cloud: &cloud, node: &node };
    operator.text(&["namespace", "create", "notes"]).await;
    assert_eq!(operator.json(&["put", "notes", "a", "one"]).await["version"], 1);
    assert_eq!(operator.json(&["put", "notes", "b", "base64:/wA="]).await["version"], 2);
    assert_eq!(operator.text(&["get", "notes", "a", "--raw"]).await, "one");
    assert_eq!(operator.json(&["get", "notes", "b"]).await["value"], "base64:/wA=");
    let table = operator.text(&["scan", "notes"]).await;
    assert_eq!(table, "KEY  VERSION  VALUE\na    1        one\nb    2        base64:/wA=\n");
    let (code, message) = operator.refused(&["put", "notes", "a", "two", "--if-version", "9"]).await;
    assert_eq!(code, 4);
    assert!(message.starts_with("error: \"a\" is at version 1, not 9; nothing was changed\n"), "{message}");
    operator.text(&["delete", "notes", "a"]).await;
    assert_eq!(operator.refused(&["get", "notes", "a"]).await.0, 3);
    let watched = operator.text(&["watch", "notes", "--from", "1", "--count", "3", "-o", "json"]).await;
    let kinds: Vec<Value> = watched.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = kinds.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["create", "create", "delete"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eventual_records_go_by_the_same_verbs() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let operator = Operator { cloud: &cloud, node: &node };
    operator.text(&["namespace", "create", "sessions", "--mode", "eventual"]).await;
    operator.text(&["put", "sessions", "s", "v"]).await;
    assert_eq!(operator.text(&["get", "sessions", "s", "--raw"]).await, "v");
    assert_eq!(operator.json(&["scan", "sessions"]).await[0]["key"], "s");
    operator.text(&["delete", "sessions", "s"]).await;
    assert_eq!(operator.refused(&["get", "sessions", "s"]).await.0, 3);
    assert_eq!(operator.refused(&["put", "sessions", "s", "v", "--if-version", "1"]).await.0, 64);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_and_namespaces_are_shown() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let operator = Operator { cloud: &cloud, node: &node };
    let status = operator.json(&["status"]).await;
    assert_eq!((&status[0]["role"], &status[0]["id"]), (&Value::from("leader"), &Value::from(1)));
    assert!(operator.text(&["status"]).await.starts_with("ID  ENDPOINT"));
    assert_eq!(operator.json(&["members"]).await[0]["endpoint"], node.endpoint.as_str());
    operator.text(&["namespace", "create", "notes", "--keys-max", "5"]).await;
    let described = operator.json(&["namespace", "describe", "notes"]).await;
    assert_eq!((&described["mode"], &described["keys_max"]), (&Value::from("strong"), &Value::from(5)));
    assert!(operator.text(&["namespace", "list"]).await.contains("0/5"));
    assert_eq!(operator.refused(&["namespace", "delete", "notes"]).await.0, 64);
    operator.text(&["namespace", "delete", "notes", "--yes"]).await;
    let (code, message) = operator.refused(&["namespace", "describe", "notes"]).await;
    assert_eq!(code, 3);
    assert!(message.contains("does not exist"), "{message}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_examines_every_node_and_its_exit_code_says_whether_something_is_bad() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let operator = Operator { cloud: &cloud, node: &node };
    let output = operator.run(&["doctor", "--output", "json"]).await;
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut checks: Vec<&str> = findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    checks.sort_unstable();
    assert_eq!(checks, ["certificate", "clock", "disk", "fsync", "lag", "quorum", "ready"]);
    let bad: Vec<&Value> = findings.iter().filter(|finding| finding["level"] == "bad").collect();
    assert!(bad.iter().all(|finding| !finding["advice"].as_str().unwrap().is_empty()), "{bad:?}");
    // The certificate of the tests is one of a single day.
    assert!(bad.iter().any(|finding| finding["check"] == "certificate"), "{findings:?}");
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(operator.run(&["doctor"]).await.stdout).unwrap();
    assert!(table.starts_with("LEVEL  CHECK"), "{table}");
    let viewer = operator.run(&["doctor", "--token", cloud.viewer_token()]).await;
    let words = String::from_utf8(viewer.stdout).unwrap();
    assert!(
        words.contains("may not administer") && words.contains("use an administrator's token"),
        "{words}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_goes_into_a_file_and_into_a_new_cluster() {
    let (old, new) = (Cloud::new(), Cloud::new());
    let file = old.path("all.snapshot");
    let file = file.to_str().unwrap();
    let node = old.single().await;
    let operator = Operator { cloud: &old, node: &node };
    operator.text(&["namespace", "create", "notes"]).await;
    operator.text(&["put", "notes", "a", "one"]).await;
    operator.text(&["snapshot", "save", file]).await;
    assert_eq!(operator.json(&["snapshot", "verify", file]).await["chunks"], 1);
    node.stop().await;
    let node = new.single().await;
    let operator = Operator { cloud: &new, node: &node };
    let restored = operator.json(&["snapshot", "restore", file]).await;
    assert_eq!((&restored["namespaces"], &restored["records"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(operator.text(&["get", "notes", "a", "--raw"]).await, "one");
    let cut = std::fs::read(file).unwrap();
    std::fs::write(file, &cut[..cut.len() - 1]).unwrap();
    let (code, message) = operator.refused(&["snapshot", "restore", file]).await;
    assert_eq!(code, 1);
    assert!(message.contains("cut short"), "{message}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_have_one_message_and_their_exit_code() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let operator = Operator { cloud: &cloud, node: &node };
    assert_eq!(operator.refused(&["frobnicate"]).await.0, 64);
    for verb in [&["status"][..], &["get", "notes", "k"]] {
        let (code, message) = operator.refused(&[verb, &["--token", "pct_wrong"]].concat()).await;
        assert_eq!(code, 1);
        assert!(message.contains("the token is not known here"), "{message}");
        assert!(message.contains("next: give an operator's token"), "{message}");
    }
    let nowhere = format!("https://{}", free_address());
    let (code, message) = operator.refused(&["status", "--endpoints", &nowhere]).await;
    assert_eq!(code, 5);
    assert!(message.contains("answered\n"), "{message}");
    let (code, message) = operator.refused(&["serve", "--set", "node.idd=1", "--check-config"]).await;
    assert_eq!(code, 64);
    assert!(message.contains("node.id"), "{message}");
    node.stop().await;
}
