//! A row of a table for every picture.

/// `y[i] += table[ids[i]]`; `None` adds nothing, which is what a network trained with dropped labels knows as no label.
///
/// `table` is `[rows][dim]`, `y` is `[ids.len()][dim]`.
///
/// # Panics
/// Where a length does not fit, or an id is not a row of the table: whoever takes labels from a user checks them first.
pub fn embedding_add(dim: usize, table: &[f32], ids: &[Option<u32>], y: &mut [f32]) {
    assert_eq!(y.len(), ids.len() * dim, "embedding_add: length of y");
    if dim == 0 {
        return;
    }
    for (y, id) in y.chunks_exact_mut(dim).zip(ids) {
        let Some(id) = *id else { continue };
        let row = table.chunks_exact(dim).nth(id as usize);
        let row = row.unwrap_or_else(|| panic!("embedding_add: id {id} of a table of {} rows", table.len() / dim));
        y.iter_mut().zip(row).for_each(|(y, e)| *y += e);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with `=` in place of `+=`, and with `None` taken as row 0.
    #[test]
    fn adds_the_row_of_each_id_and_nothing_for_none() {
        let table = [1.0, 2.0, 3.0, 10.0, 20.0, 30.0];
        let mut y = [0.5f32; 12];
        embedding_add(3, &table, &[Some(1), None, Some(0), Some(1)], &mut y);
        assert_eq!(y, [10.5, 20.5, 30.5, 0.5, 0.5, 0.5, 1.5, 2.5, 3.5, 10.5, 20.5, 30.5]);
        embedding_add(0, &[], &[None], &mut []);
    }

    #[test]
    #[should_panic(expected = "id 2 of a table of 2 rows")]
    fn an_id_past_the_table_is_named() {
        embedding_add(1, &[1.0, 2.0], &[Some(2)], &mut [0.0]);
    }
}
