//! What a tunnel and a request cost before any of their bytes: the futures that are kept for them. The bounds are
//! generous; what breaks them has put a large thing on the wrong side of a `Box::pin`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::http::{Calls, plain};
use super::{Proxy, Shared, mcp, tunnel};
use crate::hbone::{Stream, Tunnel};
use crate::intake::{self, Handler as _, Request, Rewind};
use crate::mesh::Target;

fn of_one<A, F: Future>(_: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

fn of_two<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
    size_of::<F>()
}

fn of_three<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

fn of_four<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn futures_that_are_kept_stay_small() {
    type Tunnels = Rewind<Stream>;
    let rows = [
        ("tunnel, any protocol", of_one(|tunnel: Tunnel| async move { proxy().serve(tunnel).await }), 1_536),
        ("tunnel", of_two::<&Arc<Shared>, Tunnel, _>(tunnel::serve), 1_024),
        (
            "HTTP tunnel",
            of_four::<&Arc<Shared>, Calls, (Stream, CancellationToken), &Arc<Target>, _>(tunnel::serve_stream),
            4_096,
        ),
        ("HTTP/1.1 in a tunnel, between requests", of_three(intake::serve_http1::<Tunnels, Calls>), 4_096),
        ("h2c in a tunnel, between requests", of_three(intake::serve_h2c::<Tunnels, Calls>), 8_192),
        ("request", of_two::<&Calls, Request, _>(Calls::handle), 2_048),
        ("MCP request", of_three::<&Calls, Arc<Target>, Request, _>(mcp::serve), 2_048),
        ("plain request", of_three::<&Calls, Arc<Target>, Request, _>(plain), 8_192),
    ];
    let over: Vec<_> = rows.iter().filter(|(_, bytes, most)| bytes > most).collect();
    assert!(over.is_empty(), "too large (what, bytes, bound): {over:?}; all: {rows:?}");
}

fn proxy() -> &'static Proxy {
    panic!("only the type is asked for")
}
