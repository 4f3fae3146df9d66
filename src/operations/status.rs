//! STATUS: whether an ADD with this config would be served.

use tokio::time::Instant;

use super::check_uplinks;
use super::lease::is_delegated;
use super::probe::question;
use crate::cni::config::{NetConf, UplinkCheck};
use crate::cni::request::Status;
use crate::error::{Code, Error};
use crate::ipam::Delegation;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::net::BridgeSeen;
use crate::plan::{validate_bridge, validate_forwarding};
use crate::probe::{Question, probe};

/// Answers.
///
/// # Errors
/// Code 50 where ADD would fail, 51 where the attachments that exist are cut off, too.
pub async fn status(request: &Status, ipam: &Delegation) -> Result<(), Error> {
    let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
    let name = request.conf.bridge.as_str();
    let seen = kernel.bridge(name).await.map_err(|refusal| unseen(name, &refusal))?;
    validate_bridge(&request.conf, &seen).map_err(unavailable)?;
    validate_forwarding(&request.conf, &seen).map_err(unavailable)?;
    if let (BridgeSeen::Present(bridge), UplinkCheck::Fail | UplinkCheck::UnlessAnswered) =
        (&seen, request.conf.uplink_check)
        && let Err(error) = check_uplinks(&kernel, bridge, &request.conf).await
        && !answered(&request.conf).await
    {
        return Err(unavailable(error));
    }
    if let Some(conf) = &request.conf.ipam
        && !is_delegated(conf, ipam).await
    {
        return super::lease::available(conf).await.map_err(unavailable);
    }
    match ipam.find(request.conf.ipam.as_ref()).map_err(unavailable)? {
        Some(delegate) => delegate.forward("STATUS", request.conf.deadline).await.map_err(unavailable),
        None => Ok(()),
    }
}

/// Whether DHCP answers, and the config lets that outweigh what is wrong with the uplinks.
async fn answered(conf: &NetConf) -> bool {
    match &conf.dhcp_probe {
        Some(wanted) if conf.uplink_check == UplinkCheck::UnlessAnswered => {
            let question = question(conf, wanted, None, Instant::now() + conf.deadline);
            probe(&Question { sole_port: false, ..question }).await.is_ok()
        }
        _ => false,
    }
}

fn unavailable(error: Error) -> Error {
    let cut_off = matches!(error.code, Code::BridgeDown | Code::NoUplink | Code::UplinkNoCarrier);
    error.recoded(if cut_off { Code::LimitedConnectivity } else { Code::NotAvailable })
}
