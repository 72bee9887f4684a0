//! Pipelines in the published form, read for tests: safetensors files, and networks' configurations.
#![allow(dead_code, reason = "not every test file uses everything")]

use nijimi_runtime::gguf::Writer;
use nijimi_runtime::quant::{self, DType};
use nijimi_runtime::raw::graph::{Graph, WeightKind};
use nijimi_runtime::raw::nn::{
    AutoencoderKl, AutoencoderTiny, ControlNet, SdAdded, SdLevel, SdMiddle, SdUnet, TimeCode,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The project's own fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

pub fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a safetensors file says of itself.
pub fn metadata(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header["__metadata__"].clone()
}

/// A tensor as it is stored, row-major, in f32.
#[derive(Clone)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A safetensors file, by name: numbers, and ids.
pub struct Tensors(BTreeMap<String, Tensor>, BTreeMap<String, Vec<u32>>);

impl Tensors {
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (length, rest) = bytes.split_at(8);
        let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        let header: Value = serde_json::from_slice(header).unwrap();
        let (mut tensors, mut all_ids) = (BTreeMap::new(), BTreeMap::new());
        for (name, entry) in header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
            let shape = numbers(&entry["shape"]);
            let ends = numbers(&entry["data_offsets"]);
            let dtype = match entry["dtype"].as_str().unwrap() {
                "F16" => DType::F16,
                "F32" => DType::F32,
                "BF16" => DType::BF16,
                "I64" => {
                    let ids = data[ends[0]..ends[1]].as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as u32);
                    all_ids.insert(name.clone(), ids.collect());
                    continue;
                }
                other => panic!("{name}: {other} in {}", path.display()),
            };
            let mut values = vec![0.0; shape.iter().product()];
            quant::decode(dtype, &data[ends[0]..ends[1]], &mut values).unwrap();
            tensors.insert(today(name), Tensor { shape, values });
        }
        Self(tensors, all_ids)
    }

    /// What is of one file of several: under names that end with `suffix`, without that, and under names that end with none of
    /// `all`.
    pub fn of(&self, suffix: &str, all: &[&str]) -> Self {
        let own = |(name, tensor): (&String, &Tensor)| {
            let name = match name.strip_suffix(suffix) {
                Some(name) => name,
                None if all.iter().any(|other| name.ends_with(other)) => return None,
                None => name,
            };
            Some((name.to_owned(), tensor.clone()))
        };
        Self(self.0.iter().filter_map(own).collect(), self.1.clone())
    }

    /// One tensor under another name.
    pub fn renamed(&self, from: &str, to: &str) -> Self {
        let mut tensors = self.0.clone();
        if let Some(tensor) = tensors.remove(from) {
            tensors.insert(to.to_owned(), tensor);
        }
        Self(tensors, self.1.clone())
    }

    pub fn ids(&self, name: &str) -> Option<&[u32]> {
        self.1.get(name).map(Vec::as_slice)
    }

    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    pub fn get(&self, name: &str) -> &Tensor {
        self.find(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// Today's name of a tensor of an autoencoder of 2022.
fn today(name: &str) -> String {
    let pairs = [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];
    pairs.iter().fold(name.to_owned(), |name, (old, new)| name.replace(old, new))
}

impl Tensor {
    /// From `(n, c, h, w)` to channels last.
    pub fn channels_last(&self) -> Vec<f32> {
        let &[n, c, h, w] = &self.shape[..] else { panic!("{:?} is no picture", self.shape) };
        let mut out = Vec::with_capacity(self.values.len());
        for i in 0..n {
            for pixel in 0..h * w {
                out.extend((0..c).map(|c_| self.values[(i * c + c_) * h * w + pixel]));
            }
        }
        out
    }
}

/// A file of the graphs' weights, f32, from tensors of any shape with as many elements.
pub fn gguf(graphs: &[Graph], tensors: &Tensors) -> Vec<u8> {
    let mut writer = Writer::new();
    for weight in graphs.iter().flat_map(Graph::weights) {
        let tensor = tensors.get(&weight.name);
        let values = match weight.kind {
            WeightKind::Conv { out, kernel, inp } => {
                assert_eq!(tensor.shape, [out, inp, kernel, kernel], "{}", weight.name);
                tensor.channels_last()
            }
            WeightKind::Linear { out, inp } => {
                assert_eq!(tensor.shape, [out, inp], "{}", weight.name);
                tensor.values.clone()
            }
            _ => tensor.values.clone(),
        };
        writer.tensor(&weight.name, &weight.kind.row_major(), DType::F32, &values).unwrap();
    }
    writer.finish()
}

pub fn number(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number")) as usize
}

pub fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// One number for all levels, or one for each.
fn each(value: &Value, levels: usize) -> Vec<usize> {
    if value.is_array() { numbers(value) } else { vec![number(value); levels] }
}

pub fn unet(config: &Value) -> SdUnet {
    let channels = numbers(&config["block_out_channels"]);
    let heads = &config["num_attention_heads"];
    let heads = each(if heads.is_null() { &config["attention_head_dim"] } else { heads }, channels.len());
    let (types, layers) = (config["down_block_types"].as_array().unwrap(), number(&config["layers_per_block"]));
    let depths = |key: &str, i: usize, blocks: usize| {
        let of = match &config[key] {
            Value::Array(list) => &list[i],
            one => one,
        };
        each(of, blocks)
    };
    let (down, up) = ("transformer_layers_per_block", "reverse_transformer_layers_per_block");
    let level = |i: usize| SdLevel {
        channels: channels[i],
        heads: heads[i],
        down: match types[i] == "CrossAttnDownBlock2D" {
            true => depths(down, i, layers),
            false => vec![0; layers],
        },
        up: match (types[i] == "CrossAttnDownBlock2D", config[up].is_array()) {
            (false, _) => vec![0; layers + 1],
            (true, true) => depths(up, channels.len() - 1 - i, layers + 1),
            (true, false) => vec![depths(down, i, layers)[0]; layers + 1],
        },
    };
    let added = (config["addition_embed_type"] == "text_time").then(|| SdAdded {
        code: number(&config["addition_time_embed_dim"]),
        width: number(&config["projection_class_embeddings_input_dim"]),
    });
    SdUnet {
        in_channels: number(&config["in_channels"]),
        // A ControlNet has none.
        out_channels: config["out_channels"].as_u64().unwrap_or(4) as usize,
        levels: (0..channels.len()).map(level).collect(),
        middle: match config["mid_block_type"].as_str() {
            Some("UNetMidBlock2DCrossAttn") => SdMiddle::Transformer(depths(down, channels.len() - 1, layers)[0]),
            Some("UNetMidBlock2D") => SdMiddle::Resnet,
            _ => SdMiddle::None,
        },
        text_width: number(&config["cross_attention_dim"]),
        norm_groups: number(&config["norm_num_groups"]),
        norm_eps: config["norm_eps"].as_f64().unwrap() as f32,
        linear_projection: config["use_linear_projection"] == true,
        pads_below: false,
        time_code: TimeCode {
            cosine_first: config["flip_sin_to_cos"] == true,
            shift: config["freq_shift"].as_f64().unwrap(),
        },
        added,
        guidance_code: config["time_cond_proj_dim"].as_u64().unwrap_or(0) as usize,
    }
}

pub fn control_net(config: &Value) -> ControlNet {
    ControlNet {
        unet: unet(config),
        picture_channels: number(&config["conditioning_channels"]),
        embedding: numbers(&config["conditioning_embedding_out_channels"]),
    }
}

pub fn autoencoder_kl(config: &Value) -> AutoencoderKl {
    AutoencoderKl {
        in_channels: number(&config["in_channels"]),
        out_channels: number(&config["out_channels"]),
        latent_channels: number(&config["latent_channels"]),
        channels: numbers(&config["block_out_channels"]),
        layers_per_block: number(&config["layers_per_block"]),
        norm_groups: number(&config["norm_num_groups"]),
        // Older files do not say so.
        mid_attention: config["mid_block_add_attention"] != false,
        quant_conv: config["use_quant_conv"] != false,
        post_quant_conv: config["use_post_quant_conv"] != false,
        packed: false,
    }
}

pub fn autoencoder_tiny(config: &Value) -> AutoencoderTiny {
    let channels = numbers(&config["encoder_block_out_channels"]);
    assert_eq!(channels, numbers(&config["decoder_block_out_channels"]));
    AutoencoderTiny {
        in_channels: number(&config["in_channels"]),
        out_channels: number(&config["out_channels"]),
        latent_channels: number(&config["latent_channels"]),
        channels: channels[0],
        encoder_blocks: numbers(&config["num_encoder_blocks"]),
        decoder_blocks: numbers(&config["num_decoder_blocks"]),
        pooled: false,
    }
}
