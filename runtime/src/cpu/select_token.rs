//! Some tokens of each text.

/// `y[n][j] = x[n][ids[n][j]]`; zeros where there is no id.
///
/// `x` is `[n][tokens][dim]`, `ids` as many a text as there are for each, `y` is `[ids.len()][dim]`.
///
/// # Panics
/// Where a length does not fit, or an id is not a place in the text: whoever takes ids from a user checks them first.
pub fn select_token([tokens, dim]: [usize; 2], x: &[f32], ids: &[Option<u32>], y: &mut [f32]) {
    assert_eq!(y.len(), ids.len() * dim, "select_token: length of y");
    if y.is_empty() || tokens == 0 {
        return;
    }
    let texts = x.len() / (tokens * dim);
    assert!(texts > 0 && x.len() == texts * tokens * dim, "select_token: length of x");
    assert!(ids.len().is_multiple_of(texts), "select_token: number of ids");
    let each = ids.len() / texts;
    for (i, (y, id)) in y.chunks_exact_mut(dim).zip(ids).enumerate() {
        match *id {
            None => y.fill(0.0),
            Some(id) => {
                let row = x[i / each * tokens * dim..][..tokens * dim].chunks_exact(dim).nth(id as usize);
                y.copy_from_slice(
                    row.unwrap_or_else(|| panic!("select_token: place {id} of a text of {tokens} tokens")),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with the first text's tokens for all.
    #[test]
    fn takes_the_token_of_each_text() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        let mut y = [9.0f32; 6];
        select_token([2, 2], &x, &[Some(1), None, Some(0)], &mut y);
        assert_eq!(y, [3.0, 4.0, 0.0, 0.0, 9.0, 10.0]);
    }

    /// Seen red with one token a text.
    #[test]
    fn takes_several_of_each() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let mut y = [9.0f32; 6];
        select_token([4, 1], &x, &[Some(3), None, Some(0), Some(0), Some(2), Some(2)], &mut y);
        assert_eq!(y, [4.0, 0.0, 1.0, 5.0, 7.0, 7.0]);
    }

    #[test]
    #[should_panic(expected = "place 2 of a text of 2 tokens")]
    fn a_place_past_the_end_is_named() {
        select_token([2, 1], &[1.0, 2.0], &[Some(2)], &mut [0.0]);
    }
}
