//! The VLANs of one bridge port: read by RTM_GETVLAN for that port alone, set by one message for all ranges.

use std::fmt;

use rtnetlink::packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable};
use rtnetlink::packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkHeader, LinkMessage,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::netlink::{Client, Refusal};
use crate::net::vlan::merged;
use crate::net::{PortVlans, VlanRange};
use crate::plan::spec::VlanSpec;

/// RTM_NEWVLAN and RTM_GETVLAN (include/uapi/linux/rtnetlink.h); rtnetlink 0.24 does not know them.
const RTM_NEWVLAN: u16 = 112;
const RTM_GETVLAN: u16 = 114;
/// Size of `struct br_vlan_msg` (include/uapi/linux/if_bridge.h).
const HEADER_LEN: usize = 8;
/// Attributes of RTM_NEWVLAN (same header).
const BRIDGE_VLANDB_ENTRY: u16 = 1;
const BRIDGE_VLANDB_ENTRY_INFO: u16 = 1;
const BRIDGE_VLANDB_ENTRY_RANGE: u16 = 2;
const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// A message about the VLANs of one port.
#[derive(Debug, Clone)]
pub struct VlanMessage {
    index: u32,
    attributes: Vec<u8>,
}

/// A VLAN message shorter than its header.
#[derive(Debug)]
pub struct Truncated;

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VLAN message shorter than its header")
    }
}

impl std::error::Error for Truncated {}

impl NetlinkSerializable for VlanMessage {
    fn message_type(&self) -> u16 {
        RTM_GETVLAN
    }

    fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
        buffer[0] = u8::from(AddressFamily::Bridge);
        buffer[4..HEADER_LEN].copy_from_slice(&self.index.to_ne_bytes());
    }
}

impl NetlinkDeserializable for VlanMessage {
    type Error = Truncated;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Truncated> {
        let index = payload.get(4..HEADER_LEN).and_then(|bytes| bytes.try_into().ok()).ok_or(Truncated)?;
        let known = header.message_type == RTM_NEWVLAN;
        let attributes = if known { payload[HEADER_LEN..].to_vec() } else { Vec::new() };
        Ok(Self { index: u32::from_ne_bytes(index), attributes })
    }
}

impl From<VlanMessage> for NetlinkPayload<VlanMessage> {
    fn from(message: VlanMessage) -> Self {
        NetlinkPayload::InnerMessage(message)
    }
}

/// The VLANs that the port with this index carries.
///
/// # Errors
/// The kernel's refusal; EOPNOTSUPP before Linux 5.6.
pub async fn read(index: u32) -> Result<PortVlans, Refusal> {
    let client = Client::<VlanMessage>::open(NETLINK_ROUTE)?;
    let messages = client.dump(VlanMessage { index, attributes: Vec::new() }).await?;
    let mut vlans = PortVlans::default();
    for message in messages.iter().filter(|message| message.index == index) {
        for (_, entry) in attributes(&message.attributes).filter(|(kind, _)| *kind == BRIDGE_VLANDB_ENTRY) {
            read_entry(entry, &mut vlans);
        }
    }
    vlans.untagged = merged(vlans.untagged);
    vlans.tagged = merged(vlans.tagged);
    Ok(vlans)
}

fn read_entry(entry: &[u8], vlans: &mut PortVlans) {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u16::from_ne_bytes);
    let mut info = None;
    let mut last = None;
    for (kind, value) in attributes(entry) {
        match (kind, value.len()) {
            (BRIDGE_VLANDB_ENTRY_INFO, 4) => info = number(&value[..2]).zip(number(&value[2..])),
            (BRIDGE_VLANDB_ENTRY_RANGE, 2) => last = number(value),
            _ => {}
        }
    }
    let Some((flags, first)) = info else { return };
    if flags & BRIDGE_VLAN_INFO_PVID != 0 {
        vlans.pvid = Some(first);
    }
    let range = VlanRange { first, last: last.unwrap_or(first) };
    if flags & BRIDGE_VLAN_INFO_UNTAGGED != 0 { vlans.untagged.push(range) } else { vlans.tagged.push(range) }
}

/// The attributes in `bytes`, as kind and value; ends at the first malformed one.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & NLA_TYPE_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The messages that put the VLANs on the port with this index, and take the unwanted one off.
pub fn change(index: u32, spec: &VlanSpec) -> Vec<RouteNetlinkMessage> {
    let native =
        BridgeVlanInfo { flags: BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged, vid: spec.native };
    let tagged = spec.tagged.iter().flat_map(|range| infos(range, BridgeVlanInfoFlags::empty()));
    let mut messages = vec![add(index, std::iter::once(native).chain(tagged).collect())];
    messages.extend(spec.remove.map(|id| remove(index, &[VlanRange::single(id)])));
    messages
}

/// The messages that leave exactly the VLANs of `spec` on a port that carries those of `before`.
pub fn replace(index: u32, spec: &VlanSpec, before: &PortVlans) -> Vec<RouteNetlinkMessage> {
    let kept = |id: u16| id == spec.native || spec.tagged.iter().any(|range| range.contains(id));
    let all = before.all().into_iter().flat_map(|range| range.first..=range.last);
    let unwanted = merged(all.filter(|id| !kept(*id)).map(VlanRange::single).collect());
    let mut messages = change(index, &VlanSpec { remove: None, ..spec.clone() });
    if !unwanted.is_empty() && spec.remove.is_some() {
        messages.push(remove(index, &unwanted));
    }
    messages
}

/// The messages that give a port, which carries `now`, the VLANs of `before` again.
pub fn restore(index: u32, now: &PortVlans, before: &PortVlans) -> Vec<RouteNetlinkMessage> {
    let untagged = before.untagged.iter().flat_map(|range| infos(range, BridgeVlanInfoFlags::Untagged));
    let tagged = before.tagged.iter().flat_map(|range| infos(range, BridgeVlanInfoFlags::empty()));
    let pvid = before.pvid.map(|vid| {
        let untagged = before.untagged.iter().any(|range| range.contains(vid));
        let egress = if untagged { BridgeVlanInfoFlags::Untagged } else { BridgeVlanInfoFlags::empty() };
        BridgeVlanInfo { flags: BridgeVlanInfoFlags::Pvid | egress, vid }
    });
    let mut messages = Vec::new();
    let all = now.all();
    if !all.is_empty() {
        messages.push(remove(index, &all));
    }
    messages.push(add(index, untagged.chain(tagged).chain(pvid).collect()));
    messages
}

fn add(index: u32, vlans: Vec<BridgeVlanInfo>) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(message(index, vlans))
}

fn remove(index: u32, ranges: &[VlanRange]) -> RouteNetlinkMessage {
    let vlans = ranges.iter().flat_map(|range| infos(range, BridgeVlanInfoFlags::empty()));
    RouteNetlinkMessage::DelLink(message(index, vlans.collect()))
}

fn infos(range: &VlanRange, flags: BridgeVlanInfoFlags) -> Vec<BridgeVlanInfo> {
    if range.first == range.last {
        return vec![BridgeVlanInfo { flags, vid: range.first }];
    }
    vec![
        BridgeVlanInfo { flags: flags | BridgeVlanInfoFlags::RangeBegin, vid: range.first },
        BridgeVlanInfo { flags: flags | BridgeVlanInfoFlags::RangeEnd, vid: range.last },
    ]
}

fn message(index: u32, vlans: Vec<BridgeVlanInfo>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader { interface_family: AddressFamily::Bridge, index, ..LinkHeader::default() };
    message.attributes =
        vec![LinkAttribute::AfSpecBridge(vlans.into_iter().map(AfSpecBridge::VlanInfo).collect())];
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_trunk_is_one_message() {
        let spec = VlanSpec {
            port: "p".into(),
            native: 1,
            tagged: vec![VlanRange { first: 2, last: 4094 }],
            remove: None,
        };
        let messages = change(7, &spec);
        let [RouteNetlinkMessage::SetLink(message)] = messages.as_slice() else { panic!("{messages:?}") };
        let LinkAttribute::AfSpecBridge(vlans) = &message.attributes[0] else { panic!() };
        assert_eq!(vlans.len(), 3, "native, begin and end of the range");
    }

    #[test]
    fn entries_and_ranges_are_read_and_garbage_is_not() {
        let entry = |flags: u16, first: u16, last: Option<u16>| {
            let mut bytes = vec![8, 0, 1, 0];
            bytes.extend(flags.to_ne_bytes());
            bytes.extend(first.to_ne_bytes());
            if let Some(last) = last {
                bytes.extend([6, 0, 2, 0]);
                bytes.extend(last.to_ne_bytes());
                bytes.extend([0, 0]);
            }
            bytes
        };
        let mut vlans = PortVlans::default();
        read_entry(&entry(6, 100, None), &mut vlans);
        read_entry(&entry(0, 200, Some(210)), &mut vlans);
        read_entry(&[255, 255, 1, 0, 1], &mut vlans);
        read_entry(&[0, 0, 0, 0], &mut vlans);
        assert_eq!(vlans.pvid, Some(100));
        assert!(vlans.contains(100) && vlans.contains(205) && !vlans.contains(211));
    }
}
