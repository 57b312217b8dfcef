//! The methods of every version, and what each is about.

use crate::call::Object;

/// What the parameters of a method name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Base,
    ToolList,
    Tool,
    PromptList,
    Prompt,
    ResourceList,
    Resource,
    Completion,
    Listen,
    TaskList,
    Task,
    Setting,
    Other,
}

/// Requests from client to server, MCP 2024-11-05 to 2026-07-28 and the tasks extension. None may come without an id.
const REQUESTS: &[(&str, Subject)] = &[
    ("initialize", Subject::Base),
    ("ping", Subject::Base),
    ("server/discover", Subject::Base),
    ("tools/list", Subject::ToolList),
    ("tools/call", Subject::Tool),
    ("prompts/list", Subject::PromptList),
    ("prompts/get", Subject::Prompt),
    ("resources/list", Subject::ResourceList),
    ("resources/templates/list", Subject::ResourceList),
    ("resources/read", Subject::Resource),
    ("resources/subscribe", Subject::Resource),
    ("resources/unsubscribe", Subject::Resource),
    ("subscriptions/listen", Subject::Listen),
    ("completion/complete", Subject::Completion),
    ("logging/setLevel", Subject::Setting),
    ("tasks/get", Subject::Task),
    ("tasks/cancel", Subject::Task),
    ("tasks/result", Subject::Task),
    ("tasks/list", Subject::TaskList),
    ("tasks/update", Subject::Task),
];

const NOTIFICATIONS: &str = "notifications/";

/// What a method turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// One of the requests above.
    Request(Subject),
    /// `notifications/..`
    Notification,
    /// Differs from one of the above in case alone.
    Lookalike,
    /// Any other name.
    No,
}

pub(super) fn known(method: &str) -> Known {
    if let Some((_, subject)) = REQUESTS.iter().find(|(name, _)| *name == method) {
        return Known::Request(*subject);
    }
    if method.starts_with(NOTIFICATIONS) {
        return Known::Notification;
    }
    let like_event = method.split_once('/').is_some_and(|(start, _)| alike(start, "notifications"));
    if like_event || REQUESTS.iter().any(|(name, _)| alike(name, method)) {
        return Known::Lookalike;
    }
    Known::No
}

/// Whether a request of `method` names one task.
pub(super) fn names_task(method: &str) -> bool {
    known(method) == Known::Request(Subject::Task)
}

/// Requests that 2026-07-28 took away. A server of two eras could still act on them.
pub(super) fn is_removed(method: &str) -> bool {
    matches!(
        method,
        "initialize"
            | "ping"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "logging/setLevel"
            | "tasks/result"
            | "tasks/list"
    )
}

/// The member of `params` that `Mcp-Name` mirrors for `method` (MCP 2026-07-28).
pub(super) fn mirrored(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

/// Whether there is a member of another name that the most lenient readers ([`alike`]) take for `name`: which of the two one
/// takes nobody could say.
pub fn has_lookalike(object: &Object, name: &str) -> bool {
    object.iter().any(|(key, _)| key != name && alike(name, key))
}

/// Whether the most lenient JSON readers take one for the other: they ignore case, and count the long s and the Kelvin
/// sign as s and k.
pub fn alike(one: &str, other: &str) -> bool {
    fn fold(c: char) -> char {
        match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        }
    }
    // Of nearly all names a glance at their lengths says it.
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    one.chars().map(fold).eq(other.chars().map(fold))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::alike;

    proptest! {
        #[test]
        fn names_are_alike_letter_by_letter(
            one in "[kKs\\u{17f}\\u{212a}aA_]{0,4}", other in "[kKs\\u{17f}\\u{212a}aA_]{0,4}",
        ) {
            let fold = |text: &str| text.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase();
            prop_assert_eq!(alike(&one, &other), fold(&one) == fold(&other));
            prop_assert!(alike(&one, &one.to_ascii_uppercase()));
        }
    }
}
