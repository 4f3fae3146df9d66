//! Which word somebody meant who wrote another one.

use strsim::osa_distance;

/// As many letters of a word are looked at: files are not to be trusted with more.
const WORD_MAX: usize = 64;

/// The candidate that is nearest to `word`, where it is near enough to be what was meant: other letter case or separators,
/// or a slip or two. A word that is a candidate itself means that one, so there is none.
pub fn meant<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = letters(word);
    let mut nearest = None;
    for candidate in candidates {
        if candidate == word {
            return None;
        }
        let wanted = letters(candidate);
        let allowed = match wanted.len() {
            0..4 => 0,
            4..7 => 1,
            _ => 2,
        };
        let distance = osa_distance(&written, &wanted);
        if distance <= allowed && nearest.is_none_or(|(least, _)| distance < least) {
            nearest = Some((distance, candidate));
        }
    }
    nearest.map(|(_, candidate)| candidate)
}

/// As [`meant`] for names that people make up: `lan-a` and `lan-b`, `lan1` and `lan2`, or `lan` and `wan` are two names, not a
/// slip.
pub fn meant_name<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = letters(name);
    let is_slip = |candidate: &&str| {
        let wanted = letters(candidate);
        written == wanted
            || (osa_distance(&written, &wanted) <= 1
                && written.len().min(wanted.len()) > 2
                && !told_apart(name, candidate))
    };
    candidates.into_iter().filter(|candidate| *candidate != name).find(is_slip)
}

/// Whether two names of one pattern differ in a digit, or in a part that is too short for a slip to be likely.
fn told_apart(one: &str, other: &str) -> bool {
    let alphabetic = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
    let parts = |text: &str| text.split(|c: char| !c.is_alphanumeric()).map(letters).collect::<Vec<_>>();
    let replaced = |(one, other): (&String, &String)| {
        let sorted = |word: &str| {
            let mut letters: Vec<char> = word.chars().collect();
            letters.sort_unstable();
            letters
        };
        one.len() == other.len() && one.len() < 6 && sorted(one) != sorted(other)
    };
    alphabetic(one) == alphabetic(other) || parts(one).iter().zip(&parts(other)).any(replaced)
}

/// A word's letters and digits, small: case and separators are what people confuse first.
fn letters(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(WORD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_a_word_are_known() {
        let kinds = ["NetworkAttachmentDefinition", "VirtualMachine", "Pod"];
        for (word, wanted) in [
            ("NetworkAttachementDefinition", Some("NetworkAttachmentDefinition")),
            ("virtualMachine", Some("VirtualMachine")),
            ("VirtualMachien", Some("VirtualMachine")),
            ("pod", Some("Pod")),
            ("Prod", None),
            ("VirtualMachine", None),
            ("VirtualMachineClone", None),
            ("", None),
        ] {
            assert_eq!(meant(word, kinds), wanted, "{word}");
        }
    }

    #[test]
    fn names_that_differ_on_purpose_are_no_slips() {
        for (word, name, near) in [
            ("lna", "lan", true),
            ("lan.a", "lan-a", true),
            ("storag", "storage", true),
            ("lan-a", "lan-b", false),
            ("lan1", "lan2", false),
            ("vlan100", "vlan101", false),
            ("lan", "wan", false),
            ("lan", "storage", false),
        ] {
            assert_eq!(meant_name(word, [name]).is_some(), near, "{word} {name}");
        }
    }
}
