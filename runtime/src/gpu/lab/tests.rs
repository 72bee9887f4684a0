//! Every kernel against its CPU twin, over odd shapes, formats and variants.

use super::cases::{self, Spec};
use super::self_test::F16_TOLERANCE;
use super::*;
use crate::gpu::{Choice, GpuOptions, Method, Tile};
use crate::graph::{Activation, Graph, GraphError, Shape, ValueId};
use crate::quant::DType;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use nijimi_shaders::table::{self, Machine};
use nijimi_shaders::{Flag, Kernel};
use std::eprintln;
use std::sync::OnceLock;

/// The adapter of the tests: the software one, or, with NIJIMI_TEST_ADAPTER=any, the best. `None`, said aloud, where
/// there is none; with NIJIMI_REQUIRE_GPU that is a failure.
pub(crate) fn gpu() -> Option<&'static Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    let opened = GPU.get_or_init(|| {
        let any = std::env::var("NIJIMI_TEST_ADAPTER").is_ok_and(|v| v == "any");
        let choice = if any { Choice::Any } else { Choice::Software };
        let strict_webgpu = std::env::var("NIJIMI_STRICT_WEBGPU").is_ok_and(|v| v == "1");
        match Gpu::open(&GpuOptions { choice, strict_webgpu, ..Default::default() }) {
            Ok(gpu) => Some(gpu),
            Err(e) if std::env::var("NIJIMI_REQUIRE_GPU").is_ok_and(|v| v == "1") => panic!("{e}"),
            Err(e) => {
                eprintln!("skipped: {e}");
                None
            }
        }
    });
    opened.as_ref()
}

/// Both classes' tiles, f32 and (where the device has it) f16 storage, each with the least tolerance that makes
/// sense.
fn variants(gpu: &Gpu) -> Vec<(String, ExecOptions, f32)> {
    let mut all = Vec::new();
    for class in [Class::Cpu, Class::Gpu] {
        // Cooperative matrices have a test and a tolerance of their own.
        let options = ExecOptions { class: Some(class), no_cooperative: true, ..Default::default() };
        all.push((format!("{class:?}"), options, 0.0));
        all.push((format!("{class:?} without subgroups"), ExecOptions { no_subgroups: true, ..options }, 0.0));
        if gpu.has_f16() {
            all.push((format!("{class:?} f16"), ExecOptions { storage: Storage::F16, ..options }, F16_TOLERANCE));
        }
    }
    all
}

/// Compares a graph in all variants; tolerances are relative to the largest value.
fn same(spec: Result<Spec, GraphError>) {
    let Some(gpu) = gpu() else { return };
    let Spec { name, dtype, tolerance, graph } = spec.unwrap();
    let case = Case::new(gpu, graph, dtype, 7).unwrap();
    for (variant, options, least) in variants(gpu) {
        let outcome = case.compare(&options).unwrap_or_else(|e| panic!("{name}, {variant}: {e}"));
        assert!(outcome.error <= tolerance.max(least), "{name}, {variant}: error {}", outcome.error);
    }
}

/// Seen red with the minima of q4_K added, with 31 for 32 in q6_K, and with the fifth bits of a part's first half for all of it.
#[test]
fn linear() {
    for dtype in DType::ALL {
        for shape in [[1, 32, 1], [3, 5, 7], [17, 64, 33], [70, 96, 130], [257, 37, 65], [33, 512, 65]] {
            for bias in [false, true] {
                same(cases::linear(dtype, shape, bias));
            }
        }
    }
}

/// Seen red with another coefficient of tanh, and with nothing negated, in activation.wgsl.
#[test]
fn linear_epilogues() {
    for &function in &Activation::OF_ONE[1..] {
        for residual in [false, true] {
            same(cases::linear_then(function, residual, [2, 5, 3, 24], 21));
        }
    }
    for (dtype, out) in [(DType::F32, 13), (DType::Q8_0, 40), (DType::Q4_0, 64)] {
        same(cases::geglu(dtype, [1, 19, 3, 32], out));
    }
    same(cases::geglu(DType::Q5K, [1, 19, 3, 256], 40));
}

#[test]
fn conv2d() {
    for dtype in DType::ALL {
        for (x, out) in
            [([1, 5, 7, 1], 3), ([2, 9, 6, 32], 17), ([3, 4, 4, 37], 70), ([1, 13, 11, 64], 64), ([1, 5, 4, 256], 35)]
        {
            for window in [[3, 1, 1], [3, 2, 1], [1, 1, 0], [4, 2, 0], [5, 1, 2]] {
                if x[1] >= window[0] && x[2] >= window[0] {
                    same(cases::conv2d(dtype, x, out, window));
                }
            }
        }
    }
}

#[test]
fn conv2d_of_a_doubled_picture() {
    same(cases::upsampled_conv2d([2, 3, 5, 32], 9));
    same(cases::upsampled_conv2d([2, 4, 1, 3], 5));
    same(cases::conv2d_end_padded([2, 6, 8, 32], 9));
    same(cases::conv2d_end_padded([1, 5, 4, 3], 5));
}

#[test]
fn attention() {
    for causal in [false, true] {
        for (l, c, heads) in [(1, 4, 1), (7, 24, 3), (33, 40, 1), (65, 128, 2), (21, 96, 1), (70, 15, 3)] {
            same(cases::attention(2, [l, l, c], heads, causal));
        }
    }
    for (l, s, c, heads) in [(50, 77, 80, 2), (4, 9, 512, 1), (100, 3, 160, 1), (5, 7, 1024, 1)] {
        same(cases::attention(2, [l, s, c], heads, false));
    }
}

/// Seen red with query and key of the bias exchanged in attention.wgsl.
#[test]
fn attention_with_a_bias() {
    for (tokens, c, heads) in [(1, 4, 1), (13, 24, 3), (70, 80, 2), (9, 512, 1), (33, 15, 5)] {
        same(cases::attention_biased(tokens, c, heads));
    }
}

/// Seen red with the first head of keys for all, with neighbouring heads of queries on different heads of keys, with picture 0's
/// length, or another input's ids, for all, with the sums of no keys divided, and with keys beyond a length (whose values are
/// zeros) in the sum of weights, all in attention.wgsl.
#[test]
fn attention_with_lengths_and_shared_keys() {
    for causal in [false, true] {
        for (l, d, heads) in [(1, 4, [1, 1]), (2, 8, [4, 2]), (33, 40, [6, 3]), (70, 15, [4, 1]), (40, 160, [2, 1])] {
            same(cases::attention_shared(5, [l, l, d], heads, causal));
        }
    }
    for (l, s, d, heads) in [(50, 77, 128, [4, 2]), (4, 9, 512, [2, 1]), (5, 3, 1024, [1, 1]), (9, 1, 6, [6, 2])] {
        same(cases::attention_shared(5, [l, s, d], heads, false));
    }
}

/// Without the check, a head of 2560 channels was wrong by 0.8 of the largest value.
#[test]
fn a_head_that_is_too_long_is_refused() {
    let Some(gpu) = gpu() else { return };
    let Spec { graph, .. } = cases::attention(1, [5, 7, 1028], 1, false).unwrap();
    let error = Case::new(gpu, graph, DType::F32, 7).unwrap().executor(&ExecOptions::default()).map(drop).unwrap_err();
    assert!(error.to_string().contains("heads of 1028 channels (1024 at the most)"), "{error}");
}

/// Seen red with picture 0's vectors for all in layer_norm.wgsl and in rms_norm.wgsl, with the mean of the squares taken of one
/// element fewer in the latter, and without the one in each, also of a scale alone.
#[test]
fn norms() {
    for (x, groups) in [([1, 1, 1, 8], 2), ([2, 7, 5, 30], 3), ([1, 16, 9, 320], 32), ([3, 3, 3, 5], 1)] {
        same(cases::group_norm(x, groups, Activation::None));
        same(cases::group_norm(x, groups, Activation::Silu));
        same(cases::layer_norm(x));
        same(cases::ada_layer_norm(x));
        same(cases::scaled_layer_norm(x));
        same(cases::rms_norm(x, groups));
        same(cases::modulated_rms_norm(x));
    }
}

/// Seen red with the first channels always in slice.wgsl.
#[test]
fn pictures() {
    for x in [[1, 2, 2, 1], [2, 4, 6, 5], [3, 6, 2, 12], [1, 10, 8, 64]] {
        same(cases::max_pool(x, false));
        same(cases::max_pool(x, true));
        same(cases::avg_pool(x));
        same(cases::avg_pool([x[0], x[1] + 1, x[2], x[3]]));
        same(cases::avg_pool([x[0], x[1] - 1, x[2] + 1, x[3]]));
        same(cases::upsample_bilinear(x));
        same(cases::upsample_nearest(x, [0, 0]));
        same(cases::upsample_nearest(x, [1, 0]));
        same(cases::upsample_nearest(x, [1, 1]));
        same(cases::concat(x, 1));
        same(cases::concat(x, 8));
        same(cases::slice(x));
    }
}

/// Seen red with picture 0's gate for all in gated_add.wgsl, and with another coefficient of tanh and nothing negated in
/// activation.wgsl.
#[test]
fn elementwise() {
    for x in [[1, 1, 1, 1], [2, 3, 5, 7], [1, 9, 9, 16]] {
        for &function in &Activation::OF_ONE[1..] {
            same(cases::activate(function, x));
        }
        same(cases::add(x));
        same(cases::add_and_keep(x));
        same(cases::add_channels(x));
        // Vectors of one number are taken for noise levels, whose products f16 cannot hold.
        if x[3] > 1 {
            same(cases::multiply(x));
            same(cases::gated_add(x));
        }
    }
}

/// Seen red with `<` for `<=` in relu_backward.wgsl, `>=` for `>` in max_pool_backward.wgsl, a logarithm larger by a
/// thousandth in log_sum_exp.wgsl, and with what has no id given a gradient in log_softmax_backward.wgsl.
#[test]
fn gradients() {
    for x in [[1, 2, 2, 1], [2, 4, 6, 5], [3, 6, 2, 12]] {
        same(cases::relu_backward(x));
        same(cases::relu_backward_and_keep(x));
        same(cases::max_pool_backward(x));
    }
    for (n, labels) in [(1, 2), (5, 10), (300, 7), (3, 100)] {
        same(cases::log_softmax(n, labels));
        same(cases::log_softmax_backward(n, labels));
    }
}

/// More groups than one axis of a grid can have: lines, rows of products, elements.
///
/// Seen red with `group.z` and with `group.y` left out of each of them.
#[test]
fn grids_are_folded() {
    same(cases::upsample_nearest([1, 33_000, 1, 1], [0, 0]));
    let rows = 16 * 65_600;
    same(cases::linear(DType::F32, [rows, 3, 1], true));
    // Of 16 rows, as no tile of the table is.
    if let Some(gpu) = gpu() {
        let case = Case::new(gpu, cases::linear(DType::F32, [rows, 3, 1], true).unwrap().graph, DType::F32, 7).unwrap();
        let options = ExecOptions { tile: Some(Tile::tiled(1, 16, 1, 1, 1)), ..Default::default() };
        assert!(case.compare(&options).unwrap().error <= 2e-6);
    }
    same(cases::activate(Activation::Relu, [1, 1, 8_400_001, 1]));
    same(cases::layer_norm([1, 33_000, 1, 12]));
    same(cases::rms_norm([1, 33_000, 1, 12], 1));
    same(cases::rotary([1, 2_100_001, 1, 4], 2, true, false));
}

#[test]
fn conditions() {
    for (n, dim) in [(1, 1), (3, 100), (5, 37)] {
        same(cases::position_encoding(n, dim));
        same(cases::embedding_add(n, dim));
    }
}

const TEXTS: [[usize; 3]; 3] = [[1, 1, 1], [3, 5, 7], [2, 77, 64]];

/// Seen red with the place counted through all texts, and with `ids` taken from 0.
#[test]
fn token_embeddings() {
    TEXTS.into_iter().for_each(|sizes| same(cases::token_embedding(sizes)));
}

/// Seen red with the first text's tokens for all, and with one token a text.
#[test]
fn selected_tokens() {
    for sizes in TEXTS {
        for each in [1, 2, 5] {
            same(cases::select_tokens(sizes, each));
        }
    }
}

/// In scalars, vectors and pairs of vectors. Seen red with picture 0's angles for all, with the cosines' place for the sines',
/// with the sines' sign exchanged in each of the forms, and with an output that is written before its partner is read.
#[test]
fn rotary_positions() {
    let shapes = [([1, 1, 1, 2], 1), ([3, 2, 5, 12], 2), ([2, 7, 3, 40], 5), ([2, 9, 1, 96], 3), ([3, 4, 5, 128], 2)];
    for (x, heads) in shapes.into_iter().chain([([2, 3, 3, 20], 1), ([1, 33, 3, 90], 9)]) {
        for halves in [false, true] {
            same(cases::rotary(x, heads, halves, false));
            same(cases::rotary(x, heads, halves, true));
            same(cases::rotary_and_keep(x, heads, halves));
        }
    }
}

/// What the self-test leaves to the model that it draws with, beside [`Kernel::ToTexture`].
const SAMPLING: [Kernel; 4] = [Kernel::Feed, Kernel::Guidance, Kernel::SamplerAccept, Kernel::ToU8];
/// What runs of prompts, and those that a classifier guides, use alone: `tests/golden.rs` holds them to the reference
/// implementation's pictures, `tests/guided.rs` to the CPU's.
const OTHER_RUNS: [Kernel; 4] = [Kernel::ClassifierGuidance, Kernel::Latents, Kernel::Rescale, Kernel::Restore];

/// Seen red without the case of max_pool, and with f32 alone.
#[test]
fn the_self_test_runs_every_kernel_and_type() {
    let Some(gpu) = gpu() else { return };
    let mut kernels: Vec<_> = SAMPLING.into_iter().chain(OTHER_RUNS).collect();
    kernels.push(Kernel::ToTexture);
    let mut flags = Vec::new();
    for Spec { dtype, graph, .. } in self_test::specs(false).unwrap() {
        let case = Case::new(gpu, graph, dtype, 7).unwrap();
        let executor = case.executor(&ExecOptions::default()).unwrap();
        for (_, shader) in executor.shaders(0) {
            kernels.push(shader.kernel());
            flags.extend(Flag::ALL.iter().copied().filter(|flag| shader.has(*flag)));
        }
    }
    let missing: Vec<_> = Kernel::ALL.iter().filter(|kernel| !kernels.contains(kernel)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Those of the sampler, of f16, and of how an adapter's tiles are cut.
    let others = [
        Flag::Beside,
        Flag::Coop,
        Flag::Edits,
        Flag::F16,
        Flag::Guided,
        Flag::Noise,
        Flag::Shared,
        Flag::Subgroups,
        Flag::Teamed,
        Flag::Tiled,
    ];
    let missing: Vec<_> = Flag::ALL.iter().filter(|flag| !flags.contains(flag) && !others.contains(flag)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn picture(g: &mut Graph, n: usize, h: usize, w: usize, c: usize) -> ValueId {
    g.input("x", Shape::new(n, h, w, c)).unwrap()
}

/// Tiles that the table chooses for other shapes than the tests' own.
#[test]
fn every_tile() {
    let Some(gpu) = gpu() else { return };
    let tiles: Vec<Tile> =
        [Class::Cpu, Class::Gpu].into_iter().flat_map(|class| table::tiles(Machine::of(class))).collect();
    for dtype in [DType::F32, DType::Q8_0] {
        let mut g = Graph::new();
        let x = picture(&mut g, 2, 9, 7, 32);
        let y = g.conv2d("c", x, 150, [3, 1, 1], true).unwrap();
        let y = g.linear("l", y, 37, true).unwrap();
        g.output("y", y).unwrap();
        let case = Case::new(gpu, g, dtype, 3).unwrap();
        for tile in &tiles {
            let options = ExecOptions { tile: Some(*tile), ..Default::default() };
            let outcome = case.compare(&options).unwrap_or_else(|e| panic!("{tile:?}: {e}"));
            assert!(outcome.error <= 3e-6, "{tile:?}: {}", outcome.error);
        }
    }
}

/// Seen red with the weights' fragments read row by row, and with the second fragment's gate for the first.
#[test]
fn cooperative_matrices() {
    let Some(gpu) = gpu() else { return };
    let Some(coop) = gpu.cooperative() else {
        eprintln!("skipped: {} has no cooperative matrices", gpu.name());
        return;
    };
    let tiles = table::tiles(Machine { coop: Some(coop), ..Machine::of(Class::Gpu) });
    let tiles = tiles.into_iter().filter(|tile| matches!(tile.method, Method::Coop(_)));
    for tile in tiles.collect::<Vec<_>>() {
        for dtype in [DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4K, DType::Q5K, DType::Q6K] {
            let mut g = Graph::new();
            let x = picture(&mut g, 2, 9, 7, if dtype.block_len() > 32 { 256 } else { 64 });
            let y = g.conv2d("c", x, 150, [3, 1, 1], true).unwrap();
            let y =
                if tile.tn % 2 == 0 { g.linear_geglu("l", y, 37, true) } else { g.linear("l", y, 37, true) }.unwrap();
            g.output("y", y).unwrap();
            let case = Case::new(gpu, g, dtype, 3).unwrap();
            for storage in [Storage::F32, Storage::F16] {
                let options = ExecOptions { tile: Some(tile), storage, ..Default::default() };
                let outcome = case.compare(&options).unwrap_or_else(|e| panic!("{tile:?} {dtype:?}: {e}"));
                assert!(outcome.error <= 3e-3, "{tile:?} {dtype:?}: {}", outcome.error);
            }
        }
    }
}
