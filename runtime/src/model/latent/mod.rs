//! Latent diffusion (Rombach et al. 2022; book step 10.5): Stable Diffusion 1.x, 2.x and SDXL, from a prompt to pictures.
//!
//! ```no_run
//! use nijimi_runtime::{Error, gguf, model::{Device, TextToImage}};
//!
//! fn draw(bytes: &[u8]) -> Result<Vec<u8>, Error> {
//!     let model = TextToImage::load(&gguf::File::new_checked(bytes)?, &Device::Cpu)?;
//!     let calls = model.info().default_calls()?;
//!     let mut run = model.run(&model.request("an astronaut riding a horse", 42, &calls))?;
//!     while let Some(step) = run.step()? {
//!         eprintln!("{} of {}", step.index + 1, step.total);
//!     }
//!     run.to_u8()
//! }
//! ```

mod calls;
mod crop;
mod decoder;
mod defaults;
mod depth;
mod embedding;
mod encoded;
mod enlarge;
mod first_stage;
mod info;
mod init;
mod joints;
pub(super) mod keys;
mod language;
mod parts;
mod pictures;
mod plan;
mod preview;
mod prompts;
mod references;
mod refine;
mod request;
mod session;
mod stages;
mod text_to_image;
mod tiling;
mod write;

pub use crop::MaskCrop;
pub use decoder::LatentDecoder;
pub use defaults::LatentDefaults;
pub use depth::DepthMap;
pub use embedding::Embedding;
pub use encoded::{EncodedInit, EncodedPrompts};
pub use enlarge::Enlarge;
pub use first_stage::{FirstStage, LatentStatistics};
pub use info::{LatentInfo, TextInfo};
pub use language::{LanguageInfo, LanguageModel, Turn};
pub use plan::{Choice, ImagePromptPlan, LatentPlan, PlanRequest, StagePlan, Work};
pub use references::EncodedReferences;
pub use request::{Decoding, LatentControl, LatentRequest, PromptSyntax, ReferenceImage, SkipLayers};
pub use session::LatentSession;
pub use stages::ModelPart;
pub use text_to_image::{OpenOptions, TextToImage};
pub use tiling::{Blend, Tile, Tiling};

pub(super) use pictures::write_u8;
