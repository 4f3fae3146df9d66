//! A chain as we want it, compared with what the kernel has, and what it takes to make them the same.

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, InetHookNumber, NfTablesMessage,
};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::TABLE;
use super::batch::Change;
use super::rule::{self, Rule};
use super::table::Table;
use crate::kernel::netlink::Refusal;

/// NF_ACCEPT (include/uapi/linux/netfilter.h).
const NF_ACCEPT: u32 = 1;

/// A chain as we want it.
#[derive(Debug)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets enter it; `None` for a chain that packets come to from another one.
    pub hook: Option<Attachment>,
    /// Its rules, in order; nothing else may be in it.
    pub rules: Vec<Rule>,
}

/// Where packets enter a base chain.
#[derive(Debug)]
pub struct Attachment {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// The hook; bridge, ip and ip6 number theirs alike.
    pub number: InetHookNumber,
    /// The order among the chains of the hook, lowest first.
    pub priority: i32,
}

/// What the kernel has in a chain's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Missing,
    /// A chain of that name at another hook, or at none.
    Elsewhere,
    /// The chain, with other rules.
    OtherRules,
    /// The chain as we want it, in a table that is switched off.
    Dormant,
    /// The chain as we want it.
    Intact,
}

impl Chain {
    /// Compares with the kernel.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn state(&self, table: Table) -> Result<State, Refusal> {
        let Some(attributes) = table.chain(&self.name)? else { return Ok(State::Missing) };
        if !self.at_home(&attributes) {
            return Ok(State::Elsewhere);
        }
        let rules = table.rules(&self.name)?;
        let same = rules.len() == self.rules.len()
            && rules.iter().zip(&self.rules).all(|(seen, wanted)| rule::same(seen, wanted));
        Ok(match same {
            false => State::OtherRules,
            true if table.is_dormant()? => State::Dormant,
            true => State::Intact,
        })
    }

    fn at_home(&self, attributes: &[ChainAttribute]) -> bool {
        let seen = attributes.iter().find_map(|attribute| match attribute {
            ChainAttribute::Hook(hook) => Some(hook),
            _ => None,
        });
        match (&self.hook, seen) {
            (None, None) => true,
            (Some(wanted), Some(seen)) => {
                seen.contains(&Hook::Number(wanted.number.into()))
                    && seen.contains(&Hook::Priority(wanted.priority.cast_unsigned()))
                    && attributes.contains(&ChainAttribute::Type(wanted.kind.to_string()))
            }
            _ => false,
        }
    }

    /// What makes the chain as we want it. Safe beside others that do the same: a chain that was missing must still be missing,
    /// and rules are replaced, never added to.
    pub fn restore(&self, state: State) -> Vec<Change> {
        let mut changes = match state {
            // Asking for the table is enough to wake it.
            State::Intact | State::Dormant => return Vec::new(),
            State::Missing => vec![self.creation()],
            State::OtherRules => vec![Table::flush_chain(&self.name)],
            State::Elsewhere => {
                vec![Table::flush_chain(&self.name), Table::delete_chain(&self.name), self.creation()]
            }
        };
        changes.extend(self.rules.iter().map(|rule| Table::append(&self.name, rule)));
        changes
    }

    /// Makes a chain, which must not be there.
    fn creation(&self) -> Change {
        let mut attributes =
            vec![ChainAttribute::Table(TABLE.to_string()), ChainAttribute::Name(self.name.clone())];
        if let Some(at) = &self.hook {
            attributes.extend([
                ChainAttribute::Type(at.kind.to_string()),
                ChainAttribute::Policy(NF_ACCEPT),
                ChainAttribute::Hook(vec![
                    Hook::Number(at.number.into()),
                    Hook::Priority(at.priority.cast_unsigned()),
                ]),
            ]);
        }
        let message = NfTablesMessage::NewChain(ChainMessage { attributes });
        Change { message, flags: NLM_F_CREATE | NLM_F_EXCL }
    }
}
