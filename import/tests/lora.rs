//! LoRAs, merged into published pipelines. Whole pictures in f32 are compared in the runtime's `tests/golden.rs`.

#[path = "../../runtime/tests/common/diffusers.rs"]
mod diffusers;
#[path = "lora/kinds.rs"]
mod kinds;
#[path = "lora/made.rs"]
mod made;
#[path = "lora/names.rs"]
mod names;
#[path = "../../runtime/tests/common/pipelines.rs"]
mod pipelines;
#[path = "lora/refusals.rs"]
mod refusals;
#[path = "lora/trained.rs"]
mod trained;

use diffusers::fixtures;
use made::{Made, factors};
use nijimi_import::{Lora, Options};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{EncodedPrompts, LatentRequest, ModelPart, Patch, TextToImage};
use nijimi_runtime::quant::DType;
use pipelines::{bytes, families, opened, patched, way};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A pipeline of the fixtures; `None`, and a line that says so, where they have none of that name.
fn pipeline(family: &str, dtype: DType) -> Option<Vec<u8>> {
    let folder = fixtures().join("pipelines").join(family);
    if !folder.is_dir() {
        println!("skipped: no {family} in {}", fixtures().display());
        return None;
    }
    Some(bytes(&folder, &Options::default(), dtype))
}

/// Draws with every LoRA found, merged into weights of a type, and without. `judge` is told what the pictures are
/// called and how far both are from diffusers', which has f32 weights: the greatest and the mean difference.
fn compare(dtype: DType, judge: impl Fn(&str, [f32; 2], [f32; 2])) {
    let mut drawn = 0;
    for family in families() {
        let path = family.folder.with_file_name(format!("{}.lora.safetensors", family.name));
        if !path.is_file() {
            continue;
        }
        let bytes = family.bytes(dtype);
        for name in family.pictures() {
            let Some(strength) = way(name).and_then(|way| way.lora) else { continue };
            let lora = Lora::open(&path, strength, &File::new_checked(&bytes).unwrap()).unwrap();
            let far = |patches: Vec<Arc<dyn Patch>>, name: &str| {
                let far = family.differences(&opened(bytes.clone(), patches), None, name);
                [far.iter().copied().fold(0.0, f32::max), far.iter().sum::<f32>() / far.len() as f32]
            };
            let [with, without] = [far(vec![Arc::new(lora)], name), far(vec![], name.split_once("_lora").unwrap().0)];
            let figures = [with, without].map(|pair| pair.map(|v| v * 255.0));
            let name = format!("{} {name}", family.name);
            println!("{name} {dtype}: greatest and mean difference, and without, of 255: {figures:.3?}");
            judge(&name, with, without);
            drawn += 1;
        }
    }
    assert!(drawn > 0, "no pictures with a LoRA");
}

/// A LoRA costs a quantized model next to nothing more than quantization does. Seen red with the strength left out.
#[test]
fn a_quantized_base_stays_as_near_as_it_was() {
    compare(DType::Q8_0, |name, with, without| {
        assert!(with[1] <= 1.5 * without[1], "{name}: {} / 255 in the mean", with[1] * 255.0);
    });
}

/// What the text encoder makes of a few words.
fn states(bytes: &[u8], patches: &[Arc<dyn Patch>]) -> EncodedPrompts {
    states_of(&opened(bytes.to_vec(), patches.to_vec()))
}

fn states_of(model: &TextToImage) -> EncodedPrompts {
    let calls = model.calls(None, &[], 1).unwrap();
    model.encode_prompts(&LatentRequest { size: [64, 64], ..model.request("a cat on the mat", 0, &calls) }).unwrap()
}

/// Loading with patches is loading a file whose tensors were changed: bit for bit, in every type, both of two that touch
/// one tensor, and one that touches two. Seen red with the stored data handed on, with the first or the last patch only,
/// and with a tensor's bytes behind those of the one before.
#[test]
fn patches_apply_while_a_network_is_loaded() {
    let layer = "text_encoder.text_model.encoder.layers.0.mlp.fc1";
    for dtype in [DType::F32, DType::F16, DType::Q8_0] {
        let Some(bytes) = pipeline("sd1", dtype) else { return };
        let file = File::new_checked(&bytes).unwrap();
        let pair = |module: &str, layer: &str| {
            let shape = file.tensor(&format!("{layer}.weight")).unwrap().shape();
            factors(module, [".lora_down.weight", ".lora_up.weight"], &shape, 4)
        };
        let second = pair("lora_te_text_model_encoder_layers_0_mlp_fc1", layer);
        let smaller = layer.replace("mlp.fc1", "self_attn.q_proj");
        let made = [Made::new([pair(layer, layer), pair(&smaller, &smaller)].concat(), &[]), Made::new(second, &[])];
        let open = |made: &Made| -> Arc<dyn Patch> { Arc::new(Lora::open(&made.path.0, 1.5, &file).unwrap()) };
        let patches = made.each_ref().map(open);
        let with = states(&bytes, &patches);
        assert_eq!(with, states(&patched(&bytes, &patches), &[]), "{dtype}");
        assert_ne!(with, states(&bytes, &patches[..1]), "{dtype}: the second");
        assert_ne!(with, states(&bytes, &[]), "{dtype}: none");
    }
}

/// A patch that counts how often it is applied, and changes nothing.
struct Counted(&'static str, AtomicUsize);

impl Patch for Counted {
    fn touches(&self, name: &str) -> bool {
        name == self.0
    }

    fn apply(&self, _: &str, _: &[usize], _: &mut [f32]) -> Result<(), Error> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A model in memory with another strength is a model that was opened with it, bit for bit, the first stays what it was, and
/// what the LoRA does not touch is not read again. Seen red with nothing read again, with tensors of the old patches alone,
/// and with all.
#[test]
fn strengths_change_without_loading_anew() {
    let layer = "text_encoder.text_model.encoder.layers.0.mlp.fc1";
    for dtype in [DType::F32, DType::Q8_0] {
        let Some(bytes) = pipeline("sd1", dtype) else { return };
        let file = File::new_checked(&bytes).unwrap();
        let pair = |layer: &str| {
            let shape = file.tensor(&format!("{layer}.weight")).unwrap().shape();
            Made::pair(layer, [".lora_down.weight", ".lora_up.weight"], &shape, 4)
        };
        let made = [pair(layer), pair(&layer.replace("fc1", "fc2"))];
        let [first, second] = made.each_ref().map(|made| Lora::open(&made.path.0, 1.0, &file).unwrap());
        let at = |lora: &Lora, strength| Arc::new(lora.with_strength(strength).unwrap()) as Arc<dyn Patch>;
        let counted = Arc::new(Counted("text_encoder.text_model.encoder.layers.1.mlp.fc1.weight", AtomicUsize::new(0)));
        let with = |patches: &[Arc<dyn Patch>]| [&[counted.clone() as Arc<dyn Patch>], patches].concat();
        let model = opened(bytes.clone(), with(&[at(&first, 1.0)])).hold(&[ModelPart::Text(0)]).unwrap();
        let before = states_of(&model);
        for patches in [
            vec![at(&first, 0.5)],
            vec![at(&first, 0.0)],
            vec![],
            vec![at(&second, -1.0)],
            vec![at(&second, 1.0), at(&first, 1.0)],
        ] {
            let changed = model.with_patches(with(&patches)).unwrap();
            assert_eq!(states_of(&changed), states(&bytes, &patches), "{dtype}");
            assert_eq!(changed.weight_bytes(), model.weight_bytes());
            assert_eq!(states_of(&changed.with_patches(with(&[at(&first, 1.0)])).unwrap()), before, "{dtype}: back");
        }
        assert_eq!(states_of(&model), before, "{dtype}: the first");
        assert_eq!(counted.1.load(Ordering::Relaxed), 1, "{dtype}: what stays is not read again");
    }
}
