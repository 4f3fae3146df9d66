//! `agent`: the node's process that keeps the leases of containers.

use std::path::PathBuf;

use super::output::Failure;
use super::{Verdict, block_on};
use crate::agent::{Options, run};
use crate::lease::handover;
use crate::lease::place::Place;

const LONG: &str = "\
Keep the DHCP leases of this node's containers

One process for each node, in one thread: it takes over the lease from each ADD, renews it, applies a changed address, router or
route, takes an address away that has expired or was refused, and asks again. When it starts, it takes up what the records in
/run/bridge-dhcp/leases say. A second one waits for the end of the first. While none runs, addresses stay until their leases end.";

const HELP: &str = "\
It needs CAP_NET_ADMIN and CAP_NET_RAW for addresses and DHCP frames, CAP_SYS_ADMIN to work in the containers' network namespaces,
the node's network namespace, and of the node's directories /run/bridge-dhcp, /var/lib/bridge-dhcp and /run/netns.

Exit status: 0 it was terminated, or --ready and an agent keeps leases; 1 it cannot work, or --ready and there is none; 2 the command
line is wrong.";

/// Keep the DHCP leases of this node's containers
#[derive(Debug, clap::Args)]
#[command(long_about = LONG, after_long_help = HELP)]
pub struct Agent {
    /// Say by the exit status whether an agent keeps this node's leases, and end
    #[arg(long)]
    ready: bool,
    /// Folder in front of the paths of containers' network namespaces
    #[arg(long, value_name = "DIR")]
    host_prefix: Option<PathBuf>,
    /// File to write figures to, in Prometheus' text format
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

impl Agent {
    /// Runs until it is terminated.
    ///
    /// # Errors
    /// The socket or the lock cannot be had.
    pub fn run(self) -> Result<Verdict, Failure> {
        let place = Place::of_this_process();
        if self.ready {
            let kept = block_on(async { Ok(handover::is_kept(&place).await) })?;
            return Ok(if kept { Verdict::Well } else { Verdict::Findings });
        }
        let options = Options { host_prefix: self.host_prefix, metrics: self.metrics };
        block_on(async { Ok(run(place, options).await?) })?;
        Ok(Verdict::Well)
    }
}
