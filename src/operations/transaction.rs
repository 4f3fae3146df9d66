//! All or nothing: steps on a kernel, each with its undo noted before it begins.

use crate::kernel::Kernel;
use crate::kernel::lock::Lock;
use crate::kernel::netlink::Refusal;
use crate::plan::step::Step;
use crate::plan::undo::Undo;

/// Steps that were begun and how to take them back.
pub struct Transaction<K> {
    kernel: K,
    undo: Vec<Undo>,
    current: Option<Step>,
    locks: Vec<Lock>,
    deferred: Vec<Step>,
    promised: Vec<Step>,
}

impl<K: Kernel> Transaction<K> {
    /// Begins with nothing done.
    pub fn new(kernel: K) -> Self {
        Self {
            kernel,
            undo: Vec::new(),
            current: None,
            locks: Vec::new(),
            deferred: Vec::new(),
            promised: Vec::new(),
        }
    }

    /// Keeps a lock until the transaction is over, taking back included.
    pub fn hold(&mut self, lock: Lock) {
        self.locks.push(lock);
    }

    /// Keeps a step for the very end: it cannot be taken back, since other programs may rely on it at once.
    pub fn defer(&mut self, step: Option<Step>) {
        self.deferred.extend(step);
    }

    /// The steps that were kept for the end.
    pub fn deferred(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.deferred)
    }

    /// Keeps a step whose effect must be there when the transaction ends: others may take it away meanwhile.
    pub fn promise(&mut self, step: Step) {
        self.promised.push(step);
    }

    /// The steps whose effect was promised.
    pub fn promised(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.promised)
    }

    /// The kernel, to look at.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// The step that is being carried out.
    pub fn current(&self) -> Option<&Step> {
        self.current.as_ref()
    }

    /// Carries out one step. Its undo is noted first, so that a step that is interrupted is taken back, too; a step
    /// that the kernel refused as a whole left nothing, but a step that it never answered may be done.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn perform(&mut self, step: &Step) -> Result<(), Refusal> {
        let noted = self.undo.len();
        self.undo.extend(step.undo());
        self.current = Some(step.clone());
        let outcome = self.kernel.apply(step).await;
        self.current = None;
        if outcome.as_ref().is_err_and(|refusal| !refusal.is_unanswered()) && step.is_atomic() {
            self.undo.truncate(noted);
        }
        outcome
    }

    /// Takes everything back, last first, and goes on when something cannot be; says what.
    pub async fn roll_back(&mut self) -> Vec<String> {
        let mut remains = Vec::new();
        self.kernel.reconnect();
        while let Some(undo) = self.undo.pop() {
            if let Err(refusal) = self.kernel.revert(&undo).await {
                remains.push(format!("cannot {undo}: {refusal}"));
            }
        }
        remains
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::environment::{Command, Variables};
    use crate::cni::request::{Add, Input, Request};
    use crate::cni::result::CniResult;
    use crate::cni::version::CniVersion;
    use crate::kernel::faults::refused;
    use crate::net::MacAddress;
    use crate::net::{Bridge, BridgeSeen, Link, PortVlans};
    use crate::plan;
    use crate::plan::addresses::Addresses;
    use crate::plan::chained::Chain;
    use crate::plan::spec::{Place, SysctlSpec, VlanGatewaySpec, VlanSpec};
    use crate::plan::{FreshMacs, attach, gateway};
    use nix::errno::Errno;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    /// A kernel that keeps book of what exists, and fails at one step.
    #[derive(Default)]
    struct Fake {
        exists: BTreeSet<String>,
        applied: usize,
        fails_at: usize,
        fails: Failing,
    }

    /// How far the failing step gets, unless it is all or nothing by itself.
    #[derive(Clone, Copy, Default, PartialEq)]
    enum Failing {
        #[default]
        AtOnce,
        Halfway,
        /// Done, whatever it is, but the answer is lost.
        Unanswered,
    }

    impl Kernel for Fake {
        fn reconnect(&mut self) {}

        async fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
            self.applied += 1;
            let fails = self.applied == self.fails_at;
            let nothing_done = match self.fails {
                Failing::AtOnce => true,
                Failing::Halfway => step.is_atomic(),
                Failing::Unanswered => false,
            };
            if fails && nothing_done {
                return Err(Refusal::plain(Errno::EPERM));
            }
            match step {
                Step::CreateBridge(spec) => self.exists.insert(format!("bridge {}", spec.name)),
                Step::AddVeth(spec) => self.exists.insert(format!("veth {}", spec.host)),
                Step::SetPromiscuous { bridge } => self.exists.insert(format!("promiscuous {bridge}")),
                Step::Enslave(spec) => self.exists.insert(format!("enslaved {}", spec.port)),
                Step::AddNames { index: 0, .. } => true,
                Step::AddNames { names, .. } => self.exists.insert(format!("names {names:?}")),
                Step::Label { port, .. } => self.exists.insert(format!("mark {port}")),
                Step::MarkPort { spec, .. } => self.exists.insert(format!("mark {}", spec.port)),
                Step::ReplaceVlans { spec, .. } => self.exists.insert(format!("vlans {}", spec.port)),
                Step::Protect { owner, .. } => self.exists.insert(format!("guard {owner}")),
                Step::SetSysctl(spec) => {
                    spec.before.is_none() || self.exists.insert(format!("sysctl {}", spec.key))
                }
                Step::AddVlanGateway(spec) => self.exists.insert(format!("veth {}", spec.vlans.port)),
                Step::AddGateway { address, .. } => self.exists.insert(format!("address {address}")),
                Step::RemoveGateway { address, .. } => self.exists.insert(format!("no address {address}")),
                Step::Masquerade { port, .. } => self.exists.insert(format!("masquerade {port}")),
                Step::ConfigurePort(_)
                | Step::SetVlans(_)
                | Step::SilenceContainer { .. }
                | Step::RaiseContainer { .. }
                | Step::RaisePort { .. }
                | Step::AddAddresses { .. }
                | Step::LeaseAddress { .. }
                | Step::AddRoute { .. }
                | Step::Announce { .. }
                | Step::PinMac { .. } => true,
            };
            match self.fails {
                _ if !fails => Ok(()),
                Failing::Unanswered => Err(Refusal::unanswered()),
                _ => Err(Refusal::plain(Errno::EPERM)),
            }
        }

        async fn revert(&mut self, undo: &Undo) -> Result<(), Refusal> {
            match undo {
                Undo::DeleteBridge { name, .. } => self.exists.remove(&format!("bridge {name}")),
                Undo::DeleteVeth { name, .. } => self.exists.remove(&format!("veth {name}")),
                Undo::Release(link) => self.exists.remove(&format!("enslaved {}", link.name)),
                Undo::DeletePair(link) => self.exists.remove(&format!("veth {}", link.name)),
                Undo::RemoveNames { names, .. } => self.exists.remove(&format!("names {names:?}")),
                Undo::UnmarkPort(link) => self.exists.remove(&format!("mark {}", link.name)),
                Undo::RestoreVlans { port, .. } => self.exists.remove(&format!("vlans {port}")),
                Undo::ClearPromiscuous(name) => self.exists.remove(&format!("promiscuous {name}")),
                Undo::Unprotect(port) => self.exists.remove(&format!("guard {port}")),
                Undo::RestoreSysctl { key, .. } => self.exists.remove(&format!("sysctl {key}")),
                Undo::RemoveGateway { address, .. } => self.exists.remove(&format!("address {address}")),
                Undo::RestoreGateway { address, .. } => self.exists.remove(&format!("no address {address}")),
                Undo::RemoveMasquerade(port) => self.exists.remove(&format!("masquerade {port}")),
            };
            Ok(())
        }
    }

    fn request(conf: Value) -> Box<Add> {
        let mut object =
            json!({"cniVersion": "1.0.0", "name": "lan", "type": "bridge-dhcp", "bridge": "br0"});
        object.as_object_mut().unwrap().extend(conf.as_object().unwrap().clone());
        let environment =
            [("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "net1"), ("CNI_NETNS", "/x"), ("CNI_PATH", "/")];
        let variables =
            Variables::new(environment.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let object = object.as_object().unwrap().clone();
        let input = Input { bytes: Vec::new(), object, fault: None };
        let request = Request::parse(Command::Add, &variables, &input).unwrap();
        let Some(Request::Add(add)) = request else { panic!() };
        add
    }

    fn steps(conf: Value, seen: &BridgeSeen) -> Vec<Step> {
        let mac = MacAddress::local([0; 6]);
        let plan = attach(&request(conf), seen, FreshMacs { container: mac, host: mac, bridge: mac });
        plan.join.into_iter().chain(plan.open).collect()
    }

    /// What follows the answer of an IPAM plugin, with everything on.
    fn addresses() -> Vec<Step> {
        let add = request(json!({"isDefaultGateway": true, "ipam": {"type": "x"}}));
        let answer = json!({"ips": [{"address": "10.1.2.3/24"}, {"address": "fd00::7/64"}]});
        let answer = CniResult::parse(&answer, CniVersion::V1_0_0, "answer").unwrap();
        let addresses = Addresses::new(&add.conf, &answer);
        let (mac, port) = (MacAddress::local([0; 6]), "vethx".to_string());
        let mut steps = steps(json!({"isDefaultGateway": true, "ipam": {"type": "x"}}), &bridge());
        steps.push(Step::SetSysctl(SysctlSpec {
            place: Place::Container,
            key: "net/ipv6/conf/lo/disable_ipv6".into(),
            value: "0".into(),
            before: Some("1".into()),
        }));
        steps.extend(addresses.steps("net1"));
        let lasts = Some(std::time::Duration::from_secs(60));
        steps.extend(Addresses { lasts, routes: Vec::new(), ..addresses.clone() }.steps("net1"));
        steps.push(Step::Announce { ifname: "net1".into(), mac });
        steps.push(Step::Masquerade { port: port.clone(), addresses: addresses.addresses.clone() });
        let vlans = VlanSpec { port, native: 5, tagged: Vec::new(), remove: None };
        let (name, bridge) = ("br0.5".to_string(), "br0".to_string());
        steps.push(Step::AddVlanGateway(VlanGatewaySpec {
            name,
            mac,
            port_mac: mac,
            bridge,
            mtu: 1500,
            vlans,
        }));
        steps.extend(
            gateway::steps("br0.5", &addresses.gateways, &["10.9.9.9/8".parse().unwrap()], true).unwrap(),
        );
        steps.push(Step::PinMac { bridge: "br0".into(), mac });
        steps
    }

    fn chained(conf: Value, master: Option<u32>) -> Vec<Step> {
        let BridgeSeen::Present(bridge) = bridge() else { panic!() };
        let mac = Some(MacAddress::local([7; 6]));
        let port = Link { index: 9, name: "ptp0".into(), master, mac, mtu: 1500, ..(*bridge).clone() };
        let chain = Chain { vlans: master.map(|_| PortVlans::default()), port, mac, inside_up: false };
        plan::chained::attach(&request(conf), &bridge, &chain).unwrap()
    }

    fn bridge() -> BridgeSeen {
        BridgeSeen::Present(Box::new(Link {
            index: 2,
            kind: Some("bridge".into()),
            mtu: 9000,
            bridge: Some(Bridge { vlan_filtering: true, default_pvid: 1, ..Bridge::default() }),
            ..Link::plain("br0")
        }))
    }

    #[tokio::test]
    async fn a_failure_at_any_step_of_any_add_leaves_nothing() {
        let missing = || BridgeSeen::Missing { present: Vec::new() };
        let all = json!({"vlan": 5, "portIsolation": true, "macspoofchk": true, "promiscMode": true});
        let adds = [
            steps(json!({}), &bridge()),
            steps(json!({"disableContainerInterface": true, "vlan": 100}), &bridge()),
            steps(json!({"vlanTrunk": [{"minID": 1, "maxID": 4094}]}), &bridge()),
            steps(all.clone(), &bridge()),
            steps(json!({"createBridge": true, "vlan": 5, "promiscMode": true}), &missing()),
            steps(json!({"isGateway": true, "disableContainerInterface": true}), &missing()),
            addresses(),
            chained(all.clone(), None),
            chained(all, Some(2)),
        ];
        for steps in adds {
            let mut names = BTreeSet::new();
            let ways = [Failing::AtOnce, Failing::Halfway, Failing::Unanswered];
            for (fails_at, fails) in (1..=steps.len()).flat_map(|n| ways.map(|way| (n, way))) {
                let mut transaction = Transaction::new(Fake { fails_at, fails, ..Fake::default() });
                let mut failed = None;
                for step in &steps {
                    if transaction.perform(step).await.is_err() {
                        failed = Some(step);
                        break;
                    }
                }
                assert_eq!(failed, Some(&steps[fails_at - 1]));
                let named = refused(&steps[fails_at - 1], &Refusal::plain(Errno::EPERM));
                assert!(named.msg().starts_with("cannot ") && named.msg().ends_with("(EPERM)"), "{named}");
                names.insert(named.msg().to_string());
                assert!(transaction.roll_back().await.is_empty());
                assert!(
                    transaction.kernel().exists.is_empty(),
                    "step {fails_at}: {:?}",
                    transaction.kernel().exists
                );
            }
            assert_eq!(names.len(), steps.len(), "each step has a name of its own: {names:?}");
        }
    }

    #[test]
    fn the_port_goes_up_last_and_the_vm_side_never() {
        let policy = json!({"vlan": 100, "promiscMode": true, "macspoofchk": true});
        let mut vm = policy.clone();
        vm["disableContainerInterface"] = true.into();
        let steps = steps(vm, &bridge());
        assert!(matches!(steps.last(), Some(Step::RaisePort { await_forwarding: false, .. })));
        assert!(!steps.iter().any(|step| matches!(step, Step::RaiseContainer { .. })));
        assert!(matches!(chained(policy, None).last(), Some(Step::RaisePort { .. })));
    }
}
