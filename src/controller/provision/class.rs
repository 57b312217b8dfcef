use gateway_api::apis::standard::gatewayclasses::GatewayClass;
use gateway_api::apis::standard::gateways::Gateway;
use serde_json::{Value, json};

use super::super::apply::Wanted;
use super::super::cluster::View;
use super::super::condition::{self, Condition};

/// Our GatewayClass, made where it is missing.
pub const CLASS: &str = "agent-waypoint";
/// `spec.controllerName` of the classes that are ours.
pub const CONTROLLER_NAME: &str = "agent-waypoint.dev/controller";

/// Whether a Gateway is of one of our classes.
pub fn is_ours(view: &View, gateway: &Gateway) -> bool {
    let class = gateway.spec.gateway_class_name.as_str();
    match view.gateway_classes.get("", class) {
        Some(class) => class.spec.controller_name == CONTROLLER_NAME,
        None => class == CLASS,
    }
}

/// The class itself, and `Accepted` on each class that is ours.
pub(super) fn plan(view: &View, now: &str) -> Vec<(Wanted, Option<Value>)> {
    let mut wanted = Vec::new();
    if view.gateway_classes.get("", CLASS).is_none() {
        let description = "Waypoints that authorize each MCP and A2A call";
        let spec = json!({"spec": {"controllerName": CONTROLLER_NAME, "description": description}});
        wanted.push((Wanted::object::<GatewayClass>(None, CLASS, spec), None));
    }
    for class in view.gateway_classes.iter().filter(|class| class.spec.controller_name == CONTROLLER_NAME) {
        let name = class.metadata.name.as_deref().unwrap_or_default();
        let live = serde_json::to_value(&**class).unwrap_or_default();
        let before = condition::live(live.get("status"));
        let accepted = Condition::new("Accepted", true, "Accepted", "agent-waypoint provisions its Gateways");
        let conditions = [accepted.json(before, class.metadata.generation, now)];
        wanted
            .push((Wanted::status::<GatewayClass>(None, name, &json!({"conditions": conditions})), Some(live.clone())));
    }
    wanted
}
