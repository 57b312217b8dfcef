//! A2A over JSON-RPC and HTTP+JSON: what passes is what a reader that is not ours finds in the same bytes. And of what could
//! be a card: its canonical form is JSON, and its own canonical form.
#![no_main]

use agent_waypoint::call::HttpHead;
use agent_waypoint::wire::a2a::{Mounts, card_signatures, card_text, card_urls, decode, denial, route, signed_text};
use agent_waypoint::wire::json;
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;

fn head(path: &str, version: &'static str) -> HttpHead {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("a2a-version", HeaderValue::from_static(version));
    HttpHead { method: Method::POST, path: path.into(), query: None, host: "a".into(), headers }
}

fn canonical(bytes: &[u8]) {
    let Ok(tree) = json::parse(bytes) else { return };
    let Some(card) = tree.as_object() else { return };
    drop((card_urls(card), card_signatures(card).count()));
    for text in [card_text(card), signed_text(card)] {
        serde_json::from_slice::<serde_json::Value>(&text).expect("it is JSON");
        let again = json::parse(&text).expect("it is JSON to us");
        assert_eq!(card_text(again.as_object().expect("an object")), text);
    }
}

fuzz_target!(|bytes: &[u8]| {
    canonical(bytes);
    for (path, version) in [("/", "1.0"), ("/", "0.3"), ("/message:send", "1.0"), ("/v1/message:send", "0.3")] {
        let head = head(path, version);
        let route = route(&head, &Mounts::default(), false).expect("a path of the binding");
        let call = match decode(&route, &head, bytes) {
            Ok(decoded) => decoded.call,
            Err(fault) => {
                let told = denial::fault(route.binding(), &fault, &denial::Details::default());
                serde_json::from_slice::<serde_json::Value>(&told.body).expect("an answer is JSON");
                continue;
            }
        };
        let theirs: serde_json::Value = serde_json::from_slice(bytes).expect("serde_json accepts it");
        let params = if path == "/" { &theirs["params"] } else { &theirs };
        if call.operation.sends() {
            let message = params.get("message").or_else(|| params.get("request")).expect("a message");
            let id = message.get("taskId").or_else(|| message.get("task_id")).and_then(|id| id.as_str());
            assert_eq!(call.task.as_ref().map(|task| &*task.id), id.filter(|id| !id.is_empty()));
        }
    }
});
