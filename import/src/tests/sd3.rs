//! Stable Diffusion 3 and 3.5: the published single files against the folders that they were made from.

use super::families::rewritten;
use super::support::{Folder, config, find, safetensors, values};
use crate::open::networks;
use crate::{Checkpoint, Family, Kind, Missing, Options, Source, Survey};
use std::path::Path;

pub(super) fn folder(name: &str) -> Option<Checkpoint> {
    let path = find(&format!("pipelines/{name}"))?;
    Some(Checkpoint::open(path, &Options::default()).unwrap())
}

/// All numbers, by name: of a folder and of a file, heads apart, which so small a network's tensors do not tell.
pub(super) fn same(single: &Checkpoint, folder: &Checkpoint) {
    let names = |of: &Checkpoint| of.tensors().iter().map(|tensor| tensor.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(single), names(folder));
    for (i, tensor) in folder.tensors().iter().enumerate() {
        assert_eq!(single.tensors()[i].shape, tensor.shape, "{}", tensor.name);
        assert_eq!(values(single, i, 7), values(folder, i, usize::MAX), "{}", tensor.name);
    }
    let [one, other] = [single, folder].map(config);
    assert_eq!(one.family, other.family);
    assert_eq!(one.scheduler.info().class, other.scheduler.info().class);
    let vae = |of: &crate::Config| (of.vae.scaling_factor, of.vae.shift_factor);
    assert_eq!((vae(one), one.denoiser.channels()), (vae(other), other.denoiser.channels()));
    assert_eq!(one.denoiser.added_width(), other.denoiser.added_width());
}

/// Seen red with the halves of the last modulations as they are stored, with queries and values exchanged, and with the second
/// attention's tensors looked for in the first.
#[test]
fn published_single_files_are_their_folders() {
    for name in ["sd3", "sd35", "sd3t5"] {
        let (Some(folder), Some(file)) = (folder(name), find(&format!("pipelines/{name}.checkpoint.safetensors")))
        else {
            continue;
        };
        same(&networks(Path::new(&file), &Options::default()).unwrap(), &folder);
    }
}

/// The project's own, written by the published names.
#[test]
fn a_folder_and_a_file() {
    let (place, folder) = (Folder::new(), folder("sd35").unwrap());
    assert_eq!(config(&folder).family, Family::Sd35);
    let tensors = rewritten(&folder);
    place.write("a.safetensors", safetensors(&tensors));
    same(&networks(&place.join("a.safetensors"), &Options::default()).unwrap(), &folder);
    let survey = Survey::of(place.join("a.safetensors")).unwrap();
    assert!(matches!(survey.kind, Kind::Whole(_)), "{:?}", survey.kind);
    assert_eq!(survey.missing, [Missing::Vocabulary]);

    // As it is published without text encoders.
    let alone: std::collections::BTreeMap<_, _> =
        tensors.into_iter().filter(|(name, _)| !name.starts_with("text_encoders.")).collect();
    place.write("b.safetensors", safetensors(&alone));
    let refused = Checkpoint::open(place.join("b.safetensors"), &Options::default()).unwrap_err().to_string();
    assert!(refused.contains("--clip-l FILE"), "{refused}");
    let survey = Survey::of(place.join("b.safetensors")).unwrap();
    assert!(matches!(survey.kind, Kind::Partial(Family::Sd35, _)), "{:?}", survey.kind);
    assert_eq!(survey.missing.len(), 3, "{:?}", survey.missing);
}
