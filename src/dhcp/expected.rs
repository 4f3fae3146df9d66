//! Which offers are good: from which servers, and of which addresses.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use super::reply::Offer;

/// What an administrator expects; empty lists expect nothing in particular.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Servers that may answer.
    pub servers: Vec<Ipv4Addr>,
    /// Subnets that an offered address may lie in.
    pub subnets: Vec<IpNetwork>,
}

/// How an offer compares with what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// As expected.
    Good,
    /// From a server that is not in the list.
    OtherServer,
    /// From a server that may answer, of an address outside the subnets.
    OtherSubnet,
}

impl Expected {
    /// Compares. A server may be named by its identifier or by the address that its frames come from.
    pub fn fit(&self, offer: &Offer) -> Fit {
        let sender = &offer.sender;
        let listed = |server: &Ipv4Addr| *server == sender.server || *server == sender.ip;
        let inside = |subnet: &IpNetwork| subnet.contains(IpAddr::V4(offer.address));
        if !self.servers.is_empty() && !self.servers.iter().any(listed) {
            Fit::OtherServer
        } else if !self.subnets.is_empty() && !self.subnets.iter().any(inside) {
            Fit::OtherSubnet
        } else {
            Fit::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::reply::{Received, read};
    use crate::dhcp::samples;
    use crate::dhcp::samples::{OFFERED, SERVER, XID, client_mac};

    #[test]
    fn servers_and_subnets_are_compared_where_they_are_given() {
        let Received::Offered(mut offer) = read(&samples::offer_frame(), XID, client_mac()) else { panic!() };
        let subnet = |text: &str| text.parse::<IpNetwork>().unwrap();
        let other = Ipv4Addr::new(192, 0, 2, 1);
        let cases = [
            (vec![], vec![], Fit::Good),
            (vec![SERVER], vec![], Fit::Good),
            (vec![other, SERVER], vec![subnet(&format!("{OFFERED}/24"))], Fit::Good),
            (vec![other], vec![], Fit::OtherServer),
            (vec![other], vec![subnet("192.0.2.0/24")], Fit::OtherServer),
            (vec![SERVER], vec![subnet("192.0.2.0/24")], Fit::OtherSubnet),
            (vec![], vec![subnet("192.0.2.0/24"), subnet("fd00::/64")], Fit::OtherSubnet),
        ];
        for (servers, subnets, fit) in cases {
            let expected = Expected { servers, subnets };
            assert_eq!(expected.fit(&offer), fit, "{expected:?}");
        }
        // Behind a relay the administrator may know only the relay's address.
        offer.sender.ip = other;
        let expected = Expected { servers: vec![other], subnets: Vec::new() };
        assert_eq!(expected.fit(&offer), Fit::Good);
    }
}
