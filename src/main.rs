//! The executable: a CNI plugin when CNI_COMMAND is set, the node's diagnostic tool when it has arguments.

use std::process::ExitCode;

use bridge_dhcp::ipam::launch;

/// The process is one thread that ends soon, or waits most of its time; both need few calls to the kernel, no speed.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == launch::ARGUMENT) {
        return launch::main(std::env::args_os().skip(2));
    }
    let by_runtime = std::env::var_os("CNI_COMMAND").is_some_and(|command| !command.is_empty());
    if by_runtime || std::env::args_os().len() < 2 {
        bridge_dhcp::operations::serve::main()
    } else {
        bridge_dhcp::cli::main()
    }
}
