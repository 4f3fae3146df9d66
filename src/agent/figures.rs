//! What there is to count, as Prometheus' text (exposition format 0.0.4).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What has happened since the agent's start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Leases that a server granted or prolonged.
    pub(super) granted: Cell<u64>,
    /// Leases that came with another address than before.
    pub(super) changed: Cell<u64>,
    /// Leases that ended because nobody renewed them.
    pub(super) expired: Cell<u64>,
    /// Leases that a server refused to renew.
    pub(super) refused: Cell<u64>,
    /// Leases that were given back.
    pub(super) released: Cell<u64>,
}

/// Counts one more.
pub(super) fn count(figure: &Cell<u64>) {
    figure.set(figure.get().saturating_add(1));
}

impl Figures {
    /// The text, with the number of leases in each state of the client.
    pub(super) fn text(&self, states: &BTreeMap<&'static str, usize>) -> String {
        let mut text = String::from("# TYPE bridge_dhcp_leases gauge\n");
        for (state, number) in states {
            let _ = writeln!(text, "bridge_dhcp_leases{{state=\"{state}\"}} {number}");
        }
        for (name, figure) in [
            ("granted", &self.granted),
            ("changed", &self.changed),
            ("expired", &self.expired),
            ("refused", &self.refused),
            ("released", &self.released),
        ] {
            let value = figure.get();
            let _ =
                writeln!(text, "# TYPE bridge_dhcp_{name}_total counter\nbridge_dhcp_{name}_total {value}");
        }
        text
    }
}
