//! HTTP with JSON: paths, verbs and queries (specification section 11.3, and 0.3.0 section 3.5.3).

use std::sync::Arc;

use http::Method;

use super::fault::HeadFault;
use super::names::CARDS;
use crate::call::{A2aOperation as Op, A2aVersion};

/// What a path and a verb say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// The operation.
    pub operation: Op,
    /// Whose path it is.
    pub version: A2aVersion,
    /// Under which the agent serves it, without a slash at its end.
    pub base: Arc<str>,
    /// `/{tenant}/..`
    pub tenant: Option<Arc<str>>,
    /// `/tasks/{id}`
    pub task: Option<Arc<str>>,
    /// `/pushNotificationConfigs/{id}`
    pub config: Option<Arc<str>>,
}

/// Segments that are no tenant: they begin paths of the binding's own.
const NO_TENANTS: [&str; 4] = ["v1", "tasks", "extendedAgentCard", ".well-known"];

/// The operation at `path` (canonical, `/` first), which may have a base of `bases` (the root where there are none)
/// and a tenant before or behind it. `Ok(None)` where it is none of the binding's.
pub(super) fn read(method: &Method, path: &str, bases: &[Arc<str>]) -> Result<Option<Rest>, HeadFault> {
    if *method == Method::GET
        && let Some((base, version)) =
            CARDS.iter().find_map(|(card, version)| Some((path.strip_suffix(card)?, version)))
    {
        return Ok(Some(Rest {
            operation: Op::GetAgentCard,
            version: *version,
            base: base.into(),
            tenant: None,
            task: None,
            config: None,
        }));
    }
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let mut found: Option<Rest> = None;
    for base in bases.iter().map(|base| &**base).chain(bases.is_empty().then_some("/")) {
        let base: Vec<&str> = base.split('/').filter(|segment| !segment.is_empty()).collect();
        for (tenant, rest) in splits(&segments, &base) {
            let Some(rest) = template(method, rest, tenant)? else { continue };
            let rest = Rest { base: at(&base), ..rest };
            if found.as_ref().is_some_and(|found| *found != rest) {
                return Err(HeadFault::Ambiguous);
            }
            found = Some(rest);
        }
    }
    Ok(found)
}

/// The path of a base.
fn at(base: &[&str]) -> Arc<str> {
    base.iter().flat_map(|segment| ["/", segment]).collect::<String>().into()
}

/// Whether some server, mounted wherever, could take `path` for one of the binding's.
pub(super) fn looks_like(path: &str) -> bool {
    let ours = ["tasks", "pushnotificationconfigs", "extendedagentcard", "card"];
    let lower = path.to_ascii_lowercase();
    let segments: Vec<&str> = lower.split('/').collect();
    // `:` stands before a verb, `;` before what some servers cut off; the service's own name before a method, to servers
    // that take JSON for protobuf.
    let own = |segment: &&str| segment.contains([':', ';']) || segment.contains("%3") || ours.contains(segment);
    let service = |segment: &&str| segment.ends_with("a2aservice");
    // `QuerySkill`, of a version to come.
    let skill = segments.windows(3).any(|three| matches!(three, ["skills", _, "query"]));
    skill || segments.iter().any(|segment| own(segment) || service(segment))
}

/// The ways in which `segments` are a base, perhaps a tenant, and a rest.
fn splits<'a>(segments: &'a [&'a str], base: &[&'a str]) -> Vec<(Option<&'a str>, &'a [&'a str])> {
    let mut ways = Vec::new();
    if let Some(rest) = segments.strip_prefix(base) {
        ways.push((None, rest));
        if let Some((tenant, rest)) = rest.split_first() {
            ways.push((Some(*tenant), rest));
        }
    }
    if let Some((tenant, rest)) = segments.split_first()
        && let Some(rest) = rest.strip_prefix(base)
        && !base.is_empty()
    {
        ways.push((Some(*tenant), rest));
    }
    ways
}

fn template(method: &Method, segments: &[&str], tenant: Option<&str>) -> Result<Option<Rest>, HeadFault> {
    let (version, segments) = match segments.split_first() {
        Some((&"v1", rest)) => (A2aVersion::V0_3, rest),
        _ => (A2aVersion::V1_0, segments),
    };
    if tenant.is_some_and(|tenant| NO_TENANTS.contains(&tenant) || tenant.contains(':') || version == A2aVersion::V0_3)
    {
        return Ok(None);
    }
    let (get, post) = (*method == Method::GET, *method == Method::POST);
    let (operation, task, config) = match segments {
        ["message:send"] if post => (Op::SendMessage, None, None),
        ["message:stream"] if post => (Op::SendStreamingMessage, None, None),
        ["tasks"] if get && version == A2aVersion::V1_0 => (Op::ListTasks, None, None),
        ["extendedAgentCard"] if get && version == A2aVersion::V1_0 => (Op::GetExtendedAgentCard, None, None),
        ["card"] if get && version == A2aVersion::V0_3 => (Op::GetExtendedAgentCard, None, None),
        // 0.2, beside the agent's URL.
        ["agent", "authenticatedExtendedCard"] if get && tenant.is_none() => (Op::GetExtendedAgentCard, None, None),
        ["tasks", last] => match last.rsplit_once(':') {
            None if get => (Op::GetTask, Some(*last), None),
            Some((task, "cancel")) if post => (Op::CancelTask, Some(task), None),
            Some((task, "subscribe")) if post || get => (Op::SubscribeToTask, Some(task), None),
            _ => return Ok(None),
        },
        ["tasks", task, "pushNotificationConfigs"] if post => (Op::CreateTaskPushNotificationConfig, Some(*task), None),
        ["tasks", task, "pushNotificationConfigs"] if get => (Op::ListTaskPushNotificationConfigs, Some(*task), None),
        ["tasks", task, "pushNotificationConfigs", config] if get => {
            (Op::GetTaskPushNotificationConfig, Some(*task), Some(*config))
        }
        ["tasks", task, "pushNotificationConfigs", config] if *method == Method::DELETE => {
            (Op::DeleteTaskPushNotificationConfig, Some(*task), Some(*config))
        }
        _ => return Ok(None),
    };
    let version = if segments.first() == Some(&"agent") { A2aVersion::V0_3 } else { version };
    let name = |segment: Option<&str>| segment.map(|segment| decoded(segment).ok_or(HeadFault::NotA2a)).transpose();
    let (tenant, task, config) = (name(tenant)?, name(task)?, name(config)?);
    Ok(Some(Rest { operation, version, base: at(&[]), tenant, task, config }))
}

/// A segment of a canonical path as the server reads it. A colon in it could be a verb, and what stands behind a
/// semicolon is cut off by some servers: neither is part of an id.
fn decoded(segment: &str) -> Option<Arc<str>> {
    let text = percent_decoded(segment, false)?;
    if text.is_empty() || text.contains([':', ';', '/', '?', '#', '%']) { None } else { Some(text.into()) }
}

/// The parameters that an operation takes in its query, in camelCase; what servers do not know they ignore, and answer
/// more than was asked for.
pub(super) fn parameters(operation: Op) -> &'static [&'static str] {
    match operation {
        Op::GetTask => &["tenant", "historyLength"],
        Op::ListTasks => &[
            "tenant",
            "contextId",
            "status",
            "pageSize",
            "pageToken",
            "historyLength",
            "statusTimestampAfter",
            "includeArtifacts",
        ],
        Op::ListTaskPushNotificationConfigs => &["tenant", "pageSize", "pageToken"],
        Op::SubscribeToTask
        | Op::GetTaskPushNotificationConfig
        | Op::DeleteTaskPushNotificationConfig
        | Op::GetExtendedAgentCard => &["tenant"],
        Op::SendMessage
        | Op::SendStreamingMessage
        | Op::CancelTask
        | Op::CreateTaskPushNotificationConfig
        | Op::GetAgentCard => &[],
    }
}

/// The parameters of a query.
///
/// # Errors
/// [`HeadFault::Query`] for one that the operation does not have, one that is there twice, or one that does not decode.
pub(super) fn query(query: Option<&str>, operation: Op) -> Result<Vec<(String, String)>, HeadFault> {
    let mut found: Vec<(String, String)> = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = percent_decoded(key, true).ok_or(HeadFault::Query)?;
        let value = percent_decoded(value, true).ok_or(HeadFault::Query)?;
        let known = parameters(operation).contains(&&*key);
        if !known || pair.contains(';') || found.iter().any(|(other, _)| *other == key) {
            return Err(HeadFault::Query);
        }
        found.push((key, value));
    }
    Ok(found)
}

pub(super) fn percent_decoded(text: &str, plus_is_space: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok().filter(|text| !text.chars().any(char::is_control))
}
