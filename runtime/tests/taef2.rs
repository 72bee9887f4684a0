//! The tiny autoencoder of FLUX.2, whose coarsest blocks have a branch through a norm over the whole picture: a small one that is made
//! here, against its formula, and the trained one (`NIJIMI_DATA`), against the reference.

#[path = "common/diffusers.rs"]
mod diffusers;

use diffusers::Tensors;
use nijimi_import::{Checkpoint, Options, Types, convert};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, SessionOptions, TinyAutoencoder};
use nijimi_runtime::quant::DType;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nijimi-taef2-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn converted(file: &Path, folder: &Folder) -> Vec<u8> {
    let checkpoint = Checkpoint::open(file, &Options::default()).unwrap();
    let out = folder.0.join("out.gguf");
    convert(&checkpoint, &out, "taef2", &Types::new(DType::F32), |_| {}).unwrap();
    fs::read(out).unwrap()
}

fn far(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).fold(0.0, |far, (a, b)| far.max((a - b).abs()))
}

/// Seen red with one group of the branch's norm, without the branch's ReLU, without the shortcut around it, and, decoding,
/// with latents that are not held.
#[test]
fn the_trained_one_computes_what_the_reference_does() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("NIJIMI_DATA").map_or(beside, PathBuf::from).join("real");
    if !data.join("taef2.golden.safetensors").is_file() {
        return println!("skipped: no TAEF2 in {} (set NIJIMI_DATA)", data.display());
    }
    let folder = Folder::new("trained");
    let bytes = converted(&data.join("taef2_decoder.safetensors"), &folder);
    let model = TinyAutoencoder::load(&File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap();
    assert!(model.info().network.pooled && model.info().has_encoder);
    let golden = Tensors::read(&data.join("taef2.golden.safetensors"));
    let options = SessionOptions { threads: 2, ..Default::default() };
    let mut encoder = model.encoder([256, 256], &options).unwrap();
    let latents = model.encode(&mut encoder, &golden.get("picture").channels_last()).unwrap();
    let apart = far(&latents, &golden.get("latents").channels_last());
    println!("latents: {apart:.1e}");
    assert!(apart < 1e-3, "{apart}");
    let mut decoder = model.decoder([32, 32], &options).unwrap();
    let picture = model.decode(&mut decoder, &golden.get("latents").channels_last()).unwrap();
    let apart = far(&picture, &golden.get("decoded").channels_last());
    println!("picture: {:.4} / 255", apart * 255.0);
    assert!(apart <= 1.0 / 255.0, "{apart}");
}

const WIDE: usize = 8;
const LATENT: usize = 3;
const SIDE: usize = 4;

/// Tensors of a decoder of one level and two blocks by the original names, `[out][in][k][k]`.
struct Made(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Made {
    fn new() -> Self {
        let mut made = Self(BTreeMap::new());
        made.conv("1", WIDE, LATENT, 3, true);
        for block in ["3", "4"] {
            for conv in ["0", "2", "4"] {
                made.conv(&format!("{block}.conv.{conv}"), WIDE, WIDE, 3, true);
            }
            made.conv(&format!("{block}.pool.0"), 4 * WIDE, WIDE, 1, false);
            made.tensor(&format!("{block}.pool.1.weight"), &[4 * WIDE], 1.0);
            made.tensor(&format!("{block}.pool.1.bias"), &[4 * WIDE], 0.5);
            made.conv(&format!("{block}.pool.3"), WIDE, 4 * WIDE, 1, false);
        }
        made.conv("5", 3, WIDE, 3, true);
        made
    }

    fn conv(&mut self, name: &str, out: usize, inp: usize, kernel: usize, bias: bool) {
        self.tensor(&format!("{name}.weight"), &[out, inp, kernel, kernel], 0.3);
        if bias {
            self.tensor(&format!("{name}.bias"), &[out], 0.1);
        }
    }

    fn tensor(&mut self, name: &str, shape: &[usize], size: f32) {
        let seed = name.bytes().fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
        let number = |i: u32| {
            let x = (seed ^ i.wrapping_mul(0x9E37_79B9)).wrapping_mul(0x85EB_CA6B);
            size * (((x ^ x >> 15) & 0xffff) as f32 / 32768.0 - 1.0)
        };
        let values = (0..shape.iter().product::<usize>() as u32).map(number).collect();
        self.0.insert(name.into(), (shape.into(), values));
    }

    fn safetensors(&self) -> Vec<u8> {
        let (mut entries, mut data) = (Vec::new(), Vec::new());
        for (name, (shape, values)) in &self.0 {
            let start = data.len();
            data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            entries.push(format!(
                r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{}]}}"#,
                data.len()
            ));
        }
        let header = format!("{{{}}}", entries.join(","));
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    }

    /// `(h, w, in)` to `(h, w, out)`, as the formula has it.
    fn conv2d(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (shape, weight) = &self.0[&format!("{name}.weight")];
        let &[out, inp, kernel, _] = &shape[..] else { panic!() };
        let bias = self.0.get(&format!("{name}.bias"));
        let mut y = Vec::new();
        for (row, column, o) in (0..SIDE * SIDE * out).map(|i| (i / out / SIDE, i / out % SIDE, i % out)) {
            let mut sum = bias.map_or(0.0, |(_, bias)| f64::from(bias[o]));
            for (dy, dx, c) in (0..kernel * kernel * inp).map(|i| (i / inp / kernel, i / inp % kernel, i % inp)) {
                let (Some(y), Some(x_)) = ((row + dy).checked_sub(kernel / 2), (column + dx).checked_sub(kernel / 2))
                else {
                    continue;
                };
                if y < SIDE && x_ < SIDE {
                    sum +=
                        f64::from(weight[((o * inp + c) * kernel + dy) * kernel + dx]) * x[(y * SIDE + x_) * inp + c];
                }
            }
            y.push(sum);
        }
        y
    }

    /// x + conv(relu(norm(conv(x)))), in four groups.
    fn pool(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mut y = self.conv2d(&format!("{name}.pool.0"), x);
        let (all, group) = (4 * WIDE, WIDE);
        for first in (0..all).step_by(group) {
            let own =
                |y: &[f64]| -> Vec<f64> { y.chunks(all).flat_map(|row| row[first..first + group].to_vec()).collect() };
            let values = own(&y);
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            for row in y.chunks_mut(all) {
                for (c, v) in row.iter_mut().enumerate().skip(first).take(group) {
                    let [weight, bias] =
                        ["weight", "bias"].map(|k| f64::from(self.0[&format!("{name}.pool.1.{k}")].1[c]));
                    *v = ((*v - mean) / (variance + 1e-5).sqrt()).mul_add(weight, bias).max(0.0);
                }
            }
        }
        self.conv2d(&format!("{name}.pool.3"), &y).iter().zip(x).map(|(a, b)| a + b).collect()
    }

    fn decode(&self, latents: &[f32]) -> Vec<f32> {
        let relu = |x: Vec<f64>| -> Vec<f64> { x.into_iter().map(|v| v.max(0.0)).collect() };
        let held: Vec<f64> = latents.iter().map(|v| 3.0 * (f64::from(*v) / 3.0).tanh()).collect();
        let mut x = relu(self.conv2d("1", &held));
        for block in ["3", "4"] {
            x = self.pool(block, &x);
            let y = relu(self.conv2d(&format!("{block}.conv.0"), &x));
            let y = self.conv2d(&format!("{block}.conv.4"), &relu(self.conv2d(&format!("{block}.conv.2"), &y)));
            x = relu(y.iter().zip(&x).map(|(a, b)| a + b).collect());
        }
        self.conv2d("5", &x).iter().map(|v| v.clamp(0.0, 1.0) as f32).collect()
    }
}

/// Seen red as the trained one, and with tensors that are missing passed over.
#[test]
fn a_small_one_computes_its_formula() {
    let (folder, made) = (Folder::new("made"), Made::new());
    let path = folder.0.join("small_decoder.safetensors");
    fs::write(&path, made.safetensors()).unwrap();
    let bytes = converted(&path, &folder);
    let file = File::new_checked(&bytes).unwrap();
    assert_eq!(file.bool("nijimi.tiny.pooled"), Ok(true));
    let model = TinyAutoencoder::load(&file, &Device::Cpu).unwrap();
    let latents: Vec<f32> = (0..SIDE * SIDE * LATENT).map(|i| (i * 37 % 19) as f32 / 6.0 - 1.5).collect();
    let mut decoder = model.decoder([SIDE, SIDE], &SessionOptions { threads: 1, ..Default::default() }).unwrap();
    let picture = model.decode(&mut decoder, &latents).unwrap();
    let expected = made.decode(&latents);
    assert!(expected.iter().filter(|v| **v > 0.0 && **v < 1.0).count() > 10, "{expected:?}");
    assert!(far(&picture, &expected) < 1e-4, "{}", far(&picture, &expected));
    // A file of one half with the branch, and one without: the second lacks it.
    let mut lacking = Made::new();
    lacking.0.retain(|name, _| !name.starts_with("4.pool.1"));
    fs::write(&path, lacking.safetensors()).unwrap();
    let refused = Checkpoint::open(&path, &Options::default()).unwrap_err().to_string();
    assert!(refused.contains("lacks the tensor 4.pool.1.weight"), "{refused}");
}
