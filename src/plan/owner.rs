//! Whose link is it? The one place that decides which interface of the node is an attachment's.
//!
//! What counts is what a pod cannot bring about, whatever it may do in its own namespace:
//!
//! - **Kind.** Of what a pod has, only hardware comes back to the node, with any name and alias that the pod gave it. Ours is a
//!   veth, or, chained to another plugin, a veth or a tap.
//! - **Names.** No two links of the node have a name in common, the kernel sees to that. An attachment has two: the derived
//!   one, and one that begins with `bridge-dhcp-` ([`marks::pair_mark`], [`marks::chained_mark`]). A pair has the first as its
//!   name and the second as an alternative one, another plugin's interface both as alternative ones. Further names say what
//!   operations rely on ([`marks::facts_name`], [`marks::mac_claim`]).
//! - **Make.** The host side of a pair has a MAC of ours (`fe:`) and its peer in another namespace. The peer of another
//!   plugin's veth lies in CNI_NETNS, by the kernel's number for that namespace.
//! - **Label.** The alias is a description for people, and anybody may write one. It counts as a further fact only where the
//!   derived name is the hash of what it says, beside the second name, or on another plugin's interface of an earlier release.
//!
//! Two of these facts, one of them a name, make a link ours: so a link that an administrator renames, labels, or moves to
//! another bridge stays ours, and so does what an earlier release made, which has one name only. Where there is only one, the
//! link is left alone and named.

use super::label::Label;
use super::marks::{self, Chained, ChainedPort, Facts};
use super::names;
use crate::net::Link;

/// What the facts of a link of an attachment say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The derived name, whatever the link is called.
    pub host: String,
    /// Another plugin's interface: what is given back.
    pub chained: Option<Chained>,
    /// What its names say of its network and its rules; an earlier release gave it none that does.
    pub facts: Option<Facts>,
    /// Its label, where it is this attachment's.
    pub label: Option<Label>,
}

impl Owned {
    /// Whether nftables rules may go with it.
    pub fn has_rules(&self) -> bool {
        let labelled = || self.label.as_ref().map(|label| label.rules);
        self.facts.as_ref().map(|facts| facts.rules).or_else(labelled).unwrap_or(true)
    }

    /// Whether it is of the network with this field in its label; `None` where nothing says so any more.
    pub fn is_of(&self, network: &str) -> Option<bool> {
        let labelled = || self.label.as_ref().map(|label| label.network == network);
        self.facts.as_ref().map(|facts| facts.network == marks::network_digest(network)).or_else(labelled)
    }

    /// Who is attached, as a message names it.
    pub fn owner(&self) -> String {
        self.label.as_ref().map_or_else(|| format!("the attachment {}", self.host), Label::owner)
    }
}

/// The attachment that a link belongs to, if it is one of ours. `container` is the node's number for CNI_NETNS, where that is
/// known.
pub fn owned(link: &Link, container: Option<i32>) -> Option<Owned> {
    let veth = link.kind.as_deref() == Some("veth");
    if !veth && link.kind.as_deref() != Some("tun") {
        return None;
    }
    let mark = link.alternative.iter().find_map(|name| marks::read_mark(name));
    let derived = |name: &&String| names::is_derived(name);
    let called = Some(&link.name).filter(derived).or_else(|| link.alternative.iter().find(derived));
    let host = mark.as_ref().map(|(host, _)| host).or(called)?.clone();
    let named = link.name == host || link.alternative.contains(&host);
    let facts = link.alternative.iter().find_map(|name| marks::read_facts(name, &host));
    let of_network = |label: &Label| {
        facts.as_ref().is_none_or(|facts| facts.network == marks::network_digest(&label.network))
    };
    let label = link.alias.as_deref().and_then(Label::from_alias);
    let label = label.filter(|label| label.fits(&host) && of_network(label));
    let pair = mark.as_ref().map_or(link.name == host, |(_, chained)| chained.is_none());
    let labelled = label.as_ref().is_some_and(|label| label.chained.is_none() == pair);
    let made = match pair {
        true => link.peer_netns.is_some() && link.mac.is_some_and(|mac| mac.is_host_side()),
        false => link.peer_netns.is_some() && link.peer_netns == container,
    };
    // Whoever forges the derived name writes the label that goes with it, too.
    let told = labelled && (mark.is_some() || !pair);
    let evidence = [named, mark.is_some(), told, made].into_iter().filter(|fact| *fact).count();
    if evidence < 2 || (pair && !veth) {
        return None;
    }
    let chained = mark.and_then(|(_, chained)| chained);
    let chained = chained.or_else(|| label.as_ref().and_then(|label| label.chained)).filter(|_| !pair);
    // A label that is lost says nothing of what there was: the port stays as it is.
    let unknown = || Chained { port: ChainedPort::Joined, former_mac: None, former_mtu: None };
    let chained = if pair { None } else { Some(chained.unwrap_or_else(unknown)) };
    Some(Owned { host, chained, facts, label: label.filter(|_| labelled) })
}

/// Whether a link has an alias or a name like ours, so that it is to be named where it is not ours.
pub fn resembles(link: &Link) -> bool {
    let labelled = link.alias.as_deref().and_then(Label::from_alias).is_some();
    labelled || link.alternative.iter().any(|name| !names::is_derived(name) && marks::host_of(name).is_some())
}

/// Whether a link carries a name or a label of an attachment other than the one with this derived name, which makes it
/// that one's.
pub fn is_anothers(link: &Link, host: &str) -> bool {
    let named = |name: &String| marks::host_of(name).is_some_and(|other| other != host);
    let label = link.alias.as_deref().and_then(Label::from_alias);
    std::iter::once(&link.name).chain(&link.alternative).any(named)
        || label.is_some_and(|label| !label.fits(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::MacAddress;
    use crate::plan::marks::{chained_mark, pair_mark};

    /// `cid/net1`'s.
    const HOST: &str = "veth30bc48f5fb8";
    const LABEL: &str = "bridge-dhcp network=lan container=cid ifname=net1";
    const CHAINED: Chained = Chained { port: ChainedPort::Joined, former_mac: None, former_mtu: None };

    fn veth(name: &str) -> Link {
        Link { kind: Some("veth".into()), peer_netns: Some(4), ..Link::plain(name) }
    }

    fn pair() -> Link {
        let mac = Some(MacAddress::host_side([7; 6]));
        Link { mac, alternative: vec![pair_mark(HOST)], alias: Some(LABEL.into()), ..veth(HOST) }
    }

    fn chained() -> Link {
        let facts = Facts { network: marks::network_digest("lan"), rules: true };
        let alternative =
            vec![HOST.to_string(), chained_mark(HOST, &CHAINED), marks::facts_name(HOST, &facts)];
        Link { alternative, alias: Some(format!("{LABEL} chain=joined")), ..veth("ptp0") }
    }

    #[test]
    fn what_an_administrator_may_do_to_a_link_leaves_it_ours() {
        let named = |link: Link, name: &str| Link { name: name.into(), ..link };
        let aliased = |link: Link, alias: Option<&str>| Link { alias: alias.map(Into::into), ..link };
        let forged = Some("bridge-dhcp network=lan container=other ifname=net1");
        for link in [pair(), chained()] {
            for alias in [None, Some("customer 12"), forged] {
                let changed = aliased(link.clone(), alias);
                for changed in [named(changed.clone(), "uplink9"), Link { master: None, ..changed }] {
                    let owned = owned(&changed, None).unwrap();
                    assert_eq!((owned.host.as_str(), owned.label), (HOST, None), "{changed:?}");
                    assert_eq!(owned.chained.is_some(), link.name == "ptp0");
                }
            }
        }
        let other_mac = Link { mac: Some(MacAddress::local([1; 6])), ..aliased(pair(), None) };
        assert!(owned(&other_mac, None).is_some());
    }

    #[test]
    fn the_names_outweigh_the_label() {
        let said = |alias: &str| owned(&Link { alias: Some(alias.into()), ..chained() }, None).unwrap();
        for owned in
            [said("bridge-dhcp network=other container=cid ifname=net1 chain=enslaved"), said("customer 12")]
        {
            assert_eq!((owned.label.as_ref(), owned.chained), (None, Some(CHAINED)));
            assert_eq!(
                (owned.is_of("lan"), owned.is_of("other"), owned.has_rules()),
                (Some(true), Some(false), true)
            );
        }
        let old = Owned { facts: None, ..said("customer 12") };
        assert_eq!((old.is_of("lan"), old.has_rules()), (None, true));
    }

    #[test]
    fn what_an_earlier_release_made_is_ours() {
        let old = |link: Link| {
            let alternative =
                link.alternative.iter().filter(|name| names::is_derived(name)).cloned().collect();
            Link { alternative, ..link }
        };
        assert_eq!(owned(&old(pair()), None).unwrap().chained, None);
        let foreign = Link { alias: Some("customer 12".into()), ..old(pair()) };
        assert!(owned(&foreign, None).is_some());
        assert_eq!(owned(&old(chained()), None).unwrap().chained, Some(CHAINED));
        let foreign = Link { alias: Some("its-makers".into()), ..old(chained()) };
        assert!(owned(&foreign, None).is_none() && owned(&foreign, Some(3)).is_none());
        assert!(owned(&foreign, Some(4)).is_some(), "its peer lies in CNI_NETNS");
    }

    #[test]
    fn one_fact_is_not_enough_and_hardware_is_never_ours() {
        let aliased = Link { alias: Some(LABEL.into()), ..veth("vethfeed") };
        let forged = Link { alias: Some(LABEL.into()), mac: Some(MacAddress::local([1; 6])), ..veth(HOST) };
        let of_our_make = Link { mac: pair().mac, ..aliased.clone() };
        let named = Link { peer_netns: None, ..veth(HOST) };
        let second = Link { alternative: vec![pair_mark(HOST)], ..veth("x") };
        for link in [aliased, forged, of_our_make, named, second] {
            assert_eq!(owned(&link, None), None, "{link:?}");
        }
        for kind in [None, Some("dummy"), Some("bridge"), Some("tun")] {
            let kind = kind.map(str::to_string);
            assert_eq!(owned(&Link { kind: kind.clone(), ..pair() }, None), None, "{kind:?}");
            let tap = kind.as_deref() == Some("tun");
            assert_eq!(owned(&Link { kind, ..chained() }, None).is_some(), tap);
        }
    }

    #[test]
    fn a_link_with_anothers_name_or_label_is_anothers() {
        assert!(!is_anothers(&chained(), HOST) && !is_anothers(&veth("ptp0"), HOST));
        for link in [
            pair(),
            chained(),
            Link { alternative: Vec::new(), ..chained() },
            Link { alias: None, ..chained() },
        ] {
            assert!(is_anothers(&link, "veth00000000000"), "{link:?}");
        }
    }
}
