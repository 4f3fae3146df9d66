//! STATUS: whether an ADD with this config would be served.

use super::check_uplinks;
use crate::ipam::Delegation;
use crate::kernel::linux::Linux;
use crate::plan::facts::BridgeSeen;
use crate::plan::validate_bridge;
use crate::report::faults::unseen;
use crate::report::{Code, Error};
use crate::request::Status;
use crate::request::netconf::UplinkCheck;

/// Answers.
///
/// # Errors
/// Code 50 where ADD would fail, 51 where the attachments that exist are cut off, too.
pub async fn status(request: &Status, ipam: &Delegation) -> Result<(), Error> {
    let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
    let name = request.conf.bridge.as_str();
    let seen = kernel.bridge(name).await.map_err(|refusal| unseen(name, &refusal))?;
    validate_bridge(&request.conf, &seen).map_err(unavailable)?;
    if let (BridgeSeen::Present(bridge), UplinkCheck::Fail) = (&seen, request.conf.uplink_check) {
        check_uplinks(&kernel, bridge, &request.conf).await.map_err(unavailable)?;
    }
    match ipam.find(request.conf.ipam.as_ref()).map_err(unavailable)? {
        Some(delegate) => delegate.forward("STATUS", request.conf.deadline).await.map_err(unavailable),
        None => Ok(()),
    }
}

fn unavailable(error: Error) -> Error {
    let cut_off = matches!(error.code, Code::BridgeDown | Code::NoUplink | Code::UplinkNoCarrier);
    error.recoded(if cut_off { Code::LimitedConnectivity } else { Code::NotAvailable })
}
