//! The DHCP probe of an ADD, side by side with the attachment's own work.

use std::time::Duration;

use tokio::time::Instant;

use super::{check_uplinks, faults};
use crate::cni::config::dhcp_probe::{DhcpProbe, ProbeIdentity};
use crate::cni::config::{NetConf, UplinkCheck};
use crate::cni::request::Add;
use crate::dhcp::expected::Expected;
use crate::error::log::{Level, Log};
use crate::error::{Code, Error};
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::net::MacAddress;
use crate::probe::{Question, probe};

/// How long a second server is awaited: about what the attachment's own work takes anyway.
const GRACE: Duration = Duration::from_millis(2);
/// How long one is awaited whose offer would fail the ADD.
const GRACE_FOR_OTHERS: Duration = Duration::from_millis(500);

/// Does the attachment's work, and probes beside it if the config says so. Whatever fails first ends both.
///
/// # Errors
/// Those of the work, and the probe's diagnosis where `onFailure` is `fail`.
pub(super) async fn beside<T>(
    request: &Add,
    work: impl Future<Output = Result<T, Error>>,
    until: Instant,
    log: &Log,
) -> Result<T, Error> {
    let Some(wanted) = &request.conf.dhcp_probe else { return work.await };
    if request.conf.create_bridge && bridge_is_missing(request).await? {
        // The work makes what the probe is to ask through.
        let done = work.await?;
        ask(request, wanted, until, log).await?;
        return Ok(done);
    }
    if request.conf.is_gateway {
        // Others may use the gateway at once, so it is not there before the verdict.
        ask(request, wanted, until, log).await?;
        return work.await;
    }
    let (done, ()) = tokio::try_join!(work, ask(request, wanted, until, log))?;
    Ok(done)
}

async fn bridge_is_missing(request: &Add) -> Result<bool, Error> {
    let name = request.conf.bridge.as_str();
    let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
    Ok(kernel.link(name).await.map_err(|refusal| unseen(name, &refusal))?.is_none())
}

async fn ask(request: &Add, wanted: &DhcpProbe, until: Instant, log: &Log) -> Result<(), Error> {
    let client = match wanted.identity {
        ProbeIdentity::Attachment => known_mac(request),
        ProbeIdentity::Ephemeral => None,
    };
    match probe(&question(&request.conf, wanted, client, until)).await {
        Ok(report) => {
            for offer in &report.offers {
                log.write(Level::Info, format_args!("DHCP probe of {}: offer of {offer}", report.bridge));
            }
            for warning in &report.warnings {
                let text = format!("DHCP probe of {}: {warning}", report.bridge);
                match warning.lasting {
                    Some(code) => log.warn(code, text),
                    None => log.write(Level::Warn, text),
                }
            }
            Ok(())
        }
        Err(error) if wanted.fail || fatal_all_the_same(&request.conf, &error) => Err(error),
        Err(error) => {
            log.warn(error.code, format_args!("DHCP probe: {error}; {}", error.details()));
            let offered = matches!(error.code, Code::RogueServer | Code::WrongSubnet);
            if offered || request.conf.uplink_check != UplinkCheck::UnlessAnswered {
                return Ok(());
            }
            // The probe's own verdict may not be about them: it asks in the native VLAN only, and sometimes not at all.
            uplinks_of(&request.conf).await.map_err(|bad| bad.evidence(format!("DHCP probe: {error}")))
        }
    }
}

/// What an attachment with this config asks.
pub(super) fn question(
    conf: &NetConf,
    wanted: &DhcpProbe,
    client: Option<MacAddress>,
    until: Instant,
) -> Question {
    Question {
        bridge: conf.bridge.clone(),
        vlans: conf.vlans.clone(),
        isolated: conf.isolated,
        client,
        timeout: wanted.timeout.min(until.saturating_duration_since(Instant::now())),
        grace: if wanted.refuse_others { GRACE_FOR_OTHERS } else { GRACE },
        expected: Expected { servers: wanted.servers.clone(), subnets: wanted.subnets.clone() },
        refuse_others: wanted.refuse_others,
        sole_port: true,
    }
}

async fn uplinks_of(conf: &NetConf) -> Result<(), Error> {
    let name = conf.bridge.as_str();
    let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
    let bridge = kernel.link(name).await.map_err(|refusal| unseen(name, &refusal))?;
    check_uplinks(&kernel, &bridge.ok_or_else(|| faults::vanished(name))?, conf).await.map(drop)
}

/// Whether nothing answered because the uplink check is right.
fn fatal_all_the_same(conf: &NetConf, error: &Error) -> bool {
    conf.uplink_check == UplinkCheck::UnlessAnswered
        && matches!(error.code, Code::NoUplink | Code::UplinkNoCarrier | Code::VlanNotOnUplink)
}

/// The attachment's MAC where the config or the previous plugin chose it. A random one means nothing to any server; asking for it would only
/// use up the pool's addresses, one for each try.
fn known_mac(request: &Add) -> Option<MacAddress> {
    let previous = request.previous.iter().flat_map(|result| &result.interfaces);
    let chained = previous
        .filter(|interface| {
            interface.sandbox.is_some() && interface.name == request.attachment.ifname.as_str()
        })
        .find_map(|interface| MacAddress::parse(interface.mac.as_deref()?).ok());
    chained.or(request.mac)
}
