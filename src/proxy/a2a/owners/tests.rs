use super::*;
use crate::call::A2aMount;
use crate::mesh::TargetKind;

fn at(target: &TargetKey, tenant: Option<&Arc<str>>) -> Place {
    Place { target: target.clone(), agent: None, tenant: tenant.cloned() }
}

fn owner(name: &str, subject: Option<&str>) -> Arc<Owner> {
    let id = WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{name}")).unwrap();
    Arc::new(Owner { id, subject: subject.map(Arc::from) })
}

fn target(name: &str) -> TargetKey {
    TargetKey { kind: TargetKind::Service, namespace: "a".into(), name: name.into(), port: 80, at: None }
}

#[test]
fn the_first_owner_stays() {
    let owners = Owners::new(10, 10);
    let (a, b, a_of_eve) = (owner("a", None), owner("b", None), owner("a", Some("eve")));
    let place = target("x");
    assert_ne!(owners.bind(&at(&place, None), Kind::Task, "t", &a), Bound::Others);
    assert_ne!(owners.bind(&at(&place, None), Kind::Task, "t", &a), Bound::Others);
    assert_eq!(owners.bind(&at(&place, None), Kind::Task, "t", &b), Bound::Others);
    assert_eq!(owners.bind(&at(&place, None), Kind::Task, "t", &a_of_eve), Bound::Others);
    assert_ne!(owners.bind(&at(&place, None), Kind::Context, "t", &b), Bound::Others);
    assert_ne!(owners.bind(&at(&place, Some(&"acme".into())), Kind::Task, "t", &b), Bound::Others);
    assert_ne!(owners.bind(&at(&target("y"), None), Kind::Task, "t", &b), Bound::Others);
    assert_eq!(owners.len(), 4);
}

#[test]
fn whoever_fills_the_table_forgets_its_own() {
    let owners = Owners::new(8, 4);
    let (a, b) = (owner("a", None), owner("b", None));
    let place = target("x");
    let bind = |id: &str, owner| owners.bind(&at(&place, None), Kind::Task, id, owner) != Bound::Others;
    assert!(bind("first", &b));
    for at in 0..100 {
        assert!(bind(&at.to_string(), &a));
    }
    assert_eq!(owners.len(), 5);
    assert!(!bind("first", &a));
    assert!(bind("0", &b), "the oldest of a's was forgotten");
    assert!(!bind("99", &b));
}

#[test]
fn a_full_table_forgets_of_whoever_has_most_what_was_used_longest_ago() {
    let owners = Owners::new(4, 4);
    let (a, b) = (owner("a", None), owner("b", None));
    let place = target("x");
    let bind = |id: &str, owner| owners.bind(&at(&place, None), Kind::Task, id, owner) != Bound::Others;
    for id in ["1", "2", "3"] {
        bind(id, &a);
    }
    bind("4", &b);
    bind("1", &a);
    bind("5", &b);
    assert_eq!(owners.len(), 4);
    assert!(!bind("1", &b) && !bind("4", &a));
    let mut call =
        A2aCall::new(crate::call::A2aOperation::GetTask, crate::call::A2aBinding::Grpc, crate::call::A2aVersion::V1_0);
    call.task = Some(Named::new("2"));
    owners.name(&place, &mut call);
    assert_eq!(call.task.unwrap().owner, None);
}

/// A table with these tasks of `a`, and of `b` those that begin with b.
fn told(ids: &[&str]) -> Arc<Owners> {
    let owners = Arc::new(Owners::new(64, 64));
    for id in ids {
        let whose = owner(if id.starts_with('b') { "b" } else { "a" }, None);
        owners.bind(&at(&target("x"), None), Kind::Task, id, &whose);
    }
    owners
}

fn whose(owners: &Owners, id: &str) -> Option<String> {
    let operation = crate::call::A2aOperation::GetTask;
    let mut call = A2aCall::new(operation, crate::call::A2aBinding::Grpc, crate::call::A2aVersion::V1_0);
    call.task = Some(Named::new(id));
    owners.name(&target("x"), &mut call);
    call.task.unwrap().owner.map(|owner| owner.id.istio().unwrap().service_account.to_string())
}

#[test]
fn a_record_says_all_and_a_line_of_something_else_nothing() {
    let place = TargetKey { at: Some("10.0.0.1".into()), ..target("x") };
    let place = Place { agent: Some("/a".into()), ..at(&place, Some(&"acme \"\n".into())) };
    let key = Key { place, kind: Kind::Context, id: "i\u{e9}".into() };
    let whose = owner("a", Some("3:isssub"));
    let entry = Entry { principal: whose.id.clone(), owner: Some(whose), state: Some(TaskState::Working), tool: None };
    let line = Record::of(&key, &entry).line().unwrap();
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    let read = Record::parse(line.trim_end()).unwrap();
    let parts = |record: &Record| match record {
        Record::Owned(owned) => owned.parts(),
        Record::Card(_) | Record::Labels(_) => panic!("{record:?}"),
    };
    assert_eq!(parts(&read), Some((key.clone(), entry.clone())));
    let disputed = Entry { owner: None, state: None, ..entry };
    assert_eq!(parts(&Record::of(&key, &disputed)), Some((key, disputed)));
    for other in ["", "{}", "@3", line.trim_end().trim_end_matches('}'), &line.replace("Service", "Pod")] {
        assert_eq!(Record::parse(other), None, "{other}");
    }
    let nobody = line.replace("spiffe://", "http://");
    assert_eq!(parts(&Record::parse(nobody.trim_end()).unwrap()), None);
}

#[test]
fn of_what_two_replicas_contradict_each_other_nobody_is_the_owner() {
    let (one, other) = (told(&["t", "u"]), Arc::new(Owners::new(64, 64)));
    other.bind(&at(&target("x"), None), Kind::Task, "t", &owner("b", None));
    let lines = |owners: &Owners| owners.told().0.lines().map(|line| Record::parse(&line).unwrap()).collect::<Vec<_>>();
    let (of_one, of_other) = (lines(&one), lines(&other));
    for record in &of_other {
        one.adopt(record);
    }
    for record in &of_one {
        other.adopt(record);
    }
    for owners in [&one, &other] {
        assert_eq!(whose(owners, "t"), None);
        assert_eq!(whose(owners, "u").as_deref(), Some("a"));
        assert_eq!(owners.bind(&at(&target("x"), None), Kind::Task, "t", &owner("a", None)), Bound::Others);
        // And it stays so, whoever says it again, in whichever order.
        for record in of_one.iter().chain(&of_other) {
            owners.adopt(record);
        }
        assert_eq!(whose(owners, "t"), None);
    }
}

#[test]
fn a_replica_that_forgot_another_owner_is_told_of_the_dispute() {
    let (forgetful, other) = (told(&[]), told(&["t"]));
    let (_all, mut sink) = other.told();
    forgetful.bind(&at(&target("x"), None), Kind::Task, "t", &owner("b", None));
    for line in forgetful.told().0.lines() {
        other.adopt(&Record::parse(line.trim_end()).unwrap());
    }
    assert_eq!(whose(&other, "t"), None);
    let line = sink.lines.try_recv().unwrap();
    assert!(line.ours, "for the others too");
    let (_all, mut back) = forgetful.told();
    forgetful.adopt(&Record::parse(line.text.trim_end()).unwrap());
    assert_eq!(whose(&forgetful, "t"), None);
    assert_eq!(forgetful.bind(&at(&target("x"), None), Kind::Task, "t", &owner("b", None)), Bound::Others);
    // Back and forth it is told once.
    let line = back.lines.try_recv().unwrap();
    other.adopt(&Record::parse(line.text.trim_end()).unwrap());
    assert!(sink.lines.try_recv().is_err());
}

#[test]
fn no_task_comes_back_from_its_end_by_what_a_replica_missed() {
    let (late, other) = (told(&["t"]), told(&["t"]));
    late.note(&at(&target("x"), None), "t", TaskState::Working);
    other.note(&at(&target("x"), None), "t", TaskState::Completed);
    let (of_late, of_other) = (late.told().0, other.told().0);
    for (told, to) in [(of_late, &other), (of_other, &late)] {
        told.lines().for_each(|line| to.adopt(&Record::parse(line.trim_end()).unwrap()));
        let state = |owners: &Owners| owners.told().0.owners.first().unwrap().1.state;
        assert_eq!(state(to), Some(TaskState::Completed));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_to_be_told_is_not_waited_for() {
    let owners = told(&[]);
    let (_all, mut sink) = owners.told();
    let path = "/".repeat(crate::config::limits::MAX_OWNER_LINE).into();
    let long = Record::of_card(&target("x"), &path, &Seen { revision: 7, at: 1, card: None });
    assert_eq!(long.line(), None);
    owners.adopt(&long);
    let line = sink.lines.try_recv().unwrap();
    assert!(line.text.is_empty());
    sink.kept.send_replace(line.seq);
    owners.settled(line.seq).await;
    assert!(!sink.late.is_cancelled());
}

#[test]
fn keepers_that_have_gone_are_forgotten() {
    let owners = told(&["t"]);
    for _ in 0..100 {
        drop(owners.told());
    }
    assert!(owners.journal.keepers() <= 1, "{}", owners.journal.keepers());
}

#[test]
fn states_are_of_what_is_known_alone() {
    let owners = told(&["t"]);
    let place = target("x");
    owners.note(&at(&place, None), "t", TaskState::Working);
    owners.note(&at(&place, None), "unknown", TaskState::Working);
    assert_eq!(owners.len(), 1);
    let (told, _sink) = owners.told();
    assert_eq!(told.owners.first().unwrap().1.state, Some(TaskState::Working));
}

#[test]
fn a_file_is_found_again_whatever_stood_behind_its_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owners.jsonl");
    let owners = told(&["earlier"]);
    keep(&owners, dir.path()).unwrap();
    assert!(matches!(keep(&told(&[]), dir.path()), Err(StoreFault::InUse(_))));
    let Bound::New(line) = owners.bind(&at(&target("x"), None), Kind::Task, "b1", &owner("b", None)) else { panic!() };
    let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    waiting.block_on(owners.settled(line));
    // What is waited for is there before anybody is answered: nothing is closed in order here.
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept.contains("\"earlier\"") && kept.contains("\"b1\""), "{kept}");

    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("owners.jsonl"), format!("{kept}\n\u{0}garbage\n{{\"kind\":\"Serv")).unwrap();
    let again = told(&[]);
    keep(&again, elsewhere.path()).unwrap();
    assert_eq!(whose(&again, "earlier").as_deref(), Some("a"));
    assert_eq!(whose(&again, "b1").as_deref(), Some("b"));
    assert_eq!(again.len(), 2);
}

#[test]
fn a_directory_that_cannot_be_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let fault = keep(&told(&[]), &file).unwrap_err().to_string();
    assert!(fault.starts_with("--state-dir "), "{fault}");
}

#[test]
fn cards_are_told_when_they_are_news_and_the_last_one_holds() {
    let (one, other) = (told(&[]), told(&[]));
    let path: Arc<str> = "/.well-known/agent-card.json".into();
    let card = |digest: &str| Card {
        verified: true,
        key_id: Some("k".into()),
        digest: digest.into(),
        skills: vec!["add".into(), "\u{20ac}".into()],
    };
    let put = |owners: &Owners, card: Option<Card>| {
        owners.table.lock().unwrap().cards.decide((&target("x"), &path), 7, card).is_some()
    };
    let known = |owners: &Owners| owners.table.lock().unwrap().cards.of(&target("x"), &A2aMount::default(), 7);
    let tell = |from: &Owners, to: &Owners| {
        from.told().0.lines().for_each(|line| to.adopt(&Record::parse(line.trim_end()).unwrap()));
    };
    assert!(put(&one, Some(card("sha256:1"))) && !put(&one, Some(card("sha256:1"))));
    tell(&one, &other);
    assert!(put(&one, Some(card("sha256:2"))));
    // Of an earlier one that it is told again, as when a link is made anew, nothing comes back.
    tell(&other, &one);
    tell(&one, &other);
    for owners in [&one, &other] {
        assert_eq!(known(owners), Some(Arc::new(card("sha256:2"))));
    }
    assert!(put(&other, None));
    tell(&one, &other);
    tell(&other, &one);
    assert_eq!((known(&one), known(&other)), (None, None), "refused at one of them");
}

#[test]
fn what_one_agent_issued_is_nothing_to_another_of_its_target() {
    let owners = told(&[]);
    let call = |mount: &str, of_several: bool| {
        let mut call = A2aCall::new(
            crate::call::A2aOperation::GetTask,
            crate::call::A2aBinding::HttpJson,
            crate::call::A2aVersion::V1_0,
        );
        call.mount = A2aMount { path: mount.into(), of_several };
        call.task = Some(Named::new("1"));
        call
    };
    let bind =
        |call: &A2aCall, name: &str| owners.bind(&Place::of(&target("x"), call), Kind::Task, "1", &owner(name, None));
    assert_ne!(bind(&call("/a", true), "a"), Bound::Others);
    assert_ne!(bind(&call("/b", true), "b"), Bound::Others);
    for (mount, whose) in [("/a", Some("a")), ("/b", Some("b")), ("/c", None), ("", None)] {
        let mut call = call(mount, true);
        owners.name(&target("x"), &mut call);
        let found = call.task.unwrap().owner.map(|owner| owner.id.istio().unwrap().service_account.to_string());
        assert_eq!(found.as_deref(), whose, "{mount}");
    }
    // One agent whose bindings are at different places knows its tasks in each.
    assert_ne!(bind(&call("/rpc", false), "a"), Bound::Others);
    assert_eq!(bind(&call("/rest", false), "b"), Bound::Others);
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_was_late_is_waited_for_again_once_it_has_caught_up() {
    let owners = told(&[]);
    let (_all, mut sink) = owners.told();
    let bind = |id: &str| match owners.bind(&at(&target("x"), None), Kind::Task, id, &owner("a", None)) {
        Bound::New(line) => line,
        Bound::Known | Bound::Others => panic!("{id} is bound already"),
    };
    let first = bind("1");
    owners.settled(first).await;
    assert!(sink.late.is_cancelled());
    sink.kept.send_replace(first);
    owners.journal.again(&mut sink);
    let second = bind("2");
    let mut waiting = Box::pin(owners.settled(second));
    assert!(futures_util::poll!(&mut waiting).is_pending(), "an answer waits for it");
    sink.kept.send_replace(second);
    waiting.await;
    assert!(!sink.late.is_cancelled());
}

/// Owners and labels have locks of their own; that a line is marked as said says that all before it were.
#[test]
fn lines_come_in_the_order_of_their_numbers() {
    const EACH: u64 = 5_000;
    let owners = told(&[]);
    let (_all, mut sink) = owners.told();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..EACH {
                owners.bind(&at(&target("x"), None), Kind::Task, &id.to_string(), &owner("a", None));
            }
        });
        scope.spawn(|| {
            for id in 0..EACH {
                let key = labels::Key::parse(&format!("{id:064x}")).unwrap();
                owners.begin_session(key, &owner("a", None).id);
            }
        });
    });
    for want in 1..=2 * EACH {
        assert_eq!(sink.lines.try_recv().unwrap().seq, want);
    }
}

/// Whoever does not hear of a later card would go on with the earlier one.
#[test]
fn a_card_that_is_too_long_to_be_told_takes_the_earlier_one_away() {
    let (one, other) = (told(&[]), told(&[]));
    let path: Arc<str> = "/.well-known/agent-card.json".into();
    let card = |skills: usize| Card {
        verified: true,
        key_id: None,
        digest: "sha256:1".into(),
        skills: (0..skills).map(|at| format!("{at:0>256}").into()).collect(),
    };
    let known = |owners: &Owners| owners.table.lock().unwrap().cards.of(&target("x"), &A2aMount::default(), 7);
    for (skills, there) in [(1, true), (256, false), (2, true)] {
        assert!(one.table.lock().unwrap().cards.decide((&target("x"), &path), 7, Some(card(skills))).is_some());
        assert!(known(&one).is_some());
        one.told().0.lines().for_each(|line| other.adopt(&Record::parse(line.trim_end()).unwrap()));
        assert_eq!(known(&other).is_some(), there, "{skills}");
    }
}

/// Another time is another task; two that hear of two owners, or of two tools, know of none.
#[test]
fn a_task_of_mcp_is_known_by_its_endpoint_and_time() {
    let (one, other) = (Owners::new(8, 8), Owners::new(8, 8));
    let target = TargetKey { kind: TargetKind::Service, namespace: "t".into(), name: "x".into(), port: 80, at: None };
    let endpoint: Arc<str> = "e".into();
    let task = |created: &'static str| McpTask { target: &target, endpoint: &endpoint, id: "1", created };
    let who = |name: &str| Owner {
        id: WorkloadId::parse(&format!("spiffe://td/ns/agents/sa/{name}")).unwrap(),
        subject: Some("s".into()),
    };
    one.made_mcp(task("a"), who("alice"), &"x".into());
    one.made_mcp(task("b"), who("bob"), &"y".into());
    let told = |owners: &Owners, created| owners.of_mcp(task(created)).map(|(owner, tool)| ((*owner).clone(), tool));
    assert_eq!(told(&one, "a"), Some((who("alice"), "x".into())));
    assert_eq!(told(&one, "b"), Some((who("bob"), "y".into())));
    assert_eq!(told(&one, "c"), None);
    let (everything, _sink) = one.told();
    for line in everything.lines() {
        other.adopt(&Record::parse(&line).unwrap());
    }
    assert_eq!((told(&other, "a"), told(&other, "b")), (told(&one, "a"), told(&one, "b")));
    let third = Owners::new(8, 8);
    third.made_mcp(task("a"), who("mallory"), &"x".into());
    third.made_mcp(task("b"), who("bob"), &"other".into());
    let (everything, _sink) = third.told();
    for line in everything.lines() {
        other.adopt(&Record::parse(&line).unwrap());
    }
    assert_eq!((told(&other, "a"), told(&other, "b")), (None, None));
}
