//! The page: one file of HTML with its style, and the figures beside it.
use super::value::Comparison;
use super::{Part, Report};
use std::fmt::Write;

/// The style of all pages, light or dark as the reader's system is.
pub(crate) const STYLE: &str = "\
:root { color-scheme: light dark; --line: #8884; --faint: #8882; --bad: #c22 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
figure { margin: 1.6rem 0 } figcaption { opacity: .75; font-size: .9rem }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px }
.wide { overflow-x: auto } table { border-collapse: collapse; margin: 1.2rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem }
th, td { padding: .2rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: .2rem } thead th { background: var(--faint) }
.note { border-left: 4px solid #e90; padding: .3rem .8rem; background: var(--faint) }
.off { color: var(--bad); font-weight: 600 }
";

/// Text as HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A whole page around `body`, which is HTML.
pub(crate) fn shell(title: &str, style: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

fn table(caption: &str, names: &[&str], rows: &[(Vec<String>, bool)]) -> String {
    let mut out = format!("<div class=\"wide\"><table>\n<caption>{}</caption>\n<thead><tr>", escaped(caption));
    for name in names {
        _ = write!(out, "<th>{}</th>", escaped(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (cells, off) in rows {
        out.push_str(if *off { "<tr class=\"off\">" } else { "<tr>" });
        for cell in cells {
            _ = write!(out, "<td>{}</td>", escaped(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// A table of comparisons; rows that are not within what is allowed are marked. Without a single number that is expected,
/// its columns are left out.
pub(crate) fn comparisons(caption: &str, rows: &[Comparison]) -> String {
    let any = rows.iter().any(|r| r.expected.is_some());
    let names: &[&str] = if any { &["", "ours", "expected", "from", "relative difference"] } else { &["", "value"] };
    let rows: Vec<(Vec<String>, bool)> = rows
        .iter()
        .map(|row| {
            let off = row.holds() == Some(false);
            let mut cells = vec![row.name.clone()];
            cells.extend(row.texts().into_iter().take(if any { 4 } else { 1 }));
            if off && let Some(last) = cells.last_mut() {
                last.push_str(" (more than allowed)");
            }
            (cells, off)
        })
        .collect();
    table(caption, names, &rows)
}

/// A page with a remark more below its title.
pub(super) fn noted(page: &str, text: &str) -> Option<String> {
    let (head, rest) = page.split_once("</h1>\n")?;
    Some(format!("{head}</h1>\n<p class=\"note\">{}</p>\n{rest}", escaped(text)))
}

/// The page of a report.
pub(super) fn page(report: &Report) -> String {
    let mut body = String::new();
    for part in &report.parts {
        match part {
            Part::Heading(text) => _ = writeln!(body, "<h2>{}</h2>", escaped(text)),
            Part::Text(text) => _ = writeln!(body, "<p>{}</p>", escaped(text)),
            Part::Comparisons { caption, rows } => body.push_str(&comparisons(caption, rows)),
            Part::Columns { caption, names, rows } => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let rows: Vec<_> = rows.iter().map(|r| (r.clone(), false)).collect();
                body.push_str(&table(caption, &names, &rows));
            }
            Part::Figure { file, caption, .. } => {
                let (file, caption) = (escaped(file), escaped(caption));
                _ = writeln!(
                    body,
                    "<figure><img src=\"{file}\" alt=\"{caption}\"><figcaption>{caption}</figcaption></figure>"
                );
            }
        }
    }
    shell(&report.title, STYLE, &body)
}
