//! What a CNI runtime says and hears: versions, environment, network config, previous result, result.
//!
//! - [`environment`]: the CNI_ variables.
//! - [`config`]: the network config on standard input: its `mod.rs` reads each key, `known` lists them, `keys` says what is
//!   wrong with a value, `vlans` computes what `vlan` and `vlanTrunk` mean together.
//! - [`json`]: standard input's JSON, and keys that stand twice in it.
//! - [`request`]: environment and config together, typed by operation.
//! - [`ipam_request`]: what another main plugin asks of this program as its IPAM plugin.
//! - [`applicant`]: who asks for a DHCP lease.
//! - [`result`]: what ADD answers, and what the previous plugin answered.
//! - [`version`]: the protocol's versions and what came with each.

pub mod applicant;
pub mod config;
pub mod environment;
pub mod ipam_request;
pub mod json;
pub mod request;
pub mod result;
pub mod version;
