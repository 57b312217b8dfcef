use std::path::PathBuf;

use super::*;
use crate::document::{Source, read};
use crate::id::TrustDomain;
use crate::mesh::{TargetKey, TargetKind};
use crate::policy::token::Keyring;

fn input(text: &str) -> Input {
    let source = Source { file: Arc::new(PathBuf::from("test")), text: text.to_owned() };
    Input::Current(Arc::new(read(&source).unwrap()))
}

fn service(name: &str) -> Input {
    input(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: tools}}\nspec: {{ports: [{{port: 80}}]}}"
    ))
}

fn started() -> (Assembly, Arc<Published>, CancellationToken) {
    let (published, stop) = (Arc::new(Published::new()), CancellationToken::new());
    let settings = Settings {
        trust_domain: TrustDomain::parse("cluster.local").unwrap(),
        gateway: None,
        keys: Keyring::default(),
    };
    (Assembly::start(settings, Arc::clone(&published), stop.clone()).unwrap(), published, stop)
}

fn has(published: &Published, name: &str) -> bool {
    let key = TargetKey { kind: TargetKind::Service, namespace: "tools".into(), name: name.into(), port: 80, at: None };
    published.current().get(&key).is_some()
}

#[tokio::test]
async fn what_is_offered_is_in_force_when_it_says_so() {
    let (assembly, published, _stop) = started();
    assert!(!published.current().has_documents(), "nothing before anything is offered");
    let first = assembly.documents(vec![service("a")], Vec::new());
    assert!(assembly.in_force(first).await);
    assert!(has(&published, "a") && !has(&published, "b"));
    let second = assembly.documents(vec![service("b")], Vec::new());
    assembly.in_force_blocking(second);
    assert!(!has(&published, "a") && has(&published, "b"), "the newest replaces what was");
    assembly.in_force(first).await;
}

#[tokio::test]
async fn of_many_offers_the_last_is_in_force() {
    let (assembly, published, _stop) = started();
    let mut last = None;
    for n in 0..50 {
        last = Some(assembly.documents(vec![service(&format!("s{n}"))], Vec::new()));
    }
    assembly.in_force(last.unwrap()).await;
    assert!(has(&published, "s49"));
    assert!(assembly.editions() <= 50);
}

#[tokio::test]
async fn nobody_waits_for_a_thread_that_has_ended() {
    let (assembly, published, stop) = started();
    stop.cancel();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let offered = assembly.documents(vec![service("late")], Vec::new());
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), assembly.in_force(offered)).await;
    assert_eq!(waited, Ok(false), "whoever waits is told that it is not");
    assert!(!has(&published, "late"));
    // Nor is the controller told that a push is in force.
    let first: Box<dyn FnOnce() + Send> = Box::new(|| panic!("nothing came in force"));
    let tell = crate::control::feed::Tell { first: Some(first), older: Box::new(|| {}) };
    let mut keeper = crate::control::feed::Documents::new(assembly, tell);
    let push = crate::control::delta::Push::default();
    let rejected = crate::control::delta::Keeper::apply(&mut keeper, push).await;
    assert!(rejected.iter().any(|one| one.reason.contains("not in force")), "{rejected:?}");
}
