//! Every family converts, from a folder or from a single file, and what is written is what was stored.

use super::support::{Folder, Stored, config, families, find, numbers, safetensors, stored, values};
use crate::detect::SGM_CLIP;
use crate::expect::{self, Expected};
use crate::names::{Form, original};
use crate::{Checkpoint, Family, Format, Options, Source, Types, convert};
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::quant::DType;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Seen red with a convolution's channels left first, and with pieces of 7 rows that start at row 0.
#[test]
fn every_family_is_found_whole_and_read_as_it_is_stored() {
    for (family, path) in families() {
        let checkpoint = Checkpoint::open(&path, &Options::default()).unwrap_or_else(|e| panic!("{family}: {e}"));
        assert_eq!(checkpoint.format, Format::Diffusers);
        assert!(checkpoint.aside.is_empty(), "{family}: {:?}", checkpoint.aside);
        for (i, tensor) in checkpoint.tensors().iter().enumerate() {
            let part = tensor.name.split('.').next().unwrap();
            let file = fs::read_dir(path.join(part)).unwrap().map(|e| e.unwrap().path());
            let file = file.into_iter().find(|f| f.extension().is_some_and(|e| e == "safetensors")).unwrap();
            let plain = numbers(&file, &tensor.stored_name);
            let ours = values(&checkpoint, i, 7);
            assert_eq!(ours, values(&checkpoint, i, usize::MAX), "{family}: {} in pieces", tensor.name);
            match tensor.shape[..] {
                [out, kh, kw, inp] => {
                    for (at, &number) in plain.iter().enumerate() {
                        // As stored: [out][in][kh][kw].
                        let (o, c, y, x) = (at / kw / kh / inp, at / kw / kh % inp, at / kw % kh, at % kw);
                        let there = ((o * kh + y) * kw + x) * inp + c;
                        assert_eq!(ours[there], number, "{family}: {} {o} {c} {y} {x} of {out}", tensor.name);
                    }
                }
                _ => assert_eq!(ours, plain, "{family}: {}", tensor.name),
            }
        }
    }
}

/// Seen red with padding left out between tensors, and with `linear_projection` negated in the metadata.
#[test]
fn what_is_written_can_be_read() {
    let folder = Folder::new();
    for (family, path) in families() {
        let checkpoint = Checkpoint::open(&path, &Options::default()).unwrap();
        for dtype in [DType::F32, DType::F16, DType::Q8_0, DType::Q4_0] {
            let out = folder.join("out.gguf");
            let types = Types::new(dtype);
            let mut events = 0;
            let summary = convert(&checkpoint, &out, &family, &types, |_| events += 1).unwrap();
            assert_eq!(events, checkpoint.tensors().len());
            assert_eq!(fs::metadata(&out).unwrap().len(), summary.bytes);
            let mapped = MappedFile::open(&out).unwrap();
            let file = File::new_checked(mapped.bytes()).unwrap_or_else(|e| panic!("{family} as {dtype}: {e}"));
            assert_eq!(file.str("nijimi.system").unwrap(), "latent-diffusion");
            // Of the types that docs/format.md says.
            assert_eq!(file.u32("nijimi.format_version"), Ok(1));
            assert_eq!(file.f64("nijimi.schedule.beta_end").unwrap(), config(&checkpoint).scheduler.beta_end);
            if let Some(unet) = config(&checkpoint).unet() {
                assert_eq!(file.u32("nijimi.unet.in_channels").unwrap() as usize, unet.in_channels);
                assert_eq!(file.bool("nijimi.unet.linear_projection").unwrap(), unet.linear_projection);
                assert_eq!(file.u32s("nijimi.unet.heads").unwrap().len(), unet.levels.len());
            }
            let tokens = checkpoint.tokenizer.as_ref().unwrap().tokens.len();
            assert_eq!(file.strs("tokenizer.ggml.tokens").unwrap().len(), tokens);
            assert_eq!(file.tensors().len(), checkpoint.tensors().len());
            for (i, (ours, tensor)) in checkpoint.tensors().iter().zip(file.tensors()).enumerate() {
                assert_eq!((ours.name.as_str(), ours.shape.clone()), (tensor.name, tensor.shape()));
                assert_eq!(tensor.dtype, types.of(&ours.name, &ours.shape));
                // The fixtures are f16, so both floats hold them exactly.
                if matches!(tensor.dtype, DType::F32 | DType::F16) {
                    assert_eq!(tensor.to_f32(), values(&checkpoint, i, usize::MAX), "{family}: {}", ours.name);
                }
            }
        }
    }
}

/// The same checkpoint gives the same bytes, from version to version: keys, tensors and numbers in the order that they
/// always had. The numbers are FNV-1a of files of 2026-11.
///
/// Seen red with `conv_shortcut` left where the graph has it, and with `force_upcast` written last.
#[test]
fn files_are_the_bytes_that_they_were() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pipelines");
    let folder = Folder::new();
    for (name, expected) in [
        ("sd1full", 0x26a9b6a85af93a09),
        ("sdxl", 0xc019021e5d50d55b),
        ("sd1full_controlnet", 0x416fe29cc7b9d066),
        ("tae", 0x983109dbd77cf3cd),
    ] {
        let checkpoint = Checkpoint::open(own.join(name), &Options::default()).unwrap();
        convert(&checkpoint, &folder.join("out.gguf"), "test", &Types::new(DType::Q8_0), |_| ()).unwrap();
        let bytes = fs::read(folder.join("out.gguf")).unwrap();
        let fnv = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3);
        assert_eq!(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv), expected, "{name}");
    }
}

/// The single file that its publisher made of a folder, by names that are not ours.
///
/// Seen red with the decoder's levels counted from the coarsest.
#[test]
fn a_published_single_file_is_the_folder() {
    for (family, path) in families() {
        let Some(file) = find(&format!("pipelines/{family}.checkpoint.safetensors")) else { continue };
        let folder = Checkpoint::open(&path, &Options::default()).unwrap();
        if config(&folder).family.is_sd3() {
            // Heads and groups of so small networks are not told: see sd3.rs.
            continue;
        }
        let tokenizer = Some(path.join("tokenizer"));
        let single = Checkpoint::open(&file, &Options { tokenizer, ..Options::default() }).unwrap();
        assert_eq!(single.format, Format::SingleFile);
        equal(&family, &folder, &single);
        let mut found = config(&single).clone();
        // What a file of tensors does not tell.
        found.sample_size = config(&folder).sample_size;
        found.vae_sample_size = config(&folder).vae_sample_size;
        found.scheduler.settings = config(&folder).scheduler.settings.clone();
        assert_eq!(&found, config(&folder), "{family}");
        // The vocabulary is found in the folder beside it.
        let found = Checkpoint::open(&file, &Options::default()).unwrap();
        assert_eq!(found.tokenizer, folder.tokenizer);
    }
}

/// The other families, rewritten by the original names: fused queries, keys and values, a transposed projection.
///
/// Seen red with keys and values swapped in reading, and with the projection read as it lies.
#[test]
fn a_rewritten_single_file_is_the_folder() {
    for (family, path) in families() {
        let folder = Checkpoint::open(&path, &Options::default()).unwrap();
        // For 3 see sd3.rs.
        if config(&folder).family.is_sd3() {
            continue;
        }
        let temporary = Folder::new();
        temporary.write("model.safetensors", safetensors(&rewritten(&folder)));
        let tokenizer = Some(path.join("tokenizer"));
        // Some of these have fewer channels than published models have groups, so that they could not be drawn.
        let single =
            Checkpoint::find(&temporary.join("model.safetensors"), &Options { tokenizer, ..Options::default() });
        let single = single.unwrap_or_else(|e| panic!("{family}: {e}"));
        assert_eq!(config(&single).family, config(&folder).family, "{family}");
        equal(&family, &folder, &single);
    }
}

fn equal(family: &str, folder: &Checkpoint, single: &Checkpoint) {
    assert_eq!(folder.tensors().len(), single.tensors().len());
    for (i, (a, b)) in folder.tensors().iter().zip(single.tensors()).enumerate() {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        assert_eq!(values(folder, i, usize::MAX), values(single, i, 5), "{family}: {}", a.name);
    }
}

/// A checkpoint's tensors in PyTorch's layout, f16, under the names of the original code.
pub(super) fn rewritten(folder: &Checkpoint) -> BTreeMap<String, Stored> {
    let mut parts: BTreeMap<String, BTreeMap<String, Stored>> = BTreeMap::new();
    let is_refiner = config(folder).family == Family::SdxlRefiner;
    for tensor in folder.tensors() {
        let part = tensor.name.split('.').next().unwrap().to_string();
        parts.entry(part.clone()).or_insert_with(|| {
            // The refiner's only one is SDXL's second.
            let own = if is_refiner && part == "text_encoder" { "text_encoder_2" } else { &part };
            let files = fs::read_dir(folder.path.join(own)).unwrap().map(|e| e.unwrap().path());
            files.filter(|f| f.extension().is_some_and(|e| e == "safetensors")).flat_map(|f| stored(&f)).collect()
        });
    }
    let mut out: BTreeMap<String, Stored> = BTreeMap::new();
    for (part, expected) in expect::parts(config(folder)).unwrap() {
        for Expected { name, shape } in expected {
            let full = format!("{part}.{name}");
            let tensor = folder.tensors().iter().find(|t| t.name == full).unwrap();
            let (dtype, stored, bytes) = parts[part][&tensor.stored_name].clone();
            let dtype = || dtype.clone();
            let all = original(
                part,
                &name,
                config(folder),
                config(folder).unet().map_or(0, |unet| 1 + unet.layers_per_block()),
            );
            // 2.x has both forms of candidates; its publishers used the second.
            let first = if is_refiner { SGM_CLIP } else { "cond_stage_model.model." };
            let open_clip = all.iter().find(|c| c.name.contains(first));
            let is_open_clip = is_refiner || config(folder).family == Family::Sd2;
            let candidate = open_clip.filter(|_| is_open_clip).unwrap_or(&all[0]);
            match candidate.form {
                Form::Pack | Form::Unpack => {
                    out.insert(candidate.name.clone(), (dtype(), stored, bytes));
                }
                Form::Rows { from, of } => {
                    // What the folder's file has is several layers already, which lie as they lie here.
                    let row = 2 * shape[1..].iter().product::<usize>();
                    let fused = out.entry(candidate.name.clone());
                    let fused = fused.or_insert_with(|| (dtype(), [&[of], &shape[1..]].concat(), vec![0; of * row]));
                    let own = from * row..(from + shape[0]) * row;
                    fused.2[own.clone()].copy_from_slice(&bytes[own]);
                }
                Form::Patches => {
                    out.insert(candidate.name.clone(), (dtype(), vec![shape[0], shape[1..].iter().product()], bytes));
                }
                Form::Same | Form::Flat => {
                    out.insert(candidate.name.clone(), (dtype(), shape, bytes));
                }
                Form::Pointwise => {
                    out.insert(candidate.name.clone(), (dtype(), [&shape[..], &[1, 1]].concat(), bytes));
                }
                Form::Third(third) => {
                    // Queries, keys, values are expected in another order than they are fused in.
                    let fused = out.entry(candidate.name.clone()).or_insert_with(|| {
                        let shape = [&[3 * shape[0]], &shape[1..]].concat();
                        (dtype(), shape, vec![0; 3 * bytes.len()])
                    });
                    fused.2[third * bytes.len()..][..bytes.len()].copy_from_slice(&bytes);
                }
                Form::One => {
                    out.insert(candidate.name.clone(), (dtype(), [&[1], &shape[..]].concat(), bytes));
                }
                Form::Swapped => {
                    let swapped = [&bytes[bytes.len() / 2..], &bytes[..bytes.len() / 2]].concat();
                    out.insert(candidate.name.clone(), (dtype(), shape, swapped));
                }
                Form::Transposed => {
                    let [height, width] = shape[..] else { panic!("{name} is a matrix") };
                    let element = |r: usize, c: usize| bytes[2 * (r * width + c)..][..2].to_vec();
                    let turned: Vec<u8> =
                        (0..width).flat_map(|c| (0..height).flat_map(move |r| element(r, c))).collect();
                    out.insert(candidate.name.clone(), (dtype(), [width, height].into(), turned));
                }
            }
        }
    }
    // What such files hold beside the model.
    let zeros = |n: usize| vec![0; n];
    out.insert("alphas_cumprod".into(), ("F32".into(), [2].into(), zeros(8)));
    out.insert("model_ema.decay".into(), ("F32".into(), [].into(), zeros(4)));
    out.insert(
        "cond_stage_model.transformer.text_model.embeddings.position_ids".into(),
        ("I64".into(), [1, 2].into(), zeros(16)),
    );
    if config(folder).family != Family::Sd1 {
        out.remove("cond_stage_model.transformer.text_model.embeddings.position_ids");
    }
    out
}
