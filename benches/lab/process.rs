//! The waypoint as a process of its own, and what the kernel says of it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::server::Servers;
use super::world::{Place, documents};

/// Clock ticks per second in `/proc` (`getconf CLK_TCK`; 100 on every Linux of today).
const TICKS: f64 = 100.0;

/// `agent-waypoint run --dev`.
pub(crate) struct Waypoint {
    child: Child,
    pub(crate) hbone: SocketAddr,
}

/// The binaries to measure by name, else the one of this build.
pub(crate) fn binaries() -> Vec<(String, PathBuf)> {
    let given = std::env::var("AGENT_WAYPOINT_BENCH_BINARIES").unwrap_or_default();
    let named: Vec<_> = given
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, path)| (format!(" ({name})"), PathBuf::from(path)))
        .collect();
    if named.is_empty() { vec![(String::new(), env!("CARGO_BIN_EXE_agent-waypoint").into())] } else { named }
}

impl Waypoint {
    /// Starts it on free ports and waits until it takes connections.
    pub(crate) async fn start(binary: &Path, servers: &Servers) -> Self {
        let file = servers.dir.path().join("documents.yaml");
        fs::write(&file, documents(Place { plain: servers.plain, hbone: servers.hbone })).unwrap();
        let [hbone, stats, ready, admin] = free_ports();
        let mut command = Command::new(binary);
        command.args(["run", "--dev", "-f"]).arg(&file);
        for (flag, addr) in
            [("--hbone-addr", hbone), ("--stats-addr", stats), ("--ready-addr", ready), ("--admin-addr", admin)]
        {
            command.arg(flag).arg(addr.to_string());
        }
        command.env("XDG_STATE_HOME", servers.state()).env("RUST_LOG", "warn").stdout(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        let started = async {
            while TcpStream::connect(hbone).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), started).await.unwrap();
        Self { child, hbone }
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id().unwrap())).unwrap()
    }

    /// Processor time used so far, in user and kernel mode.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // Fields after the name, which stands in brackets: utime and stime are the 14th and 15th of all.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks: f64 = rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
        Duration::from_secs_f64(ticks / TICKS)
    }

    /// Resident memory, bytes.
    pub(crate) fn resident(&self) -> usize {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }
}

fn free_ports() -> [SocketAddr; 4] {
    // Held together, so that they differ.
    let held: [TcpListener; 4] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}
