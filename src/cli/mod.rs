//! The command line, for people and for the DaemonSet: one file per command, one exit status for all of them.
//!
//! Each file is named after its command; `attachments` and `picture` are what several show, `output` is how.

mod agent;
mod attachments;
mod completions;
mod doctor;
mod gc;
mod install;
mod leases;
mod list;
mod output;
mod picture;
mod policy;
mod probe;
mod spinner;
mod validate;

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};
use output::Failure;

const EXIT_STATUS: &str = "Exit status: 0 all is well, warnings or not; 1 something is broken, was found or failed; \
    2 the command line is wrong. With --strict, warnings of doctor and validate count, too.\n\
    As a CNI plugin (CNI_COMMAND is set) the program takes no arguments.";
/// How wide help is where it goes to no terminal.
const HELP_WIDTH: usize = 100;

/// CNI plugin that attaches pods and virtual machines to a bridge of the node; by hand, the node's diagnostic tool
#[derive(Debug, Parser)]
#[command(name = "bridge-dhcp", version = version(), after_help = EXIT_STATUS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Doctor(doctor::Doctor),
    Probe(probe::Probe),
    Validate(validate::Validate),
    List(list::List),
    Leases(leases::Leases),
    Gc(gc::Gc),
    Policy(policy::Policy),
    Install(install::Install),
    Agent(agent::Agent),
    Completions(completions::Completions),
}

/// The version, with the commit where the build was told.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("BRIDGE_DHCP_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{} (commit {commit})", env!("CARGO_PKG_VERSION")),
        _ => env!("CARGO_PKG_VERSION").to_string(),
    });
    &VERSION
}

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Exit status 0.
    Well,
    /// Exit status 1.
    Findings,
}

impl Verdict {
    /// The one rule for warnings: they are no failure, unless they are to be.
    fn of(failed: bool, warned: bool, strict: bool) -> Self {
        if failed || (warned && strict) { Self::Findings } else { Self::Well }
    }
}

/// Carries out the command line.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Neither a closed pipe nor a full disk changes what was asked.
        Err(error) if error.use_stderr() => {
            let _ = error.print();
            return ExitCode::from(2);
        }
        Err(help) => {
            let width = output::terminal_width().unwrap_or(HELP_WIDTH);
            let _ = output::print(output::folded(&help.render().to_string(), width));
            return ExitCode::SUCCESS;
        }
    };
    let outcome = match arguments.command {
        Command::Doctor(doctor) => doctor.run(),
        Command::Probe(probe) => probe.run(),
        Command::Validate(validate) => validate.run(),
        Command::List(list) => list.run(),
        Command::Leases(leases) => leases.run(),
        Command::Gc(gc) => gc.run(),
        Command::Policy(policy) => policy.run(),
        Command::Install(install) => install.run(),
        Command::Agent(agent) => agent.run(),
        Command::Completions(completions) => completions.run(),
    };
    match outcome {
        Ok(Verdict::Well) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::FAILURE,
        Err(failure) => failure.report(),
    }
}

/// Runs work that talks to the kernel.
///
/// # Errors
/// What the work says, and that no event loop could be started.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start the event loop: {error}"), None))?;
    runtime.block_on(work)
}
