//! Z-Image and FLUX.2-klein: a pipeline's folder, its parts by their original names, and what is refused.

use super::families::rewritten;
use super::sd3::{folder, same};
use super::support::{Folder, config, find, safetensors, values};
use crate::open::networks;
use crate::{Checkpoint, Family, Kind, Missing, Options, Part, Source, Survey};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn starting(tensors: &BTreeMap<String, super::support::Stored>, first: &str, with: &str) -> Vec<u8> {
    let own = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(first)?, tensor.clone())));
    safetensors(&own.map(|(name, tensor)| (format!("{with}{name}"), tensor)).collect())
}

/// The project's own, by the published names: all in one file, and each part in its own, with and without the names' first words.
#[test]
fn a_folder_and_files() {
    let (place, folder) = (Folder::new(), folder("zimage").unwrap());
    assert_eq!(config(&folder).family, Family::ZImage);
    let mut tensors = rewritten(&folder);
    // Of the language model its last layer, too, which is not needed.
    let own = tensors.iter().filter(|(name, _)| name.starts_with("text_encoders."));
    let copied = own.map(|(name, tensor)| (name.replace(".layers.2.", ".layers.3."), tensor.clone()));
    let copied: Vec<_> = copied.collect();
    tensors.extend(copied);
    place.write("whole.safetensors", safetensors(&tensors));
    same(&networks(&place.join("whole.safetensors"), &Options::default()).unwrap(), &folder);
    let survey = Survey::of(place.join("whole.safetensors")).unwrap();
    assert!(matches!(survey.kind, Kind::Whole(_)), "{:?}", survey.kind);
    assert_eq!(survey.missing, [Missing::Vocabulary]);

    for (word, model) in [("", "model."), ("model.diffusion_model.", "")] {
        place.write("z.safetensors", starting(&tensors, "model.diffusion_model.", word));
        let language = starting(&tensors, "text_encoders.qwen3_4b.transformer.model.", model);
        place.write("qwen.safetensors", language);
        place.write("ae.safetensors", starting(&tensors, "first_stage_model.", ""));
        let parts = [(Part::Llm, "qwen"), (Part::Vae, "ae")];
        let parts: Vec<(Part, PathBuf)> =
            parts.map(|(part, name)| (part, place.join(&format!("{name}.safetensors")))).into();
        let options = Options { parts: parts.clone(), ..Options::default() };
        same(&networks(&place.join("z.safetensors"), &options).unwrap(), &folder);

        // Those of a folder in their places.
        let unet = [(Part::Unet, place.join("z.safetensors"))];
        let options = Options { parts: unet.into_iter().chain(parts).collect(), ..Options::default() };
        same(&Checkpoint::open(&folder.path, &options).unwrap(), &folder);

        let survey = Survey::of(place.join("z.safetensors")).unwrap();
        assert!(matches!(survey.kind, Kind::Partial(Family::ZImage, _)), "{:?}", survey.kind);
        assert_eq!(survey.missing, [Missing::Part(Part::Llm), Missing::Part(Part::Vae), Missing::Vocabulary]);
        let refused = Checkpoint::open(place.join("z.safetensors"), &Options::default()).unwrap_err().to_string();
        assert!(refused.contains("--llm FILE"), "{refused}");
    }
    // What nothing uses is left out.
    let aside = &folder.aside;
    assert!(aside.iter().any(|name| name == "model.norm.weight"), "{aside:?}");
    let last = folder.tensors().iter().filter(|tensor| tensor.name.starts_with("text_encoder.layers.3."));
    assert_eq!(last.count(), 0);
    let patches = folder.tensors().iter().position(|tensor| tensor.name == "transformer.all_x_embedder.2-1.weight");
    assert_eq!(folder.tensors()[patches.unwrap()].shape, [48, 2, 2, 16]);
    assert_eq!(values(&folder, patches.unwrap(), 5).len(), 48 * 64);
}

/// FLUX.2-klein's: layers that are one in its files, a vae that packs, statistics of latents.
#[test]
fn flux2_of_a_folder_and_files() {
    let (place, folder) = (Folder::new(), folder("flux2klein").unwrap());
    assert_eq!(config(&folder).family, Family::Flux2);
    let mut tensors = rewritten(&folder);
    let vae = super::support::stored(&folder.path.join("vae/diffusion_pytorch_model.safetensors"));
    for name in ["bn.running_mean", "bn.running_var"] {
        tensors.insert(format!("first_stage_model.{name}"), vae[name].clone());
    }
    place.write("whole.safetensors", safetensors(&tensors));
    let whole = networks(&place.join("whole.safetensors"), &Options::default()).unwrap();
    same(&whole, &folder);
    let statistics = config(&whole).vae.statistics.clone().unwrap();
    assert_eq!(Some(&statistics), config(&folder).vae.statistics.as_ref());
    assert!(statistics.mean.len() == 128 && statistics.std.iter().all(|std| *std > 0.0));

    place.write("f.safetensors", starting(&tensors, "model.diffusion_model.", ""));
    place.write("qwen.safetensors", starting(&tensors, "text_encoders.qwen3_4b.transformer.model.", ""));
    place.write("ae.safetensors", starting(&tensors, "first_stage_model.", ""));
    let parts = [(Part::Llm, "qwen"), (Part::Vae, "ae")];
    let parts = parts.map(|(part, name)| (part, place.join(&format!("{name}.safetensors"))));
    let options = Options { parts: parts.into(), ..Options::default() };
    same(&networks(&place.join("f.safetensors"), &options).unwrap(), &folder);
    let unet = (Part::Unet, place.join("f.safetensors"));
    let options = Options { parts: options.parts.into_iter().chain([unet]).collect(), ..Options::default() };
    same(&Checkpoint::open(&folder.path, &options).unwrap(), &folder);
    let survey = Survey::of(place.join("f.safetensors")).unwrap();
    assert!(matches!(survey.kind, Kind::Partial(Family::Flux2, _)), "{:?}", survey.kind);
    assert_eq!(survey.missing, [Missing::Part(Part::Llm), Missing::Part(Part::Vae), Missing::Vocabulary]);
    // An autoencoder that packs has its statistics.
    tensors.remove("first_stage_model.bn.running_var");
    place.write("b.safetensors", safetensors(&tensors));
    let refused = networks(&place.join("b.safetensors"), &Options::default()).unwrap_err().to_string();
    assert!(refused.contains("bn.running_var"), "{refused}");
}

/// The published parts, by the names of the original code, in the place of the folder's, from which they were made. Seen red with
/// keys and values exchanged, and with shift and scale as they are stored.
#[test]
fn published_parts_are_their_folders() {
    for (name, parts) in [
        ("zimage", &[(Part::Unet, "transformer"), (Part::Vae, "ae")][..]),
        ("flux2klein", &[(Part::Unet, "transformer")]),
    ] {
        let path = |(part, what): &(Part, &str)| Some((*part, find(&format!("pipelines/{name}.{what}.safetensors"))?));
        let (Some(folder), Some(parts)) = (folder(name), parts.iter().map(path).collect()) else { continue };
        same(&Checkpoint::open(&folder.path, &Options { parts, ..Options::default() }).unwrap(), &folder);
    }
}

#[test]
fn what_is_not_its_own_is_refused() {
    let path = find("pipelines/zimage").unwrap();
    let other = find("pipelines/sd1/text_encoder/model.safetensors").unwrap();
    for (part, words) in [
        (Part::ClipL, "the text encoder of this model is another"),
        (Part::T5, "the text encoder of this model is another"),
        (Part::Llm, "not called as one's"),
        (Part::Unet, "not called as one's"),
    ] {
        let options = Options { parts: vec![(part, PathBuf::from(&other))], ..Options::default() };
        let refused = Checkpoint::open(&path, &options).unwrap_err().to_string();
        assert!(refused.contains(words), "{part:?}: {refused}");
    }
    for (model, words) in [("sd1", "this pipeline has none"), ("sd35", "this pipeline has none")] {
        let options = Options { parts: vec![(Part::Llm, PathBuf::from(&other))], ..Options::default() };
        let refused = Checkpoint::open(find(&format!("pipelines/{model}")).unwrap(), &options).unwrap_err().to_string();
        assert!(refused.contains(words), "{model}: {refused}");
    }
    let options = Options { tokenizer: Some(find("pipelines/sd1/tokenizer").unwrap()), ..Options::default() };
    let refused = Checkpoint::open(&path, &options).unwrap_err().to_string();
    assert!(refused.contains("<|im_start|>"), "{refused}");
}
