//! What may drop bridged frames on the node, as the kernel shows it.

use super::bridge::Bridge;

/// What may drop bridged frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firewall {
    /// net.bridge.bridge-nf-call-iptables; `None` where br_netfilter is not loaded.
    pub call_iptables: Option<bool>,
    /// Tables that the legacy iptables has in use.
    pub legacy_tables: Vec<String>,
    /// Base chains of nftables at hooks that bridged frames may pass.
    pub hooks: Vec<FirewallHook>,
}

impl Firewall {
    /// Whether br_netfilter shows the bridge's frames to iptables and IP's hooks: the sysctl and the bridge's own switch
    /// each do that, and neither without the module.
    pub fn sees_frames_of(&self, bridge: &Bridge) -> bool {
        self.call_iptables.is_some_and(|everywhere| everywhere || bridge.nf_call_iptables)
    }
}

/// Longest name of a table or chain that is shown, in characters.
const FIREWALL_NAME_MAX: usize = 24;

/// The command that lets bridged frames pass iptables.
pub const IPTABLES_OPENING: &str = "iptables -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT";

/// A base chain of nftables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirewallHook {
    /// `bridge`, or with br_netfilter `ip` and `inet`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// `prerouting`, `forward` or `postrouting`.
    pub hook: &'static str,
    /// What no rule decides is dropped.
    pub policy_drop: bool,
}

impl FirewallHook {
    /// The chain as `nft` names it, cut where its owner chose long names.
    pub fn owner(&self) -> String {
        let short = |name: &str| name.chars().take(FIREWALL_NAME_MAX).collect::<String>();
        format!("table {} {} chain {}", self.family, short(&self.table), short(&self.chain))
    }

    /// The command that lets this bridge's frames pass the chain: all that br_netfilter shows to IP's chains, DHCP in
    /// one of the bridge family, whose owner filters on purpose. Another chain may still drop them.
    pub fn opening(&self, bridge: &str) -> String {
        let frames = match (self.family, self.table.as_str(), self.chain.as_str()) {
            // iptables made this chain: the node may have no nft command.
            ("ip", "filter", "FORWARD") => return IPTABLES_OPENING.to_string(),
            ("bridge", ..) => "udp dport '{ 67, 68 }'".to_string(),
            // Quoted, also for the shell: a bridge may be called like a word of nft's language.
            _ => format!("iifname '\"{bridge}\"'"),
        };
        format!("nft insert rule {} {} {} {frames} accept", self.family, self.table, self.chain)
    }
}
