//! The expressions that our rules consist of, and whether a rule that the kernel shows equals ours.

use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute, Lookup, Meta,
    MetaKey, Operator, Payload, Register, Verdict, VerdictAttribute,
};

/// NFT_LOOKUP_F_INV (include/uapi/linux/netfilter/nf_tables.h): matches what is not in the set.
const NFT_LOOKUP_F_INV: u32 = 1;
/// NF_DROP (include/uapi/linux/netfilter.h).
const NF_DROP: u32 = 0;

/// One rule: its expressions, in order.
pub type Rule = Vec<Expressions>;

/// A rule as the kernel shows it.
pub type Seen = Vec<ListAttribute<ExpressionAttribute>>;

/// A header that payload is counted from (`enum nft_payload_bases`).
#[derive(Debug, Clone, Copy)]
pub enum Base {
    /// The Ethernet header.
    Link = 0,
    /// The IP header.
    Network = 1,
}

/// Loads a fact about the packet.
pub fn meta(key: MetaKey, into: Register) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(into)])
}

/// Loads bytes of a header.
pub fn payload(base: Base, offset: u32, length: u32, into: Register) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(into),
        Payload::Base(base as u32),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

/// Goes on only where the register's comparison with `value` says so.
pub fn compare(register: Register, operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(register),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}

/// Keeps the register's bits that are set in `mask`.
pub fn mask(register: Register, mask: Vec<u8>) -> Expressions {
    let nothing = vec![0; mask.len()];
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(register),
        Bitwise::DestinationRegister(register),
        Bitwise::Length(u32::try_from(mask.len()).unwrap_or(u32::MAX)),
        Bitwise::Mask(DataAttribute::Value(mask)),
        Bitwise::Xor(DataAttribute::Value(nothing)),
    ])
}

/// Goes on only where the register's value is in the set.
pub fn within(set: &str, register: Register) -> Expressions {
    Expressions::Lookup(vec![
        Lookup::Set(set.to_string()),
        Lookup::SourceRegister(register),
        Lookup::Flags(0),
    ])
}

/// Goes on only where the register's value is not in the set.
pub fn outside(set: &str, register: Register) -> Expressions {
    Expressions::Lookup(vec![
        Lookup::Set(set.to_string()),
        Lookup::SourceRegister(register),
        Lookup::Flags(NFT_LOOKUP_F_INV),
    ])
}

/// Does what the verdict map says about the register's value.
pub fn judge(map: &str, register: Register) -> Expressions {
    Expressions::Lookup(vec![
        Lookup::Set(map.to_string()),
        Lookup::SourceRegister(register),
        Lookup::DestinationRegister(Register::Verdict),
        Lookup::Flags(0),
    ])
}

/// Drops the packet.
pub fn discard() -> Expressions {
    let verdict = vec![VerdictAttribute::Code(Verdict::Other(NF_DROP))];
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(verdict)),
    ])
}

/// Rewrites the source address to that of the interface by which the packet leaves.
pub fn masquerade() -> Expressions {
    Expressions::Other { expression_type: "masq".to_string(), attributes: Vec::new() }
}

/// Whether the rule that the kernel shows is `wanted`. The kernel may add attributes with defaults.
pub fn same(seen: &Seen, wanted: &[Expressions]) -> bool {
    let seen: Vec<_> = expressions(seen).collect();
    seen.len() == wanted.len() && seen.into_iter().zip(wanted).all(|(seen, wanted)| covers(seen, wanted))
}

/// The values that the rule compares something with by this operator.
pub fn compared(seen: &Seen, by: Operator) -> impl Iterator<Item = &[u8]> {
    expressions(seen).filter_map(move |expression| match expression {
        Some(Expressions::Cmp(attributes)) if attributes.contains(&Cmp::Op(by)) => {
            attributes.iter().find_map(|attribute| match attribute {
                Cmp::Data(DataAttribute::Value(value)) => Some(value.as_slice()),
                _ => None,
            })
        }
        _ => None,
    })
}

/// The rule's expressions; `None` for an expression that shows no data.
fn expressions(rule: &Seen) -> impl Iterator<Item = Option<&Expressions>> {
    rule.iter().map(|expression| match expression {
        ListAttribute::Element(attributes) => attributes.iter().find_map(|attribute| match attribute {
            ExpressionAttribute::Data(data) => Some(data),
            _ => None,
        }),
        _ => None,
    })
}

fn covers(seen: Option<&Expressions>, wanted: &Expressions) -> bool {
    match (seen, wanted) {
        (Some(Expressions::Bitwise(seen)), Expressions::Bitwise(wanted)) => contains(seen, wanted),
        (Some(Expressions::Cmp(seen)), Expressions::Cmp(wanted)) => contains(seen, wanted),
        (Some(Expressions::Immediate(seen)), Expressions::Immediate(wanted)) => contains(seen, wanted),
        (Some(Expressions::Lookup(seen)), Expressions::Lookup(wanted)) => contains(seen, wanted),
        (Some(Expressions::Meta(seen)), Expressions::Meta(wanted)) => contains(seen, wanted),
        (Some(Expressions::Payload(seen)), Expressions::Payload(wanted)) => contains(seen, wanted),
        (
            Some(Expressions::Other { expression_type: seen, .. }),
            Expressions::Other { expression_type: wanted, .. },
        ) => seen == wanted,
        _ => false,
    }
}

fn contains<T: PartialEq>(seen: &[T], wanted: &[T]) -> bool {
    wanted.iter().all(|attribute| seen.contains(attribute))
}
