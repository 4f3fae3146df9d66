//! Takes, records and returns a DHCP lease for a container's interface.
//!
//! - [`place`]: where records, remembered addresses and the agent's socket are.
//! - [`identity`]: who asks: the stable client identifier of a pod's interface.
//! - [`terms`]: how a lease becomes addresses, routes and DNS.
//! - [`socket`]: the packet socket on the container's interface.
//! - [`link`]: puts a lease on the container's interface, and takes it off.
//! - [`record`]: the record of a lease, written and read.
//! - [`memory`]: which address an identity had last.
//! - [`release`]: gives a lease back from its record.
//! - [`handover`]: tells the agent of a lease.
//! - `file`: files that are written whole and read with suspicion.
//! - [`faults`]: the words for a lease that was not to be had.
//!
//! # The life of a lease
//! ADD takes it with [`crate::dhcp::client`] over a socket in the container's namespace, writes its [`record::Record`], and
//! only then puts the address on the link, with the lease's end as the address's lifetime: whatever happens to whoever keeps
//! it, the kernel takes an expired address away. Then ADD hands the lease over to the agent ([`handover`]), which renews it.
//! DEL returns it: it has the agent send the DHCPRELEASE and let go of it, or sends it itself where no agent answers, and
//! deletes the record.
//!
//! # The record
//! One JSON file for each attachment, `<host interface>.json`, in a directory of root's on tmpfs. Times are in the clock of
//! [`crate::dhcp::client::drive::now`], which begins with the node, as the file system does. Without its record an attachment
//! can still be found, checked and removed; only the server is not told, and the lease runs out there by itself.

pub mod faults;
mod file;
pub mod handover;
pub mod identity;
pub mod link;
pub mod memory;
pub mod place;
pub mod record;
pub mod release;
pub mod socket;
pub mod terms;
