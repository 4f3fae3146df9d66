//! Our table of one family: the changes that a batch can make to it, and the questions about it.

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, Expressions, ListAttribute, NfTablesMessage, RuleAttribute,
    RuleMessage, SetAttribute, SetElementAttribute, SetElementList, SetElementMessage, SetFlags, SetMessage,
    TableAttribute, TableFlags, TableMessage, Verdict, VerdictAttribute,
};
use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE};

use super::TABLE;
use super::batch::{Answer, Change, TRIES, ask, commit, dump, is_absence};
use super::rule::Seen;
use crate::kernel::netlink::{Refusal, steady};

/// NFT_DATA_VERDICT (include/uapi/linux/netfilter/nf_tables.h): the type of a verdict map's values.
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
/// NFTA_RULE_EXPRESSIONS, of the same header.
const NFTA_RULE_EXPRESSIONS: u16 = 4;
/// NFTA_SET_ELEM_LIST_ELEMENTS, of the same header.
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
/// The type of a comment in the user data of an element, as `nft` writes and shows it.
const COMMENT: u8 = 0;

/// Our table of one family.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The family.
    pub family: NetfilterProtoFamily,
}

/// A set of ours, or a map to verdicts.
#[derive(Debug)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// The type of its keys, as `nft` numbers them; the kernel only keeps it.
    pub key_type: u32,
    /// The length of a key in bytes.
    pub key_length: u32,
    /// What else `nft` needs to show the keys; the kernel only keeps it.
    pub shown: &'static [u8],
    /// Whether it maps to verdicts.
    pub verdicts: bool,
}

/// An element of a set, with the chain that a verdict map goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The key.
    pub key: Vec<u8>,
    /// The chain that packets with this key go to.
    pub target: Option<String>,
    /// The comment.
    pub comment: Option<String>,
}

impl Element {
    /// An element of a plain set.
    pub fn plain(key: Vec<u8>) -> Self {
        Self { key, target: None, comment: None }
    }

    fn attributes(&self) -> Vec<SetElementAttribute> {
        let mut attributes = vec![SetElementAttribute::Key(DataAttribute::Value(self.key.clone()))];
        attributes.extend(self.target.clone().map(|chain| {
            let verdict = vec![VerdictAttribute::Code(Verdict::Goto), VerdictAttribute::Chain(chain)];
            SetElementAttribute::Data(DataAttribute::Verdict(verdict))
        }));
        attributes.extend(self.comment.as_ref().and_then(|text| {
            let length = u8::try_from(text.len() + 1).ok()?;
            let bytes = [&[COMMENT, length], text.as_bytes(), &[0]].concat();
            Some(SetElementAttribute::UserData(bytes))
        }));
        attributes
    }

    fn read(attributes: Vec<SetElementAttribute>) -> Self {
        let mut element = Self::plain(Vec::new());
        for attribute in attributes {
            match attribute {
                SetElementAttribute::Key(DataAttribute::Value(key)) => element.key = key,
                SetElementAttribute::Data(DataAttribute::Verdict(verdict)) => {
                    element.target = verdict.into_iter().find_map(|attribute| match attribute {
                        VerdictAttribute::Chain(chain) => Some(chain),
                        _ => None,
                    });
                }
                SetElementAttribute::UserData(bytes) => {
                    element.comment = match bytes.as_slice() {
                        [COMMENT, length, text @ ..] => {
                            let text = text.get(..usize::from(*length)).unwrap_or_default();
                            Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_string())
                        }
                        _ => None,
                    };
                }
                _ => {}
            }
        }
        element
    }
}

impl Table {
    /// Carries out all changes or none; see [`commit`].
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn commit(self, changes: Vec<Change>, generation: Option<u32>) -> Result<(), Refusal> {
        commit(self.family, changes, generation)
    }

    /// Makes the table unless it is there, and wakes it if it is dormant.
    pub fn create() -> Change {
        let attributes =
            vec![TableAttribute::Name(TABLE.to_string()), TableAttribute::Flags(TableFlags::empty())];
        Change { message: NfTablesMessage::NewTable(TableMessage { attributes }), flags: NLM_F_CREATE }
    }

    /// Removes the table with all that is in it.
    pub fn delete() -> Change {
        let attributes = vec![TableAttribute::Name(TABLE.to_string())];
        Change { message: NfTablesMessage::DeleteTable(TableMessage { attributes }), flags: 0 }
    }

    /// Makes a set unless it is there. `number` tells the sets of a batch apart.
    pub fn create_set(set: &Set, number: u32) -> Change {
        let mut attributes = vec![
            SetAttribute::Table(TABLE.to_string()),
            SetAttribute::Name(set.name.to_string()),
            SetAttribute::Flags(if set.verdicts { SetFlags::Map } else { SetFlags::empty() }),
            SetAttribute::KeyType(set.key_type),
            SetAttribute::KeyLen(set.key_length),
        ];
        if set.verdicts {
            attributes.extend([SetAttribute::DataType(NFT_DATA_VERDICT), SetAttribute::DataLen(0)]);
        }
        attributes.extend([SetAttribute::Id(number), SetAttribute::UserData(set.shown.to_vec())]);
        Change { message: NfTablesMessage::NewSet(SetMessage { attributes }), flags: NLM_F_CREATE }
    }

    /// Removes a chain without rules.
    pub fn delete_chain(name: &str) -> Change {
        let message = NfTablesMessage::DeleteChain(chain_message(name));
        Change { message, flags: 0 }
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(name: &str) -> Change {
        let message = NfTablesMessage::DeleteRule(rules_of(name));
        Change { message, flags: 0 }
    }

    /// Appends a rule.
    pub fn append(chain: &str, rule: &[Expressions]) -> Change {
        let mut message = rules_of(chain);
        let expressions = rule.iter().cloned().map(ListAttribute::from).collect();
        message.attributes.push(RuleAttribute::Expressions(expressions));
        Change { message: NfTablesMessage::NewRule(message), flags: NLM_F_CREATE | NLM_F_APPEND }
    }

    /// Adds an element. Succeeds where it is there with the same verdict.
    pub fn add(set: &Set, element: &Element) -> Change {
        let message = NfTablesMessage::NewSetElement(elements_of(set, Some(element)));
        Change { message, flags: NLM_F_CREATE }
    }

    /// Removes an element, which must be there.
    pub fn remove(set: &Set, key: Vec<u8>) -> Change {
        let message = NfTablesMessage::DeleteSetElement(elements_of(set, Some(&Element::plain(key))));
        Change { message, flags: 0 }
    }

    /// Whether the table is there, but switched off: no packet meets its chains.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn is_dormant(self) -> Result<bool, Refusal> {
        let attributes = vec![TableAttribute::Name(TABLE.to_string())];
        let answer = ask(self.family, NfTablesMessage::GetTable(TableMessage { attributes }))?;
        let Some(answer) = answer else { return Ok(false) };
        Ok(answer.decode::<TableMessage>()?.attributes.iter().any(|attribute| match attribute {
            TableAttribute::Flags(flags) => flags.contains(TableFlags::Dormant),
            _ => false,
        }))
    }

    /// The chain's own attributes; `None` where table or chain are missing.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn chain(self, name: &str) -> Result<Option<Vec<ChainAttribute>>, Refusal> {
        let answer = ask(self.family, NfTablesMessage::GetChain(chain_message(name)))?;
        answer.map(|answer| Ok(answer.decode::<ChainMessage>()?.attributes)).transpose()
    }

    /// The chain's rules.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn rules(self, chain: &str) -> Result<Vec<Seen>, Refusal> {
        steady(TRIES, || {
            let mut rules = Vec::new();
            dump(self.family, NfTablesMessage::GetRule(rules_of(chain)), |answer| {
                rules.push(answer.members(NFTA_RULE_EXPRESSIONS)?);
                Ok(false)
            })?;
            Ok(rules)
        })
    }

    /// The element with this key; `None` where table, set or element are missing.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn element(self, set: &Set, key: &[u8]) -> Result<Option<Element>, Refusal> {
        let wanted = Element::plain(key.to_vec());
        let answer = ask(self.family, NfTablesMessage::GetSetElement(elements_of(set, Some(&wanted))))?;
        let elements = answer.map(|answer| read_elements(&answer)).transpose()?;
        Ok(elements.and_then(|elements| elements.into_iter().next()))
    }

    /// All elements of the set; none where table or set are missing.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn all_elements(self, set: &Set) -> Result<Vec<Element>, Refusal> {
        steady(TRIES, || {
            let mut all = Vec::new();
            self.elements(set, |element| {
                all.push(element);
                false
            })?;
            Ok(all)
        })
    }

    /// Shows the set's elements to `enough` until it says so; false where table or set are missing.
    ///
    /// # Errors
    /// The kernel's refusal; EINTR when the set changed while its parts were read.
    pub fn elements(self, set: &Set, mut enough: impl FnMut(Element) -> bool) -> Result<bool, Refusal> {
        let question = NfTablesMessage::GetSetElement(elements_of(set, None));
        let outcome =
            dump(self.family, question, |answer| Ok(read_elements(&answer)?.into_iter().any(&mut enough)));
        match outcome {
            Err(refusal) if is_absence(&refusal) => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }
}

fn chain_message(name: &str) -> ChainMessage {
    let attributes = vec![ChainAttribute::Table(TABLE.to_string()), ChainAttribute::Name(name.to_string())];
    ChainMessage { attributes }
}

fn rules_of(chain: &str) -> RuleMessage {
    let attributes = vec![RuleAttribute::Table(TABLE.to_string()), RuleAttribute::Chain(chain.to_string())];
    RuleMessage { attributes }
}

fn elements_of(set: &Set, element: Option<&Element>) -> SetElementMessage {
    let mut attributes =
        vec![SetElementList::Table(TABLE.to_string()), SetElementList::Set(set.name.to_string())];
    attributes.extend(
        element.map(|element| SetElementList::Elements(vec![ListAttribute::Element(element.attributes())])),
    );
    SetElementMessage { attributes }
}

fn read_elements(answer: &Answer) -> Result<Vec<Element>, Refusal> {
    let elements =
        answer.members(NFTA_SET_ELEM_LIST_ELEMENTS)?.into_iter().filter_map(|member| match member {
            ListAttribute::Element(attributes) => Some(Element::read(attributes)),
            _ => None,
        });
    Ok(elements.collect())
}
