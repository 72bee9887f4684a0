use super::{Form, check, finish, normal};
use crate::ops::{Kit, composed};
use crate::tensor::T2;
use dfdx::prelude::*;
use nijimi_runtime::raw::rng::Stream;

/// Rows are used never, once and often. Seen red with a repeated row overwritten instead of added.
#[test]
fn embedding() {
    for (rows, e, b, s) in [(1, 1, 1, 1), (7, 5, 2, 3), (40, 9, 5, 13)] {
        let mut stream = Stream::new(10, "ids", 0);
        let ids: Vec<usize> = (0..b * s).map(|_| stream.below(rows as u64) as usize).collect();
        check(&[normal("table", rows * e)], 1e-2, |v, form| {
            let table: T2<Cpu> = Cpu::default().tensor_from_vec(v[0].clone(), (rows, e));
            let y = match form {
                Form::Fused => Cpu::embedding(table.leaky_trace(), &ids, (b, s)),
                Form::Composed => composed::embedding(table.leaky_trace(), &ids, (b, s)),
            };
            finish(y, &[&table])
        });
    }
}

#[test]
#[should_panic(expected = "id 3 is not in a table of 3 rows")]
fn an_id_outside_of_the_table_is_named() {
    let table: T2<Cpu> = Cpu::default().tensor_from_vec(normal("table", 6), (3, 2));
    _ = Cpu::embedding(table, &[0, 3], (1, 2));
}
