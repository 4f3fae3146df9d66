//! The temporary port that a probe asks through: a veth pair whose far end lies in a namespace that only this process
//! holds, so that the kernel removes both ends however the process ends.

use nix::errno::Errno;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo, LinkMessage, State,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::Kernel;
use super::interface::{RTNLGRP_LINK, Route, RouteEvents, named};
use super::linux::Linux;
use super::netlink::Refusal;
use super::netns::Netns;
use super::random::random_bytes;
use crate::dhcp::socket::PacketSocket;
use crate::net::{Link, MacAddress, Vlans};
use crate::plan::spec::{PortSpec, VethSpec};
use crate::plan::step::Step;
use crate::plan::{names, vlan_spec};

/// The far end's name; nothing else is in its namespace but `lo`.
const FAR_END: &str = "probe0";
/// How often another random name is tried.
const NAME_TRIES: usize = 4;

/// What the port shall be.
#[derive(Debug, Clone, Copy)]
pub struct ProbePortSpec<'a> {
    /// The bridge as it was seen.
    pub bridge: &'a Link,
    /// VLANs as those of the attachment; `None` leaves the bridge's default.
    pub vlans: Option<&'a Vlans>,
    /// It talks to non-isolated ports only, as the attachment.
    pub isolated: bool,
    /// The far end's own MAC.
    pub mac: MacAddress,
}

/// A port of the bridge and the namespace behind it. Both end with this value and the sockets opened through it.
pub struct ProbePort {
    kernel: Linux,
    name: String,
    far_end: u32,
}

/// A step that the kernel refused.
pub type Refused = (Step, Refusal);

impl ProbePort {
    /// Makes the port, down: no frame passes yet, and neither end ever sends one of the kernel's own. What it receives,
    /// the bridge does not learn from.
    ///
    /// # Errors
    /// The step and the kernel's refusal; nothing is left then.
    pub async fn create(spec: &ProbePortSpec<'_>) -> Result<Self, Refused> {
        let pair = veth(spec, "a temporary port".to_string(), spec.mac);
        let before = |refusal: Refusal| (Step::AddVeth(pair.clone()), refusal);
        let netns = Netns::anonymous().map_err(|error| before(error.into()))?;
        let mut kernel = Linux::open(Some(netns)).map_err(before)?;
        let mut tries = 0;
        let name = loop {
            tries += 1;
            let entropy = random_bytes().map_err(before)?;
            let name = names::probe_interface([entropy[0], entropy[1], entropy[2]]);
            let step = Step::AddVeth(veth(spec, name.clone(), MacAddress::host_side(entropy)));
            match kernel.apply(&step).await {
                Ok(()) => break name,
                Err(refusal) if refusal.errno == Errno::EEXIST && tries < NAME_TRIES => {}
                Err(refusal) => return Err((step, refusal)),
            }
        };
        let mut port = Self { kernel, name, far_end: 0 };
        let marked = Step::ConfigurePort(PortSpec {
            port: port.name.clone(),
            alias: names::PROBE_ALIAS.to_string(),
            hairpin: false,
            isolated: spec.isolated,
        });
        port.carry_out(marked.clone()).await?;
        port.kernel.forget_sources(&port.name).await.map_err(|refusal| (marked.clone(), refusal))?;
        if let Some(vlans) = spec.vlans {
            port.carry_out(Step::SetVlans(vlan_spec(vlans, &port.name, Some(spec.bridge)))).await?;
        }
        port.carry_out(Step::SilenceContainer { ifname: FAR_END.to_string() }).await?;
        port.carry_out(Step::RaiseContainer { ifname: FAR_END.to_string() }).await?;
        let far_end = port
            .kernel
            .container_link(FAR_END)
            .await
            .and_then(|link| link.map(|link| link.index).ok_or(Refusal::plain(Errno::ENODEV)));
        port.far_end = far_end.map_err(|refusal| (marked, refusal))?;
        Ok(port)
    }

    /// The host side's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets frames pass: returns when the port forwards and the far end can send.
    ///
    /// # Errors
    /// The step and the kernel's refusal.
    pub async fn raise(&mut self) -> Result<(), Refused> {
        let step = Step::RaisePort { port: self.name.clone(), await_forwarding: true };
        let refused = |refusal: Refusal| (step.clone(), refusal);
        let open = || {
            let client = Route::open(NETLINK_ROUTE)?;
            Ok::<_, Refusal>((client, RouteEvents::open(NETLINK_ROUTE, &[RTNLGRP_LINK])?))
        };
        let (far_end, mut changes) = self.kernel.in_container(open).and_then(|made| made).map_err(refused)?;
        self.carry_out(step.clone()).await?;
        // The end that was up first drops what it is given until the kernel has seen its carrier, a moment later.
        while !operational(&far_end, self.far_end).await.map_err(refused)? {
            changes.next().await.map_err(refused)?;
        }
        Ok(())
    }

    /// A socket at the far end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn socket(&self) -> Result<PacketSocket, Refusal> {
        let index = self.far_end;
        Ok(self.kernel.in_container(|| PacketSocket::open(index))??)
    }

    async fn carry_out(&mut self, step: Step) -> Result<(), Refused> {
        self.kernel.apply(&step).await.map_err(|refusal| (step, refusal))
    }
}

/// Whether the kernel lets frames out of the interface with this index (IFLA_OPERSTATE, RFC 2863).
async fn operational(client: &Route, index: u32) -> Result<bool, Refusal> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let answers = client.request(RouteNetlinkMessage::GetLink(message), 0).await?;
    Ok(answers.iter().any(|answer| {
        matches!(answer, RouteNetlinkMessage::NewLink(link)
            if link.attributes.contains(&LinkAttribute::OperState(State::Up)))
    }))
}

fn veth(spec: &ProbePortSpec<'_>, host: String, host_mac: MacAddress) -> VethSpec {
    VethSpec {
        host,
        host_mac,
        host_mtu: Some(spec.bridge.mtu),
        bridge: spec.bridge.name.clone(),
        ifname: FAR_END.to_string(),
        mac: spec.mac,
        mtu: Some(spec.bridge.mtu),
    }
}

impl Linux {
    /// Keeps the bridge from learning the sources of a port's frames: no entry of its forwarding table appears or moves.
    async fn forget_sources(&self, port: &str) -> Result<(), Refusal> {
        let mut message = named(port);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Learning(false)])),
        ]));
        self.host.request(RouteNetlinkMessage::NewLink(message), 0).await.map(drop)
    }
}
