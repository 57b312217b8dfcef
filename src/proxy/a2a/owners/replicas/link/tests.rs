use std::time::Duration;

use super::*;
use crate::call::{A2aBinding, A2aCall, A2aOperation, A2aVersion, Owner};
use crate::config::limits::OWNERS_SETTLE;
use crate::id::WorkloadId;
use crate::mesh::{TargetKey, TargetKind};
use crate::proxy::a2a::owners::{Bound, Kind, Place};

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

#[tokio::test]
async fn each_end_knows_what_the_other_knew_and_learns() {
    let (one, other) = (table(), table());
    for at in 0..5_000 {
        bind(&one, &format!("one-{at}"));
        bind(&other, &format!("other-{at}"));
    }
    // Far less than either says at once: both must take while they say.
    let (near, far) = tokio::io::duplex(4 << 10);
    let (first, name) = (Name::random(), Name::random());
    let (told, mut known) = tokio::sync::mpsc::channel(2);
    let also = told.clone();
    let links = async {
        tokio::join!(
            exchange(near, &one, &first, || told.try_send(()).unwrap()),
            exchange(far, &other, &name, || also.try_send(()).unwrap()),
        )
    };
    let look = async {
        known.recv().await.unwrap();
        known.recv().await.unwrap();
        assert_eq!((one.len(), other.len()), (10_000, 10_000));
        for at in 0..100 {
            let (learnt, there) = if at % 2 == 0 { (&one, &other) } else { (&other, &one) };
            let Bound::New(line) = bind(learnt, &format!("new-{at}")) else { panic!("known already") };
            learnt.settled(line).await;
            assert_eq!(bind(there, &format!("new-{at}")), Bound::Known, "{at}");
        }
    };
    tokio::select! {
        ends = links => panic!("{ends:?}"),
        () = look => {}
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_nothing_is_waited_for_once() {
    let owners = table();
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let link = tokio::spawn({
        let owners = Arc::clone(&owners);
        async move { exchange(near, &owners, &Name::random(), || {}).await }
    });
    far.write_all(format!("{GREETING}other\n").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let Bound::New(line) = bind(&owners, "t") else { panic!() };
    let start = tokio::time::Instant::now();
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
    let (one, other) = tokio::join!(exchange(near, &owners, &name, || {}), exchange(far, &owners, &name, || {}));
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
        assert_eq!(exchange(near, &owners, &name, || {}).await, end, "{said:.40}");
    }
}
