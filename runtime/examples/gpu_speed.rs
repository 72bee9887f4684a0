//! Speed of the GPU backend's matrix products, by tile: what `shaders/src/table.rs` is made from.
//!
//! ```sh
//! cargo run --release -p nijimi-runtime --features gpu --example gpu_speed [-- FILTER]
//! ```

mod common;

use common::cpu_seconds;
use nijimi_runtime::gpu::lab::Case;
use nijimi_runtime::gpu::{Choice, Class, ExecOptions, Gpu, GpuOptions, Storage, Tile};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::graph::{Graph, Shape};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let gpu = Gpu::open(&GpuOptions { choice: Choice::Any, ..Default::default() })?;
    println!("{}", gpu.name());
    let mut tiles = vec![Tile::tiled(16, 16, 4, 4, 4), Tile::tiled(16, 16, 8, 8, 2), Tile::tiled(8, 8, 8, 8, 4)];
    if gpu.is_software() {
        for wx in [8, 16] {
            for (tm, tn) in [(4, 4), (8, 2), (8, 4), (16, 2), (16, 4), (8, 8), (12, 4)] {
                tiles.push(Tile::direct(wx, tm, tn));
            }
        }
    } else {
        tiles.extend([
            Tile::tiled(16, 16, 4, 4, 8),
            Tile::tiled(16, 16, 4, 8, 4),
            Tile::tiled(16, 8, 8, 8, 4),
            Tile::tiled(32, 8, 8, 4, 4),
        ]);
    }
    if let Some(coop) = gpu.cooperative() {
        tiles.extend(
            [(2, 2, 2, 2), (2, 2, 4, 4), (2, 4, 4, 2), (4, 2, 2, 4)]
                .map(|(wx, wy, tm, tn)| Tile::coop(coop, wx, wy, tm, tn, 8)),
        );
    }
    type Build = fn(&mut Graph) -> Result<(), Box<dyn std::error::Error>>;
    let shapes: [(&str, Build); 4] = [
        ("linear 1024^3", |g| {
            let x = g.input("x", Shape::new(1, 1024, 1, 1024))?;
            let y = g.linear("l", x, 1024, true)?;
            Ok(g.output("y", y)?)
        }),
        ("conv 3x3 64->128 64x64", |g| {
            let x = g.input("x", Shape::new(1, 64, 64, 64))?;
            let y = g.conv2d("c", x, 128, [3, 1, 1], true)?;
            Ok(g.output("y", y)?)
        }),
        ("conv 3x3 64->64 28x28 x40", |g| {
            let x = g.input("x", Shape::new(40, 28, 28, 64))?;
            let y = g.conv2d("c", x, 64, [3, 1, 1], true)?;
            Ok(g.output("y", y)?)
        }),
        ("conv 3x3 1->64 28x28 x40", |g| {
            let x = g.input("x", Shape::new(40, 28, 28, 1))?;
            let y = g.conv2d("c", x, 64, [3, 1, 1], true)?;
            Ok(g.output("y", y)?)
        }),
    ];
    for (name, build) in shapes {
        for dtype in [DType::F32, DType::F16, DType::Q8_0, DType::Q6K, DType::Q5K, DType::Q4K, DType::Q4_0] {
            let row = format!("{name} {}", dtype.name());
            if !row.contains(&filter) {
                continue;
            }
            let mut g = Graph::new();
            if build(&mut g).is_err() {
                continue;
            }
            let macs = nijimi_runtime::raw::plan::Plan::new(&g, &Default::default())?.macs();
            let case = Case::new(&gpu, g, dtype, 1)?;
            for (class, tile) in
                [(Class::Cpu, None), (Class::Gpu, None)].into_iter().chain(tiles.iter().map(|t| (Class::Cpu, Some(*t))))
            {
                let options = ExecOptions { class: Some(class), tile, storage: Storage::F32, ..Default::default() };
                let executor = case.executor(&options)?;
                let seconds = Case::time(&executor)?;
                let (before, runs) = (cpu_seconds(), (0.3 / seconds).ceil());
                for _ in 0..runs as usize {
                    executor.run(0)?;
                }
                executor.read(executor.plans()[0].outputs()[0].slot)?;
                // Half of it, on two cores, is what an idle machine would take.
                let cpu = cpu_seconds().zip(before).map_or(f64::NAN, |(after, before)| (after - before) / runs);
                let label = tile.map_or(format!("{class:?} table"), |tile| format!("{tile}"));
                let rate = |seconds: f64| 2.0 * macs as f64 / seconds / 1e9;
                let (wall, of_cpu) = (rate(seconds), rate(cpu / 2.0));
                println!("{row:<34} {label:<22} {:9.3} ms {wall:8.1} GFLOP/s, {of_cpu:6.1} by CPU time", seconds * 1e3);
            }
        }
    }
    Ok(())
}
