//! From a weight file to pictures: [`Diffusion`] (shared, immutable) -> [`Session`] (memory and threads) -> [`Run`] (one
//! batch, step by step).
//!
//! The caller owns the loop, so progress, preview and cancelling need no callbacks:
//!
//! ```no_run
//! use nijimi_runtime::{Error, gguf, model::{Device, Diffusion, Request, SessionOptions}};
//!
//! fn sevens(bytes: &[u8]) -> Result<Vec<u8>, Error> {
//!     let pipeline = Diffusion::load(&gguf::File::new_checked(bytes)?, &Device::Cpu)?;
//!     let mut session = pipeline.session(&SessionOptions { batch: 2, ..Default::default() })?;
//!     let seven = Some(pipeline.label("7")?);
//!     let defaults = pipeline.info().defaults;
//!     let calls = pipeline.calls(defaults.solver, defaults.steps)?;
//!     let guidance_scale = defaults.guidance_scale;
//!     let request = Request { labels: &[seven, seven], seeds: &[1, 2], calls: &calls, guidance_scale };
//!     let mut run = session.run(&request)?;
//!     while let Some(step) = run.step()? {
//!         eprintln!("{} of {}", step.index + 1, step.total);
//!     }
//!     run.to_u8()
//! }
//! ```

mod any;
mod classifier;
mod control;
mod device;
mod diffusion;
mod draw;
mod engine;
mod error;
mod flux2_keys;
mod guided;
mod image_encoder;
mod info;
mod ip_adapter;
mod latent;
mod load;
mod loaded;
mod machine;
mod mmdit_keys;
mod network;
mod noise;
mod numbers;
mod options;
mod patch;
mod run;
mod scheduler;
mod session;
mod stored;
mod tiny;
mod unet_keys;
mod upscaler;
mod vae;
mod wait;
mod z_image_keys;

pub use any::{Model, ModelKind, Picture, is_of_one_color};
pub use classifier::{Classifier, ClassifierInfo, ClassifierSession};
pub use control::{Control, ControlInfo, ControlNetwork};
pub use device::{Device, Place};
pub use diffusion::Diffusion;
pub use draw::{DrawRequest, Hires, ModelRun, Refiner, RunPlan};
pub use engine::{StepInfo, Values};
pub use error::{ModelError, RequestError, TooLarge};
pub use guided::{ClassifierGuided, GuidedRequest};
pub use image_encoder::{ImageEncoder, ImageEncoderInfo, SeenImages, ShownImage};
pub use info::{Defaults, Info};
pub use ip_adapter::{ImagePrompt, IpAdapter, IpAdapterInfo};
pub use latent::{
    Blend, Choice, Decoding, DepthMap, Embedding, EncodedInit, EncodedPrompts, EncodedReferences, Enlarge, FirstStage,
    ImagePromptPlan, LanguageInfo, LanguageModel, LatentControl, LatentDecoder, LatentDefaults, LatentInfo, LatentPlan,
    LatentRequest, LatentSession, LatentStatistics, MaskCrop, ModelPart, OpenOptions, PlanRequest, PromptSyntax,
    ReferenceImage, SkipLayers, StagePlan, TextInfo, TextToImage, Tile, Tiling, Turn, Work,
};
pub use loaded::Loaded;
pub use network::{Evaluator, Network};
pub use noise::NoiseSource;
pub use numbers::{About, Law, Numbers, Regressor, Trace};
pub use options::SessionOptions;
pub use patch::Patch;
pub use run::Run;
pub use scheduler::SchedulerInfo;
#[cfg(feature = "std")]
pub use session::random_seed;
pub use session::{Request, Session, batch_seeds};
pub use stored::Stored;
pub use tiny::{TinyAutoencoder, TinyInfo};
pub use upscaler::{UpscaleRequest, Upscaler, UpscalerInfo, Upscaling};
pub use vae::{AutoencoderInfo, AutoencoderSession, Hvae, HvaeSession, MlpAutoencoder, Vae, VaeSession};
