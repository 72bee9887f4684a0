//! Rows of a table, of what a token is, and of another, of where it stands, added.

use super::{Table, embedding_add};

/// `y[n][i] = table[ids[n][i]] + positions[i]`, the second if there are any; `None` leaves the second alone.
///
/// `positions` has at least `tokens` rows, `y` is `[texts][tokens][dim]`, `ids` one for each of its
/// rows.
///
/// # Panics
/// Where a length does not fit, or an id is not a row of the table: whoever takes ids from a user checks them first.
pub fn token_embedding(
    [tokens, dim]: [usize; 2],
    table: &Table,
    positions: Option<&Table>,
    ids: &[Option<u32>],
    y: &mut [f32],
) {
    assert_eq!(y.len(), ids.len() * dim, "token_embedding: length of y");
    if dim == 0 || tokens == 0 {
        return;
    }
    let places = |text: &mut [f32]| {
        for (place, row) in (0..).zip(text.chunks_exact_mut(dim)) {
            if let Some(positions) = positions {
                embedding_add(positions, &[Some(place)], row);
            }
        }
    };
    for (text, ids) in y.chunks_exact_mut(tokens * dim).zip(ids.chunks_exact(tokens)) {
        text.fill(0.0);
        places(text);
        embedding_add(table, ids, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::DType;

    /// Seen red with the place counted through all texts, and with `None` taken as row 0.
    #[test]
    fn adds_the_rows_of_token_and_place() {
        let table = |values: &[f32]| Table::new(DType::F32, bytemuck::cast_slice(values), 2).unwrap();
        let (table, positions) = (table(&[1.0, 2.0, 10.0, 20.0]), table(&[0.5, 0.25, 100.0, 200.0, 7.0, 7.0]));
        let mut y = [9.0f32; 8];
        token_embedding([2, 2], &table, Some(&positions), &[Some(1), None, Some(0), Some(1)], &mut y);
        assert_eq!(y, [10.5, 20.25, 100.0, 200.0, 1.5, 2.25, 110.0, 220.0]);
        token_embedding([2, 2], &table, None, &[Some(1), None, Some(0), Some(1)], &mut y);
        assert_eq!(y, [10.0, 20.0, 0.0, 0.0, 1.0, 2.0, 10.0, 20.0]);
    }
}
