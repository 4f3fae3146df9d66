//! The table of our verbs: which call carries out each step, and which takes it back.

use rtnetlink::packet_route::link::LinkFlags;

use super::interface::{delete_by_index, gone_is_done, set_flag, set_mac, silence};
use super::linux::Linux;
use super::netlink::Refusal;
use super::{Kernel, nft};
use crate::plan::step::Step;
use crate::plan::undo::Undo;

impl Kernel for Linux {
    fn reconnect(&mut self) {
        self.reopen();
    }

    async fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::CreateBridge(spec) => self.create_bridge(spec).await,
            Step::AddVeth(spec) => self.add_veth(spec).await,
            Step::ConfigurePort(spec) => self.configure_port(spec).await,
            Step::SetVlans(spec) => self.set_vlans(spec).await,
            Step::ReplaceVlans { spec, before } => self.replace_vlans(spec, before).await,
            Step::Enslave(spec) => self.enslave(spec).await,
            Step::AddNames { port, index, names } => self.add_names(port, *index, names).await,
            Step::Label { alias, before, .. } => self.mark_port(before.index, alias, None).await,
            Step::MarkPort { spec, before } => {
                self.mark_port(before.index, &spec.alias, Some((spec.hairpin, spec.isolated))).await
            }
            Step::SetPromiscuous { bridge } => set_flag(&self.host, bridge, LinkFlags::Promisc, true).await,
            Step::SilenceContainer { ifname } => silence(self.container()?, ifname).await,
            Step::RaiseContainer { ifname } => set_flag(self.container()?, ifname, LinkFlags::Up, true).await,
            Step::RaisePort { port, await_forwarding } => self.raise_port(port, *await_forwarding).await,
            Step::Protect { port, owner, mac } => nft::guard::protect_for(port, owner, *mac),
            Step::SetSysctl(spec) => self.set_sysctl(spec.place, &spec.key, &spec.value),
            Step::AddAddresses { ifname, addresses } => self.add_addresses(ifname, addresses).await,
            Step::LeaseAddress { ifname, address, lasts } => {
                self.lease_address(ifname, *address, *lasts).await
            }
            Step::AddRoute { ifname, route } => self.add_route(ifname, route).await,
            // With arp_notify and ndisc_notify set, the kernel announces its addresses when the MAC is set, also to what it is.
            Step::Announce { ifname, mac } => set_mac(self.container()?, ifname, *mac).await,
            Step::AddVlanGateway(spec) => self.add_vlan_gateway(spec).await,
            Step::AddGateway { link, address } => self.add_gateway(link, *address).await,
            Step::RemoveGateway { link, address } => self.take_gateway(link, *address).await,
            Step::PinMac { bridge, mac } => set_mac(&self.host, bridge, *mac).await,
            Step::Masquerade { port, addresses } => nft::masquerade::install(port, addresses),
        }
    }

    async fn revert(&mut self, undo: &Undo) -> Result<(), Refusal> {
        match undo {
            Undo::DeleteBridge { name, mac } => self.delete_unused_bridge(name, *mac).await,
            Undo::DeleteVeth { name, mac } => self.delete_veth(name, *mac).await,
            Undo::Release(before) => self.release(before).await,
            Undo::DeletePair(link) => delete_by_index(&self.host, link.index).await,
            Undo::RemoveNames { index, names, .. } => self.remove_names(*index, names).await,
            Undo::UnmarkPort(before) => {
                let flags = before.port.map(|port| (port.hairpin, port.isolated));
                gone_is_done(self.mark_port(before.index, before.alias.as_deref().unwrap_or(""), flags).await)
            }
            Undo::RestoreVlans { port, vlans } => self.restore_vlans(port, vlans).await,
            Undo::Unprotect(port) => nft::guard::unprotect(port),
            Undo::RestoreSysctl { place, key, value } => self.set_sysctl(*place, key, value),
            Undo::RemoveGateway { link, address } => self.remove_gateway(link, *address).await,
            Undo::RestoreGateway { .. } => self.restore_gateways().await,
            Undo::RemoveMasquerade(port) => nft::masquerade::remove(port),
            Undo::ClearPromiscuous(name) => {
                gone_is_done(set_flag(&self.host, name, LinkFlags::Promisc, false).await)
            }
        }
    }
}
