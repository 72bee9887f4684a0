//! Where a model comes from: a weight file, a checkpoint that is converted first, or the weights that are part of the
//! program.

use crate::fault::Fault;
use crate::file::convert;
use crate::file::default_model::{BuiltIn, DEFAULT};
use nijimi_cli::print::tell;
use nijimi_import::{self as import, Checkpoint, ImportError, Options, Part, Temporary, Types, is_checkpoint, stem};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{FirstStage, Stored};
use nijimi_runtime::quant::DType;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// What a file is to be: there is an option for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Any model that draws (`-m`).
    Model,
    /// `--control-net`.
    ControlNet,
    /// `--control-net` beside `--cache`: what is asked once a run.
    T2iAdapter,
    /// `--ip-adapter`.
    IpAdapter,
    /// `--clip-vision`.
    ImageEncoder,
    /// `--taesd`.
    TinyAutoencoder,
    /// The model of `nijimi upscale`.
    Upscaler,
    /// `--refiner`.
    Refiner,
}

/// The fault of a variant that is asked of a single file.
pub fn no_variant() -> Fault {
    Fault::Usage("--variant is for folders of checkpoints: leave it out".into())
}

/// How a checkpoint becomes a weight file.
#[derive(Clone, Copy, Debug)]
pub struct Conversion<'a> {
    /// The type of its weights (`--type`).
    pub dtype: DType,
    /// Parts of a model with files of their own.
    pub parts: &'a [(Part, PathBuf)],
    /// Folder of the vocabulary (`--tokenizer`), of a model.
    pub tokenizer: Option<&'a Path>,
    /// What its network predicts, whatever it says (`--prediction-type`).
    pub prediction_type: Option<&'a str>,
    /// Which of a folder's files (`--variant`).
    pub variant: Option<&'a str>,
    /// Whether the header is enough, without the tensors' numbers: for plans.
    pub header: bool,
}

impl Default for Conversion<'_> {
    fn default() -> Self {
        Self { dtype: DType::F16, parts: &[], tokenizer: None, prediction_type: None, variant: None, header: false }
    }
}

/// The bytes of a weight file, and what it is called. Shared by its clones.
#[derive(Clone)]
pub struct Source {
    /// Its path, or a word for the built-in weights.
    pub name: String,
    stored: Arc<dyn Stored>,
    built_in: bool,
}

impl Source {
    /// Opens the weight file that is named, or takes the built-in weights.
    pub fn open(path: Option<&Path>) -> Result<Self, Fault> {
        let built_in = |BuiltIn { name, bytes }| {
            Ok(Self { name: format!("{name} (built in)"), stored: Arc::new(bytes), built_in: true })
        };
        let Some(path) = path else { return built_in(*DEFAULT) };
        if let Some(model) = BuiltIn::named(path) {
            return built_in(model);
        }
        if is_checkpoint(path) {
            let (path, to) = (path.display(), convert::named_as(path));
            let remedy = format!("nijimi convert {path} -o {to}");
            return Err(Fault::Input(format!(
                "{path} is a checkpoint, not a weight file: convert it first with {remedy}"
            )));
        }
        let mapped = MappedFile::open(path).map_err(|e| Fault::Input(e.to_string()))?;
        Ok(Self { name: path.display().to_string(), stored: Arc::new(mapped), built_in: false })
    }

    /// As [`Self::open`]; a checkpoint (a folder, or a file of another program) is converted into a temporary file, which is
    /// gone when the program ends, however it does. What is not of this role is refused, and it is said where it belongs.
    pub fn open_or_convert(path: Option<&Path>, role: Role, how: Conversion<'_>) -> Result<Self, Fault> {
        let no_tokenizer = || Fault::Usage("--tokenizer is for Stable Diffusion checkpoints: leave it out".into());
        let Some(path) = path.filter(|path| is_checkpoint(path)) else {
            let source = Self::open(path)?;
            role.check(source.file()?.str("nijimi.system").unwrap_or_default(), &source.name)?;
            if how.variant.is_some() {
                return Err(no_variant());
            }
            if let Some((part, _)) = how.parts.first() {
                let option = part.option();
                return Err(Fault::Usage(format!(
                    "{option} takes the place of a part of a checkpoint, and {} is a weight file: give it to nijimi convert",
                    source.name
                )));
            }
            return if how.tokenizer.is_some() { Err(no_tokenizer()) } else { Ok(source) };
        };
        if how.variant.is_some() && !path.is_dir() {
            return Err(no_variant());
        }
        let started = Instant::now();
        let options = Options {
            variant: how.variant.map(str::to_owned),
            tokenizer: how.tokenizer.map(Path::to_owned),
            prediction_type: how.prediction_type.map(str::to_owned),
            parts: how.parts.to_vec(),
        };
        let input = |e: ImportError| Fault::Input(e.to_string());
        let checkpoint = Checkpoint::open(path, &options).map_err(input)?;
        let name = path.display().to_string();
        role.check(checkpoint.model.system(), &name)?;
        if how.tokenizer.is_some() && checkpoint.latent_diffusion().is_none() {
            return Err(no_tokenizer());
        }
        let mut lines = vec![format!("{name}: {}", convert::about(&checkpoint))];
        lines.extend(checkpoint.notes.iter().map(|note| format!("note: {note}")));
        tell(&lines);

        let elsewhere = |e: ImportError| {
            Fault::Input(format!("{e}: set the environment variable {} to another folder", Temporary::VARIABLE))
        };
        let temporary = Temporary::create().map_err(elsewhere)?;
        let (types, line) = (Types::new(how.dtype), convert::line(started));
        let (file, folder, name_of) = (temporary.file(), temporary.path(), stem(path));
        let converted = if how.header {
            import::outline_into(&checkpoint, file, folder, &name_of, &types)
        } else {
            import::convert_into(&checkpoint, file, folder, &name_of, &types, line).map(drop)
        };
        converted.map_err(|e| match e {
            ImportError::File(e) if e.path == temporary.path() => Fault::Input(format!(
                "{e} ({name} is converted there): set the environment variable {} to a folder with more room",
                Temporary::VARIABLE
            )),
            e => input(e),
        })?;
        if !how.header {
            let seconds = started.elapsed().as_secs_f64();
            tell(&[format!("converted to {} in {seconds:.1} s; nijimi convert does this once and for all", how.dtype)]);
        }
        Ok(Self { name, stored: temporary.map().map_err(input)?, built_in: false })
    }

    /// The file, checked.
    pub fn file(&self) -> Result<File<'_>, Fault> {
        self.stored.file().map_err(|e| self.wrong(e))
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        self.stored.bytes()
    }

    /// The file as a model keeps it at hand.
    pub fn stored(&self) -> Arc<dyn Stored> {
        self.stored.clone()
    }

    /// The fault of a file that is not what it must be.
    pub fn wrong(&self, e: impl Into<Error>) -> Fault {
        let e = e.into();
        match self.built_in {
            false => Fault::Input(format!("{}: {e}", self.name)),
            true => Fault::Internal(format!("the built-in weights are damaged: {e}; use another model with -m")),
        }
    }
}

impl Role {
    /// That a file's system is one of this role.
    fn check(self, system: &str, name: &str) -> Result<(), Fault> {
        let controls = matches!(self, Self::ControlNet | Self::T2iAdapter);
        let (what, option) = match system {
            "control-net" if self == Self::T2iAdapter => {
                return Err(Fault::Usage(format!(
                    "--cache does not go with a ControlNet, and {name} is one: leave one of them out"
                )));
            }
            "control-net" if !controls => {
                ("a ControlNet, which guides a model by an image", "with --control-net FILE, in addition to a model")
            }
            "t2i-adapter" if !controls => {
                ("a T2I-Adapter, which guides a model by an image", "with --control-net FILE, in addition to a model")
            }
            "ip-adapter" if self != Self::IpAdapter => {
                ("an IP-Adapter, which guides a model by pictures", "with --ip-adapter FILE, in addition to a model")
            }
            "image-encoder" if self != Self::ImageEncoder => {
                ("an image encoder, which an IP-Adapter reads", "with --clip-vision FILE, in addition to an IP-Adapter")
            }
            "autoencoder-tiny" if self != Self::TinyAutoencoder => {
                ("a tiny autoencoder, which decodes what a model draws", "with --taesd FILE, in addition to a model")
            }
            "upscaler" if self != Self::Upscaler => {
                ("an upscaler, which enlarges pictures", "to nijimi upscale PICTURE with -m FILE")
            }
            "control-net" | "t2i-adapter" | "ip-adapter" | "image-encoder" | "autoencoder-tiny" | "upscaler" => {
                return Ok(());
            }
            FirstStage::SYSTEM => {
                ("an autoencoder, which draws nothing by itself", "to nijimi-train text2image with --autoencoder FILE")
            }
            "classifier" if self != Self::Model => ("a classifier of noised pictures", "with --classifier FILE"),
            // What is no model at all is refused by what loads it.
            _ if self == Self::Model || system.is_empty() => return Ok(()),
            // Which one it is, its description tells.
            "latent-diffusion" if self == Self::Refiner => return Ok(()),
            _ if self == Self::Upscaler => ("a model of its own", "to nijimi with -m FILE, to draw with"),
            _ => ("a model of its own", "with -m FILE"),
        };
        let wanted = match self {
            Self::Model => String::new(),
            Self::ControlNet | Self::T2iAdapter => ", and --control-net takes a ControlNet or a T2I-Adapter".into(),
            Self::IpAdapter => ", and --ip-adapter takes an IP-Adapter".into(),
            Self::ImageEncoder => ", and --clip-vision takes an image encoder".into(),
            Self::TinyAutoencoder => ", and --taesd takes a tiny autoencoder".into(),
            Self::Refiner => ", and --refiner takes SDXL's refiner".into(),
            Self::Upscaler => ", and nijimi upscale takes an upscaler (ESRGAN)".into(),
        };
        Err(Fault::Input(format!("{name} is {what}{wanted}: give it {option}")))
    }
}
