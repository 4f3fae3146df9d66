//! The MAC-spoof guard: only frames with the attachment's own source address enter the bridge by its port.
//!
//! One table for all ports. Each frame costs one look-up in a hash set, and a second one at protected ports, however many
//! these are. The rule looks at the port and at the Ethernet source and at nothing behind them, so it holds for every
//! ethertype and under VLAN tags. It does not hold for frames to 01:80:c2:00:00:01-0f, which the bridge keeps for itself
//! before the hook: none is forwarded, but the bridge learns their source unless the port's learning is off. An element of
//! `ports` carries the port's address as its comment, so that both elements can be removed by the port's name alone. A port
//! that is another plugin's is found by the attachment's own name for it, also when the port has gone: an element of that
//! name, which no frame matches, carries the port's as its comment.

use std::collections::BTreeSet;
use std::fmt;

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{InetHookNumber, MetaKey, Register};

use super::batch::{Change, settle};
use super::chain::{Attachment, Chain, State};
use super::rule::{self, Base};
use super::table::{Element, Set, Table};
use crate::kernel::netlink::Refusal;
use crate::net::MacAddress;

const BRIDGE: Table = Table { family: NetfilterProtoFamily::Bridge };
/// NF_BR_PRI_NAT_DST_BRIDGED (include/uapi/linux/netfilter_bridge.h), the first of the bridge's own priorities.
const FIRST: i32 = -300;
/// IFNAMSIZ (include/uapi/linux/if.h).
const NAME_LENGTH: usize = 16;
/// The protected ports. Key type 41 is `ifname`, whose bytes `nft` shows in host order.
const PORTS: Set =
    Set { name: "ports", key_type: 41, key_length: 16, shown: &[0, 4, 1, 0, 0, 0], verdicts: false };
/// The pairs of port and address that may pass. Key type `ifname . ether_addr`: six bits for each part.
const ALLOWED: Set =
    Set { name: "allowed", key_type: 41 << 6 | 9, key_length: 24, shown: &[], verdicts: false };

/// What a port's protection lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The table, which is dormant.
    Table,
    /// The chain, or its place at the hook.
    Chain,
    /// The rule, or its being the only one.
    Rule,
    /// The port among the protected ones.
    Port,
    /// The pair of port and address among the allowed ones.
    Address,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "the MAC-spoof guard's nftables table is dormant",
            Self::Chain => "the MAC-spoof guard's nftables chain is missing",
            Self::Rule => "the MAC-spoof guard's nftables rule is missing or not alone",
            Self::Port => "the port is not among the MAC-spoof guard's ports",
            Self::Address => "the port's MAC address is not among those that the MAC-spoof guard allows",
        })
    }
}

/// Lets only frames from `mac` enter by `port`, which need not exist yet. Restores what another program removed, and replaces
/// another address that the port had.
///
/// # Errors
/// The kernel's refusal; nothing was changed.
pub fn protect(port: &str, mac: MacAddress) -> Result<(), Refusal> {
    protect_for(port, port, mac)
}

/// The same for a port that is another plugin's: [`unprotect`] finds it by the name `owner`, too.
///
/// # Errors
/// As [`protect`].
pub fn protect_for(port: &str, owner: &str, mac: MacAddress) -> Result<(), Refusal> {
    let named =
        |name: &str, comment: String| Element { key: port_key(name), target: None, comment: Some(comment) };
    let mut elements = vec![named(port, mac.to_string())];
    if owner != port {
        elements.push(named(owner, port.to_string()));
    }
    settle(|_| {
        let state = chain().state(BRIDGE)?;
        let mut changes = Vec::new();
        if state != State::Intact {
            changes.push(Table::create());
            changes.push(Table::create_set(&PORTS, 1));
            changes.push(Table::create_set(&ALLOWED, 2));
            changes.extend(chain().restore(state));
        }
        for element in &elements {
            if let Some(old) = BRIDGE.element(&PORTS, &element.key)?
                && old.comment != element.comment
            {
                changes.extend(removal(&old)?);
            }
        }
        changes.extend(elements.iter().map(|element| Table::add(&PORTS, element)));
        changes.push(Table::add(&ALLOWED, &Element::plain(pair_key(port, mac))));
        BRIDGE.commit(changes, None)?;
        Ok(true)
    })
}

/// Removes what [`protect`] made for this port or owner; the last port takes the table with it. Succeeds where there is nothing.
///
/// # Errors
/// The kernel's refusal.
pub fn unprotect(name: &str) -> Result<(), Refusal> {
    let key = port_key(name);
    settle(|generation| {
        let mut others = false;
        let exists = BRIDGE.elements(&PORTS, |element| {
            others |= element.key != key;
            others
        })?;
        if !exists {
            return Ok(true);
        }
        if !others {
            // Only this generation is known to have no other port.
            BRIDGE.commit(vec![Table::delete()], generation)?;
            return Ok(true);
        }
        let Some(element) = BRIDGE.element(&PORTS, &key)? else { return Ok(true) };
        BRIDGE.commit(removal(&element)?, None)?;
        // The others may have gone at the same time and have left the table to this one: look again.
        Ok(false)
    })
}

/// What the protection of `port` lacks. Reads one chain and two elements.
///
/// # Errors
/// The kernel's refusal.
pub fn verify(port: &str, mac: MacAddress) -> Result<Vec<Missing>, Refusal> {
    let mut missing = Vec::new();
    match chain().state(BRIDGE)? {
        State::Missing | State::Elsewhere => missing.push(Missing::Chain),
        State::Dormant => missing.push(Missing::Table),
        State::OtherRules => missing.push(Missing::Rule),
        State::Intact => {}
    }
    if BRIDGE.element(&PORTS, &port_key(port))?.is_none() {
        missing.push(Missing::Port);
    }
    if BRIDGE.element(&ALLOWED, &pair_key(port, mac))?.is_none() {
        missing.push(Missing::Address);
    }
    Ok(missing)
}

/// The protected ports.
pub(super) fn ports() -> Result<BTreeSet<String>, Refusal> {
    Ok(BRIDGE.all_elements(&PORTS)?.iter().map(name).collect())
}

fn chain() -> Chain {
    let rule = vec![
        rule::meta(MetaKey::Iifname, Register::Reg1),
        rule::within(PORTS.name, Register::Reg1),
        // Loaded again, as `nft` does it, so that a ruleset that was stored and loaded is still recognised. The name fills
        // register 1 and the address follows it in register 2: one key of 24 bytes.
        rule::meta(MetaKey::Iifname, Register::Reg1),
        rule::payload(Base::Link, 6, 6, Register::Reg2),
        rule::outside(ALLOWED.name, Register::Reg1),
        rule::discard(),
    ];
    Chain {
        name: "prerouting".to_string(),
        hook: Some(Attachment { kind: "filter", number: InetHookNumber::PreRouting, priority: FIRST }),
        rules: vec![rule],
    }
}

/// Removes an element of `ports`, the pair that goes with it, and the port that it stands for.
fn removal(element: &Element) -> Result<Vec<Change>, Refusal> {
    let mut changes = vec![Table::remove(&PORTS, element.key.clone())];
    let Some(comment) = element.comment.as_deref() else { return Ok(changes) };
    if let Ok(mac) = MacAddress::parse(comment) {
        let key = pair_key(&name(element), mac);
        if BRIDGE.element(&ALLOWED, &key)?.is_some() {
            changes.push(Table::remove(&ALLOWED, key));
        }
        return Ok(changes);
    }
    // An element names only its port, whatever another program wrote into the table.
    let port = BRIDGE.element(&PORTS, &port_key(comment))?;
    let is_port = |port: &Element| port.comment.as_deref().is_some_and(|mac| MacAddress::parse(mac).is_ok());
    if let Some(port) = port.filter(is_port) {
        changes.extend(removal(&port)?);
    }
    Ok(changes)
}

fn name(element: &Element) -> String {
    String::from_utf8_lossy(&element.key).trim_end_matches('\0').to_string()
}

fn port_key(port: &str) -> Vec<u8> {
    let mut key = port.as_bytes().to_vec();
    key.resize(NAME_LENGTH, 0);
    key
}

fn pair_key(port: &str, mac: MacAddress) -> Vec<u8> {
    let mut key = port_key(port);
    key.extend(mac.octets());
    // Parts of a key are filled up to registers of four bytes.
    key.resize(key.len().next_multiple_of(4), 0);
    key
}
