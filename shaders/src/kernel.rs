//! The kernels, and the flags that make their variants.

use crate::interface::Interface;
use crate::source;
use crate::strip::wgsl;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident $file:literal),+ $(,)?) => {
        /// A kernel: one WGSL file, which says what it computes.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Kernel { $($(#[$doc])* $name),+ }

        impl Kernel {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The file's name without its ending.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $file),+ }
            }

            pub(crate) const fn source(self) -> &'static str {
                match self { $(Self::$name => wgsl!(concat!("../", $file, ".wgsl"))),+ }
            }
        }
    };
}

kernels! {
    /// Elementwise function.
    Activate "activate",
    /// Elementwise sum.
    Add "add",
    /// A vector a picture, added to each pixel.
    AddChannels "add_channels",
    /// Softmax attention.
    Attention "attention",
    /// Average of each 2x2 square.
    AvgPool "avg_pool",
    /// Guidance by a classifier.
    ClassifierGuidance "classifier_guidance",
    /// Channels joined.
    Concat "concat",
    /// Convolution.
    Conv2d "conv2d",
    /// A row of a table a picture, added.
    EmbeddingAdd "embedding_add",
    /// The network's inputs.
    Feed "feed",
    /// A branch added, each channel by a factor of the picture's.
    GatedAdd "gated_add",
    /// Group normalization.
    GroupNorm "group_norm",
    /// Classifier-free guidance.
    Guidance "guidance",
    /// Latents for a decoder.
    Latents "latents",
    /// Layer normalization.
    LayerNorm "layer_norm",
    /// Linear layer.
    Linear "linear",
    /// Logarithms of probabilities.
    LogSoftmax "log_softmax",
    /// Gradient of a label's log-probability.
    LogSoftmaxBackward "log_softmax_backward",
    /// Largest of each 2x2 square.
    MaxPool "max_pool",
    /// Gradient of the largest of each 2x2 square.
    MaxPoolBackward "max_pool_backward",
    /// Elementwise product.
    Multiply "multiply",
    /// Sine and cosine code of a number.
    PositionEncoding "position_encoding",
    /// What ReLU lets pass of a gradient.
    ReluBackward "relu_backward",
    /// A guided answer's spread, brought back.
    Rescale "rescale",
    /// What a mask keeps, put back.
    Restore "restore",
    /// Normalization by the root of the mean square.
    RmsNorm "rms_norm",
    /// Rotary positions.
    Rotary "rotary",
    /// A sampler's update.
    SamplerAccept "sampler_accept",
    /// Some tokens of each text.
    SelectToken "select_token",
    /// Some neighbouring channels.
    Slice "slice",
    /// Values to a texture.
    ToTexture "to_texture",
    /// Values to bytes.
    ToU8 "to_u8",
    /// Rows of a table, by what a token is, and of another, by where it stands.
    TokenEmbedding "token_embedding",
    /// Twice the size.
    Upsample "upsample",
}

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident $text:literal),+ $(,)?) => {
        /// What `//#if` lines ask for.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Flag { $($(#[$doc])* $name),+ }

        impl Flag {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name in the WGSL.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

flags! {
    /// Scale and bias, or a factor, are each picture's own.
    Ada "ADA",
    /// Adds one vector a picture.
    Add "ADD",
    /// More channels beside the sample.
    Beside "BESIDE",
    /// Adds a bias.
    Bias "BIAS",
    /// Bilinear, not nearest.
    Bilinear "BILINEAR",
    /// Query i sees keys 0 to i.
    Causal "CAUSAL",
    /// Products of halves by cooperative matrices (native adapters that have them; naga's own extension of WGSL).
    Coop "COOP",
    /// With guidance by a text and by a picture.
    Edits "EDITS",
    /// Activations are stored as f16 (needs the device's `shader-f16`); sums are f32 all the same.
    F16 "F16",
    /// Second stage of a group norm.
    Fold "FOLD",
    /// Value times GELU of the gate.
    Geglu "GEGLU",
    /// Exact GELU.
    Gelu "GELU",
    /// GELU by a hyperbolic tangent.
    GeluTanh "GELU_TANH",
    /// With guidance.
    Guided "GUIDED",
    /// A pair is a channel of a head's first half and that of its last.
    Halves "HALVES",
    /// The output lies on the first operand.
    InPlace "IN_PLACE",
    /// v, or 0.2 v below 0.
    LeakyRelu "LEAKY_RELU",
    /// Keys end where each picture's id says.
    Lengths "LENGTHS",
    /// -v.
    Negate "NEGATE",
    /// With fresh noise.
    Noise "NOISE",
    /// With a row for each place.
    Places "PLACES",
    /// GELU by a sigmoid.
    QuickGelu "QUICK_GELU",
    /// max(v, 0).
    Relu "RELU",
    /// Adds a residual.
    Residual "RESIDUAL",
    /// 0.2 v.
    ResidualScale "RESIDUAL_SCALE",
    /// Keys and values pass through workgroup memory.
    Shared "SHARED",
    /// 1 / (1 + exp(-v)).
    Sigmoid "SIGMOID",
    /// v * sigmoid(v).
    Silu "SILU",
    /// Subgroup operations (native adapters only).
    Subgroups "SUBGROUPS",
    /// First stage of a group norm.
    Sums "SUMS",
    /// tanh(v).
    Tanh "TANH",
    /// Several invocations share a query.
    Teamed "TEAMED",
    /// Tiles in workgroup memory.
    Tiled "TILED",
    /// The input is doubled by nearest neighbour.
    Upsample "UPSAMPLE",
    /// Channels come in multiples of 4, read as vectors.
    Vec4 "VEC4",
    /// Weights are bf16.
    WBf16 "W_BF16",
    /// Weights are f16.
    WF16 "W_F16",
    /// Weights are f32.
    WF32 "W_F32",
    /// Weights are q4_0.
    WQ4_0 "W_Q4_0",
    /// Weights are q4_K.
    WQ4K "W_Q4_K",
    /// Weights are q5_K.
    WQ5K "W_Q5_K",
    /// Weights are q6_K.
    WQ6K "W_Q6_K",
    /// Weights are q8_0.
    WQ8_0 "W_Q8_0",
    /// A product's inputs come in multiples of 4, read as vectors.
    XVec4 "X_VEC4",
}

/// A kernel with flags and constants: what a pipeline is made of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Shader {
    kernel: Kernel,
    flags: Vec<Flag>,
    consts: Vec<(&'static str, u32)>,
}

impl Shader {
    /// A kernel with neither flags nor constants.
    pub const fn new(kernel: Kernel) -> Self {
        Self { kernel, flags: Vec::new(), consts: Vec::new() }
    }

    /// With a flag, if `on`.
    #[must_use]
    pub fn flag(mut self, flag: Flag, on: bool) -> Self {
        if let (true, Err(at)) = (on, self.flags.binary_search(&flag)) {
            self.flags.insert(at, flag);
        }
        self
    }

    /// With a constant, `const {name} = {value}u;`.
    #[must_use]
    pub fn constant(mut self, name: &'static str, value: u32) -> Self {
        let place = self.consts.partition_point(|known| *known < (name, value));
        self.consts.insert(place, (name, value));
        self
    }

    /// The kernel.
    pub const fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Whether it has a flag.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.binary_search(&flag).is_ok()
    }

    /// A constant's value.
    pub fn value(&self, name: &str) -> Option<u32> {
        self.consts.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    /// Name, flags and constants, for labels and reports: `conv2d BIAS TILED TM=8`.
    pub fn label(&self) -> String {
        let mut label = String::from(self.kernel.name());
        self.flags.iter().for_each(|flag| label += &format!(" {}", flag.name()));
        self.consts.iter().for_each(|(name, value)| label += &format!(" {name}={value}"));
        label
    }

    /// The WGSL as naga reads it. Tint and browsers want `enable subgroups;` before that of a shader with
    /// [`Flag::Subgroups`], which naga refuses.
    pub fn wgsl(&self) -> String {
        let flags: Vec<&str> = self.flags.iter().map(|flag| flag.name()).collect();
        let storage = if self.has(Flag::F16) { "f16" } else { "f32" };
        let vector = |of: &str, on: bool| if on { format!("vec4<{of}>") } else { String::from(of) };
        let mut text = String::new();
        if self.has(Flag::F16) || self.has(Flag::Coop) {
            text += "enable f16;\n";
        }
        if let (true, Some(size)) = (self.has(Flag::Coop), self.value("CT")) {
            text += "enable wgpu_cooperative_matrix;\n";
            for (name, scalar, role) in [("Inputs", "f16", "A"), ("Weights", "f16", "B"), ("Sums", "f32", "C")] {
                text += &format!("alias {name} = coop_mat{size}x{size}<{scalar}, {role}>;\n");
            }
        }
        let vec4 = self.has(Flag::Vec4);
        text += &format!("alias S = {storage};\n");
        text += &format!("alias V = {};\n", vector("f32", vec4));
        text += &format!("alias U = {};\n", vector("u32", vec4));
        text += &format!("alias SV = {};\n", vector(storage, vec4));
        text += &format!("const UNIT = {}u;\n", if vec4 { 4 } else { 1 });
        text += &format!("alias XV = {};\n", vector(storage, self.has(Flag::XVec4)));
        self.consts.iter().for_each(|(name, value)| text += &format!("const {name} = {value}u;\n"));
        source::expand(self.kernel.source(), &flags, &mut text);
        text
    }

    /// What the WGSL binds.
    pub fn interface(&self) -> Interface {
        Interface::of(&self.wgsl())
    }
}
