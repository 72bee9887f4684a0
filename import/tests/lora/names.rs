//! What LoRAs call their modules, and what each form adds, against the definition.

use super::made::{Made, Stored, factors, product, stored};
use super::pipeline;
use nijimi_import::Lora;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::Patch;
use nijimi_runtime::quant::DType;

const STRENGTH: f32 = 0.75;
const RANK: usize = 3;

/// What is added to a tensor, divided by the strength, is `factor` times this.
fn adds(made: &Made, bytes: &[u8], tensor: &str, factor: f64, product: &[f64]) {
    let file = File::new_checked(bytes).unwrap();
    let lora = Lora::open(&made.path.0, STRENGTH, &file).unwrap();
    assert_eq!(lora.tensors().collect::<Vec<_>>(), [tensor], "{}", made.tensors[0].name);
    let stored = file.tensor(tensor).unwrap();
    let (before, mut after) = (stored.to_f32(), stored.to_f32());
    lora.apply(tensor, &stored.shape(), &mut after).unwrap();
    let worst = before.iter().zip(&after).zip(product).fold(0.0, |worst: f64, ((before, after), product)| {
        let want = f64::from(*before) + f64::from(STRENGTH) * factor * product;
        worst.max((f64::from(*after) - want).abs())
    });
    assert!(worst < 2e-6, "{}: {worst:.1e}", made.tensors[0].name);
}

const KOHYA: [&str; 2] = [".lora_down.weight", ".lora_up.weight"];
const PEFT: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
const DIFFUSERS: [&str; 2] = [".lora.down.weight", ".lora.up.weight"];
const ENCODERS: [&str; 2] = [".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"];
const ADAPTER: [&str; 2] = [".lora_A.default.weight", ".lora_B.default.weight"];
const BARE: [&str; 2] = [".lora_A", ".lora_B"];
const PROCESSORS: [&str; 2] = ["_lora.down.weight", "_lora.up.weight"];

/// Of SDXL's fixture, which has one residual block a level on the way down: so a level of the original code has two
/// blocks.
const NAMES: [(&str, [&str; 2], &str); 36] = [
    (
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        KOHYA,
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    ),
    (
        "lora_unet_input_blocks_3_1_transformer_blocks_1_ff_net_0_proj",
        KOHYA,
        "unet.down_blocks.1.attentions.0.transformer_blocks.1.ff.net.0.proj",
    ),
    (
        "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_out_0",
        KOHYA,
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
    ),
    ("lora_unet_output_blocks_2_1_proj_in", KOHYA, "unet.up_blocks.1.attentions.0.proj_in"),
    ("lora_unet_input_blocks_1_0_emb_layers_1", KOHYA, "unet.down_blocks.0.resnets.0.time_emb_proj"),
    // Convolutions: halving, doubling behind attention, of a residual block, pointwise.
    ("lora_unet_input_blocks_2_0_op", KOHYA, "unet.down_blocks.0.downsamplers.0.conv"),
    ("lora_unet_output_blocks_1_2_conv", KOHYA, "unet.up_blocks.0.upsamplers.0.conv"),
    ("lora_unet_mid_block_resnets_1_conv2", KOHYA, "unet.mid_block.resnets.1.conv2"),
    ("lora_unet_up_blocks_2_resnets_0_conv_shortcut", KOHYA, "unet.up_blocks.2.resnets.0.conv_shortcut"),
    ("unet.conv_in", PEFT, "unet.conv_in"),
    ("lora_te_text_model_encoder_layers_0_mlp_fc1", KOHYA, "text_encoder.text_model.encoder.layers.0.mlp.fc1"),
    (
        "lora_te1_text_model_encoder_layers_1_self_attn_q_proj",
        KOHYA,
        "text_encoder.text_model.encoder.layers.1.self_attn.q_proj",
    ),
    ("lora_te2_text_model_encoder_layers_1_mlp_fc2", KOHYA, "text_encoder_2.text_model.encoder.layers.1.mlp.fc2"),
    (
        "unet.mid_block.attentions.0.transformer_blocks.1.attn1.to_out.0",
        PEFT,
        "unet.mid_block.attentions.0.transformer_blocks.1.attn1.to_out.0",
    ),
    (
        "text_encoder_2.text_model.encoder.layers.0.self_attn.out_proj",
        PEFT,
        "text_encoder_2.text_model.encoder.layers.0.self_attn.out_proj",
    ),
    (
        "text_encoder.encoder.layers.0.self_attn.v_proj",
        PEFT,
        "text_encoder.text_model.encoder.layers.0.self_attn.v_proj",
    ),
    (
        "unet.up_blocks.0.attentions.1.transformer_blocks.1.attn2.to_k",
        DIFFUSERS,
        "unet.up_blocks.0.attentions.1.transformer_blocks.1.attn2.to_k",
    ),
    (
        "text_encoder.text_model.encoder.layers.0.self_attn.k_proj",
        ENCODERS,
        "text_encoder.text_model.encoder.layers.0.self_attn.k_proj",
    ),
    (
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out",
        PROCESSORS,
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
    ),
    // ComfyUI's, PEFT's and LyCORIS' own.
    ("diffusion_model.output_blocks.2.1.proj_in", PEFT, "unet.up_blocks.1.attentions.0.proj_in"),
    ("model.diffusion_model.input_blocks.2.0.op", KOHYA, "unet.down_blocks.0.downsamplers.0.conv"),
    (
        "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1",
        PEFT,
        "text_encoder.text_model.encoder.layers.0.mlp.fc1",
    ),
    (
        "text_encoders.clip_g.transformer.text_model.encoder.layers.1.mlp.fc2",
        PEFT,
        "text_encoder_2.text_model.encoder.layers.1.mlp.fc2",
    ),
    (
        "clip_l.transformer.text_model.encoder.layers.0.mlp.fc2",
        BARE,
        "text_encoder.text_model.encoder.layers.0.mlp.fc2",
    ),
    ("base_model.model.mid_block.resnets.1.conv2", PEFT, "unet.mid_block.resnets.1.conv2"),
    ("base_model.model.unet.mid_block.resnets.1.conv1", ADAPTER, "unet.mid_block.resnets.1.conv1"),
    ("unet.base_model.model.mid_block.resnets.0.conv1", ADAPTER, "unet.mid_block.resnets.0.conv1"),
    (
        "base_model.model.text_model.encoder.layers.0.self_attn.q_proj",
        ADAPTER,
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
    ),
    ("lycoris_mid_block_resnets_0_conv2", KOHYA, "unet.mid_block.resnets.0.conv2"),
    ("lycoris_unet_mid_block_attentions_0_proj_in", KOHYA, "unet.mid_block.attentions.0.proj_in"),
    // Of the autoencoder, by diffusers' names and the original ones.
    ("vae.decoder.mid_block.attentions.0.to_q", PEFT, "vae.decoder.mid_block.attentions.0.to_q"),
    ("lora_vae_encoder_down_blocks_0_resnets_0_conv1", KOHYA, "vae.encoder.down_blocks.0.resnets.0.conv1"),
    ("lora_vae_decoder_mid_attn_1_proj_out", KOHYA, "vae.decoder.mid_block.attentions.0.to_out.0"),
    ("first_stage_model.decoder.up.1.upsample.conv", KOHYA, "vae.decoder.up_blocks.0.upsamplers.0.conv"),
    // The first ones, of the U-Net alone.
    (
        "mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_v",
        PROCESSORS,
        "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v",
    ),
    (
        "text_encoder.text_model.encoder.layers.0.self_attn.to_out",
        PROCESSORS,
        "text_encoder.text_model.encoder.layers.0.self_attn.out_proj",
    ),
];

/// Seen red with a kernel's taps and channels exchanged, with original names that do not know which levels have attention,
/// and with the layers of an encoder's attention called as the U-Net's.
#[test]
fn every_form_of_name_adds_to_its_layer() {
    let Some(bytes) = pipeline("sdxl", DType::F32) else { return };
    let file = File::new_checked(&bytes).unwrap();
    for (module, ends, layer) in NAMES {
        let tensor = format!("{layer}.weight");
        let shape = file.tensor(&tensor).unwrap_or_else(|e| panic!("{module}: {e}")).shape();
        let made = Made::pair(module, ends, &shape, RANK);
        let product = product(made.values(ends[1]), made.values(ends[0]), &shape, RANK);
        adds(&made, &bytes, &tensor, 1.0, &product);
        // With an alpha of its own, of one dimension or none.
        for dims in [&[][..], &[1]] {
            let mut tensors = made.tensors.clone();
            let end = if ends == PROCESSORS { "_lora.alpha" } else { ".alpha" };
            tensors.push(Stored { name: [module, end].concat(), shape: dims.into(), values: vec![2.0] });
            adds(&Made::new(tensors, &[]), &bytes, &tensor, 2.0 / RANK as f64, &product);
        }
    }
}

/// An alpha of any type of numbers, as diffusers takes `alpha.item()`. Seen red with integers refused.
#[test]
fn an_alpha_is_of_any_type_of_numbers() {
    let Some(bytes) = pipeline("sd1", DType::F32) else { return };
    let file = File::new_checked(&bytes).unwrap();
    let tensor = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    let (shape, module) = (file.tensor(tensor).unwrap().shape(), tensor.trim_end_matches(".weight"));
    let pair = factors(module, KOHYA, &shape, RANK);
    let product = product(&pair[1].values, &pair[0].values, &shape, RANK);
    let half = half::f16::from_f32(2.0).to_le_bytes();
    let brain = half::bf16::from_f32(2.0).to_le_bytes();
    for (dtype, alpha) in [
        ("I64", &2i64.to_le_bytes()[..]),
        ("I32", &2i32.to_le_bytes()),
        ("I16", &2i16.to_le_bytes()),
        ("I8", &[2]),
        ("U8", &[2]),
        ("F64", &2f64.to_le_bytes()),
        ("F32", &2f32.to_le_bytes()),
        ("F16", &half),
        ("BF16", &brain),
    ] {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        let mut add = |name: &str, dtype: &str, shape: &[usize], bytes: &[u8]| {
            let range = [data.len(), data.len() + bytes.len()];
            data.extend(bytes);
            header.insert(name.into(), serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": range}));
        };
        for Stored { name, shape, values } in &pair {
            add(name, "F32", shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        }
        add(&format!("{module}.alpha"), dtype, &[], alpha);
        let path = Made::raw(&serde_json::Value::Object(header).to_string(), &data);
        adds(&Made { path, tensors: pair.clone() }, &bytes, tensor, 2.0 / RANK as f64, &product);
    }
}

/// PEFT's own folder, whose alpha is in a file of its own: seen red with that not looked at.
#[test]
fn a_file_beside_says_alpha() {
    let Some(bytes) = pipeline("sd1", DType::F32) else { return };
    let file = File::new_checked(&bytes).unwrap();
    let tensor = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    let shape = file.tensor(tensor).unwrap().shape();
    let module = tensor.trim_end_matches(".weight").replace("unet.", "base_model.model.");
    let mut made = Made::pair(&module, PEFT, &shape, RANK);
    let folder = made.path.0.with_extension("folder");
    std::fs::create_dir_all(&folder).unwrap();
    let inside = folder.join("adapter_model.safetensors");
    std::fs::rename(&made.path.0, &inside).unwrap();
    made.path.0 = inside;
    std::fs::write(folder.join("adapter_config.json"), r#"{"r": 3, "lora_alpha": 6, "use_rslora": false}"#).unwrap();
    let product = product(made.values(PEFT[1]), made.values(PEFT[0]), &shape, RANK);
    adds(&made, &bytes, tensor, 6.0 / RANK as f64, &product);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A linear layer's pair stored as 1x1 convolutions, a 1x1 convolution's as matrices, and LoCon's three factors. Seen red
/// with the core between the factors transposed, and without dividing by the rank.
#[test]
fn every_form_of_factors_adds_the_same() {
    let Some(bytes) = pipeline("sd1", DType::F32) else { return };
    let file = File::new_checked(&bytes).unwrap();
    let linear = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    let pointwise = "unet.mid_block.attentions.0.proj_in.weight";
    for tensor in [linear, pointwise] {
        let shape = file.tensor(tensor).unwrap().shape();
        let module = tensor.trim_end_matches(".weight");
        let mut tensors = factors(module, KOHYA, &shape, RANK);
        for tensor in &mut tensors {
            match tensor.shape.len() {
                2 => tensor.shape.extend([1, 1]),
                _ => tensor.shape.truncate(2),
            }
        }
        let made = Made::new(tensors, &[]);
        let product = product(made.values(KOHYA[1]), made.values(KOHYA[0]), &shape, RANK);
        adds(&made, &bytes, tensor, 1.0, &product);
    }

    let tensor = "unet.mid_block.resnets.0.conv1.weight";
    let &[out, kh, kw, inp] = &file.tensor(tensor).unwrap().shape()[..] else { panic!("{tensor} is a convolution") };
    let module = "lora_unet_mid_block_resnets_0_conv1";
    let [down, mid, up] = [
        (".lora_down.weight", [RANK, inp, 1, 1]),
        (".lora_mid.weight", [RANK, RANK, kh, kw]),
        (".lora_up.weight", [out, RANK, 1, 1]),
    ]
    .map(|(end, shape)| stored(&[module, end].concat(), &shape));
    let mut want = Vec::new();
    for o in 0..out {
        for tap in 0..kh * kw {
            for i in 0..inp {
                let at = |a: usize, b: usize| {
                    let factors =
                        [up.values[o * RANK + a], mid.values[(a * RANK + b) * kh * kw + tap], down.values[b * inp + i]];
                    factors.map(f64::from).iter().product::<f64>()
                };
                want.push((0..RANK).flat_map(|a| (0..RANK).map(move |b| (a, b))).map(|(a, b)| at(a, b)).sum());
            }
        }
    }
    adds(&Made::new(vec![down, mid, up], &[]), &bytes, tensor, 1.0, &want);
}

/// diffusers' metadata: one alpha for a part, others by pattern, and the square root of the rank. Seen red with
/// `use_rslora` left out, and with patterns found in the middle of a name.
#[test]
fn the_header_says_alpha() {
    let Some(bytes) = pipeline("sd1", DType::F32) else { return };
    let file = File::new_checked(&bytes).unwrap();
    let tensor = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    let shape = file.tensor(tensor).unwrap().shape();
    let tensors = factors(tensor.trim_end_matches(".weight"), PEFT, &shape, RANK);
    let product = product(&tensors[1].values, &tensors[0].values, &shape, RANK);
    let rank = RANK as f64;
    for (said, factor) in [
        (r#"{"unet.r": 3, "unet.lora_alpha": 6}"#, 6.0 / rank),
        (r#"{"text_encoder.lora_alpha": 6}"#, 1.0),
        (r#"{"unet.lora_alpha": 6, "unet.alpha_pattern": {"attn2.to_q": 1, "attn1.to_q": 12}}"#, 12.0 / rank),
        (r#"{"unet.lora_alpha": 6, "unet.alpha_pattern": {"1.to_q": 12}}"#, 6.0 / rank),
        (r#"{"unet.lora_alpha": 6, "unet.use_rslora": true}"#, 6.0 / rank.sqrt()),
    ] {
        let made = Made::new(tensors.clone(), &[("lora_adapter_metadata", said)]);
        adds(&made, &bytes, tensor, factor, &product);
    }
}

/// Some files of SDXL have every module twice, by the original name and by diffusers', whichever comes first: once is
/// enough. The copies differ here, so that it shows which is taken. Seen red with the first taken.
#[test]
fn of_two_copies_one_is_added() {
    let Some(bytes) = pipeline("sd1", DType::F32) else { return };
    let file = File::new_checked(&bytes).unwrap();
    for (ours, original) in
        [("mid_block.attentions.0", "middle_block_1"), ("up_blocks.1.attentions.0", "output_blocks_2_1")]
    {
        let tensor = format!("unet.{ours}.transformer_blocks.0.attn1.to_q.weight");
        let shape = file.tensor(&tensor).unwrap().shape();
        let of = |block: &str| {
            let module = format!("lora_unet_{}_transformer_blocks_0_attn1_to_q", block.replace('.', "_"));
            factors(&module, KOHYA, &shape, RANK)
        };
        let ours = of(ours);
        let product = product(&ours[1].values, &ours[0].values, &shape, RANK);
        adds(&Made::new([of(original), ours].concat(), &[]), &bytes, &tensor, 1.0, &product);
    }
}
