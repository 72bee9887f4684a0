//! Broken and hostile inputs: each is refused with what is wrong, where, and what to do, and none panics.

use super::support::{Folder, edit_weights, families, raw, safetensors, stored};
use crate::{Checkpoint, ImportError, Options, TensorFile, Types, convert};
use nijimi_runtime::quant::DType;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// The message with which a single file of these bytes is refused.
fn single(name: &str, bytes: &[u8]) -> String {
    let folder = Folder::new();
    folder.write(name, bytes);
    let refused = Checkpoint::open(folder.join(name), &Options::default()).unwrap_err().to_string();
    refused.replace(folder.0.to_str().unwrap(), "")
}

fn refuses(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// Seen red with overlaps let through, with bytes behind the last tensor let through, and with the later of two entries
/// of a name taken.
#[test]
fn headers_that_lie() {
    let entry = |start: u64, end: u64| json!({"dtype": "F16", "shape": [2], "data_offsets": [start, end]});
    let two = |a: (u64, u64), b: (u64, u64)| json!({"a": entry(a.0, a.1), "b": entry(b.0, b.1)}).to_string();
    let of = |header: &str, data: usize| single("a.safetensors", &raw(header, &vec![0; data]));
    refuses(&of(&two((0, 4), (2, 6)), 6), &["\"b\"", "overlap"]);
    refuses(&of(&two((0, 4), (8, 12)), 12), &["\"b\"", "hole"]);
    refuses(&of(&two((0, 4), (4, 8)), 9), &["1 bytes follow"]);
    refuses(&of(&two((0, 4), (4, 8)), 7), &["\"b\"", "4 to 8 of 7", "truncated"]);
    refuses(&of(&two((0, 4), (8, 4)), 8), &["\"b\""]);
    refuses(&of(&json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}).to_string(), 4), &["4 bytes"]);
    let overflow = json!({"a": {"dtype": "F16", "shape": [1u64 << 40, 1u64 << 40], "data_offsets": [0, 4]}});
    refuses(&of(&overflow.to_string(), 4), &["does not take 4 bytes"]);
    let twice = r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"a":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}}"#;
    refuses(&of(twice, 8), &["\"a\" occurs twice"]);
    refuses(&of(r#"{"a":{"dtype":"F16","shape":[-2],"data_offsets":[0,4]}}"#, 4), &["header"]);
    refuses(&of("[1]", 0), &["does not begin with {"]);
    refuses(&of("{\"a\"", 0), &["header"]);
    refuses(&single("a.safetensors", &[1, 2, 3]), &["3 bytes"]);
    refuses(&single("a.safetensors", &u64::MAX.to_le_bytes()), &["header would have 18446744073709551615 bytes"]);
    refuses(&single("a.safetensors", &raw("{}", &[])), &["no model", "model.diffusion_model"]);
}

/// Seen red with the pickle's magic bytes not looked at, and with every file that begins with `<` taken for a web page.
#[test]
fn other_files() {
    refuses(&single("a.safetensors", b""), &["/a.safetensors is empty", "download it again"]);
    refuses(&single("a.ckpt", b"PK\x03\x04junkjunk"), &["pickle", "download the model as .safetensors"]);
    refuses(&single("a.safetensors", b"PK\x03\x04junkjunk"), &["pickle"]);
    refuses(&single("a.safetensors", b"\x80\x02}q\x00(X\x01"), &["pickle"]);
    refuses(&single("a.bin", b"whatever it is"), &["pickle"]);
    refuses(&single("a.safetensors", b"GGUF\x03\0\0\0...."), &["GGUF"]);
    refuses(&single("a.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), &["git lfs pull"]);
    refuses(&single("a.safetensors", b"<!DOCTYPE html>"), &["web page"]);
    // A header of 60 bytes begins with "<", and is no web page for it.
    refuses(&single("a.safetensors", &raw(&format!("{:60}", "{}"), &[])), &["no model", "model.diffusion_model"]);
    let none = Checkpoint::open("/no/such/file.safetensors", &Options::default()).unwrap_err().to_string();
    refuses(&none, &["cannot open /no/such/file.safetensors"]);
    for (name, what) in [
        ("lora_unet_mid_block.alpha", "LoRA"),
        ("control_model.input_hint_block.0.weight", "ControlNet"),
        ("double_blocks.0.img_attn.qkv.weight", "transformer"),
        ("decoder.conv_in.weight", "autoencoder"),
        ("blk.0.weight", "not Stable Diffusion's"),
        ("model.diffusion_model.joint_blocks.0.x", "SD 3"),
        ("model.diffusion_model.input_blocks.0.0.weight", "no text encoder"),
    ] {
        let tensors = BTreeMap::from([(name.to_string(), ("F16".to_string(), [1].into(), [0, 0].into()))]);
        refuses(&single("a.safetensors", &safetensors(&tensors)), &[what]);
    }
}

/// Seen red with shapes not compared, and with names left over let through.
#[test]
fn folders_that_lack_something() {
    let folder = Folder::new();
    refuses(&folder.refused(), &["neither a model_index.json nor a config.json"]);

    let remove = |name: &str| {
        let folder = Folder::copy_of("sd1");
        fs::remove_file(folder.join(name)).unwrap();
        folder.refused()
    };
    refuses(&remove("unet/config.json"), &["/unet/config.json is missing"]);
    refuses(&remove(UNET), &["/unet/*.safetensors is missing", "has no weights"]);
    refuses(&remove("scheduler/scheduler_config.json"), &["/scheduler/scheduler_config.json is missing"]);

    let name = "mid_block.resnets.0.conv1.weight";
    let edited = |edit: &dyn Fn(&mut BTreeMap<String, super::support::Stored>)| {
        let folder = Folder::copy_of("sd1");
        edit_weights(&folder.join(UNET), edit);
        folder.refused()
    };
    let message = edited(&|tensors| {
        tensors.remove(name);
    });
    refuses(&message, &["/unet lacks the tensor mid_block.resnets.0.conv1.weight of shape [32, 32, 3, 3]"]);
    let message = edited(&|tensors| {
        let tensor = tensors.get_mut(name).unwrap();
        tensor.1 = [32, 96, 3, 1].into();
    });
    refuses(&message, &[UNET, name, "[32, 96, 3, 1]", "expected [32, 32, 3, 3]"]);
    let message = edited(&|tensors| {
        tensors.insert("extra.weight".into(), ("F16".into(), [1].into(), [0, 0].into()));
    });
    refuses(&message, &["nothing in this model takes the tensor extra.weight of shape [1]"]);
    for (dtype, bytes) in [("F64", 8), ("F8_E8M0", 1), ("I16", 2)] {
        let message = edited(&|tensors| {
            let tensor = tensors.get_mut("conv_in.bias").unwrap();
            *tensor = (dtype.into(), [16].into(), vec![0; 16 * bytes]);
        });
        refuses(&message, &["conv_in.bias", dtype, "read are F32, F16, BF16"]);
    }

    let folder = Folder::copy_of("sd1");
    folder.write(UNET, b"");
    refuses(&folder.refused(), &[UNET, "is empty"]);
    let folder = Folder::copy_of("sd1");
    let whole = fs::read(folder.join(UNET)).unwrap();
    folder.write(UNET, &whole[..whole.len() - 1]);
    refuses(&folder.refused(), &[UNET, "truncated"]);
    let folder = Folder::copy_of("sd1");
    fs::rename(folder.join(UNET), folder.join("unet/diffusion_pytorch_model.bin")).unwrap();
    refuses(&folder.refused(), &["diffusion_pytorch_model.bin is a Python pickle"]);
}

/// Seen red with `up_block_types` not looked at, and with `latents_std` let through.
#[test]
fn configurations_of_something_else() {
    let config = |name: &str, key: &str, value: serde_json::Value| {
        let folder = Folder::copy_of("sd1");
        folder.edit(name, |map| {
            map.insert(key.into(), value);
        });
        folder.refused()
    };
    let unet = |key: &str, value| config("unet/config.json", key, value);
    refuses(&config("model_index.json", "_class_name", json!("FluxPipeline")), &["FluxPipeline", "XL or 3"]);
    refuses(&unet("act_fn", json!("mish")), &["/unet/config.json: act_fn is \"mish\", expected \"silu\""]);
    refuses(&unet("class_embed_type", json!("timestep")), &["class_embed_type", "expected null"]);
    refuses(&unet("block_out_channels", json!([16, 32])), &["down_block_types"]);
    refuses(&unet("block_out_channels", json!([16, 32, u64::MAX])), &["block_out_channels"]);
    refuses(&unet("layers_per_block", json!(1_000_000)), &["at most 256"]);
    refuses(&unet("attention_head_dim", json!([3, 3, 3])), &["attention_head_dim"]);
    refuses(&unet("up_block_types", json!(["CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"])), &["in reverse"]);
    refuses(&unet("cross_attention_dim", json!(768)), &["cross_attention_dim is 768, expected 32"]);
    refuses(&unet("block_out_channels", json!([16, 32, 64])), &["resnets.0", "expected [64"]);
    refuses(&config("vae/config.json", "norm_num_groups", json!(7)), &["norm_num_groups is 7"]);
    refuses(
        &config("vae/config.json", "latents_std", json!([1, 1, 1, 1])),
        &["latents_mean is absent", "as latents_std is"],
    );
    refuses(&unet("block_out_channels", json!([16, 32, 20000])), &["channels is 20000, must be 1 to 16384"]);
    refuses(&config("text_encoder/config.json", "hidden_act", json!("relu")), &["hidden_act"]);
    refuses(&config("text_encoder/config.json", "vocab_size", json!(1)), &["token_embedding", "expected [1, 32]"]);
    refuses(&config("scheduler/scheduler_config.json", "prediction_type", json!("flow")), &["prediction_type"]);
    let folder = Folder::copy_of("sd1");
    folder.write("unet/config.json", "{\"act_fn\": ");
    refuses(&folder.refused(), &["/unet/config.json: it is not JSON"]);

    let folder = Folder::copy_of("sd1");
    folder.edit("tokenizer/vocab.json", |map| {
        map.insert("<|endoftext|>".into(), json!(5));
    });
    refuses(&folder.refused(), &["/tokenizer/vocab.json", "have the same id 5"]);
    let folder = Folder::copy_of("sd1");
    folder.edit("tokenizer/vocab.json", |map| {
        map.insert("one too many".into(), json!(674));
    });
    refuses(&folder.refused(), &["knows 674 tokens, but its tokenizer has 675"]);
}

/// Seen red with the place counted from the start of a piece.
#[test]
fn numbers_that_are_none() {
    let folder = Folder::copy_of("sd1");
    let name = "mid_block.resnets.0.conv1.weight";
    edit_weights(&folder.join(UNET), |tensors| {
        let at = 2 * (5 * 288 + 11 * 9 + 1);
        tensors.get_mut(name).unwrap().2[at..at + 2].copy_from_slice(&half::f16::NAN.to_le_bytes());
    });
    let out = folder.join("out.gguf");
    let before = fs::read_dir(&folder.0).unwrap().count();
    let checkpoint = folder.open().unwrap();
    let refused = convert(&checkpoint, &out, "x", &Types::new(DType::F16), |_| ()).unwrap_err();
    assert!(matches!(&refused, ImportError::NotFinite { count: 1, of: 9216, .. }), "{refused:?}");
    // Row 5, its second tap, channel 11 of 32.
    refuses(&refused.to_string(), &[UNET, name, "value 1483 is NaN"]);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), before, "nothing is left");

    edit_weights(&folder.join(UNET), |tensors| {
        let tensor = tensors.get_mut(name).unwrap();
        let mut numbers = vec![0.5f32; 32 * 32 * 9];
        numbers[7] = 1e6;
        *tensor = ("F32".into(), tensor.1.clone(), numbers.iter().flat_map(|x| x.to_le_bytes()).collect());
    });
    let checkpoint = folder.open().unwrap();
    let refused = convert(&checkpoint, &out, "x", &Types::new(DType::F16), |_| ()).unwrap_err().to_string();
    refuses(&refused, &[name, "1000000", "store this tensor as f32"]);
    let mut types = Types::new(DType::F16);
    types.rule("resnets.0.conv1=f32").unwrap();
    convert(&checkpoint, &out, "x", &types, |_| ()).unwrap();
}

/// A part in two shards, or under a variant's name, is the part; f32 and bf16 are read.
///
/// Seen red with the first shard alone read, and with bf16 decoded as f16.
#[test]
fn shards_variants_and_types() {
    let folder = Folder::copy_of("sd1");
    let plain = folder.open().unwrap();
    let numbers = |checkpoint: &Checkpoint| -> Vec<Vec<f32>> {
        (0..plain.tensors.len()).map(|i| super::support::values(checkpoint, i, 3)).collect()
    };
    let expected = numbers(&plain);
    let mut all = stored(&folder.join(UNET));
    let second = all.split_off("mid_block");
    let index = "unet/diffusion_pytorch_model.safetensors.index.json";
    let shard = |i: usize| format!("diffusion_pytorch_model-0000{i}-of-00002.safetensors");
    let map: BTreeMap<&String, String> =
        all.keys().map(|k| (k, shard(1))).chain(second.keys().map(|k| (k, shard(2)))).collect();
    folder.write(index, json!({"metadata": {}, "weight_map": map}).to_string());
    folder.write(&format!("unet/{}", shard(1)), safetensors(&all));
    fs::remove_file(folder.join(UNET)).unwrap();
    refuses(&folder.refused(), &["-00002-of-00002.safetensors is missing", "the index names this shard"]);
    folder.write(&format!("unet/{}", shard(2)), safetensors(&second));
    assert_eq!(numbers(&folder.open().unwrap()), expected);
    fs::remove_file(folder.join(index)).unwrap();
    refuses(&folder.refused(), &["not their index"]);
    folder.write(index, json!({"weight_map": {"a": "../../secret.safetensors"}}).to_string());
    refuses(&folder.refused(), &["secret", "beside it"]);

    let folder = Folder::copy_of("sd1");
    let (vae, fp16) = ("vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors");
    fs::rename(folder.join(vae), folder.join(fp16)).unwrap();
    assert_eq!(numbers(&folder.open().unwrap()), expected);
    fs::rename(folder.join(fp16), folder.join("vae/diffusion_pytorch_model.ours.safetensors")).unwrap();
    refuses(&folder.refused(), &["--variant"]);

    let folder = Folder::copy_of("sd1");
    edit_weights(&folder.join(UNET), |tensors| {
        for (i, (dtype, _, bytes)) in tensors.values_mut().enumerate() {
            let wide = bytes.as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32());
            if i % 2 == 0 {
                (*dtype, *bytes) = ("F32".into(), wide.flat_map(f32::to_le_bytes).collect());
            } else {
                (*dtype, *bytes) = ("BF16".into(), wide.flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect());
            }
        }
    });
    for (ours, expected) in numbers(&folder.open().unwrap()).iter().flatten().zip(expected.iter().flatten()) {
        assert!((ours - expected).abs() <= expected.abs() / 256.0, "{ours} is {expected} as bf16 or f32");
    }
}

/// The two forms of a vocabulary are one.
///
/// Seen red with the merges' pairs joined without a space.
#[test]
fn either_form_of_a_tokenizer() {
    let folder = Folder::copy_of("sd1");
    let both = folder.open().unwrap().tokenizer.unwrap();
    assert!(both.merges.len() > 100 && both.merges.iter().all(|m| !m.starts_with('#')));
    assert_eq!([both.bos, both.eos, both.pad].map(|id| both.tokens[id as usize].as_str())[0], "<|startoftext|>");
    fs::remove_file(folder.join("tokenizer/vocab.json")).unwrap();
    assert_eq!(folder.open().unwrap().tokenizer.unwrap(), both);
    folder.edit("tokenizer/tokenizer_config.json", |map| {
        map.insert("pad_token".into(), json!({"__type": "AddedToken", "content": "!"}));
    });
    let other = folder.open().unwrap().tokenizer.unwrap();
    assert_eq!(other.tokens[other.pad as usize], "!");
    folder.edit("tokenizer/tokenizer_config.json", |map| {
        map.insert("pad_token".into(), json!("no such token"));
    });
    refuses(&folder.refused(), &["tokenizer.json", "pad_token \"no such token\""]);
    fs::remove_file(folder.join("tokenizer/tokenizer.json")).unwrap();
    refuses(&folder.refused(), &["/tokenizer/vocab.json is missing"]);
}

/// Every byte of a header changed in three ways: an error or a file, never a panic.
#[test]
fn changed_headers_do_not_panic() {
    let bytes = fs::read(families()["sd1"].join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // The header with a hundredth of its entries is as good as the whole.
    let (folder, mut refused) = (Folder::new(), 0);
    let start = raw(&json!({"a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}).to_string(), &[0; 12]);
    let cases = [&bytes[..], &start[..]];
    for (case, step) in cases.into_iter().zip([length / 60, 1]) {
        for at in (0..length.min(case.len())).step_by(step.max(1)) {
            for change in [b'9', b'"', 0xff] {
                let mut changed = case.to_vec();
                changed[at] = change;
                folder.write("x.safetensors", &changed);
                refused += usize::from(TensorFile::open(&folder.join("x.safetensors")).is_err());
            }
        }
    }
    assert!(refused > 100, "{refused} were refused");
}
