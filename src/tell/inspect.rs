//! `nijimi inspect`: what a weight file or a checkpoint is, or what a picture was drawn with, for people.

mod beside;
mod explain;
mod foreign;
mod latent;
mod picture;

use crate::cli::{Inspect, none_of};
use crate::fault::Fault;
use crate::file::default_model::BuiltIn;
use crate::file::source::Source;
use nijimi_cli::print::{cut, plain, print};
use nijimi_import::is_checkpoint;
use nijimi_runtime::gguf::{Array, File, Tensor, Value};
use nijimi_runtime::model::{Device, Model};
use std::fmt::Write as _;

/// Elements of an array that are shown.
const SHOWN: usize = 8;

/// Explains the file.
pub fn run(options: &Inspect) -> Result<(), Fault> {
    if let Some(path) = options.file.as_deref().filter(|path| picture::is(path)) {
        none_of(&[("--keys", options.keys), ("--tensors", options.tensors)], "weight files, not pictures")?;
        return picture::run(path);
    }
    if let Some(path) = options.file.as_deref().filter(|path| BuiltIn::named(path).is_none() && is_checkpoint(path)) {
        return foreign::run(path, options);
    }
    let source = Source::open(options.file.as_deref())?;
    let file = source.file()?;
    let mut text = String::new();
    for (name, value) in summary(&source, &file)? {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10} {}", plain(&cut(&value)));
    }
    if options.keys {
        let width = file.metadata().map(|(key, _)| key.len()).max().unwrap_or(0);
        text.push('\n');
        for (key, value) in file.metadata() {
            let _ = writeln!(text, "{:<width$}  {:<8} {}", plain(key), kind(value), plain(&cut(&show(value))));
        }
    }
    if options.tensors {
        let width = file.tensors().map(|tensor| tensor.name.len()).max().unwrap_or(0);
        text.push('\n');
        for tensor in file.tensors() {
            let (dtype, bytes) = (tensor.dtype.name(), tensor.data.len());
            let _ =
                writeln!(text, "{:<width$}  {dtype:<5} {:>9} bytes  {:?}", plain(tensor.name), bytes, tensor.shape());
        }
    }
    Ok(print(&text)?)
}

type Line = (&'static str, String);

fn summary(source: &Source, file: &File<'_>) -> Result<Vec<Line>, Fault> {
    let (what, facts, example) = if latent::is(file) {
        let facts = latent::facts(file).map_err(|e| source.wrong(e))?;
        (latent::system(file), facts, format!("nijimi -m {} -p \"a prompt\" -o picture.png", source.name))
    } else if let Some(told) = beside::tell(file).map_err(|e| source.wrong(e))? {
        (told.what.into(), told.facts, format!("{} {}", told.option, source.name))
    } else {
        let system = Model::load(file, &Device::Cpu).map_err(|e| source.wrong(e))?;
        (explain::system(&system), explain::facts(&system), explain::example(&system, &source.name))
    };
    let text = |key: &str| file.str(key).ok().filter(|text| !text.is_empty()).map(str::to_owned);
    let mut lines = vec![("file", format!("{}, {} bytes", source.name, source.bytes().len()))];
    lines.extend(text("general.name").map(|name| ("name", name)));
    lines.push(("system", format!("{}: {what}", file.str("nijimi.system").unwrap_or_default())));
    lines.extend(facts);
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add("weights", Some(weights(file)));
    add("license", text("general.license"));
    add("made by", text("nijimi.train.command"));
    add("use", Some(example));
    Ok(lines)
}

/// How many values the tensors hold, and as what.
fn weights(file: &File<'_>) -> String {
    let tensors: Vec<Tensor<'_>> = file.tensors().collect();
    let values: usize = tensors.iter().map(Tensor::elements).sum();
    let mut kinds: Vec<(&str, usize, usize)> = Vec::new();
    for tensor in &tensors {
        let name = tensor.dtype.name();
        let at = kinds.iter().position(|kind| kind.0 == name).unwrap_or_else(|| {
            kinds.push((name, 0, 0));
            kinds.len() - 1
        });
        kinds[at].1 += tensor.elements();
        kinds[at].2 += tensor.data.len();
    }
    let kinds = kinds.iter().map(|(name, values, bytes)| format!("{values} as {name} ({bytes} bytes)"));
    match tensors.len() {
        0 => "none: the numbers are in the metadata".into(),
        n => format!("{values} in {n} tensors: {}", kinds.collect::<Vec<_>>().join(", ")),
    }
}

fn kind(value: Value<'_>) -> String {
    match value {
        Value::Array(array) => format!("{}[{}]", array.kind().name(), array.len()),
        value => value.kind().name().into(),
    }
}

fn show(value: Value<'_>) -> String {
    match value {
        Value::U8(v) => v.to_string(),
        Value::I8(v) => v.to_string(),
        Value::U16(v) => v.to_string(),
        Value::I16(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::F32(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::Str(v) => format!("{v:?}"),
        Value::Array(array) => list(array),
    }
}

fn list(array: Array<'_>) -> String {
    let shown: Vec<String> = array.iter().take(SHOWN).map(show).collect();
    let rest = if array.len() > SHOWN { ", ..." } else { "" };
    format!("[{}{rest}]", shown.join(", "))
}
