//! Every example in manifests/examples is free of errors and warnings, by `check` itself.

use std::fs;
use std::path::Path;

use agent_waypoint::cli::args::CheckArgs;
use agent_waypoint::cli::{Ended, check};
use agent_waypoint::id::TrustDomain;

#[test]
fn every_example_passes_check() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples");
    let mut seen = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let trust_domain = TrustDomain::parse("cluster.local").unwrap();
        let mut out = Vec::new();
        let ended = check::run(&CheckArgs { files: vec![path.clone()], trust_domain, json: false }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(ended, Ended::Well, "{}:\n{text}", path.display());
        assert!(text.ends_with("0 errors, 0 warnings\n"), "{}:\n{text}", path.display());
        assert!(!text.contains("closed"), "{}:\n{text}", path.display());
        seen += 1;
    }
    assert!(seen >= 4);
}
