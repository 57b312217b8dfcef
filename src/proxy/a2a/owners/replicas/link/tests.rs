use std::time::Duration;

use super::*;
use crate::call::{A2aBinding, A2aCall, A2aOperation, A2aVersion, Owner};
use crate::config::limits::{LABELS_SETTLE, OWNERS_SETTLE, REPLICA_DOUBT, REPLICA_LEASE};
use crate::id::WorkloadId;
use crate::mesh::{TargetKey, TargetKind};
use crate::proxy::a2a::owners::{Bound, Kind, Place};
use crate::proxy::labels::Key;

fn target() -> TargetKey {
    TargetKey { kind: TargetKind::Service, namespace: "a".into(), name: "x".into(), port: 80, at: None }
}

fn bind(owners: &Owners, id: &str) -> Bound {
    let call = A2aCall::new(A2aOperation::GetTask, A2aBinding::JsonRpc, A2aVersion::V1_0);
    let whose = Owner { id: WorkloadId::parse("spiffe://td/ns/agents/sa/a").unwrap(), subject: None };
    owners.bind(&Place::of(&target(), &call), Kind::Task, id, &Arc::new(whose))
}

fn table() -> Arc<Owners> {
    Arc::new(Owners::new(100_000, 100_000))
}

/// That knows of all others there are.
fn alone() -> Arc<Owners> {
    let owners = table();
    owners.roll().alone();
    owners
}

/// A session that begins.
fn begin(owners: &Owners) -> Key {
    let key = Key::parse(&"5a".repeat(32)).unwrap();
    owners.begin_session(key, &WorkloadId::parse("spiffe://td/ns/agents/sa/a").unwrap());
    key
}

/// A link to somebody who says this much; the other end.
async fn linked(
    owners: &Arc<Owners>,
    room: usize,
    says: &str,
) -> (tokio::io::DuplexStream, tokio::task::JoinHandle<End>) {
    let (near, mut far) = tokio::io::duplex(room);
    let owners = Arc::clone(owners);
    let link = tokio::spawn(async move { exchange(near, &owners, &Name::random(), None, || {}).await });
    far.write_all(format!("{GREETING}other\n").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    // Nobody answers what was not said yet.
    far.write_all(says.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    (far, link)
}

/// Looks at two that are linked, once each told the other everything that it knew.
async fn linked_both(one: &Arc<Owners>, other: &Arc<Owners>, look: impl Future<Output = ()>) {
    // Far less than either says at once: both must take while they say.
    let (near, far) = tokio::io::duplex(4 << 10);
    let (first, name) = (Name::random(), Name::random());
    let (told, mut known) = tokio::sync::mpsc::channel(2);
    let also = told.clone();
    let links = async {
        tokio::join!(
            exchange(near, one, &first, None, || told.try_send(()).unwrap()),
            exchange(far, other, &name, None, || also.try_send(()).unwrap()),
        )
    };
    let look = async {
        known.recv().await.unwrap();
        known.recv().await.unwrap();
        look.await;
    };
    tokio::select! {
        ends = links => panic!("{ends:?}"),
        () = look => {}
    }
}

#[tokio::test]
async fn each_end_knows_what_the_other_knew_and_learns() {
    let (one, other) = (table(), table());
    for at in 0..5_000 {
        bind(&one, &format!("one-{at}"));
        bind(&other, &format!("other-{at}"));
    }
    linked_both(&one, &other, async {
        assert_eq!((one.len(), other.len()), (10_000, 10_000));
        for at in 0..100 {
            let (learnt, there) = if at % 2 == 0 { (&one, &other) } else { (&other, &one) };
            let Bound::New(line) = bind(learnt, &format!("new-{at}")) else { panic!("known already") };
            learnt.settled(line).await;
            assert_eq!(bind(there, &format!("new-{at}")), Bound::Known, "{at}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_nothing_is_waited_for_once() {
    let owners = table();
    let (_far, link) = linked(&owners, 64 << 10, "").await;
    let Bound::New(line) = bind(&owners, "t") else { panic!() };
    let start = Instant::now();
    owners.settled(line).await;
    assert_eq!(start.elapsed().as_millis(), OWNERS_SETTLE.as_millis());
    assert_eq!(link.await.unwrap(), End::Behind);
    let Bound::New(line) = bind(&owners, "u") else { panic!() };
    owners.settled(line).await;
    assert_eq!(start.elapsed().as_millis(), OWNERS_SETTLE.as_millis(), "nobody is there to be waited for");
}

#[tokio::test]
async fn ourselves_and_others_are_no_replicas() {
    let (owners, name) = (table(), Name::random());
    let (near, far) = tokio::io::duplex(4 << 10);
    let (one, other) =
        tokio::join!(exchange(near, &owners, &name, None, || {}), exchange(far, &owners, &name, None, || {}));
    assert_eq!((one, other), (End::Ourselves, End::Ourselves));
    for (said, end) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), End::Foreign),
        ("agent-waypoint owners 2 x\n".to_owned(), End::Foreign),
        (format!("{GREETING}x\n@many\n"), End::Foreign),
        (format!("{GREETING}x"), End::Broken),
        (format!("{GREETING}x\n{}", "y".repeat(MAX_OWNER_LINE + 1)), End::Broken),
    ] {
        let (near, mut far) = tokio::io::duplex(256 << 10);
        far.write_all(said.as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(exchange(near, &owners, &name, None, || {}).await, end, "{said:.40}");
    }
}

/// A label is with the other end before it counts as told; where the other end does not take it, it never does.
#[tokio::test]
async fn a_label_is_told_before_its_answer_may_pass() {
    let (one, other) = (alone(), alone());
    let key = begin(&one);
    linked_both(&one, &other, async {
        assert_eq!(other.labels().of(&key), Some(vec![]), "what began before the link did");
        let line = one.label(&key, &["x".into()]).unwrap();
        assert!(one.is_told(line).await);
        assert_eq!(other.labels().of(&key), Some(vec!["x".into()]));
        let line = other.label(&key, &["y".into()]).unwrap();
        assert!(other.is_told(line).await);
        assert_eq!(one.labels().of(&key), Some(vec!["x".into(), "y".into()]));
        assert!(one.is_whole() && other.is_whole());
    })
    .await;
    assert!(!one.is_whole() && !other.is_whole(), "the link has ended without a farewell");
    let line = one.label(&key, &["z".into()]).unwrap();
    assert!(!one.is_told(line).await);
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_no_label_keeps_its_answer_back() {
    let owners = alone();
    let (_far, link) = linked(&owners, 64 << 10, "@0\n").await;
    assert!(owners.is_whole());
    let key = begin(&owners);
    let line = owners.label(&key, &["x".into()]).unwrap();
    let start = Instant::now();
    assert!(!owners.is_told(line).await);
    assert_eq!(start.elapsed().as_millis(), LABELS_SETTLE.as_millis());
    assert_eq!(link.await.unwrap(), End::Behind);
    assert!(!owners.is_whole(), "it may serve on");
}

/// It is given up by whoever waits first, and its link ends only when what is being written is: till then it serves on.
#[tokio::test(start_paused = true)]
async fn one_that_was_given_up_keeps_answers_back_until_its_link_has_ended() {
    let owners = alone();
    let (far, link) = linked(&owners, 1 << 10, "@0\n#0\n").await;
    assert!(owners.is_whole());
    let key = begin(&owners);
    for at in 0..100 {
        bind(&owners, &format!("much-to-say-{at}"));
    }
    for label in ["x", "y"] {
        let line = owners.label(&key, &[label.into()]).unwrap();
        assert!(!owners.is_told(line).await, "{label}");
        assert!(!link.is_finished() && owners.is_whole(), "{label}");
    }
    // Nobody waits for it for long, all the same.
    let Bound::New(line) = bind(&owners, "t") else { panic!() };
    let start = Instant::now();
    owners.settled(line).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(far);
    assert_eq!(link.await.unwrap(), End::Broken);
    assert!(!owners.is_whole());
}

/// It was told everything and may serve with that; that it took it was not heard.
#[tokio::test(start_paused = true)]
async fn one_that_is_lost_before_it_answers_is_doubted() {
    let owners = alone();
    let (far, link) = linked(&owners, 64 << 10, "").await;
    drop(far);
    link.await.unwrap();
    assert!(!owners.is_whole());
    tokio::time::advance(REPLICA_DOUBT + Duration::from_secs(1)).await;
    assert!(owners.is_whole());
}

/// It may have taken us for gone, and said of labels what we did not hear, however long nobody asked.
#[tokio::test(start_paused = true)]
async fn whoever_is_given_up_takes_along_what_is_known_of_labels() {
    let owners = alone();
    let key = begin(&owners);
    let (far, link) = linked(&owners, 64 << 10, "@0\n#0\n").await;
    drop(far);
    link.await.unwrap();
    assert!(!owners.is_whole());
    assert_eq!(owners.labels().of(&key), Some(vec![]));
    tokio::time::advance(REPLICA_DOUBT + Duration::from_secs(1)).await;
    assert!(owners.is_whole());
    assert_eq!(owners.labels().of(&key), None);
}

#[tokio::test]
async fn one_that_takes_its_leave_is_not_missed() {
    let (one, other) = (alone(), table());
    let (near, far) = tokio::io::duplex(4 << 10);
    let (first, name) = (Name::random(), Name::random());
    let (told, mut known) = tokio::sync::mpsc::channel(1);
    let leaving = async {
        known.recv().await.unwrap();
        other.roll().leave();
    };
    let links = async {
        tokio::join!(
            exchange(near, &one, &first, None, || told.try_send(()).unwrap()),
            exchange(far, &other, &name, None, || {}),
            leaving,
        )
    };
    assert_eq!(links.await.0, End::Left);
    assert!(one.is_whole());
}

#[tokio::test(start_paused = true)]
async fn what_was_not_confirmed_lately_is_asked_anew_before_it_decides() {
    let owners = alone();
    begin(&owners);
    let (mut far, link) = linked(&owners, 64 << 10, "@0\n#1\n").await;
    assert!(owners.is_whole());
    // We stand still: nothing is run meanwhile, and the link looks as it did.
    tokio::time::advance(REPLICA_LEASE).await;
    assert!(!owners.is_whole());
    let answers = async {
        tokio::time::sleep(LABELS_SETTLE / 10).await;
        assert!(!owners.is_whole());
        far.write_all(b"#1\n").await.unwrap();
    };
    tokio::join!(owners.renewed(), answers);
    assert!(owners.is_whole());
    // Whoever does not answer is not waited for longer than for a label, and not for ever taken to be there.
    tokio::time::advance(REPLICA_LEASE).await;
    let asked = Instant::now();
    owners.renewed().await;
    assert_eq!((asked.elapsed(), owners.is_whole()), (LABELS_SETTLE, false));
    assert_eq!(link.await.unwrap(), End::Behind);
}

#[tokio::test(start_paused = true)]
async fn a_link_on_which_nothing_happens_is_confirmed_all_the_same() {
    let (one, other) = (alone(), alone());
    linked_both(&one, &other, async {
        for _ in 0..100 {
            tokio::time::sleep(REPLICA_LEASE / 5).await;
            assert!(one.is_whole() && other.is_whole());
        }
    })
    .await;
}
