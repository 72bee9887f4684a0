//! Which networks are trained: as the command line says, or as the file has them that training goes on from.
use crate::error::{Error, Result};
use nijimi_runtime::model::{FirstStage, LatentDefaults, LatentInfo, TextInfo};
use nijimi_runtime::raw::graph::Activation;
use nijimi_runtime::raw::nn::{ClipText, SdAdded, SdLevel, SdMiddle, SdUnet, TextStates, TimeCode};
use nijimi_runtime::raw::text::{Special, Tokenizer, Vocabulary};
use nijimi_runtime::sampler::Field;

/// Sizes of a model that is begun here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Channels of the U-Net's levels, the largest first.
    pub channels: Vec<usize>,
    /// Transformer blocks of each level; 0: none.
    pub transformers: Vec<usize>,
    /// Residual blocks of a level on the way down.
    pub layers: usize,
    /// Channels of an attention head.
    pub head: usize,
    /// Ranges of channels of the normalizations.
    pub groups: usize,
    /// Width of the text's states.
    pub text_width: usize,
    /// Layers of the text encoder.
    pub text_layers: usize,
    /// Ids of a window.
    pub tokens: usize,
}

/// Noise levels of a model that is begun here.
pub const LEVELS: usize = 1000;

/// Steps, and strength of guidance, that a file states as its defaults.
const STEPS: usize = 20;
const GUIDANCE: f32 = 3.0;

/// Whether latents of `side` squared can be halved from level to level.
///
/// # Errors
/// Says the sides that are left.
pub fn halvings(side: usize, levels: usize) -> Result<()> {
    let halvings = levels.saturating_sub(1);
    if side > 0 && side.is_multiple_of(1 << halvings) {
        return Ok(());
    }
    let what = format!("latents of {side}x{side} cannot be halved {halvings} times: give fewer --channels");
    Err(Error::Usage(what + ", or another --size"))
}

/// The description of a model of these sizes on an autoencoder's latents, of `side` squared.
///
/// # Errors
/// Sizes that do not fit each other.
pub fn describe(
    name: &str,
    sizes: &Sizes,
    stage: &FirstStage,
    side: usize,
    vocabulary: &Vocabulary,
    special: Special,
) -> Result<LatentInfo> {
    let usage = |what: String| Err(Error::Usage(what));
    if sizes.transformers.len() != sizes.channels.len() {
        let (n, of) = (sizes.channels.len(), sizes.transformers.len());
        return usage(format!("--transformers says {of} numbers for {n} levels: give one for each of --channels"));
    }
    let fits = |c: usize| c.is_multiple_of(sizes.head) && c.is_multiple_of(sizes.groups);
    if let Some(c) = sizes.channels.iter().find(|c| !fits(**c)) {
        let (head, groups) = (sizes.head, sizes.groups);
        return usage(format!("--channels: {c} is not a multiple of --head {head} and --groups {groups}"));
    }
    if !sizes.text_width.is_multiple_of(sizes.head) {
        return usage(format!("--text-width {} is not a multiple of --head {}", sizes.text_width, sizes.head));
    }
    halvings(side, sizes.channels.len())?;
    let level =
        |(&channels, &depth): (&usize, &usize)| SdLevel::new(channels, channels / sizes.head, sizes.layers, depth);
    let middle = sizes.transformers.last().map_or(1, |&depth| depth.max(1));
    let z = stage.network.latent_channels();
    let unet = SdUnet {
        in_channels: z,
        out_channels: z,
        levels: sizes.channels.iter().zip(&sizes.transformers).map(level).collect(),
        middle: SdMiddle::Transformer(middle),
        text_width: sizes.text_width,
        norm_groups: sizes.groups,
        norm_eps: 1e-5,
        linear_projection: true,
        pads_below: false,
        time_code: TimeCode::default(),
        // Beside the states that it attends to: by these alone, few steps do not teach it to follow a text.
        added: Some(SdAdded { code: 0, width: sizes.text_width }),
        guidance_code: 0,
    };
    let network = ClipText {
        vocabulary: vocabulary.tokens.len(),
        positions: sizes.tokens,
        width: sizes.text_width,
        layers: sizes.text_layers,
        heads: sizes.text_width / sizes.head,
        hidden: 4 * sizes.text_width,
        activation: Activation::QuickGelu,
        eps: 1e-5,
        projection: None,
    };
    let tokenizer = Tokenizer::new(vocabulary, special).map_err(nijimi_runtime::Error::from)?;
    let settings = [
        ("beta_schedule", Field::Text("squaredcos_cap_v2".into())),
        ("num_train_timesteps", Field::Number(LEVELS as f64)),
        // What the cosine makes of them; diffusers' defaults, which it does not look at.
        ("beta_start", Field::Number(1e-4)),
        ("beta_end", Field::Number(0.02)),
        ("prediction_type", Field::Text("v_prediction".into())),
        // The last level is all noise: sampling begins there (Lin et al. 2023).
        ("timestep_spacing", Field::Text("trailing".into())),
        ("clip_sample", Field::Flag(false)),
        ("set_alpha_to_one", Field::Flag(true)),
    ];
    Ok(LatentInfo {
        name: name.into(),
        license: String::new(),
        family: "nijimi".into(),
        denoiser: unet.into(),
        autoencoder: stage.network.clone(),
        scaling_factor: stage.scaling_factor,
        shift_factor: stage.shift_factor,
        statistics: None,
        texts: vec![TextInfo {
            prefix: "text_encoder.",
            network,
            states: TextStates { pooled: true, ..TextStates::LAST },
            tokenizer,
        }],
        language: None,
        zeros_for_empty: false,
        scheduler: "DDIMScheduler".into(),
        settings: settings.into_iter().map(|(name, field)| (name.into(), field)).collect(),
        sample_size: side,
        defaults: LatentDefaults { steps: Some(STEPS), guidance_scale: Some(GUIDANCE), ..LatentDefaults::default() },
    })
}
