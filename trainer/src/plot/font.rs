//! Text from an 8x8 bitmap font: no font files, the same picture everywhere.
//!
//! Letters are enlarged by Scale2x and Scale3x (Andrea Mazzoleni 2001), which round off steps without inventing shades.
use font8x8::UnicodeFonts;

/// Pixels of a letter's side in the font.
const SIDE: usize = 8;

/// A square bitmap.
pub(super) struct Letter {
    /// Pixels of its side.
    pub side: usize,
    bits: Vec<bool>,
}

impl Letter {
    /// The letter enlarged `times`, a product of twos and threes; what is missing in the font is a filled square.
    pub fn new(letter: char, times: usize) -> Self {
        // Typographic signs that the font lacks.
        let letter = match letter {
            '\u{2212}' | '\u{2013}' | '\u{2014}' => '-',
            '\u{2019}' => '\'',
            '\u{03bc}' => '\u{00b5}',
            other => other,
        };
        let rows = font8x8::BASIC_FONTS
            .get(letter)
            .or_else(|| font8x8::LATIN_FONTS.get(letter))
            .or_else(|| font8x8::GREEK_FONTS.get(letter))
            .unwrap_or([0xff; SIDE]);
        let bits = rows.iter().flat_map(|row| (0..SIDE).map(move |x| row >> x & 1 == 1)).collect();
        let mut letter = Self { side: SIDE, bits };
        let mut times = times.max(1);
        while times > 1 {
            let by = if times.is_multiple_of(2) { 2 } else { 3 };
            letter = letter.scaled(by);
            times /= by;
        }
        letter
    }

    /// Whether the pixel is ink; outside is none.
    pub fn ink(&self, x: i64, y: i64) -> bool {
        let side = self.side as i64;
        (0..side).contains(&x) && (0..side).contains(&y) && self.bits[(y * side + x) as usize]
    }

    fn scaled(&self, by: usize) -> Self {
        let side = self.side * by;
        let bits = (0..side * side).map(|i| self.corner(i % side, i / side, by)).collect();
        Self { side, bits }
    }

    /// A pixel of the enlarged letter. Scale2x: each corner takes the two neighbours' ink where these agree and the
    /// opposite ones do not; with three, the edges' middles follow the corners beside them.
    fn corner(&self, x: usize, y: usize, by: usize) -> bool {
        let (px, py) = ((x / by) as i64, (y / by) as i64);
        let at = |dx: i64, dy: i64| self.ink(px + dx, py + dy);
        let (e, up, down, left, right) = (at(0, 0), at(0, -1), at(0, 1), at(-1, 0), at(1, 0));
        if up == down || left == right {
            return e;
        }
        let (column, row) = (x % by, y % by);
        let (last, horizontal, vertical) = (by - 1, [left, right], [up, down]);
        let corner = |h: usize, v: usize| horizontal[h] == vertical[v];
        match (column, row) {
            (c, r) if (c == 0 || c == last) && (r == 0 || r == last) => {
                let (h, v) = (usize::from(c == last), usize::from(r == last));
                if corner(h, v) { horizontal[h] } else { e }
            }
            (1, r) if r == 0 || r == last => {
                let v = usize::from(r == last);
                let beside = (corner(0, v) && e != at(1, if v == 1 { 1 } else { -1 }))
                    || (corner(1, v) && e != at(-1, if v == 1 { 1 } else { -1 }));
                if beside { vertical[v] } else { e }
            }
            (c, 1) if c == 0 || c == last => {
                let h = usize::from(c == last);
                let beside = (corner(h, 0) && e != at(if h == 1 { 1 } else { -1 }, 1))
                    || (corner(h, 1) && e != at(if h == 1 { 1 } else { -1 }, -1));
                if beside { horizontal[h] } else { e }
            }
            _ => e,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_grow_and_stay_themselves() {
        for times in [1, 2, 3, 4, 6] {
            let letter = Letter::new('L', times);
            assert_eq!(letter.side, 8 * times);
            // The middle of each of the font's pixels keeps its ink.
            let small = Letter::new('L', 1);
            if times == 3 {
                for (x, y) in (0..8).flat_map(|y| (0..8).map(move |x| (x, y))) {
                    assert_eq!(letter.ink(3 * x + 1, 3 * y + 1), small.ink(x, y), "({x}, {y})");
                }
            }
            let ink = letter.bits.iter().filter(|b| **b).count();
            let before = small.bits.iter().filter(|b| **b).count() * times * times;
            assert!(ink.abs_diff(before) * 5 < before, "{times}: {ink} of about {before}");
        }
    }

    #[test]
    fn greek_and_signs_are_there() {
        let missing = Letter::new('\u{4e00}', 1).bits;
        for letter in ['µ', 'μ', 'σ', 'γ', '−', 'é'] {
            assert_ne!(Letter::new(letter, 1).bits, missing, "{letter}");
        }
    }
}
