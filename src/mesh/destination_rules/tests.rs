use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Choice, Outliers, Snapshot, Target, Traffic, Trait, build};
use super::*;
use crate::document::{Problem, Source, load};
use crate::id::TrustDomain;
use crate::policy::token::Keyring;
use crate::wire::authority::Authority;

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: tools}
spec: {clusterIP: 10.96.0.7, selector: {app: web}, ports: [{name: http, port: 80}, {name: http-admin, port: 81}, {name: tcp, port: 82}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web-1, namespace: tools}
spec: {address: 127.0.0.2, labels: {app: web, networking.istio.io/tunnel: http}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web-2, namespace: tools}
spec: {address: 127.0.0.3, labels: {app: web, networking.istio.io/tunnel: http}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: tools}
spec: {hosts: [shop.example.com], resolution: DNS, ports: [{name: http, number: 80, protocol: HTTP}]}
";

fn rule(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn most(connections: u32) -> String {
    format!("trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {connections}}}}}}}")
}

fn built(gateway: Option<(&str, &str)>, rules: &str) -> (Snapshot, Vec<Problem>) {
    let gateway = gateway.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    let trust_domain = TrustDomain::parse("cluster.local").unwrap();
    let settings = Settings { trust_domain, gateway, keys: Keyring::default() };
    let source = Source { file: Arc::new(PathBuf::from("f.yaml")), text: format!("{SERVICES}{rules}") };
    build(&load([source]), &settings, &Snapshot::no_documents())
}

fn target(snapshot: &Snapshot, host: &str, port: u16) -> Arc<Target> {
    snapshot.find(&Authority::Host { host: host.into(), port }).unwrap()
}

const WEB: &str = "web.tools.svc.cluster.local";
const SHOP: &str = "shop.example.com";

/// How many connections a rule allows to a port, by which rules are told apart.
fn connections(snapshot: &Snapshot, host: &str, port: u16) -> Option<u32> {
    let target = target(snapshot, host, port);
    let told = |traffic: &Arc<Traffic>| traffic.bounds.connections;
    for endpoint in &target.endpoints {
        assert_eq!(endpoint.traffic, target.traffic, "every endpoint says the same");
    }
    target.traffic.as_ref().and_then(told)
}

#[test]
fn the_rule_that_speaks_of_a_port_is_the_one_of_istios_order() {
    let own = Some(("mesh", "wp"));
    let all = |list: &[(&str, &str)]| {
        let rules = list.iter().enumerate().map(|(number, (namespace, rest))| {
            let rest = rest.replace("MOST", &most(u32::try_from(number).unwrap() + 1));
            rule(namespace, &format!("r{number}"), &rest)
        });
        rules.collect::<String>()
    };
    // Rules, of which the first that holds is said by its number from 1, for web and for shop.
    type Row<'r> = (&'r [(&'r str, &'r str)], Option<u32>, Option<u32>);
    let rows: &[Row<'_>] = &[
        (&[("tools", "{host: web, MOST}")], Some(1), None),
        (&[("tools", "{host: web.tools.svc.cluster.local, MOST}")], Some(1), None),
        (&[("tools", "{host: WEB.tools.svc.cluster.local, MOST}")], Some(1), None),
        (&[("tools", "{host: shop.example.com, MOST}")], None, Some(1)),
        // As for Istio, a name with a dot is a full one.
        (&[("tools", "{host: web.tools, MOST}"), ("tools", "{host: web.tools.svc, MOST}")], None, None),
        // Other namespaces speak of it neither by a short name nor by the full one.
        (&[("others", "{host: web, MOST}"), ("others", "{host: web.tools.svc.cluster.local, MOST}")], None, None),
        (&[("istio-system", "{host: web, MOST}")], None, None),
        (&[("istio-system", "{host: web.tools.svc.cluster.local, MOST}")], Some(1), None),
        (&[("istio-system", "{host: '*', MOST}")], Some(1), Some(1)),
        (&[("istio-system", "{host: '*.tools.svc.cluster.local', MOST}")], Some(1), None),
        (&[("istio-system", "{host: '*', MOST}"), ("tools", "{host: web, MOST}")], Some(2), Some(1)),
        // The waypoint's own namespace is where the client of the call is.
        (&[("tools", "{host: web, MOST}"), ("mesh", "{host: web.tools.svc.cluster.local, MOST}")], Some(2), None),
        (&[("tools", "{host: '*.svc.cluster.local', MOST}"), ("tools", "{host: web, MOST}")], Some(2), None),
        (&[("tools", "{host: '*', MOST}"), ("tools", "{host: '*.tools.svc.cluster.local', MOST}")], Some(2), Some(1)),
        (&[("tools", "{host: web, MOST, exportTo: ['.']}")], None, None),
        (&[("tools", "{host: web, MOST, exportTo: [mesh]}")], Some(1), None),
        (&[("tools", "{host: web, MOST, exportTo: ['*']}")], Some(1), None),
        (&[("tools", "{host: web, MOST, workloadSelector: {matchLabels: {a: b}}}")], None, None),
        (&[("tools", "{host: web}"), ("tools", "{host: web, MOST}")], Some(2), None),
        (&[("tools", "{host: web, MOST}"), ("tools", "{host: web, MOST}")], Some(1), None),
    ];
    for (list, web, shop) in rows {
        let (snapshot, _) = built(own, &all(list));
        assert_eq!((connections(&snapshot, WEB, 80), connections(&snapshot, SHOP, 80)), (*web, *shop), "{list:?}");
    }
    let (snapshot, _) = built(None, &rule("tools", "r", &format!("{{host: web, exportTo: ['.'], {}}}", most(7))));
    assert_eq!(connections(&snapshot, WEB, 80), Some(7), "from files nobody knows where the waypoint is");
}

#[test]
fn a_ports_own_settings_stand_in_place_of_all_others() {
    let spec =
        "{host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {http: {http2MaxRequests: 3}},
      portLevelSettings: [{port: {number: 81}, outlierDetection: {}}]}}";
    let (snapshot, problems) = built(None, &rule("tools", "r", spec));
    assert!(problems.is_empty(), "{problems:?}");
    let of = |port: u16| target(&snapshot, WEB, port).traffic.clone().unwrap();
    assert_eq!((of(80).choice.clone(), of(80).bounds.requests), (Some(Choice::Random), Some(3)));
    assert_eq!(of(80).outliers, None, "without a rule that says so no answer has an endpoint left alone");
    assert_eq!((of(81).choice.clone(), of(81).bounds.requests), (None, None), "nothing is inherited");
    let default = Outliers {
        errors: Some(5),
        gateway_errors: None,
        counts_connections: true,
        interval: Duration::from_secs(10),
        time: Duration::from_secs(30),
        most: 10,
        least_well: 0,
    };
    assert_eq!(of(81).outliers, Some(default), "Istio's defaults");
    assert_eq!(of(82).bounds.requests, Some(3));
}

#[test]
fn what_is_said_of_endpoints_is_read_as_istio_means_it() {
    let read = |policy: &str| {
        let (snapshot, problems) = built(None, &rule("tools", "r", &format!("{{host: web, trafficPolicy: {policy}}}")));
        let traffic = target(&snapshot, WEB, 80).traffic.clone().unwrap();
        (Traffic::clone(&traffic), problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    for (simple, choice) in [
        ("UNSPECIFIED", None),
        ("LEAST_REQUEST", Some(Choice::LessBusy)),
        ("LEAST_CONN", Some(Choice::LessBusy)),
        ("ROUND_ROBIN", Some(Choice::InTurn)),
        ("RANDOM", Some(Choice::Random)),
    ] {
        assert_eq!(
            read(&format!("{{loadBalancer: {{simple: {simple}}}}}")),
            (read(&format!("{{loadBalancer: {{simple: {simple}}}}}")).0, String::new())
        );
        assert_eq!(read(&format!("{{loadBalancer: {{simple: {simple}}}}}")).0.choice, choice);
    }
    for (hash, by) in [
        ("{httpHeaderName: X-User}", Trait::Header("x-user".into())),
        ("{useSourceIp: true}", Trait::Address),
        ("{httpQueryParameterName: u}", Trait::Query("u".into())),
    ] {
        assert_eq!(read(&format!("{{loadBalancer: {{consistentHash: {hash}}}}}")).0.choice, Some(Choice::Own(by)));
    }
    let (traffic, _) = read(
        "{outlierDetection: {consecutive5xxErrors: 0, consecutiveGatewayErrors: 3, interval: 1s, baseEjectionTime: 1m, maxEjectionPercent: 50, minHealthPercent: 20, splitExternalLocalOriginErrors: true}}",
    );
    let expected = Outliers {
        errors: None,
        gateway_errors: Some(3),
        counts_connections: false,
        interval: Duration::from_secs(1),
        time: Duration::from_secs(60),
        most: 50,
        least_well: 20,
    };
    assert_eq!(traffic.outliers, Some(expected));
    for (policy, field) in [
        ("{loadBalancer: {simple: PASSTHROUGH}}", "spec.trafficPolicy.loadBalancer.simple"),
        ("{loadBalancer: {localityLbSetting: {enabled: true}}}", "spec.trafficPolicy.loadBalancer.localityLbSetting"),
        ("{loadBalancer: {consistentHash: {}}}", "spec.trafficPolicy.loadBalancer.consistentHash"),
        ("{loadBalancer: {warmup: {duration: 10s}}}", "spec.trafficPolicy.loadBalancer.warmup"),
        (
            "{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}",
            "spec.trafficPolicy.connectionPool.http.h2UpgradePolicy",
        ),
        ("{connectionPool: {tcp: {connectTimeout: 30s}}}", "spec.trafficPolicy.connectionPool.tcp.connectTimeout"),
        ("{tunnel: {targetHost: a, targetPort: 1}}", "spec.trafficPolicy.tunnel"),
        (
            "{portLevelSettings: [{port: {number: 81}, loadBalancer: {simple: PASSTHROUGH}}]}",
            "spec.trafficPolicy.portLevelSettings[0].loadBalancer.simple",
        ),
    ] {
        let (_, problems) = read(policy);
        assert!(problems.contains(field) && !problems.contains("\n"), "{policy}: {problems}");
        assert!(!problems.contains("error"), "traffic goes on: {problems}");
    }
}

#[test]
fn tls_that_would_be_lost_closes_the_port_and_nothing_else_does() {
    for (spec, web, shop) in [
        ("{host: web, trafficPolicy: {tls: {mode: SIMPLE}}}", true, false),
        ("{host: web, trafficPolicy: {tls: {mode: MUTUAL}}}", true, false),
        ("{host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}", false, false),
        ("{host: web, trafficPolicy: {tls: {mode: DISABLE}}}", false, false),
        ("{host: shop.example.com, trafficPolicy: {tls: {mode: SIMPLE, sni: shop.example.com}}}", false, true),
        ("{host: shop.example.com, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}", false, true),
        ("{host: web, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}}", true, false),
        ("{host: web, trafficPolicy: {portLevelSettings: [{port: {number: 81}, tls: {mode: SIMPLE}}]}}", false, false),
        // What cannot be read closes where it may have meant TLS.
        ("{host: web, trafficPolicy: {tls: {mode: SIMPLY}}}", true, false),
        ("{host: web, trafficPolicy: {loadBalancer: {simple: BEST}}}", false, false),
    ] {
        let (snapshot, problems) = built(None, &rule("tools", "r", spec));
        let closed = |host: &str| target(&snapshot, host, 80).closed().is_some();
        assert_eq!((closed(WEB), closed(SHOP)), (web, shop), "{spec}: {problems:?}");
    }
    let (snapshot, _) = built(None, &rule("tools", "r", "{host: web, trafficPolicy: {tls: {mode: SIMPLE}}}"));
    let why = target(&snapshot, WEB, 80).closed().unwrap_or_default().to_owned();
    assert!(
        why.starts_with("DestinationRule tools/r: spec.trafficPolicy.tls.mode: ") && why.contains("BackendTLSPolicy"),
        "{why}"
    );
}

/// A rule that cannot be read closes what it would speak of, and nothing else: one tenant's rule about another's host has no
/// effect when it is right, and must not close it when it is wrong.
#[test]
fn a_rule_that_cannot_be_read_closes_what_it_would_speak_of() {
    let broken = "trafficPolicy: {tls: {mode: SIMPLE}, connectionPool: {tcp: {connectTimeout: +1s}}}";
    let own = Some(("mesh", "wp"));
    for (namespace, host, web, shop) in [
        ("tools", "web", true, false),
        ("tools", "web.tools.svc.cluster.local", true, false),
        ("mallory", "web.tools.svc.cluster.local", false, false),
        ("mallory", "web", false, false),
        ("mallory", "shop.example.com", false, false),
        ("mallory", "'*'", false, false),
        // What speaks of calls to everybody.
        ("mesh", "web.tools.svc.cluster.local", true, false),
        ("mesh", "shop.example.com", false, true),
        ("istio-system", "'*.example.com'", false, true),
        ("istio-system", "'*'", true, true),
        // Which ServiceEntry is meant is not known.
        ("tools", "shopp.example.com", true, true),
    ] {
        let (snapshot, problems) = built(own, &rule(namespace, "r", &format!("{{host: {host}, {broken}}}")));
        let closed = |host: &str| target(&snapshot, host, 80).closed().is_some();
        assert_eq!((closed(WEB), closed(SHOP)), (web, shop), "{namespace} {host}: {problems:?}");
    }
}
