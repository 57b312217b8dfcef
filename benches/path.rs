//! What a call costs on its whole way: client, HBONE, the waypoint in a process of its own, server. Every way through
//! the waypoint is measured beside the direct one in turns within one run, because only their ratios mean anything on a
//! machine that does other work too.
//!
//! `AGENT_WAYPOINT_BENCH_BINARIES=a=PATH,b=PATH` compares builds of the waypoint with each other in the same run.

#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a benchmark, not a product")]

#[path = "lab/client.rs"]
mod client;
#[path = "lab/process.rs"]
mod process;
#[path = "lab/server.rs"]
mod server;
#[path = "lab/world.rs"]
mod world;

use std::time::Duration;

use client::{Client, Way};
use process::Waypoint;
use server::Servers;

/// How long each way is measured in each turn.
const TURN: Duration = Duration::from_millis(1_500);
const TURNS: usize = 5;
/// Calls under way at once: tunnels, each with one call after the other.
const TUNNELS: usize = 32;
/// Client connections that carry the tunnels.
const CONNECTIONS: usize = 4;
const CALL: usize = 1 << 10;

/// One row of the table.
struct Row {
    name: String,
    way: Way,
    /// Which waypoint; none: the direct way.
    waypoint: Option<usize>,
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let servers = Servers::start().await;
    let mut waypoints = Vec::new();
    for (name, path) in process::binaries() {
        waypoints.push((name, Waypoint::start(&path, &servers).await));
    }
    let mut rows = rows(&waypoints);
    for turn in 0..TURNS {
        for row in &mut rows {
            let waypoint = row.waypoint.map(|at| &waypoints[at].1);
            let client = Client::open(&servers, waypoint, row.way, CONNECTIONS, TUNNELS).await;
            client.run(TURN / 5, CALL).await;
            let before = waypoint.map(Waypoint::cpu);
            let ran = client.run(TURN, CALL).await;
            let after = waypoint.map(Waypoint::cpu);
            let used = before.zip(after).map(|(before, after)| after - before);
            row.rates.push(ran.calls as f64 / ran.took.as_secs_f64());
            row.cpu.push(used.map_or(f64::NAN, |used| used.as_secs_f64() * 1e6 / ran.calls as f64));
            eprint_progress(turn, row);
        }
    }
    print(&rows);
    for (name, waypoint) in waypoints {
        println!("\nresident at the end{name}: {} KiB", waypoint.resident() >> 10);
        waypoint.stop().await;
    }
}

fn rows(waypoints: &[(String, Waypoint)]) -> Vec<Row> {
    let row = |name: String, way, waypoint| Row { name, way, waypoint, rates: vec![], cpu: vec![] };
    let mut rows = vec![
        row("direct, plaintext".into(), Way::DirectPlain, None),
        row("direct, HBONE".into(), Way::DirectHbone, None),
    ];
    for back in ["plain", "hbone"] {
        for protocol in ["tcp", "http", "mcp"] {
            for (at, (name, _)) in waypoints.iter().enumerate() {
                let name = format!("{protocol} port, {back} behind{name}");
                rows.push(row(name, Way::Through { protocol, back }, Some(at)));
            }
        }
    }
    rows
}

#[expect(clippy::print_stderr, reason = "progress")]
fn eprint_progress(turn: usize, row: &Row) {
    let (rate, cpu) = (row.rates[turn], row.cpu[turn]);
    eprintln!("turn {turn}: {:<40} {rate:>9.0} calls/s {cpu:>8.1} us", row.name);
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Rates against the direct HBONE call, CPU against the bytes of a TCP port with the same way behind it.
fn print(rows: &[Row]) {
    let direct = median(&rows[1].rates);
    println!("| way | calls/s | of direct HBONE | waypoint CPU per call | of the TCP port |");
    println!("|---|---:|---:|---:|---:|");
    for row in rows {
        let (rate, cpu) = (median(&row.rates), median(&row.cpu));
        let bytes = rows.iter().find(|other| match (other.way, row.way) {
            (Way::Through { protocol: "tcp", back: theirs }, Way::Through { back, .. }) => {
                theirs == back && other.waypoint == row.waypoint
            }
            _ => false,
        });
        let (cpu, of_bytes) = match bytes {
            Some(bytes) => (format!("{cpu:.0} us"), format!("{:.2}", cpu / median(&bytes.cpu))),
            None => ("-".to_owned(), "-".to_owned()),
        };
        println!("| {} | {rate:.0} | {:.2} | {cpu} | {of_bytes} |", row.name, rate / direct);
    }
}
