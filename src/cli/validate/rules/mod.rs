//! The rules: what is known to break, one file per kind of object and one per thing that objects share.

mod cloud_init;
mod fit;
mod ipam;
mod machine;
mod network;
mod pod;
mod policy;
mod reference;
mod refusal;
mod segment;
mod twice;

use super::finding::Finding;
use super::inventory::Inventory;

/// What all rules find.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    let rules = [
        network::judge,
        policy::judge,
        fit::judge,
        machine::judge,
        pod::judge,
        cloud_init::judge,
        twice::judge,
    ];
    rules.into_iter().flat_map(|rule| rule(inventory)).collect()
}
