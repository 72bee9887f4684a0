//! A checkpoint's description as metadata of our file; `docs/format.md` lists the keys.

use super::checkpoint::{Checkpoint, Format, LanguageVocabulary};
use super::config::{Config, Family, Language, Model};
use super::error::{ImportError, refused};
use super::tokenizer::Tokenizer;
use super::{flux2, language, parts, z_image};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::model::{
    ControlInfo, ControlNetwork, ImageEncoderInfo, Info, IpAdapterInfo, LanguageInfo, LanguageModel, LatentDefaults,
    LatentInfo, SchedulerInfo, TextInfo, TinyInfo, Turn, UpscalerInfo,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{Mmdit, TextStates, VisionStates};
use nijimi_runtime::raw::text::{self, Special, Vocabulary};

/// Writes all keys: those that are read, by what reads them, and what a converted file says beside them.
/// Gives what a model that reads prompts would say of itself, for who goes on with it.
pub(super) fn write(
    checkpoint: &Checkpoint,
    name: &str,
    dtype: DType,
    w: &mut Writer,
) -> Result<Option<LatentInfo>, ImportError> {
    let refuse = refused::<Error>(&checkpoint.path);
    let (name, license) = (name.to_owned(), String::new());
    let mut info = None;
    let behind = match &checkpoint.model {
        Model::TextToImage(config) => {
            info = Some(latent(checkpoint, config, name, dtype, w).map_err(&refuse)?);
            "nijimi.family"
        }
        Model::Diffusion(info) => {
            Info { name, ..(**info).clone() }.write(w, dtype).map_err(&refuse)?;
            "nijimi.network"
        }
        Model::ControlNet(network) => {
            let network = ControlNetwork::ControlNet((**network).clone());
            ControlInfo { name, license, network }.write(w, dtype).map_err(&refuse)?;
            "nijimi.network"
        }
        Model::T2iAdapter(network) => {
            let network = ControlNetwork::T2iAdapter((**network).clone());
            ControlInfo { name, license, network }.write(w, dtype).map_err(&refuse)?;
            "nijimi.network"
        }
        Model::IpAdapter(network) => {
            let network = (**network).clone();
            IpAdapterInfo { name, license, network }.write(w, dtype).map_err(&refuse)?;
            "nijimi.network"
        }
        Model::ImageEncoder(network) => {
            ImageEncoderInfo { name, license, network: **network }.write(w, dtype).map_err(&refuse)?;
            "nijimi.network"
        }
        Model::AutoencoderTiny(info) => {
            TinyInfo { name, ..(**info).clone() }.write(w, dtype).map_err(&refuse)?;
            "nijimi.network"
        }
        Model::Upscaler(info) => {
            UpscalerInfo { name, ..(**info).clone() }.write(w, dtype).map_err(&refuse)?;
            "nijimi.network"
        }
    };
    // Its name only: where it was is nobody's concern.
    let file = checkpoint.path.file_name().map(|file| file.to_string_lossy().into_owned());
    let source = file.unwrap_or_default() + &parts::record(&checkpoint.parts);
    w.meta_behind(behind, "nijimi.import.source", source.as_str())?;
    let format = match checkpoint.format {
        Format::Diffusers => "diffusers folder",
        Format::SingleFile => "single file",
    };
    w.meta_behind(behind, "nijimi.import.format", format)?;
    Ok(info)
}

/// Classes of diffusers that are not here, whose models another solver draws as well.
const OTHER_SOLVERS: [&str; 3] = ["DPMSolverSDEScheduler", "DDIMParallelScheduler", "DDPMParallelScheduler"];

/// Whether the file that it would become could be drawn; what is to be said of it.
pub(super) fn check(checkpoint: &Checkpoint) -> Result<Option<String>, ImportError> {
    // Whatever the writer refuses.
    let info = write(checkpoint, "", DType::F32, &mut Writer::new())?;
    drawn(&checkpoint.model, info).map_err(refused::<Error>(&checkpoint.path))
}

fn drawn(model: &Model, info: Option<LatentInfo>) -> Result<Option<String>, Error> {
    match (model, info) {
        (Model::TextToImage(_), None) => unreachable!("it was described"),
        (_, Some(info)) => {
            // Graphs of the smallest sizes have every head and every group.
            for TextInfo { network, states, .. } in &info.texts {
                network.graph("", [1, network.positions], *states)?;
            }
            info.language.iter().try_for_each(|text| text.graph(1).map(drop))?;
            info.denoiser.graph("", &info.denoiser.smallest())?;
            info.autoencoder.encoder("", 1, [info.autoencoder.factor(); 2])?;
            info.autoencoder.decoder("", 1, [1, 1])?;
            let class = info.scheduler.as_str();
            if OTHER_SOLVERS.contains(&class) {
                info.settings(Some("DDIMScheduler"), &[], info.steps())?;
                return Ok(Some(format!("its {class} is not here: draw with another solver, by --sampling-method")));
            }
            info.settings_by(None, None, info.steps())?;
        }
        (Model::Diffusion(info), None) => {
            info.network.graph(1)?;
        }
        (Model::ControlNet(network), None) => {
            network.graph("", &network.unet.smallest())?;
        }
        (Model::T2iAdapter(network), None) => {
            network.graph("", &network.smallest())?;
        }
        (Model::IpAdapter(network), None) => {
            network.graph("", [1, 1])?;
        }
        (Model::ImageEncoder(network), None) => {
            network.graph("", VisionStates::Whole)?;
        }
        (Model::AutoencoderTiny(info), None) => {
            let side = info.factor();
            info.network.encoder("", 1, [side; 2])?;
            info.network.decoder("", 1, [1, 1])?;
        }
        (Model::Upscaler(info), None) => {
            info.network.graph("", 1, [1, 1])?;
        }
    }
    Ok(None)
}

fn latent(
    checkpoint: &Checkpoint,
    config: &Config,
    name: String,
    dtype: DType,
    w: &mut Writer,
) -> Result<LatentInfo, Error> {
    let scheduler = &config.scheduler;
    let (info, vocabularies) = info(checkpoint, config, name)?;
    info.write(w, &vocabularies.iter().collect::<Vec<_>>(), dtype)?;
    // No reader of ours asks for these. The first says what the schedule does, where the scheduler's file said it.
    if scheduler.says_steps() {
        w.meta_behind("nijimi.scheduler.class", "nijimi.scheduler.num_train_timesteps", scheduler.train_steps)?;
    }
    let shift = "nijimi.autoencoder.shift_factor";
    w.meta_behind(shift, "nijimi.autoencoder.sample_size", config.vae_sample_size as u32)?;
    w.meta_behind(shift, "nijimi.autoencoder.force_upcast", config.force_upcast)?;
    Ok(info)
}

/// What our file would say of it, and its vocabularies.
fn info(checkpoint: &Checkpoint, config: &Config, name: String) -> Result<(LatentInfo, Vec<Vocabulary>), Error> {
    // The pipelines of SDXL and of 3 take the states before the last layer, and its final norm not at all.
    let penultimate = config.family.is_sdxl() || config.family.is_sd3();
    let states = if penultimate { TextStates::PENULTIMATE } else { TextStates::LAST };
    let (mut texts, mut vocabularies) = (Vec::new(), Vec::new());
    for (prefix, network, tokenizer) in [
        ("text_encoder.", config.text, &checkpoint.tokenizer),
        ("text_encoder_2.", config.text_2, &checkpoint.tokenizer_2),
    ] {
        let Some(network) = network else { continue };
        let Tokenizer { tokens, merges, added, bos, eos, pad, .. } = tokenizer.clone().unwrap_or_default();
        let vocabulary = Vocabulary { tokens, merges, added };
        let special = Special { start: bos, end: eos, pad, length: network.positions };
        let tokenizer = text::Tokenizer::new(&vocabulary, special)?;
        let states = TextStates {
            pooled: !texts.is_empty() || config.family == Family::SdxlRefiner || config.family.is_sd3(),
            ..states
        };
        texts.push(TextInfo { prefix, network, states, tokenizer });
        vocabularies.push(vocabulary);
    }
    let language = match (&config.language, &checkpoint.language) {
        (Some(Language::T5(network)), Some(LanguageVocabulary::T5(pieces))) => {
            let (network, tokenizer, pieces) = (*network, text::Unigram::new(pieces)?, pieces.clone());
            let model = LanguageModel::T5 { network, tokenizer, pieces };
            Some(LanguageInfo { model, length: Mmdit::THIRD_STATES })
        }
        (Some(Language::Qwen3(network)), Some(LanguageVocabulary::Qwen3(vocabulary))) => {
            let tokenizer = text::ByteLevel::new(vocabulary)?;
            // FLUX.2-klein is told all of a window.
            let fills = config.family == Family::Flux2;
            let pad = vocabulary.tokens.iter().position(|token| token == "<|endoftext|>").map_or(0, |id| id as u32);
            let turn = Turn { thinks: !fills, pad: fills.then_some(pad) };
            let (network, vocabulary) = (network.clone(), vocabulary.clone());
            let model = LanguageModel::Qwen3 { network, tokenizer, vocabulary, turn };
            Some(LanguageInfo { model, length: language::LENGTH })
        }
        _ => None,
    };
    let SchedulerInfo { class, settings } = config.scheduler.info();
    let info = LatentInfo {
        name,
        license: String::new(),
        family: config.family.name().into(),
        denoiser: config.denoiser.clone(),
        autoencoder: config.vae.network.clone(),
        scaling_factor: config.vae.scaling_factor,
        shift_factor: config.vae.shift_factor,
        statistics: config.vae.statistics.clone(),
        texts,
        language,
        zeros_for_empty: config.force_zeros_for_empty_prompt,
        scheduler: class,
        settings,
        sample_size: config.sample_size,
        defaults: match config.family {
            Family::ZImage => z_image::defaults(config),
            Family::Flux2 => flux2::defaults(config),
            _ => LatentDefaults::default(),
        },
    };
    Ok((info, vocabularies))
}
