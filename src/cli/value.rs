//! Values of options.

pub use nijimi_cli::number::Bytes;
use nijimi_import::Part;
use nijimi_runtime::gpu::Choice;
use nijimi_runtime::model::{Place, SkipLayers};
use nijimi_runtime::quant::DType;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What `--backend` knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    Auto,
    Cpu,
    Gpu,
}

impl FromStr for Backend {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ => Err("there are auto, cpu and gpu"),
        }
    }
}

/// Numbers of a network's blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Layers(pub Vec<usize>);

impl FromStr for Layers {
    type Err = &'static str;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let layers: Result<Vec<usize>, _> = list.split(',').map(|layer| layer.trim().parse()).collect();
        layers.map(Self).map_err(|_| "expected numbers from 0, as in 7,8,9")
    }
}

/// Skip-layer guidance, as it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SkipOptions {
    scale: f32,
    layers: Vec<usize>,
    start: f64,
    end: f64,
}

impl SkipOptions {
    /// If it is, with what is usual where nothing is said.
    pub fn new(scale: Option<f32>, layers: Option<&Layers>, start: Option<f64>, end: Option<f64>) -> Option<Self> {
        let usual = SkipLayers::default();
        Some(Self {
            scale: scale.filter(|scale| *scale != 0.0)?,
            layers: layers.map_or_else(|| usual.layers.to_vec(), |layers| layers.0.clone()),
            start: start.unwrap_or(usual.start),
            end: end.unwrap_or(usual.stop),
        })
    }

    /// As a request has it.
    pub fn asked(&self) -> SkipLayers<'_> {
        SkipLayers { layers: &self.layers, scale: self.scale, start: self.start, stop: self.end }
    }

    /// As a picture says it of itself.
    pub fn told(&self) -> String {
        let layers: Vec<String> = self.layers.iter().map(ToString::to_string).collect();
        format!("layers {} by {} from {} to {}", layers.join(" "), self.scale, self.start, self.end)
    }
}

/// Parts of a model with files of their own, in the order of [`Part::ALL`].
pub fn parts(files: [&Option<PathBuf>; 6]) -> Vec<(Part, PathBuf)> {
    Part::ALL.into_iter().zip(files).filter_map(|(part, path)| Some((part, path.clone()?))).collect()
}

/// Where to draw, from `--device` and `--backend`.
pub fn place(device: Option<usize>, backend: Option<Backend>) -> Place {
    match (device, backend) {
        (Some(index), _) => Place::Gpu(Choice::Index(index)),
        (None, Some(Backend::Gpu)) => Place::Gpu(Choice::Any),
        (None, Some(Backend::Cpu)) => Place::Cpu,
        (None, Some(Backend::Auto) | None) => Place::Auto,
    }
}

/// Whose random numbers `--rng` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rng {
    /// Our own: the same on every machine, whatever the size of the batch.
    Nijimi,
    /// Those of PyTorch's generator for CPUs.
    Cpu,
    /// Those of PyTorch's generator for CUDA.
    Cuda,
}

impl Rng {
    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nijimi => "nijimi",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

impl FromStr for Rng {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [Self::Nijimi, Self::Cpu, Self::Cuda];
        all.into_iter().find(|rng| rng.name() == name).ok_or("there are nijimi, cpu and cuda")
    }
}

/// How `--preview` makes a picture of latents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PreviewMethod {
    /// A projection of their channels to colours: at once, but small and rough.
    Proj,
    /// The tiny autoencoder of `--taesd`.
    Taesd,
    /// The model's own decoder, which takes about as long as a few steps.
    Vae,
}

impl FromStr for PreviewMethod {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "proj" => Ok(Self::Proj),
            "taesd" => Ok(Self::Taesd),
            "vae" => Ok(Self::Vae),
            _ => Err("there are proj, taesd and vae"),
        }
    }
}

/// How `--hires` enlarges.
#[derive(Clone, PartialEq, Debug)]
pub enum HiresUpscaler {
    /// The latents.
    Latent,
    /// The picture, by a filter.
    Lanczos,
    /// The picture, by an upscaler.
    File(PathBuf),
}

impl FromStr for HiresUpscaler {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "" => Err("there are latent, lanczos, and an upscaler's file"),
            "latent" => Ok(Self::Latent),
            "lanczos" => Ok(Self::Lanczos),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// How many times `--hires` enlarges.
pub fn enlargement(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| *scale > 1.0 && *scale <= 8.0);
    scale.ok_or_else(|| "must be above 1, at most 8, as in 2 or 1.5".into())
}

/// A LoRA and its strength, as in `style.safetensors:0.8`.
#[derive(Clone, PartialEq, Debug)]
pub struct LoraFile {
    pub path: PathBuf,
    /// 1 if none is given.
    pub strength: f32,
}

impl FromStr for LoraFile {
    type Err = &'static str;

    /// The strength follows the last colon, if a number does: a path may have colons of its own.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A single letter before the colon is a drive of Windows.
        let split = text.rsplit_once(':').filter(|(path, _)| path.len() > 1);
        match split.and_then(|(path, strength)| Some((path, strength.parse::<f32>().ok()?))) {
            Some((_, strength)) if !strength.is_finite() => Err("the strength after the colon must be a finite number"),
            Some((path, strength)) => Ok(Self { path: path.into(), strength }),
            None if text.is_empty() => Err("name a file, as in style.safetensors:0.8"),
            None => Ok(Self { path: text.into(), strength: 1.0 }),
        }
    }
}

/// An embedding and the word that stands for it, as in `toy.safetensors:<toy>`.
#[derive(Clone, PartialEq, Debug)]
pub struct EmbeddingFile {
    pub path: PathBuf,
    /// The file's own, or its name, if none is given.
    pub word: Option<String>,
}

impl FromStr for EmbeddingFile {
    type Err = &'static str;

    /// The word follows the last colon behind an extension: a path may have colons of its own.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let split = text.rsplit_once(':').filter(|(path, _)| Path::new(path).extension().is_some());
        match split {
            Some((_, "")) => Err("name the word after the colon, as in toy.safetensors:mytoy"),
            Some((path, word)) => Ok(Self { path: path.into(), word: Some(word.into()) }),
            None if text.is_empty() => Err("name a file, as in toy.safetensors or toy.safetensors:mytoy"),
            None => Ok(Self { path: text.into(), word: None }),
        }
    }
}

/// A tensor of a .safetensors file, as in `run.safetensors:noise`.
#[derive(Clone, PartialEq, Debug)]
pub struct LatentsFile {
    pub path: PathBuf,
    /// Which one, if the file has several.
    pub name: Option<String>,
}

impl FromStr for LatentsFile {
    type Err = &'static str;

    /// The name follows the extension and a colon.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXTENSION: &str = ".safetensors";
        // Lower case of ASCII alone: positions stay what they are.
        let lower = text.to_ascii_lowercase();
        let at = lower.rfind(".safetensors:").map(|at| at + EXTENSION.len());
        match at {
            Some(at) => Ok(Self {
                path: text[..at].into(),
                name: Some(text[at + 1..].into()).filter(|n: &String| !n.is_empty()),
            }),
            None if lower.ends_with(EXTENSION) => Ok(Self { path: text.into(), name: None }),
            None => Err("name a .safetensors file, as in run.safetensors or run.safetensors:noise"),
        }
    }
}

/// The number format that `--type` names.
pub fn dtype(name: &str) -> Result<DType, String> {
    DType::from_name(name).ok_or_else(|| "there are f32, f16, bf16, q8_0, q6_k, q5_k, q4_k and q4_0".into())
}

/// What `--prediction-type` names.
pub fn prediction(name: &str) -> Result<String, String> {
    let known = ["epsilon", "v_prediction", "sample"].contains(&name);
    if known { Ok(name.into()) } else { Err("there are epsilon, v_prediction and sample".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora(text: &str) -> Option<(String, f32)> {
        let lora = text.parse::<LoraFile>().ok()?;
        Some((lora.path.to_str().unwrap().into(), lora.strength))
    }

    // Seen red: the first colon taken; the drive taken for a path.
    #[test]
    fn a_strength_follows_the_last_colon() {
        for (text, path, strength) in [
            ("a.safetensors", "a.safetensors", 1.0),
            ("a.safetensors:0.8", "a.safetensors", 0.8),
            ("a:b/c.safetensors:-1", "a:b/c.safetensors", -1.0),
            ("a:b.safetensors", "a:b.safetensors", 1.0),
            (r"C:\loras\a.safetensors", r"C:\loras\a.safetensors", 1.0),
            (r"C:\loras\a.safetensors:.5", r"C:\loras\a.safetensors", 0.5),
            ("C:5", "C:5", 1.0),
        ] {
            assert_eq!(lora(text), Some((path.into(), strength)), "{text}");
        }
        assert_eq!((lora(""), lora("ab:nan"), lora("ab:inf")), (None, None, None));
    }

    // Seen red: the first colon taken; a colon taken that no extension stands before.
    #[test]
    fn a_word_follows_the_extension() {
        for (text, path, word) in [
            ("a.safetensors", "a.safetensors", None),
            ("a.safetensors:<toy>", "a.safetensors", Some("<toy>")),
            (r"C:\b\a.safetensors:my toy", r"C:\b\a.safetensors", Some("my toy")),
            (r"C:\b\a.safetensors", r"C:\b\a.safetensors", None),
            ("a:b.safetensors", "a:b.safetensors", None),
        ] {
            let want = EmbeddingFile { path: path.into(), word: word.map(str::to_owned) };
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        assert!("".parse::<EmbeddingFile>().is_err() && "a.safetensors:".parse::<EmbeddingFile>().is_err());
    }

    // Seen red: the last colon taken; a name of nothing taken for one; capitals told apart.
    #[test]
    fn a_tensor_follows_the_extension() {
        let read =
            |text: &str| text.parse().map(|LatentsFile { path, name }| (path.to_str().unwrap().to_owned(), name));
        assert_eq!(read("a.safetensors"), Ok(("a.safetensors".into(), None)));
        assert_eq!(read("a.SafeTensors:noise"), Ok(("a.SafeTensors".into(), Some("noise".into()))));
        assert_eq!(read(r"C:\a.safetensors:a:b"), Ok((r"C:\a.safetensors".into(), Some("a:b".into()))));
        assert_eq!(read("ä.safetensors:"), Ok(("ä.safetensors".into(), None)));
        assert!(read("a.bin").is_err() && read("a.safetensors.bin").is_err());
    }

    // Seen red: 512 bytes a kilobyte; any number taken.
    #[test]
    fn amounts_of_memory() {
        for (text, bytes) in [("4G", 4 << 30), ("800M", 800 << 20), ("1.5gib", 3 << 29), ("2k", 2048), ("17", 17)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "0", "G", "-1G", "nan", "inf", "1e30", "4X", "4 G", "0.1"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
