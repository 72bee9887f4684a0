//! Numbers of other programs: FP8 with factors, and GGUF.

use super::families::rewritten;
use super::support::{Folder, Stored, families, fixtures, marked, safetensors, values};
use crate::numbers::Numbers;
use crate::{Checkpoint, Options, Source, Types, convert};
use half::f16;
use nijimi_runtime::gguf::{ElementType, Writer};
use nijimi_runtime::quant::DType;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Each of ggml's types, bit for bit as gguf-py decodes it.
///
/// Seen red with the minima of a q4_K block's last four parts without their upper bits.
#[test]
fn blocks_as_the_reference_decodes_them() {
    let project = fixtures().into_iter().map(|folder| folder.join("gguf/blocks.json")).find(|path| path.is_file());
    let Some(path) = project else { return println!("skipped: gguf/blocks.json is not among the fixtures") };
    let all: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let hex = |text: &Value, digits: usize| -> Vec<u32> {
        let text = text.as_str().unwrap().as_bytes();
        text.chunks(digits).map(|b| u32::from_str_radix(str::from_utf8(b).unwrap(), 16).unwrap()).collect()
    };
    let mut seen = 0;
    for (name, block) in all.as_object().unwrap() {
        let ids = 0..64;
        let numbers =
            ids.filter_map(Numbers::from_id).find(|n| n.ggml_name() == name).unwrap_or_else(|| panic!("{name}"));
        let bytes: Vec<u8> = hex(&block["bytes"], 2).into_iter().map(|b| b as u8).collect();
        let mut found = Vec::new();
        numbers.decode(&bytes, &mut found);
        // Zeros have either sign.
        let expected: Vec<f32> = hex(&block["bits"], 8).into_iter().map(f32::from_bits).collect();
        assert_eq!(found.len(), 2 * numbers.block_len(), "{name}");
        assert_eq!(found, expected, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 12);
}

/// The nearest number of eight bits, found by trying all, as a decoder that is written another way has them.
fn fp8(value: f32, mantissa: i32) -> u8 {
    let number = |bits: u8| {
        let (exponent, low) = (i32::from(bits & 127) >> mantissa, i32::from(bits) & ((1 << mantissa) - 1));
        let bias = (1 << (6 - mantissa)) - 1;
        let size = match exponent {
            0 => low as f32 * 2f32.powi(1 - bias - mantissa),
            _ => (1.0 + low as f32 / (1 << mantissa) as f32) * 2f32.powi(exponent - bias),
        };
        if bits & 128 == 0 { size } else { -size }
    };
    // Without those that are no numbers.
    let most = if mantissa == 3 { 0x7e } else { 0x7b };
    let all = (0..=255u8).filter(|bits| bits & 127 <= most);
    all.min_by(|a, b| (number(*a) - value).abs().total_cmp(&(number(*b) - value).abs())).unwrap()
}

/// The small pipeline's single file, as its tensors, and where its vocabulary is.
fn single() -> (BTreeMap<String, Stored>, Options, Vec<Vec<f32>>) {
    let path = &families()["sd1full"];
    let folder = Checkpoint::open(path, &Options::default()).unwrap();
    let all = (0..folder.tensors().len()).map(|i| values(&folder, i, usize::MAX)).collect();
    (rewritten(&folder), Options { tokenizer: Some(path.join("tokenizer")), ..Options::default() }, all)
}

const LAYER: &str = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q";

/// FP8 is read as what it stands for, multiplied by the factor beside it, in either spelling.
///
/// Seen red with the factor of the newer spelling left out.
#[test]
fn eight_bits_and_their_factors() {
    let (tensors, options, before) = single();
    let folder = Folder::new();
    for (dtype, mantissa, spelling) in [
        ("F8_E4M3", 3, None),
        ("F8_E5M2", 2, None),
        ("F8_E4M3", 3, Some("scale_weight")),
        ("F8_E5M2", 2, Some("weight_scale")),
    ] {
        let mut changed = tensors.clone();
        let factor = if spelling.is_some() { 0.0625f32 } else { 1.0 };
        let names: Vec<String> = changed.keys().filter(|name| name.ends_with(".weight")).cloned().collect();
        for name in names {
            let (kind, shape, bytes) = changed.get_mut(&name).unwrap();
            // All are tried for each number: some layers will do.
            if kind != "F16" || shape.len() < 2 || !name.contains(".attn1.") {
                continue;
            }
            let numbers = bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32());
            *bytes = numbers.map(|v| fp8(v / factor, mantissa)).collect();
            *kind = dtype.into();
            let layer = name.strip_suffix(".weight").unwrap();
            if let Some(spelling) = spelling {
                let shape = if layer.len() % 2 == 0 { vec![] } else { vec![1] };
                changed.insert(format!("{layer}.{spelling}"), ("F32".into(), shape, factor.to_le_bytes().into()));
                changed.insert(format!("{layer}.scale_input"), ("F32".into(), vec![], 3f32.to_le_bytes().into()));
            }
            if spelling == Some("weight_scale") {
                let about = json!({"format": "float8_e5m2", "full_precision_matrix_mult": true}).to_string();
                changed.insert(format!("{layer}.comfy_quant"), ("U8".into(), vec![about.len()], about.into_bytes()));
            }
        }
        changed.insert("model.diffusion_model.scaled_fp8".into(), (dtype.into(), vec![0], vec![]));
        folder.write("a.safetensors", safetensors(&changed));
        let checkpoint = Checkpoint::open(folder.join("a.safetensors"), &options).unwrap();
        assert!(checkpoint.tensors().iter().any(|tensor| tensor.stored_type == dtype));
        // Half a step of the mantissa, or of the smallest numbers.
        let (step, least) = (0.5f32.powi(mantissa + 1), factor * 2f32.powi(if mantissa == 3 { -10 } else { -17 }));
        for (i, before) in before.iter().enumerate() {
            for (a, b) in values(&checkpoint, i, 3).iter().zip(before) {
                assert!(
                    (a - b).abs() <= step * b.abs() + least,
                    "{}: {a} is {b} as {dtype}",
                    checkpoint.tensors()[i].name
                );
            }
        }
    }
}

/// What is beside a weight is understood, or refused by name. Seen red with a factor that is NaN let through.
#[test]
fn factors_that_cannot_be() {
    let (tensors, options, _) = single();
    let folder = Folder::new();
    let refused = |beside: &[(&str, Stored)], texts: &[(&str, &str)]| {
        let mut changed = tensors.clone();
        changed.extend(beside.iter().map(|(name, tensor)| (format!("{LAYER}{name}"), tensor.clone())));
        folder.write("a.safetensors", marked(&changed, texts));
        Checkpoint::open(folder.join("a.safetensors"), &options).unwrap_err().to_string()
    };
    let number = |v: f32| ("F32".to_owned(), vec![], v.to_le_bytes().to_vec());
    let text = |text: &str| ("U8".to_owned(), vec![text.len()], text.as_bytes().to_vec());
    for (beside, parts) in [
        (&[(".scale_weight", number(f32::NAN))][..], &["scale_weight", "NaN"][..]),
        (&[(".weight_scale", number(0.0))], &["weight_scale", "is 0", "multiplied"]),
        (&[(".scale_weight", ("F32".into(), vec![2], vec![0; 8]))], &["scale_weight", "[2]", "expected [1]"]),
        (&[(".scale_weight", ("F32".into(), vec![0], vec![]))], &["scale_weight", "[0]"]),
        (&[(".scale_weight", number(0.5)), (".weight_scale", number(0.5))], &["weight_scale", "second"]),
        (&[(".of_nothing.scale_weight", number(0.5))], &["of_nothing.scale_weight", "no weight"]),
        (&[(".comfy_quant", text("{\"format\": \"nvfp4\"}"))], &["comfy_quant", "nvfp4", "float8_e4m3fn"]),
        (&[(".comfy_quant", text("{"))], &["comfy_quant"]),
        (&[(".comfy_quant", text("{\"format\": \"float8_e5m2\"}"))], &["comfy_quant", "stored as F16"]),
        (&[(".comfy_quant", text("{\"format\": \"float8_e5m2\", \"group\": 1}"))], &["comfy_quant", "group", "obeyed"]),
        (&[(".bias_scale", number(0.5))], &["nothing in this model takes", "bias_scale"]),
    ] {
        let message = refused(beside, &[]);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let layers = json!({"layers": {LAYER: {"format": "mxfp8"}}}).to_string();
    let message = refused(&[], &[("_quantization_metadata", &layers)]);
    assert!(["_quantization_metadata", "mxfp8"].iter().all(|part| message.contains(part)), "{message}");
}

/// Layouts of others, made of the small pipeline: all of it by its original names without a word of metadata, and with convolutions cut into
/// rows of 256.
fn gguf(tensors: &BTreeMap<String, Stored>, cut: bool, mut writer: Writer) -> Vec<u8> {
    let mut shapes = Vec::new();
    for (name, (kind, shape, bytes)) in tensors.iter().filter(|(_, t)| t.0 == "F16") {
        assert_eq!(kind, "F16");
        let numbers: Vec<f32> = bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect();
        let whole = cut && shape.len() == 4 && numbers.len().is_multiple_of(256);
        let stored = if whole { vec![numbers.len() / 256, 256] } else { shape.clone() };
        if whole {
            shapes.push((format!("comfy.gguf.orig_shape.{name}"), shape.iter().map(|&n| n as u32).collect::<Vec<_>>()));
        }
        writer.tensor(name, &stored, DType::F16, &numbers).unwrap();
    }
    for (key, shape) in shapes {
        writer.meta(&key, shape).unwrap();
    }
    writer.finish()
}

/// Seen red with the shapes that were cut not undone.
#[test]
fn gguf_of_others_is_read_as_it_is_stored() {
    let (tensors, options, before) = single();
    let folder = Folder::new();
    for cut in [false, true] {
        let mut writer = Writer::new();
        if cut {
            writer.meta("general.architecture", "sd1").unwrap();
        }
        folder.write("a.gguf", gguf(&tensors, cut, writer));
        let checkpoint = Checkpoint::open(folder.join("a.gguf"), &options).unwrap();
        for (i, before) in before.iter().enumerate() {
            assert_eq!(&values(&checkpoint, i, 3), before, "{}", checkpoint.tensors()[i].name);
        }
        convert(&checkpoint, &folder.join("out.gguf"), "a", &Types::new(DType::F16), |_| {}).unwrap();
    }
}

/// Seen red with a type that is not known taken for f32.
#[test]
fn gguf_that_lies() {
    let (tensors, options, _) = single();
    let folder = Folder::new();
    let refused = |bytes: &[u8]| {
        folder.write("a.gguf", bytes);
        Checkpoint::open(folder.join("a.gguf"), &options).unwrap_err().to_string()
    };
    let says = |message: &str, parts: &[&str]| assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    let whole = gguf(&tensors, false, Writer::new());
    says(&refused(&whole[..whole.len() - 40]), &["a.gguf", "truncated"]);
    says(&refused(&whole[..1000]), &["a.gguf"]);
    // The type of the first tensor is behind its name and its dimensions.
    let name = whole.windows(5).position(|at| at == b"bias\x01").unwrap() + 4;
    let mut other = whole.clone();
    for (id, found) in [(16u32, "iq2_xxs"), (77, "ggml's type 77"), (39, "mxfp4")] {
        other[name + 12..name + 16].copy_from_slice(&id.to_le_bytes());
        says(&refused(&other), &["bias", found, "q2_K to q6_K"]);
    }
    other[name + 12..name + 16].copy_from_slice(&12u32.to_le_bytes());
    says(&refused(&other), &["bias", "256"]);
    let mut writer = Writer::new();
    let first = tensors.iter().find(|(_, t)| t.0 == "F16" && t.1.len() == 4).unwrap().0;
    writer.meta(&format!("comfy.gguf.orig_shape.{first}"), vec![u32::MAX; 4]).unwrap();
    says(&refused(&gguf(&tensors, false, writer)), &["orig_shape", "product"]);
    let mut writer = Writer::new();
    writer.meta(&format!("comfy.gguf.orig_shape.{first}"), "none").unwrap();
    says(&refused(&gguf(&tensors, false, writer)), &["orig_shape", "str"]);
    // Numbers that are none: the scale of a block.
    let mut writer = Writer::new();
    let mut changed = tensors.clone();
    let name = format!("{LAYER}.weight");
    let (_, shape, _) = changed.remove(&name).unwrap();
    let numbers = vec![1.0; shape.iter().product()];
    writer.tensor(&name, &shape, DType::Q8_0, &numbers).unwrap();
    let mut bytes = gguf(&changed, false, writer);
    // 1 / 127 as an f16, before 127s.
    let block = [&f16::from_f32(1.0 / 127.0).to_le_bytes()[..], &[127; 32]].concat();
    let at = bytes.windows(block.len()).position(|at| at == block).unwrap();
    bytes[at..at + 2].copy_from_slice(&f16::NAN.to_le_bytes());
    folder.write("a.gguf", &bytes);
    let checkpoint = Checkpoint::open(folder.join("a.gguf"), &options).unwrap();
    let refused = convert(&checkpoint, &folder.join("o.gguf"), "a", &Types::new(DType::F16), |_| {}).unwrap_err();
    says(&refused.to_string(), &[&name, "q8_0", "32 of its"]);
}
