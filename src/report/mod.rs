//! What leaves the program: results in the shape of the config's CNI version, and errors with their codes.

pub mod error;
pub mod faults;
pub mod log;
pub mod probe_faults;
pub mod result;

pub use error::{Code, Error};
