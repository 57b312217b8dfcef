use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::super::budget::Budget;
use super::session::InFlight;
use super::table::NotBegun;
use super::*;
use crate::call::{Elicitation, Knowable, McpCall, McpObject, ServerRequest, Value};
use crate::config::limits::{MAX_ASKED_BYTES_PER_PRINCIPAL, MAX_SESSION_ID, SESSION_LIFE};
use crate::mesh::TargetKind;
use crate::seal::{SECRET, Sealer, Secret};
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::Version;

fn target(name: &str) -> TargetKey {
    TargetKey { kind: TargetKind::Service, namespace: "tools".into(), name: name.into(), port: 80, at: None }
}

fn who(name: &str) -> WorkloadId {
    WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{name}")).unwrap()
}

fn holder(owner: &str) -> Holder {
    Holder { owner: who(owner), subject: None, target: target("repo") }
}

fn sealer(n: u8) -> Sealer {
    Sealer::new(&Secret::new([n; SECRET]), &[]).unwrap()
}

fn replica(capacity: usize, share: usize) -> Sessions {
    Sessions::new(sealer(1), capacity, share, Duration::from_secs(10))
}

fn of(id: &str) -> Sealed {
    let result = r#"{"protocolVersion":"2025-06-18","serverInfo":{"name":"FastMCP"},"capabilities":{"tools":{"listChanged":true},"prompts":{}}}"#;
    Sealed::of(&"10.0.0.1:80".into(), id, &crate::wire::json::parse(result.as_bytes()).unwrap()).unwrap()
}

fn begin(sessions: &Sessions, owner: &str, id: &str) -> Bound {
    sessions.begin(holder(owner), &of(id), now()).unwrap()
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn token(bound: &Bound) -> Arc<str> {
    bound.token.clone().unwrap()
}

#[tokio::test]
async fn any_replica_serves_a_session_and_a_restart_keeps_it() {
    let (one, other) = (replica(8, 8), replica(8, 8));
    let bound = begin(&one, "a", "s");
    for sessions in [&one, &other, &replica(8, 8)] {
        let opened = sessions.open(&holder("a"), &token(&bound), now()).unwrap();
        assert_eq!((&*opened.key.id, &*opened.key.endpoint), ("s", "10.0.0.1:80"));
        assert_eq!(opened.session.version, Some(Version::V2025_06_18));
        assert!(opened.session.wording.is_some());
        assert_eq!(opened.session.announced.lists().collect::<Vec<_>>(), ["tools"]);
    }
}

#[tokio::test]
async fn a_session_is_its_holders_alone() {
    let sessions = replica(8, 8);
    let token = token(&begin(&sessions, "a", "s"));
    let other_keys = Sessions::new(sealer(2), 8, 8, Duration::from_secs(10));
    let open = |sessions: &Sessions, holder: &Holder| sessions.open(holder, &token, now()).is_some();
    assert!(open(&sessions, &holder("a")));
    assert!(!open(&sessions, &holder("b")));
    assert!(!open(&sessions, &Holder { subject: Some("iss/alice".into()), ..holder("a") }));
    assert!(!open(&sessions, &Holder { target: target("other"), ..holder("a") }));
    assert!(!open(&other_keys, &holder("a")));
    for forged in ["", "s", "s-1", token.get(1..).unwrap(), &format!("{token}A")] {
        assert!(sessions.open(&holder("a"), forged, now()).is_none(), "{forged}");
    }
}

#[tokio::test]
async fn a_session_expires_and_ends() {
    let sessions = replica(8, 8);
    let bound = begin(&sessions, "a", "s");
    let open = |at| sessions.open(&holder("a"), &token(&bound), at);
    assert!(open(now() + SESSION_LIFE - Duration::from_secs(5)).is_some());
    assert!(open(now() + SESSION_LIFE).is_none());
    sessions.end(&bound);
    assert!(open(now()).is_none());
    assert_eq!(sessions.len(), 0);
    // Its server may begin one of the same id again.
    let again = begin(&sessions, "a", "s");
    assert!(sessions.open(&holder("a"), &token(&again), now()).is_some());
}

#[tokio::test]
async fn an_id_in_use_stays_its_holders() {
    let sessions = replica(8, 8);
    let first = begin(&sessions, "a", "s");
    assert_eq!(sessions.begin(holder("b"), &of("s"), now()).unwrap_err(), NotBegun::InUse);
    begin(&sessions, "a", "s");
    assert!(sessions.open(&holder("a"), &token(&first), now()).is_some());
    // Another endpoint numbers its own.
    let elsewhere = Sealed { endpoint: "10.0.0.2:80".into(), ..of("s") };
    assert!(sessions.begin(holder("b"), &elsewhere, now()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_still_opens() {
    let sessions = replica(2, 2);
    let first = begin(&sessions, "a", "1");
    begin(&sessions, "a", "2");
    begin(&sessions, "a", "3");
    assert_eq!(sessions.len(), 2);
    assert!(sessions.open(&holder("a"), &token(&first), now()).is_some());
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(sessions.open(&holder("a"), &token(&first), now()).is_some());
    assert_eq!(sessions.len(), 1, "the others were idle");
}

#[tokio::test]
async fn whoever_has_most_forgets_first() {
    let sessions = replica(6, 4);
    let theirs = begin(&sessions, "b", "b");
    for n in 0..50 {
        begin(&sessions, "a", &n.to_string());
    }
    assert_eq!(sessions.len(), 5);
    for n in 0..50 {
        begin(&sessions, "c", &format!("c{n}"));
    }
    assert_eq!(sessions.len(), 6);
    assert!(sessions.knows(&theirs.key));
}

#[test]
fn an_id_of_a_server_that_is_too_long_begins_no_session() {
    let sealed = |length| Sealed::of(&"e".into(), &"x".repeat(length), &Value::Null);
    assert!(sealed(MAX_SESSION_ID).is_some() && sealed(MAX_SESSION_ID + 1).is_none());
}

fn id(text: &str) -> Id {
    Id::read(&crate::wire::json::parse(text.as_bytes()).unwrap()).unwrap()
}

fn call(method: &str) -> McpCall {
    McpCall::base(method, Some("2025-06-18".into()), None)
}

fn tool(name: &str) -> McpCall {
    let object = McpObject::Tool { name: Knowable::Known(name.into()), arguments: Knowable::Unknown };
    McpCall { object, ..call("tools/call") }
}

#[tokio::test]
async fn an_answer_is_known_by_its_own_id_at_every_replica() {
    let (one, other) = (replica(8, 8), replica(8, 8));
    let here = begin(&one, "a", "s");
    let there = other.open(&holder("a"), &token(&here), now()).unwrap();
    let (list, get) = (tool("x"), tool("get_note"));
    let sent = here.session.sent_id(&id("1"), &list).unwrap();
    here.session.ask(&id("1"), &sent, &list).unwrap();
    // The same id at another replica: the server has two.
    let also = there.session.sent_id(&id("1"), &get).unwrap();
    there.session.ask(&id("1"), &also, &get).unwrap();
    assert_ne!(sent, also);
    let answered = |bound: &Bound, sent: &Id, resumed| bound.session.answered(sent, resumed, None);
    assert_eq!(answered(&there, &sent, false), Some(Sessional { id: id("1"), call: list.clone() }));
    assert_eq!(answered(&here, &sent, false), Some(Sessional { id: id("1"), call: list.clone() }));
    assert_eq!(answered(&here, &sent, false), None, "once");
    assert_eq!(answered(&here, &sent, true), Some(Sessional { id: id("1"), call: list }), "each time it is asked for");
    assert_eq!(answered(&there, &also, false).unwrap().call, get);
    for unasked in ["1", "\"1\"", "\"x\""] {
        assert_eq!(answered(&here, &id(unasked), true), None, "{unasked}");
    }
    let stranger = begin(&one, "a", "t");
    assert_eq!(answered(&stranger, &sent, true), None, "another session's");
}

#[tokio::test]
async fn an_id_in_flight_is_not_asked_again() {
    let sessions = replica(8, 8);
    let bound = begin(&sessions, "a", "s");
    let session = &bound.session;
    let ask = |text: &str| {
        let sent = session.sent_id(&id(text), &tool("x")).unwrap();
        session.ask(&id(text), &sent, &tool("x")).map(|()| sent)
    };
    let sent = ask("1").unwrap();
    assert_eq!(session.waiting(&id("1")), Some(sent.clone()));
    assert_eq!(ask("\"1\""), Err(InFlight));
    session.given_up(&sent);
    assert!(ask("1").is_ok());
    for n in 2..2_000 {
        ask(&n.to_string()).unwrap();
    }
    assert!(session.answered(&sent, false, None).is_some(), "what is forgotten says by its id what it was");
    assert!(sessions.remembered() > 0);
    sessions.forget(&bound.key);
    drop(bound);
    assert_eq!(sessions.remembered(), 0);
}

#[tokio::test]
async fn requests_without_answers_take_no_more_than_their_share_of_memory() {
    let sessions = replica(1_000, 1_000);
    let uri = crate::call::ResourceUri { raw: "x".repeat(8_000).into(), normal: "x".repeat(8_000).into() };
    let read = McpCall { object: McpObject::Resource(Knowable::Known(uri)), ..call("resources/read") };
    let asked = |owner: &str, session: &str, ids: std::ops::Range<usize>| {
        let bound = begin(&sessions, owner, session);
        for n in ids {
            let sent = bound.session.sent_id(&id(&n.to_string()), &read).unwrap();
            bound.session.ask(&id(&n.to_string()), &sent, &read).unwrap();
        }
        bound
    };
    for n in 0..16 {
        // Their caller has gone, and is not waited for.
        asked("a", &n.to_string(), 0..64);
    }
    assert!(sessions.remembered() <= MAX_ASKED_BYTES_PER_PRINCIPAL, "{}", sessions.remembered());
    let bound = asked("b", "b", 0..2);
    assert!(bound.session.waiting(&id("1")).is_some(), "another caller has its own share");
    // What is forgotten still says what it was.
    let bound = asked("a", "0", 100..100);
    let sent = bound.session.sent_id(&id("1"), &read).unwrap();
    bound.session.ask(&id("1"), &sent, &read).unwrap();
    assert_eq!(bound.session.answered(&sent, false, None).unwrap().call, read);
}

#[tokio::test]
async fn a_server_is_answered_once_and_only_what_it_asked() {
    let (one, other) = (replica(8, 8), replica(8, 8));
    let here = begin(&one, "a", "s");
    let there = other.open(&holder("a"), &token(&here), now()).unwrap();
    let budget = Budget::new(1 << 20, 1 << 20);
    let hold = || budget.hold(&who("a"));
    let question = |params: &str| {
        let Value::Object(params) = crate::wire::json::parse(params.as_bytes()).unwrap() else { panic!("no object") };
        let elicitation = Some(Elicitation::Url { url: "https://x/".into(), host: "x".into() });
        let request = ServerRequest { params: Arc::new(params), tool: Some("get_note".into()), elicitation };
        McpCall { object: McpObject::ServerRequest(Arc::new(request)), ..call("elicitation/create") }
    };
    let small = question(r#"{"mode":"url","url":"https://x/"}"#);
    assert_eq!(here.session.reply(&id("1"), None), None);
    let told = here.session.question(&id("1"), small.clone(), hold()).unwrap();
    assert!(here.session.question(&id("\"1\""), small.clone(), hold()).is_none());
    assert_eq!(here.session.question(&id("1"), small.clone(), hold()).as_ref(), Some(&told), "told again");
    assert!(here.session.question(&id("1"), question("{}"), hold()).is_none(), "another one");
    assert_eq!(here.session.questioned(&id("1")), Some(told.clone()));
    assert_eq!(here.session.reply(&id("1"), None), None);
    let expected = Some(Sessional { id: id("1"), call: small.clone() });
    assert_eq!(there.session.reply(&told, None), expected, "at any replica");
    assert_eq!(here.session.reply(&told, None), expected);
    assert_eq!(here.session.reply(&told, None), None);
    assert_eq!(there.session.reply(&told, None), None);
    let large = question(&format!(r#"{{"message":"{}"}}"#, "x".repeat(5_000)));
    let told = here.session.question(&id("2"), large.clone(), hold()).unwrap();
    assert_eq!(there.session.reply(&told, None), None, "its parameters are known here alone");
    assert_eq!(here.session.reply(&told, None).unwrap().call, large);
    for n in 10..74 {
        assert!(here.session.question(&id(&n.to_string()), small.clone(), hold()).is_some());
    }
    assert!(here.session.question(&id("900"), small, hold()).is_none());
}

#[tokio::test]
async fn a_stream_goes_on_after_its_own_events_only() {
    let (one, other) = (replica(8, 8), replica(8, 8));
    let here = begin(&one, "a", "s");
    let there = other.open(&holder("a"), &token(&here), now()).unwrap();
    let stranger = begin(&one, "a", "t");
    for event in ["1", "", "a/b.c", "\u{e9}."] {
        let marked = here.session.event(event);
        assert_eq!(there.session.resumes(&marked), Some(event));
        assert_eq!(stranger.session.resumes(&marked), None);
        assert_eq!(there.session.resumes(event), None);
        assert_eq!(there.session.resumes(&format!("x{marked}")), None);
    }
}

proptest! {
    #[test]
    fn calls_come_back_from_their_ids(method in "[a-z/]{1,20}", name in proptest::option::of(".{1,40}"), kind in 0..9_usize, n: u32) {
        let known = name.as_deref().map_or(Knowable::Unknown, |name| Knowable::Known(Arc::from(name)));
        let arguments = || Knowable::Unknown;
        let text: Arc<str> = name.as_deref().unwrap_or_default().into();
        let uri = crate::call::ResourceUri { raw: Arc::clone(&text), normal: format!("n{text}").into() };
        let object = match kind {
            0 => McpObject::Base,
            1 => McpObject::Other,
            2 => McpObject::Setting,
            3 => McpObject::Subscription(Arc::default()),
            4 => McpObject::Tool { name: known, arguments: arguments() },
            5 => McpObject::Prompt { name: known, arguments: arguments() },
            6 => McpObject::Resource(Knowable::Unknown),
            7 => McpObject::Resource(Knowable::Known(uri)),
            _ => McpObject::Task(crate::call::Task { id: known, tool: Some(Arc::clone(&text)), created: Some(text) }),
        };
        let session = Some(Arc::from("digest"));
        let call = McpCall { object, session: session.clone(), ..call(&method) };
        let sessions = replica(8, 8);
        let bound = begin(&sessions, "a", "s");
        let sent = bound.session.sent_id(&id(&n.to_string()), &call).unwrap();
        prop_assert_eq!(bound.session.answered(&sent, false, session), Some(Sessional { id: id(&n.to_string()), call }));
    }

    #[test]
    fn sealed_sessions_are_visible_and_come_back(session_id in "[!-~]{1,1024}", endpoint in "[!-~]{1,80}") {
        let sessions = replica(8, 8);
        let sealed = Sealed { id: session_id.into(), endpoint: endpoint.into(), ..of("") };
        let bound = sessions.begin(holder("a"), &sealed, now()).unwrap();
        let token = token(&bound);
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_graphic()) && token.len() < 4_096);
        let opened = sessions.open(&holder("a"), &token, now()).unwrap();
        prop_assert_eq!((opened.key.id, opened.key.endpoint), (sealed.id, sealed.endpoint));
    }
}
