//! A lease as server and client agreed on it: what the client may use, and until when. Pure data, read from a DHCPACK.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use serde::{Deserialize, Serialize};

use super::domains;
use crate::dhcp::options::Options;
use crate::dhcp::reply::Reply;

/// What a lease lasts whose server does not say (the incumbent's default, too).
const UNSAID: Duration = Duration::from_secs(3600);
/// Seconds that mean "for ever" (RFC 2131 section 3.3).
const INFINITE: Duration = Duration::from_secs(u32::MAX as u64);
/// Longer than any node runs.
const YEARS: Duration = Duration::from_secs(1 << 33);
/// Smallest MTU that a server may set (RFC 2132 section 5.1).
const MTU_MIN: u16 = 68;

/// What a server granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The client's address.
    pub address: Ipv4Addr,
    /// Width of its subnet's prefix.
    pub prefix: u8,
    /// Default routers (option 3), the preferred one first.
    pub routers: Vec<Ipv4Addr>,
    /// Routes of option 121, else of option 33.
    pub routes: Vec<Route>,
    /// Whether the routes came in option 121, which leaves options 3 and 33 without a meaning (RFC 3442).
    pub classless: bool,
    /// Name servers (option 6).
    pub name_servers: Vec<Ipv4Addr>,
    /// The client's domain (option 15).
    pub domain: Option<String>,
    /// Domains to search (option 119, RFC 3397).
    pub search: Vec<String>,
    /// MTU of the link (option 26).
    pub mtu: Option<u16>,
    /// Whom renewals and the release are sent to (option 54).
    pub server: Ipv4Addr,
    /// Ethernet source of the server's answer: its own address, or that of the router on the way to it.
    pub hop: [u8; 6],
    /// When it begins and what follows.
    pub times: Times,
}

/// A route of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads, without host bits.
    pub destination: Ipv4Network,
    /// The next hop; `None` where the destination is on the link.
    pub via: Option<Ipv4Addr>,
}

/// The times of a lease, since the same moment as the client's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// When the request was sent that the server granted.
    pub since: Duration,
    /// What the lease lasts from then on; `None` for ever.
    pub lasts: Option<Duration>,
    /// T1: the server is asked to renew it after this time.
    pub renewal: Duration,
    /// T2: any server is asked after this time.
    pub rebinding: Duration,
}

/// Where in its life a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before T1; has its moment, `None` if it never comes.
    Fresh(Option<Duration>),
    /// Before T2; has its moment.
    Renewing(Duration),
    /// Before its end; has its moment.
    Rebinding(Duration),
    /// Over.
    Expired,
}

/// Why a DHCPACK is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Its address is no client's.
    Address(Ipv4Addr),
    /// It has no subnet mask (option 1); a guess by the address's class would be wrong today.
    NoMask,
    /// Its subnet mask has holes.
    Mask(Ipv4Addr),
    /// It lasts no time at all.
    NoTime,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "it grants {address}, which is no client's address"),
            Self::NoMask => f.write_str("it has no subnet mask (option 1)"),
            Self::Mask(mask) => write!(f, "its subnet mask {mask} has holes"),
            Self::NoTime => f.write_str("it lasts 0 seconds"),
        }
    }
}

impl Lease {
    /// Reads a DHCPACK to a request that was sent at `since`.
    pub(super) fn read(reply: &Reply, since: Duration) -> Result<Self, Unusable> {
        let options = &reply.options;
        let address = reply.usable_address().map_err(|_| Unusable::Address(reply.address))?;
        let mask = options.address(1).ok_or(Unusable::NoMask)?;
        let prefix = ipnetwork::ipv4_mask_to_prefix(mask).map_err(|_| Unusable::Mask(mask))?;
        let times = Times::new(since, options.seconds(51), options.seconds(58), options.seconds(59));
        let classless = classless(options);
        Ok(Self {
            address,
            prefix,
            routers: options.addresses(3),
            classless: !classless.is_empty(),
            routes: if classless.is_empty() { classful(options) } else { classless },
            name_servers: options.addresses(6),
            domain: options.bytes(15).and_then(domains::plain),
            search: domains::read(&options.joined(119)),
            mtu: options.half(26).filter(|mtu| *mtu >= MTU_MIN),
            server: reply.sender.server,
            hop: reply.sender.mac.octets(),
            times: times.ok_or(Unusable::NoTime)?,
        })
    }

    /// The address with its subnet.
    pub fn network(&self) -> Option<Ipv4Network> {
        Ipv4Network::new(self.address, self.prefix).ok()
    }

    /// The routes that a host sets for it, in an order in which the kernel takes them: those of option 121, else those of
    /// option 33 and the default route over the first router; before them, one to each next hop outside the subnet.
    pub fn routes(&self) -> Vec<Route> {
        let default = self.routers.first().filter(|_| !self.classless).and_then(|router| {
            let destination = Ipv4Network::new(Ipv4Addr::UNSPECIFIED, 0).ok()?;
            Some(Route { destination, via: Some(*router) })
        });
        let mut routes: Vec<Route> = self.routes.iter().copied().chain(default).collect();
        let subnet = self.network();
        let on_link = |routes: &[Route], hop: Ipv4Addr| {
            let direct = routes.iter().filter(|route| route.via.is_none()).map(|route| route.destination);
            direct.chain(subnet).any(|network| network.contains(hop))
        };
        let hops: Vec<Ipv4Addr> = routes.iter().filter_map(|route| route.via).collect();
        for hop in hops {
            if !on_link(&routes, hop)
                && let Ok(destination) = Ipv4Network::new(hop, 32)
            {
                routes.push(Route { destination, via: None });
            }
        }
        routes.sort_by_key(|route| route.via.is_some());
        routes
    }
}

/// RFC 3442: a router of 0.0.0.0 means that the destination is on the link.
fn classless(options: &Options) -> Vec<Route> {
    let routes = options.classless_routes().into_iter();
    let routes = routes.filter_map(|(destination, width, router)| {
        let destination = Ipv4Network::new(destination, width).ok()?;
        route(destination, Some(router).filter(|router| !router.is_unspecified()))
    });
    routes.collect()
}

/// Option 33 knows only classes. A default route is not allowed in it (RFC 2132 section 5.8).
fn classful(options: &Options) -> Vec<Route> {
    let routes = options.static_routes().into_iter();
    let routes = routes.filter(|(destination, _)| !destination.is_unspecified());
    let routes = routes.filter_map(|(destination, router)| {
        let width = match destination.octets()[0] {
            ..=127 => 8,
            128..=191 => 16,
            _ => 24,
        };
        route(Ipv4Network::new(destination, width).ok()?, Some(router))
    });
    routes.collect()
}

fn route(destination: Ipv4Network, via: Option<Ipv4Addr>) -> Option<Route> {
    let usable = |hop: Ipv4Addr| !(hop.is_unspecified() || hop.is_multicast() || hop.is_broadcast());
    let destination = Ipv4Network::new(destination.network(), destination.prefix()).ok()?;
    via.is_none_or(usable).then_some(Route { destination, via })
}

impl Times {
    /// From options 51, 58 and 59. T1 and T2 that are not in order with each other and the end are replaced by RFC 2131's
    /// (section 4.4.5), both; `None` for a lease of no time.
    pub(super) fn new(
        since: Duration,
        lasts: Option<Duration>,
        renewal: Option<Duration>,
        rebinding: Option<Duration>,
    ) -> Option<Self> {
        let lasts = lasts.unwrap_or(UNSAID);
        let lasting = Some(lasts).filter(|lasts| *lasts < INFINITE);
        let half = lasts / 2;
        let seven_eighths = lasts / 8 * 7;
        let (first, second) = (renewal.unwrap_or(half), rebinding.unwrap_or(seven_eighths));
        let in_order = !first.is_zero() && first < second && second < lasts;
        let (renewal, rebinding) = if in_order { (first, second) } else { (half, seven_eighths) };
        (!lasts.is_zero()).then_some(Self { since, lasts: lasting, renewal, rebinding })
    }

    /// Where in its life the lease is at this time.
    pub fn stage(&self, now: Duration) -> Stage {
        let Some(end) = self.end() else { return Stage::Fresh(None) };
        let (renewal, rebinding) = (self.since + self.renewal, self.since + self.rebinding);
        if now >= end {
            Stage::Expired
        } else if now >= rebinding {
            Stage::Rebinding(end)
        } else if now >= renewal {
            Stage::Renewing(rebinding)
        } else {
            Stage::Fresh(Some(renewal))
        }
    }

    /// What is left of it; `None` for ever.
    pub fn rest(&self, now: Duration) -> Option<Duration> {
        self.end().map(|end| end.saturating_sub(now))
    }

    /// Whether its times can be what `Lease::read` made of an answer.
    pub fn in_order(&self) -> bool {
        let end = self.lasts.unwrap_or(INFINITE);
        let reasonable = end <= INFINITE && self.since < YEARS;
        reasonable && !self.renewal.is_zero() && self.renewal < self.rebinding && self.rebinding < end
    }

    /// When the lease ends; `None` for never.
    pub fn end(&self) -> Option<Duration> {
        self.lasts.map(|lasts| self.since.saturating_add(lasts))
    }
}
