//! The packet socket of a lease, on the container's interface and in the container's namespace.

use nix::errno::Errno;

use crate::dhcp::socket::{AsyncPacketSocket, PacketSocket};
use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::net::MacAddress;

/// Opens it on the interface of that name with that MAC. Another one under the name is somebody else's: KubeVirt renames
/// interfaces, and a namespace's path may lead to another pod's by now.
///
/// # Errors
/// ENODEV where the interface is not there, else what the kernel says.
pub async fn open(kernel: &mut Linux, ifname: &str, mac: MacAddress) -> Result<AsyncPacketSocket, Refusal> {
    let link = kernel.container_link(ifname).await?.filter(|link| link.mac == Some(mac));
    let index = link.ok_or(Refusal::plain(Errno::ENODEV))?.index;
    let socket = kernel.in_container(|| PacketSocket::open_for(index, mac))??;
    Ok(socket.into_async()?)
}
