//! What may drop bridged frames on this node: the hooks of nftables, and br_netfilter, which sends bridged frames
//! through iptables and the IP hooks of nftables.

use netlink_packet_netfilter::nftables::{ChainAttribute, ChainMessage, Hook, NfTablesMessage};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use rtnetlink::packet_core::Nla;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::netlink::{Client, Refusal};
use crate::net::{Firewall, FirewallHook};

/// br_netfilter's switch of the calling thread's network namespace; absent without the module.
const CALL_IPTABLES: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
/// Tables of the legacy iptables in this namespace, one per line.
const LEGACY_TABLES: &str = "/proc/thread-self/net/ip_tables_names";
/// The loaded modules, and how those of the legacy ebtables begin.
const MODULES: &str = "/proc/modules";
const EBTABLES: &str = "ebtable_";
/// NF_DROP (include/uapi/linux/netfilter.h).
const DROP: u32 = 0;

/// What stands in the way of bridged frames in the calling thread's network namespace.
///
/// # Errors
/// The kernel's refusal to list nftables' chains; a kernel without nftables has none.
pub async fn read() -> Result<Firewall, Refusal> {
    let legacy = std::fs::read_to_string(LEGACY_TABLES).unwrap_or_default();
    let modules = std::fs::read_to_string(MODULES).unwrap_or_default();
    Ok(Firewall {
        call_iptables: std::fs::read_to_string(CALL_IPTABLES).ok().map(|value| value.trim() != "0"),
        legacy_tables: legacy.lines().map(str::to_string).collect(),
        legacy_ebtables: modules.lines().any(|module| module.starts_with(EBTABLES)),
        hooks: hooks().await?,
    })
}

async fn hooks() -> Result<Vec<FirewallHook>, Refusal> {
    let client = Client::<NetfilterMessage>::open(NETLINK_NETFILTER)?;
    let everything = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
    let message = NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0), everything);
    let answers = client.dump(message).await?;
    Ok(answers.iter().filter_map(hook).collect())
}

/// A base chain that bridged frames may pass.
fn hook(message: &NetfilterMessage) -> Option<FirewallHook> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) = &message.inner else {
        return None;
    };
    let (mut table, mut name, mut number, mut devices, mut policy_drop) =
        (None, None, None, Vec::new(), false);
    for attribute in &chain.attributes {
        match attribute {
            ChainAttribute::Table(text) => table = Some(text.clone()),
            ChainAttribute::Name(text) => name = Some(text.clone()),
            ChainAttribute::Policy(policy) => policy_drop = *policy == DROP,
            ChainAttribute::Hook(parts) => {
                number = parts.iter().find_map(|part| match part {
                    Hook::Number(number) => Some(u32::from(*number)),
                    _ => None,
                });
                devices = parts.iter().flat_map(names).collect();
            }
            _ => {}
        }
    }
    // Ours guards ports by name, and the temporary one is not among them.
    if table.as_deref() == Some(super::nft::TABLE) {
        return None;
    }
    // `enum nf_inet_hooks` and `enum nf_dev_hooks` of include/uapi/linux/netfilter.h. Frames between ports pass no others.
    let (family, hook) = match (message.header.family, number?) {
        (NetfilterProtoFamily::NetDev, 0) => ("netdev", "ingress"),
        (NetfilterProtoFamily::NetDev, 1) => ("netdev", "egress"),
        (NetfilterProtoFamily::Inet, 5) => ("inet", "ingress"),
        (family, number) => {
            let family = match family {
                NetfilterProtoFamily::Bridge => "bridge",
                NetfilterProtoFamily::IPv4 => "ip",
                NetfilterProtoFamily::Inet => "inet",
                _ => return None,
            };
            let hook = match number {
                0 => "prerouting",
                2 => "forward",
                4 => "postrouting",
                _ => return None,
            };
            (family, hook)
        }
    };
    Some(FirewallHook { family, table: table?, chain: name?, hook, devices, policy_drop, rule: None })
}

/// The interfaces that a hook names.
fn names(part: &Hook) -> Vec<String> {
    match part {
        Hook::NetDeviceName(name) => vec![name.clone()],
        Hook::NetDevices(names) => names
            .iter()
            .map(|name| {
                let mut bytes = vec![0; name.value_len()];
                name.emit_value(&mut bytes);
                String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_string()
            })
            .collect(),
        _ => Vec::new(),
    }
}
