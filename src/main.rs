//! The executable: a CNI plugin when CNI_COMMAND is set, the node's diagnostic tool otherwise.

use std::process::ExitCode;

fn main() -> ExitCode {
    bridge_dhcp::cni::main()
}
