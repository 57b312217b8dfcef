//! What a server says: its requests name the host that a browser would go to, a filtered list holds what was kept and no
//! more, and a definition does not depend on how it was written.
#![no_main]

use agent_waypoint::call::{Elicitation, Knowable, McpCall, McpObject, Value};
use agent_waypoint::wire::mcp::{Definition, ServerKind, ServerMessage, filter_list, server_request};
use libfuzzer_sys::fuzz_target;

fn list() -> McpCall {
    let object = McpObject::Tool { name: Knowable::Unknown, arguments: Knowable::Unknown };
    McpCall { object, ..McpCall::base("tools/list", None, None) }
}

/// A page is one by a URL that is read alike everywhere: its host stands whole between the scheme and what follows.
fn hold(asked: &McpCall) {
    let McpObject::ServerRequest(request) = &asked.object else { panic!("a request of the server: {asked:?}") };
    let Some(Elicitation::Url { url, host }) = &request.elicitation else { return };
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    assert!(scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"), "{url}");
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let after = authority.strip_prefix(&**host).expect("the host comes first");
    assert!(after.is_empty() || after.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit())));
    assert!(!host.is_empty() && !host.contains(['@', '\\', '%', ' ']) && **host == host.to_ascii_lowercase(), "{url}");
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut message) = ServerMessage::parse(bytes) else { return };
    let written = message.canonical();
    let again = ServerMessage::parse(&written).expect("own output");
    assert_eq!((again.kind(), again.id(), again.tree()), (message.kind(), message.id(), message.tree()));
    if let ServerKind::Request(method) = message.kind()
        && let Ok(asked) = server_request(method, message.params(), &list())
    {
        hold(&asked);
    }
    message.input_requests(&list()).unwrap_or_default().iter().for_each(hold);
    let Some(result) = message.result_mut() else { return };
    let mut left = 3;
    let filtered = filter_list(&list(), result, |entry, raw| {
        assert!(
            matches!((&entry.object, raw.get("name")), (McpObject::Tool { name: Knowable::Known(name), .. }, Some(said)) if said.as_str() == Some(&**name))
        );
        assert!(Definition::of(raw).is_some());
        left -= 1;
        left >= 0
    });
    let kept = match result.get("tools") {
        Some(Value::Array(tools)) => tools.len(),
        _ => panic!("a list stays one"),
    };
    assert!(kept == filtered.kept && kept <= 3);
});
