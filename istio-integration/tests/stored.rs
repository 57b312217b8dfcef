//! Documents as an API server stores them, with all that it and Istio add, through `agent-waypoint check`.

use std::process::Output;

use istio_integration::{check, fixtures};

fn said(output: &Output) -> String {
    [output.stdout.as_slice(), output.stderr.as_slice()].concat().escape_ascii().to_string()
}

#[test]
fn stored_documents_are_taken_as_they_are() {
    let output = check(&fixtures("stored")).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_route_to_nothing_is_told_with_its_place() {
    let output = check(&fixtures("routes")).unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for word in ["httproute.yaml", "HTTPRoute tools/repo-split", "backendRefs[0].name", "answered 500"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

#[test]
fn a_field_that_is_not_enforced_is_an_error_with_its_place() {
    let output = check(&fixtures("refused")).unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["authorizationpolicy.yaml", "AuthorizationPolicy tools/by-metadata", "when[0].key"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}
