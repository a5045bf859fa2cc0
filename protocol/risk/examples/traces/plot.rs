//! Cost over the floor by policy, on a logarithmic scale, as an SVG.

use crate::Row;
use std::fmt::Write;

/// Bars for each case.
pub fn svg(rows: &[Row]) -> String {
    const BAR: f64 = 16.0;
    const LEFT: f64 = 220.0;
    const DECADE: f64 = 180.0;
    let shown: Vec<&Row> = rows.iter().filter(|row| row.tally.pairs > 0.0).collect();
    let height = BAR * shown.len() as f64 + 60.0;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">"
    );
    let _ = writeln!(out, "<text x=\"10\" y=\"18\" font-size=\"13\">Repair traffic over its floor, by policy</text>");
    // From a tenth to a hundred times the floor.
    let place = |times: f64| LEFT + DECADE * (times.clamp(0.1, 100.0).log10() + 1.0);
    for mark in [0.1, 1.0, 10.0, 100.0] {
        let x = place(mark);
        let _ = writeln!(out, "<line x1=\"{x}\" x2=\"{x}\" y1=\"30\" y2=\"{}\" stroke=\"#bbb\"/>", height - 20.0);
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{mark}</text>", height - 6.0);
    }
    for (at, row) in shown.iter().enumerate() {
        let y = 34.0 + BAR * at as f64;
        let name = format!("{} {}, {}", row.nodes, row.profile, row.policy.name());
        let colour = if matches!(row.policy, crate::Policy::Risk(_)) { "#1a7f5a" } else { "#9aa4b2" };
        let width = place(row.over_floor()) - LEFT;
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>", LEFT - 6.0, y + 11.0);
        let _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            BAR - 4.0
        );
        let _ =
            writeln!(out, "<text x=\"{:.1}\" y=\"{}\">{:.2}</text>", LEFT + width + 4.0, y + 11.0, row.over_floor());
    }
    out.push_str("</svg>\n");
    out
}
