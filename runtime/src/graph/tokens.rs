//! Operations on tokens: rows of tables by ids, attention, tokens joined and parted. A pixel is a token.

use super::{Graph, GraphError, IdsId, Op, Shape, ValueId, WeightKind};
use alloc::borrow::ToOwned;
use alloc::format;

/// How tokens attend to others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Attend {
    /// Number of heads; divides the channels.
    pub heads: usize,
    /// Query `i` sees only keys `0..=i`.
    pub causal: bool,
    /// What scores are multiplied by; `1 / sqrt(channels of a head)` if none is said.
    pub scale: Option<f32>,
    /// Added to the scores, `(1, keys, queries, heads)`: the same for all pictures.
    pub bias: Option<ValueId>,
}

impl Attend {
    /// All to all, with so many heads.
    pub const fn heads(heads: usize) -> Self {
        Self { heads, causal: false, scale: None, bias: None }
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

    /// [`Self::attention`] with whatever is to be another.
    pub fn attend(&mut self, name: &str, [q, k, v]: [ValueId; 3], how: Attend) -> Result<ValueId, GraphError> {
        let Attend { heads, causal, scale, bias } = how;
        let (s, keys, values) = (self.found(name, q)?, self.found(name, k)?, self.found(name, v)?);
        self.same(name, "attention", keys, Shape { h: keys.h, w: keys.w, ..s })?;
        self.same(name, "attention", values, keys)?;
        self.divides(name, "heads", heads, s.c)?;
        if causal && keys.h * keys.w != s.h * s.w {
            let rule = "causal attention needs as many keys as queries";
            return Err(GraphError::Size { name: name.to_owned(), kind: "attention", found: keys, rule });
        }
        if let Some(bias) = bias {
            let found = self.found(name, bias)?;
            self.same(name, "bias of attention", found, Shape::new(1, keys.h * keys.w, s.h * s.w, heads))?;
        }
        self.push(name, Op::Attention { q, k, v, heads, causal, scale, bias }, s)
    }
}
