//! The page that leads to all reports.
use super::ladder::Ladder;
use super::record::{Record, State};
use super::rungs::Rung;
use crate::checkpoint::write_atomic;
use crate::error::Result;
use crate::report::{self, escaped};
use serde_json::Value;
use std::fmt::Write;

pub(super) const PAGE: &str = "index.html";

const STYLE: &str = "\
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 0 1rem .6rem; overflow: hidden }
.card h2 { margin: .8rem 0 .2rem } .card table { font-size: .85rem; margin: .4rem 0 }
.card td, .card th { padding: .1rem .3rem }
.card img { height: 11rem; width: 100%; object-fit: contain } .card p { margin: .3rem 0 }
.small { font-size: .85rem; opacity: .8 }
.card td:first-child, .card th:first-child { white-space: normal } .off, code { overflow-wrap: anywhere }
code { font-size: .8rem } summary { font-size: .85rem; opacity: .8; cursor: pointer }
";

/// Writes `index.html` for what there is of the rungs.
///
/// # Errors
/// If it cannot be written, or a record is damaged.
pub(super) fn write(ladder: &Ladder, rungs: &[Rung]) -> Result<()> {
    let data = if ladder.sources.made_up {
        "The data are made up by this command: give --data for the book's own."
    } else {
        "The data are the book's."
    };
    let quick = if ladder.quick { " A quick run: models are worse than they could be." } else { "" };
    let sources = "Numbers from a <em>notebook</em> are printed in the book's repository; a <em>reference</em> is computed \
                   another way (numpy, scipy, or a formula) and is not printed there.";
    let mut body = format!("<p>{data}{quick} {sources}</p>\n<div class=\"cards\">\n");
    for rung in rungs {
        card(&mut body, ladder, rung)?;
    }
    body.push_str("</div>\n");
    let style = format!("{}{STYLE}", report::STYLE);
    write_atomic(&ladder.out.join(PAGE), report::shell("The whole ladder", &style, &body).as_bytes())
}

fn card(body: &mut String, ladder: &Ladder, rung: &Rung) -> Result<()> {
    let folder = ladder.out.join(rung.key);
    let (key, title, steps) = (rung.key, escaped(rung.title), escaped(rung.steps));
    _ = writeln!(body, "<div class=\"card\" id=\"{key}\">\n<h2>{title}</h2>\n<p class=\"small\">Step {steps}</p>");
    _ = writeln!(body, "<p>{}</p>", escaped(rung.about));
    let files: Vec<String> = rung.files().iter().map(|f| format!("<code>{}</code>", escaped(f))).collect();
    _ = writeln!(body, "<p class=\"small\">In {}</p>", files.join(", "));
    let record = Record::load(&folder)?;
    match record.as_ref().map(|r| &r.state) {
        None => body.push_str("<p class=\"small\">Not run.</p>\n"),
        Some(State::Begun) => body.push_str("<p class=\"small\">Not finished.</p>\n"),
        Some(State::Failed(what)) => _ = writeln!(body, "<p class=\"off\">Failed: {}</p>", escaped(what)),
        Some(State::Done) => {
            let text = std::fs::read_to_string(folder.join(report::RECORD)).unwrap_or_default();
            figures(body, key, &serde_json::from_str(&text).unwrap_or_default());
        }
    }
    if let Some(record) = record {
        if record.state == State::Done {
            let mut links = vec![format!("<a href=\"{key}/{}\">report</a>", report::PAGE)];
            links.extend(record.weights.iter().map(|w| format!("<a href=\"{key}/{0}\">{0}</a>", escaped(w))));
            _ = writeln!(body, "<p>{} <span class=\"small\">({:.1} s)</span></p>", links.join(" · "), record.seconds);
        }
        if !record.commands.is_empty() {
            let lines: Vec<String> =
                record.commands.iter().map(|c| format!("<p><code>{}</code></p>", escaped(c))).collect();
            _ = writeln!(body, "<details><summary>As run</summary>{}</details>", lines.join("\n"));
        }
    }
    body.push_str("</div>\n");
    Ok(())
}

/// The first figure of a report, and its key numbers beside those that are expected.
fn figures(body: &mut String, key: &str, record: &Value) {
    let parts = record["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(file) = parts.iter().find_map(|p| p["file"].as_str()) {
        let (file, title) = (escaped(file), escaped(record["title"].as_str().unwrap_or_default()));
        _ = writeln!(body, "<a href=\"{key}/{}\"><img src=\"{key}/{file}\" alt=\"{title}\"></a>", report::PAGE);
    }
    let rows = parts.iter().filter_map(|p| p["rows"].as_array()).flatten().filter(|r| r["key"] == true);
    let rows: Vec<&Value> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let any = rows.iter().any(|r| r["expected"].is_number());
    let names = "<table><tr><th></th><th>ours</th><th>expected</th><th>from</th></tr>\n";
    body.push_str(if any { names } else { "<table>\n" });
    for row in rows {
        let text = |key: &str| row[key].as_f64().map_or_else(|| "–".to_owned(), |v| format!("{}", Short(v)));
        let off = if row["holds"] == false { " class=\"off\"" } else { "" };
        _ = write!(body, "<tr{off}><td>{}</td><td>{}</td>", escaped(row["name"].as_str().unwrap_or("")), text("ours"));
        if any {
            let source = row["source"].as_str().unwrap_or("–");
            _ = write!(body, "<td>{}</td><td>{}</td>", text("expected"), escaped(source));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</table>\n");
}

/// A number in six significant digits or as a whole one.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let v = self.0;
        if v == v.round() && v.abs() < 1e9 {
            return write!(f, "{v}");
        }
        let rounded: f64 = format!("{v:.5e}").parse().unwrap_or(v);
        f.write_str(&report::number(rounded))
    }
}
