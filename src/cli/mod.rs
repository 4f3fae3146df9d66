//! The command line, for people and for the DaemonSet: one file per command, one exit status for all of them.

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

use clap::{Parser, Subcommand};
use output::Failure;

const EXIT_STATUS: &str = "Exit status: 0 all is well, 1 something was found or failed, 2 the command line is wrong.\n\
    As a CNI plugin (CNI_COMMAND is set) the program takes no arguments.";

/// CNI plugin that attaches pods and virtual machines to a bridge of the node; by hand, the node's diagnostic tool
#[derive(Debug, Parser)]
#[command(name = "bridge-dhcp", version, after_help = EXIT_STATUS, disable_help_subcommand = true)]
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

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Exit status 0.
    Well,
    /// Exit status 1.
    Findings,
}

/// Carries out the command line.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Neither a closed pipe nor a full disk changes what was asked.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
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
