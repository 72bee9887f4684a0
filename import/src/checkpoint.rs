//! A published model, opened: what it is, and its tensors by today's names, to be read a few rows at a time.

use super::config::{Config, Model};
use super::error::ImportError;
use super::expect::Expected;
use super::names::{Candidate, Form};
use super::parts::Part;
use super::tensor_file::TensorFile;
use super::tokenizer::Tokenizer;
use nijimi_runtime::raw::layout::channels_last;
use nijimi_runtime::raw::text::{Pieces, Vocabulary};
use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What cannot be seen in the files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `fp16` of `model.fp16.safetensors`; by default the plain file, or else a variant that is there.
    pub variant: Option<String>,
    /// Folder of the vocabulary, in place of the model's own.
    pub tokenizer: Option<PathBuf>,
    /// `epsilon`, `v_prediction` or `sample`, in place of what the model says.
    pub prediction_type: Option<String>,
    /// Parts that files of their own have, in place of what the model has, if it does. Such a file is a `.safetensors` or GGUF file
    /// of the part alone, or a checkpoint that has it.
    pub parts: Vec<(Part, PathBuf)>,
}

/// How the checkpoint is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A folder of diffusers.
    Diffusers,
    /// One file with the original code's names.
    SingleFile,
}

/// A list of tensors that can be read a few rows at a time.
pub trait Source {
    /// The tensors, in the order of our file.
    fn tensors(&self) -> &[Tensor];

    /// Appends rows `rows` (of the first dimension) of tensor `index`, in our layout, to `out`.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn read(&self, index: usize, rows: Range<usize>, out: &mut Vec<f32>) -> Result<(), ImportError>;
}

/// A tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Today's diffusers name with the part's: `unet.conv_in.weight`.
    pub name: String,
    /// Our shape: a convolution is `[out][kh][kw][in]`.
    pub shape: Vec<usize>,
    /// What its file calls it.
    pub stored_name: String,
    /// How its file stores it: `F32`, `F16`, `BF16`, `F8_E4M3`, …; of a GGUF file `q4_K`, …
    pub stored_type: String,
    pub(super) file: usize,
    form: Form,
}

/// What makes tokens for a language model.
#[derive(Debug, Clone)]
pub enum LanguageVocabulary {
    /// T5's pieces of words.
    T5(Pieces),
    /// Qwen3's bytes.
    Qwen3(Vocabulary),
}

/// An opened checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    /// Where it is.
    pub path: PathBuf,
    /// How it is stored.
    pub format: Format,
    /// What it is.
    pub model: Model,
    /// The vocabulary.
    pub tokenizer: Option<Tokenizer>,
    /// That of SDXL's second encoder.
    pub tokenizer_2: Option<Tokenizer>,
    /// That of a language model.
    pub language: Option<LanguageVocabulary>,
    /// Tensors that the model has no use for, by their names in the file: schedules, running means.
    pub aside: Vec<String>,
    /// Parts that came from files of their own.
    pub parts: Vec<(Part, PathBuf)>,
    /// What had to be guessed, and how to say otherwise.
    pub notes: Vec<String>,
    pub(super) files: Vec<TensorFile>,
    pub(super) tensors: Vec<Tensor>,
}

impl Checkpoint {
    /// The configuration of a latent diffusion model; `None` of what goes beside one.
    pub fn latent_diffusion(&self) -> Option<&Config> {
        match &self.model {
            Model::TextToImage(config) => Some(config),
            _ => None,
        }
    }

    /// Whether reading a part of the tensor reads all of it.
    pub(super) fn is_transposed(&self, index: usize) -> bool {
        self.tensors[index].form == Form::Transposed
    }

    /// The file that the tensor is in.
    pub(super) fn file_of(&self, index: usize) -> &Path {
        self.files[self.tensors[index].file].path()
    }

    /// Every token has a row in the encoders' tables, and windows are as long as those are.
    pub(super) fn check_vocabulary(&self) -> Result<(), ImportError> {
        let Some(config) = self.latent_diffusion() else { return Ok(()) };
        let pairs = [(&self.tokenizer, config.text.as_ref()), (&self.tokenizer_2, config.text_2.as_ref())];
        for (tokenizer, text) in pairs {
            let (Some(tokenizer), Some(text)) = (tokenizer, text) else { continue };
            if tokenizer.tokens.len() > text.vocabulary {
                let (tokens, rows) = (tokenizer.tokens.len(), text.vocabulary);
                let why = format!("its text encoder knows {rows} tokens, but its tokenizer has {tokens}: take its own");
                return Err(ImportError::NotAModel { path: self.path.clone(), why });
            }
            if let Some(length) = tokenizer.length.filter(|length| *length < text.positions) {
                let positions = text.positions;
                let why = format!(
                    "its tokenizer's windows have {length} tokens (model_max_length), its text encoder's {positions}"
                );
                return Err(ImportError::NotAModel { path: self.path.clone(), why });
            }
        }
        Ok(())
    }
}

impl Source for Checkpoint {
    fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    fn read(&self, index: usize, rows: Range<usize>, out: &mut Vec<f32>) -> Result<(), ImportError> {
        let tensor = &self.tensors[index];
        let file = &self.files[tensor.file];
        let row: usize = tensor.shape[1..].iter().product();
        let start = out.len();
        match tensor.form {
            Form::Same | Form::Pointwise | Form::One | Form::Flat | Form::Patches => {
                file.read(&tensor.stored_name, rows.start * row..rows.end * row, out)?;
            }
            Form::Third(third) => {
                let first = third * tensor.shape[0];
                file.read(&tensor.stored_name, (first + rows.start) * row..(first + rows.end) * row, out)?;
            }
            Form::Rows { from, .. } => {
                file.read(&tensor.stored_name, (from + rows.start) * row..(from + rows.end) * row, out)?;
            }
            Form::Pack | Form::Unpack => {
                let mut whole = Vec::new();
                let (height, packs) = (tensor.shape[0] / 4, tensor.form == Form::Pack);
                let inner = match (&tensor.shape[..], packs) {
                    ([_], _) => 1,
                    (_, true) => tensor.shape[3],
                    (_, false) => tensor.shape[3] / 4,
                };
                file.read(&tensor.stored_name, 0..height * inner, &mut whole)?;
                for r in rows {
                    let (own, place) = if packs { (r / 4, r % 4) } else { (r % height, r / height) };
                    let numbers = &whole[own * inner..][..inner];
                    if row == 1 {
                        out.extend_from_slice(numbers);
                        continue;
                    }
                    let at = out.len();
                    out.resize(at + row, 0.0);
                    for (c, number) in numbers.iter().enumerate() {
                        out[at + if packs { place * inner + c } else { 4 * c + place }] = *number;
                    }
                }
            }
            Form::Swapped => {
                let half = tensor.shape[0] / 2;
                let (first, second) = (rows.start..rows.end.min(half), rows.start.max(half)..rows.end);
                for (rows, from) in [(first, half), (second, 0)] {
                    if !rows.is_empty() {
                        let at = rows.start % half + from;
                        file.read(&tensor.stored_name, at * row..(at + rows.len()) * row, out)?;
                    }
                }
            }
            Form::Transposed => {
                let mut whole = Vec::new();
                let height = tensor.shape[0];
                file.read(&tensor.stored_name, 0..height * row, &mut whole)?;
                out.extend(rows.flat_map(|r| (0..row).map(move |c| (r, c))).map(|(r, c)| whole[c * height + r]));
            }
        }
        if let [_, kh, kw, inp] = tensor.shape[..]
            && kh * kw > 1
            && inp > 1
            && !matches!(tensor.form, Form::Patches | Form::Pack)
        {
            let turned = channels_last(&out[start..], inp, kh * kw);
            out[start..].copy_from_slice(&turned);
        }
        Ok(())
    }
}

/// The dimensions behind those of 1 that are before all others.
fn without_ones(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().take_while(|size| **size == 1).count();
    &shape[ones.min(shape.len().saturating_sub(1))..]
}

/// The files of a checkpoint, and what was found in them.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub files: Vec<TensorFile>,
    tensors: Vec<Tensor>,
    /// Names, since the last look at what is left over.
    used: BTreeSet<String>,
    aside: Vec<String>,
}

impl Found {
    pub fn new(files: Vec<TensorFile>) -> Self {
        Self { files, ..Self::default() }
    }

    /// Finds a part's tensors among `files[range]`. `at` is where the part is.
    pub fn take(
        &mut self,
        at: &Path,
        part: &str,
        expected: Vec<Expected>,
        range: Range<usize>,
        candidates: impl Fn(&str) -> Vec<Candidate>,
    ) -> Result<(), ImportError> {
        for Expected { name, shape } in expected {
            let candidates = candidates(&name);
            let stored = candidates.iter().find_map(|candidate| {
                let find = |i: usize| self.files[i].tensors().get(&candidate.name).map(|entry| (i, entry));
                range.clone().find_map(find).map(|(i, entry)| (candidate, i, entry))
            });
            let Some((candidate, file, entry)) = stored else {
                let name = candidates.first().map_or(name, |c| c.name.clone());
                return Err(ImportError::MissingTensor { path: at.into(), name, expected: shape });
            };
            let stored = match (candidate.form, &shape[..]) {
                (Form::Third(_), [height, rest @ ..]) => [&[3 * height], rest].concat(),
                (Form::Transposed, [out, inp]) => vec![*inp, *out],
                (Form::One, rest) => [&[1], rest].concat(),
                (Form::Patches, [out, inp, kh, kw]) => vec![*out, inp * kh * kw],
                (Form::Rows { of, .. }, [_, rest @ ..]) => [&[of], rest].concat(),
                (Form::Pack, [out, inp, _, _]) => vec![out / 4, *inp, 1, 1],
                (Form::Unpack, [out, inp, _, _]) => vec![out / 4, inp / 4, 1, 1],
                (Form::Pack | Form::Unpack, [len]) => vec![len / 4],
                // The same numbers, with or without two more dimensions.
                (Form::Pointwise, [out, inp]) if entry.shape.len() == 4 => vec![*out, *inp, 1, 1],
                (Form::Flat, shape) if entry.elements() == shape.iter().product::<usize>() as u64 => {
                    entry.shape.clone()
                }
                _ => shape.clone(),
            };
            let (path, stored_name) = (|| self.files[file].path().into(), candidate.name.clone());
            // ggml's dimensions of 1 before the others are left out.
            let same =
                |a: &[usize], b: &[usize]| a == b || self.files[file].is_gguf() && without_ones(a) == without_ones(b);
            if !same(&entry.shape, &stored) {
                let found = entry.shape.clone();
                return Err(ImportError::Shape { path: path(), name: stored_name, found, expected: stored });
            }
            if !entry.is_read() {
                return Err(ImportError::DType { path: path(), name: stored_name, found: entry.dtype.clone() });
            }
            let shape = match shape[..] {
                [out, inp, kh, kw] => vec![out, kh, kw, inp],
                _ => shape,
            };
            self.used.insert(stored_name.clone());
            let (name, stored_type, form) = (format!("{part}.{name}"), entry.dtype.clone(), candidate.form);
            self.tensors.push(Tensor { name, shape, stored_name, stored_type, file, form });
        }
        Ok(())
    }

    /// Looks at the tensors of `files[range]` that nobody took; an error unless they are known to be aside.
    pub fn left_over(&mut self, range: Range<usize>, is_aside: impl Fn(&str) -> bool) -> Result<(), ImportError> {
        let used = mem::take(&mut self.used);
        for file in &self.files[range] {
            for (name, entry) in file.tensors().iter().filter(|(name, _)| !used.contains(name.as_str())) {
                if !is_aside(name) {
                    let (path, found) = (file.path().into(), entry.shape.clone());
                    return Err(ImportError::ExtraTensor { path, name: name.clone(), found });
                }
                self.aside.push(name.clone());
            }
        }
        Ok(())
    }

    /// A checkpoint of these tensors, without a vocabulary.
    pub fn checkpoint(self, path: &Path, format: Format, model: Model) -> Checkpoint {
        let Self { files, tensors, aside, .. } = self;
        let (path, parts, notes) = (path.into(), Vec::new(), Vec::new());
        Checkpoint {
            path,
            format,
            model,
            tokenizer: None,
            tokenizer_2: None,
            language: None,
            aside,
            parts,
            notes,
            files,
            tensors,
        }
    }
}
