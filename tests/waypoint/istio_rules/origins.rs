//! Real servers behind the waypoint: whatever way a path is written, no file opens that the rule on its path denies.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::lab::{Lab, PATIENCE};
use crate::plain_ports::http::{WEB, istio, web};

/// As many servers do: decode, join to the root, open.
const NODE: &str = "const [root, port] = process.argv.slice(1); const fs = require('fs'), path = require('path'); \
    require('http').createServer((q, r) => { let f; try { f = path.join(root, decodeURIComponent(q.url.split('?')[0].replace(/\\\\/g, '/'))); } catch { r.writeHead(400); return r.end(); } \
    fs.readFile(f, (e, d) => { r.writeHead(e ? 404 : 200); r.end(e ? 'none' : d); }); }).listen(+port, '127.0.0.1');";

/// Ways to write `/private/secret`, and neighbours of it.
const WAYS: &[&str] = &[
    "/private/secret",
    "/private/./secret",
    "//private/secret",
    "///private//secret",
    "/public/../private/secret",
    "/public/%2e%2e/private/secret",
    "/public/.%2E/private/secret",
    "/public/..%2fprivate/secret",
    "/public%2f..%2Fprivate%2fsecret",
    "/public/..%5cprivate%5csecret",
    "/public\\..\\private\\secret",
    "/%70rivate/secret",
    "/%2570rivate/secret",
    "/private%2fsecret",
    "/private;a=b/secret",
    "/public/..;/private/secret",
    "/./private/secret",
    "/%2e/private/secret",
    "/public/x/../../private/secret",
    "/public//../private/secret",
    "/public/%252e%252e/private/secret",
    "/%%370rivate/secret",
    "/private/secret%00",
    "/private/secret?x",
    "/private/secret#x",
    "/public/private/../../private/secret",
];

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn origin(mut command: Command, addr: SocketAddr) -> Child {
    let child =
        command.kill_on_drop(true).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let up = async {
        while tokio::net::TcpStream::connect(addr).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, up).await.expect("the server starts");
    child
}

async fn holds(root: &Path, name: &str) {
    let addr = free();
    let command = match name {
        "node" => {
            let mut node = Command::new("node");
            node.args(["-e", NODE]).arg(root).arg(addr.port().to_string());
            node
        }
        _ => {
            let mut python = Command::new("python3");
            let port = addr.port().to_string();
            python.args(["-m", "http.server", &port, "--bind", "127.0.0.1", "--directory"]).arg(root);
            python
        }
    };
    let _origin = origin(command, addr).await;
    let deny = istio("DENY", r#"[{to: [{operation: {paths: ["/private", "/private*"]}}]}]"#);
    let decode = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}'}\n";
    for (mode, more) in [("strict", ""), ("DECODE_AND_MERGE_SLASHES", decode)] {
        // The server does open it where nothing denies: else the test would hold of a server that opens nothing.
        let open = Lab::start(&web(addr, more)).await;
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let reply = open.raw("agents/reader", WEB, get("/private/secret").as_bytes()).await;
        assert!(reply.body.contains("SECRET"), "{name}: {reply:?}");
        let lab = Lab::start(&web(addr, &format!("{deny}{more}"))).await;
        let reply = lab.raw("agents/reader", WEB, get("/public/x").as_bytes()).await;
        assert!(reply.body.contains("PUBLIC"), "{name} {mode}: {reply:?}");
        for way in WAYS {
            let reply = lab.raw("agents/reader", WEB, get(way).as_bytes()).await;
            assert!(!reply.body.contains("SECRET"), "{name} {mode} {way}: {reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs python3 and node: cargo test --test waypoint -- --ignored origins"]
async fn no_spelling_of_a_path_opens_the_denied_file() {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in [("public/x", "PUBLIC"), ("private/secret", "SECRET"), ("public/private/x", "PUBLIC")] {
        let file = root.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    for name in ["python", "node"] {
        holds(root.path(), name).await;
    }
}
