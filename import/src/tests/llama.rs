//! Language models as files of llama.cpp: the project's small one, which gguf-py named (tests/fixtures/pipelines/gguf_language.py), and
//! transformers of others as GGUF.

use super::families::rewritten;
use super::sd3::{folder, same};
use super::support::{Folder, Stored, config, find};
use crate::config::Language;
use crate::llama;
use crate::open::networks;
use crate::single::vocabulary;
use crate::{Checkpoint, Kind, LanguageVocabulary, Options, Part, Survey};
use half::f16;
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::quant::DType;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn with(path: &Path, parts: &[(Part, PathBuf)]) -> Result<Checkpoint, crate::ImportError> {
    Checkpoint::open(path, &Options { parts: parts.into(), ..Options::default() })
}

/// The tensors as ggml's programs write them: f16, vectors f32; dimensions of 1 before others are left out or not.
fn written(tensors: &BTreeMap<String, Stored>, squeeze: bool) -> Vec<u8> {
    let mut writer = Writer::new();
    for (name, (kind, shape, bytes)) in tensors {
        let numbers: Vec<f32> = match &**kind {
            "F16" => bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            "BF16" => bytes.as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
            _ => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        };
        let ones = shape.iter().take_while(|size| **size == 1).count().min(shape.len() - 1);
        let shape = if squeeze { &shape[ones..] } else { shape };
        let dtype = if shape.len() == 1 { DType::F32 } else { DType::F16 };
        writer.tensor(name, shape, dtype, &numbers).unwrap();
    }
    writer.finish()
}

/// Of a single file, whose small autoencoder has other groups than such a file stands for.
fn single(path: &Path, options: &Options) -> Result<Checkpoint, crate::ImportError> {
    let mut checkpoint = networks(path, options)?;
    vocabulary(&mut checkpoint, options)?;
    Ok(checkpoint)
}

fn language(checkpoint: &Checkpoint) -> &Language {
    config(checkpoint).language.as_ref().unwrap()
}

/// In the place of a folder's, and beside a transformer and an autoencoder in files of their own, all of them GGUF; then the vocabulary is
/// the file's own. Seen red with keys for queries, without what its header says of rotary positions, and with the tokens that no text
/// has among those that were added.
#[test]
fn qwen3_of_llama_cpp() {
    let (folder, path) = (folder("zimage").unwrap(), find("pipelines/zimage.qwen3.gguf").unwrap());
    let own = with(&folder.path, &[(Part::Llm, path.clone())]).unwrap();
    same(&own, &folder);
    assert_eq!(language(&own), language(&folder));

    let (place, tensors) = (Folder::new(), rewritten(&folder));
    let part = |first: &str| -> BTreeMap<String, Stored> {
        let own = tensors.iter().filter_map(|(name, of)| Some((name.strip_prefix(first)?.to_owned(), of.clone())));
        own.collect()
    };
    place.write("ae.gguf", written(&part("first_stage_model."), false));
    for squeeze in [false, true] {
        place.write("z.gguf", written(&part("model.diffusion_model."), squeeze));
        let parts = [(Part::Llm, path.clone()), (Part::Vae, place.join("ae.gguf"))];
        let options = Options { parts: parts.clone().into(), ..Options::default() };
        let whole = single(&place.join("z.gguf"), &options).unwrap();
        same(&whole, &folder);
        assert_eq!(language(&whole), language(&folder));
        let [Some(LanguageVocabulary::Qwen3(own)), Some(LanguageVocabulary::Qwen3(other))] =
            [&whole.language, &folder.language]
        else {
            panic!("Qwen3 has one")
        };
        assert_eq!((&own.merges, &own.added), (&other.merges, &other.added));
        assert_eq!(own.tokens[..other.tokens.len()], other.tokens);
        assert!(own.tokens[other.tokens.len()..].iter().all(|token| token.starts_with("[PAD")));
        // What is asked for comes first.
        let tokenizer = Some(folder.path.join("tokenizer"));
        let options = Options { parts: parts.into(), tokenizer, ..Options::default() };
        let asked = single(&place.join("z.gguf"), &options).unwrap().language;
        let Some(LanguageVocabulary::Qwen3(asked)) = asked else { panic!("Qwen3 has one") };
        assert_eq!(asked.tokens, other.tokens);
    }
    let survey = Survey::of(&path).unwrap();
    let Kind::Language(Part::Llm, network) = &survey.kind else { panic!("{:?}", survey.kind) };
    assert!(matches!(&**network, Language::Qwen3(of) if of.width == 40), "{network:?}");
    assert!(survey.is_gguf && survey.missing.is_empty() && survey.parts.len() == 1, "{survey:?}");
}

/// A transformer whose table of positions has a dimension of 1 before the others, or has lost it. Seen red with the second dimension
/// taken for the number of places.
#[test]
fn stable_diffusion_3_as_gguf() {
    let folder = folder("sd35").unwrap();
    let (place, mut tensors) = (Folder::new(), rewritten(&folder));
    tensors.retain(|name, _| name.starts_with("model.diffusion_model."));
    for squeeze in [false, true] {
        place.write("t.gguf", written(&tensors, squeeze));
        same(&with(&folder.path, &[(Part::Unet, place.join("t.gguf"))]).unwrap(), &folder);
    }
}

/// Each name is gguf-py's (`get_tensor_name_map` of T5ENCODER), beside transformers'.
#[test]
fn names_of_t5() {
    for (own, name) in [
        ("token_embd.weight", "shared.weight"),
        ("enc.output_norm.weight", "encoder.final_layer_norm.weight"),
        ("enc.blk.7.attn_q.weight", "encoder.block.7.layer.0.SelfAttention.q.weight"),
        ("enc.blk.0.attn_k.weight", "encoder.block.0.layer.0.SelfAttention.k.weight"),
        ("enc.blk.0.attn_v.weight", "encoder.block.0.layer.0.SelfAttention.v.weight"),
        ("enc.blk.0.attn_o.weight", "encoder.block.0.layer.0.SelfAttention.o.weight"),
        ("enc.blk.0.attn_rel_b.weight", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
        ("enc.blk.0.attn_norm.weight", "encoder.block.0.layer.0.layer_norm.weight"),
        ("enc.blk.0.ffn_norm.weight", "encoder.block.0.layer.1.layer_norm.weight"),
        ("enc.blk.0.ffn_gate.weight", "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"),
        ("enc.blk.0.ffn_up.weight", "encoder.block.0.layer.1.DenseReluDense.wi_1.weight"),
        ("enc.blk.10.ffn_down.weight", "encoder.block.10.layer.1.DenseReluDense.wo.weight"),
        ("enc.blk.0.other.weight", "enc.blk.0.other.weight"),
    ] {
        assert_eq!(llama::t5(own), name);
    }
}

/// Bytes of the file with a value of its header changed: as many bytes as before.
fn changed(bytes: &[u8], key: &str, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.windows(key.len()).position(|at| at == key.as_bytes()).unwrap() + key.len();
    // Behind the key is its type.
    change(&mut bytes[at + 4..]);
    bytes
}

/// What its header says is obeyed or refused by name. Seen red with each of them let through.
#[test]
fn what_llama_cpp_says_is_obeyed_or_refused() {
    let (folder, path) = (folder("zimage").unwrap(), find("pipelines/zimage.qwen3.gguf").unwrap());
    let (place, bytes) = (Folder::new(), std::fs::read(path).unwrap());
    let open = |bytes: &[u8]| {
        place.write("q.gguf", bytes);
        with(&folder.path, &[(Part::Llm, place.join("q.gguf"))])
    };
    let other = open(&changed(&bytes, "qwen3.rope.freq_base", |v| v[..4].copy_from_slice(&5e6f32.to_le_bytes())));
    assert!(matches!(language(&other.unwrap()), Language::Qwen3(of) if of.theta == 5e6));
    let eps =
        changed(&bytes, "qwen3.attention.layer_norm_rms_epsilon", |v| v[..4].copy_from_slice(&1e-3f32.to_le_bytes()));
    assert!(matches!(language(&open(&eps).unwrap()), Language::Qwen3(of) if of.eps == 1e-3));
    let refused = |bytes: Vec<u8>| open(&bytes).unwrap_err().to_string();
    let heads = refused(changed(&bytes, "qwen3.attention.head_count", |v| v[..4].copy_from_slice(&3u32.to_le_bytes())));
    assert!(heads.contains("head_count is 3"), "{heads}");
    let other = refused(changed(&bytes, "general.architecture", |v| v[8..13].copy_from_slice(b"gemma")));
    assert!(other.contains("\"gemma\", not qwen3"), "{other}");
    let survey = Survey::of(place.join("q.gguf")).unwrap_err().to_string();
    assert!(survey.contains("\"gemma\", not qwen3"), "{survey}");

    // Its vocabulary is looked at where it is needed.
    let tensors = rewritten(&folder);
    let of = |first: &str| -> BTreeMap<String, Stored> {
        tensors.iter().filter(|(name, _)| name.starts_with(first)).map(|(n, t)| (n.clone(), t.clone())).collect()
    };
    place.write("z.gguf", written(&of("model.diffusion_model."), false));
    place.write("ae.gguf", written(&of("first_stage_model."), false));
    let pre = changed(&bytes, "tokenizer.ggml.pre", |v| v[8..13].copy_from_slice(b"llama"));
    assert!(open(&pre).is_ok());
    let parts = [(Part::Llm, place.join("q.gguf")), (Part::Vae, place.join("ae.gguf"))];
    let options = Options { parts: parts.into(), ..Options::default() };
    let refused = single(&place.join("z.gguf"), &options).unwrap_err().to_string();
    assert!(refused.contains("pre \"llama\"") && refused.contains("--tokenizer"), "{refused}");
}
