//! Parts of a model from files of their own.

use super::families::rewritten;
use super::support::{Folder, Stored, config, edit_weights, families, safetensors, stored, values};
use crate::{Checkpoint, Options, Part, Source};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Tensors = BTreeMap<String, Stored>;

fn all(checkpoint: &Checkpoint) -> Vec<Vec<f32>> {
    (0..checkpoint.tensors().len()).map(|i| values(checkpoint, i, usize::MAX)).collect()
}

fn only(tensors: &Tensors, first: &str) -> Tensors {
    tensors.iter().filter(|(name, _)| name.starts_with(first)).map(|(n, t)| (n.clone(), t.clone())).collect()
}

/// The same under names without their first word.
fn bare(tensors: &Tensors, first: &str) -> Tensors {
    only(tensors, first).into_iter().map(|(name, t)| (name[first.len()..].to_owned(), t)).collect()
}

/// A folder of files, to be put together.
struct Pieces {
    folder: Folder,
    pipeline: PathBuf,
    whole: Tensors,
}

impl Pieces {
    fn of(family: &str) -> Self {
        let pipeline = families()[family].clone();
        let whole = rewritten(&Checkpoint::open(&pipeline, &Options::default()).unwrap());
        Self { folder: Folder::new(), pipeline, whole }
    }

    fn write(&self, name: &str, tensors: &Tensors) -> PathBuf {
        self.folder.write(name, safetensors(tensors));
        self.folder.join(name)
    }

    fn open(&self, model: &Path, parts: &[(Part, &Path)]) -> Result<Checkpoint, String> {
        let parts = parts.iter().map(|(part, path)| (*part, path.to_path_buf())).collect();
        let tokenizer = Some(self.pipeline.join("tokenizer"));
        // Whether it could be drawn is not asked: sizes of the fixtures are not all those of published models.
        Checkpoint::find(model, &Options { parts, tokenizer, ..Options::default() }).map_err(|e| e.to_string())
    }

    /// The file of a part in the pipeline's folder.
    fn diffusers(&self, part: &str) -> PathBuf {
        let file = if part.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
        self.pipeline.join(part).join(format!("{file}.safetensors"))
    }
}

/// A U-Net alone, by each of its three namings, and its parts by each of theirs, are the model.
///
/// Seen red with the levels that attend taken for those that do not.
#[test]
fn a_model_is_put_together() {
    for (family, first, second) in [
        ("sd1full", "cond_stage_model.transformer.", None),
        ("sdxs", "cond_stage_model.transformer.", None),
        ("sdxl", "conditioner.embedders.0.transformer.", Some("conditioner.embedders.1.model.")),
    ] {
        let pieces = Pieces::of(family);
        let expected = all(&Checkpoint::open(&pieces.pipeline, &Options::default()).unwrap());
        let (unet, vae) = ("model.diffusion_model.", "first_stage_model.");
        let unets = [
            pieces.write("prefixed.safetensors", &only(&pieces.whole, unet)),
            pieces.write("bare.safetensors", &bare(&pieces.whole, unet)),
            pieces.diffusers("unet"),
        ];
        let whole = pieces.write("whole.safetensors", &pieces.whole);
        let vaes = [pieces.write("v.safetensors", &bare(&pieces.whole, vae)), pieces.diffusers("vae"), whole.clone()];
        let clips = [
            pieces.write("l.safetensors", &bare(&pieces.whole, first)),
            pieces.diffusers("text_encoder"),
            whole.clone(),
        ];
        let seconds: Vec<PathBuf> = second.map_or(vec![], |second| {
            let bare = pieces.write("g.safetensors", &bare(&pieces.whole, second));
            vec![bare, pieces.diffusers("text_encoder_2"), whole.clone()]
        });
        for (i, model) in unets.iter().enumerate() {
            let mut parts = vec![(Part::Vae, &*vaes[i]), (Part::ClipL, &*clips[i])];
            parts.extend(seconds.get(i).map(|path| (Part::ClipG, &**path)));
            let checkpoint = pieces.open(model, &parts).unwrap_or_else(|e| panic!("{family} {i}: {e}"));
            assert_eq!(config(&checkpoint).family.name(), if family == "sdxl" { "sdxl" } else { "sd1" });
            assert_eq!(all(&checkpoint), expected, "{family} {i}");
            // In place of the U-Net of a folder, and of a file.
            for base in [&pieces.pipeline, &whole] {
                let parts = [&[(Part::Unet, &**model)], &parts[..]].concat();
                let checkpoint =
                    pieces.open(base, &parts[..2]).unwrap_or_else(|e| panic!("{family} {i} in {base:?}: {e}"));
                assert_eq!(all(&checkpoint), expected, "{family} {i} in {base:?}");
            }
        }
    }
}

/// What another file has is used, and nothing of what it replaces. Seen red with the first file's tensors kept.
#[test]
fn what_is_named_counts() {
    let pieces = Pieces::of("sd1full");
    let whole = pieces.write("whole.safetensors", &pieces.whole);
    let mut other = only(&pieces.whole, "first_stage_model.");
    for (_, _, bytes) in other.values_mut() {
        bytes.fill(0);
    }
    let vae = pieces.write("zeros.safetensors", &other);
    for base in [&whole, &pieces.pipeline] {
        let checkpoint = pieces.open(base, &[(Part::Vae, &vae)]).unwrap();
        for (tensor, values) in checkpoint.tensors().iter().zip(all(&checkpoint)) {
            assert_eq!(values.iter().all(|v| *v == 0.0), tensor.name.starts_with("vae."), "{}", tensor.name);
        }
        assert_eq!(checkpoint.parts, [(Part::Vae, vae.clone())]);
    }
}

/// A mark beside a U-Net goes with it. Seen red with the folder's prediction kept.
#[test]
fn marks_go_with_the_unet() {
    let pieces = Pieces::of("sd1full");
    let mut marked = only(&pieces.whole, "model.diffusion_model.");
    marked.insert("v_pred".into(), ("F32".into(), vec![], vec![0; 4]));
    let (marked, plain) = (
        pieces.write("v.safetensors", &marked),
        pieces.write("plain.safetensors", &only(&pieces.whole, "model.diffusion_model.")),
    );
    let mut whole = pieces.whole.clone();
    let before = pieces.write("whole.safetensors", &whole);
    whole.insert("v_pred".into(), ("F32".into(), vec![], vec![0; 4]));
    let after = pieces.write("whole-v.safetensors", &whole);
    for (base, unet, expected) in [
        (&pieces.pipeline, &marked, "v_prediction"),
        (&before, &marked, "v_prediction"),
        (&after, &plain, "epsilon"),
        (&pieces.pipeline, &plain, "epsilon"),
    ] {
        let checkpoint = pieces.open(base, &[(Part::Unet, unet)]).unwrap();
        assert_eq!(config(&checkpoint).scheduler.prediction_type, expected, "{base:?} {unet:?}");
    }
}

/// Seen red with a part that is named twice let through.
#[test]
fn parts_that_cannot_be() {
    let pieces = Pieces::of("sd1full");
    let unet = pieces.write("unet.safetensors", &bare(&pieces.whole, "model.diffusion_model."));
    let whole = pieces.write("whole.safetensors", &pieces.whole);
    let vae = pieces.diffusers("vae");
    let clip = pieces.diffusers("text_encoder");
    let mut half = stored(&vae);
    half.retain(|name, _| !name.contains("up_blocks.1"));
    let half = pieces.write("half.safetensors", &half);
    for (model, parts, said) in [
        (&unet, &[][..], &["no text encoder", "--clip-l"][..]),
        (&unet, &[(Part::ClipL, &*clip)], &["no autoencoder", "--vae"]),
        (&unet, &[(Part::Unet, &*whole)], &["--unet", "name one"]),
        (&whole, &[(Part::Vae, &*vae), (Part::Vae, &*half)], &["--vae", "vae/diffusion", "name one"]),
        (&whole, &[(Part::Vae, &*clip)], &["given as autoencoder with --vae", "text_model"]),
        (&whole, &[(Part::ClipL, &*vae)], &["given as text encoder with --clip-l"]),
        (&whole, &[(Part::Unet, &*vae)], &["given as U-Net with --unet"]),
        (&whole, &[(Part::Vae, &*half)], &["lacks the tensor first_stage_model.decoder."]),
        (&whole, &[(Part::ClipG, &*clip)], &["--clip-g", "neither SDXL nor"]),
        (&pieces.pipeline, &[(Part::ClipG, &*clip)], &["--clip-g"]),
        (&whole, &[(Part::Vae, &*pieces.pipeline)], &["is a folder", "--vae takes a file"]),
        (&vae, &[(Part::Unet, &*unet), (Part::ClipL, &*clip)], &["nothing of it is used"]),
        (&vae, &[], &["an autoencoder", "--vae"]),
        (&clip, &[], &["a text encoder", "--clip-l"]),
    ] {
        let refused = pieces.open(model, parts).unwrap_err();
        assert!(said.iter().all(|part| refused.contains(part)), "{refused}");
    }
    // Sizes are looked at wherever a tensor is.
    let narrow = pieces.write("narrow.safetensors", &pieces.whole);
    edit_weights(&narrow, |tensors| {
        let name = "model.diffusion_model.out.2.bias";
        tensors.insert(name.into(), ("F16".into(), vec![3], vec![0; 6]));
    });
    let refused = pieces.open(&pieces.pipeline, &[(Part::Unet, &narrow)]).unwrap_err();
    assert!(refused.contains("out.2.bias") && refused.contains("expected [4]"), "{refused}");
}
