use super::fixture::{Build, Lab, pod, service};
use crate::mesh::{Hold, Via};

const EXT: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: tools}
spec: {hosts: [ext.example.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}]}
";
const KEY: &str = "tools/ext.example.com";
const VIP: &str = "240.240.0.1:80";

/// A ServiceEntry of `tools` that we front.
fn entry() -> Build {
    service("tools/ext").host("ext.example.com").vip("240.240.0.1").ours()
}

/// What a document of `tools` lists behind it, in plaintext.
fn listed(kind: &str, ip: &str) -> Build {
    let uid = format!("Kubernetes/networking.istio.io/{kind}/tools/ext/{ip}");
    pod("ext", ip).plain().behind(KEY, &[]).workload(|parts| parts.uid = uid.into())
}

/// A pod of another namespace.
fn theirs(name: &str, ip: &str) -> Build {
    pod(name, ip).workload(|parts| {
        parts.namespace = "others".into();
        parts.uid = format!("Kubernetes//Pod/others/{name}").into();
    })
}

fn lab_of(rows: &[Build]) -> Lab {
    let mut lab = Lab::new(Some(EXT));
    lab.put(&[entry()]);
    lab.put(rows);
    lab
}

/// How the one endpoint is reached, or why it is not.
fn way(lab: &Lab) -> Result<String, Hold> {
    let target = lab.find(VIP).unwrap();
    match (&*target.endpoints, &*target.held) {
        ([one], []) => Ok(match &one.via {
            Via::Plain => format!("{} plain", one.id),
            Via::Hbone { expect } => format!("{} {}", one.id, expect[0].uri()),
            Via::Tls { .. } | Via::HboneTls { .. } => panic!("TLS"),
        }),
        ([], [held]) => {
            assert_eq!(target.hold(None), Some(held.why));
            assert_eq!(target.hold(Some(&held.id)), Some(held.why));
            assert_eq!(target.hold(Some("10.9.9.9:1")), None);
            Err(held.why)
        }
        both => panic!("{both:?}"),
    }
}

#[test]
fn what_a_document_lists_is_called_only_where_a_server_can_be() {
    let rows = [
        ("127.0.0.1", Err(Hold::NoServer)),
        ("127.8.8.8", Err(Hold::NoServer)),
        ("::1", Err(Hold::NoServer)),
        ("::ffff:127.0.0.1", Err(Hold::NoServer)),
        ("169.254.169.254", Err(Hold::NoServer)),
        ("64:ff9b::a9fe:a9fe", Err(Hold::NoServer)),
        ("fe80::1", Err(Hold::NoServer)),
        ("fd00:ec2::254", Err(Hold::NoServer)),
        ("100.100.100.200", Err(Hold::NoServer)),
        ("0.0.0.0", Err(Hold::NoServer)),
        ("::", Err(Hold::NoServer)),
        ("224.0.0.1", Err(Hold::NoServer)),
        ("10.0.0.99", Err(Hold::Ourselves)),
        ("::ffff:10.0.0.99", Err(Hold::Ourselves)),
        ("10.9.0.1", Ok("10.9.0.1:8080 plain")),
        ("2001:db8::1", Ok("[2001:db8::1]:8080 plain")),
    ];
    for kind in ["ServiceEntry", "WorkloadEntry"] {
        for (ip, expected) in rows {
            let lab = lab_of(&[listed(kind, ip)]);
            assert_eq!(way(&lab), expected.map(str::to_owned), "{kind} {ip}");
        }
    }
    // A pod's address is its kubelet's word.
    let lab = lab_of(&[pod("1", "127.0.0.1").plain().behind(KEY, &[])]);
    assert_eq!(way(&lab).unwrap(), "127.0.0.1:8080 plain");
    let lab = lab_of(&[pod("1", "10.0.0.99").plain().behind(KEY, &[])]);
    assert_eq!(way(&lab), Err(Hold::Ourselves));
}

const API_SERVER: &str = "default/kubernetes.default.svc.cluster.local";
const ID: &str = "10.0.0.1:8080 spiffe://cluster.local/ns/tools/sa/repo";

fn machine(namespace: &'static str) -> Build {
    listed("WorkloadEntry", "10.0.0.1").workload(|parts| {
        parts.uid = format!("Kubernetes/networking.istio.io/WorkloadEntry/{namespace}/vm").into();
        (parts.namespace, parts.services) = (namespace.into(), [].into());
    })
}

/// What an EndpointSlice lists.
fn slice(key: &str) -> Build {
    pod("slice", "10.0.0.1").plain().behind(key, &[]).workload(|parts| {
        parts.uid = "Kubernetes/discovery.k8s.io/EndpointSlice/default/x/10.0.0.1".into();
        parts.namespace = "default".into();
    })
}

#[test]
fn an_address_that_somebody_has_by_right_leads_nowhere_past_him() {
    let external = || listed("ServiceEntry", "10.0.0.1");
    let plain_theirs = || theirs("1", "10.0.0.1").plain();
    let on_host = || plain_theirs().workload(|parts| parts.own_ips = false);
    let far = || theirs("1", "10.0.0.1").workload(|parts| parts.network = "far".into());
    let rows = [
        ("nobody", vec![], Ok("10.0.0.1:8080 plain")),
        ("a pod of another namespace", vec![theirs("1", "10.0.0.1")], Err(Hold::OfOthers)),
        ("one without ztunnel", vec![plain_theirs()], Err(Hold::OfOthers)),
        ("a node, by a pod on its network", vec![on_host()], Err(Hold::OfOthers)),
        ("a pod of another network", vec![far()], Ok("10.0.0.1:8080 plain")),
        ("a machine of another namespace", vec![machine("others")], Err(Hold::OfOthers)),
        ("a machine of its own", vec![machine("tools")], Ok("10.0.0.1:8080 plain")),
        ("the API server", vec![slice(API_SERVER)], Err(Hold::OfOthers)),
        ("what others list too", vec![slice("default/db.default.svc.cluster.local")], Ok("10.0.0.1:8080 plain")),
        ("a pod of its own namespace", vec![pod("1", "10.0.0.1")], Ok(ID)),
        ("one without ztunnel", vec![pod("1", "10.0.0.1").plain()], Ok("10.0.0.1:8080 plain")),
        ("one of its own and one of another", vec![pod("1", "10.0.0.1"), theirs("2", "10.0.0.1")], Err(Hold::OfOthers)),
        ("two of its own", vec![pod("1", "10.0.0.1"), pod("2", "10.0.0.1")], Err(Hold::OfOthers)),
        ("a Service", vec![service("others/x").vip("10.0.0.1")], Err(Hold::OfService)),
        ("a Service of its own", vec![service("tools/x").vip("10.0.0.1")], Err(Hold::OfService)),
        ("a ServiceEntry", vec![service("others/x").host("x.example.com").vip("10.0.0.1")], Ok("10.0.0.1:8080 plain")),
    ];
    for (what, others, expected) in rows {
        let expected = expected.map(str::to_owned);
        // Whoever is told of first.
        let mut lab = lab_of(&others);
        lab.put(&[external()]);
        assert_eq!(way(&lab), expected, "{what}, first");
        let mut lab = lab_of(&[external()]);
        lab.put(&others);
        assert_eq!(way(&lab), expected, "{what}, after");
        // And nobody again.
        let keys: Vec<_> = others.iter().map(|one| one.row().key().to_string()).collect();
        lab.drop(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(way(&lab).unwrap(), "10.0.0.1:8080 plain", "{what}, gone");
    }
}

#[test]
fn another_form_of_an_address_is_the_same_address() {
    let lab = lab_of(&[theirs("1", "10.0.0.1"), listed("ServiceEntry", "::ffff:10.0.0.1")]);
    assert_eq!(way(&lab), Err(Hold::OfOthers));
    let lab = lab_of(&[theirs("1", "10.0.0.1"), listed("ServiceEntry", "64:ff9b::a00:1")]);
    assert_eq!(way(&lab), Err(Hold::OfOthers));
    // Whoever comes later, and for as long as he is there.
    for ip in ["::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"] {
        let mut lab = lab_of(&[listed("ServiceEntry", ip)]);
        assert!(way(&lab).is_ok(), "{ip}");
        lab.put(&[theirs("1", "10.0.0.1")]);
        assert_eq!(way(&lab), Err(Hold::OfOthers), "{ip}");
        lab.drop(&["Kubernetes//Pod/others/1"]);
        assert!(way(&lab).is_ok(), "{ip}");
    }
}

#[test]
fn nobody_is_tried_where_another_has_the_address_by_right() {
    // Who has to prove an identity of its own namespace cannot be somebody else: to try it would only count against him.
    let hbone = |ip: &str| listed("WorkloadEntry", ip).workload(|parts| parts.reach = crate::mesh::world::Reach::Hbone);
    for (what, other, expected) in [
        ("a pod of another namespace", theirs("1", "10.0.0.1"), Err(Hold::OfOthers)),
        ("one without ztunnel", theirs("1", "10.0.0.1").plain(), Err(Hold::OfOthers)),
        ("the API server", slice(API_SERVER), Err(Hold::OfOthers)),
        ("a Service", service("others/x").vip("10.0.0.1"), Err(Hold::OfService)),
        ("a machine of another namespace", machine("others"), Ok(ID)),
        ("a pod of its own namespace", pod("1", "10.0.0.1"), Ok(ID)),
    ] {
        let lab = lab_of(&[other.clone(), hbone("10.0.0.1")]);
        assert_eq!(way(&lab), expected.map(str::to_owned), "{what}");
        let mut lab = lab_of(&[hbone("10.0.0.1")]);
        lab.put(&[other]);
        assert_eq!(way(&lab), expected.map(str::to_owned), "{what}, after");
    }
    assert_eq!(way(&lab_of(&[theirs("1", "10.0.0.1"), hbone("64:ff9b::a00:1")])), Err(Hold::OfOthers));
    // Nor does a name lead there in any form of the address.
    let lab = lab_of(&[theirs("1", "10.0.0.1")]);
    for ip in ["10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"] {
        assert!(lab.edition.is_mesh_address(ip.parse().unwrap()), "{ip}");
    }
    assert!(!lab.edition.is_mesh_address("10.0.0.2".parse().unwrap()));
}

#[test]
fn what_is_refused_is_said_where_it_is_written() {
    let lab = lab_of(&[listed("ServiceEntry", "169.254.169.254")]);
    let told: Vec<String> = lab.problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|one| one.contains("169.254.169.254:8080 of port 80 gets no calls")), "{told:?}");
}

#[test]
fn a_machine_is_not_found_at_an_address_that_it_has_not_by_right() {
    let machine = |ip: &str| {
        listed("WorkloadEntry", ip)
            .workload(|parts| parts.services = [].into())
            .waypoint("mesh", "waypoint.mesh.svc.cluster.local")
    };
    let mut lab = lab_of(&[machine("169.254.169.254"), theirs("1", "10.0.0.1")]);
    assert!(lab.find("169.254.169.254:80").is_none());
    lab.put(&[machine("10.0.0.1")]);
    assert!(lab.find("10.0.0.1:80").is_none());
    lab.drop(&["Kubernetes//Pod/others/1"]);
    assert!(lab.find("10.0.0.1:80").is_some(), "nobody else has it any more");
    lab.put(&[machine("10.0.0.1").workload(|parts| parts.network = "far".into())]);
    assert!(lab.find("10.0.0.1:80").is_none(), "it is elsewhere");
}

#[test]
fn addresses_of_other_networks_are_not_ours() {
    let far = |ip: &str| {
        let vip = crate::mesh::world::Vip { network: "far".into(), ip: ip.parse().unwrap() };
        service("tools/ext").host("ext.example.com").ours().service(|parts| parts.vips = [vip].into())
    };
    let mut lab = Lab::new(Some(EXT));
    lab.put(&[far("240.240.0.1")]);
    assert!(lab.find(VIP).is_none());
    assert!(lab.find("ext.example.com:80").is_some(), "by its name it is found");
    lab.put(&[entry()]);
    assert!(lab.find(VIP).is_some());
}

#[test]
fn what_a_service_entry_names_and_nobody_serves_is_said() {
    let text =
        EXT.replace("hosts: [ext.example.com]", "hosts: [ext.example.com, '*.example.com'], addresses: [10.97.0.0/16]");
    let mut lab = Lab::new(Some(&text));
    lab.put(&[entry(), service("tools/ext").host("*.example.com").ours()]);
    let told: Vec<String> = lab.problems.iter().map(ToString::to_string).collect();
    for reason in ["wildcard hosts are not served yet", "prefixes are not served yet"] {
        assert_eq!(told.iter().filter(|one| one.contains(reason)).count(), 1, "{told:?}");
    }
}

/// A machine that somebody of another namespace registered; nothing keeps him from saying that it speaks HBONE.
fn registered(ip: &str) -> Build {
    theirs("vm", ip).workload(|parts| parts.uid = "Kubernetes/networking.istio.io/WorkloadEntry/others/vm".into())
}

#[test]
fn no_claim_keeps_calls_from_a_pod_or_the_api_server() {
    const POLICY: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: repo, namespace: tools}
spec: {ports: [{name: mcp, port: 80, appProtocol: agent-waypoint.dev/mcp}]}
";
    let machine = || listed("WorkloadEntry", "10.0.0.1").workload(|parts| parts.services = [].into());
    // Of its own namespace a machine can even be behind the same Service, and reached otherwise.
    let beside = || registered("10.0.0.1").workload(|parts| parts.namespace = "tools".into()).of("tools/repo");
    let entry = || service("others/x").host("x.example.com").vip("10.0.0.1");
    let named_as_a_service = || service("others/x").vip("10.0.0.1").service(|parts| parts.of_kubernetes = false);
    let claims = [
        ("a machine of its own namespace", machine()),
        ("one that is reached otherwise", beside()),
        ("a machine of another", registered("10.0.0.1").plain()),
        ("one by HBONE", registered("10.0.0.1")),
        (
            "an endpoint of a ServiceEntry",
            theirs("x", "10.0.0.1").plain().workload(|parts| {
                parts.uid = "Kubernetes/networking.istio.io/ServiceEntry/others/x/10.0.0.1".into();
            }),
        ),
        ("a ServiceEntry", entry()),
        ("a ServiceEntry with the host name of a Service", named_as_a_service()),
    ];
    for (what, claim) in claims {
        for plain in [false, true] {
            let own = || if plain { pod("1", "10.0.0.1").plain() } else { pod("1", "10.0.0.1") };
            let mut lab = Lab::new(Some(POLICY));
            lab.put(&[super::fixture::repo(), own().of("tools/repo").ours()]);
            let claim = match &claim {
                Build::Workload(_) => claim.clone().ours(),
                Build::Service(_) => claim.clone(),
            };
            lab.put(&[claim]);
            let target = lab.find("10.96.0.7:80").unwrap();
            assert_eq!(target.endpoints.len(), 1, "{what}, plaintext {plain}: {:?}", target.held);
            assert_eq!(matches!(target.endpoints[0].via, Via::Plain), plain, "{what}: as the pod's own row says");
            let own = lab.find("10.0.0.1:8080").unwrap();
            assert_eq!((&*own.key.name, &*own.key.namespace), ("1", "tools"), "{what}, plaintext {plain}");
        }
    }
    // The API server's addresses are an EndpointSlice's word, and still nobody's to take.
    const API: &str = "default/kubernetes.default.svc.cluster.local";
    let slice = pod("slice", "10.0.0.1").plain().behind(API, &[]).workload(|parts| {
        parts.uid = "Kubernetes/discovery.k8s.io/EndpointSlice/default/kubernetes/10.0.0.1".into();
        parts.namespace = "default".into();
    });
    let mut lab = Lab::new(None);
    lab.put(&[service("default/kubernetes").vip("10.96.0.1").ours(), slice, registered("10.0.0.1").plain()]);
    assert_eq!(lab.find("10.96.0.1:80").unwrap().endpoints.len(), 1);
}

#[test]
fn two_whom_nobody_vouches_for_get_no_calls_and_it_is_said() {
    let mut lab = lab_of(&[listed("WorkloadEntry", "10.0.0.1")]);
    assert_eq!(way(&lab).unwrap(), "10.0.0.1:8080 plain");
    lab.put(&[registered("10.0.0.1").plain()]);
    assert_eq!(way(&lab), Err(Hold::OfOthers), "a machine of another namespace says that it is there too");
    // Of one namespace and with two identities.
    let of = |account: &'static str| {
        listed("WorkloadEntry", "10.0.0.2").account(account).workload(|parts| {
            parts.uid = format!("Kubernetes/networking.istio.io/WorkloadEntry/tools/{account}").into();
            parts.reach = crate::mesh::world::Reach::Hbone;
        })
    };
    assert_eq!(way(&lab_of(&[of("one"), of("two")])), Err(Hold::Contested));
}

#[test]
fn a_service_entry_with_a_services_host_name_takes_no_address() {
    let named = service("others/x").vip("10.9.0.1").service(|parts| parts.of_kubernetes = false);
    let lab = lab_of(&[listed("ServiceEntry", "10.9.0.1"), named]);
    assert_eq!(way(&lab).unwrap(), "10.9.0.1:8080 plain");
    // Nor anybody's calls by a virtual address: the older document has them.
    let of = |namespace: &str, created: &str| {
        EXT.replace("namespace: tools", &format!("namespace: {namespace}, creationTimestamp: '{created}'"))
            .replace("ext.example.com", &format!("{namespace}.example.com"))
    };
    let row = |namespace: &str| {
        service(&format!("{namespace}/ext")).host(&format!("{namespace}.example.com")).vip("240.240.0.1").ours()
    };
    let all = format!(
        "{}---{}---{}",
        of("tools", "2026-01-01T00:00:00Z"),
        of("late", "2026-02-01T00:00:00Z"),
        of("never", "")
    );
    let mut lab = Lab::new(Some(&all.replace("creationTimestamp: ''", "labels: {}")));
    for rows in [[row("late"), row("tools"), row("never")], [row("tools"), row("never"), row("late")]] {
        lab.put(&rows);
        assert_eq!(&*lab.find(VIP).unwrap().key.namespace, "tools");
        lab.drop(&["tools/tools.example.com"]);
        assert_eq!(&*lab.find(VIP).unwrap().key.namespace, "late");
    }
}
