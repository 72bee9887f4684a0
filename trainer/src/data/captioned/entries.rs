//! What a folder holds: which pictures, and what is said about them.
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Whether a picture without a caption is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Captions {
    /// In a folder of pairs, a picture without one is passed over.
    Needed,
    /// Pictures are taken with or without.
    Optional,
}

/// A picture that is not yet decoded.
pub(super) struct Entry {
    pub path: PathBuf,
    pub file: String,
    pub name: String,
    pub category: String,
    pub tags: Vec<String>,
}

/// Files passed over, and why.
type Skipped = Vec<(PathBuf, String)>;

const TABLE: &str = "captions.tsv";

/// The pictures of a folder, in either form.
pub(super) fn list(dir: &Path, captions: Captions) -> Result<(Vec<Entry>, Skipped)> {
    let table = dir.join(TABLE);
    if table.is_file() { of_table(dir, &table) } else { of_pairs(dir, captions) }
}

/// The files of a folder by name, and what else is there, with the reason why it is passed over.
fn files(dir: &Path) -> Result<(BTreeMap<String, PathBuf>, Skipped)> {
    let (mut found, mut skipped) = (BTreeMap::new(), Skipped::new());
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        let why = match (path.file_name().and_then(|n| n.to_str()), path.metadata()) {
            (Some(name), Ok(about)) if about.is_file() => {
                found.insert(name.to_owned(), path);
                continue;
            }
            (None, _) => "its name is not UTF-8: give it another".into(),
            (_, Ok(about)) if about.is_dir() => "a folder: pictures in it are not looked for".into(),
            (_, Ok(_)) => "it is no file".into(),
            (_, Err(e)) if path.is_symlink() => format!("a link that leads nowhere ({e})"),
            (_, Err(e)) => format!("it cannot be read: {e}"),
        };
        skipped.push((path, why));
    }
    Ok((found, skipped))
}

/// Files that are no pictures, nor belong to any: their types are not read.
fn others(files: &BTreeMap<String, PathBuf>, known: impl Fn(&str) -> bool) -> Skipped {
    let other = files.iter().filter(|(name, _)| !is_picture(name) && !known(name));
    other.map(|(_, path)| (path.clone(), "a file of another type: pictures are PNG or JPEG".into())).collect()
}

pub(crate) fn is_picture(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

fn of_table(dir: &Path, table: &Path) -> Result<(Vec<Entry>, Skipped)> {
    let bytes = std::fs::read(table).map_err(Error::io(table))?;
    let text =
        String::from_utf8(bytes).map_err(|e| Error::data(table, format!("{}: save it as UTF-8", e.utf8_error())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let header: Vec<&str> = lines.next().map_or(Vec::new(), |(_, line)| line.split('\t').map(str::trim).collect());
    let column = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let needed = |name: &str| {
        column(name).ok_or_else(|| {
            let found = header.join(", ");
            let what = format!(
                "no column {name:?}: the first line must name the columns, divided by tabs: file, name and, if there \
                 are such, category and tags; it names {found:?}"
            );
            Error::data(table, what)
        })
    };
    let (file, name, category, tags) = (needed("file")?, needed("name")?, column("category"), column("tags"));

    let within = dir.join("png");
    let (mut pictures, mut skipped) = if within.is_dir() { files(&within)? } else { Default::default() };
    skipped.extend(others(&pictures, |_| false));
    let (own, more) = files(dir)?;
    skipped.extend(more.into_iter().filter(|(path, _)| *path != within));
    skipped.extend(others(&own, |name| name == TABLE));
    pictures.extend(own);
    pictures.retain(|name, _| is_picture(name));
    let (mut entries, mut taken) = (Vec::new(), BTreeSet::new());
    for (line, text) in lines {
        let fields: Vec<&str> = text.split('\t').map(str::trim).collect();
        let field = |column: Option<usize>| column.and_then(|c| fields.get(c)).copied().unwrap_or("");
        let own = field(Some(file));
        let mut skip = |why: String| skipped.push((dir.join(own), format!("line {line} of {TABLE}: {why}")));
        if fields.len() <= name.max(file) {
            skip(format!("{} columns where the first line has {}", fields.len(), header.len()));
        } else if let Some(path) = pictures.get(own) {
            if !taken.insert(own.to_owned()) {
                skip("the file has a line already".into());
                continue;
            }
            // Some tables mark what is not known with a question mark.
            let category = Some(field(category)).filter(|c| *c != "?").unwrap_or_default().to_owned();
            let (path, name) = (path.clone(), field(Some(name)).to_owned());
            entries.push(Entry { path, file: own.to_owned(), name, category, tags: words(field(tags)) });
        } else {
            skip("there is no such PNG or JPEG file, neither beside the table nor in png/".into());
        }
    }
    for (file, path) in pictures {
        if !taken.contains(&file) {
            entries.push(Entry { path, file, name: String::new(), category: String::new(), tags: Vec::new() });
        }
    }
    Ok((entries, skipped))
}

/// Words divided by commas, each once.
fn words(tags: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let words = tags.split(',').map(|t| t.split_whitespace().collect::<Vec<_>>().join(" "));
    words.filter(|t| !t.is_empty() && seen.insert(t.clone())).collect()
}

fn of_pairs(dir: &Path, captions: Captions) -> Result<(Vec<Entry>, Skipped)> {
    let (files, mut skipped) = files(dir)?;
    let mut entries = Vec::new();
    let mut texts = BTreeSet::new();
    for (file, path) in files.iter().filter(|(name, _)| is_picture(name)) {
        let beside = path.with_extension("txt");
        let found = caption(&beside);
        texts.insert(beside);
        let name = match found {
            Ok(name) => name,
            Err(_) if captions == Captions::Optional => String::new(),
            Err(why) => {
                skipped.push((path.clone(), why));
                continue;
            }
        };
        let (path, file) = (path.clone(), file.clone());
        entries.push(Entry { path, file, name, category: String::new(), tags: Vec::new() });
    }
    skipped.extend(others(&files, |name| texts.contains(&dir.join(name))));
    Ok((entries, skipped))
}

/// The first line of a text file.
fn caption(path: &Path) -> std::result::Result<String, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("it has no caption: write one into {name}"));
        }
        Err(e) => return Err(format!("its caption, {name}, cannot be read: {e}")),
    };
    let text = String::from_utf8(bytes).map_err(|_| format!("its caption, {name}, is not UTF-8: save it as UTF-8"))?;
    let line = text.trim_start_matches('\u{feff}').lines().map(str::trim).find(|line| !line.is_empty());
    line.map(str::to_owned).ok_or_else(|| format!("its caption is empty: write one into {name}"))
}
