//! The executable: a CNI plugin when CNI_COMMAND is set, the node's diagnostic tool when it has arguments.

use std::process::ExitCode;

fn main() -> ExitCode {
    let by_runtime = std::env::var_os("CNI_COMMAND").is_some_and(|command| !command.is_empty());
    if by_runtime || std::env::args_os().len() < 2 {
        bridge_dhcp::cni::main()
    } else {
        bridge_dhcp::cli::main()
    }
}
