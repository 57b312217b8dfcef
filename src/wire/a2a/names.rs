//! What operations are called in JSON-RPC and gRPC, in 0.3 and 1.0 (specification section 5.3, and 0.3.0 section 3.5.6).

use crate::call::{A2aOperation as Op, A2aVersion};

/// The service of 1.0 and of 0.3. The package tells which schema holds.
pub(super) const SERVICES: [(&str, A2aVersion); 2] =
    [("/lf.a2a.v1.A2AService/", A2aVersion::V1_0), ("/a2a.v1.A2AService/", A2aVersion::V0_3)];

/// The paths of the public card: of 0.3 and later, and of 0.2.
pub(super) const CARDS: [(&str, A2aVersion); 2] =
    [("/.well-known/agent-card.json", A2aVersion::V1_0), ("/.well-known/agent.json", A2aVersion::V0_3)];

const METHODS_03: &[(&str, Op)] = &[
    ("message/send", Op::SendMessage),
    ("message/stream", Op::SendStreamingMessage),
    ("tasks/get", Op::GetTask),
    ("tasks/cancel", Op::CancelTask),
    ("tasks/resubscribe", Op::SubscribeToTask),
    ("tasks/pushNotificationConfig/set", Op::CreateTaskPushNotificationConfig),
    ("tasks/pushNotificationConfig/get", Op::GetTaskPushNotificationConfig),
    ("tasks/pushNotificationConfig/list", Op::ListTaskPushNotificationConfigs),
    ("tasks/pushNotificationConfig/delete", Op::DeleteTaskPushNotificationConfig),
    ("agent/getAuthenticatedExtendedCard", Op::GetExtendedAgentCard),
];

/// Where 0.3's gRPC names differ from those of 1.0.
const RPCS_03: &[(&str, Op)] = &[
    ("TaskSubscription", Op::SubscribeToTask),
    ("ListTaskPushNotificationConfig", Op::ListTaskPushNotificationConfigs),
    ("GetAgentCard", Op::GetExtendedAgentCard),
];

/// The operation of a JSON-RPC method, and the version whose name it is. Exactly as written: no case is folded.
pub(super) fn method(name: &str) -> Option<(Op, A2aVersion)> {
    let modern = rpc(name).map(|operation| (operation, A2aVersion::V1_0));
    modern.or_else(|| find(METHODS_03, name).map(|operation| (operation, A2aVersion::V0_3)))
}

/// The operation of a gRPC method of `version`'s service.
pub(super) fn grpc_method(name: &str, version: A2aVersion) -> Option<Op> {
    match version {
        A2aVersion::V1_0 => rpc(name),
        A2aVersion::V0_3 => find(RPCS_03, name).or_else(|| {
            let renamed =
                [Op::SubscribeToTask, Op::ListTaskPushNotificationConfigs, Op::GetExtendedAgentCard, Op::ListTasks];
            rpc(name).filter(|operation| !renamed.contains(operation))
        }),
    }
}

fn rpc(name: &str) -> Option<Op> {
    Op::ALL.into_iter().filter(|operation| *operation != Op::GetAgentCard).find(|operation| operation.as_str() == name)
}

fn find(table: &[(&str, Op)], name: &str) -> Option<Op> {
    table.iter().find(|(known, _)| *known == name).map(|(_, operation)| *operation)
}
