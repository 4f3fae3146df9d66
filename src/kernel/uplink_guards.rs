//! What of one interface may drop frames, apart from nftables: filters of tc, its queue, an XDP program, the NIC itself.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use rtnetlink::packet_route::tc::{
    TcAttribute, TcFilterMatchAllOption, TcFilterU32Option, TcHandle, TcMessage, TcOption, TcStats2,
};

use super::linux::Linux;
use super::netlink::Refusal;
use crate::net::{Guards, Link, TrafficFilter};

/// Where the kernel shows the parts of a NIC.
const SYS_CLASS_NET: &str = "/sys/class/net";
/// Filters of one interface that are told.
const FILTERS_MAX: usize = 16;

impl Linux {
    /// What may drop the interface's frames.
    ///
    /// # Errors
    /// The kernel's refusal to describe the interface; without tc there are no filters.
    pub async fn guards(&self, link: &Link) -> Result<Guards, Refusal> {
        let mut guards = self.counted(link.index).await?;
        guards.physical_function = physical_function(&link.name);
        guards.queue = self.queue(link.index).await.unwrap_or_default();
        for egress in [false, true] {
            guards.filters.append(&mut self.filters(link.index, egress).await.unwrap_or_default());
        }
        guards.filters.truncate(FILTERS_MAX);
        Ok(guards)
    }

    async fn counted(&self, index: u32) -> Result<Guards, Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let answers = self.host.request(RouteNetlinkMessage::GetLink(message), 0).await?;
        let mut guards = Guards::default();
        let attributes = answers.into_iter().flat_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => link.attributes,
            _ => Vec::new(),
        });
        for attribute in attributes {
            match attribute {
                LinkAttribute::Stats64(stats) => {
                    guards.receive_drops = stats.rx_dropped + stats.rx_missed_errors;
                    guards.send_drops = stats.tx_dropped;
                }
                LinkAttribute::Xdp(parts) => {
                    guards.xdp = parts.iter().find_map(|part| match part {
                        LinkXdp::ProgId(id) => Some(*id),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        Ok(guards)
    }

    /// The root queueing discipline, and how many frames it has dropped.
    async fn queue(&self, index: u32) -> Result<Option<(String, u32)>, Refusal> {
        let answers =
            self.host.dump(RouteNetlinkMessage::GetQueueDiscipline(of(index, TcHandle::UNSPEC))).await?;
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(queue)
                if queue.header.index.cast_unsigned() == index && queue.header.parent == TcHandle::ROOT =>
            {
                Some((kind(&queue)?, drops(&queue)))
            }
            _ => None,
        }))
    }

    async fn filters(&self, index: u32, egress: bool) -> Result<Vec<TrafficFilter>, Refusal> {
        let minor = if egress { TcHandle::MIN_EGRESS } else { TcHandle::MIN_INGRESS };
        let parent = TcHandle { major: TcHandle::CLSACT.major, minor };
        let answers = self.host.dump(RouteNetlinkMessage::GetTrafficFilter(of(index, parent))).await?;
        let filters = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(filter) if acts(&filter) => Some(TrafficFilter {
                kind: kind(&filter)?,
                // The upper half; the lower is the protocol (TC_H_MAKE of linux/pkt_sched.h).
                preference: (filter.header.info >> 16) as u16,
                egress,
            }),
            _ => None,
        });
        Ok(filters.collect())
    }
}

fn of(index: u32, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.header.parent = parent;
    message
}

fn kind(message: &TcMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.clone()),
        _ => None,
    })
}

fn drops(message: &TcMessage) -> u32 {
    let stats = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Stats2(stats) => Some(stats),
        _ => None,
    });
    let queues = stats.flatten().filter_map(|stats| match stats {
        TcStats2::Queue(queue) => Some(queue.drops),
        _ => None,
    });
    queues.sum()
}

/// Whether the filter does something to what it matches. A classifier is shown with parts that do not: its tables, its head.
fn acts(message: &TcMessage) -> bool {
    let options = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    let options: Vec<&TcOption> = options.flatten().collect();
    match kind(message).as_deref() {
        Some("u32") => options.iter().any(|option| {
            matches!(option, TcOption::U32(TcFilterU32Option::Action(_) | TcFilterU32Option::Police(_)))
        }),
        Some("matchall") => options
            .iter()
            .any(|option| matches!(option, TcOption::MatchAll(TcFilterMatchAllOption::Action(_)))),
        _ => !options.is_empty(),
    }
}

/// The interface of the physical function, or its address, where this one is a virtual function of an SR-IOV NIC.
fn physical_function(name: &str) -> Option<String> {
    let function = format!("{SYS_CLASS_NET}/{name}/device/physfn");
    let entry = std::fs::read_dir(format!("{function}/net")).ok()?.flatten().next();
    match entry {
        Some(entry) => Some(entry.file_name().to_string_lossy().into_owned()),
        None => Some(std::fs::read_link(function).ok()?.file_name()?.to_string_lossy().into_owned()),
    }
}
