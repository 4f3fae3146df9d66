//! The node's agent.

use std::process::{Child, Command, Stdio};

use super::plugin::executable;
use super::{Lab, wait_until};

/// As `setpriv` takes them.
pub const RIGHTS: &str = "-all,+sys_admin,+net_admin,+net_raw";

/// An agent that runs on the lab's node; killed with the value, and what it said is lost.
pub struct Agent {
    child: Child,
}

impl Agent {
    /// Starts it; it listens when this returns.
    pub fn start(lab: &Lab) -> Self {
        let agent = Self::starting(lab);
        wait_until("the agent is ready", || lab.command(&["agent", "--ready"]).status().unwrap().success());
        agent
    }

    /// Starts it; it may have to wait for another one's end.
    pub fn starting(lab: &Lab) -> Self {
        let log =
            std::fs::File::options().create(true).append(true).open(lab.files.join("agent.log")).unwrap();
        // The rights of its container in the DaemonSet.
        let rights = ["--bounding-set", RIGHTS, "--inh-caps=-all"];
        let mut command = Command::new("setpriv");
        command.args(rights).arg(executable()).args(["agent", "--metrics"]).arg(lab.files.join("agent.prom"));
        command.env("BRIDGE_DHCP_ROOT", &lab.files).stdin(Stdio::null()).stderr(log);
        Self { child: lab.node.enter(|| command.spawn()).unwrap() }
    }

    /// Kills it at once.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lab {
    /// The program by hand on the node.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.node.path().display()))
            .arg(executable())
            .args(arguments)
            .env("BRIDGE_DHCP_ROOT", &self.files)
            .stdin(Stdio::null());
        command
    }

    /// What the agents have said so far.
    pub fn agent_log(&self) -> String {
        std::fs::read_to_string(self.files.join("agent.log")).unwrap_or_default()
    }
}
