//! Against transformers: every pipeline in the fixtures, from its prompt to its states.

use super::*;
use crate::gguf::{File, Writer};
use crate::graph::WeightKind;
use crate::model::{Device, Network, SessionOptions};
use crate::quant::DType;
use crate::text::{Special, Tokenizer, Vocabulary};
use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec;
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::{env, eprintln, fs};

/// Greatest difference of a state, absolute.
const TOLERANCE: f32 = 2e-4;
#[cfg(feature = "gpu")]
const TOLERANCE_GPU: f32 = 1e-3;

fn fixtures() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    env::var_os("NIJIMI_FIXTURES").map_or(own, PathBuf::from)
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Option<Vec<f32>> {
    let tensor = tensors.tensor(name).ok()?;
    let data = tensor.data();
    Some(match tensor.dtype() {
        safetensors::Dtype::F16 => data.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
        safetensors::Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        other => panic!("{name} is {other:?}"),
    })
}

/// One text encoder with its tokenizer.
struct Encoder {
    config: ClipText,
    tokenizer: Tokenizer,
    file: Vec<u8>,
}

fn tokenizer(folder: &Path) -> Tokenizer {
    let nijimi_import::Tokenizer { tokens, merges, .. } = nijimi_import::Tokenizer::open(folder).unwrap();
    let vocabulary = Vocabulary { tokens, merges, added: Vec::new() };
    let config = json(&folder.join("tokenizer_config.json"));
    let id = |key: &str| vocabulary.id(config[key].as_str().unwrap()).unwrap();
    let special = Special { start: id("bos_token"), end: id("eos_token"), pad: id("pad_token"), length: 77 };
    Tokenizer::new(&vocabulary, special).unwrap()
}

impl Encoder {
    /// Of `text_encoder{suffix}` and `tokenizer{suffix}`.
    fn read(pipeline: &Path, suffix: &str) -> Option<Self> {
        let folder = pipeline.join("text_encoder".to_owned() + suffix);
        if !folder.is_dir() {
            return None;
        }
        let c = json(&folder.join("config.json"));
        let number = |key: &str| c[key].as_u64().unwrap() as usize;
        let projects = c["architectures"][0] == "CLIPTextModelWithProjection";
        let config = ClipText {
            vocabulary: number("vocab_size"),
            positions: number("max_position_embeddings"),
            width: number("hidden_size"),
            layers: number("num_hidden_layers"),
            heads: number("num_attention_heads"),
            hidden: number("intermediate_size"),
            activation: ClipText::activation_of(c["hidden_act"].as_str().unwrap()).unwrap(),
            eps: c["layer_norm_eps"].as_f64().unwrap() as f32,
            projection: projects.then(|| number("projection_dim")),
        };
        let bytes = fs::read(folder.join("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let graph = config.graph("", [1, 1], TextStates::LAST).unwrap();
        let mut writer = Writer::new();
        writer.meta("general.architecture", "nijimi").unwrap();
        for weight in graph.weights() {
            // Files that today's transformers writes have no such prefix.
            let short = weight.name.strip_prefix("text_model.").unwrap_or(&weight.name);
            let values = floats(&tensors, &weight.name).or_else(|| floats(&tensors, short)).unwrap();
            writer.tensor(&weight.name, &weight.kind.row_major(), DType::F32, &values).unwrap();
        }
        assert_eq!(graph.weights().len(), tensors.len(), "{}", folder.display());
        Some(Self {
            config,
            tokenizer: tokenizer(&pipeline.join("tokenizer".to_owned() + suffix)),
            file: writer.finish(),
        })
    }

    /// States and pooled states of several texts, one after the other.
    fn encode(&self, texts: &[&str], states: TextStates, load: &Load<'_>) -> (Vec<f32>, Vec<f32>) {
        let graphs = || vec![self.config.graph("", [texts.len(), 77], states).unwrap()];
        let network = load(&File::new_checked(&self.file).unwrap(), graphs());
        let mut evaluator = network.evaluator(graphs(), &SessionOptions { threads: 2, ..Default::default() }).unwrap();
        let windows: Vec<Vec<u32>> = texts.iter().map(|text| self.tokenizer.window(text)).collect();
        let windows: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
        let end = states.pooled.then_some(self.tokenizer.special().end);
        evaluator.evaluate(0, &[], &self.config.ids(&windows, end).unwrap()).unwrap();
        let pooled = if states.pooled { evaluator.output(ClipText::POOLED).unwrap().to_vec() } else { Vec::new() };
        (evaluator.output(ClipText::STATE).unwrap().to_vec(), pooled)
    }
}

type Load<'a> = dyn Fn(&File<'_>, Vec<Graph>) -> Network + 'a;

fn close(what: &str, found: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(found.len(), want.len(), "{what}");
    let off = found.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= tolerance, "{what}: {off:e}");
}

/// Compares every pipeline that the fixtures have; how many they were.
fn pipelines(tolerance: f32, load: &Load<'_>) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(fixtures().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let Some(family) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".golden.safetensors") else {
            continue;
        };
        let folder = path.with_file_name(family);
        let Some(first) = Encoder::read(&folder, "") else { continue };
        let bytes = fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let golden = SafeTensors::deserialize(&bytes).unwrap();
        let Some(want) = floats(&golden, "prompt_embeds") else { continue };
        let meta = header.metadata().clone().unwrap();
        let texts = [meta["prompt"].as_str(), meta["negative_prompt"].as_str()];
        if let Ok(tokens) = golden.tensor("tokens") {
            let tokens: Vec<u32> = tokens.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as u32).collect();
            assert_eq!(first.tokenizer.window(texts[0]), tokens, "{family}");
        }
        let width = want.len() / 77;
        let (states, pooled) = match Encoder::read(&folder, "_2") {
            None => first.encode(&texts, TextStates::LAST, load),
            Some(second) => {
                let (a, _) = first.encode(&texts, TextStates::PENULTIMATE, load);
                let (b, pooled) = second.encode(&texts, TextStates { pooled: true, ..TextStates::PENULTIMATE }, load);
                let rows = a.chunks(first.config.width).zip(b.chunks(second.config.width));
                (rows.flat_map(|(a, b)| a.iter().chain(b).copied()).collect(), pooled)
            }
        };
        for (i, what) in ["prompt_embeds", "negative_embeds"].into_iter().enumerate() {
            let want = floats(&golden, what).unwrap();
            close(&format!("{family} {what}"), &states[i * 77 * width..][..77 * width], &want, tolerance);
        }
        for (i, what) in ["pooled", "negative_pooled"].into_iter().enumerate() {
            if let Some(want) = floats(&golden, what) {
                close(&format!("{family} {what}"), &pooled[i * want.len()..][..want.len()], &want, tolerance);
            }
        }
        count += 1;
    }
    count
}

/// Seen red without the causal mask, with GELU for its approximation and the other way round, without the last norm,
/// with the last state for the penultimate, with that state normed, and with the pooled state taken at the window's end
/// (its last `end`), with each input's ids taken from the first, and with the first text's tokens pooled for all.
#[test]
fn every_pipelines_states_are_transformers() {
    let count = pipelines(TOLERANCE, &|file, graphs| Network::load(file, graphs, &Device::Cpu).unwrap());
    assert!(count > 0, "no pipeline in {}", fixtures().display());
}

/// Seen red with the place counted through all texts in token_embedding.wgsl, together with the first text's tokens for all
/// in select_token.wgsl.
#[cfg(feature = "gpu")]
#[test]
fn a_device_has_the_same_states() {
    let Some(gpu) = crate::gpu::lab::tests::gpu() else { return };
    let count =
        pipelines(TOLERANCE_GPU, &|file, graphs| Network::load(file, graphs, &Device::Gpu(gpu.clone())).unwrap());
    assert!(count > 0, "no pipeline in {}", fixtures().display());
}

/// The names and shapes of the published encoders at full size, where the fixtures have them.
#[test]
fn the_presets_are_the_published_encoders() {
    let all = [("sd15", "text_encoder", ClipText::VIT_L_14), ("sd21", "text_encoder", ClipText::OPEN_CLIP_H)];
    let sdxl = [("sdxl", "text_encoder", ClipText::VIT_L_14), ("sdxl", "text_encoder_2", ClipText::OPEN_CLIP_BIG_G)];
    for (family, part, config) in all.into_iter().chain(sdxl) {
        let path = fixtures().join("shapes").join(family.to_owned() + ".json");
        if !path.is_file() {
            eprintln!("skipped: no {}", path.display());
            continue;
        }
        let tensors = &json(&path)[part]["tensors"];
        let prefix = format!("{part}.");
        let graph = config.graph(&prefix, [1, 77], TextStates::LAST).unwrap();
        for weight in graph.weights() {
            let name = weight.name.strip_prefix(&prefix).unwrap();
            let short = name.strip_prefix("text_model.").unwrap_or(name);
            let shape = tensors.get(name).or_else(|| tensors.get(short));
            let shape = shape.unwrap_or_else(|| panic!("{family} {part} has no {name}"));
            let shape: Vec<usize> = shape.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
            assert_eq!(weight.kind.row_major(), shape, "{family} {part} {name}");
        }
        assert_eq!(graph.weights().len(), tensors.as_object().unwrap().len(), "{family} {part}");
        assert!(matches!(graph.weights()[0].kind, WeightKind::Table { .. }));
    }
}

#[test]
fn skipping_and_pooling_need_the_same_tensors() {
    let config = ClipText { layers: 3, ..ClipText::OPEN_CLIP_BIG_G };
    let names = |states| config.graph("", [2, 5], states).unwrap().weights().to_vec();
    let all = names(TextStates::LAST);
    for skip in 0..3 {
        for (normed, pooled) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut found = names(TextStates { skip, normed, pooled });
            found.sort_by(|a, b| a.name.cmp(&b.name));
            let mut all = all.clone();
            all.sort_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(found, all, "{skip} {normed} {pooled}");
        }
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    let refused = |config: ClipText, sizes, skip| {
        config.graph("", sizes, TextStates { skip, ..TextStates::LAST }).unwrap_err().to_string()
    };
    let config = ClipText::VIT_L_14;
    assert_eq!(refused(config, [1, 78], 0), "tokens is 78, must be 1 to 77");
    assert_eq!(refused(config, [1, 77], 12), "skipped layers is 12, must be 0 to 11");
    assert!(refused(ClipText { heads: 5, ..config }, [1, 77], 0).contains("heads is 5"));
    assert!(refused(ClipText { layers: 0, ..config }, [1, 77], 0).contains("layers is 0"));
    assert!(refused(config, [usize::MAX, 77], 0).contains("number of ids"));
    let error = config.ids(&[&[0, 49408]], None).unwrap_err();
    assert_eq!(error.to_string(), "a token id is 49408, must be less than 49408: the tokenizer is of another model");
    assert_eq!(config.ids(&[&[7, 9, 9], &[7, 8, 9]], Some(9)).unwrap()[6..], [Some(1), Some(2)]);
}
