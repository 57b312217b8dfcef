//! `guard`: what protects what, what would be written, and their orderly removal.

mod show;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Ended;
use super::args::GuardArgs;
use crate::controller::cluster::{DocumentKind, MeshConfigOf};
use crate::controller::guard::{self, MANAGED_BY, MANAGER, OFF, Plan, SWITCH, SWITCH_KEY};
use crate::controller::{Cluster, View};

/// The API server has this long to tell all that it holds.
const PATIENCE: Duration = Duration::from_secs(30);
/// A removal is looked after for this long: a controller that has not seen the switch yet may write once more.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs `guard` with the credentials of `KUBECONFIG`, or of the pod that it runs in.
///
/// # Errors
/// The API server cannot be reached, something may not be read or written, or `out` cannot be written to.
pub async fn run(args: &GuardArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<Ended> {
    let client = crate::controller::client().await?;
    if args.restore {
        return restore(&client, args, out).await;
    }
    if args.remove {
        return remove(&client, args, out).await;
    }
    let view = view(&client, &args.pod_namespace).await?;
    let mesh = guard::read(&view, &args.pod_namespace, &args.trust_domain, None);
    let mut plan = guard::plan(&mesh);
    if let Some(namespace) = &args.namespace {
        keep_only(&mut plan, namespace);
    }
    let own = |found: &&guard::Found| args.namespace.as_ref().is_none_or(|own| **own == *found.name.namespace);
    let found: Vec<&guard::Found> = mesh.found.iter().filter(|found| found.ours).filter(own).collect();
    if args.dry_run {
        show::dry_run(&plan, &view, args.json, out)?;
        return Ok(Ended::Well);
    }
    show::list(&plan, &found, &view, args.json, out)?;
    if args.none && !found.is_empty() {
        let count = found.len();
        bail!(
            "{count} guards exist: without a waypoint they cut their Services off from everybody. Run `agent-waypoint guard --remove`, which opens the pods to the whole mesh, or keep them knowingly"
        );
    }
    Ok(Ended::Well)
}

fn keep_only(plan: &mut Plan, namespace: &str) {
    plan.apply.retain(|policy| &*policy.name.namespace == namespace);
    plan.withheld.retain(|policy| &*policy.name.namespace == namespace);
    plan.remove.retain(|name| &*name.namespace == namespace);
    plan.subjects.retain(|subject| &*subject.service.namespace == namespace);
    plan.external.retain(|(name, _)| &*name.namespace == namespace);
}

/// The cluster, once it is known as far as guards go.
async fn view(client: &Client, own: &str) -> anyhow::Result<Arc<View>> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let _ended = stop.clone().drop_guard();
    let cluster = Cluster::watch(client, (own, MeshConfigOf::default()), &tasks, &stop);
    let mut views = cluster.subscribe();
    let whole = async {
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            if guard::is_whole(&view) || views.changed().await.is_err() {
                return view;
            }
        }
    };
    if let Ok(view) = tokio::time::timeout(PATIENCE, whole).await {
        return Ok(view);
    }
    let view = cluster.view();
    let unknown = view.unknown().into_iter().map(|(kind, standing)| format!("{kind}: {standing:?}"));
    bail!("the API server did not tell all: {}", unknown.collect::<Vec<_>>().join("; "))
}

/// First the switch, so that the controller writes none again; then the guards.
async fn remove(client: &Client, args: &GuardArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<Ended> {
    let switches: Api<ConfigMap> = Api::namespaced(client.clone(), &args.pod_namespace);
    let switch = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": SWITCH, "labels": {MANAGED_BY: MANAGER}},
        "data": {SWITCH_KEY: OFF},
    });
    let title = format!("ConfigMap {}/{SWITCH}", args.pod_namespace);
    let params = PatchParams::apply(MANAGER).force();
    switches.patch(SWITCH, &params, &Patch::Apply(switch)).await.with_context(|| format!("{title} not written"))?;
    let mut removed = 0_usize;
    let until = tokio::time::Instant::now() + SETTLE;
    loop {
        let guards = ours(client).await?;
        for live in &guards {
            guard::remove(client, live).await?;
            let meta = &live.metadata;
            let name = meta.name.as_deref().unwrap_or_default();
            writeln!(out, "removed {}/{name}", meta.namespace.as_deref().unwrap_or_default())?;
            removed += 1;
        }
        if tokio::time::Instant::now() >= until {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let left = ours(client).await?.len();
    writeln!(
        out,
        "{removed} guards removed, {left} left; {title} keeps them away until `agent-waypoint guard --restore`"
    )?;
    out.flush()?;
    Ok(if left == 0 { Ended::Well } else { Ended::Badly })
}

/// Guards of ours, as they are now.
async fn ours(client: &Client) -> anyhow::Result<Vec<DynamicObject>> {
    let Some(resource) = DocumentKind::AuthorizationPolicy.resources().next() else { return Ok(Vec::new()) };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let params = kube::api::ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    match api.list(&params).await {
        Ok(list) => Ok(list.items),
        // Without Istio there is none.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error).context("AuthorizationPolicies not listed"),
    }
}

async fn restore(client: &Client, args: &GuardArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<Ended> {
    let switches: Api<ConfigMap> = Api::namespaced(client.clone(), &args.pod_namespace);
    match switches.delete(SWITCH, &DeleteParams::default()).await {
        Ok(_) => writeln!(out, "guards are on: the controller writes them anew")?,
        Err(kube::Error::Api(status)) if status.code == 404 => writeln!(out, "guards were not off")?,
        Err(error) => return Err(error).context(format!("ConfigMap {}/{SWITCH} not removed", args.pod_namespace)),
    }
    out.flush()?;
    Ok(Ended::Well)
}
