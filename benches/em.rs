//! Fitting a normal and a mixture to 1,000,000 rows of 8 columns: `cargo bench --bench em`.
//!
//! `benches/peers/em_sklearn.py` times the same beside scikit-learn.
use criterion::{Criterion, Throughput};
use nijimi_runtime::raw::rng::Stream;
use nijimi_trainer::data::table::Table;
use nijimi_trainer::systems::mixture::{Options, Shape, fit};
use nijimi_trainer::systems::mvn;
use std::hint::black_box;
use std::time::Instant;

const ROWS: usize = 1_000_000;
const COLUMNS: usize = 8;
const K: usize = 8;

/// K clumps.
fn table() -> Table {
    let mut draw = Stream::new(0, "bench", 0);
    let centres: Vec<f64> = (0..K * COLUMNS).map(|_| 3.0 * f64::from(draw.normal())).collect();
    let mut columns = vec![Vec::new(); COLUMNS];
    for _ in 0..ROWS {
        let k = draw.below(K as u64) as usize;
        for (d, column) in columns.iter_mut().enumerate() {
            column.push(centres[k * COLUMNS + d] + f64::from(draw.normal()));
        }
    }
    Table::new((0..COLUMNS).map(|d| format!("x{d}")).collect(), columns)
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let table = table();
    let mut group = criterion.benchmark_group("classic");
    group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("normal, 8 columns", |b| b.iter(|| mvn::fit(black_box(&table), false).expect("a fit")));
    for shape in [Shape::Full, Shape::Diagonal] {
        let updates = |n| {
            let options = Options { k: K, shape, tolerance: 0.0, max_iterations: n, ..Options::default() };
            let begin = Instant::now();
            black_box(fit(&table, &options).expect("a fit"));
            begin.elapsed()
        };
        // What comes before the first update is taken off.
        let update = |n: u64| updates(n as usize + 1).saturating_sub(updates(1));
        group.bench_function(format!("an update of EM, 8 components, {shape}"), |b| b.iter_custom(update));
    }
    group.finish();
    criterion.final_summary();
}
