//! `tool-server --listen ADDR`: the server by itself. Prints one JSON line with the bound address, then one for each
//! request that reaches it. SIGINT or SIGTERM ends it.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tool_server::Seen;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, None, None) => "127.0.0.1:0".to_owned(),
        (Some("--listen"), Some(address), None) => address,
        _ => bail!("usage: tool-server [--listen ADDR]"),
    };
    let listener = TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    print_line(&serde_json::json!({ "listening": listener.local_addr()?.to_string() }));

    let shutdown = CancellationToken::new();
    let seen = Seen::reporting(print_line);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let until_signal = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        shutdown.cancel();
    };
    tokio::join!(tool_server::serve(listener, seen, shutdown.clone()), until_signal);
    Ok(())
}

/// One value, one line. Nobody reading any longer is no reason to stop serving.
fn print_line(value: &impl serde::Serialize) {
    if let Ok(line) = serde_json::to_string(value) {
        let _unread = writeln!(std::io::stdout(), "{line}");
    }
}
