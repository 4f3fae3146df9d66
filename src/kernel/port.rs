//! The bridge port of an attachment: its label, its flags, its way onto the bridge and off it.

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::interface::{
    RTNLGRP_LINK, RouteEvents, gone_is_done, indexed, named, port_flags, set_flag, silence, with_names,
};
use super::linux::Linux;
use super::netlink::Refusal;
use crate::net::{Link, PortState};
use crate::plan::spec::{EnslaveSpec, PortSpec};

impl Linux {
    pub(super) async fn configure_port(&self, spec: &PortSpec) -> Result<(), Refusal> {
        let mut message = named(&spec.port);
        message.attributes.push(LinkAttribute::IfAlias(spec.alias.clone()));
        message.attributes.push(port_flags(spec.hairpin, spec.isolated));
        self.host.request(RouteNetlinkMessage::NewLink(message), 0).await?;
        silence(&self.host, &spec.port).await
    }

    pub(super) async fn enslave(&self, spec: &EnslaveSpec) -> Result<(), Refusal> {
        let bridge = self.link(&spec.bridge).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        let mut message = indexed(spec.before.index);
        message.header.change_mask = LinkFlags::Up;
        message.attributes.extend(spec.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(spec.mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
        self.host.request(RouteNetlinkMessage::SetLink(message), 0).await?;
        let mut message = indexed(spec.before.index);
        message.attributes.push(LinkAttribute::Controller(bridge.index));
        self.host.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop)
    }

    /// Takes an interface off its bridge, then gives it back what it had.
    pub(super) async fn release(&self, before: &Link) -> Result<(), Refusal> {
        let mut message = indexed(before.index);
        message.attributes.push(LinkAttribute::Controller(0));
        gone_is_done(self.host.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop))?;
        let mut message = indexed(before.index);
        message.header.flags = if before.up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::Mtu(before.mtu));
        message.attributes.extend(before.mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
        gone_is_done(self.host.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop))
    }

    /// The index says which link is meant, or, where it is 0, the name.
    pub(super) async fn add_names(&self, port: &str, index: u32, names: &[String]) -> Result<(), Refusal> {
        let link = if index == 0 { named(port) } else { indexed(index) };
        let message = RouteNetlinkMessage::NewLinkProp(with_names(link, names));
        self.host.request(message, NLM_F_CREATE | NLM_F_EXCL).await.map(drop)
    }

    /// Takes off those names that the link has.
    pub(super) async fn remove_names(&self, index: u32, names: &[String]) -> Result<(), Refusal> {
        for name in names {
            let message = with_names(indexed(index), std::slice::from_ref(name));
            match self.host.request(RouteNetlinkMessage::DelLinkProp(message), 0).await {
                // EINVAL: it is another link's.
                Err(refusal) if matches!(refusal.errno, Errno::ENOENT | Errno::ENODEV | Errno::EINVAL) => {}
                outcome => drop(outcome?),
            }
        }
        Ok(())
    }

    pub(super) async fn mark_port(
        &self,
        index: u32,
        alias: &str,
        flags: Option<(bool, bool)>,
    ) -> Result<(), Refusal> {
        let mut message = indexed(index);
        message.attributes.push(LinkAttribute::IfAlias(alias.to_string()));
        message.attributes.extend(flags.map(|(hairpin, isolated)| port_flags(hairpin, isolated)));
        self.host.request(RouteNetlinkMessage::NewLink(message), 0).await.map(drop)
    }

    pub(super) async fn raise_port(&self, port: &str, await_forwarding: bool) -> Result<(), Refusal> {
        if !await_forwarding {
            return set_flag(&self.host, port, LinkFlags::Up, true).await;
        }
        let mut changes = RouteEvents::open(NETLINK_ROUTE, &[RTNLGRP_LINK])?;
        // Not on the listening socket: changes of many links at a time overrun it, and the answer would be lost with them.
        set_flag(&self.host, port, LinkFlags::Up, true).await?;
        loop {
            let link = self.link(port).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
            match link.port {
                Some(port) if port.state == PortState::Forwarding => return Ok(()),
                Some(_) => {}
                None => {
                    let text = Some("it is no port of a bridge any more".into());
                    return Err(Refusal { errno: Errno::ENODEV, text });
                }
            }
            loop {
                match changes.next().await? {
                    Some(RouteNetlinkMessage::NewLink(change)) if change.header.index != link.index => {}
                    _ => break,
                }
            }
        }
    }
}
