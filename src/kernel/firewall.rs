//! What may drop bridged frames on this node: the hooks of nftables, and br_netfilter, which sends bridged frames
//! through iptables and the IP hooks of nftables.

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, HookNumber, InetHookNumber, NfTablesMessage,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::netlink::{Client, Refusal};
use crate::net::{Firewall, FirewallHook};

/// br_netfilter's switch of the calling thread's network namespace; absent without the module.
const CALL_IPTABLES: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
/// Tables of the legacy iptables in this namespace, one per line.
const LEGACY_TABLES: &str = "/proc/thread-self/net/ip_tables_names";
/// NF_DROP (include/uapi/linux/netfilter.h).
const DROP: u32 = 0;

/// What stands in the way of bridged frames in the calling thread's network namespace.
///
/// # Errors
/// The kernel's refusal to list nftables' chains; a kernel without nftables has none.
pub async fn read() -> Result<Firewall, Refusal> {
    let legacy = std::fs::read_to_string(LEGACY_TABLES).unwrap_or_default();
    Ok(Firewall {
        call_iptables: std::fs::read_to_string(CALL_IPTABLES).ok().map(|value| value.trim() != "0"),
        legacy_tables: legacy.lines().map(str::to_string).collect(),
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
    let family = match message.header.family {
        NetfilterProtoFamily::Bridge => "bridge",
        NetfilterProtoFamily::IPv4 => "ip",
        NetfilterProtoFamily::Inet => "inet",
        _ => return None,
    };
    let (mut table, mut name, mut number, mut drops) = (None, None, None, false);
    for attribute in &chain.attributes {
        match attribute {
            ChainAttribute::Table(text) => table = Some(text.clone()),
            ChainAttribute::Name(text) => name = Some(text.clone()),
            ChainAttribute::Policy(policy) => drops = *policy == DROP,
            ChainAttribute::Hook(hook) => {
                number = hook.iter().find_map(|part| match part {
                    Hook::Number(HookNumber::Inet(number)) => Some(*number),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    // Ours guards ports by name, and the temporary one is not among them.
    if table.as_deref() == Some(super::nft::TABLE) {
        return None;
    }
    let hook = match number? {
        InetHookNumber::PreRouting => "prerouting",
        InetHookNumber::Forward => "forward",
        InetHookNumber::PostRouting => "postrouting",
        // Frames between ports pass no other.
        _ => return None,
    };
    Some(FirewallHook { family, table: table?, chain: name?, hook, policy_drop: drops })
}
