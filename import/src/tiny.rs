//! The tiny autoencoder (TAESD): diffusers folders, single files with diffusers' names, and the two files of the original
//! code, whose names are but numbers.

use super::checkpoint::{Checkpoint, Format, Options, take};
use super::config::Model;
use super::detect::{Shapes, dim, need};
use super::error::ImportError;
use super::json::Json;
use super::names::{Candidate, Form, candidate};
use super::safetensors::Safetensors;
use super::{expect, folder};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// diffusers' `AutoencoderTiny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TinyConfig {
    /// Channels of a picture.
    pub in_channels: usize,
    /// Channels of a decoded picture.
    pub out_channels: usize,
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Channels of all its convolutions.
    pub channels: usize,
    /// Residual blocks of each level of the encoder; `None` where there is but a decoder.
    pub encoder_blocks: Option<Vec<usize>>,
    /// Residual blocks of each level of the decoder.
    pub decoder_blocks: Vec<usize>,
}

const PART: &str = "tiny";
/// Most levels, and most blocks of one: a file that has more is another.
const MAX_LEVELS: usize = 12;
const MAX_BLOCKS: usize = 64;

/// Reads a folder with a `config.json` of this class.
pub(super) fn open_folder(path: &Path, json: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    let config = parse(json)?;
    let weights = folder::weights(path, options.variant.as_deref())?;
    let files = weights.iter().map(|file| Safetensors::open(file)).collect::<Result<Vec<_>, _>>()?;
    checkpoint(path, Format::Diffusers, config, files, today)
}

fn parse(json: &Json) -> Result<TinyConfig, ImportError> {
    for (key, only) in
        [("act_fn", json!("relu")), ("upsample_fn", json!("nearest")), ("upsampling_scaling_factor", json!(2))]
    {
        json.only(key, only)?;
    }
    for (key, only) in [("scaling_factor", 1.0), ("shift_factor", 0.0)] {
        if json.number(key, only)? != only {
            return Err(json.wrong(key, format!("{only}")));
        }
    }
    let channels = json.sizes("encoder_block_out_channels")?;
    let same = |key: &str| match json.sizes(key)? {
        all if all.len() == channels.len() && all.iter().all(|&c| c == channels[0]) => Ok(()),
        _ => Err(json.wrong(key, format!("{} times {}, as in the encoder", channels.len(), channels[0]))),
    };
    same("encoder_block_out_channels")?;
    same("decoder_block_out_channels")?;
    let blocks = |key: &str| match json.levels(key, channels.len(), None)? {
        blocks if blocks.iter().all(|&n| n <= MAX_BLOCKS) => Ok(blocks),
        _ => Err(json.wrong(key, format!("at most {MAX_BLOCKS} blocks a level"))),
    };
    Ok(TinyConfig {
        in_channels: json.size("in_channels", Some(3))?,
        out_channels: json.size("out_channels", Some(3))?,
        latent_channels: json.size("latent_channels", Some(4))?,
        channels: channels[0],
        encoder_blocks: Some(blocks("num_encoder_blocks")?),
        decoder_blocks: blocks("num_decoder_blocks")?,
    })
}

/// Which of the original's two files it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Encoder,
    Decoder,
}

fn half(shapes: &Shapes) -> Option<Half> {
    let conv = |name: &str| shapes.get(name).is_some_and(|shape| shape.len() == 4);
    match () {
        () if conv("0.weight") && conv("1.conv.0.weight") => Some(Half::Encoder),
        () if conv("1.weight") && conv("3.conv.0.weight") => Some(Half::Decoder),
        () => None,
    }
}

/// Whether a single file is one, or half of one.
pub(super) fn is(shapes: &Shapes) -> bool {
    half(shapes).is_some() || shapes.contains_key("decoder.layers.0.weight")
}

/// Reads a single file; of the original's two, the other is found beside it. The decoder alone will do.
pub(super) fn open_single(path: &Path, file: Safetensors, shapes: &Shapes) -> Result<Checkpoint, ImportError> {
    let refuse = |path: &Path, why: String| ImportError::NotAModel {
        path: path.into(),
        why: format!("it is a tiny autoencoder, but {why}"),
    };
    let Some(found) = half(shapes) else {
        let encoder = shapes.contains_key("encoder.layers.0.weight");
        let encoder = encoder.then(|| Encoder::detect(shapes, |i| today_of(Half::Encoder, i)));
        let decoder = Decoder::detect(shapes, |i| today_of(Half::Decoder, i)).map_err(|why| refuse(path, why))?;
        let config = config(encoder.transpose().map_err(|why| refuse(path, why))?, decoder);
        return checkpoint(path, Format::SingleFile, config, vec![file], today);
    };
    let other = other(path, found);
    let second = other.as_deref().map(Safetensors::open).transpose()?;
    let (encoder, decoder) = match (found, second) {
        (Half::Decoder, encoder) => (encoder, file),
        (Half::Encoder, Some(decoder)) => (Some(file), decoder),
        (Half::Encoder, None) => {
            return Err(refuse(path, "its encoder alone: name the decoder's file, taesd_decoder.safetensors".into()));
        }
    };
    let shapes = |file: &Safetensors| file.tensors().iter().map(|(name, e)| (name.clone(), e.shape.clone())).collect();
    let read = |file: &Safetensors| -> Result<Encoder, ImportError> {
        Encoder::detect(&shapes(file), |i| format!("{i}")).map_err(|why| refuse(file.path(), why))
    };
    let first = encoder.as_ref().map(read).transpose()?;
    let last = Decoder::detect(&shapes(&decoder), |i| format!("{}", i + 1));
    let config = config(first, last.map_err(|why| refuse(decoder.path(), why))?);
    let (mut tensors, mut used, mut files) = (Vec::new(), BTreeSet::new(), Vec::new());
    for (half, file, expected) in [
        (Half::Encoder, encoder, expect::tiny_encoder(&config)),
        (Half::Decoder, Some(decoder), expect::tiny_decoder(&config)),
    ] {
        let Some(file) = file else { continue };
        let at = file.path().to_path_buf();
        files.push(file);
        let (last, mut own) = (files.len() - 1, BTreeSet::new());
        take(&at, PART, &expected, &files, last..last + 1, |name| original(half, name), &mut own, &mut tensors)?;
        folder::left_over(&files[last..], &own, |_| false)?;
        used.append(&mut own);
    }
    Ok(Checkpoint::beside(path, Format::SingleFile, Model::AutoencoderTiny(config), files, tensors, Vec::new()))
}

/// The file of the other half, if there is one beside this: called the same but for the word.
fn other(path: &Path, half: Half) -> Option<PathBuf> {
    let (own, other) = if half == Half::Encoder { ("encoder", "decoder") } else { ("decoder", "encoder") };
    let name = path.file_name()?.to_str()?;
    let beside = path.with_file_name(name.replace(own, other));
    (name.contains(own) && beside.is_file()).then_some(beside)
}

fn checkpoint(
    path: &Path,
    format: Format,
    config: TinyConfig,
    files: Vec<Safetensors>,
    names: impl Fn(&str) -> Vec<Candidate>,
) -> Result<Checkpoint, ImportError> {
    let (mut used, mut tensors) = (BTreeSet::new(), Vec::new());
    let expected = [expect::tiny_encoder(&config), expect::tiny_decoder(&config)].concat();
    take(path, PART, &expected, &files, 0..files.len(), names, &mut used, &mut tensors)?;
    folder::left_over(&files, &used, |_| false)?;
    Ok(Checkpoint::beside(path, format, Model::AutoencoderTiny(config), files, tensors, Vec::new()))
}

fn today(name: &str) -> Vec<Candidate> {
    vec![candidate(name, Form::Same)]
}

fn today_of(half: Half, layer: usize) -> String {
    format!("{}.layers.{layer}", if half == Half::Encoder { "encoder" } else { "decoder" })
}

/// The original's name: the layers' numbers alone, in the decoder after what holds the latents, which is its layer 0.
fn original(half: Half, name: &str) -> Vec<Candidate> {
    let layer = name.splitn(3, '.').nth(2).and_then(|rest| rest.split_once('.'));
    let number = layer.and_then(|(i, rest)| Some((i.parse::<usize>().ok()?, rest)));
    let first = usize::from(half == Half::Decoder);
    number.map(|(i, rest)| candidate(format!("{}.{rest}", i + first), Form::Same)).into_iter().collect()
}

/// What an encoder's tensors tell.
struct Encoder {
    in_channels: usize,
    blocks: Vec<usize>,
}

/// What a decoder's tensors tell.
struct Decoder {
    latent_channels: usize,
    out_channels: usize,
    channels: usize,
    blocks: Vec<usize>,
}

fn config(encoder: Option<Encoder>, decoder: Decoder) -> TinyConfig {
    let Decoder { latent_channels, out_channels, channels, blocks } = decoder;
    TinyConfig {
        in_channels: encoder.as_ref().map_or(out_channels, |encoder| encoder.in_channels),
        out_channels,
        latent_channels,
        channels,
        encoder_blocks: encoder.map(|encoder| encoder.blocks),
        decoder_blocks: blocks,
    }
}

/// Residual blocks from layer `at` on.
fn residual(shapes: &Shapes, layer: &impl Fn(usize) -> String, at: usize) -> usize {
    (0..MAX_BLOCKS).take_while(|i| shapes.contains_key(&format!("{}.conv.0.weight", layer(at + i)))).count()
}

impl Encoder {
    fn detect(shapes: &Shapes, layer: impl Fn(usize) -> String) -> Result<Self, String> {
        let in_channels = need(shapes, &format!("{}.weight", layer(0)), 1)?;
        let (mut blocks, mut at) = (Vec::new(), 1);
        while blocks.len() < MAX_LEVELS {
            let count = residual(shapes, &layer, at);
            blocks.push(count);
            at += count + 1;
            let after = layer(at - 1);
            need(shapes, &format!("{after}.weight"), 0)?;
            // What halves has no bias; the last convolution has.
            if shapes.contains_key(&format!("{after}.bias")) {
                return Ok(Self { in_channels, blocks });
            }
        }
        Err(format!("its encoder has more than {MAX_LEVELS} levels"))
    }
}

impl Decoder {
    fn detect(shapes: &Shapes, layer: impl Fn(usize) -> String) -> Result<Self, String> {
        let weight = |at: usize| format!("{}.weight", layer(at));
        let (channels, latent_channels) = (need(shapes, &weight(0), 0)?, need(shapes, &weight(0), 1)?);
        // An activation is layer 1.
        let (mut blocks, mut at) = (Vec::new(), 2);
        while blocks.len() < MAX_LEVELS {
            let count = residual(shapes, &layer, at);
            blocks.push(count);
            at += count;
            // The last convolution follows the last block; else there is what enlarges between them.
            if let Some(out_channels) = dim(shapes, &weight(at), 0) {
                return Ok(Self { latent_channels, out_channels, channels, blocks });
            }
            need(shapes, &weight(at + 1), 0)?;
            at += 2;
        }
        Err(format!("its decoder has more than {MAX_LEVELS} levels"))
    }
}
