//! Which tiles suit which adapter and shape: a static table.

use crate::{Flag, Kernel, Shader};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// What kind of machine runs the shaders.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// A CPU that runs them (lavapipe, SwiftShader, WARP): no real workgroup memory, vector units of 8 or 16.
    Cpu,
    /// A GPU.
    Gpu,
}

/// Cooperative matrices of an adapter: products of halves, summed in f32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Coop {
    /// Rows, columns and depth of a matrix: 8 or 16.
    pub size: u32,
    /// Invocations of a subgroup.
    pub subgroup: u32,
}

/// What the table knows of an adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    /// CPU or GPU.
    pub class: Class,
    /// Cooperative matrices, where they are to be used.
    pub coop: Option<Coop>,
    /// The compiler of a CPU that keeps large register tiles in memory (llvmpipe with LLVM before 19).
    pub spills: bool,
}

impl Machine {
    /// Neither cooperative matrices nor an old compiler.
    pub const fn of(class: Class) -> Self {
        Self { class, coop: None, spills: false }
    }
}

/// What a tile is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Method {
    /// Registers alone.
    Direct,
    /// Workgroup memory and registers.
    Tiled,
    /// Workgroup memory and cooperative matrices.
    Coop(Coop),
}

/// How a matrix product is cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tile {
    /// Through which memory.
    pub method: Method,
    /// Invocations (cooperative matrices: subgroups) side by side, along the output's channels.
    pub wx: u32,
    /// The same along its rows.
    pub wy: u32,
    /// Rows (cooperative matrices: of fragments) of each.
    pub tm: u32,
    /// Columns of each.
    pub tn: u32,
    /// Vectors of 4 inputs taken at a time.
    pub bk4: u32,
}

impl Tile {
    /// In registers: `wx` invocations side by side, each `tm` rows by `tn` columns.
    pub const fn direct(wx: u32, tm: u32, tn: u32) -> Self {
        Self { method: Method::Direct, wx, wy: 1, tm, tn, bk4: 1 }
    }

    /// In workgroup memory.
    pub const fn tiled(wx: u32, wy: u32, tm: u32, tn: u32, bk4: u32) -> Self {
        Self { method: Method::Tiled, wx, wy, tm, tn, bk4 }
    }

    /// By cooperative matrices: `wx` x `wy` subgroups, each `tm` x `tn` fragments.
    pub const fn coop(coop: Coop, wx: u32, wy: u32, tm: u32, tn: u32, bk4: u32) -> Self {
        Self { method: Method::Coop(coop), wx, wy, tm, tn, bk4 }
    }

    const fn fragment(&self) -> u32 {
        match self.method {
            Method::Coop(coop) => coop.size,
            Method::Direct | Method::Tiled => 1,
        }
    }

    /// Rows of the output that a workgroup makes.
    pub const fn rows(&self) -> u32 {
        self.wy * self.tm * self.fragment()
    }

    /// Columns of the output that a workgroup makes; with GEGLU half as many.
    pub const fn columns(&self) -> u32 {
        self.wx * self.tn * self.fragment()
    }

    /// Adds what the shader must know.
    #[must_use]
    pub fn apply(&self, shader: Shader) -> Shader {
        let shader = shader.constant("WX", self.wx).constant("TM", self.tm).constant("TN", self.tn);
        let rest = |shader: Shader| shader.constant("WY", self.wy).constant("BK4", self.bk4);
        match self.method {
            Method::Direct => shader,
            Method::Tiled => rest(shader.flag(Flag::Tiled, true)),
            Method::Coop(Coop { size, subgroup }) => {
                rest(shader.flag(Flag::Coop, true)).constant("CT", size).constant("SUBGROUP", subgroup)
            }
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wx, wy, tm, tn, bk4, .. } = self;
        match self.method {
            Method::Direct => write!(f, "direct {wx} of {tm}x{tn}"),
            Method::Tiled => write!(f, "tiled {wx}x{wy} of {tm}x{tn}, {bk4}"),
            Method::Coop(Coop { size, .. }) => write!(f, "coop{size} {wx}x{wy} of {tm}x{tn}, {bk4}"),
        }
    }
}

impl Tile {
    /// All its numbers, for a file; [`Self::from_numbers`] reads them.
    pub fn numbers(&self) -> [u32; 8] {
        let (method, size, subgroup) = match self.method {
            Method::Direct => (0, 0, 0),
            Method::Tiled => (1, 0, 0),
            Method::Coop(Coop { size, subgroup }) => (2, size, subgroup),
        };
        [method, size, subgroup, self.wx, self.wy, self.tm, self.tn, self.bk4]
    }

    /// The tile of these numbers, if they are one.
    pub fn from_numbers([method, size, subgroup, wx, wy, tm, tn, bk4]: [u32; 8]) -> Option<Self> {
        let method = match method {
            0 => Method::Direct,
            1 => Method::Tiled,
            2 => Method::Coop(Coop { size, subgroup }),
            _ => return None,
        };
        Some(Self { method, wx, wy, tm, tn, bk4 })
    }
}

/// The size of a matrix product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Product {
    /// Rows of the output.
    pub rows: usize,
    /// Columns of the weight; with GEGLU two for each of the output.
    pub n: usize,
    /// Inputs summed for each element: taps times channels.
    pub k: usize,
    /// Whether the columns are values and gates.
    pub gated: bool,
    /// Whether inputs and weights may be rounded to halves before they are multiplied.
    pub halves: bool,
}

/// The tile for a product.
pub fn product(machine: Machine, p: Product) -> Tile {
    candidates(machine, p)[0]
}

/// The tiles worth measuring for a product, the table's choice first; never none.
pub fn candidates(machine: Machine, p: Product) -> Vec<Tile> {
    let mut tiles = all_candidates(machine, p);
    // A value and its gate are columns of one invocation.
    tiles.retain(|tile| !p.gated || tile.tn % 2 == 0);
    tiles
}

fn all_candidates(machine: Machine, p: Product) -> Vec<Tile> {
    let columns = p.n / if p.gated { 2 } else { 1 };
    match machine.class {
        // Few columns: fewer invocations idle. Few rows: none is computed twice.
        Class::Cpu => {
            let tn = if p.gated || columns > 32 { 4 } else { (columns as u32).div_ceil(16).max(1) };
            let most = if machine.spills { 8 } else { 16 };
            let tm = [16, 8, 4, 1].into_iter().find(|tm| *tm <= p.rows.min(most)).unwrap_or(1) as u32;
            let mut tiles = vec![Tile::direct(16, tm, tn)];
            tiles.extend([Tile::direct(16, 8, 4), Tile::direct(16, 8, 8), Tile::direct(8, 8, 8)]);
            tiles.retain(|tile| tile.tm as usize <= p.rows.max(1));
            tiles
        }
        Class::Gpu => {
            let groups = |t: &Tile| p.rows.div_ceil(t.rows() as usize) * p.n.div_ceil(t.columns() as usize);
            // A large tile moves fewer bytes; too few groups leave processors idle.
            let order = |small: Tile, middle: Tile, large: Tile| {
                if groups(&large) >= 128 {
                    [large, middle, small]
                } else if groups(&middle) >= 64 {
                    [middle, large, small]
                } else {
                    [small, middle, large]
                }
            };
            let scalar =
                order(Tile::tiled(16, 16, 2, 2, 4), Tile::tiled(16, 16, 4, 4, 4), Tile::tiled(16, 16, 8, 8, 2));
            let Some(coop) = machine.coop.filter(|_| p.halves && p.k >= 32 && p.rows >= 16) else {
                return scalar.to_vec();
            };
            // Fragments of 8 are a quarter of those of 16.
            let scale = 16 / coop.size;
            let [small, middle, large] = [(2, 2, 1, 1), (2, 2, 2, 2), (2, 4, 4, 2)]
                .map(|(wx, wy, tm, tn)| Tile::coop(coop, wx, wy, tm * scale, tn * scale, 8));
            order(small, middle, large).into_iter().chain(scalar).collect()
        }
    }
}

/// How attention is cut: see attention.wgsl.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttentionTile {
    /// Keys and values pass through workgroup memory.
    pub shared: bool,
    /// Invocations that share a query.
    pub team: u32,
    /// Queries of a workgroup.
    pub queries: u32,
    /// Vectors of 4 channels of an invocation.
    pub d4: u32,
    /// Keys taken at a time.
    pub keys: u32,
}

impl AttentionTile {
    /// Adds what the shader must know.
    #[must_use]
    pub fn apply(&self, shader: Shader) -> Shader {
        let shader = shader.flag(Flag::Shared, self.shared).flag(Flag::Teamed, self.team > 1);
        let shader = shader.constant("TEAM", self.team).constant("QUERIES", self.queries);
        shader.constant("D4", self.d4).constant("KEYS", self.keys)
    }
}

/// The most vectors of 4 channels of a head that one invocation holds, twice (its query and its sums).
const MAX_D4: u32 = 20;

/// The largest head, in channels.
pub const MAX_HEAD: usize = 1024;

/// The tile for heads of `d` channels.
pub fn attention(class: Class, d: usize) -> AttentionTile {
    let vectors = d.div_ceil(4) as u32;
    let team = vectors.div_ceil(MAX_D4).next_power_of_two();
    let d4 = vectors.div_ceil(team);
    match class {
        Class::Cpu => AttentionTile { shared: false, team, queries: (16 / team).max(1), d4, keys: 8 },
        Class::Gpu => {
            // The tile of keys and the partial scores together stay below 16 KiB.
            let queries = (64 / team).max(1);
            let row = team * d4 * 16;
            let keys = (12288 / row).clamp(1, if team > 1 { 8 } else { 16 });
            AttentionTile { shared: true, team, queries, d4, keys }
        }
    }
}

/// Invocations of a group for elementwise kernels.
pub const fn flat(class: Class) -> u32 {
    match class {
        Class::Cpu => 64,
        Class::Gpu => 256,
    }
}

/// Columns and rows of pixels of a group that draws into a texture. llvmpipe with vectors of 512 bits (which must be asked
/// for) loses stores of larger groups.
pub const fn texture(class: Class) -> (u32, u32) {
    match class {
        Class::Cpu => (8, 1),
        Class::Gpu => (8, 8),
    }
}

/// Invocations of a group that sums over a row.
pub const fn reduction(class: Class) -> u32 {
    match class {
        Class::Cpu => 16,
        Class::Gpu => 128,
    }
}

/// Every shader that the table can choose, for validation: each kernel with each flag, for each class and format.
pub fn all() -> Vec<Shader> {
    let mut all = Vec::new();
    for class in [Class::Cpu, Class::Gpu] {
        for f16 in [false, true] {
            let base = |kernel| Shader::new(kernel).flag(Flag::F16, f16);
            products(class, &base, &mut all);
            attentions(class, &base, &mut all);
            elementwise(class, &base, &mut all);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Every tile that [`candidates`] can name.
pub fn tiles(machine: Machine) -> Vec<Tile> {
    let mut tiles: Vec<Tile> = Vec::new();
    for rows in [1, 4, 8, 64, 4096, 65536] {
        for n in [8, 24, 64, 320, 4096] {
            tiles.extend(candidates(machine, Product { rows, n, k: 64, gated: false, halves: true }));
        }
    }
    tiles.sort_unstable();
    tiles.dedup();
    tiles
}

fn products(class: Class, base: &dyn Fn(Kernel) -> Shader, all: &mut Vec<Shader>) {
    // 8 on Metal and lavapipe, 16 on NVIDIA, AMD and Intel.
    let coops = [None, Some(Coop { size: 8, subgroup: 8 }), Some(Coop { size: 16, subgroup: 32 })];
    let mut every: Vec<Tile> =
        coops.iter().flat_map(|coop| tiles(Machine { coop: *coop, ..Machine::of(class) })).collect();
    every.sort_unstable();
    every.dedup();
    for kernel in [Kernel::Linear, Kernel::Conv2d] {
        use Flag::{WBf16, WF16, WF32, WQ4_0, WQ4K, WQ5K, WQ6K, WQ8_0};
        for weights in [WF32, WF16, WBf16, WQ8_0, WQ4_0, WQ4K, WQ5K, WQ6K] {
            for tile in &every {
                let with = |flags: &[Flag]| {
                    flags
                        .iter()
                        .fold(tile.apply(base(kernel)).flag(weights, true), |shader, flag| shader.flag(*flag, true))
                };
                all.push(with(&[]));
                all.push(with(&[Flag::XVec4, Flag::Bias, Flag::Relu]));
                all.push(with(&[Flag::XVec4, Flag::Bias, Flag::Residual, Flag::Silu]));
                if kernel == Kernel::Conv2d {
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::Upsample]));
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::LeakyRelu]));
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::Upsample, Flag::LeakyRelu]));
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::ResidualScale]));
                } else {
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::Gelu]));
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::QuickGelu]));
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::GeluTanh]));
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::Sigmoid]));
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::Tanh]));
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::Negate]));
                }
                if kernel == Kernel::Linear && tile.tn % 2 == 0 {
                    all.push(with(&[Flag::XVec4, Flag::Bias, Flag::Geglu, Flag::Gelu, Flag::Residual]));
                }
            }
        }
    }
}

fn attentions(class: Class, base: &dyn Fn(Kernel) -> Shader, all: &mut Vec<Shader>) {
    for d in [1, 8, 40, 64, 80, 160, 512] {
        for (causal, bias) in [(false, false), (true, false), (false, true), (true, true)] {
            for vectors in [false, true] {
                for lengths in [false, true] {
                    let shader = base(Kernel::Attention).flag(Flag::Causal, causal).flag(Flag::Bias, bias);
                    let shader = shader.flag(Flag::Lengths, lengths).flag(Flag::XVec4, vectors);
                    all.push(attention(class, d).apply(shader));
                }
            }
        }
    }
}

fn elementwise(class: Class, base: &dyn Fn(Kernel) -> Shader, all: &mut Vec<Shader>) {
    let flat = |kernel, flags: &[Flag]| {
        flags.iter().fold(base(kernel).constant("WX", flat(class)), |shader, flag| shader.flag(*flag, true))
    };
    use Kernel as K;
    for vec4 in [false, true] {
        let with = |kernel, flags: &[Flag]| flat(kernel, flags).flag(Flag::Vec4, vec4);
        use Flag as F;
        let gelus = [F::Gelu, F::QuickGelu, F::GeluTanh];
        let others = [F::Relu, F::LeakyRelu, F::ResidualScale, F::Silu, F::Sigmoid, F::Tanh, F::Negate];
        for activation in gelus.into_iter().chain(others) {
            all.extend([with(K::Activate, &[activation]), with(K::Activate, &[activation, Flag::InPlace])]);
        }
        all.extend([with(K::Add, &[]), with(K::Add, &[Flag::InPlace]), with(K::AddChannels, &[])]);
        all.extend([with(K::Multiply, &[]), with(K::Multiply, &[Flag::InPlace])]);
        all.extend([
            with(K::ReluBackward, &[]),
            with(K::ReluBackward, &[Flag::InPlace]),
            with(K::MaxPoolBackward, &[]),
        ]);
        for kernel in [K::MaxPool, K::Concat] {
            all.extend([with(kernel, &[]), with(kernel, &[Flag::Add])]);
        }
        all.extend([with(K::GatedAdd, &[]), with(K::GatedAdd, &[Flag::InPlace]), with(K::Slice, &[])]);
        for pairs in [&[][..], &[F::Halves]] {
            all.extend([with(K::Rotary, pairs), with(K::Rotary, pairs).flag(F::InPlace, true)]);
        }
        all.push(with(K::AvgPool, &[]));
        all.extend([with(K::Upsample, &[]), with(K::Upsample, &[Flag::Bilinear])]);
    }
    all.extend([flat(K::EmbeddingAdd, &[]), flat(K::EmbeddingAdd, &[Flag::InPlace])]);
    all.extend([flat(K::TokenEmbedding, &[]), flat(K::TokenEmbedding, &[Flag::Places]), flat(K::SelectToken, &[])]);
    all.extend([flat(K::LogSoftmax, &[]), flat(K::LogSoftmaxBackward, &[])]);
    all.extend([flat(K::PositionEncoding, &[]), flat(K::Feed, &[]), flat(K::Feed, &[Flag::Beside])]);
    all.extend([flat(K::Guidance, &[]), flat(K::ClassifierGuidance, &[])]);
    all.extend([flat(K::Restore, &[]), flat(K::Latents, &[])]);
    all.extend([
        flat(K::Guidance, &[Flag::Guided]),
        flat(K::Guidance, &[Flag::Guided, Flag::Edits]),
        flat(K::SamplerAccept, &[]),
        flat(K::SamplerAccept, &[Flag::Noise]),
    ]);
    all.extend([flat(K::ToU8, &[]), flat(K::GroupNorm, &[Flag::Sums])]);
    for vec4 in [false, true] {
        let norm = |flags: &[Flag]| flat(K::GroupNorm, flags).flag(Flag::Vec4, vec4);
        all.extend([norm(&[]), norm(&[Flag::InPlace])]);
        for activation in [Flag::Relu, Flag::Silu, Flag::Gelu, Flag::QuickGelu] {
            all.extend([norm(&[activation]), norm(&[activation, Flag::InPlace])]);
        }
    }
    let rows = |kernel: K| base(kernel).constant("WX", reduction(class));
    all.push(rows(K::Rescale));
    for subgroups in [false, true] {
        all.push(rows(K::GroupNorm).flag(Flag::Fold, true).flag(Flag::Subgroups, subgroups));
        for kernel in [K::LayerNorm, K::RmsNorm] {
            for flags in [&[][..], &[Flag::Ada], &[Flag::Ada, Flag::Bias]] {
                let norm = flags.iter().fold(rows(kernel), |shader, flag| shader.flag(*flag, true));
                let norm = norm.flag(Flag::Subgroups, subgroups);
                all.extend([norm.clone(), norm.flag(Flag::InPlace, true)]);
            }
        }
    }
    let (x, y) = texture(class);
    all.push(base(K::ToTexture).constant("WX", x).constant("WY", y));
}
