//! Others' rules that drop: which of a table's chains has one, and which chains lead to it.
//!
//! Read attribute by attribute, as anybody may have written them with expressions that no library of ours knows.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    NfTablesMessage, RuleAttribute, RuleMessage, SetElementList, SetElementMessage,
};
use rtnetlink::packet_core::NlasIterator;

use super::batch::{Answer, dump};
use crate::kernel::netlink::{Refusal, steady};
use crate::net::{DropRule, FirewallHook};

/// Rules of one table that are read; who has more has a program that makes them, and the probe has little time.
const RULES_MAX: usize = 20_000;
/// How often a table that changes is read again.
const TRIES: usize = 3;

// Attributes of include/uapi/linux/netfilter/nf_tables.h.
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const IMMEDIATE_DATA: u16 = 2;
const COMPARED_DATA: u16 = 3;
const LOOKUP_SET: u16 = 1;
const LOOKUP_DREG: u16 = 3;
const MATCH_NAME: u16 = 1;
const MATCH_INFO: u16 = 3;
const ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
/// Size of `struct nlattr`, in front of a value.
const ATTRIBUTE_HEADER: usize = 4;
/// NF_DROP (include/uapi/linux/netfilter.h).
const NF_DROP: u32 = 0;
/// DHCP's ports, as a frame has them.
const DHCP_PORTS: [[u8; 2]; 2] = [[0, 67], [0, 68]];

/// What of a rule counts here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rule {
    handle: u64,
    drops: bool,
    of_dhcp: bool,
    /// Chains that it leads to.
    targets: Vec<String>,
    /// Maps whose values are verdicts.
    maps: Vec<String>,
}

/// Gives each hook the rule by which it drops.
///
/// # Errors
/// The kernel's refusal to show a table's rules.
pub fn find_rules(hooks: &mut [FirewallHook]) -> Result<(), Refusal> {
    let tables: BTreeSet<(&str, String)> =
        hooks.iter().map(|hook| (hook.family, hook.table.clone())).collect();
    for (name, table) in tables {
        let family = match name {
            "bridge" => NetfilterProtoFamily::Bridge,
            "ip" => NetfilterProtoFamily::IPv4,
            "inet" => NetfilterProtoFamily::Inet,
            _ => NetfilterProtoFamily::NetDev,
        };
        let chains = steady(TRIES, || rules(family, &table))?;
        for hook in hooks.iter_mut().filter(|hook| (hook.family, &hook.table) == (name, &table)) {
            hook.rule = reached(&chains, &hook.chain);
        }
    }
    Ok(())
}

/// The table's rules by chain, in order.
fn rules(family: NetfilterProtoFamily, table: &str) -> Result<BTreeMap<String, Vec<Rule>>, Refusal> {
    let mut chains: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    let mut read = 0;
    let question = RuleMessage { attributes: vec![RuleAttribute::Table(table.to_string())] };
    dump(family, NfTablesMessage::GetRule(question), |answer| {
        read += 1;
        let (chain, rule) = rule(answer.attributes());
        chains.entry(chain).or_default().push(rule);
        Ok(read == RULES_MAX)
    })?;
    for rule in chains.values_mut().flatten() {
        for map in std::mem::take(&mut rule.maps) {
            verdicts(family, table, &map, rule)?;
        }
    }
    Ok(chains)
}

/// Reads a rule, and the chain that it is in.
fn rule(attributes: &[u8]) -> (String, Rule) {
    let mut chain = String::new();
    let mut rule = Rule::default();
    for (kind, value) in members(attributes) {
        match kind {
            RULE_CHAIN => chain = text(value),
            RULE_HANDLE => rule.handle = value.first_chunk().copied().map_or(0, u64::from_be_bytes),
            RULE_EXPRESSIONS => {
                members(value).for_each(|(_, expression)| read_expression(expression, &mut rule))
            }
            _ => {}
        }
    }
    (chain, rule)
}

fn read_expression(expression: &[u8], rule: &mut Rule) {
    let name = of_kind(expression, EXPR_NAME).map(text).unwrap_or_default();
    let Some(data) = of_kind(expression, EXPR_DATA) else { return };
    match name.as_str() {
        "immediate" => {
            if let Some(verdict) = of_kind(data, IMMEDIATE_DATA).and_then(|data| of_kind(data, DATA_VERDICT))
            {
                read_verdict(verdict, rule);
            }
        }
        "reject" => rule.drops = true,
        "cmp" | "range" => {
            let value = of_kind(data, COMPARED_DATA).and_then(|data| of_kind(data, DATA_VALUE));
            rule.of_dhcp |= value.is_some_and(names_a_port);
        }
        "lookup" if of_kind(data, LOOKUP_DREG).is_some() => {
            rule.maps.extend(of_kind(data, LOOKUP_SET).map(text));
        }
        // Of iptables and ebtables, which write their own structures.
        "match" => {
            let ports = of_kind(data, MATCH_INFO).unwrap_or_default();
            let udp = of_kind(data, MATCH_NAME).map(text).is_some_and(|name| name == "udp");
            let ports = ports.chunks_exact(2).filter_map(|port| port.first_chunk().copied());
            rule.of_dhcp |=
                udp && ports.map(u16::from_ne_bytes).any(|port| DHCP_PORTS.contains(&port.to_be_bytes()));
        }
        "target" => rule.drops |= of_kind(data, MATCH_NAME).map(text).is_some_and(|name| name == "DROP"),
        _ => {}
    }
}

fn read_verdict(verdict: &[u8], rule: &mut Rule) {
    let code =
        of_kind(verdict, VERDICT_CODE).and_then(|code| code.first_chunk().copied()).map(u32::from_be_bytes);
    rule.drops |= code == Some(NF_DROP);
    rule.targets.extend(of_kind(verdict, VERDICT_CHAIN).map(text));
}

/// Adds what a map of verdicts decides to the rule that looks into it.
fn verdicts(family: NetfilterProtoFamily, table: &str, map: &str, rule: &mut Rule) -> Result<(), Refusal> {
    let attributes = vec![SetElementList::Table(table.to_string()), SetElementList::Set(map.to_string())];
    dump(family, NfTablesMessage::GetSetElement(SetElementMessage { attributes }), |answer: Answer| {
        let lists = members(answer.attributes()).filter(|(kind, _)| *kind == ELEMENTS);
        for (_, element) in lists.flat_map(|(_, list)| members(list)) {
            let verdict = of_kind(element, ELEMENT_DATA).and_then(|data| of_kind(data, DATA_VERDICT));
            let Some(verdict) = verdict else { continue };
            let mut decided = Rule::default();
            read_verdict(verdict, &mut decided);
            let key = of_kind(element, ELEMENT_KEY).and_then(|data| of_kind(data, DATA_VALUE));
            rule.of_dhcp |= decided.drops && key.is_some_and(names_a_port);
            rule.drops |= decided.drops;
            rule.targets.append(&mut decided.targets);
        }
        Ok(false)
    })
}

/// The rule that drops in the chain or in one that it leads to; one that speaks of DHCP's ports before any other.
fn reached(chains: &BTreeMap<String, Vec<Rule>>, first: &str) -> Option<DropRule> {
    let mut seen = BTreeSet::from([first]);
    let mut next = vec![(first, false)];
    let mut found: Option<DropRule> = None;
    while let Some((chain, dhcp_leads_here)) = next.pop() {
        for rule in chains.get(chain).into_iter().flatten() {
            let of_dhcp = rule.of_dhcp || dhcp_leads_here;
            if rule.drops && found.as_ref().is_none_or(|found| of_dhcp && !found.of_dhcp) {
                found = Some(DropRule { chain: chain.to_string(), handle: rule.handle, of_dhcp });
            }
            for target in &rule.targets {
                if seen.insert(target) {
                    next.push((target, of_dhcp));
                }
            }
        }
    }
    found
}

/// Whether a comparison's value is a port of DHCP, alone or as one of two.
fn names_a_port(value: &[u8]) -> bool {
    matches!(value.len(), 2 | 4)
        && value.chunks_exact(2).any(|port| DHCP_PORTS.iter().any(|known| known == port))
}

/// The attributes of a list, each with its kind; what cannot be read ends it.
fn members(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|member| {
        let (kind, end) = (member.kind(), ATTRIBUTE_HEADER + member.value_length());
        (kind, member.into_inner().get(ATTRIBUTE_HEADER..end).unwrap_or_default())
    })
}

fn of_kind(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    members(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(handle: u64, drops: bool, of_dhcp: bool, targets: &[&str]) -> Rule {
        let targets = targets.iter().map(|target| (*target).to_string()).collect();
        Rule { handle, drops, of_dhcp, targets, maps: Vec::new() }
    }

    fn found(chains: Vec<(&str, Vec<Rule>)>) -> Option<(String, u64, bool)> {
        let chains = chains.into_iter().map(|(name, rules)| (name.to_string(), rules)).collect();
        reached(&chains, "base").map(|rule| (rule.chain, rule.handle, rule.of_dhcp))
    }

    #[test]
    fn a_rule_is_found_wherever_the_chain_leads() {
        assert_eq!(
            found(vec![
                ("base", vec![rule(1, false, false, &[])]),
                ("other", vec![rule(2, true, true, &[])])
            ]),
            None
        );
        let led = vec![
            ("base", vec![rule(1, false, false, &["a"])]),
            ("a", vec![rule(2, false, false, &["b", "base"])]),
            ("b", vec![rule(3, true, false, &[])]),
        ];
        assert_eq!(found(led), Some(("b".to_string(), 3, false)));
    }

    #[test]
    fn one_that_speaks_of_dhcp_is_the_better_suspect() {
        let both = vec![("base", vec![rule(1, true, false, &[]), rule(2, true, true, &[])])];
        assert_eq!(found(both), Some(("base".to_string(), 2, true)));
        let through =
            vec![("base", vec![rule(1, false, true, &["a"])]), ("a", vec![rule(2, true, false, &[])])];
        assert_eq!(found(through), Some(("a".to_string(), 2, true)));
    }

    #[test]
    fn any_bytes_are_some_rule() {
        for length in 0..64 {
            super::rule(&vec![5; length]);
            super::rule(&vec![0; length]);
        }
        assert!(
            names_a_port(&[0, 68])
                && names_a_port(&[0, 67, 0, 68])
                && !names_a_port(&[68])
                && !names_a_port(&[0, 69])
        );
    }
}
