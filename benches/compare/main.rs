//! agent-waypoint beside Envoy, each as the waypoint of the same server, in turns within one run: only their ratios mean
//! anything on a machine that does other work too. `benches/compare/run` brings Envoy and calls this.
//!
//! `AGENT_WAYPOINT_BENCH_ENVOY=PATH` is Envoy's binary; without it ours is measured alone. `.._ROUNDS`, `.._SECONDS`
//! (per row and round) and `.._JSON=FILE` are for shorter looks and for machines that read. `.._BASE=PATH` is another build
//! of ours in Envoy's place, to see what a change does, and `.._ROWS=calls` leaves all rows out but those of calls,
//! `.._ROWS=rest` all but those of a start and of what is resident before any call.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark, not a product"
)]

mod case;
mod envoy;
mod load;
mod origin;
mod proxy;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use case::Case;
use load::Load;
use origin::Origin;
use proxy::Proxy;
use table::Table;

/// Virtual addresses of the services.
const MCP: &str = "127.0.99.1:80";
const HTTP: &str = "127.0.99.2:80";
const TCP: &str = "127.0.99.3:80";
const A2A: &str = "127.0.99.4:80";
const GRPC: &str = "127.0.99.5:80";

/// So many are called; others are added.
const SERVICES: usize = 5;

/// What stands beside ours.
const ENVOY: &str = "Envoy";
const BASE: &str = "base";

const CONNECTIONS: usize = 4;
const TUNNELS: usize = 32;
/// Calls per second of the open loop, well below what either can do.
const RATE: f64 = 300.0;
/// Tunnels that say nothing, for the memory rows.
const IDLE: usize = 800;
/// Connections without a tunnel, for theirs.
const CONNECTED: usize = 400;
/// Streams of events that stay open, for theirs.
const STREAMS: usize = 200;
/// Of thousands of services and policies there are fewer rounds.
const TURNS_AT_SCALE: usize = 3;
/// How many times as long Envoy is measured at refused calls, of which it does so few.
const LONGER: u32 = 5;

fn main() {
    // `cargo test --benches` runs this too; there it has nothing to say.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

fn setting<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    let given = std::env::var(format!("AGENT_WAYPOINT_BENCH_{name}")).ok();
    given.and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Whether these rows are asked for.
fn rows(which: &str) -> bool {
    let asked: String = setting("ROWS", "all".to_owned());
    assert!(["rest", "calls", "all"].contains(&asked.as_str()), "AGENT_WAYPOINT_BENCH_ROWS is rest, calls or all");
    asked == which || asked == "all"
}

async fn run() {
    let rounds: usize = setting("ROUNDS", 5);
    let time = Duration::from_secs_f64(setting("SECONDS", 2.0));
    let ours: PathBuf = setting("OURS", env!("CARGO_BIN_EXE_agent-waypoint").into());
    let path = |name: &str| std::env::var_os(format!("AGENT_WAYPOINT_BENCH_{name}")).map(PathBuf::from);
    let (envoy, base) = (path("ENVOY"), path("BASE"));
    let origin = Arc::new(Origin::start().await);
    let mut table = Table::new(if base.is_some() { BASE } else { ENVOY });
    for round in 0..rounds {
        let proxy = Proxy::ours(&ours, &origin, 7).await;
        measure(&mut table, &origin, proxy, time, round).await;
        if let Some(base) = &base {
            let mut proxy = Proxy::ours(base, &origin, 7).await;
            proxy.name = BASE;
            measure(&mut table, &origin, proxy, time, round).await;
        } else if let Some(envoy) = &envoy {
            let proxy = Proxy::envoy(envoy, &origin, 0).await;
            measure(&mut table, &origin, proxy, time, round).await;
        }
    }
    if rows("all") {
        for round in 0..rounds.min(TURNS_AT_SCALE) {
            eprintln!("at scale, turn {}", round + 1);
            scale(&mut table, &origin, &ours, envoy.as_deref()).await;
            edits(&mut table, &origin, &ours).await;
        }
    }
    println!("{}", table.markdown());
    if let Ok(file) = std::env::var("AGENT_WAYPOINT_BENCH_JSON") {
        std::fs::write(file, table.json()).unwrap();
    }
}

/// Everything of one proxy, once.
async fn measure(table: &mut Table, origin: &Arc<Origin>, proxy: Proxy, time: Duration, round: usize) {
    let name = proxy.name;
    eprintln!("round {}: {name}", round + 1);
    table.add("start to ready, ms", name, proxy.ready.as_secs_f64() * 1e3, "");
    table.add("resident idle, MiB", name, proxy.resident(), "");
    table.add("of it its own, not pages of files, MiB", name, proxy.own(), "");
    let load = Arc::new(Load::new(origin, &proxy, CONNECTIONS));
    if rows("rest") {
        idle(table, &load, &proxy).await;
    }
    if rows("calls") {
        calls(table, &load, &proxy, time).await;
    }
    if rows("all") {
        further(table, origin, &load, &proxy, time).await;
    }
    proxy.stop().await;
}

/// Calls of each kind, as many at once as there are tunnels.
async fn calls(table: &mut Table, load: &Arc<Load>, proxy: &Proxy, time: Duration) {
    let name = proxy.name;
    for case in Case::ALL {
        load.closed(case, TUNNELS, time / 5).await;
        let before = proxy.cpu();
        let time = if case == Case::Refused && name == ENVOY { time * LONGER } else { time };
        let ran = load.closed(case, TUNNELS, time).await;
        let cpu = (proxy.cpu() - before) * 1e5 / ran.calls as f64;
        let row = |what: &str| format!("{}: {what}", case.name());
        table.add(&row("calls/s"), name, ran.rate(), "");
        table.add(&row("CPU s per 100,000"), name, cpu, case.remark());
        for (share, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
            table.add(&row(&format!("{label} µs, closed loop")), name, ran.quantile(share), "");
        }
        eprintln!("  {:<20} {:>8.0}/s {cpu:>7.2} s/100k, {} tunnels reopened", case.name(), ran.rate(), ran.reopened);
    }
}

/// What is asked of calls beyond that: at their own times, alone, through one connection; and of tunnels and connections.
async fn further(table: &mut Table, origin: &Arc<Origin>, load: &Arc<Load>, proxy: &Proxy, time: Duration) {
    let name = proxy.name;
    for case in [Case::Get, Case::Call] {
        let ran = load.open(case, RATE, time).await;
        for (share, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
            let row = format!("{}: {label} µs at {RATE}/s, open loop", case.name());
            table.add(&row, name, ran.quantile(share), "");
        }
    }
    let alone = Arc::new(Load::new(origin, proxy, 1));
    let ran = alone.closed(Case::Call, 1, time).await;
    table.add("tools/call 1 KiB: p50 µs, one caller", name, ran.quantile(0.5), "");
    let ran = alone.closed(Case::Call, 100, time).await;
    table.add("tools/call 1 KiB: calls/s, one connection, 100 tunnels", name, ran.rate(), "");
    rates(table, load, proxy, time).await;
}

async fn idle(table: &mut Table, load: &Arc<Load>, proxy: &Proxy) {
    let each = held(proxy, CONNECTED, load.connected(CONNECTED)).await;
    table.add("per idle connection, KiB", proxy.name, each, "");
    let each = held(proxy, IDLE, load.idle(IDLE, HTTP)).await;
    table.add("per idle tunnel, KiB", proxy.name, each, "after idle connections, whose memory may serve again");
    let each = held(proxy, STREAMS, load.streams(STREAMS)).await;
    table.add("per open SSE stream, KiB", proxy.name, each, "the same");
}

/// What the proxy holds for each of so many that are opened, KiB.
async fn held<T>(proxy: &Proxy, number: usize, opening: impl Future<Output = T>) -> f64 {
    let before = proxy.resident();
    let _open = opening.await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    (proxy.resident() - before) * 1024.0 / number as f64
}

async fn rates(table: &mut Table, load: &Arc<Load>, proxy: &Proxy, time: Duration) {
    let name = proxy.name;
    for (what, tls) in [("new tunnels", false), ("new TLS connections", true)] {
        let before = proxy.cpu();
        let ran = if tls { load.connections(8, time).await } else { load.tunnels(16, time).await };
        let cpu = (proxy.cpu() - before) * 1e5 / ran.calls as f64;
        table.add(&format!("{what}/s"), name, ran.rate(), "");
        table.add(&format!("{what}: CPU s per 100,000"), name, cpu, "");
    }
    let before = proxy.cpu();
    let rate = load.bulk().await;
    table.add("bulk MB/s", name, rate / 1e6, "");
    table.add("bulk: CPU s per GB", name, (proxy.cpu() - before) * 1e9 / origin::BULK as f64, "");
    table.add("resident after the load, MiB", name, proxy.resident(), "");
}

/// From the writing of a policy until the first call is refused by it, beside as many policies on other targets.
async fn edits(table: &mut Table, origin: &Arc<Origin>, ours: &Path) {
    for policies in [1, 10_000, 100_000] {
        let proxy = Proxy::ours_with(ours, origin, 7, policies).await;
        let label = format!("{policies} policies elsewhere");
        let load = beside(table, origin, &proxy, &label).await;
        let began = std::time::Instant::now();
        origin.forbid();
        while load.is_allowed().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        table.add(&format!("{label}: edit to in force, ms"), proxy.name, began.elapsed().as_secs_f64() * 1e3, "");
        proxy.stop().await;
    }
}

/// What more services cost.
async fn scale(table: &mut Table, origin: &Arc<Origin>, ours: &Path, envoy: Option<&Path>) {
    for services in [10, 10_000] {
        let proxy = Proxy::ours(ours, origin, services - SERVICES).await;
        let label = format!("{services} services");
        beside(table, origin, &proxy, &label).await;
        proxy.stop().await;
        if let Some(envoy) = envoy {
            let proxy = Proxy::envoy(envoy, origin, services - SERVICES).await;
            beside(table, origin, &proxy, &label).await;
            proxy.stop().await;
        }
    }
}

/// What a start and calls cost beside so much that is not called.
async fn beside(table: &mut Table, origin: &Arc<Origin>, proxy: &Proxy, label: &str) -> Arc<Load> {
    let name = proxy.name;
    table.add(&format!("{label}: start to ready, ms"), name, proxy.ready.as_secs_f64() * 1e3, "");
    table.add(&format!("{label}: resident, MiB"), name, proxy.resident(), "");
    let load = Arc::new(Load::new(origin, proxy, CONNECTIONS));
    load.closed(Case::Call, TUNNELS, Duration::from_millis(400)).await;
    let before = proxy.cpu();
    let ran = load.closed(Case::Call, TUNNELS, Duration::from_secs(2)).await;
    let cpu = (proxy.cpu() - before) * 1e5 / ran.calls as f64;
    table.add(&format!("{label}: CPU s per 100,000 calls"), name, cpu, "");
    load
}
