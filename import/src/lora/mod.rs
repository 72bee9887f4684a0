//! LoRA: changes of a model's layers as products of two thin factors (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large
//! Language Models"), and of its convolutions (LoCon), added to the weights while they are loaded; and LyCORIS' other
//! products, LoHa and LoKr, and DoRA, which stretches what was added to.
//!
//! `W + strength * alpha / rank * up * down` takes the place of `W`: no step of a picture costs more for it, and another
//! strength works out anew the layers that it changes.

mod key;
mod merge;
mod module;
mod places;
mod settings;

use super::error::{ImportError, LISTED, LoraError};
use super::tensor_file::TensorFile;
use key::Piece;
use merge::Numbers;
use module::{Module, Pieces};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::Patch;
use settings::LoraSettings;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Numbers that are looked at together.
const CHUNK: usize = 1 << 18;

/// A LoRA, matched to a model. Its numbers stay in the file until a layer is patched, so that it takes next to no memory;
/// clones share it.
#[derive(Debug, Clone)]
pub struct Lora {
    opened: Arc<Opened>,
    strength: f32,
}

#[derive(Debug)]
struct Opened {
    /// Reading moves the file's one position.
    file: Mutex<TensorFile>,
    /// By the model's tensors.
    modules: BTreeMap<String, Module>,
}

impl Lora {
    /// Opens a `.safetensors` file, finds for each of its modules the tensor of `file` that it is for, and looks at every
    /// number. `strength` 1 is what it was trained at; any finite number can be.
    ///
    /// Modules may be called as kohya's scripts do (`lora_unet_…`, `lora_te_…`, `lora_te1_…`, `lora_te2_…`, with
    /// diffusers' blocks or the original ones), or as any diffusers since 0.12 or PEFT does (`unet.….lora_A.weight`,
    /// `….lora.down.weight`, `….processor.to_q_lora.down.weight`, `text_encoder.…`, `text_encoder_2.…`,
    /// `base_model.model.….lora_A.default.weight`), as ComfyUI (`diffusion_model.…`, `text_encoders.clip_l.transformer.…`)
    /// or LyCORIS (`lycoris_…`). A module without `alpha`, which is of any type of numbers, is of alpha = rank, if neither
    /// the header's `lora_adapter_metadata` nor PEFT's `adapter_config.json` beside the file says otherwise. What is added may
    /// be a product (LoRA, and LoCon with or without a `lora_mid`), LoHa's `hada_…` or LoKr's `lokr_…`; with `dora_scale` or
    /// `lora_magnitude_vector` the sum is stretched to the lengths said there, and a strength other than 1 is so far from the
    /// layer to that (as ComfyUI has it). Layers of the autoencoder are `vae.…`, `lora_vae_…` or `first_stage_model.…`.
    ///
    /// # Errors
    /// [`ImportError::Lora`]: a LoRA for another model (modules without a place, shapes that do not fit), half a pair, a
    /// form that is none of these (OFT, whole differences), NaN, a strength that is not finite. Otherwise
    /// what is wrong with the file as such.
    pub fn open(path: impl AsRef<Path>, strength: f32, file: &File<'_>) -> Result<Self, ImportError> {
        let path = path.as_ref();
        finite(path, strength)?;
        let lora = TensorFile::open(path)?;
        let pieces = pieces(&lora)?;
        let settings = LoraSettings::read(&lora)?;
        let mut modules = BTreeMap::new();
        for (tensor, (name, place)) in places(&lora, &pieces, file)? {
            let mut module = Module::fit(&lora, name, &pieces[name], &place)?;
            let alpha = pieces[name].get(&Piece::Alpha).map(|alpha| number(&lora, alpha)).transpose()?;
            if let Some(rank) = module.rank {
                module.scale = settings.scale(name, alpha, rank)?;
            }
            module.tensors.iter().try_for_each(|tensor| check(&lora, tensor))?;
            modules.insert(tensor, module);
        }
        Ok(Self { opened: Arc::new(Opened { file: Mutex::new(lora), modules }), strength })
    }

    /// The same LoRA at another strength: for [`TextToImage::with_patches`](nijimi_runtime::model::TextToImage::with_patches).
    ///
    /// # Errors
    /// A strength that is not finite.
    pub fn with_strength(&self, strength: f32) -> Result<Self, ImportError> {
        finite(self.opened.file.lock().unwrap_or_else(PoisonError::into_inner).path(), strength)?;
        Ok(Self { opened: self.opened.clone(), strength })
    }

    /// The model's tensors that it changes, in alphabetical order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &str> {
        self.opened.modules.keys().map(String::as_str)
    }
}

impl Patch for Lora {
    fn touches(&self, name: &str) -> bool {
        self.opened.modules.contains_key(name)
    }

    fn apply(&self, name: &str, shape: &[usize], values: &mut [f32]) -> Result<(), Error> {
        let Some(module) = self.opened.modules.get(name) else { return Ok(()) };
        let file = self.opened.file.lock().unwrap_or_else(PoisonError::into_inner);
        if shape != module.shape || values.len() != shape.iter().product::<usize>() {
            let (path, expected) = (file.path().into(), module.shape.clone());
            let other = LoraError::Shape { path, name: name.to_owned(), found: shape.to_vec(), expected };
            return Err(Error::Patch(Box::new(other)));
        }
        let added = if module.lengths.is_some() { 1.0 } else { self.strength };
        let numbers = Numbers::read(&file, module, added * module.scale).map_err(|e| Error::Patch(Box::new(e)))?;
        drop(file);
        Ok(numbers.apply(module, values, self.strength)?)
    }
}

fn finite(path: &Path, strength: f32) -> Result<(), LoraError> {
    if strength.is_finite() { Ok(()) } else { Err(LoraError::Strength { path: path.into(), strength }) }
}

/// The file's tensors by module.
fn pieces(file: &TensorFile) -> Result<BTreeMap<&str, Pieces>, ImportError> {
    let mut modules: BTreeMap<&str, Pieces> = BTreeMap::new();
    let mut unknown: Vec<&String> = Vec::new();
    for (name, entry) in file.tensors() {
        let path = || file.path().into();
        let Some((module, piece)) = key::split(name) else {
            if let Some(form) = key::form(name) {
                return Err(LoraError::Form { path: path(), name: name.clone(), form }.into());
            }
            unknown.push(name);
            continue;
        };
        if let Some(family) = key::family(module) {
            return Err(LoraError::Family { path: path(), module: module.to_owned(), family }.into());
        }
        if piece != Piece::Alpha && !entry.is_read() {
            return Err(ImportError::DType { path: path(), name: name.clone(), found: entry.dtype.clone() });
        }
        if let Some(first) = modules.entry(module).or_default().insert(piece, name.clone()) {
            let (second, of) = (name.clone(), module.to_owned());
            return Err(LoraError::Twice { path: path(), first, second, of }.into());
        }
    }
    let path = || file.path().into();
    if modules.is_empty() {
        let first = file.tensors().keys().next().cloned().unwrap_or_default();
        return Err(LoraError::NotALora { path: path(), first }.into());
    }
    if !unknown.is_empty() {
        let (count, of) = (unknown.len(), file.tensors().len());
        let names = unknown.into_iter().take(LISTED).cloned().collect();
        return Err(LoraError::Unknown { path: path(), count, of, names }.into());
    }
    Ok(modules)
}

/// The model's tensors that the modules are for, each with its module's name.
fn places<'a>(
    lora: &TensorFile,
    pieces: &BTreeMap<&'a str, Pieces>,
    file: &File<'_>,
) -> Result<BTreeMap<String, (&'a str, places::Place)>, LoraError> {
    let known = places::of(file);
    let mut found: BTreeMap<String, (&str, places::Place)> = BTreeMap::new();
    let mut lost: Vec<&str> = Vec::new();
    for &module in pieces.keys() {
        let Some(place) = known.get(&key::of_module(module)) else {
            lost.push(module);
            continue;
        };
        match found.entry(place.tensor.clone()) {
            Entry::Vacant(entry) => {
                entry.insert((module, place.clone()));
            }
            // Of two copies, diffusers' names count.
            Entry::Occupied(_) if key::is_original(module) => {}
            Entry::Occupied(mut entry) if key::is_original(entry.get().0) => entry.get_mut().0 = module,
            Entry::Occupied(entry) => {
                let (first, second) = (entry.get().0.to_owned(), module.to_owned());
                return Err(LoraError::Twice { path: lora.path().into(), first, second, of: place.tensor.clone() });
            }
        }
    }
    match lost.len() {
        0 => Ok(found),
        count => {
            let names = lost.into_iter().take(LISTED).map(str::to_owned).collect();
            Err(LoraError::OtherModel { path: lora.path().into(), count, of: pieces.len(), names })
        }
    }
}

/// The one number of a tensor.
fn number(file: &TensorFile, name: &str) -> Result<f32, ImportError> {
    let shape = &file.tensors()[name].shape;
    if shape.iter().any(|&n| n != 1) {
        let (name, found) = (name.to_owned(), shape.clone());
        return Err(LoraError::Shape { path: file.path().into(), name, found, expected: Vec::new() }.into());
    }
    let value = file.number(name)? as f32;
    match value.is_finite() {
        true => Ok(value),
        false => Err(LoraError::NotFinite { path: file.path().into(), name: name.into(), at: 0, value }.into()),
    }
}

/// Every number is finite.
fn check(file: &TensorFile, name: &str) -> Result<(), ImportError> {
    let len = file.tensors()[name].shape.iter().product();
    let mut values = Vec::new();
    for start in (0..len).step_by(CHUNK) {
        values.clear();
        file.read(name, start..len.min(start + CHUNK), &mut values)?;
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            let (path, name) = (file.path().into(), name.to_owned());
            return Err(LoraError::NotFinite { path, name, at: start + i, value: values[i] }.into());
        }
    }
    Ok(())
}
