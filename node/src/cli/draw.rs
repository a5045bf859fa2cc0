//! The ruler and tables.

use super::output::{Output, Tone};
use comfy_table::presets::NOTHING;
use comfy_table::{Color, ContentArrangement, Table};
use floe_api::model::{Freshness, Margin, Ruler, Standing, Verdict};
use floe_types::Epoch;

/// The widest ruler in characters: a network of more shards is drawn to scale.
const RULER_WIDTH_MAX: u16 = 50;

/// The ruler with its lines, four rows with the margin.
pub(super) fn ruler(ruler: &Ruler, margin: Option<&Margin>) -> String {
    let lines = ruler.lines;
    let width = lines.total.min(RULER_WIDTH_MAX);
    let scaled = |shards: u16| usize::from(width) * usize::from(shards) / usize::from(lines.total.max(1));
    let (held, answered) = (scaled(ruler.held), scaled(ruler.held.saturating_add(ruler.absent)));
    let bar = format!(
        "{}{}{}",
        "█".repeat(held),
        "▒".repeat(answered.saturating_sub(held)),
        "░".repeat(usize::from(width).saturating_sub(answered)),
    );
    let (held, absent, uncovered) = (ruler.held, ruler.absent, ruler.uncovered);
    let mut text =
        format!("shards  {bar}  {held} held · {absent} absent · {uncovered} uncovered   of {}\n", lines.total);
    let mut marks = vec![
        (0, "0".to_owned()),
        (scaled(lines.read), format!("read {}", lines.read)),
        (scaled(lines.decide), format!("decide {}", lines.decide)),
    ];
    marks.extend(lines.repair.map(|repair| (scaled(repair), format!("repair {repair}"))));
    marks.sort_by_key(|(at, _)| *at);
    let (mut ticks, mut labels) = (String::new(), String::new());
    for (at, label) in &marks {
        // Lines that fall together have one tick.
        if ticks.is_empty() || ticks.len() <= *at {
            pad_to(&mut ticks, *at);
            ticks.push('|');
        }
        let start = (at.saturating_sub(2)).max(if labels.is_empty() { 0 } else { labels.len() + 2 });
        pad_to(&mut labels, start);
        labels.push_str(label);
    }
    text.push_str(&format!("        {ticks}\n        {labels}"));
    if let Some(margin) = margin {
        text.push_str(&format!("\nmargin  {}", margin_words(margin)));
    }
    text
}

fn pad_to(text: &mut String, column: usize) {
    let missing = column.saturating_sub(text.chars().count());
    text.push_str(&" ".repeat(missing));
}

/// `18 shards = any 4 of 7 nodes (or any 1 of 3 failure domains)`.
pub(super) fn margin_words(margin: &Margin) -> String {
    let domains = match (margin.domains, margin.of_domains) {
        (Some(domains), Some(of)) => format!(" (or any {domains} of {of} failure domains)"),
        _ => String::new(),
    };
    format!("{} shards = any {} of {} nodes{domains}", margin.shards, margin.nodes, margin.of_nodes)
}

/// What is beside the ruler of a blob that is not whole: when repair begins if nothing changes.
pub(super) fn outlook(begins: Option<Epoch>) -> String {
    match begins {
        Some(epoch) => format!("if nothing changes, repair starts at epoch {epoch}"),
        None => "no repair before exclusion".to_owned(),
    }
}

/// A verdict in capitals, in its colour.
pub(super) fn verdict(verdict: Verdict, output: &Output) -> String {
    output.paint(tone_of(verdict), &verdict.word().to_uppercase())
}

fn tone_of(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Intact => Tone::Good,
        Verdict::Tolerated | Verdict::Repairing | Verdict::Pending | Verdict::Undecided => Tone::Thin,
        Verdict::Unavailable | Verdict::Lost | Verdict::Invalid => Tone::Bad,
        Verdict::Forgotten => Tone::Faint,
    }
}

/// A verdict with its epoch, never bare: `INTACT in epoch 8 (no newer decision)`.
pub(super) fn standing(standing: &Standing, output: &Output) -> String {
    let mut text = verdict(standing.verdict, output);
    if let Some(epoch) = standing.epoch {
        text.push_str(&format!(" in epoch {epoch}"));
    }
    if standing.freshness == Freshness::NoNewerDecision && standing.verdict != Verdict::Pending {
        text.push_str(" (no newer decision)");
    }
    if let Some(last) = &standing.last {
        text.push_str(&format!(", last {} in epoch {}", verdict(last.verdict, output), last.epoch));
    }
    text
}

/// A cell of a table, with its colour.
pub(super) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.into(), tone: None }
    }
}

impl Cell {
    pub(super) fn toned(tone: Tone, text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone: Some(tone) }
    }

    pub(super) fn verdict(verdict: Verdict) -> Cell {
        Cell::toned(tone_of(verdict), verdict.word().to_uppercase())
    }

    pub(super) fn standing(standing: &Standing, output: &Output) -> Cell {
        Cell::toned(tone_of(standing.verdict), self::standing(standing, &output.plain()))
    }
}

/// A table without rules, as wide as it needs.
pub(super) fn table(output: &Output, head: &[&str], rows: Vec<Vec<Cell>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if output.is_colored() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(head.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| {
            let drawn = comfy_table::Cell::new(cell.text);
            match cell.tone {
                None => drawn,
                Some(Tone::Good) => drawn.fg(Color::DarkGreen),
                Some(Tone::Thin) => drawn.fg(Color::DarkYellow),
                Some(Tone::Bad) => drawn.fg(Color::DarkRed),
                Some(Tone::Faint) => drawn.fg(Color::DarkGrey),
            }
        }));
    }
    // Every cell is padded by one space; the first needs none.
    let trimmed = |line: String| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned();
    table.lines().map(trimmed).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_api::model::Lines;

    #[test]
    fn the_ruler_is_that_of_the_contract() {
        let drawn = ruler(&Ruler::new(20, 4, Lines::of(28)), Some(&Margin::of(&[4; 5], 10)));
        let wanted = "\
shards  ████████████████████▒▒▒▒░░░░  20 held · 4 absent · 4 uncovered   of 28
        |         |        |
        0       read 10  decide 19
margin  10 shards = any 2 of 5 nodes";
        assert_eq!(drawn, wanted);
        let lines = Lines::of(28).with_repair(Some(20));
        let drawn = ruler(&Ruler::new(20, 4, lines), Some(&Margin::of(&[4; 5], 10).with_domains(1, 3)));
        let wanted = "\
shards  ████████████████████▒▒▒▒░░░░  20 held · 4 absent · 4 uncovered   of 28
        |         |        ||
        0       read 10  decide 19  repair 20
margin  10 shards = any 2 of 5 nodes (or any 1 of 3 failure domains)";
        assert_eq!(drawn, wanted);
        // A line below the one for deciding comes before it, and one at the same place needs no tick of its own.
        let drawn = ruler(&Ruler::new(28, 0, Lines::of(28).with_repair(Some(12))), None);
        assert!(drawn.ends_with("0       read 10  repair 12  decide 19"), "{drawn}");
        let drawn = ruler(&Ruler::new(28, 0, Lines::of(28).with_repair(Some(19))), None);
        assert_eq!(drawn.lines().nth(1).unwrap(), "        |         |        |");
    }

    #[test]
    fn a_large_network_is_drawn_to_scale() {
        let drawn = ruler(&Ruler::new(1_024, 0, Lines::of(1_024)), None);
        assert_eq!(drawn.lines().next().unwrap().matches('█').count(), 50);
        let drawn = ruler(&Ruler::new(0, 0, Lines::of(4)), None);
        assert!(drawn.starts_with("shards  ░░░░  0 held"), "{drawn}");
    }

    #[test]
    fn a_table_lines_up() {
        let output = Output::plain_text();
        let rows = vec![vec![Cell::from("node-1"), Cell::verdict(Verdict::Intact), Cell::from("4")]];
        let text = table(&output, &["name", "verdict", "n"], rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].rfind('n'), lines[1].find('4'));
        assert!(!text.contains('\u{1b}'));
    }
}
