//! The published models at full size: their names and shapes, in files without contents.

use super::support::{Folder, config, families, fixtures, raw};
use crate::expect::{self, Expected};
use crate::names::{Form, original};
use crate::{Checkpoint, Config, Options, Source};
use nijimi_runtime::raw::nn::SdMiddle;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Writes a header for these shapes, and as many bytes as it needs, which take no room on the disk.
fn sparse(path: &Path, shapes: &BTreeMap<String, Vec<usize>>) {
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in shapes {
        let bytes = 2 * shape.iter().product::<usize>() as u64;
        header.insert(name.clone(), json!({"dtype": "F16", "shape": shape, "data_offsets": [end, end + bytes]}));
        end += bytes;
    }
    let head = raw(&Value::Object(header).to_string(), &[]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, &head).unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(head.len() as u64 + end).unwrap();
}

fn shapes(tensors: &Value) -> BTreeMap<String, Vec<usize>> {
    let shape = |v: &Value| v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
    tensors.as_object().unwrap().iter().map(|(name, v)| (name.clone(), shape(v))).collect()
}

/// A pipeline folder of the model, with a small vocabulary.
fn pipeline(model: &Map<String, Value>) -> Folder {
    let folder = Folder::new();
    let mut index = Map::from_iter([("_class_name".to_string(), json!("StableDiffusionPipeline"))]);
    for (part, what) in model {
        let file = if part.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
        sparse(&folder.join(&format!("{part}/{file}.safetensors")), &shapes(&what["tensors"]));
        folder.write(&format!("{part}/config.json"), what["config"].to_string());
        index.insert(part.clone(), json!(["diffusers", "X"]));
        if let Some(second) = part.strip_prefix("text_encoder") {
            let small = families().into_values().find(|path| path.join("tokenizer/vocab.json").is_file()).unwrap();
            for name in ["vocab.json", "merges.txt"] {
                folder
                    .write(&format!("tokenizer{second}/{name}"), fs::read(small.join("tokenizer").join(name)).unwrap());
            }
            index.insert(format!("tokenizer{second}"), json!(["transformers", "CLIPTokenizer"]));
        }
    }
    let betas = json!({"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "prediction_type": "epsilon"});
    folder.write("scheduler/scheduler_config.json", betas.to_string());
    index.insert("scheduler".into(), json!(["diffusers", "DDIMScheduler"]));
    folder.write("model_index.json", Value::Object(index).to_string());
    folder
}

fn models() -> Vec<(String, Map<String, Value>)> {
    let folder = fixtures().into_iter().map(|folder| folder.join("shapes")).find(|folder| folder.is_dir()).unwrap();
    let mut models = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Value::Object(model) = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap() else { panic!() };
        if model.contains_key("unet") {
            models.push((path.file_stem().unwrap().to_str().unwrap().to_string(), model));
        }
    }
    assert!(!models.is_empty());
    models
}

/// No tensor is left over, none is missing, and each has the shape that the configuration says.
///
/// Seen red with the U-Net's skips taken first in, first out, and with a residual block less in each level on the way up.
#[test]
fn all_tensors_of_published_folders() {
    for (name, model) in models() {
        let folder = pipeline(&model);
        let checkpoint = folder.open().unwrap_or_else(|e| panic!("{name}: {e}"));
        let ours: BTreeSet<String> = checkpoint.tensors().iter().map(|t| t.name.clone()).collect();
        let theirs = model.iter().flat_map(|(part, what)| {
            let names = what["tensors"].as_object().unwrap().keys();
            names.map(move |name| format!("{part}.{name}"))
        });
        assert_eq!(ours, theirs.collect(), "{name}");
    }
}

/// A single file of all tensors of such a model, whose U-Net counts `per_level` blocks a level.
fn single(folder: &Folder, config: &Config, per_level: usize) -> PathBuf {
    let mut shapes = BTreeMap::new();
    for (part, expected) in expect::parts(config).unwrap() {
        for Expected { name, shape } in expected {
            let all = original(part, &name, config, per_level);
            let open_clip = all.iter().find(|c| c.name.contains("cond_stage_model.model."));
            let candidate = open_clip.filter(|_| config.family.name() == "sd2").unwrap_or(&all[0]);
            let shape = match candidate.form {
                Form::Same | Form::Flat => shape,
                Form::Pointwise => [&shape[..], &[1, 1]].concat(),
                Form::Third(_) => [&[3 * shape[0]], &shape[1..]].concat(),
                Form::Transposed => shape.into_iter().rev().collect(),
                Form::Swapped | Form::One | Form::Patches | Form::Rows { .. } | Form::Pack | Form::Unpack => {
                    unreachable!("of transformers")
                }
            };
            shapes.insert(candidate.name.clone(), shape);
        }
    }
    // 2.x is published with the layer that it skips.
    let last = shapes.iter().filter(|(name, _)| name.contains("cond_stage_model.model.transformer.resblocks.22."));
    let skipped: Vec<_> = last.map(|(name, shape)| (name.replace(".22.", ".23."), shape.clone())).collect();
    shapes.extend(skipped);
    let file = folder.join("single.safetensors");
    sparse(&file, &shapes);
    file
}

/// What it is told to be.
fn told(folder: &Folder, published: &Config, per_level: usize) -> Config {
    let file = single(folder, published, per_level);
    let single = Checkpoint::open(&file, &Options::default()).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut found = config(&single).clone();
    found.sample_size = published.sample_size;
    found.vae_sample_size = published.vae_sample_size;
    found.scheduler = published.scheduler.clone();
    found
}

/// A single file of the same tensors is told by them alone, with the same networks.
///
/// Seen red with 8 heads everywhere.
#[test]
fn single_files_of_published_models() {
    for (name, model) in models() {
        let folder = pipeline(&model);
        let published = config(&folder.open().unwrap()).clone();
        assert_eq!(told(&folder, &published, 3), published, "{name}");
    }
}

/// Smaller U-Nets made of the published ones, in the original code's numbering and in that of diffusers' converter, which
/// counts three blocks a level: BK-SDM and tiny-sd; SSD-1B, whose depths differ within a level; KOALA.
///
/// Seen red with three blocks a level whatever there is, with a middle taken for there, with one block in every middle's
/// transformer, and with the depths of the way down on the way up.
#[test]
fn single_files_of_smaller_unets() {
    let models = models();
    let of = |name: &str| {
        let folder = pipeline(&models.iter().find(|m| m.0 == name).unwrap().1);
        let config = config(&folder.open().unwrap()).clone();
        (folder, config)
    };
    for (model, levels, middle) in [
        ("sd15", 4, SdMiddle::Transformer(1)),
        ("sd15", 4, SdMiddle::None),
        ("sd15", 3, SdMiddle::None),
        ("sdxl", 3, SdMiddle::None),
        ("sdxl", 3, SdMiddle::Transformer(5)),
    ] {
        let (folder, mut config) = of(model);
        config.denoiser.unet_mut().unwrap().middle = middle;
        config.denoiser.unet_mut().unwrap().levels.truncate(levels);
        for level in &mut config.denoiser.unet_mut().unwrap().levels {
            level.down.truncate(1);
            level.up.truncate(2);
        }
        for per_level in [2, 3] {
            assert_eq!(told(&folder, &config, per_level), config, "{model} {levels} {middle:?}, {per_level} a level");
        }
    }
    let (folder, mut config) = of("sdxl");
    config.denoiser.unet_mut().unwrap().middle = SdMiddle::Resnet;
    (config.denoiser.unet_mut().unwrap().levels[1].up, config.denoiser.unet_mut().unwrap().levels[2].up) =
        (vec![2, 1, 1], vec![4, 4, 10]);
    config.denoiser.unet_mut().unwrap().levels[2].down = vec![4, 3];
    assert_eq!(told(&folder, &config, 3), config);
}

/// Names as they are in the published files, written down from those.
///
/// Seen red with the upsampler of a level without attention at place 2 alone.
#[test]
fn names_of_the_original_code() {
    let models = models();
    let of = |name: &str| config(&pipeline(&models.iter().find(|m| m.0 == name).unwrap().1).open().unwrap()).clone();
    let (sd15, sd21, sdxl) = (of("sd15"), of("sd21"), of("sdxl"));
    for (config, part, name, expected) in [
        (
            &sd15,
            "unet",
            "down_blocks.1.resnets.0.conv_shortcut.weight",
            "model.diffusion_model.input_blocks.4.0.skip_connection.weight",
        ),
        (&sd15, "unet", "down_blocks.2.downsamplers.0.conv.bias", "model.diffusion_model.input_blocks.9.0.op.bias"),
        (&sd15, "unet", "up_blocks.0.upsamplers.0.conv.weight", "model.diffusion_model.output_blocks.2.1.conv.weight"),
        (&sd15, "unet", "up_blocks.1.upsamplers.0.conv.weight", "model.diffusion_model.output_blocks.5.2.conv.weight"),
        (
            &sd15,
            "unet",
            "up_blocks.3.attentions.2.proj_out.weight",
            "model.diffusion_model.output_blocks.11.1.proj_out.weight",
        ),
        (
            &sd15,
            "unet",
            "mid_block.resnets.1.time_emb_proj.bias",
            "model.diffusion_model.middle_block.2.emb_layers.1.bias",
        ),
        (&sdxl, "unet", "up_blocks.0.upsamplers.0.conv.weight", "model.diffusion_model.output_blocks.2.2.conv.weight"),
        (&sdxl, "unet", "add_embedding.linear_2.weight", "model.diffusion_model.label_emb.0.2.weight"),
        (
            &sd15,
            "vae",
            "decoder.up_blocks.3.resnets.2.norm1.weight",
            "first_stage_model.decoder.up.0.block.2.norm1.weight",
        ),
        (
            &sd15,
            "vae",
            "decoder.up_blocks.2.resnets.0.conv_shortcut.bias",
            "first_stage_model.decoder.up.1.block.0.nin_shortcut.bias",
        ),
        (
            &sd15,
            "vae",
            "decoder.up_blocks.0.upsamplers.0.conv.bias",
            "first_stage_model.decoder.up.3.upsample.conv.bias",
        ),
        (
            &sd15,
            "vae",
            "encoder.down_blocks.0.downsamplers.0.conv.bias",
            "first_stage_model.encoder.down.0.downsample.conv.bias",
        ),
        (
            &sd15,
            "vae",
            "encoder.mid_block.attentions.0.to_out.0.weight",
            "first_stage_model.encoder.mid.attn_1.proj_out.weight",
        ),
        (
            &sd15,
            "vae",
            "encoder.mid_block.attentions.0.group_norm.bias",
            "first_stage_model.encoder.mid.attn_1.norm.bias",
        ),
        (&sd15, "vae", "encoder.conv_norm_out.weight", "first_stage_model.encoder.norm_out.weight"),
        (&sd15, "vae", "post_quant_conv.weight", "first_stage_model.post_quant_conv.weight"),
        (
            &sd15,
            "text_encoder",
            "text_model.final_layer_norm.bias",
            "cond_stage_model.transformer.text_model.final_layer_norm.bias",
        ),
        (
            &sd21,
            "text_encoder",
            "text_model.encoder.layers.7.self_attn.v_proj.weight",
            "cond_stage_model.model.transformer.resblocks.7.attn.in_proj_weight",
        ),
        (
            &sd21,
            "text_encoder",
            "text_model.encoder.layers.7.layer_norm2.bias",
            "cond_stage_model.model.transformer.resblocks.7.ln_2.bias",
        ),
        (
            &sdxl,
            "text_encoder",
            "text_model.embeddings.position_embedding.weight",
            "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
        ),
        (
            &sdxl,
            "text_encoder_2",
            "text_model.embeddings.position_embedding.weight",
            "conditioner.embedders.1.model.positional_embedding",
        ),
        (&sdxl, "text_encoder_2", "text_projection.weight", "conditioner.embedders.1.model.text_projection"),
        (
            &sdxl,
            "text_encoder_2",
            "text_model.encoder.layers.31.mlp.fc2.weight",
            "conditioner.embedders.1.model.transformer.resblocks.31.mlp.c_proj.weight",
        ),
        (
            &sdxl,
            "text_encoder_2",
            "text_model.final_layer_norm.weight",
            "conditioner.embedders.1.model.ln_final.weight",
        ),
    ] {
        let names: Vec<String> = original(part, name, config, 3).into_iter().map(|c| c.name).collect();
        assert!(names.iter().any(|n| n == expected), "{name}: {expected} is not among {names:?}");
    }
}
