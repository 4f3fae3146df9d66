//! Masquerade: what an attachment's addresses send out of their subnet leaves under the node's own address.
//!
//! One table for both address families. A map from source address to the attachment's chain makes the cost of a packet
//! independent of the number of attachments. The chain is named after the host-side interface and its rules carry the
//! addresses, so that everything can be removed by that name alone.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{InetHookNumber, MetaKey, Operator, Register};

use super::batch::settle;
use super::chain::{Attachment, Chain, State};
use super::rule::{self, Base, Rule};
use super::table::{Element, Set, Table};
use crate::kernel::netlink::Refusal;

const INET: Table = Table { family: NetfilterProtoFamily::Inet };
/// NF_IP_PRI_NAT_SRC (include/uapi/linux/netfilter_ipv4.h).
const SOURCE_NAT: i32 = 100;
/// Longer than an interface's name can be, so that no attachment's chain is called the same.
const ENTRY: &str = "postrouting_sources";
/// The chain of each source address. Key type 7 is `ipv4_addr`, 8 `ipv6_addr`, whose bytes `nft` shows in network order.
const SOURCES4: Set = Set { name: "sources4", key_type: 7, key_length: 4, shown: SHOWN, verdicts: true };
const SOURCES6: Set = Set { name: "sources6", key_type: 8, key_length: 16, shown: SHOWN, verdicts: true };
const SHOWN: &[u8] = &[0, 4, 2, 0, 0, 0];

/// Where an IP version keeps what the rules look at.
struct Version {
    /// NFPROTO_ number (include/uapi/linux/netfilter.h).
    protocol: u8,
    sources: &'static Set,
    /// Offset of the source address in the header; the destination follows it.
    source_at: u32,
    /// Length of an address in bytes.
    length: u32,
    /// Multicast: 224.0.0.0/4 (RFC 5771), ff00::/8 (RFC 4291 section 2.7).
    multicast: (IpAddr, u8),
}

const V4: Version = Version {
    protocol: 2,
    sources: &SOURCES4,
    source_at: 12,
    length: 4,
    multicast: (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
};
const V6: Version = Version {
    protocol: 10,
    sources: &SOURCES6,
    source_at: 8,
    length: 16,
    multicast: (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
};

/// What an attachment's masquerade lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The entry chain, its place at the hook, or its rules.
    Entry,
    /// The attachment's chain or its rules.
    Rules,
    /// The way from this source address to the attachment's chain.
    Source(IpAddr),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry => f.write_str("the masquerade's nftables chain is missing or has other rules"),
            Self::Rules => f.write_str("the attachment's masquerade rules are missing or others"),
            Self::Source(address) => write!(f, "nftables does not masquerade {address} for the attachment"),
        }
    }
}

/// Masquerades what `addresses` (each with its subnet) send to others than their subnet and multicast groups. `host` is the
/// attachment's host-side interface. Restores what another program removed, replaces the addresses that `host` had before,
/// and takes an address over from an attachment that had it before.
///
/// # Errors
/// The kernel's refusal, ENOENT or EOPNOTSUPP where it has no NAT; nothing was changed.
pub fn install(host: &str, addresses: &[IpNetwork]) -> Result<(), Refusal> {
    if addresses.is_empty() {
        return remove(host);
    }
    settle(|_| {
        let (entry, own) = (entry(), own(host, addresses));
        let (entry_state, own_state) = (entry.state(INET)?, own.state(INET)?);
        let mut changes = Vec::new();
        if entry_state != State::Intact {
            changes.push(Table::create());
            changes.push(Table::create_set(&SOURCES4, 1));
            changes.push(Table::create_set(&SOURCES6, 2));
            changes.extend(entry.restore(entry_state));
        }
        changes.extend(own.restore(own_state));
        for address in recorded(host)? {
            let (sources, key) = place(address);
            if !addresses.iter().any(|wanted| wanted.ip() == address) && leads_to(host, address)? {
                changes.push(Table::remove(sources, key));
            }
        }
        for address in addresses.iter().map(IpNetwork::ip).collect::<BTreeSet<_>>() {
            let (sources, key) = place(address);
            match INET.element(sources, &key)?.map(|element| element.target) {
                Some(Some(chain)) if chain == host => continue,
                Some(_) => changes.push(Table::remove(sources, key.clone())),
                None => {}
            }
            changes
                .push(Table::add(sources, &Element { key, target: Some(host.to_string()), comment: None }));
        }
        INET.commit(changes, None)?;
        Ok(true)
    })
}

/// Removes what [`install`] made for the host-side interface; the last attachment takes the table with it. Succeeds where
/// there is nothing.
///
/// # Errors
/// The kernel's refusal.
pub fn remove(host: &str) -> Result<(), Refusal> {
    settle(|generation| {
        let mut others = false;
        let mut look = |element: Element| {
            others |= element.target.as_deref() != Some(host);
            others
        };
        let exists = INET.elements(&SOURCES4, &mut look)?;
        if !exists {
            return Ok(true);
        }
        INET.elements(&SOURCES6, &mut look)?;
        if !others {
            // Only this generation is known to have no other attachment.
            INET.commit(vec![Table::delete()], generation)?;
            return Ok(true);
        }
        if INET.chain(host)?.is_none() {
            return Ok(true);
        }
        let mut changes = Vec::new();
        for address in recorded(host)? {
            if leads_to(host, address)? {
                let (sources, key) = place(address);
                changes.push(Table::remove(sources, key));
            }
        }
        changes.push(Table::flush_chain(host));
        changes.push(Table::delete_chain(host));
        INET.commit(changes, None)?;
        // The others may have gone at the same time and have left the table to this one: look again.
        Ok(false)
    })
}

/// What the masquerade of `host` lacks. Reads two chains and one element for each address.
///
/// # Errors
/// The kernel's refusal.
pub fn verify(host: &str, addresses: &[IpNetwork]) -> Result<Vec<Missing>, Refusal> {
    let mut missing = Vec::new();
    if addresses.is_empty() {
        return Ok(missing);
    }
    if entry().state(INET)? != State::Intact {
        missing.push(Missing::Entry);
    }
    if own(host, addresses).state(INET)? != State::Intact {
        missing.push(Missing::Rules);
    }
    for network in addresses {
        if !leads_to(host, network.ip())? {
            missing.push(Missing::Source(network.ip()));
        }
    }
    Ok(missing)
}

/// The host-side interfaces whose addresses are masqueraded.
pub(super) fn hosts() -> Result<BTreeSet<String>, Refusal> {
    let elements = [INET.all_elements(&SOURCES4)?, INET.all_elements(&SOURCES6)?].concat();
    Ok(elements.into_iter().filter_map(|element| element.target).collect())
}

/// The chain at the hook: sends packets to the chain of their source address.
fn entry() -> Chain {
    let rule = |version: &Version| {
        let mut rule = of_version(version);
        rule.push(rule::payload(Base::Network, version.source_at, version.length, Register::Reg1));
        rule.push(rule::judge(version.sources.name, Register::Reg1));
        rule
    };
    Chain {
        name: ENTRY.to_string(),
        hook: Some(Attachment { kind: "nat", number: InetHookNumber::PostRouting, priority: SOURCE_NAT }),
        rules: vec![rule(&V4), rule(&V6)],
    }
}

/// The attachment's chain: one rule for each address.
fn own(host: &str, addresses: &[IpNetwork]) -> Chain {
    Chain { name: host.to_string(), hook: None, rules: addresses.iter().map(masqueraded).collect() }
}

fn masqueraded(network: &IpNetwork) -> Rule {
    let version = version(network.ip());
    let mut rule = of_version(version);
    rule.push(rule::payload(Base::Network, version.source_at, version.length, Register::Reg1));
    rule.push(rule::compare(Register::Reg1, Operator::Equal, bytes(network.ip())));
    let (multicast, prefix) = version.multicast;
    rule.extend(outside(version, bytes(network.network()), network.prefix()));
    rule.extend(outside(version, bytes(multicast), prefix));
    rule.push(rule::masquerade());
    rule
}

/// Goes on only for destinations outside the subnet. Whole bytes are compared without a mask, as `nft` does it, so that a
/// ruleset that was stored and loaded is still recognised.
fn outside(version: &Version, mut subnet: Vec<u8>, prefix: u8) -> Rule {
    let at = version.source_at + version.length;
    let whole = prefix > 0 && prefix.is_multiple_of(8);
    if whole {
        subnet.truncate(usize::from(prefix / 8));
    }
    let length = if whole { u32::from(prefix / 8) } else { version.length };
    let mut rule = vec![rule::payload(Base::Network, at, length, Register::Reg1)];
    if !whole {
        let bits =
            |index| 0xff_u8.checked_shl(8 - u32::from(prefix).saturating_sub(index).min(8)).unwrap_or(0);
        rule.push(rule::mask(Register::Reg1, (0..version.length).map(|byte| bits(8 * byte)).collect()));
    }
    rule.push(rule::compare(Register::Reg1, Operator::NotEqual, subnet));
    rule
}

fn of_version(version: &Version) -> Rule {
    vec![
        rule::meta(MetaKey::Nfproto, Register::Reg1),
        rule::compare(Register::Reg1, Operator::Equal, vec![version.protocol]),
    ]
}

/// The source addresses in the rules of the attachment's chain.
fn recorded(host: &str) -> Result<BTreeSet<IpAddr>, Refusal> {
    let rules = INET.rules(host)?;
    Ok(rules.iter().flat_map(|rule| rule::compared(rule, Operator::Equal)).filter_map(address).collect())
}

/// Whether packets from the address go to the chain of `host`.
fn leads_to(host: &str, address: IpAddr) -> Result<bool, Refusal> {
    let (sources, key) = place(address);
    Ok(INET.element(sources, &key)?.is_some_and(|element| element.target.as_deref() == Some(host)))
}

fn place(address: IpAddr) -> (&'static Set, Vec<u8>) {
    (version(address).sources, bytes(address))
}

fn version(address: IpAddr) -> &'static Version {
    if address.is_ipv4() { &V4 } else { &V6 }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(octets));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
