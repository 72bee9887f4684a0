//! Every kernel against its CPU twin, over odd shapes, formats and variants.

use super::check::Case;
use super::*;
use crate::graph::{Activation, Graph, Shape, ValueId};
use crate::quant::DType;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use nijimi_shaders::table::{self, Machine};
use std::eprintln;
use std::sync::OnceLock;

/// The adapter of the tests: the software one, or, with NIJIMI_TEST_ADAPTER=any, the best. `None`, said aloud, where
/// there is none; with NIJIMI_REQUIRE_GPU that is a failure.
pub(super) fn gpu() -> Option<&'static Gpu> {
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

/// Both classes' tiles, f32 and (where the device has it) f16 storage, each with the least tolerance that makes sense: a
/// half has 11 bits, and is rounded on the way in and out.
fn variants(gpu: &Gpu) -> Vec<(String, ExecOptions, f32)> {
    let mut all = Vec::new();
    for class in [Class::Cpu, Class::Gpu] {
        // Cooperative matrices have a test and a tolerance of their own.
        let options = ExecOptions { class: Some(class), no_cooperative: true, ..Default::default() };
        all.push((format!("{class:?}"), options, 0.0));
        all.push((format!("{class:?} without subgroups"), ExecOptions { no_subgroups: true, ..options }, 0.0));
        if gpu.has_f16() {
            all.push((format!("{class:?} f16"), ExecOptions { storage: Storage::F16, ..options }, 3e-3));
        }
    }
    all
}

/// Compares a graph in all variants; `tolerance` is relative to the largest value, for f32.
fn same(name: &str, tolerance: f32, dtype: DType, graph: impl FnOnce(&mut Graph) -> ValueId) {
    let Some(gpu) = gpu() else { return };
    let mut g = Graph::new();
    let y = graph(&mut g);
    g.output("y", y).unwrap();
    let case = Case::new(gpu, g, dtype, 7).unwrap();
    for (variant, options, least) in variants(gpu) {
        let outcome = case.compare(&options).unwrap_or_else(|e| panic!("{name}, {variant}: {e}"));
        assert!(outcome.error <= tolerance.max(least), "{name}, {variant}: error {}", outcome.error);
    }
}

fn picture(g: &mut Graph, n: usize, h: usize, w: usize, c: usize) -> ValueId {
    g.input("x", Shape::new(n, h, w, c)).unwrap()
}

const FORMATS: [DType; 5] = DType::ALL;

#[test]
fn linear() {
    for dtype in FORMATS {
        for (rows, inp, out) in [(1, 32, 1), (3, 5, 7), (17, 64, 33), (70, 96, 130), (257, 37, 65)] {
            for bias in [false, true] {
                same(&format!("linear {dtype:?} {rows} {inp} {out} {bias}"), 2e-6, dtype, |g| {
                    let x = picture(g, rows, 1, 1, inp);
                    g.linear("l", x, out, bias).unwrap()
                });
            }
        }
    }
}

#[test]
fn linear_epilogues() {
    for function in [Activation::Relu, Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
        for residual in [false, true] {
            same(&format!("linear {function:?} {residual}"), 3e-6, DType::F32, |g| {
                let x = picture(g, 2, 5, 3, 24);
                let mut y = g.linear("l", x, 21, true).unwrap();
                if residual {
                    let r = g.input("r", Shape::new(2, 5, 3, 21)).unwrap();
                    y = g.add("add", y, r).unwrap();
                }
                g.activate("f", y, function).unwrap()
            });
        }
    }
    for (dtype, out) in [(DType::F32, 13), (DType::Q8_0, 40), (DType::Q4_0, 64)] {
        same(&format!("geglu {dtype:?} {out}"), 3e-6, dtype, |g| {
            let x = picture(g, 1, 19, 3, 32);
            let r = g.input("r", Shape::new(1, 19, 3, out)).unwrap();
            let y = g.linear_geglu("l", x, out, true).unwrap();
            g.add("add", y, r).unwrap()
        });
    }
}

#[test]
fn conv2d() {
    for dtype in FORMATS {
        for (n, h, w, inp, out) in [(1, 5, 7, 1, 3), (2, 9, 6, 32, 17), (3, 4, 4, 37, 70), (1, 13, 11, 64, 64)] {
            for window in [[3, 1, 1], [3, 2, 1], [1, 1, 0], [4, 2, 0], [5, 1, 2]] {
                if h < window[0] || w < window[0] {
                    continue;
                }
                same(&format!("conv2d {dtype:?} {n} {h} {w} {inp} {out} {window:?}"), 2e-6, dtype, |g| {
                    let x = picture(g, n, h, w, inp);
                    g.conv2d("c", x, out, window, true).unwrap()
                });
            }
        }
    }
}

#[test]
fn conv2d_of_a_doubled_picture() {
    for (h, w, inp, out) in [(3, 5, 32, 9), (4, 1, 3, 5)] {
        same(&format!("upsampled conv2d {h} {w} {inp} {out}"), 2e-6, DType::F32, |g| {
            let x = picture(g, 2, h, w, inp);
            let x = g.upsample_nearest2("up", x).unwrap();
            let x = g.conv2d("c", x, out, [3, 1, 1], true).unwrap();
            g.silu("f", x).unwrap()
        });
    }
}

#[test]
fn attention() {
    for causal in [false, true] {
        for (l, s, c, heads) in
            [(1, 1, 4, 1), (7, 7, 24, 3), (33, 33, 40, 1), (65, 65, 128, 2), (21, 21, 96, 1), (70, 70, 15, 3)]
        {
            same(&format!("attention {l} {s} {c} {heads} {causal}"), 3e-6, DType::F32, |g| {
                let [q, k, v] = ["q", "k", "v"].map(|name| {
                    let n = if name == "q" { l } else { s };
                    g.input(name, Shape::new(2, n, 1, c)).unwrap()
                });
                g.attention("a", q, k, v, heads, causal).unwrap()
            });
        }
    }
    for (l, s, c, heads) in [(50, 77, 80, 2), (4, 9, 512, 1), (100, 3, 160, 1)] {
        same(&format!("cross attention {l} {s} {c} {heads}"), 3e-6, DType::F32, |g| {
            let q = g.input("q", Shape::new(2, l, 1, c)).unwrap();
            let k = g.input("k", Shape::new(2, s, 1, c)).unwrap();
            let v = g.input("v", Shape::new(2, s, 1, c)).unwrap();
            g.attention("a", q, k, v, heads, false).unwrap()
        });
    }
}

#[test]
fn norms() {
    for (n, h, w, c, groups) in [(1, 1, 1, 8, 2), (2, 7, 5, 30, 3), (1, 16, 9, 320, 32), (3, 3, 3, 5, 1)] {
        for function in [Activation::None, Activation::Silu] {
            same(&format!("group_norm {n} {h} {w} {c} {groups} {function:?}"), 4e-6, DType::F32, |g| {
                let x = picture(g, n, h, w, c);
                let y = g.group_norm("norm", x, groups, 1e-5).unwrap();
                if function == Activation::None { y } else { g.activate("f", y, function).unwrap() }
            });
        }
        same(&format!("layer_norm {n} {h} {w} {c}"), 4e-6, DType::F32, |g| {
            let x = picture(g, n, h, w, c);
            g.layer_norm("norm", x, 1e-5).unwrap()
        });
    }
}

#[test]
fn pictures() {
    for (n, h, w, c) in [(1, 2, 2, 1), (2, 4, 6, 5), (3, 6, 2, 12), (1, 10, 8, 64)] {
        same(&format!("max_pool {n} {h} {w} {c}"), 0.0, DType::F32, |g| {
            let x = picture(g, n, h, w, c);
            g.max_pool2("pool", x).unwrap()
        });
        same(&format!("max_pool + add {n} {h} {w} {c}"), 1e-7, DType::F32, |g| {
            let x = picture(g, n, h, w, c);
            let v = g.input("v", Shape::vector(n, c)).unwrap();
            let x = g.max_pool2("pool", x).unwrap();
            g.add_channels("add", x, v).unwrap()
        });
        same(&format!("upsample_bilinear {n} {h} {w} {c}"), 3e-7, DType::F32, |g| {
            let x = picture(g, n, h, w, c);
            g.upsample_bilinear2("up", x).unwrap()
        });
        same(&format!("upsample_nearest {n} {h} {w} {c}"), 0.0, DType::F32, |g| {
            let x = picture(g, n, h, w, c);
            g.upsample_nearest2("up", x).unwrap()
        });
        for cb in [1, 8] {
            same(&format!("concat + add {n} {h} {w} {c} {cb}"), 1e-7, DType::F32, |g| {
                let a = picture(g, n, h, w, c);
                let b = g.input("b", Shape::new(n, h, w, cb)).unwrap();
                let v = g.input("v", Shape::vector(n, c + cb)).unwrap();
                let x = g.concat("cat", a, b).unwrap();
                g.add_channels("add", x, v).unwrap()
            });
        }
    }
}

#[test]
fn elementwise() {
    for (n, h, w, c) in [(1, 1, 1, 1), (2, 3, 5, 7), (1, 9, 9, 16)] {
        for function in [Activation::Relu, Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
            same(&format!("activate {function:?} {c}"), 5e-7, DType::F32, |g| {
                let x = picture(g, n, h, w, c);
                g.activate("f", x, function).unwrap()
            });
        }
        same(&format!("add {c}"), 1e-7, DType::F32, |g| {
            let (a, b) = (picture(g, n, h, w, c), g.input("b", Shape::new(n, h, w, c)).unwrap());
            g.add("add", a, b).unwrap()
        });
        // The first operand is needed afterwards: not in place.
        same(&format!("add and keep {c}"), 1e-7, DType::F32, |g| {
            let (a, b) = (picture(g, n, h, w, c), g.input("b", Shape::new(n, h, w, c)).unwrap());
            let s = g.silu("f", a).unwrap();
            let s = g.add("add", s, b).unwrap();
            g.output("a", a).unwrap();
            g.output("b", b).unwrap();
            s
        });
        same(&format!("add_channels {c}"), 1e-7, DType::F32, |g| {
            let (x, v) = (picture(g, n, h, w, c), g.input("v", Shape::vector(n, c)).unwrap());
            g.add_channels("add", x, v).unwrap()
        });
    }
}

#[test]
fn conditions() {
    for (n, dim) in [(1, 1), (3, 100), (5, 37)] {
        same(&format!("position_encoding {n} {dim}"), 2e-6, DType::F32, |g| {
            let t = g.input("t", Shape::vector(n, 1)).unwrap();
            g.position_encoding("time", t, dim).unwrap()
        });
        same(&format!("embedding_add {n} {dim}"), 2e-6, DType::F32, |g| {
            let t = g.input("t", Shape::vector(n, 1)).unwrap();
            let x = g.position_encoding("time", t, dim).unwrap();
            let ids = g.input_ids("labels", n);
            g.embedding_add("label_emb", x, ids, 10).unwrap()
        });
    }
}

/// Tiles that the table chooses for other shapes than the tests' own.
#[test]
fn every_tile() {
    let Some(gpu) = gpu() else { return };
    let tiles: Vec<Tile> =
        [Class::Cpu, Class::Gpu].into_iter().flat_map(|class| table::tiles(Machine { class, coop: None })).collect();
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
    let tiles = table::tiles(Machine { class: Class::Gpu, coop: Some(coop) });
    let tiles = tiles.into_iter().filter(|tile| matches!(tile.method, Method::Coop(_)));
    for tile in tiles.collect::<Vec<_>>() {
        for dtype in [DType::F16, DType::Q8_0, DType::Q4_0] {
            let mut g = Graph::new();
            let x = picture(&mut g, 2, 9, 7, 64);
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
