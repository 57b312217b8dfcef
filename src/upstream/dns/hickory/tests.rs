use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::*;

const A: u16 = 1;

/// The name in a query (RFC 1035, 4.1.2) and its type; queries stand at byte 12 and are the first thing after it.
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5)
}

/// Knows `api.example.com` as 203.0.113.7 for 60 s, has no AAAA for it, and nothing else.
async fn name_server(asked: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let (name, kind, end) = question(&buffer[..length]);
            asked.lock().unwrap().push(name.clone());
            let (known, has) = (name == "api.example.com", name == "api.example.com" && kind == A);
            let mut answer = buffer[..end].to_vec();
            // A response, authoritative, recursion available; NXDOMAIN where unknown. No additional section.
            (answer[2], answer[3]) = (0x85, if known { 0x80 } else { 0x83 });
            answer[6..12].copy_from_slice(&[0, u8::from(has), 0, 0, 0, 0]);
            if has {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(Ipv4Addr::new(203, 0, 113, 7).octets());
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    addr
}

#[tokio::test]
async fn a_name_is_asked_for_as_it_stands_and_its_ttl_comes_back() {
    let asked = Arc::default();
    let resolver = Hickory::asking(name_server(Arc::clone(&asked)).await);
    let found = resolver.resolve("api.example.com".into()).await.unwrap();
    assert_eq!(found.addresses, [Ipv4Addr::new(203, 0, 113, 7)]);
    assert!(found.ttl > Duration::from_secs(55) && found.ttl <= Duration::from_secs(60), "{:?}", found.ttl);
    assert_eq!(resolver.resolve("nowhere.example.com".into()).await, Err(DnsFault::NoAddress));
    assert!(asked.lock().unwrap().iter().all(|name| name.matches('.').count() == 2), "{asked:?}");
}
