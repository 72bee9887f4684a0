//! Parts that do not fit each other, and what cannot be drawn, are refused before a byte is written.

use super::support::{Folder, edit_weights, stored};
use crate::{Checkpoint, Options};
use serde_json::{Value, json};

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// Seen red with the channels not compared.
#[test]
fn networks_that_do_not_fit_each_other() {
    let unet = "unet/diffusion_pytorch_model.safetensors";
    // Seven of what enlarges, and a number that no model has.
    for channels in [7, 6] {
        let folder = Folder::copy_of("sd1");
        folder.edit("unet/config.json", |map| {
            map.insert("in_channels".into(), json!(channels));
        });
        edit_weights(&folder.join(unet), |tensors| {
            let (_, shape, bytes) = tensors.get_mut("conv_in.weight").unwrap();
            *bytes = vec![0x11; bytes.len() / shape[1] * channels];
            shape[1] = channels;
        });
        says(
            &folder.refused(),
            &[&format!("the U-Net reads {channels} channels"), "only 4", "9 (inpainting)", "8 (editing"],
        );
    }
    let folder = Folder::copy_of("sd1");
    folder.edit("unet/config.json", |map| {
        map.insert("out_channels".into(), json!(8));
    });
    edit_weights(&folder.join(unet), |tensors| {
        for name in ["conv_out.weight", "conv_out.bias"] {
            let (_, shape, bytes) = tensors.get_mut(name).unwrap();
            *bytes = [&bytes[..], bytes].concat();
            shape[0] *= 2;
        }
    });
    says(&folder.refused(), &["answers with 8 channels", "latents have 4 channels"]);
    // A single file has 32 ranges of channels, whatever its channels are.
    let folder = Folder::copy_of("sd1");
    let checkpoint = folder.open().unwrap();
    folder.write("one.safetensors", super::support::safetensors(&super::families::rewritten(&checkpoint)));
    let options = Options { tokenizer: Some(folder.join("tokenizer")), ..Options::default() };
    let refused = Checkpoint::open(folder.join("one.safetensors"), &options).unwrap_err().to_string();
    says(&refused, &["norm", "32"]);
}

/// Each setting is obeyed, known to change nothing, or refused by name: seen red with those passed over that no list has.
#[test]
fn settings_that_cannot_be_obeyed() {
    let with = |name: &str, key: &str, value: Value| {
        let folder = Folder::copy_of("sd1");
        folder.edit(name, |map| {
            map.insert(key.into(), value);
        });
        folder.open().map_err(|e| e.to_string())
    };
    let scheduler = "scheduler/scheduler_config.json";
    for (name, key, value) in [
        (scheduler, "sigma_data", json!(0.5)),
        (scheduler, "thresholding", json!(true)),
        (scheduler, "use_dynamic_shifting", json!(true)),
        (scheduler, "invert_sigmas", json!(true)),
        (scheduler, "rescale_sigmas_somehow", json!(1)),
        (scheduler, "timestep_spacing", json!("random")),
        (scheduler, "beta_schedule", json!("sigmoid")),
        (scheduler, "sigma_max", json!(80.0)),
        ("unet/config.json", "attention_bias_of_its_own", json!("x")),
        ("vae/config.json", "latents_mean", json!([0.1, 0.2, 0.3, 0.4])),
        ("vae/config.json", "gain", json!(2.0)),
        ("vae/config.json", "scaling_factor", json!(-1.0)),
        ("model_index.json", "controlnet", json!(["diffusers", "ControlNetModel"])),
    ] {
        let refused = with(name, key, value.clone()).expect_err(key);
        says(&refused, &[key, value.as_str().unwrap_or_default()]);
    }
    for (name, key, value) in [
        (scheduler, "rescale_betas_zero_snr", json!(true)),
        (scheduler, "flow_shift", json!(1.0)),
        (scheduler, "use_dynamic_shifting", json!(false)),
        (scheduler, "disable_corrector", json!([])),
        ("unet/config.json", "decay", json!(0.999)),
        ("unet/config.json", "dropout", json!(0.0)),
        ("vae/config.json", "latents_mean", Value::Null),
        ("model_index.json", "image_encoder", json!(["transformers", "X"])),
    ] {
        with(name, key, value).unwrap_or_else(|e| panic!("{key}: {e}"));
    }
    let other = with(scheduler, "_class_name", json!("DPMSolverSDEScheduler")).unwrap();
    assert!(other.notes.iter().any(|note| note.contains("--sampling-method")), "{:?}", other.notes);
    // As Python writes it.
    let folder = Folder::copy_of("sd1");
    folder.edit(scheduler, |map| {
        map.insert("_class_name".into(), json!("DPMSolverMultistepScheduler"));
        map.insert("lambda_min_clipped".into(), json!("INFINITE"));
    });
    let text = std::fs::read_to_string(folder.join(scheduler)).unwrap().replace("\"INFINITE\"", "-Infinity");
    folder.write(scheduler, text);
    folder.open().unwrap();
}

/// Seen red with every GGUF file taken for one of ours.
#[test]
fn weight_files_of_others() {
    let folder = Folder::new();
    let of = |bytes: &[u8]| {
        folder.write("a.gguf", bytes);
        Checkpoint::open(folder.join("a.gguf"), &Options::default()).unwrap_err().to_string()
    };
    let mut writer = nijimi_runtime::gguf::Writer::new();
    writer.meta("general.architecture", "nijimi").unwrap();
    says(&of(&writer.finish()), &["of this program already", "-m"]);
    let mut writer = nijimi_runtime::gguf::Writer::new();
    writer.meta("general.architecture", "sd1").unwrap();
    for other in [writer.finish(), nijimi_runtime::gguf::Writer::new().finish()] {
        says(&of(&other), &["its tensors are not Stable Diffusion's"]);
    }
    says(&of(b"GGUF"), &["4 bytes are fewer than the 24 of a header"]);
}

/// All of them are named with how many: seen red with the first piece alone counted.
#[test]
fn numbers_that_are_none_are_counted() {
    let folder = Folder::copy_of("sd1");
    let (file, name) = ("unet/diffusion_pytorch_model.safetensors", "mid_block.resnets.0.conv1.weight");
    let count = stored(&folder.join(file))[name].2.len() / 2;
    edit_weights(&folder.join(file), |tensors| {
        for at in [7, 9, count - 1] {
            tensors.get_mut(name).unwrap().2[2 * at..][..2].copy_from_slice(&half::f16::INFINITY.to_le_bytes());
        }
    });
    let types = crate::Types::new(nijimi_runtime::quant::DType::F16);
    let refused = crate::convert(&folder.open().unwrap(), &folder.join("o.gguf"), "x", &types, |_| ()).unwrap_err();
    says(&refused.to_string(), &[name, &format!("3 of its {count} values are NaN or infinite")]);
}
