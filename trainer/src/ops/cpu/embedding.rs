//! Rows of a table by number.
use super::parallel::prelude::*;
use super::storage::{data, take_gradient, written};
use crate::tensor::{T2, T3, Tp};
use dfdx::prelude::*;

/// See [`crate::ops::Kit::embedding`].
pub fn embedding<T: Tp<Cpu>>(table: T2<Cpu, T>, ids: &[usize], shape: (usize, usize)) -> T3<Cpu, T> {
    let (rows, e) = *table.shape();
    assert_eq!(ids.len(), shape.0 * shape.1, "as many ids as the shape says");
    if let Some(id) = ids.iter().find(|i| **i >= rows) {
        panic!("id {id} is not in a table of {rows} rows");
    }
    let (table, mut tape) = table.split_tape();
    let values = data(&table);
    // SAFETY: a chunk is one row, which is written whole.
    #[allow(unsafe_code)]
    let y = unsafe {
        written(
            ids.len() * e,
            e,
            || (),
            |(), i, y| {
                y.iter_mut().zip(&values[ids[i] * e..][..e]).for_each(|(y, v)| _ = y.write(*v));
            },
        )
    };
    let out = table.device().tensor_from_vec(y, (shape.0, shape.1, e));
    let (tg, og) = (table.ghost(), out.ghost());
    // Positions by id, each id's in order: a row of the gradient has one owner, whatever the number of threads.
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by_key(|i| ids[*i]);
    let mut uses: Vec<(usize, Vec<usize>)> = Vec::new();
    for position in order {
        match uses.last_mut() {
            Some((id, positions)) if *id == ids[position] => positions.push(position),
            _ => uses.push((ids[position], vec![position])),
        }
    }
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let mut rest: &mut [f32] = g.get_or_alloc_mut(&tg)?;
        let (mut work, mut passed) = (Vec::with_capacity(uses.len()), 0);
        for (id, positions) in &uses {
            let (row, after) = rest[(id - passed) * e..].split_at_mut(e);
            (rest, passed) = (after, id + 1);
            work.push((row, positions));
        }
        work.into_par_iter().for_each(|(row, positions)| {
            for p in positions {
                row.iter_mut().zip(&go[p * e..][..e]).for_each(|(d, g)| *d += g);
            }
        });
        Ok(())
    });
    out.put_tape(tape)
}
