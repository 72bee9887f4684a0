//! LoRAs that are not added: each refusal says what is wrong, where, and what to do.

use super::made::{Made, Stored, factors, stored};
use super::pipeline;
use nijimi_import::Lora;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::Patch;
use nijimi_runtime::quant::DType;
use std::path::Path;

const ENDS: [&str; 2] = [".lora_down.weight", ".lora_up.weight"];
const MODULE: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";
const TENSOR: &str = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";

/// The message with which a file is refused, without its own name.
fn refused(path: &Path, bytes: &[u8]) -> String {
    let message = Lora::open(path, 1.0, &File::new_checked(bytes).unwrap()).unwrap_err().to_string();
    message.replace(path.to_str().unwrap(), "FILE")
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// Seen red with modules without a place left out, with the shape of `lora_up` not looked at, and with `apply` taking any
/// shape.
#[test]
fn loras_of_something_else() {
    let Some(bytes) = pipeline("sd1", DType::F32) else { return };
    let shape = File::new_checked(&bytes).unwrap().tensor(TENSOR).unwrap().shape();
    let pair = || factors(MODULE, ENDS, &shape, 4);
    let of = |tensors: Vec<Stored>| refused(&Made::new(tensors, &[]).path.0, &bytes);
    // Nothing has a place; one of two has none, as this model has one text encoder; another width, and another rank.
    let lost: Vec<Stored> =
        (0..5).flat_map(|i| factors(&format!("lora_unet_triple_blocks_{i}"), ENDS, &[8, 8], 4)).collect();
    says(
        &of(lost),
        &[
            "FILE: this model has no place for 5 of its 5",
            "lora_unet_triple_blocks_0, ",
            "lora_unet_triple_blocks_2, …",
            "another kind of model",
        ],
    );
    let second = factors("lora_te2_text_model_encoder_layers_0_mlp_fc1", ENDS, &[8, 8], 4);
    says(&of([pair(), second].concat()), &["1 of its 2", "(lora_te2_text_model_encoder_layers_0_mlp_fc1)"]);
    let mut wide = pair();
    wide[0] = stored(&wide[0].name, &[4, 768]);
    says(&of(wide), &["to_q.lora_down.weight has the shape [4, 768]", "needs [4, 32]"]);
    let mut thin = pair();
    thin[1] = stored(&thin[1].name, &[32, 5]);
    says(&of(thin), &["to_q.lora_up.weight has the shape [32, 5]", "needs [32, 4]"]);
    for rank in [vec![0, 32], vec![], vec![4]] {
        let mut none = pair();
        none[0] = stored(&none[0].name, &rank);
        says(&of(none), &["lora_down.weight has the shape"]);
    }
    let convolution = factors("lora_unet_conv_in", ENDS, &[16, 1, 1, 4], 4);
    says(&of(convolution), &["conv_in.lora_down.weight has the shape [4, 4, 1, 1]", "needs [4, 4, 3, 3]"]);

    // Of one model, applied to another.
    let made = Made::new(pair(), &[]);
    let lora = Lora::open(&made.path.0, 1.0, &File::new_checked(&bytes).unwrap()).unwrap();
    let other = lora.apply(TENSOR, &[32, 64], &mut [0.0; 2048]).unwrap_err().to_string();
    says(&other, &[TENSOR, "[32, 64]", "needs [32, 32]"]);
}

/// Seen red with NaN in `lora_up` not looked for, with two modules for one tensor or two tensors for one factor let through,
/// and with the first number taken of an alpha that has more.
#[test]
fn broken_files() {
    let Some(bytes) = pipeline("sd1", DType::F32) else { return };
    let file = File::new_checked(&bytes).unwrap();
    let shape = file.tensor(TENSOR).unwrap().shape();
    let pair = || factors(MODULE, ENDS, &shape, 4);
    let of = |tensors: Vec<Stored>| refused(&Made::new(tensors, &[]).path.0, &bytes);
    let alpha = |values: Vec<f32>| Stored { name: format!("{MODULE}.alpha"), shape: vec![values.len()], values };
    says(&of(pair()[..1].to_vec()), &["FILE: the module lora_unet_mid_block", "lora_up", "not complete"]);
    says(&of(pair()[1..].to_vec()), &[MODULE, "lora_down"]);
    says(&of(vec![alpha(vec![1.0])]), &[MODULE, "lora_down"]);
    for (which, what) in [(0, "lora_down"), (1, "lora_up")] {
        let mut damaged = pair();
        damaged[which].values[77] = f32::NAN;
        says(&of(damaged), &["number 77", what, "NaN"]);
    }
    says(&of([pair(), vec![alpha(vec![f32::INFINITY])]].concat()), &["number 0", ".alpha", "inf"]);
    says(&of([pair(), vec![alpha(vec![1.0, 2.0])]].concat()), &[".alpha has the shape [2]", "needs []"]);
    let twice = factors("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", ENDS, &shape, 4);
    says(&of([pair(), twice].concat()), &[MODULE, "are both for unet.mid_block"]);
    let again = factors(MODULE, [".lora_A.weight", ".lora_B.weight"], &shape, 4);
    says(&of([pair(), again].concat()), &[".lora_A.weight and ", ".lora_down.weight are both for lora_unet_mid_block"]);
    let said = |text: &str| refused(&Made::new(pair(), &[("lora_adapter_metadata", text)]).path.0, &bytes);
    says(&said("{"), &["lora_adapter_metadata", "EOF"]);

    let made = Made::new(pair(), &[]);
    let whole = std::fs::read(&made.path.0).unwrap();
    std::fs::write(&made.path.0, &whole[..whole.len() - 4]).unwrap();
    says(&refused(&made.path.0, &bytes), &["FILE is not a sound .safetensors file", "truncated"]);
    std::fs::write(&made.path.0, b"").unwrap();
    says(&refused(&made.path.0, &bytes), &["FILE is empty"]);
    std::fs::write(&made.path.0, b"PK\x03\x04 and so on").unwrap();
    says(&refused(&made.path.0, &bytes), &["FILE is a Python pickle"]);
    let header = format!(r#"{{"{MODULE}.lora_down.weight":{{"dtype":"U8","shape":[4,32],"data_offsets":[0,128]}}}}"#);
    says(&refused(&Made::raw(&header, &[0; 128]).0, &bytes), &["lora_down.weight is stored as U8", "convert"]);
    let strange = Lora::open(&made.path.0, f32::NAN, &file).unwrap_err().to_string();
    says(&strange, &["strength NaN"]);
}

/// Seen red with the names of other forms not looked at, and with unknown ones left out.
#[test]
fn other_forms() {
    let Some(bytes) = pipeline("sd1", DType::F32) else { return };
    let shape = File::new_checked(&bytes).unwrap().tensor(TENSOR).unwrap().shape();
    let with = |end: &str| {
        let name = [MODULE, end].concat();
        let tensors = [factors(MODULE, ENDS, &shape, 4), vec![stored(&name, &[4])]].concat();
        refused(&Made::new(tensors, &[]).path.0, &bytes)
    };
    for (end, form) in [(".oft_blocks", "an OFT"), (".diff", "a difference"), (".emb_params", "--embedding")] {
        says(&with(end), &["FILE: the tensor ", end, form, "merge it into the model"]);
    }
    says(&with(".lora_up.bias"), &["FILE: 1 of its 3 tensors", &format!("({MODULE}.lora_up.bias)")]);
    // Of other networks: seen red with these counted among modules without a place.
    for (module, family) in [
        ("transformer.single_transformer_blocks.0.attn.to_q", "FLUX"),
        ("lora_unet_double_blocks_0_img_attn_qkv", "FLUX"),
        ("base_model.model.transformer.blocks.0.attn", "a transformer"),
        ("lora_te3_encoder_block_0_layer_0_SelfAttention_k", "T5"),
    ] {
        let of = refused(&Made::new(factors(module, ENDS, &[8, 8], 4), &[]).path.0, &bytes);
        says(&of, &[module, family, "SD 1.x, 2.x or SDXL"]);
    }
    let checkpoint = vec![stored("model.diffusion_model.out.2.weight", &[4]), stored("a.bias", &[4])];
    says(&refused(&Made::new(checkpoint, &[]).path.0, &bytes), &["FILE is no LoRA", "\"a.bias\""]);
    says(&refused(&Made::new(vec![], &[]).path.0, &bytes), &["FILE is no LoRA"]);
}

/// What does not fit of LoHa, LoKr and DoRA. Seen red with sides that do not divide a layer's let through, with the core's
/// shape not looked at, and with a module of two kinds taken as the first.
#[test]
fn kinds_that_do_not_fit() {
    let Some(bytes) = pipeline("sd1", DType::F32) else { return };
    let name = |end: &str| [MODULE, end].concat();
    let of = |parts: &[(&str, &[usize])]| {
        let tensors = parts.iter().map(|(end, shape)| stored(&name(end), shape)).collect();
        refused(&Made::new(tensors, &[]).path.0, &bytes)
    };
    let hada: [(&str, &[usize]); 4] =
        [(".hada_w1_a", &[32, 4]), (".hada_w1_b", &[4, 32]), (".hada_w2_a", &[32, 4]), (".hada_w2_b", &[4, 32])];
    says(&of(&hada[..3]), &[MODULE, "has no hada_w2_b", "not complete"]);
    let mut other = hada;
    other[3].1 = &[5, 32];
    says(&of(&other), &["hada_w2_a has the shape [32, 4]", "needs [32, 5]"]);
    other[3].1 = &[4, 64];
    says(&of(&other), &["hada_w2_b has the shape [4, 64]", "needs [4, 32]"]);
    let core: [(&str, &[usize]); 2] = [(".hada_t1", &[4, 3, 1, 1]), (".hada_t2", &[4, 4, 1, 1])];
    let turned: Vec<_> = hada.iter().map(|(end, _)| (*end, &[4, 32][..])).chain(core).collect();
    says(&of(&turned), &["hada_t1 has the shape [4, 3, 1, 1]", "needs [4, 4]"]);
    says(&of(&[(".lokr_w1", &[5, 4]), (".lokr_w2", &[8, 8])]), &["lokr_w1", "[5, 4]", "do not divide", "[32, 32]"]);
    says(&of(&[(".lokr_w1", &[0, 4]), (".lokr_w2", &[8, 8])]), &["lokr_w1", "do not divide"]);
    says(&of(&[(".lokr_w1", &[4, 4]), (".lokr_w2", &[8, 9])]), &["lokr_w2 has the shape [8, 9]", "needs [8, 8]"]);
    says(&of(&[(".lokr_w1", &[4, 4])]), &["has no lokr_w2_b"]);
    says(&of(&[(".lokr_w2", &[4, 4])]), &["has no lokr_w1_a"]);
    says(&of(&[(".lokr_w1", &[4, 4]), (".lokr_w2", &[8, 8]), (".lokr_w2_a", &[8, 2])]), &["lokr_w2_a are both for"]);
    let pair: [(&str, &[usize]); 2] = [(ENDS[0], &[4, 32]), (ENDS[1], &[32, 4])];
    says(&of(&[pair[0], pair[1], (".lokr_w1", &[4, 4])]), &["lora_down.weight and ", "lokr_w1 are both for"]);
    says(&of(&[pair[0], pair[1], hada[0]]), &["hada_w1_a are both for"]);
    says(&of(&[(".dora_scale", &[32, 1])]), &[MODULE, "has no factor next to"]);
    for shape in [&[31, 1][..], &[1, 31], &[32, 2], &[32, 32], &[]] {
        says(&of(&[pair[0], pair[1], (".dora_scale", shape)]), &["dora_scale has the shape", "needs [32, 1]"]);
        says(&of(&[pair[0], pair[1], (".lora_magnitude_vector.weight", &[33])]), &["needs [32]"]);
    }
    let mut scale = stored(&name(".dora_scale"), &[32, 1]);
    scale.values[7] = f32::NAN;
    let alpha = Stored { name: name(".alpha"), shape: vec![], values: vec![f32::NAN] };
    let lora = || factors(MODULE, ENDS, &[32, 32], 4);
    let of = |more: Stored| refused(&Made::new([lora(), vec![more]].concat(), &[]).path.0, &bytes);
    says(&of(scale), &["number 7", "dora_scale", "NaN"]);
    says(&of(alpha), &["number 0", ".alpha", "NaN"]);
}
