//! Whatever text stands in a file of documents, reading it ends in documents and problems whose lines are in the file.
#![no_main]

use std::path::PathBuf;
use std::sync::Arc;

use agent_waypoint::document::{Source, load};
use agent_waypoint::id::TrustDomain;
use agent_waypoint::mesh::{Settings, Snapshot, build};
use agent_waypoint::policy::token::Keyring;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Source { file: Arc::new(PathBuf::from("fuzz.yaml")), text: text.to_owned() };
    let documents = load([source]);
    let settings = Settings {
        trust_domain: TrustDomain::parse("cluster.local").expect("valid"),
        gateway: None,
        keys: Keyring::default(),
    };
    let (first, problems) = build(&documents, &settings, &Snapshot::no_documents());
    let lines = text.split(['\n', '\r']).count();
    assert!(problems.iter().all(|problem| problem.place.line <= lines));
    // The result depends on the documents alone.
    let (second, again) = build(&documents, &settings, &first);
    assert_eq!(problems, again);
    assert_eq!(first.closed(), second.closed());
});
