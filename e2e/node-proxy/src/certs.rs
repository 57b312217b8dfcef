//! The mesh's CA: one root, and a certificate for each identity, as files.

use std::fs;
use std::path::PathBuf;

use agent_waypoint::control::identity::{DEV_TTL, DevCa};
use agent_waypoint::id::{TrustDomain, WorkloadId};
use anyhow::{Context as _, bail};
use clap::Args;

/// `certs`
#[derive(Debug, Args)]
pub(crate) struct CertsArgs {
    /// Where the files go
    #[arg(long)]
    dir: PathBuf,
    /// The trust domain
    #[arg(long, default_value = "cluster.local")]
    trust_domain: TrustDomain,
    /// Whom to certify: NAMESPACE/ACCOUNT
    #[arg(required = true)]
    ids: Vec<String>,
}

/// Writes the files.
pub(crate) fn run(args: &CertsArgs) -> anyhow::Result<()> {
    let ca = DevCa::ephemeral(&args.trust_domain)?;
    fs::create_dir_all(&args.dir)?;
    fs::write(args.dir.join("root.pem"), ca.root_pem())?;
    for name in &args.ids {
        let Some((namespace, account)) = name.split_once('/') else { bail!("{name}: not NAMESPACE/ACCOUNT") };
        let id = WorkloadId::of_istio(&args.trust_domain, namespace, account).context("no identity")?;
        let (chain, key) = ca.issue_pem(&id, DEV_TTL)?;
        fs::write(args.dir.join(format!("{namespace}-{account}.crt")), chain)?;
        fs::write(args.dir.join(format!("{namespace}-{account}.key")), key)?;
    }
    Ok(())
}
