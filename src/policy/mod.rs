//! What the node's owner allows: who may use which bridge, VLAN and key. Pure; asked before anything is planned.
//!
//! - `yaml`: reads one value of the file, and says where a wrong one stands.
//! - `parse`: the file, typed.
//! - `pattern`: names with `*`.
//! - [`rule`]: what one rule makes of a config.
//! - [`asker`]: who asks: a pod's namespace, a network.
//! - [`faults`]: the words for what is refused, and for a file that cannot be used.

pub mod asker;
pub mod faults;
mod parse;
mod pattern;
pub mod rule;
#[cfg(test)]
mod tests;
mod yaml;

use crate::error::Error;
use asker::Asker;
use rule::Rule;

/// Where the file is, below the root of the node's file system. Fixed: a path from a network config would be its author's.
pub const PATH: &str = "etc/cni/bridge-dhcp/policy.yaml";
/// Largest file that is read.
pub const SIZE_MAX: u64 = 1 << 20;

/// The rules of a file in its order. Who meets none of them gets nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// Reads the file. Whatever is not understood in it is an error: a policy that is half read allows too much.
    ///
    /// # Errors
    /// Code 141 with the line.
    pub fn parse(content: &[u8]) -> Result<Self, Error> {
        let rules = parse::rules(content).map_err(|fault| faults::malformed(&fault))?;
        Ok(Self { rules })
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that decides: the first that names namespace and network. Where nobody knows for whom a network is asked
    /// about, all rules that name the network, of which one must allow it.
    pub fn deciding(&self, asker: &Asker) -> Vec<&Rule> {
        let met = self.rules.iter().filter(|rule| rule.names(asker));
        met.take(if asker.is_anybody() { usize::MAX } else { 1 }).collect()
    }
}
