//! Every reader of bytes from outside, given any bytes: it reads them or refuses them, in a message of one line that steers no
//! terminal, and never panics. The fuzz targets call these, and a bounded form of them is a test (`tests/hostile.rs`).
//!
//! Each function tells whether the bytes were accepted; what was accepted is used.
#![allow(dead_code, reason = "a fuzz target calls one of them")]

use nijimi_import::{Checkpoint, Lora, Options, TensorFile, Tokenizer, Types, convert, embedding};
use nijimi_pictures::{Facts, Infotext};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Model, Request, SessionOptions};
use nijimi_runtime::quant::DType;
use nijimi_trainer::checkpoint::Checkpoint as TrainingState;
use nijimi_trainer::data::idx::{LabelledPictures, Split};
use nijimi_trainer::data::table::Table;
use std::fmt::Display;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, process, thread};

#[path = "../runtime/tests/common/touch.rs"]
mod touch;

/// What a run of a model that nobody has looked at may take.
const MEMORY: u64 = 256 << 20;

/// Whether it was accepted; how it was refused is looked at.
fn told<T>(result: Result<T, impl Display>) -> Option<T> {
    result
        .map_err(|e| {
            let message = e.to_string();
            assert!(!message.is_empty() && message.len() < 6000, "a message of {} bytes: {message}", message.len());
            assert!(!message.chars().any(|c| c.is_control()), "control characters: {message:?}");
        })
        .ok()
}

/// A folder of this thread's own, made once.
fn folder(name: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("nijimi-hostile-{}-{:?}-{name}", process::id(), thread::current().id()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder("files").join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The project's, from its root or from the fuzz targets' folder.
pub fn fixtures() -> PathBuf {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("tests/fixtures"));
    found.into_iter().find(|folder| folder.is_dir()).expect("the fixtures are part of the project")
}

/// A weight file's form.
pub fn gguf(bytes: &[u8]) -> bool {
    touch::touch(bytes)
}

/// A weight file: loaded, and a step is made.
pub fn model(bytes: &[u8]) -> bool {
    let Some(file) = told(File::new_checked(bytes)) else { return false };
    let Some(model) = told(Model::load(&file, &Device::Cpu)) else { return false };
    let options = SessionOptions { threads: 1, memory_limit: Some(MEMORY), ..Default::default() };
    match &model {
        Model::TextToImage(model) => {
            let Some(calls) = told(model.info().default_calls()) else { return true };
            let mut request = model.request("a red apple", 1, &calls);
            request.options = options;
            told(model.run(&request)).map(|mut run| told(run.step()));
        }
        Model::Diffusion(model) => {
            let defaults = model.info().defaults;
            let Some(calls) = told(model.calls(defaults.solver, defaults.steps)) else { return true };
            let Some(mut session) = told(model.session(&options)) else { return true };
            let request = Request { labels: &[None], seeds: &[1], calls: &calls, guidance_scale: 1.0 };
            told(session.run(&request)).map(|mut run| told(run.step()));
        }
        Model::Vae(model) => drop(told(model.session(&options)).map(|mut session| told(session.sample_u8(&[1])))),
        Model::Hvae(model) => drop(told(model.session(&options)).map(|mut session| told(session.sample_u8(&[1])))),
        Model::Classifier(model) => drop(told(model.session(&options))),
        _ => drop(told(model.draw("", 1))),
    }
    true
}

/// A `.safetensors` file, or a GGUF file of another program, of which every tensor is read.
pub fn safetensors(bytes: &[u8]) -> bool {
    let Some(file) = told(TensorFile::open(&file("a.safetensors", bytes))) else { return false };
    for (name, entry) in file.tensors() {
        let mut numbers = Vec::new();
        told(file.read(name, 0..entry.shape.iter().product(), &mut numbers));
    }
    true
}

/// A LoRA for the small pipeline of the fixtures.
pub fn lora(bytes: &[u8]) -> bool {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    let model = MODEL.get_or_init(|| converted(&fixtures().join("pipelines/sd1full")).expect("the pipeline is whole"));
    let model = File::new_checked(model).expect("it was written so");
    let path = file("lora.safetensors", bytes);
    // What is no LoRA may be vectors of a word.
    let words = told(embedding(&path, None, &model)).is_some();
    told(Lora::open(&path, 1.0, &model)).is_some() || words
}

fn converted(folder: &Path) -> Option<Vec<u8>> {
    let checkpoint = told(Checkpoint::open(folder, &Options::default()))?;
    let out = self::folder("files").join("converted.gguf");
    told(convert(&checkpoint, &out, "a", &Types::new(DType::F16), |_| {}))?;
    Some(fs::read(out).unwrap())
}

/// The configurations of a pipeline's folder.
pub const CONFIGURATIONS: [&str; 6] = [
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
];

/// One of them, chosen by the first byte. What is accepted is converted, and draws.
pub fn configuration(bytes: &[u8]) -> bool {
    replaced(&CONFIGURATIONS, bytes, |folder| converted(folder).is_some_and(|bytes| model(&bytes)))
}

/// The files of a vocabulary.
pub const VOCABULARY: [&str; 3] = ["tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer.json"];

/// One of them, chosen by the first byte; `tokenizer.json` without the others.
pub fn tokenizer(bytes: &[u8]) -> bool {
    replaced(&VOCABULARY, bytes, |folder| {
        let folder = folder.join("tokenizer");
        if bytes.first().is_some_and(|b| usize::from(*b) % VOCABULARY.len() == 2) {
            fs::remove_file(folder.join("vocab.json")).unwrap();
            fs::remove_file(folder.join("merges.txt")).unwrap();
        }
        told(Tokenizer::open(&folder)).is_some()
    })
}

/// The pipeline of the fixtures with one file replaced.
fn replaced(names: &[&str], bytes: &[u8], read: impl FnOnce(&Path) -> bool) -> bool {
    let Some((which, bytes)) = bytes.split_first() else { return false };
    let to = folder("pipeline");
    let from = fixtures().join("pipelines/sd1");
    for part in ["", "unet", "vae", "text_encoder", "scheduler", "tokenizer"] {
        fs::create_dir_all(to.join(part)).unwrap();
        for entry in fs::read_dir(from.join(part)).unwrap() {
            let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
            let to = to.join(part).join(name);
            // The weights never change.
            if path.is_file() && !(to.exists() && path.extension().is_some_and(|e| e == "safetensors")) {
                fs::write(to, fs::read(path).unwrap()).unwrap();
            }
        }
    }
    fs::write(to.join(names[usize::from(*which) % names.len()]), bytes).unwrap();
    read(&to)
}

/// A picture.
pub fn image(bytes: &[u8]) -> bool {
    let path = file("picture", bytes);
    let size = told(nijimi_pictures::size(&path));
    // What is decoded may be as large as its header says: only small ones here.
    size.is_some_and(|size| size.iter().product::<usize>() > 1 << 22) || told(nijimi_pictures::open(&path)).is_some()
}

/// The text that a PNG file has of its drawing: written into one, it is read as it was, and so are the pairs that are read of it.
pub fn infotext(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some(png) = told(nijimi_pictures::png([1, 1, 1], &[0], text.into())) else { return false };
    let facts = Facts::read(Cursor::new(png)).expect("it was written so");
    assert_eq!(facts.parameters.as_deref(), Some(text));
    let read = Infotext::parse(text);
    let again = Infotext::parse(&read.to_string());
    assert!(read.pairs.is_empty() || again.pairs == read.pairs, "{text:?}: {read:?}, then {again:?}");
    !read.pairs.is_empty()
}

/// A table of numbers.
pub fn table(bytes: &[u8]) -> bool {
    told(Table::parse(bytes, None)).is_some_and(|table| {
        assert!(table.rows() > 0 && table.columns().iter().flatten().all(|v| v.is_finite()));
        true
    })
}

/// Pictures of an IDX file, with as many labels as its header asks for.
pub fn idx(bytes: &[u8]) -> bool {
    let folder = folder("idx");
    let labels = bytes.get(4..8).map_or(0, |n| u32::from_be_bytes([n[0], n[1], n[2], n[3]])).min(1 << 16);
    let labels = [&[0, 0, 8, 1][..], &labels.to_be_bytes(), &vec![0; labels as usize]].concat();
    fs::write(folder.join("train-images-idx3-ubyte"), bytes).unwrap();
    fs::write(folder.join("train-labels-idx1-ubyte"), labels).unwrap();
    told(LabelledPictures::load(&folder, Split::Train))
        .is_some_and(|set| (0..set.len()).all(|i| !set.picture(i).is_empty()))
}

/// The checkpoint of a training run.
pub fn checkpoint(bytes: &[u8]) -> bool {
    told(TrainingState::load(&file("checkpoint.safetensors", bytes))).is_some()
}

/// A file of the user's cache: compiled pipelines, or measured tiles.
pub fn cache(bytes: &[u8]) -> bool {
    nijimi_runtime::gpu::lab::is_cache(bytes)
}
