use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Answers with what it is given, after a second, and counts how often it was asked.
struct Scripted {
    asked: AtomicUsize,
    answer: Box<dyn Fn(usize) -> Result<Found, DnsFault> + Send + Sync>,
}

impl Scripted {
    fn new(answer: impl Fn(usize) -> Result<Found, DnsFault> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { asked: AtomicUsize::new(0), answer: Box::new(answer) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Scripted {
    fn resolve(&self, _host: Arc<str>) -> BoxFuture<'static, Result<Found, DnsFault>> {
        let answer = (self.answer)(self.asked.fetch_add(1, Ordering::SeqCst));
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            answer
        }
        .boxed()
    }
}

fn found(addresses: &[&str], ttl: u64) -> Result<Found, DnsFault> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Ok(Found { addresses, ttl: Duration::from_secs(ttl) })
}

fn dns(resolver: &Arc<Scripted>) -> Dns {
    let mesh: IpAddr = "10.96.0.10".parse().unwrap();
    Dns::new(Arc::clone(resolver) as Arc<dyn Resolve>, Forbids::ByRange, Arc::new(move |address| address == mesh))
}

async fn ask(dns: &Dns) -> Result<Vec<IpAddr>, DnsFault> {
    dns.lookup(&"api.example.com".into(), Answers::OutsideMesh).await
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_ttl_within_bounds() {
    for (ttl, kept) in [(0, DNS_MIN_TTL), (60, Duration::from_secs(60)), (86_400, DNS_MAX_TTL)] {
        let resolver = Scripted::new(move |_| found(&["1.1.1.1"], ttl));
        let dns = dns(&resolver);
        ask(&dns).await.unwrap();
        tokio::time::advance(kept - Duration::from_millis(10)).await;
        ask(&dns).await.unwrap();
        assert_eq!(resolver.asked(), 1, "ttl {ttl}");
        tokio::time::advance(Duration::from_millis(20)).await;
        ask(&dns).await.unwrap();
        assert_eq!(resolver.asked(), 2, "ttl {ttl}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_for_the_shortest_time() {
    let resolver = Scripted::new(|n| if n == 0 { Err(DnsFault::NoAddress) } else { found(&["1.1.1.1"], 60) });
    let dns = dns(&resolver);
    assert_eq!(ask(&dns).await, Err(DnsFault::NoAddress));
    assert_eq!(ask(&dns).await, Err(DnsFault::NoAddress));
    assert_eq!(resolver.asked(), 1);
    tokio::time::advance(DNS_MIN_TTL).await;
    assert!(ask(&dns).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn lookups_of_one_name_at_once_are_one() {
    let resolver = Scripted::new(|_| found(&["1.1.1.1"], 60));
    let dns = dns(&resolver);
    let answers = futures_util::future::join_all((0..50).map(|_| ask(&dns))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(resolver.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_asked_first_may_leave() {
    let resolver = Scripted::new(|_| found(&["1.1.1.1"], 60));
    let dns = dns(&resolver);
    assert!(tokio::time::timeout(Duration::from_millis(10), ask(&dns)).await.is_err());
    assert!(ask(&dns).await.is_ok());
    assert_eq!(resolver.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    struct Silent;
    impl Resolve for Silent {
        fn resolve(&self, _host: Arc<str>) -> BoxFuture<'static, Result<Found, DnsFault>> {
            std::future::pending().boxed()
        }
    }
    let dns = Dns::new(Arc::new(Silent), Forbids::ByRange, Arc::new(|_| false));
    let before = Instant::now();
    assert_eq!(ask(&dns).await, Err(DnsFault::Unanswered));
    assert_eq!(before.elapsed(), DNS_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn answers_that_point_inwards_are_refused_and_others_of_the_same_name_kept() {
    for (addresses, expected) in [
        (&["127.0.0.1"][..], Err(DnsFault::Forbidden)),
        (&["169.254.169.254", "::1"], Err(DnsFault::Forbidden)),
        (&["10.96.0.10"], Err(DnsFault::Forbidden)),
        (&["::ffff:10.96.0.10"], Err(DnsFault::Forbidden)),
        (&[], Err(DnsFault::NoAddress)),
        (&["127.0.0.1", "1.1.1.1", "10.96.0.10"], Ok(vec!["1.1.1.1".parse().unwrap()])),
    ] {
        let resolver = Scripted::new(move |_| found(addresses, 60));
        assert_eq!(ask(&dns(&resolver)).await, expected, "{addresses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_proves_a_mesh_identity_may_be_in_the_mesh_but_not_here() {
    let resolver = Scripted::new(|_| found(&["10.96.0.10", "127.0.0.1"], 60));
    let answer = dns(&resolver).lookup(&"api.example.com".into(), Answers::Mesh).await;
    assert_eq!(answer, Ok(vec!["10.96.0.10".parse().unwrap()]));
}

#[tokio::test(start_paused = true)]
async fn a_mesh_on_loopback_may_be_dialled_where_that_is_said() {
    let resolver = Scripted::new(|_| found(&["127.0.0.1"], 60));
    let dns = Dns::new(Arc::clone(&resolver) as Arc<dyn Resolve>, Forbids::MeshOnly, Arc::new(|_| false));
    assert_eq!(ask(&dns).await, Ok(vec!["127.0.0.1".parse().unwrap()]));
}

#[tokio::test(start_paused = true)]
async fn the_mesh_is_asked_at_every_use() {
    let resolver = Scripted::new(|_| found(&["1.1.1.1"], 60));
    let joined = Arc::new(AtomicUsize::new(0));
    let mesh = Arc::clone(&joined);
    let in_mesh: InMesh = Arc::new(move |_| mesh.load(Ordering::SeqCst) == 1);
    let dns = Dns::new(Arc::clone(&resolver) as Arc<dyn Resolve>, Forbids::ByRange, in_mesh);
    assert!(ask(&dns).await.is_ok());
    joined.store(1, Ordering::SeqCst);
    assert_eq!(ask(&dns).await, Err(DnsFault::Forbidden), "although the answer is kept");
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_bounded_and_works_beyond() {
    let resolver = Scripted::new(|_| found(&["1.1.1.1"], 60));
    let dns = dns(&resolver);
    let names = (0..DNS_NAMES + 5).map(|n| Arc::from(format!("n{n}.example.com")));
    let lookups = names.map(|name: Arc<str>| {
        let dns = dns.clone();
        async move { dns.lookup(&name, Answers::OutsideMesh).await }
    });
    assert!(futures_util::future::join_all(lookups).await.iter().all(Result::is_ok));
    assert_eq!(dns.inner.names.lock().unwrap().len(), DNS_NAMES);
}
