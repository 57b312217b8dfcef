//! `controller`: the control plane until it is asked to end.

use tokio_util::sync::CancellationToken;

use super::args::ControllerArgs;
use crate::controller::{self, ControllerFault, Settings};

/// Runs until `stop`.
///
/// # Errors
/// [`ControllerFault`]
pub async fn run(args: ControllerArgs, stop: CancellationToken) -> Result<(), ControllerFault> {
    let settings = Settings { namespace: args.pod_namespace, replica: args.pod_name, ready_addr: args.ready_addr };
    controller::run(settings, stop).await
}
