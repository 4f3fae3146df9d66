//! `leases`: the DHCP leases of this node's containers, from their records.

use std::time::Duration;

use serde_json::{Value, json};

use super::output::{Failure, Palette, Tone, harmless, print, print_json, table};
use super::{Verdict, block_on};
use crate::dhcp::client::drive::now;
use crate::dhcp::client::lease::Stage;
use crate::lease::handover;
use crate::lease::place::Place;
use crate::lease::record::Record;

const HELP: &str = "\
--json prints {\"agent\": bool, \"leases\": [...]}: whether an agent keeps them, and of each lease
  hostInterface, network, container, interface, pod (null where unknown)
  address        with the width of its prefix
  server         whom it was leased from
  state          \"BOUND\", \"RENEWING\", \"REBINDING\" or \"EXPIRED\", by the clock
  nextSeconds    until the next state; null where there is none
  leftSeconds    until the lease ends; null where it never does
or, where the record cannot be used, hostInterface and error.";

/// List the DHCP leases of this node's containers
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Leases {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A record as it was found.
type Found = (String, Result<Record, String>);

impl Leases {
    /// Prints them, sorted by host interface.
    ///
    /// # Errors
    /// The records cannot be listed.
    pub fn run(self) -> Result<Verdict, Failure> {
        let place = Place::of_this_process();
        let kept = block_on(async { Ok(handover::is_kept(&place).await) })?;
        let found = read(&place)?;
        let bad = found.iter().any(|(_, record)| record.is_err());
        if self.json {
            let shown: Vec<Value> = found.iter().map(to_json).collect();
            print_json(&json!({"agent": kept, "leases": shown}))?;
        } else {
            print(to_text(&found, kept, Palette::stdout()))?;
        }
        Ok(if bad { Verdict::Findings } else { Verdict::Well })
    }
}

fn read(place: &Place) -> Result<Vec<Found>, Failure> {
    let mut hosts = Record::hosts(place).map_err(|error| {
        Failure::Failed(format!("cannot read {}: {error}", place.leases().display()), None)
    })?;
    hosts.sort();
    let found = hosts.into_iter().filter_map(|host| match Record::read(place, &host) {
        Ok(None) => None,
        Ok(Some(record)) => Some((host, Ok(record))),
        Err(error) => Some((host, Err(error.to_string()))),
    });
    Ok(found.collect())
}

/// The state's name, and when the next one begins.
fn stage(record: &Record) -> (&'static str, Option<Duration>) {
    match record.lease.times.stage(now()) {
        Stage::Fresh(next) => ("BOUND", next),
        Stage::Renewing(next) => ("RENEWING", Some(next)),
        Stage::Rebinding(next) => ("REBINDING", Some(next)),
        Stage::Expired => ("EXPIRED", None),
    }
}

fn to_json((host, record): &Found) -> Value {
    let record = match record {
        Ok(record) => record,
        Err(error) => return json!({"hostInterface": host, "error": error}),
    };
    let (state, next) = stage(record);
    let until = |moment: Duration| moment.saturating_sub(now()).as_secs();
    json!({
        "hostInterface": host,
        "network": record.network,
        "container": record.container,
        "interface": record.ifname,
        "pod": record.pod,
        "address": format!("{}/{}", record.lease.address, record.lease.prefix),
        "server": record.lease.server.to_string(),
        "state": state,
        "nextSeconds": next.map(until),
        "leftSeconds": record.lease.times.rest(now()).map(|rest| rest.as_secs()),
    })
}

fn to_text(found: &[Found], kept: bool, palette: Palette) -> String {
    let keeper = if kept { "" } else { "no agent runs: nobody renews these leases\n" };
    if found.is_empty() {
        return "no leases of bridge-dhcp on this node\n".to_string();
    }
    let heads = ["ADDRESS", "SERVER", "STATE", "NEXT", "LEFT", "POD", "INTERFACE", "NETWORK", "HOST SIDE"];
    let mut rows = vec![heads.map(str::to_string).to_vec()];
    rows.extend(found.iter().map(|(host, record)| match record {
        Ok(record) => row(host, record),
        Err(error) => vec![host.clone(), harmless(error)],
    }));
    let text = table(&rows);
    let (head, body) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{}\n{body}{}", palette.paint(Tone::Faint, head), palette.paint(Tone::Faint, keeper))
}

fn row(host: &str, record: &Record) -> Vec<String> {
    let (state, next) = stage(record);
    let seconds =
        |rest: Option<Duration>| rest.map_or("-".to_string(), |rest| format!("{} s", rest.as_secs()));
    vec![
        format!("{}/{}", record.lease.address, record.lease.prefix),
        record.lease.server.to_string(),
        state.to_string(),
        seconds(next.map(|next| next.saturating_sub(now()))),
        seconds(record.lease.times.rest(now())),
        harmless(record.pod.as_deref().unwrap_or("-")),
        harmless(&record.ifname),
        harmless(&record.network),
        host.to_string(),
    ]
}
