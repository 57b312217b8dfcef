use super::super::budget::Budget;
use super::*;
use crate::mesh::TargetKind;

fn key(id: &str) -> SessionKey {
    SessionKey { target: target("repo"), id: id.into() }
}

fn target(name: &str) -> TargetKey {
    TargetKey { kind: TargetKind::Service, namespace: "tools".into(), name: name.into(), port: 80, at: None }
}

fn who(name: &str) -> WorkloadId {
    WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{name}")).unwrap()
}

fn session(owner: &str) -> Arc<Session> {
    Arc::new(Session::new(who(owner), None, "e1".into()))
}

#[tokio::test]
async fn a_session_is_its_owners_alone() {
    let sessions = Sessions::new(8, Duration::from_secs(10));
    sessions.bind(key("s"), session("a"));
    assert!(sessions.find(&key("s"), &who("a"), None).is_some());
    assert!(sessions.find(&key("s"), &who("b"), None).is_none());
    assert!(sessions.find(&key("s"), &who("a"), Some("iss/alice")).is_none());
    assert!(sessions.find(&key("t"), &who("a"), None).is_none());
    let elsewhere = SessionKey { target: target("other"), id: "s".into() };
    assert!(sessions.find(&elsewhere, &who("a"), None).is_none());
}

#[tokio::test(start_paused = true)]
async fn idle_sessions_are_forgotten_and_used_ones_kept() {
    let sessions = Sessions::new(8, Duration::from_secs(10));
    sessions.bind(key("s"), session("a"));
    sessions.bind(key("t"), session("a"));
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(sessions.find(&key("s"), &who("a"), None).is_some());
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(sessions.find(&key("t"), &who("a"), None).is_none());
    assert!(sessions.find(&key("s"), &who("a"), None).is_some());
    assert_eq!(sessions.len(), 1);
}

#[tokio::test]
async fn the_longest_unused_goes_first_when_full() {
    let sessions = Sessions::new(2, Duration::from_secs(10));
    sessions.bind(key("1"), session("a"));
    sessions.bind(key("2"), session("a"));
    sessions.find(&key("1"), &who("a"), None).unwrap();
    sessions.bind(key("3"), session("a"));
    assert!(sessions.find(&key("2"), &who("a"), None).is_none());
    assert!(sessions.find(&key("1"), &who("a"), None).is_some());
    assert_eq!(sessions.len(), 2);
}

fn id(text: &str) -> Id {
    Id::read(&crate::wire::json::parse(text.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn an_answer_is_known_once_and_by_its_exact_id() {
    let session = session("a");
    let (list, call) = (McpCall::base("tools/list", None, None), McpCall::base("tools/call", None, None));
    session.ask(&id("1"), &list).unwrap();
    assert_eq!(session.ask(&id("1"), &call), Err(NotAsked::InFlight));
    assert_eq!(session.ask(&id("\"1\""), &call), Err(NotAsked::InFlight));
    assert_eq!(session.answered(&id("\"1\"")), None);
    assert_eq!(session.answered(&id("1")), Some(list.clone()));
    assert_eq!(session.answered(&id("1")), None);
    assert_eq!(session.replayed(&id("1")), Some(list.clone()));
    assert_eq!(session.replayed(&id("1")), Some(list.clone()), "each time that it is asked for");
    session.ask(&id("1"), &list).unwrap();
    assert_eq!(session.replayed(&id("\"1\"")), None, "the id is in use for something else");
    for n in 2..300 {
        session.ask(&id(&n.to_string()), &call).unwrap();
    }
    assert_eq!(session.answered(&id("2")), None, "the oldest call is forgotten");
    assert_eq!(session.ask(&id("1"), &call), Err(NotAsked::InFlight), "and no list is");
    for n in 300..600 {
        let _full = session.ask(&id(&n.to_string()), &list);
    }
    assert_eq!(session.ask(&id("600"), &call), Err(NotAsked::TooMany));
}

#[test]
fn a_server_is_answered_once_and_only_what_it_asked() {
    let (session, budget) = (session("a"), Budget::new(100, 100));
    let hold = || budget.hold(&who("a"));
    let question = McpCall::base("roots/list", None, None);
    assert_eq!(session.reply(&id("1")), None);
    assert!(session.question(&id("1"), question.clone(), hold()));
    assert!(!session.question(&id("\"1\""), question.clone(), hold()));
    assert_eq!(session.reply(&id("\"1\"")), None);
    assert_eq!(session.reply(&id("1")), Some(question.clone()));
    assert_eq!(session.reply(&id("1")), None);
    for n in 0..MAX_QUESTIONS {
        assert!(session.question(&id(&n.to_string()), question.clone(), hold()));
    }
    assert!(!session.question(&id("900"), question, hold()));
}

#[tokio::test]
async fn an_id_in_use_stays_its_owners() {
    let sessions = Sessions::new(8, Duration::from_secs(10));
    sessions.bind(key("s"), session("a"));
    sessions.bind(key("s"), session("b"));
    assert!(sessions.find(&key("s"), &who("a"), None).is_some());
    assert!(sessions.find(&key("s"), &who("b"), None).is_none());
}

#[test]
fn the_id_of_an_answer_that_may_yet_come_names_nothing_else() {
    let session = session("a");
    let call = McpCall::base("tools/call", None, None);
    for n in 0..=MAX_ASKED {
        session.ask(&id(&n.to_string()), &call).unwrap();
    }
    for forgotten in ["0", "\"0\""] {
        assert_eq!(session.ask(&id(forgotten), &call), Err(NotAsked::InFlight), "{forgotten}");
    }
    session.lost(&id("9"));
    assert_eq!(session.ask(&id("9"), &call), Err(NotAsked::InFlight));
    assert_eq!(session.answered(&id("9")), None);
    assert_eq!(session.replayed(&id("9")), Some(call.clone()));
    assert!(session.answered(&id("10")).is_some());
    session.ask(&id("10"), &call).unwrap();
    let asked = (1_000..10_000).find_map(|n| session.ask(&id(&n.to_string()), &call).err());
    assert_eq!(asked, Some(NotAsked::TooMany));
}

#[test]
fn a_stream_goes_on_after_its_own_events_only() {
    let session = session("a");
    assert!(!session.resumes("1"));
    session.issued("1");
    assert!(session.resumes("1") && !session.resumes("2"));
    for n in 2..2 + MAX_EVENTS {
        session.issued(&n.to_string());
    }
    assert!(!session.resumes("1") && session.resumes("2"));
}

#[test]
fn what_is_remembered_of_a_subscription_is_small() {
    let uri = crate::call::ResourceUri { raw: "a:b".into(), normal: "a:b".into() };
    let wanted = crate::call::Subscription { resources: vec![uri], tasks: Vec::new() };
    let listen = McpCall {
        object: crate::call::McpObject::Subscription(Arc::new(wanted)),
        ..McpCall::base("subscriptions/listen", None, None)
    };
    let session = session("a");
    session.ask(&id("1"), &listen).unwrap();
    let remembered = session.answered(&id("1")).unwrap();
    assert_eq!(remembered.object, crate::call::McpObject::Subscription(Arc::default()));
}

#[tokio::test]
async fn a_session_that_is_begun_anew_waits_for_what_it_asked() {
    let sessions = Sessions::new(8, Duration::from_secs(10));
    let call = McpCall::base("tools/call", None, None);
    sessions.bind(key("s"), session("a"));
    let bound = sessions.find(&key("s"), &who("a"), None).unwrap();
    bound.ask(&id("1"), &call).unwrap();
    bound.ask(&id("2"), &call).unwrap();
    bound.lost(&id("2"));
    sessions.bind(key("s"), session("a"));
    let again = sessions.find(&key("s"), &who("a"), None).unwrap();
    assert_eq!(again.ask(&id("1"), &call), Err(NotAsked::InFlight));
    assert_eq!(again.ask(&id("2"), &call), Err(NotAsked::InFlight));
    assert_eq!(bound.answered(&id("1")), Some(call.clone()));
    again.ask(&id("1"), &call).unwrap();
}
