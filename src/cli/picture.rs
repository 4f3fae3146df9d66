//! The way of question and answer as a picture of three lines for a person: where each was seen, and what dropped it.

use super::output::{Palette, Tone, harmless};
use crate::probe::way::{Hop, Seen, Way};

/// What a terminal has at least.
const WIDTH: usize = 80;
/// Where the ways begin.
const INDENT: usize = 12;

/// Draws it.
pub fn draw(way: &Way, palette: Palette) -> String {
    let (question, question_ends) = leg("question", &way.hops, |hop| hop.question, true);
    let (answer, answer_ends) = leg("answer", &way.hops, |hop| hop.answer, false);
    let note = |ends: Option<usize>| match (&way.dropper, ends) {
        (Some(dropper), Some(column)) => beside(dropper, column, palette),
        _ => String::new(),
    };
    let mut text = format!("{}\n{}", paint(&question, question_ends, palette), note(question_ends));
    // What is lost on its way out has no answer to lose.
    let answer_note = if question_ends.is_none() { note(answer_ends) } else { String::new() };
    text += &format!("{}\n{answer_note}", paint(&answer, answer_ends, palette));
    if way.came_back {
        text += &beside(&format!("the question comes back by {}", way.hops[2].name), INDENT, palette);
    }
    text
}

/// One way in a line, and the column at which it ends too early.
fn leg(title: &str, hops: &[Hop; 4], seen: impl Fn(&Hop) -> Seen, outward: bool) -> (String, Option<usize>) {
    let mut line = format!("  {title:8}  ");
    let mut ends = None;
    for (position, hop) in hops.iter().enumerate() {
        line += &harmless(&hop.name);
        let Some(next) = hops.get(position + 1) else { break };
        let (from, to) = if outward { (hop, next) } else { (next, hop) };
        let column = line.chars().count() + 1;
        let arrow = match (seen(from), seen(to), outward) {
            (Seen::Yes, Seen::Yes, true) => "--->",
            (Seen::Yes, Seen::Yes, false) => "<---",
            // What the last hop has seen goes on to where no listener is.
            (Seen::Yes, Seen::Unknown, true) if next.at == "lan" => "--->",
            (Seen::Yes, Seen::Unknown | Seen::No, true) => {
                ends = ends.or(Some(column + 2));
                "--X "
            }
            (Seen::Yes, Seen::Unknown | Seen::No, false) => {
                ends = ends.or(Some(column + 1));
                " X--"
            }
            _ => "    ",
        };
        line += &format!(" {arrow} ");
    }
    if !outward && hops[2..].iter().all(|hop| seen(hop) != Seen::Yes) {
        line += if seen(&hops[2]) == Seen::No { "  (none seen)" } else { "  (not listened to)" };
    }
    (line.trim_end().to_string(), ends)
}

/// The line with its mark in colour.
fn paint(line: &str, mark: Option<usize>, palette: Palette) -> String {
    let Some(column) = mark else { return line.to_string() };
    let before: String = line.chars().take(column).collect();
    let behind: String = line.chars().skip(column + 1).collect();
    format!("{before}{}{behind}", palette.paint(Tone::Bad, "X"))
}

/// A note below the column that it is about, in as many lines as it needs.
fn beside(note: &str, column: usize, palette: Palette) -> String {
    // Where little room is left to the right of the mark, the note begins further to the left.
    let indent = column.min(WIDTH / 3);
    let mark = format!("{}^", " ".repeat(column));
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in harmless(note).split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    let blank = " ".repeat(indent);
    let lines = lines.iter().map(|line| format!("{blank}{}\n", palette.paint(Tone::Bad, line)));
    std::iter::once(format!("{}\n", palette.paint(Tone::Bad, mark))).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(question: [Seen; 4], answer: [Seen; 4], dropper: Option<&str>) -> Way {
        let mut way = Way::answered("br-external", "ens192");
        for (hop, (question, answer)) in way.hops.iter_mut().zip(question.into_iter().zip(answer)) {
            (hop.question, hop.answer) = (question, answer);
        }
        Way { dropper: dropper.map(Into::into), ..way }
    }

    fn drawn(way: &Way) -> String {
        let text = draw(way, Palette::plain());
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.is_ascii());
        text
    }

    use Seen::{No, Unknown, Yes};

    #[test]
    fn an_answered_way_is_whole() {
        let text = drawn(&Way::answered("br0", "ens192"));
        assert_eq!(
            text,
            "  question  port ---> br0 ---> ens192 ---> LAN\n  answer    port <--- br0 <--- ens192 <--- LAN\n"
        );
    }

    #[test]
    fn a_lost_answer_ends_where_it_was_seen_last() {
        let dropper = "nftables hook ingress of table netdev guard chain c";
        let text = drawn(&way([Yes; 4], [No, Unknown, Yes, Yes], Some(dropper)));
        assert_eq!(
            text,
            "  question  port ---> br-external ---> ens192 ---> LAN\n  answer    port      br-external  X-- ens192 <--- LAN\n                                   ^\n                          nftables hook ingress of table netdev guard chain c\n"
        );
    }

    #[test]
    fn a_lost_question_ends_at_the_port() {
        let text = drawn(&way([Yes, Unknown, No, Unknown], [No, No, No, Unknown], Some("tc filter u32")));
        assert_eq!(
            text,
            "  question  port --X  br-external      ens192      LAN\n                   ^\n                   tc filter u32\n  answer    port      br-external      ens192      LAN  (none seen)\n"
        );
    }

    #[test]
    fn long_notes_and_names_stay_within_80_columns() {
        let mut lost = way([Yes; 4], [No, Unknown, Yes, Yes], Some(&"a long word or two ".repeat(12)));
        lost.hops[1].name = "br-123456789012".into();
        lost.hops[2].name = "ens123456789012 (+1)".into();
        drawn(&lost);
        let silent = way([Yes, Yes, Yes, Unknown], [No, No, No, Unknown], None);
        assert!(drawn(&silent).contains("ens192 ---> LAN\n"));
    }
}
