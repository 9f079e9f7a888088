//! Gossip of a server and an agent: whom they know, and how their keys are changed.

use std::fs;

use chainfire_proto::v1::{
    AddKeyRequest, ListKeysRequest, MembersRequest, RemoveKeyRequest, State, UseKeyRequest,
    gossip_client::GossipClient,
};
use chainfire_server::{Agent, GossipConfig, agent::AgentConfig};
use photon_runtime::{ClientTls, OpenTls, Process, Role, Token, auth::add_token, client::BearerToken};
use tonic::{Code, service::interceptor::InterceptedService, transport::Channel};

use crate::cloud::{Cloud, Running, free_address, wait_for};

type Asked = GossipClient<InterceptedService<Channel, BearerToken>>;

/// A server, an agent that joined it, and what an administrator calls them with.
struct Pair {
    server: Running,
    agent: Process,
    administrator: ClientTls,
    key_file: std::path::PathBuf,
}

impl Pair {
    async fn start(cloud: &Cloud) -> Self {
        let token = Token::generate();
        let tokens = cloud.path("tokens.toml");
        fs::write(&tokens, add_token("", "ada", &token, Role::Admin).unwrap()).unwrap();
        let gossip = |name: &str, join| {
            let key_file = cloud.path(&format!("{name}.keys"));
            // 32 bytes in base64.
            fs::write(&key_file, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n").unwrap();
            let listen = Some("127.0.0.1:0".parse().unwrap());
            GossipConfig { listen, join, key_file, name: name.to_owned(), ..GossipConfig::default() }
        };
        let address = free_address();
        let mut config = cloud.config(1, address, &[address]);
        config.auth.tokens_file = Some(tokens.clone());
        config.client.tls = OpenTls::Off;
        config.gossip = gossip("db1", vec![]);
        let server = cloud.start(config).await.unwrap();
        server.ready().await;
        let administrator = ClientTls { token: Some(token), ..cloud.anonymous() };
        let db1 = members(&mut asked(&administrator, address)).await;
        let mut agent = AgentConfig { tls: cloud.tls("chainfire-agent"), ..AgentConfig::default() };
        agent.auth.tokens_file = Some(tokens);
        agent.gossip = gossip("web1", vec![db1[0].1.parse().unwrap()]);
        let key_file = agent.gossip.key_file.clone();
        let agent = Process::start::<Agent>(agent).await.unwrap();
        Self { server, agent, administrator, key_file }
    }

    fn server(&self) -> Asked {
        asked(&self.administrator, self.server.config.server.listen)
    }

    fn agent(&self) -> Asked {
        asked(&self.administrator, self.agent.grpc_address())
    }
}

fn asked(credentials: &ClientTls, address: std::net::SocketAddr) -> Asked {
    let channel = credentials.endpoint(&format!("https://{address}")).unwrap().connect_lazy();
    GossipClient::new(InterceptedService::new(channel, credentials.bearer()))
}

/// Name, address and state of all whom a node knows.
async fn members(node: &mut Asked) -> Vec<(String, String, State)> {
    let answer = node.members(MembersRequest {}).await.unwrap().into_inner();
    answer
        .members
        .iter()
        .map(|member| (member.name.clone(), member.address.clone(), member.state()))
        .collect()
}

async fn until_known(node: Asked, name: &str, wanted: State) {
    wait_for(&format!("{name} is {wanted:?}"), async || {
        let known = members(&mut node.clone()).await;
        known.iter().any(|(found, _, state)| found == name && *state == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_and_agent_know_each_other_and_who_leaves_is_known_to_have_left() {
    let cloud = Cloud::new();
    let pair = Pair::start(&cloud).await;
    until_known(pair.server(), "web1", State::Alive).await;
    until_known(pair.agent(), "db1", State::Alive).await;
    let clients = cloud.channel(&pair.server.config, &cloud.anonymous());
    let told = GossipClient::new(clients.clone()).members(MembersRequest {}).await.unwrap().into_inner();
    let web1 = told.members.iter().find(|member| member.name == "web1").unwrap();
    assert_eq!(web1.addresses, [pair.agent.grpc_address().to_string()]);
    assert_eq!(web1.services, ["chainfire-agent"]);
    assert!(web1.since_ms > 0 && web1.generation > 0);
    let refused = GossipClient::new(clients).list_keys(ListKeysRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "keys are nobody's on etcd's port");
    pair.agent.stop().await.unwrap();
    until_known(asked(&pair.administrator, pair.server.config.server.listen), "web1", State::Left).await;
    pair.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_changed_by_administrators_alone_and_outlive_the_process() {
    let cloud = Cloud::new();
    let pair = Pair::start(&cloud).await;
    until_known(pair.agent(), "db1", State::Alive).await;
    let old = pair.agent().list_keys(ListKeysRequest {}).await.unwrap().into_inner().ids;
    let key = AddKeyRequest { key: vec![2; 32].into() };
    let service = asked(&cloud.member(), pair.agent.grpc_address()).add_key(key.clone()).await.unwrap_err();
    assert_eq!(service.code(), Code::PermissionDenied);
    let both = pair.agent().add_key(key.clone()).await.unwrap().into_inner().ids;
    pair.server().add_key(key).await.unwrap();
    let new = both.iter().find(|id| !old.contains(id)).unwrap().clone();
    let early = pair.agent().remove_key(RemoveKeyRequest { id: old[0].clone() }).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early:?}");
    for mut node in [pair.agent(), pair.server()] {
        node.use_key(UseKeyRequest { id: new.clone() }).await.unwrap();
    }
    for mut node in [pair.agent(), pair.server()] {
        let left = node.remove_key(RemoveKeyRequest { id: old[0].clone() }).await.unwrap().into_inner().ids;
        assert_eq!(left, std::slice::from_ref(&new));
    }
    until_known(pair.server(), "web1", State::Alive).await;
    // 32 times 2 in base64.
    let written = fs::read_to_string(&pair.key_file).unwrap();
    assert_eq!(written, "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n");
    pair.agent.stop().await.unwrap();
    pair.server.stop().await;
}
