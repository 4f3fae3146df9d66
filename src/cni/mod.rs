//! What a CNI runtime says and hears: versions, environment, network config, previous result, result.
//!
//! - [`environment`]: the CNI_ variables.
//! - [`config`]: the network config on standard input; each key is read here.
//! - [`json`]: standard input's JSON, and keys that stand twice in it.
//! - [`request`]: environment and config together, typed by operation.
//! - [`result`]: what ADD answers, and what the previous plugin answered.
//! - [`version`]: the protocol's versions and what came with each.

pub mod config;
pub mod environment;
pub mod json;
pub mod request;
pub mod result;
pub mod version;
