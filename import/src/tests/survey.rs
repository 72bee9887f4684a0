//! What lies at a path, told from headers.

use super::families::rewritten;
use super::support::{Folder, Stored, families, find, safetensors};
use crate::{Checkpoint, Counted, Family, Kind, Missing, Model, Options, Part, Survey};
use std::collections::BTreeMap;
use std::path::Path;

type Tensors = BTreeMap<String, Stored>;

fn whole(family: &str) -> Tensors {
    rewritten(&Checkpoint::open(&families()[family], &Options::default()).unwrap())
}

/// Names, parameters and bytes of the parts.
fn parts(survey: &Survey) -> Vec<(&str, u64, u64)> {
    survey.parts.iter().map(|of| (of.part.as_str(), of.parameters, of.bytes)).collect()
}

fn size(of: &Counted) -> (u64, u64) {
    (of.parameters, of.bytes)
}

/// A folder and the file that is made of it hold the same parts; the file lacks a vocabulary.
///
/// Seen red with a third of OpenCLIP's matrices counted as the whole, and with a vocabulary that is asked for.
#[test]
fn a_whole_model_and_its_parts() {
    for (family, is) in [("sd1full", Family::Sd1), ("sd2", Family::Sd2), ("sdxl", Family::Sdxl)] {
        let folder = Survey::of(&families()[family]).unwrap();
        let Kind::Whole(found) = &folder.kind else { panic!("{:?}", folder.kind) };
        assert!(matches!(&found.model, Model::TextToImage(config) if config.family == is));
        assert!(folder.missing.is_empty() && folder.files.len() >= 3 && !folder.is_gguf);
        let names: Vec<&str> = parts(&folder).iter().map(|(name, ..)| *name).collect();
        let texts = if is == Family::Sdxl { &["text_encoder", "text_encoder_2"][..] } else { &["text_encoder"] };
        assert_eq!(names, [texts, &["unet", "vae"]].concat());
        for of in &folder.parts {
            let width = |name: &str| if name == "F32" { 4 } else { 2 };
            assert_eq!(of.bytes, of.types.iter().map(|(name, n)| width(name) * n).sum::<u64>(), "{family} {}", of.part);
        }

        let here = Folder::new();
        here.write("a.safetensors", safetensors(&whole(family)));
        let file = Survey::of(here.join("a.safetensors")).unwrap();
        assert_eq!(parts(&file), parts(&folder), "{family}");
        assert_eq!(file.missing, [Missing::Vocabulary]);
        assert!(file.bytes > file.parts.iter().map(|of| of.bytes).sum());
    }
}

/// Files of parts, under the names of either code, and of what is added to a model.
///
/// Seen red with all of SDXL's U-Nets taken for 1.x's, and with an autoencoder alone refused.
#[test]
fn parts_alone_and_what_is_added() {
    let here = Folder::new();
    let of = |name: &str, tensors: &Tensors| {
        here.write(name, safetensors(tensors));
        Survey::of(here.join(name)).unwrap()
    };
    let only = |tensors: &Tensors, first: &str, cut: usize| -> Tensors {
        let own = tensors.iter().filter(|(name, _)| name.starts_with(first));
        own.map(|(name, tensor)| (name[cut..].to_owned(), tensor.clone())).collect()
    };
    for (family, is) in [("sd1full", Family::Sd1), ("sd2", Family::Sd2), ("sdxl", Family::Sdxl)] {
        let path = &families()[family];
        let all = whole(family);
        let folder = Survey::of(path).unwrap();
        let unet = folder.parts.iter().find(|of| of.part == "unet").unwrap();
        let first = "model.diffusion_model.";
        let ldm = [of("a.safetensors", &only(&all, first, 0)), of("b.safetensors", &only(&all, first, first.len()))];
        let diffusers = Survey::of(path.join("unet/diffusion_pytorch_model.safetensors")).unwrap();
        for survey in ldm.into_iter().chain([diffusers]) {
            let Kind::Partial(found, _) = survey.kind else { panic!("{:?}", survey.kind) };
            assert_eq!((found, size(&survey.parts[0])), (is, size(unet)), "{family}");
            let second = (is == Family::Sdxl).then_some(Missing::Part(Part::ClipG));
            let lacks =
                [Some(Missing::Part(Part::ClipL)), second, Some(Missing::Part(Part::Vae)), Some(Missing::Vocabulary)];
            assert_eq!(survey.missing, lacks.into_iter().flatten().collect::<Vec<_>>(), "{family}");
        }
        let vae = Survey::of(path.join("vae/diffusion_pytorch_model.safetensors")).unwrap();
        assert!(matches!(&vae.kind, Kind::Vae(vae) if vae.network.latent_channels() == 4), "{:?}", vae.kind);
        let text = Survey::of(path.join("text_encoder/model.safetensors")).unwrap();
        assert!(matches!(&text.kind, Kind::Text(text) if text.layers > 0), "{:?}", text.kind);
        assert_eq!(size(&text.parts[0]).0, folder.parts[0].parameters, "{family}");
    }
    let vectors = |shape: [usize; 2]| ("F32".to_owned(), shape.to_vec(), vec![0; 4 * shape[0] * shape[1]]);
    let word = of("w.safetensors", &[("<cat>".to_owned(), vectors([2, 768]))].into());
    assert!(matches!(&word.kind, Kind::Embedding(widths) if widths == &[768]), "{:?}", word.kind);
    if let Some(lora) = find("pipelines/sd1full.lora.safetensors") {
        let lora = Survey::of(lora).unwrap();
        assert!(matches!(lora.kind, Kind::Lora) && lora.parts[0].tensors > 1);
    }
}

/// GGUF as two programs write it: whole with types of blocks, and a U-Net whose convolutions are cut.
#[test]
fn gguf_of_other_programs() {
    if let Some(path) = find("pipelines/ggufsd1.comfyui.gguf") {
        let survey = Survey::of(path).unwrap();
        assert!(survey.is_gguf && matches!(survey.kind, Kind::Partial(Family::Sd1, _)), "{:?}", survey.kind);
        assert_eq!(survey.missing.len(), 3);
        assert!(survey.parts[0].types.iter().any(|(name, _)| name.starts_with('q')), "{:?}", survey.parts);
    }
    if let Some(path) = find("pipelines/ggufsd1.sdcpp.gguf") {
        let survey = Survey::of(path).unwrap();
        assert!(matches!(survey.kind, Kind::Whole(_)) && survey.is_gguf);
        assert_eq!(survey.parts.len(), 3, "{:?}", survey.parts);
    }
}

/// What is not known is refused with what it seems to be. Seen red with other words for what is not known.
#[test]
fn others_are_refused_with_what_they_seem_to_be() {
    let here = Folder::new();
    let refused = |names: &[&str]| {
        let tensors: Tensors =
            names.iter().map(|name| ((*name).to_owned(), ("F16".into(), vec![2], vec![0; 4]))).collect();
        here.write("a.safetensors", safetensors(&tensors));
        Survey::of(here.join("a.safetensors")).unwrap_err().to_string()
    };
    for (names, words) in [
        (&["double_blocks.0.img_attn.qkv.weight", "img_in.weight"][..], "a transformer (FLUX)"),
        (
            &["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "first_stage_model.a"],
            "a transformer (SD 3)",
        ),
        (&["transformer_blocks.0.attn.to_q.weight", "single_transformer_blocks.0.norm.weight"], "a transformer (FLUX)"),
        (&["noise_refiner.0.attention.qkv.weight", "cap_embedder.0.weight"], "a transformer (Z-Image, Lumina)"),
        (&["encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"], "(T5)"),
        (&["a.weight", "b.weight"], "its tensors are not Stable Diffusion's"),
    ] {
        let message = refused(names);
        assert!(message.contains(words), "{names:?}: {message}");
    }
    for (name, bytes) in [("a.ckpt", &b"PK\x03\x04"[..]), ("b.safetensors", b"")] {
        here.write(name, bytes);
        let message = Survey::of(here.join(name)).unwrap_err().to_string();
        assert!(message.contains("pickle") || message.contains("is empty"), "{message}");
    }
    assert!(Survey::of(Path::new("/none")).is_err());
}
