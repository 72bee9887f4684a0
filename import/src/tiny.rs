//! The tiny autoencoder (TAESD): diffusers folders, single files with diffusers' names, and the two files of the original
//! code, whose names are but numbers.

use super::checkpoint::{Checkpoint, Format, Found, Options};
use super::config::Model;
use super::detect::{Shapes, dim, need};
use super::error::{ImportError, refused};
use super::expect::{self, Expected};
use super::json::Json;
use super::names::{Candidate, Form, candidate};
use super::tensor_file::TensorFile;
use super::{files, scales};
use nijimi_runtime::model::TinyInfo;
use nijimi_runtime::raw::nn::{AutoencoderTiny, NetworkError};
use serde_json::json;
use std::path::{Path, PathBuf};

const PART: &str = "tiny";
/// Most levels, and most blocks of one: a file that has more is another.
const MAX_LEVELS: usize = 12;
const MAX_BLOCKS: usize = 64;

/// Reads a folder with a `config.json` of this class.
pub(super) fn open_folder(path: &Path, json: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    let info = parse(json)?;
    checkpoint(path, Format::Diffusers, info, files::open(path, options.variant.as_deref())?)
}

/// What [`parse`] reads, and what changes no picture: the last three are of latents stored as pictures, and of half precision.
const KEYS: [&str; 17] = [
    "act_fn",
    "upsample_fn",
    "upsampling_scaling_factor",
    "scaling_factor",
    "shift_factor",
    "encoder_block_out_channels",
    "decoder_block_out_channels",
    "block_out_channels",
    "num_encoder_blocks",
    "num_decoder_blocks",
    "in_channels",
    "out_channels",
    "latent_channels",
    "sample_size",
    "latent_magnitude",
    "latent_shift",
    "force_upcast",
];

/// Its `config.json`.
pub(super) fn parse(json: &Json) -> Result<TinyInfo, ImportError> {
    json.nothing_else(&KEYS)?;
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
    let network = AutoencoderTiny {
        in_channels: json.size("in_channels", Some(3))?,
        out_channels: json.size("out_channels", Some(3))?,
        latent_channels: json.size("latent_channels", Some(4))?,
        channels: channels[0],
        encoder_blocks: blocks("num_encoder_blocks")?,
        decoder_blocks: blocks("num_decoder_blocks")?,
        pooled: false,
    };
    Ok(info(network, true))
}

/// A description without a name.
fn info(network: AutoencoderTiny, has_encoder: bool) -> TinyInfo {
    TinyInfo { name: String::new(), license: String::new(), network, has_encoder }
}

/// Which of the original's two files it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Encoder,
    Decoder,
}

impl Half {
    fn expected(self, network: &AutoencoderTiny) -> Result<Vec<Expected>, NetworkError> {
        if self == Self::Encoder { expect::tiny_encoder(network) } else { expect::tiny_decoder(network) }
    }

    /// Today's name of a layer.
    fn layer(self, layer: usize) -> String {
        format!("{}.layers.{layer}", if self == Self::Encoder { "encoder" } else { "decoder" })
    }
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

/// That of a whole checkpoint, by diffusers' names after `prefix`, which its converter leaves as they are; `None` if it has another.
pub(super) fn whole(shapes: &Shapes, prefix: &str) -> Option<Result<AutoencoderTiny, String>> {
    let at = |half: Half| move |i| format!("{prefix}{}", half.layer(i));
    shapes.contains_key(&format!("{}.weight", at(Half::Decoder)(0))).then(|| {
        let encoder = Encoder::detect(shapes, at(Half::Encoder))?;
        Ok(detected(Some(encoder), Decoder::detect(shapes, at(Half::Decoder))?).network)
    })
}

/// Reads a single file; of the original's two, the other is found beside it. The decoder alone will do.
pub(super) fn open_single(path: &Path, file: TensorFile, shapes: &Shapes) -> Result<Checkpoint, ImportError> {
    let refuse = |path: &Path, why: String| ImportError::NotAModel {
        path: path.into(),
        why: format!("it is a tiny autoencoder, but {why}"),
    };
    let Some(found) = half(shapes) else {
        let encoder = shapes.contains_key("encoder.layers.0.weight");
        let encoder = encoder.then(|| Encoder::detect(shapes, |i| Half::Encoder.layer(i)));
        let decoder = Decoder::detect(shapes, |i| Half::Decoder.layer(i)).map_err(|why| refuse(path, why))?;
        let info = detected(encoder.transpose().map_err(|why| refuse(path, why))?, decoder);
        return checkpoint(path, Format::SingleFile, info, vec![file]);
    };
    let other = other(path, found);
    let second = other.as_deref().map(scales::open).transpose()?;
    let (encoder, decoder) = match (found, second) {
        (Half::Decoder, encoder) => (encoder, file),
        (Half::Encoder, Some(decoder)) => (Some(file), decoder),
        (Half::Encoder, None) => {
            return Err(refuse(path, "its encoder alone: name the decoder's file, taesd_decoder.safetensors".into()));
        }
    };
    let read = |file: &TensorFile| -> Result<Encoder, ImportError> {
        Encoder::detect(&file.shapes(), |i| format!("{i}")).map_err(|why| refuse(file.path(), why))
    };
    let first = encoder.as_ref().map(read).transpose()?;
    let last = Decoder::detect(&decoder.shapes(), |i| format!("{}", i + 1));
    let info = detected(first, last.map_err(|why| refuse(decoder.path(), why))?);
    let (mut found, network) = (Found::default(), &info.network);
    for (half, file) in [(Half::Encoder, encoder), (Half::Decoder, Some(decoder))] {
        let Some(file) = file else { continue };
        let (at, own) = (file.path().to_path_buf(), found.files.len()..found.files.len() + 1);
        found.files.push(file);
        found.take(&at, PART, half.expected(network).map_err(refused(path))?, own.clone(), |name| {
            original(half, name)
        })?;
        found.left_over(own, |_| false)?;
    }
    Ok(found.checkpoint(path, Format::SingleFile, Model::AutoencoderTiny(Box::new(info))))
}

/// The file of the other half, if there is one beside this: called the same but for the word.
fn other(path: &Path, half: Half) -> Option<PathBuf> {
    let (own, other) = if half == Half::Encoder { ("encoder", "decoder") } else { ("decoder", "encoder") };
    let name = path.file_name()?.to_str()?;
    let beside = path.with_file_name(name.replace(own, other));
    (name.contains(own) && beside.is_file()).then_some(beside)
}

/// By today's names.
fn checkpoint(path: &Path, format: Format, info: TinyInfo, files: Vec<TensorFile>) -> Result<Checkpoint, ImportError> {
    let all = 0..files.len();
    let mut found = Found::new(files);
    for half in [Some(Half::Encoder).filter(|_| info.has_encoder), Some(Half::Decoder)].into_iter().flatten() {
        let expected = half.expected(&info.network).map_err(refused(path))?;
        found.take(path, PART, expected, all.clone(), |name| vec![candidate(name, Form::Same)])?;
    }
    found.left_over(all, |_| false)?;
    Ok(found.checkpoint(path, format, Model::AutoencoderTiny(Box::new(info))))
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
    pooled: bool,
}

/// What a decoder's tensors tell.
struct Decoder {
    latent_channels: usize,
    out_channels: usize,
    channels: usize,
    blocks: Vec<usize>,
    pooled: bool,
}

fn detected(encoder: Option<Encoder>, decoder: Decoder) -> TinyInfo {
    let Decoder { latent_channels, out_channels, channels, blocks, pooled } = decoder;
    let has_encoder = encoder.is_some();
    // As they are read from the file of a decoder alone.
    let none = || Encoder { in_channels: out_channels, blocks: blocks.iter().rev().copied().collect(), pooled };
    // What one half alone has, the other is found to lack.
    let Encoder { in_channels, blocks: encoder_blocks, pooled: either } = encoder.unwrap_or_else(none);
    info(
        AutoencoderTiny {
            in_channels,
            out_channels,
            latent_channels,
            channels,
            encoder_blocks,
            decoder_blocks: blocks,
            pooled: pooled || either,
        },
        has_encoder,
    )
}

/// Residual blocks from layer `at` on.
fn residual(shapes: &Shapes, layer: &impl Fn(usize) -> String, at: usize) -> usize {
    (0..MAX_BLOCKS).take_while(|i| shapes.contains_key(&format!("{}.conv.0.weight", layer(at + i)))).count()
}

/// Whether the block at `layer` has the branch of FLUX.2's.
fn is_pooled(shapes: &Shapes, layer: &str) -> bool {
    shapes.contains_key(&format!("{layer}.pool.0.weight"))
}

impl Encoder {
    fn detect(shapes: &Shapes, layer: impl Fn(usize) -> String) -> Result<Self, String> {
        let in_channels = need(shapes, &format!("{}.weight", layer(0)), 1)?;
        let (mut blocks, mut at, mut pooled) = (Vec::new(), 1, false);
        while blocks.len() < MAX_LEVELS {
            let count = residual(shapes, &layer, at);
            pooled |= is_pooled(shapes, &layer(at));
            blocks.push(count);
            at += count + 1;
            let after = layer(at - 1);
            need(shapes, &format!("{after}.weight"), 0)?;
            // What halves has no bias; the last convolution has.
            if shapes.contains_key(&format!("{after}.bias")) {
                return Ok(Self { in_channels, blocks, pooled });
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
        let pooled = is_pooled(shapes, &layer(at));
        while blocks.len() < MAX_LEVELS {
            let count = residual(shapes, &layer, at);
            blocks.push(count);
            at += count;
            // The last convolution follows the last block; else there is what enlarges between them.
            if let Some(out_channels) = dim(shapes, &weight(at), 0) {
                return Ok(Self { latent_channels, out_channels, channels, blocks, pooled });
            }
            need(shapes, &weight(at + 1), 0)?;
            at += 2;
        }
        Err(format!("its decoder has more than {MAX_LEVELS} levels"))
    }
}
