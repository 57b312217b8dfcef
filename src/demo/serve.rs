//! `--serve`: commands to try by hand against what the demo started.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;

use super::lab::Lab;
use super::table::Style;
use crate::net;

/// Writes what to type (as JSON: where everything is), then sends each record of the waypoint to stdout as it comes.
pub(super) fn explain(lab: &Lab, out: &mut dyn Write, style: Style) -> anyhow::Result<()> {
    if style == Style::Json {
        places(lab, out)?
    } else {
        commands(lab, out)?
    }
    out.flush()?;
    lab.records().follow();
    Ok(())
}

fn places(lab: &Lab, out: &mut dyn Write) -> anyhow::Result<()> {
    let dir = lab.dir();
    let places = serde_json::json!({ "serving": {
        "stateHome": dir.join("state"), "documents": dir.join("documents"), "tokens": dir.join("tokens"),
        "waypoint": lab.waypoint(), "stats": lab.waypoint_stats(),
    }});
    writeln!(out, "{places}")?;
    Ok(())
}

fn commands(lab: &Lab, out: &mut dyn Write) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let program = program.display();
    let dir = lab.dir().display();
    let port = free_port()?;
    write!(
        out,
        r#"
Everything is still running. In another terminal:

  export XDG_STATE_HOME={dir}/state    # the demo's own CA
  AW={program}
  $AW connect --as agents/researcher --listen 127.0.0.1:{port} --waypoint {waypoint} tools/notes:80 &

  mcp() {{ curl -sS http://127.0.0.1:{port}/mcp -H 'content-type: application/json' \
    -H 'accept: application/json, text/event-stream' -H "mcp-session-id: $SESSION" "$@"; echo; }}
  SESSION=$(mcp -o /dev/null -D - -d '{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-06-18","capabilities":{{}},"clientInfo":{{"name":"curl","version":"1"}}}}}}' | tr -d '\r' | sed -n 's/^mcp-session-id: //Ip')
  mcp -d '{{"jsonrpc":"2.0","method":"notifications/initialized"}}'
  mcp -d '{{"jsonrpc":"2.0","id":1,"method":"tools/list"}}'
  mcp -d '{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"get_note","arguments":{{"id":"n1"}}}}}}'
  mcp -d '{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"delete_note","arguments":{{"id":"n1"}}}}}}'

  $AW check -f {dir}/documents
  $AW explain -f {dir}/documents --from agents/assistant --to tools/notes:80 \
    --tool update_note --arg id=n1 --arg owner=acme --jwt {dir}/tokens/alice.jwt
  curl -sS http://{stats}/stats/prometheus | grep agent_waypoint_decisions

Edit {dir}/documents/policy.yaml: it is in force within a second.
Each decision is printed below. Ctrl-C ends it all.

"#,
        waypoint = lab.waypoint(),
        stats = lab.waypoint_stats(),
    )?;
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    let listener = net::listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?;
    Ok(listener.local_addr()?.port())
}
