//! Operations on tokens: rows of tables by ids, where they stand, attention, tokens joined and parted. A pixel is a token.

use super::{Graph, GraphError, IdsId, Op, Shape, ValueId, WeightKind};
use alloc::borrow::ToOwned;
use alloc::format;

/// How tokens attend to others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Attend {
    /// Number of heads of queries; divides the channels.
    pub heads: usize,
    /// Query `i` sees only keys `0..=i`.
    pub causal: bool,
    /// What scores are multiplied by; `1 / sqrt(channels of a head)` if none is said.
    pub scale: Option<f32>,
    /// Added to the scores, `(1, keys, queries, heads)`: the same for all pictures.
    pub bias: Option<ValueId>,
    /// How many keys, from the first on, the queries of each picture see: one id a picture, and no id is all of them. Where it
    /// is 0, the output is.
    pub lengths: Option<IdsId>,
}

impl Attend {
    /// All to all, with so many heads.
    pub const fn heads(heads: usize) -> Self {
        Self { heads, causal: false, scale: None, bias: None, lengths: None }
    }
}

impl Graph {
    /// Adds to `x`, of shape `(n, 1, 1, c)`, the row of the tensor `{name}.weight` that each picture's id names.
    pub fn embedding_add(&mut self, name: &str, x: ValueId, ids: IdsId, rows: usize) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        let n = self.id_count(name, ids)?;
        self.same(name, "embedding_add", s, Shape::vector(n, s.c))?;
        let table = self.weight(&format!("{name}.weight"), WeightKind::Table { rows, dim: s.c })?;
        self.push(name, Op::EmbeddingAdd { x, ids, table }, s)
    }

    /// The rows that the ids of `n` texts of `tokens` tokens name in the tensor `{names[0]}.weight` of `rows` rows, plus
    /// those of their places in `{names[1]}.weight` of `places` rows: `(n, 1, tokens, dim)`.
    pub fn token_embedding(
        &mut self,
        names: [&str; 2],
        ids: IdsId,
        shape: [usize; 3],
        [rows, places]: [usize; 2],
    ) -> Result<ValueId, GraphError> {
        self.rows_of(names[0], ids, shape, rows, Some((names[1], places)))
    }

    /// The rows that the ids of `n` texts of `tokens` tokens name in the tensor `{name}.weight` of `rows` rows:
    /// `(n, 1, tokens, dim)`.
    pub fn token_rows(
        &mut self,
        name: &str,
        ids: IdsId,
        shape: [usize; 3],
        rows: usize,
    ) -> Result<ValueId, GraphError> {
        self.rows_of(name, ids, shape, rows, None)
    }

    fn rows_of(
        &mut self,
        name: &str,
        ids: IdsId,
        [n, tokens, dim]: [usize; 3],
        rows: usize,
        places: Option<(&str, usize)>,
    ) -> Result<ValueId, GraphError> {
        let shape = Shape::new(n, 1, tokens, dim);
        let found = self.id_count(name, ids)?;
        if shape.n.checked_mul(shape.w) != Some(found) {
            let rule = "the number of texts times that of their tokens";
            return Err(GraphError::Parameter { name: name.to_owned(), parameter: "number of ids", found, rule });
        }
        if places.is_some_and(|(_, places)| tokens > places) {
            let rule = "at most the number of places";
            return Err(GraphError::Parameter { name: name.to_owned(), parameter: "tokens", found: tokens, rule });
        }
        let mut table = |name: &str, rows| self.weight(&format!("{name}.weight"), WeightKind::Table { rows, dim });
        let (rows, positions) = (table(name, rows)?, places.map(|(name, places)| table(name, places)).transpose()?);
        self.push(name, Op::TokenEmbedding { ids, table: rows, positions }, shape)
    }

    /// Of each picture of `x`, the pixel whose number (row-major) its id names: `(n, 1, 1, c)`.
    pub fn select_token(&mut self, name: &str, x: ValueId, ids: IdsId) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        let n = self.id_count(name, ids)?;
        self.same(name, "select_token", s, Shape { n, ..s })?;
        self.push(name, Op::SelectToken { x, ids }, Shape::vector(n, s.c))
    }

    /// Of each picture of `x`, the `tokens` pixels whose numbers (row-major) its ids name: `(n, 1, tokens, c)`. Zeros where there is
    /// no id.
    pub fn select_tokens(&mut self, name: &str, x: ValueId, ids: IdsId, tokens: usize) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        let found = self.id_count(name, ids)?;
        if s.n.checked_mul(tokens) != Some(found) {
            let rule = "the number of pictures times that of their tokens";
            return Err(GraphError::Parameter { name: name.to_owned(), parameter: "number of ids", found, rule });
        }
        self.push(name, Op::SelectToken { x, ids }, Shape::new(s.n, 1, tokens, s.c))
    }

    /// Rotary positions of `x`, a head's pairs turned by `angles`, `(n, 1, tokens, channels of a head)`, or 1 for n: of each token
    /// first the cosines of all pairs, then the sines. With `halves`, a pair is a channel of a head's first half and that of
    /// its last, or else two neighbours: see [`Op::Rotary`].
    pub fn rotary(
        &mut self,
        name: &str,
        x: ValueId,
        angles: ValueId,
        heads: usize,
        halves: bool,
    ) -> Result<ValueId, GraphError> {
        let (s, found) = (self.found(name, x)?, self.found(name, angles)?);
        self.divides(name, "heads", heads, s.c)?;
        let d = s.c / heads;
        if !d.is_multiple_of(2) {
            let rule = "so many that each has an even number of channels";
            return Err(GraphError::Parameter { name: name.to_owned(), parameter: "heads", found: heads, rule });
        }
        let n = if found.n == 1 { 1 } else { s.n };
        self.same(name, "rotary", found, Shape::new(n, 1, s.h * s.w, d))?;
        self.push(name, Op::Rotary { x, angles, heads, halves }, s)
    }

    /// The tokens of `a`, then those of `b`, of each picture: `(n, 1, tokens, c)`. A pixel is a token.
    pub fn join_tokens(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        let (s, found) = (self.found(name, a)?, self.found(name, b)?);
        self.same(name, "join_tokens", found, Shape { h: found.h, w: found.w, ..s })?;
        let flat = |g: &mut Self, x, s: Shape| g.reshape(name, x, Shape::vector(s.n, s.h * s.w * s.c));
        let (a, b) = (flat(self, a, s)?, flat(self, b, found)?);
        let joined = self.concat(name, a, b)?;
        self.reshape(name, joined, Shape::new(s.n, 1, s.h * s.w + found.h * found.w, s.c))
    }

    /// Of each picture's tokens those from `from` on, as many as `shape` has pixels, as a picture of that shape.
    pub fn slice_tokens(&mut self, name: &str, x: ValueId, from: usize, shape: Shape) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        let flat = self.reshape(name, x, Shape::vector(s.n, s.h * s.w * s.c))?;
        let part = self.slice(name, flat, from.saturating_mul(s.c), shape.h * shape.w * s.c)?;
        self.reshape(name, part, shape)
    }

    /// Attention of the tokens of `q` to those of `k` and `v`; a pixel is a token. With `causal`, query `i` sees keys
    /// `0..=i`.
    pub fn attention(
        &mut self,
        name: &str,
        q: ValueId,
        k: ValueId,
        v: ValueId,
        heads: usize,
        causal: bool,
    ) -> Result<ValueId, GraphError> {
        self.attend(name, [q, k, v], Attend { causal, ..Attend::heads(heads) })
    }

    /// [`Self::attention`] with whatever is to be another. Keys and values may have fewer heads than queries, of as many channels
    /// each, in a number that divides theirs: see [`Op::Attention`].
    pub fn attend(&mut self, name: &str, [q, k, v]: [ValueId; 3], how: Attend) -> Result<ValueId, GraphError> {
        let Attend { heads, causal, scale, bias, lengths } = how;
        let (s, keys, values) = (self.found(name, q)?, self.found(name, k)?, self.found(name, v)?);
        self.divides(name, "heads", heads, s.c)?;
        let (d, c) = (s.c / heads, keys.c);
        let shared = c.is_multiple_of(d) && heads.is_multiple_of(c / d);
        self.same(name, "attention", keys, Shape { h: keys.h, w: keys.w, c: if shared { c } else { s.c }, ..s })?;
        self.same(name, "attention", values, keys)?;
        if causal && keys.h * keys.w != s.h * s.w {
            let rule = "causal attention needs as many keys as queries";
            return Err(GraphError::Size { name: name.to_owned(), kind: "attention", found: keys, rule });
        }
        if let Some(bias) = bias {
            let found = self.found(name, bias)?;
            self.same(name, "bias of attention", found, Shape::new(1, keys.h * keys.w, s.h * s.w, heads))?;
        }
        if let Some(found) = lengths.map(|ids| self.id_count(name, ids)).transpose()?.filter(|found| *found != s.n) {
            let (parameter, rule) = ("number of lengths", "that of pictures");
            return Err(GraphError::Parameter { name: name.to_owned(), parameter, found, rule });
        }
        self.push(name, Op::Attention { q, k, v, heads, causal, scale, bias, lengths }, s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_checked() {
        let mut g = Graph::new();
        let ids = g.input_ids("tokens", 10);
        let names = ["token", "position"];
        let x = g.token_embedding(names, ids, [2, 5, 8], [100, 7]).unwrap();
        assert_eq!(g.shape(x), Shape::new(2, 1, 5, 8));
        assert_eq!(g.weights()[0].kind, WeightKind::Table { rows: 100, dim: 8 });
        assert_eq!(g.weights()[1].kind, WeightKind::Table { rows: 7, dim: 8 });
        let end = g.input_ids("end", 2);
        let y = g.select_token("pooled", x, end).unwrap();
        assert_eq!(g.shape(y), Shape::vector(2, 8));
        assert!(matches!(g.select_token("pooled", x, ids), Err(GraphError::Shape { .. })));
        assert!(matches!(g.select_token("pooled", x, IdsId(2)), Err(GraphError::Foreign { .. })));
        assert!(matches!(g.token_embedding(names, ids, [2, 4, 8], [100, 7]), Err(GraphError::Parameter { .. })));
        assert!(matches!(g.token_embedding(names, ids, [1, 10, 8], [100, 7]), Err(GraphError::Parameter { .. })));
        assert!(matches!(g.token_embedding(names, IdsId(2), [2, 5, 8], [100, 7]), Err(GraphError::Foreign { .. })));
    }

    /// Seen red with the number of ids not looked at.
    #[test]
    fn several_tokens_are_selected() {
        let mut g = Graph::new();
        let x = g.input("x", Shape::new(2, 3, 4, 8)).unwrap();
        let ids = g.input_ids("places", 10);
        let y = g.select_tokens("some", x, ids, 5).unwrap();
        assert_eq!(g.shape(y), Shape::new(2, 1, 5, 8));
        for tokens in [0, 4, 10, usize::MAX] {
            let error = g.select_tokens("some", x, ids, tokens).unwrap_err();
            assert!(matches!(error, GraphError::Parameter { parameter: "number of ids", found: 10, .. }), "{tokens}");
        }
        assert!(matches!(g.select_tokens("some", x, IdsId(1), 5), Err(GraphError::Foreign { .. })));
    }

    /// Seen red with heads of an odd number of channels let pass, and with angles of any number of pictures.
    #[test]
    fn rotary_positions_are_checked() {
        let mut g = Graph::new();
        let x = g.input("x", Shape::new(3, 2, 5, 12)).unwrap();
        for n in [1, 3] {
            let angles = g.input("angles", Shape::new(n, 1, 10, 4)).unwrap();
            let y = g.rotary("turn", x, angles, 3, true).unwrap();
            assert_eq!(g.shape(y), g.shape(x));
            assert!(matches!(g.rotary("turn", x, angles, 5, true), Err(GraphError::Parameter { .. })));
            assert!(matches!(g.rotary("turn", x, angles, 0, true), Err(GraphError::Parameter { .. })));
            // Three channels a head, and two.
            assert!(matches!(g.rotary("turn", x, angles, 4, true), Err(GraphError::Parameter { .. })));
            assert!(matches!(g.rotary("turn", x, angles, 6, true), Err(GraphError::Shape { .. })));
        }
        for shape in [Shape::new(2, 1, 10, 4), Shape::new(3, 2, 5, 4), Shape::new(1, 1, 9, 4), Shape::new(1, 1, 10, 12)]
        {
            let angles = g.input("angles", shape).unwrap();
            assert!(matches!(g.rotary("turn", x, angles, 3, false), Err(GraphError::Shape { .. })), "{shape}");
        }
        assert!(matches!(g.rotary("turn", x, ValueId(99), 3, true), Err(GraphError::Foreign { .. })));
    }

    /// Seen red with any whole number of heads of keys, and with the number of lengths not looked at.
    #[test]
    fn attention_is_checked() {
        let mut g = Graph::new();
        let x = g.input("x", Shape::new(2, 4, 4, 12)).unwrap();
        let text = g.input("text", Shape::new(2, 1, 77, 12)).unwrap();
        let y = g.attention("a", x, text, text, 3, false).unwrap();
        assert_eq!(g.shape(y), g.shape(x));
        assert!(matches!(g.attention("a", x, text, text, 5, false), Err(GraphError::Parameter { .. })));
        assert!(matches!(g.attention("a", x, text, x, 3, false), Err(GraphError::Shape { .. })));
        assert!(matches!(g.attention("a", x, text, text, 3, true), Err(GraphError::Size { .. })));
        // Heads of two channels: those of the keys must divide six.
        for (channels, fits) in [(1, false), (2, true), (4, true), (6, true), (8, false), (10, false), (24, false)] {
            let keys = g.linear(&format!("keys{channels}"), text, channels, false).unwrap();
            match g.attention("a", x, keys, keys, 6, false) {
                Ok(y) => assert!(fits && g.shape(y) == g.shape(x), "{channels}"),
                Err(e) => assert!(!fits && matches!(e, GraphError::Shape { .. }), "{channels}: {e}"),
            }
        }
        let other = g.input("other", Shape::new(1, 1, 77, 12)).unwrap();
        assert!(matches!(g.attention("a", x, other, other, 3, false), Err(GraphError::Shape { .. })));
        for (n, fits) in [(1, false), (2, true), (77, false)] {
            let lengths = Some(g.input_ids("lengths", n));
            let y = g.attend("a", [x, text, text], Attend { lengths, ..Attend::heads(3) });
            assert!(if fits { y.is_ok() } else { matches!(y, Err(GraphError::Parameter { .. })) }, "{n}");
        }
        let how = Attend { lengths: Some(IdsId(9)), ..Attend::heads(3) };
        assert!(matches!(g.attend("a", [x, text, text], how), Err(GraphError::Foreign { .. })));
    }
}
