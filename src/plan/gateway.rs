//! The gateway addresses of a bridge: which are missing, which are in the way, and what `forceAddress` replaces.

use ipnetwork::IpNetwork;

use crate::error::Error;
use crate::plan::faults;
use crate::plan::step::Step;

/// The steps that give `link` the wanted addresses. A different IPv4 address of the interface, or an IPv6 address of
/// an overlapping subnet, is in the way: replaced where `force` says so.
///
/// # Errors
/// Code 7 naming the address that is in the way.
pub fn steps(
    link: &str,
    wanted: &[IpNetwork],
    present: &[IpNetwork],
    force: bool,
) -> Result<Vec<Step>, Error> {
    let mut missing: Vec<IpNetwork> =
        wanted.iter().copied().filter(|address| !present.contains(address)).collect();
    let mut steps = Vec::new();
    let mut renewed = Vec::new();
    for &there in present.iter().filter(|there| !wanted.contains(there)) {
        let Some(gateway) = missing.iter().find(|gateway| collide(gateway, &there)) else { continue };
        if !force {
            return Err(faults::gateway_in_the_way(link, there, *gateway));
        }
        steps.push(Step::RemoveGateway { link: link.to_string(), address: there });
        // With the first IPv4 address of a subnet the kernel removes the others, unless promote_secondaries is set.
        let follow = |address: &&IpNetwork| {
            same_subnet(**address, there)
                && address.is_ipv4()
                && present.contains(address)
                && !renewed.contains(*address)
        };
        renewed.extend(wanted.iter().filter(follow).copied().collect::<Vec<_>>());
    }
    steps.extend(renewed.iter().map(|&address| Step::RemoveGateway { link: link.to_string(), address }));
    missing.splice(0..0, renewed);
    steps.extend(missing.into_iter().map(|address| Step::AddGateway { link: link.to_string(), address }));
    Ok(steps)
}

/// Whether both are addresses of one subnet.
pub fn same_subnet(one: IpNetwork, other: IpNetwork) -> bool {
    one.network() == other.network() && one.prefix() == other.prefix()
}

fn collide(one: &IpNetwork, other: &IpNetwork) -> bool {
    if one.is_ipv4() != other.is_ipv4() {
        return false;
    }
    one.is_ipv4() || one.contains(other.ip()) || other.contains(one.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn planned(wanted: &[&str], present: &[&str], force: bool) -> Result<Vec<String>, String> {
        let steps = steps("br0", &networks(wanted), &networks(present), force);
        steps.map(|steps| steps.iter().map(Step::to_string).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_that_is_there_is_left_alone() {
        assert_eq!(planned(&["10.0.0.1/24", "fd00::1/64"], &["fd00::1/64", "10.0.0.1/24"], true), Ok(vec![]));
    }

    #[test]
    fn several_subnets_share_a_bridge() {
        let steps = planned(&["10.0.0.1/24", "10.1.0.1/24"], &["10.0.0.1/24", "fe80::1/64"], false).unwrap();
        assert_eq!(steps, ["give br0 the gateway address 10.1.0.1/24"]);
    }

    #[test]
    fn another_address_is_in_the_way_unless_forced() {
        for (wanted, present) in [("10.0.0.1/24", "192.168.7.1/24"), ("fd00::1/64", "fd00::2/48")] {
            let error = planned(&[wanted], &[present], false).unwrap_err();
            assert!(error.contains(wanted) && error.contains(present), "{error}");
            assert_eq!(planned(&[wanted], &[present], true).unwrap().len(), 2);
        }
        // What the kernel would remove together with the address in the way comes back.
        let steps = planned(&["10.0.0.1/24", "10.9.0.1/24"], &["10.0.0.9/24", "10.0.0.1/24"], true).unwrap();
        let verbs: Vec<&str> = steps.iter().map(|step| step.split(' ').next().unwrap()).collect();
        assert_eq!((verbs, steps.len()), (vec!["take", "take", "give", "give"], 4));
        assert_eq!(planned(&["fd00::1/64"], &["fd01::1/64"], false).unwrap().len(), 1);
    }
}
