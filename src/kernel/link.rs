//! Reads a link message of the kernel into the facts that plans are made of.

use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::link::{
    BridgePortState, BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoPortData, InfoTun,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop,
};

use crate::net::{Bridge, Link, MacAddress, Port, PortState, Stp};

/// USER_HZ: the kernel gives bridge times to user space in hundredths of a second.
const USER_HZ: u32 = 100;
/// Of IFLA_INFO_DATA (include/uapi/linux/if_link.h); rtnetlink 0.24 does not know it.
const IFLA_TUN_VNET_HDR: u16 = 5;

/// The facts of one link.
pub fn read(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: None,
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        promiscuous: flags.contains(LinkFlags::Promisc),
        master: None,
        alias: None,
        peer: None,
        peer_netns: None,
        alternative: Vec::new(),
        virtio: false,
        bridge: None,
        port: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Link(index) => link.peer = Some(*index),
            LinkAttribute::LinkNetNsId(id) => link.peer_netns = Some(*id),
            LinkAttribute::PropList(names) => {
                link.alternative.extend(names.iter().filter_map(alternative_name))
            }
            LinkAttribute::Address(bytes) => {
                link.mac =
                    <[u8; 6]>::try_from(bytes.as_slice()).ok().and_then(|bytes| MacAddress::new(bytes).ok());
            }
            LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| read_info(info, &mut link)),
            _ => {}
        }
    }
    link
}

fn alternative_name(property: &Prop) -> Option<String> {
    match property {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    }
}

fn read_info(info: &LinkInfo, link: &mut Link) {
    match info {
        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
        LinkInfo::Data(InfoData::Bridge(attributes)) => link.bridge = Some(read_bridge(attributes)),
        LinkInfo::Data(InfoData::Tun(attributes)) => {
            let on = InfoTun::Other(DefaultNla::new(IFLA_TUN_VNET_HDR, vec![1]));
            link.virtio = attributes.contains(&on);
        }
        LinkInfo::PortData(InfoPortData::BridgePort(attributes)) => link.port = Some(read_port(attributes)),
        _ => {}
    }
}

fn read_bridge(attributes: &[InfoBridge]) -> Bridge {
    let mut bridge = Bridge::default();
    for attribute in attributes {
        match attribute {
            InfoBridge::VlanFiltering(on) => bridge.vlan_filtering = *on,
            InfoBridge::VlanDefaultPvid(pvid) => bridge.default_pvid = *pvid,
            InfoBridge::StpState(state) => {
                bridge.stp = match state {
                    BridgeStpState::Disabled => Stp::Off,
                    BridgeStpState::KernelStp => Stp::Kernel,
                    _ => Stp::Daemon,
                };
            }
            InfoBridge::NfCallIpTables(on) => bridge.nf_call_iptables = *on,
            InfoBridge::ForwardDelay(hundredths) => bridge.forward_delay = hundredths.div_ceil(USER_HZ),
            _ => {}
        }
    }
    bridge
}

fn read_port(attributes: &[InfoBridgePort]) -> Port {
    let mut port = Port::plain(PortState::Disabled);
    for attribute in attributes {
        match attribute {
            InfoBridgePort::State(state) => {
                port.state = match state {
                    BridgePortState::Listening => PortState::Listening,
                    BridgePortState::Learning => PortState::Learning,
                    BridgePortState::Forwarding => PortState::Forwarding,
                    BridgePortState::Blocking => PortState::Blocking,
                    _ => PortState::Disabled,
                };
            }
            InfoBridgePort::ForwardDelayTimer(hundredths) => port.forward_timer = *hundredths,
            InfoBridgePort::HairpinMode(on) => port.hairpin = *on,
            InfoBridgePort::Locked(on) => port.locked = *on,
            InfoBridgePort::Isolated(on) => port.isolated = *on,
            InfoBridgePort::BroadcastFlood(on) => port.broadcast_flood = *on,
            _ => {}
        }
    }
    port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spanning_tree_is_on_whoever_runs_it() {
        let seen = [0, 1, 2].map(|state: u32| read_bridge(&[InfoBridge::StpState(state.into())]).stp);
        assert_eq!(seen, [Stp::Off, Stp::Kernel, Stp::Daemon]);
    }
}
