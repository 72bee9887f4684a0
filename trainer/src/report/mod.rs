//! Reports: what a system found, in words, numbers beside those that are expected, and figures.
//!
//! A [`Report`] is written as a folder: `report.html` to read, its figures as PNG, and `report.json` for programs.
mod html;
mod json;
mod value;

pub(crate) use html::{STYLE, escaped, shell};
pub use value::{Comparison, Source, number};

use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use crate::plot::Figure;
use std::path::Path;

/// A report under construction, from top to bottom.
///
/// ```no_run
/// use nijimi_trainer::{plot::Chart, report::{Comparison, Report}};
/// # fn main() -> Result<(), nijimi_trainer::error::Error> {
/// let mut report = Report::new("Heights");
/// report.text("A normal distribution, fitted to heights.");
/// report.table("Maximum likelihood", [Comparison::new("mean (cm)", 172.7025).reference(172.70250853667997).key()]);
/// report.figure("curve", "A curve", &Chart::new("").line([(0.0, 1.0), (1.0, 2.0)], ""))?;
/// report.write(std::path::Path::new("heights-report"))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Heading(String),
    Text(String),
    Comparisons { caption: String, rows: Vec<Comparison> },
    Columns { caption: String, names: Vec<String>, rows: Vec<Vec<String>> },
    Figure { file: String, caption: String, png: Vec<u8> },
}

/// The page's name in a report's folder.
pub const PAGE: &str = "report.html";
/// The name of the form for programs.
pub const RECORD: &str = "report.json";

impl Report {
    /// A report with nothing in it yet.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), parts: Vec::new() }
    }

    /// A heading.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Heading(text.into()));
    }

    /// A paragraph of plain text.
    pub fn text(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Text(text.into()));
    }

    /// A table of numbers beside those that are expected, with their relative differences.
    pub fn table(&mut self, caption: impl Into<String>, rows: impl IntoIterator<Item = Comparison>) {
        self.parts.push(Part::Comparisons { caption: caption.into(), rows: rows.into_iter().collect() });
    }

    /// A table of any texts; [`number`] writes numbers.
    pub fn columns<S: Into<String>>(
        &mut self,
        caption: impl Into<String>,
        names: impl IntoIterator<Item = S>,
        rows: impl IntoIterator<Item = Vec<String>>,
    ) {
        let names = names.into_iter().map(Into::into).collect();
        self.parts.push(Part::Columns { caption: caption.into(), names, rows: rows.into_iter().collect() });
    }

    /// A figure, drawn now, as `name.png`. The first one stands for the report where it is listed.
    ///
    /// # Errors
    /// What the figure has, a name that is no plain file name, or one that is taken.
    pub fn figure(&mut self, name: &str, caption: impl Into<String>, figure: &dyn Figure) -> Result<()> {
        self.picture(name, caption, figure.png()?)
    }

    /// The bytes of a PNG file, as `name.png`.
    ///
    /// # Errors
    /// A name that is no plain file name, or one that is taken.
    pub fn picture(&mut self, name: &str, caption: impl Into<String>, png: Vec<u8>) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(Error::Internal(format!("figure \"{name}\": a name is letters, digits, - and _")));
        }
        let file = format!("{name}.png");
        if self.parts.iter().any(|p| matches!(p, Part::Figure { file: f, .. } if *f == file)) {
            return Err(Error::Internal(format!("figure \"{name}\" is in the report already")));
        }
        self.parts.push(Part::Figure { file, caption: caption.into(), png });
        Ok(())
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The comparisons that stand for the report where it is listed: see [`Comparison::key`].
    pub fn keys(&self) -> impl Iterator<Item = &Comparison> {
        self.all().filter(|c| c.is_key())
    }

    /// All comparisons, in their order.
    pub fn all(&self) -> impl Iterator<Item = &Comparison> {
        let rows =
            self.parts.iter().filter_map(|p| if let Part::Comparisons { rows, .. } = p { Some(rows) } else { None });
        rows.flatten()
    }

    /// Writes the folder: first the figures, then the page and the record, each whole or not at all.
    ///
    /// # Errors
    /// If the folder cannot be made or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        for part in &self.parts {
            if let Part::Figure { file, png, .. } = part {
                write_atomic(&folder.join(file), png)?;
            }
        }
        write_atomic(&folder.join(PAGE), html::page(self).as_bytes())?;
        // Last, so that who finds the record finds all.
        write_atomic(&folder.join(RECORD), json::record(self).as_bytes())
    }
}

/// Puts a remark below the title of a report that was written before: on its page and into its record.
///
/// # Errors
/// If the report is not there or is not one of ours, or cannot be written.
pub fn add_note(folder: &Path, text: &str) -> Result<()> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(Error::io(path))
    };
    let damaged = |name: &str| Error::data(folder.join(name), "not a report, or damaged; write it anew");
    let page = html::noted(&read(PAGE)?, text).ok_or_else(|| damaged(PAGE))?;
    let record = json::noted(&read(RECORD)?, text).ok_or_else(|| damaged(RECORD))?;
    write_atomic(&folder.join(PAGE), page.as_bytes())?;
    write_atomic(&folder.join(RECORD), record.as_bytes())
}

#[cfg(test)]
mod tests;
