//! What only a diagnosis looks at: frames counted by the uplinks, and whether the node is a virtual machine.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};

use super::linux::Linux;
use super::netlink::Refusal;
use crate::net::Traffic;

/// Who made the machine, where the firmware says so (SMBIOS type 1).
const VENDOR: &str = "/sys/class/dmi/id/sys_vendor";
const CPUINFO: &str = "/proc/cpuinfo";
/// Longest vendor's name that is shown, in characters.
const VENDOR_MAX: usize = 40;

impl Linux {
    /// Frames that the interface with this index has sent and received so far; `None` where it is gone.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn traffic(&self, index: u32) -> Result<Option<Traffic>, Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let answers = self.host.request(RouteNetlinkMessage::GetLink(message), 0).await?;
        Ok(answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => {
                link.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::Stats64(stats) => {
                        Some(Traffic { sent: stats.tx_packets, received: stats.rx_packets })
                    }
                    _ => None,
                })
            }
            _ => None,
        }))
    }
}

/// The hypervisor's vendor, if this node is a virtual machine.
pub fn hypervisor() -> Option<String> {
    let virtual_machine = std::fs::read_to_string(CPUINFO).is_ok_and(|text| {
        text.lines()
            .find(|line| line.starts_with("flags"))
            .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
    });
    let vendor = std::fs::read_to_string(VENDOR).unwrap_or_default();
    let vendor: String = vendor.trim().chars().filter(|c| !c.is_control()).take(VENDOR_MAX).collect();
    virtual_machine.then(|| if vendor.is_empty() { "unknown vendor".to_string() } else { vendor })
}
