//! A caller, a target and its rules, for benchmarks of what is done without I/O.

use std::path::PathBuf;
use std::sync::Arc;

use agent_waypoint::call::{Call, HttpHead};
use agent_waypoint::control::identity::{DEV_TTL, DevCa};
use agent_waypoint::document::{Source, load};
use agent_waypoint::id::{Peer, TrustDomain, WorkloadId};
use agent_waypoint::mesh::{Settings, Snapshot, Target, build};
use agent_waypoint::policy::{Facts, on_compile_thread};
use agent_waypoint::tls;
use agent_waypoint::wire::authority::Authority;

use super::world::{CALLER, Place, documents, vip};

/// A proven caller, the target that it calls and the head that it sends.
pub(crate) struct Setting {
    pub(crate) peer: Peer,
    pub(crate) target: Arc<Target>,
    pub(crate) head: HttpHead,
}

impl Setting {
    pub(crate) fn new() -> Self {
        let nowhere = "127.0.0.1:1".parse().unwrap();
        Self::of(&documents(Place { plain: nowhere, hbone: nowhere }), &vip("mcp", "plain"))
    }

    /// The target at `authority` of these documents.
    pub(crate) fn of(text: &str, authority: &str) -> Self {
        let target = snapshot(text).find(&Authority::parse(authority).unwrap()).unwrap();
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2025-06-18"),
            ("user-agent", "bench"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let head = HttpHead {
            method: http::Method::POST,
            path: "/mcp".to_owned(),
            query: None,
            host: "mcp-plain.tools".to_owned(),
            headers,
        };
        Self { peer: peer(), target, head }
    }

    pub(crate) fn facts<'a>(&'a self, call: &'a Call) -> Facts<'a> {
        Facts {
            peer: &self.peer,
            destination: &self.target.destination,
            request: Some(&self.head),
            claims: None,
            call,
            led: None,
            labels: None,
        }
    }
}

/// What is in force by these documents.
pub(crate) fn snapshot(text: &str) -> Snapshot {
    let source = Source { file: Arc::new(PathBuf::from("bench.yaml")), text: text.to_owned() };
    let settings = Settings {
        trust_domain: TrustDomain::parse("cluster.local").unwrap(),
        gateway: None,
        keys: agent_waypoint::policy::token::Keyring::default(),
    };
    let (snapshot, problems) = on_compile_thread(|| build(&load([source]), &settings, &Snapshot::no_documents()));
    assert!(problems.is_empty(), "{problems:?}");
    snapshot
}

/// Proven the only way there is: by a handshake.
fn peer() -> Peer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let ca = DevCa::ephemeral(&domain).unwrap();
    let identity = |namespace, account| {
        let id = WorkloadId::of_istio(&domain, namespace, account).unwrap();
        ca.identity(&id, DEV_TTL).unwrap()
    };
    let (near, far) = tokio::io::duplex(64 << 10);
    let (server, client) = (identity("tools", "waypoint"), identity(CALLER.0, CALLER.1));
    runtime.block_on(async {
        let accepting = tls::accept(&server, far, "127.0.0.1:40000".parse().unwrap());
        let connecting = tls::connect(&client, near, tls::Expect::TrustDomain(domain.clone()));
        let (accepted, _connected) = tokio::join!(accepting, connecting);
        accepted.unwrap().peer
    })
}

/// A `tools/list` of so many, every other one of which the caller may see.
pub(crate) fn list(tools: usize) -> Vec<u8> {
    let entries: Vec<_> = (0..tools)
        .map(|n| {
            let verb = if n % 2 == 0 { "create" } else { "delete" };
            format!(
                r#"{{"name":"{verb}_thing_{n}","title":"Thing {n}","description":"Does to thing {n} what its name says, once, and tells what came of it.","inputSchema":{{"type":"object","properties":{{"owner":{{"type":"string"}},"count":{{"type":"integer","minimum":1}}}},"required":["owner"]}}}}"#
            )
        })
        .collect();
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{}]}}}}"#, entries.join(",")).into_bytes()
}
