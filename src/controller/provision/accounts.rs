//! A waypoint's ServiceAccount is made once admission policies know whose it is, and not before: a token of it is good for as
//! long as whoever asked for it wanted, and lets past every guard that exempts the waypoint.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Client, Resource as _};
use serde_json::Value;
use tokio::time::Instant;

use super::super::apply::{Part, Wanted};
use super::config_map;

/// ConfigMap, in the namespace of a waypoint: its ServiceAccounts, each with the name of its Gateway. Admission policies go
/// by it; the guard writes it.
pub const WAYPOINTS: &str = "agent-waypoint-waypoints";
/// How often it is looked whether an account stands there.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// For so long it stands there before the account is made: API servers hear of it by watches of their own.
const SETTLE: Duration = Duration::from_secs(1);

/// Namespace and name of a Gateway, and of its account.
type Account = (String, String);

/// Accounts that are to be made, and since when they were seen to stand there.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<Account, Instant>);

impl Named {
    /// Takes the objects of Gateways out of `wanted` whose account is not there and is not to be made yet. Whether there are
    /// any.
    pub(super) async fn hold_back(&mut self, wanted: &mut Vec<(Wanted, Option<Value>)>, client: &Client) -> bool {
        let missing = wanted.iter().filter(|(want, live)| is_account(want) && live.is_none());
        let missing: BTreeSet<Account> = missing.filter_map(|(want, _)| owner(want)).collect();
        let (mut seen, mut told) = (BTreeMap::new(), BTreeMap::new());
        for account in &missing {
            let at = match self.0.get(account) {
                Some(at) => Some(*at),
                None => {
                    let (namespace, name) = account;
                    if !told.contains_key(namespace) {
                        told.insert(namespace, accounts(client, namespace).await);
                    }
                    told.get(namespace).is_some_and(|all| all.contains_key(name)).then(Instant::now)
                }
            };
            seen.extend(at.map(|at| (account.clone(), at)));
        }
        self.0 = seen;
        let waits =
            |account: &Account| missing.contains(account) && self.0.get(account).is_none_or(|at| at.elapsed() < SETTLE);
        wanted.retain(|(want, _)| want.part == Part::Status || !owner(want).is_some_and(|account| waits(&account)));
        missing.iter().any(waits)
    }
}

fn is_account(want: &Wanted) -> bool {
    want.part == Part::Object && want.resource.kind == ServiceAccount::kind(&())
}

/// The Gateway that an object is of: all have its name.
fn owner(want: &Wanted) -> Option<Account> {
    Some((want.namespace.clone()?, want.name.clone()))
}

/// Whose accounts admission policies know in a namespace.
async fn accounts(client: &Client, namespace: &str) -> BTreeMap<String, String> {
    match config_map(client, namespace, WAYPOINTS).await {
        Ok(map) => map.and_then(|map| map.data).unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, namespace, "no ServiceAccount is made for a Gateway: whose it will be is not told yet; looked again");
            BTreeMap::new()
        }
    }
}
