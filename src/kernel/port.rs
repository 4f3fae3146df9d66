//! The bridge port of an attachment: its label, its flags, its way onto the bridge and off it.

use futures_util::StreamExt;
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::interface::{
    RTNLGRP_LINK, Route, alternative_name, gone_is_done, named, port_flags, set_flag, silence,
};
use super::linux::Linux;
use super::netlink::Refusal;
use crate::net::{Link, PortState};
use crate::plan::spec::{EnslaveSpec, PortSpec};

impl Linux {
    pub(super) async fn configure_port(&self, spec: &PortSpec) -> Result<(), Refusal> {
        self.mark_port(&spec.port, &spec.alias, Some((spec.hairpin, spec.isolated))).await?;
        silence(&self.host, &spec.port).await
    }

    pub(super) async fn enslave(&self, spec: &EnslaveSpec) -> Result<(), Refusal> {
        let bridge = self.link(&spec.bridge).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        let mut message = named(&spec.port);
        message.header.change_mask = LinkFlags::Up;
        message.attributes.extend(spec.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(spec.mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
        self.host.request(RouteNetlinkMessage::SetLink(message), 0).await?;
        let mut message = named(&spec.port);
        message.attributes.push(LinkAttribute::Controller(bridge.index));
        self.host.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop)
    }

    /// Takes an interface off its bridge, then gives it back what it had.
    pub(super) async fn release(&self, before: &Link) -> Result<(), Refusal> {
        let mut message = named(&before.name);
        message.attributes.push(LinkAttribute::Controller(0));
        gone_is_done(self.host.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop))?;
        let mut message = named(&before.name);
        message.header.flags = if before.up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::Mtu(before.mtu));
        message.attributes.extend(before.mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
        gone_is_done(self.host.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop))
    }

    pub(super) async fn add_alternative_name(&self, port: &str, name: &str) -> Result<(), Refusal> {
        let message = alternative_name(port, name);
        self.host
            .request(RouteNetlinkMessage::NewLinkProp(message), NLM_F_CREATE | NLM_F_EXCL)
            .await
            .map(drop)
    }

    pub(super) async fn remove_alternative_name(&self, port: &str, name: &str) -> Result<(), Refusal> {
        let removed =
            self.host.request(RouteNetlinkMessage::DelLinkProp(alternative_name(port, name)), 0).await;
        match removed {
            Err(refusal) if matches!(refusal.errno, Errno::ENOENT | Errno::ENODEV) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    pub(super) async fn mark_port(
        &self,
        port: &str,
        alias: &str,
        flags: Option<(bool, bool)>,
    ) -> Result<(), Refusal> {
        let mut message = named(port);
        message.attributes.push(LinkAttribute::IfAlias(alias.to_string()));
        message.attributes.extend(flags.map(|(hairpin, isolated)| port_flags(hairpin, isolated)));
        self.host.request(RouteNetlinkMessage::NewLink(message), 0).await.map(drop)
    }

    pub(super) async fn raise_port(&self, port: &str, await_forwarding: bool) -> Result<(), Refusal> {
        if !await_forwarding {
            return set_flag(&self.host, port, LinkFlags::Up, true).await;
        }
        let (_client, mut changes) = Route::listen(NETLINK_ROUTE, &[RTNLGRP_LINK])?;
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
                match changes.next().await {
                    Some(Some(RouteNetlinkMessage::NewLink(change))) if change.header.index != link.index => {
                    }
                    Some(_) => break,
                    None => return Err(Refusal::unanswered()),
                }
            }
        }
    }
}
