//! The record: the report for programs.
use super::value::Comparison;
use super::{Part, Report};
use serde_json::{Value, json};

/// NaN and infinities, which JSON has not, are null.
fn comparison(c: &Comparison) -> Value {
    json!({
        "name": c.name, "ours": c.ours, "expected": c.expected.map(|e| e.0), "source": c.expected.map(|e| e.1.name()),
        "difference": c.difference(),
        "tolerance": c.tolerance, "holds": c.holds(), "key": c.key,
    })
}

/// A record with a remark more.
pub(super) fn noted(record: &str, text: &str) -> Option<String> {
    let mut record: Value = serde_json::from_str(record).ok()?;
    let notes = record.as_object_mut()?.entry("notes").or_insert_with(|| json!([]));
    notes.as_array_mut()?.push(json!(text));
    Some(format!("{record:#}\n"))
}

pub(super) fn record(report: &Report) -> String {
    let parts: Vec<Value> = report
        .parts
        .iter()
        .map(|part| match part {
            Part::Heading(text) => json!({"kind": "heading", "text": text}),
            Part::Text(text) => json!({"kind": "text", "text": text}),
            Part::Comparisons { caption, rows } => {
                let rows: Vec<Value> = rows.iter().map(comparison).collect();
                json!({"kind": "comparisons", "caption": caption, "rows": rows})
            }
            Part::Columns { caption, names, rows } => {
                json!({"kind": "table", "caption": caption, "columns": names, "rows": rows})
            }
            Part::Figure { file, caption, .. } => json!({"kind": "figure", "file": file, "caption": caption}),
        })
        .collect();
    let record = json!({"title": report.title, "parts": parts});
    // The alternate form is indented.
    format!("{record:#}\n")
}
