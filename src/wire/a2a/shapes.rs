//! The messages of requests, by version and encoding: A2A 1.0 (`lf.a2a.v1`, protobuf and ProtoJSON), A2A 0.3 in
//! protobuf and ProtoJSON (`a2a.v1`), and A2A 0.3 in the JSON of its JSON-RPC binding. And as much of answers as says
//! which task and context they are about.

mod card;

use super::schema::{Kind, Shape, field, many, map, one_of, renamed, shape, text};
use crate::call::{A2aOperation as Op, A2aVersion};

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// 1.0, whatever the encoding.
    V1,
    /// 0.3, JSON-RPC.
    Rpc03,
    /// 0.3, gRPC and HTTP+JSON.
    Proto03,
}

/// The shape of a request; none where it has no body (the operation does not exist, or is a plain GET).
pub(super) fn request(family: Family, operation: Op) -> Option<&'static Shape> {
    let shape = match (family, operation) {
        (Family::V1, Op::SendMessage | Op::SendStreamingMessage) => &v1::SEND,
        (Family::V1, Op::GetTask) => &v1::GET,
        (Family::V1, Op::CancelTask) => &v1::CANCEL,
        (Family::V1, Op::SubscribeToTask) => &v1::SUBSCRIBE,
        (Family::V1, Op::ListTasks) => &v1::LIST,
        (Family::V1, Op::CreateTaskPushNotificationConfig) => &v1::PUSH,
        (Family::V1, Op::GetTaskPushNotificationConfig | Op::DeleteTaskPushNotificationConfig) => &v1::ONE_CONFIG,
        (Family::V1, Op::ListTaskPushNotificationConfigs) => &v1::CONFIGS,
        (Family::V1, Op::GetExtendedAgentCard) => &v1::CARD,
        (Family::Rpc03, Op::SendMessage | Op::SendStreamingMessage) => &rpc03::SEND,
        (Family::Rpc03, Op::GetTask | Op::CancelTask | Op::SubscribeToTask) => &rpc03::TASK,
        (Family::Rpc03, Op::CreateTaskPushNotificationConfig) => &rpc03::CREATE,
        (
            Family::Rpc03,
            Op::GetTaskPushNotificationConfig
            | Op::DeleteTaskPushNotificationConfig
            | Op::ListTaskPushNotificationConfigs,
        ) => &rpc03::ONE_CONFIG,
        (Family::Rpc03, Op::GetExtendedAgentCard) => &rpc03::NOTHING,
        (Family::Proto03, Op::SendMessage | Op::SendStreamingMessage) => &proto03::SEND,
        (Family::Proto03, Op::GetTask | Op::CancelTask | Op::SubscribeToTask) => &proto03::TASK,
        (Family::Proto03, Op::CreateTaskPushNotificationConfig) => &proto03::CREATE,
        (Family::Proto03, Op::GetTaskPushNotificationConfig | Op::DeleteTaskPushNotificationConfig) => &proto03::TASK,
        (Family::Proto03, Op::ListTaskPushNotificationConfigs) => &proto03::CONFIGS,
        (Family::Proto03, Op::GetExtendedAgentCard) => &proto03::NOTHING,
        (Family::Rpc03 | Family::Proto03, Op::ListTasks) | (_, Op::GetAgentCard) => return None,
    };
    Some(shape)
}

/// The shape of an answer or of one event of a stream, in protobuf.
pub(super) fn answer(version: A2aVersion, operation: Op) -> Option<&'static Shape> {
    match operation {
        Op::SendMessage | Op::SendStreamingMessage | Op::SubscribeToTask => Some(&answers::EVENT),
        Op::GetTask | Op::CancelTask => Some(&answers::TASK),
        Op::GetExtendedAgentCard => Some(match version {
            A2aVersion::V1_0 => &card::CARD,
            A2aVersion::V0_3 => &answers::CARD_03,
        }),
        Op::ListTasks
        | Op::CreateTaskPushNotificationConfig
        | Op::GetTaskPushNotificationConfig
        | Op::ListTaskPushNotificationConfigs
        | Op::DeleteTaskPushNotificationConfig
        | Op::GetAgentCard => None,
    }
}

const ROLES: &[&str] = &["ROLE_UNSPECIFIED", "ROLE_USER", "ROLE_AGENT"];

mod v1 {
    use super::{Kind, ROLES, Shape, field, many, one_of, shape, text};

    const STATES: &[&str] = &[
        "TASK_STATE_UNSPECIFIED",
        "TASK_STATE_SUBMITTED",
        "TASK_STATE_WORKING",
        "TASK_STATE_COMPLETED",
        "TASK_STATE_FAILED",
        "TASK_STATE_CANCELED",
        "TASK_STATE_INPUT_REQUIRED",
        "TASK_STATE_REJECTED",
        "TASK_STATE_AUTH_REQUIRED",
    ];

    static PART: Shape = Shape {
        fields: &[
            one_of(1, "text", Kind::Text),
            one_of(2, "raw", Kind::Blob),
            one_of(3, "url", Kind::Text),
            one_of(4, "data", Kind::Any),
            field(5, "metadata", Kind::Struct),
            text(6, "filename"),
            text(7, "mediaType"),
        ],
        foreign: &["file", "fileWithUri", "fileWithBytes"],
    };
    static MESSAGE: Shape = Shape {
        fields: &[
            text(1, "messageId"),
            text(2, "contextId"),
            text(3, "taskId"),
            field(4, "role", Kind::Choice(ROLES)),
            many(5, "parts", Kind::Nested(&PART)),
            field(6, "metadata", Kind::Struct),
            many(7, "extensions", Kind::Text),
            many(8, "referenceTaskIds", Kind::Text),
        ],
        foreign: &["content"],
    };
    static AUTHENTICATION: Shape = shape(&[text(1, "scheme"), text(2, "credentials")]);
    pub(super) static PUSH: Shape = Shape {
        fields: &[
            text(1, "tenant"),
            text(2, "id"),
            text(3, "taskId"),
            text(4, "url"),
            text(5, "token"),
            field(6, "authentication", Kind::Nested(&AUTHENTICATION)),
        ],
        foreign: &["pushNotificationConfig", "config", "parent"],
    };
    static CONFIGURATION: Shape = Shape {
        fields: &[
            many(1, "acceptedOutputModes", Kind::Text),
            field(2, "taskPushNotificationConfig", Kind::Nested(&PUSH)),
            field(3, "historyLength", Kind::Count),
            field(4, "returnImmediately", Kind::Flag),
        ],
        foreign: &["pushNotificationConfig", "pushNotification"],
    };
    pub(super) static SEND: Shape = Shape {
        fields: &[
            text(1, "tenant"),
            field(2, "message", Kind::Nested(&MESSAGE)),
            field(3, "configuration", Kind::Nested(&CONFIGURATION)),
            field(4, "metadata", Kind::Struct),
        ],
        foreign: &["request"],
    };
    const NOT_TASKS: &[&str] = &["name", "taskId"];
    pub(super) static GET: Shape = Shape {
        fields: &[text(1, "tenant"), text(2, "id"), field(3, "historyLength", Kind::Count)],
        foreign: NOT_TASKS,
    };
    pub(super) static CANCEL: Shape =
        Shape { fields: &[text(1, "tenant"), text(2, "id"), field(3, "metadata", Kind::Struct)], foreign: NOT_TASKS };
    pub(super) static SUBSCRIBE: Shape = Shape { fields: &[text(1, "tenant"), text(2, "id")], foreign: NOT_TASKS };
    pub(super) static LIST: Shape = shape(&[
        text(1, "tenant"),
        text(2, "contextId"),
        field(3, "status", Kind::Choice(STATES)),
        field(4, "pageSize", Kind::Count),
        text(5, "pageToken"),
        field(6, "historyLength", Kind::Count),
        field(7, "statusTimestampAfter", Kind::Moment),
        field(8, "includeArtifacts", Kind::Flag),
    ]);
    pub(super) static ONE_CONFIG: Shape =
        Shape { fields: &[text(1, "tenant"), text(2, "taskId"), text(3, "id")], foreign: &["name"] };
    pub(super) static CONFIGS: Shape = Shape {
        fields: &[text(4, "tenant"), text(1, "taskId"), field(2, "pageSize", Kind::Count), text(3, "pageToken")],
        foreign: &["parent", "id"],
    };
    pub(super) static CARD: Shape = shape(&[text(1, "tenant")]);
}

mod rpc03 {
    use super::{Kind, Shape, field, many, one_of, shape, text};

    static FILE: Shape =
        shape(&[one_of(0, "bytes", Kind::Blob), one_of(0, "uri", Kind::Text), text(0, "mimeType"), text(0, "name")]);
    static PART: Shape = Shape {
        fields: &[
            field(0, "kind", Kind::Word(&["text", "file", "data"])),
            one_of(0, "text", Kind::Text),
            one_of(0, "file", Kind::Nested(&FILE)),
            one_of(0, "data", Kind::Struct),
            field(0, "metadata", Kind::Struct),
        ],
        foreign: &["raw", "url"],
    };
    static MESSAGE: Shape = Shape {
        fields: &[
            field(0, "kind", Kind::Word(&["message"])),
            text(0, "messageId"),
            text(0, "contextId"),
            text(0, "taskId"),
            field(0, "role", Kind::Word(&["user", "agent"])),
            many(0, "parts", Kind::Nested(&PART)),
            field(0, "metadata", Kind::Struct),
            many(0, "extensions", Kind::Text),
            many(0, "referenceTaskIds", Kind::Text),
        ],
        foreign: &["content"],
    };
    static AUTHENTICATION: Shape = shape(&[many(0, "schemes", Kind::Text), text(0, "credentials")]);
    static PUSH: Shape = shape(&[
        text(0, "id"),
        text(0, "url"),
        text(0, "token"),
        field(0, "authentication", Kind::Nested(&AUTHENTICATION)),
    ]);
    static CONFIGURATION: Shape = Shape {
        fields: &[
            many(0, "acceptedOutputModes", Kind::Text),
            field(0, "blocking", Kind::Flag),
            field(0, "historyLength", Kind::Count),
            field(0, "pushNotificationConfig", Kind::Nested(&PUSH)),
        ],
        foreign: &["taskPushNotificationConfig", "pushNotification"],
    };
    pub(super) static SEND: Shape = Shape {
        fields: &[
            field(0, "message", Kind::Nested(&MESSAGE)),
            field(0, "configuration", Kind::Nested(&CONFIGURATION)),
            field(0, "metadata", Kind::Struct),
        ],
        foreign: &["request", "tenant"],
    };
    pub(super) static TASK: Shape = Shape {
        fields: &[text(0, "id"), field(0, "historyLength", Kind::Count), field(0, "metadata", Kind::Struct)],
        foreign: &["name", "taskId", "tenant"],
    };
    pub(super) static CREATE: Shape = Shape {
        fields: &[text(0, "taskId"), field(0, "pushNotificationConfig", Kind::Nested(&PUSH))],
        foreign: &["url", "config", "parent", "tenant", "id"],
    };
    pub(super) static ONE_CONFIG: Shape = Shape {
        fields: &[text(0, "id"), text(0, "pushNotificationConfigId"), field(0, "metadata", Kind::Struct)],
        foreign: &["name", "taskId", "parent", "tenant"],
    };
    pub(super) static NOTHING: Shape = Shape { fields: &[], foreign: &["tenant"] };
}

mod proto03 {
    use super::{Kind, ROLES, Shape, field, many, one_of, renamed, shape, text};

    static FILE: Shape = Shape {
        fields: &[
            one_of(1, "fileWithUri", Kind::Text),
            one_of(2, "fileWithBytes", Kind::Blob),
            text(3, "mimeType"),
            text(4, "name"),
        ],
        foreign: &["uri", "bytes"],
    };
    static DATA: Shape = shape(&[field(1, "data", Kind::Struct)]);
    static PART: Shape = Shape {
        fields: &[
            one_of(1, "text", Kind::Text),
            one_of(2, "file", Kind::Nested(&FILE)),
            one_of(3, "data", Kind::Nested(&DATA)),
            field(4, "metadata", Kind::Struct),
        ],
        foreign: &["raw", "url"],
    };
    static MESSAGE: Shape = Shape {
        fields: &[
            text(1, "messageId"),
            text(2, "contextId"),
            text(3, "taskId"),
            field(4, "role", Kind::Choice(ROLES)),
            many(5, "content", Kind::Nested(&PART)),
            field(6, "metadata", Kind::Struct),
            many(7, "extensions", Kind::Text),
        ],
        foreign: &["parts", "referenceTaskIds"],
    };
    static AUTHENTICATION: Shape = shape(&[many(1, "schemes", Kind::Text), text(2, "credentials")]);
    static PUSH: Shape = shape(&[
        text(1, "id"),
        text(2, "url"),
        text(3, "token"),
        field(4, "authentication", Kind::Nested(&AUTHENTICATION)),
    ]);
    static CONFIGURATION: Shape = Shape {
        fields: &[
            many(1, "acceptedOutputModes", Kind::Text),
            field(2, "pushNotification", Kind::Nested(&PUSH)),
            field(3, "historyLength", Kind::Count),
            field(4, "blocking", Kind::Flag),
        ],
        foreign: &["taskPushNotificationConfig", "pushNotificationConfig"],
    };
    pub(super) static SEND: Shape = Shape {
        fields: &[
            renamed(1, "message", "request", Kind::Nested(&MESSAGE)),
            field(2, "configuration", Kind::Nested(&CONFIGURATION)),
            field(3, "metadata", Kind::Struct),
        ],
        foreign: &["tenant"],
    };
    pub(super) static TASK: Shape = Shape {
        fields: &[text(1, "name"), field(2, "historyLength", Kind::Count)],
        foreign: &["id", "taskId", "tenant"],
    };
    static CONFIG: Shape = Shape {
        fields: &[text(1, "name"), field(2, "pushNotificationConfig", Kind::Nested(&PUSH))],
        foreign: &["url", "taskId"],
    };
    /// With the members of `config` too: the HTTP binding says that it is the body, and SDKs send the whole request.
    pub(super) static CREATE: Shape = Shape {
        fields: &[
            text(1, "parent"),
            text(2, "configId"),
            field(3, "config", Kind::Nested(&CONFIG)),
            text(0, "name"),
            field(0, "pushNotificationConfig", Kind::Nested(&PUSH)),
        ],
        foreign: &["url", "taskId", "tenant"],
    };
    pub(super) static CONFIGS: Shape = Shape {
        fields: &[text(1, "parent"), field(2, "pageSize", Kind::Count), text(3, "pageToken")],
        foreign: &["name", "id", "taskId", "tenant"],
    };
    pub(super) static NOTHING: Shape = Shape { fields: &[], foreign: &["tenant"] };
}

mod answers {
    use super::{Kind, Shape, field, many, one_of, shape, text};

    /// By number: a state of a later version is no reason not to pass an answer on.
    static STATUS: Shape = shape(&[field(1, "state", Kind::Count)]);
    pub(super) static TASK: Shape =
        shape(&[text(1, "id"), text(2, "contextId"), field(3, "status", Kind::Nested(&STATUS))]);
    static MESSAGE: Shape = shape(&[text(2, "contextId"), text(3, "taskId")]);
    static UPDATE: Shape = shape(&[text(1, "taskId"), text(2, "contextId"), field(3, "status", Kind::Nested(&STATUS))]);
    static ARTIFACT: Shape = shape(&[text(1, "taskId"), text(2, "contextId")]);
    /// Numbered alike in 0.3 and 1.0.
    pub(super) static EVENT: Shape = shape(&[
        one_of(1, "task", Kind::Nested(&TASK)),
        one_of(2, "message", Kind::Nested(&MESSAGE)),
        one_of(3, "statusUpdate", Kind::Nested(&UPDATE)),
        one_of(4, "artifactUpdate", Kind::Nested(&ARTIFACT)),
    ]);
    static INTERFACE: Shape = shape(&[text(1, "url")]);
    pub(super) static CARD_03: Shape =
        shape(&[text(3, "url"), many(15, "additionalInterfaces", Kind::Nested(&INTERFACE))]);
}
