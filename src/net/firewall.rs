//! What may drop bridged frames on the node, as the kernel shows it.

use super::bridge::Bridge;

/// What may drop bridged frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firewall {
    /// net.bridge.bridge-nf-call-iptables; `None` where br_netfilter is not loaded.
    pub call_iptables: Option<bool>,
    /// Tables that the legacy iptables has in use.
    pub legacy_tables: Vec<String>,
    /// The kernel has modules of the legacy ebtables loaded, whose rules nobody else can list.
    pub legacy_ebtables: bool,
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
    /// `bridge`, or with br_netfilter `ip` and `inet`; at an interface's own hooks `netdev` or `inet`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// `prerouting`, `forward` or `postrouting`; `ingress` or `egress` of an interface.
    pub hook: &'static str,
    /// The interfaces of such a one.
    pub devices: Vec<String>,
    /// What no rule decides is dropped.
    pub policy_drop: bool,
    /// The rule that drops something, if there is one: of these one that speaks of DHCP's ports.
    pub rule: Option<DropRule>,
}

/// A rule of nftables that drops what it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRule {
    /// Its chain: the hook's, or one that leads to.
    pub chain: String,
    /// Its handle (`nft -a`).
    pub handle: u64,
    /// It matches a port of DHCP.
    pub of_dhcp: bool,
}

impl FirewallHook {
    /// The chain as `nft` names it, cut where its owner chose long names.
    pub fn owner(&self) -> String {
        let short = |name: &str| name.chars().take(FIREWALL_NAME_MAX).collect::<String>();
        format!("table {} {} chain {}", self.family, short(&self.table), short(&self.chain))
    }

    /// The rule that drops, as `nft` names it; the chain where that drops by itself.
    pub fn culprit(&self) -> String {
        match &self.rule {
            Some(rule) if self.prefers_rule() => Self { chain: rule.chain.clone(), ..self.clone() }.owner(),
            _ => self.owner(),
        }
    }

    /// Whether the rule is the likelier dropper than the policy.
    fn prefers_rule(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.of_dhcp || !self.policy_drop)
    }

    /// What lets this bridge's frames pass: the rule that drops them goes, or all of them are let through before it. Another
    /// chain may still drop them.
    pub fn opening(&self, bridge: &str) -> String {
        if let Some(rule) = self.rule.as_ref().filter(|_| self.prefers_rule()) {
            let Self { family, table, .. } = self;
            return format!("nft delete rule {family} {table} {} handle {}", rule.chain, rule.handle);
        }
        let frames = match (self.family, self.table.as_str(), self.chain.as_str()) {
            // iptables made this chain: the node may have no nft command.
            ("ip", "filter", "FORWARD") => return IPTABLES_OPENING.to_string(),
            ("netdev", ..) => String::new(),
            // At an interface there is no bridge yet.
            ("inet", ..) if !self.devices.is_empty() => String::new(),
            // Not every kernel can ask for a frame's bridge, so the rule that surely works is the one for DHCP.
            ("bridge", ..) => {
                let Self { table, chain, .. } = self;
                return format!(
                    "nft insert rule bridge {table} {chain} udp dport '{{ 67, 68 }}' accept # for DHCP alone: a guest's other frames need a rule, too, such as: meta ibrname {bridge} accept"
                );
            }
            // Quoted, also for the shell: a bridge may be called like a word of nft's language.
            _ => format!("iifname '\"{bridge}\"' "),
        };
        format!("nft insert rule {} {} {} {frames}accept", self.family, self.table, self.chain)
    }
}

/// A filter of tc that may drop an interface's frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficFilter {
    /// The classifier, such as `flower`.
    pub kind: String,
    /// Its preference.
    pub preference: u16,
    /// It is asked about frames that leave; otherwise about those that enter.
    pub egress: bool,
}

/// What may drop an interface's frames, apart from nftables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guards {
    /// Its filters of tc.
    pub filters: Vec<TrafficFilter>,
    /// Its queueing discipline, and how many frames that has dropped so far.
    pub queue: Option<(String, u32)>,
    /// The number of its XDP program.
    pub xdp: Option<u32>,
    /// Frames that entered and were dropped by the driver or for want of room.
    pub receive_drops: u64,
    /// Frames that were to leave, and were dropped.
    pub send_drops: u64,
    /// The physical function, where it is a virtual one of an SR-IOV NIC.
    pub physical_function: Option<String>,
}
