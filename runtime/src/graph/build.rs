//! Adding operations: each method infers the output's shape or says what is wrong.

use super::{
    Activation, Derivation, Graph, GraphError, IdsId, Node, Op, Port, Shape, ValueId, Weight, WeightId, WeightKind,
};
use alloc::borrow::ToOwned;
use alloc::format;

/// The most elements that one activation or weight may have: what a 32-bit byte offset of a device can address.
pub const MAX_ELEMENTS: usize = 1 << 30;

/// The output side of a convolution, `None` where the kernel does not fit.
fn conv_side(side: usize, kernel: usize, stride: usize, pads: usize) -> Option<usize> {
    Some(side.checked_add(pads)?.checked_sub(kernel)? / stride + 1)
}

impl Graph {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// An activation that the caller fills before each execution.
    pub fn input(&mut self, name: &str, shape: Shape) -> Result<ValueId, GraphError> {
        let value = self.value(name, shape)?;
        self.inputs.push(Port { name: name.to_owned(), value });
        Ok(value)
    }

    /// An input of `n` ids.
    pub fn input_ids(&mut self, name: &str, n: usize) -> IdsId {
        self.ids.push((name.to_owned(), n));
        IdsId(self.ids.len() as u32 - 1)
    }

    /// Marks a value as one that the caller reads afterwards.
    pub fn output(&mut self, name: &str, value: ValueId) -> Result<(), GraphError> {
        self.found(name, value)?;
        self.outputs.push(Port { name: name.to_owned(), value });
        Ok(())
    }

    /// A convolution with the tensors `{name}.weight` and, with `bias`, `{name}.bias`.
    pub fn conv2d(
        &mut self,
        name: &str,
        x: ValueId,
        out: usize,
        [kernel, stride, pad]: [usize; 3],
        bias: bool,
    ) -> Result<ValueId, GraphError> {
        self.conv2d_padded(name, x, out, [kernel, stride, pad, pad], bias)
    }

    /// As [`Self::conv2d`], with `pad` zeros above and left of the picture and `pad_end` below and right of it.
    pub fn conv2d_padded(
        &mut self,
        name: &str,
        x: ValueId,
        out: usize,
        [kernel, stride, pad, pad_end]: [usize; 4],
        bias: bool,
    ) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        for (parameter, found) in [("kernel", kernel), ("stride", stride)] {
            if !(1..=64).contains(&found) {
                return Err(GraphError::Parameter { name: name.to_owned(), parameter, found, rule: "1 to 64" });
            }
        }
        for found in [pad, pad_end] {
            if found >= kernel {
                let rule = "smaller than the kernel";
                return Err(GraphError::Parameter { name: name.to_owned(), parameter: "pad", found, rule });
            }
        }
        let pads = pad + pad_end;
        let (Some(h), Some(w)) = (conv_side(s.h, kernel, stride, pads), conv_side(s.w, kernel, stride, pads)) else {
            let rule = "the padded picture is smaller than the kernel";
            return Err(GraphError::Size { name: name.to_owned(), kind: "conv2d", found: s, rule });
        };
        let (weight, bias) = self.layer(name, WeightKind::Conv { out, kernel, inp: s.c }, out, bias)?;
        let activation = Activation::None;
        let (upsample, residual) = (false, None);
        let op = Op::Conv2d { x, upsample, weight, bias, kernel, stride, pad, pad_end, residual, activation };
        self.push(name, op, Shape::new(s.n, h, w, out))
    }

    /// A linear layer over the channels, with the tensors `{name}.weight` and, with `bias`, `{name}.bias`.
    pub fn linear(&mut self, name: &str, x: ValueId, out: usize, bias: bool) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        let (weight, bias) = self.layer(name, WeightKind::Linear { out, inp: s.c }, out, bias)?;
        let op = Op::Linear { x, weight, bias, residual: None, activation: Activation::None };
        self.push(name, op, Shape { c: out, ..s })
    }

    /// A gated linear layer, `value * gelu(gate)`, with the tensors `{name}.weight` and, with `bias`, `{name}.bias`: the
    /// first `out` of their `2 out` features make the value, the others the gate.
    pub fn linear_geglu(&mut self, name: &str, x: ValueId, out: usize, bias: bool) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        // A number that twice overflows is refused as the weight's extent.
        let both = out.saturating_mul(2);
        let (weight, bias) = self.layer(name, WeightKind::Linear { out: both, inp: s.c }, both, bias)?;
        let op = Op::Linear { x, weight, bias, residual: None, activation: Activation::Geglu };
        self.push(name, op, Shape { c: out, ..s })
    }

    /// An elementwise function.
    pub fn activate(&mut self, name: &str, x: ValueId, activation: Activation) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        if activation == Activation::Geglu {
            return Err(GraphError::Geglu { name: name.to_owned() });
        }
        self.push(name, Op::Activate { x, activation }, s)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.activate(name, x, Activation::Relu)
    }

    /// `x / (1 + exp(-x))`.
    pub fn silu(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.activate(name, x, Activation::Silu)
    }

    /// `x Φ(x)`, Φ the distribution function of the standard normal.
    pub fn gelu(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        self.activate(name, x, Activation::Gelu)
    }

    /// `a + b`, equal shapes.
    pub fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        let (expected, found) = (self.found(name, a)?, self.found(name, b)?);
        self.same(name, "add", found, expected)?;
        self.push(name, Op::Add { a, b }, expected)
    }

    /// `a * b`, element by element.
    pub fn multiply(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        let (found, expected) = (self.found(name, b)?, self.found(name, a)?);
        self.same(name, "multiply", found, expected)?;
        self.push(name, Op::Multiply { a, b }, expected)
    }

    /// `x + v`, `v` of shape `(n, 1, 1, c)` broadcast over rows and columns.
    pub fn add_channels(&mut self, name: &str, x: ValueId, v: ValueId) -> Result<ValueId, GraphError> {
        let (s, found) = (self.found(name, x)?, self.found(name, v)?);
        self.same(name, "add_channels", found, Shape::vector(s.n, s.c))?;
        self.push(name, Op::AddChannels { x, v }, s)
    }

    /// The largest of each 2 x 2 square.
    pub fn max_pool2(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        if s.h % 2 != 0 || s.w % 2 != 0 {
            let rule = "both sides must be even";
            return Err(GraphError::Size { name: name.to_owned(), kind: "max_pool2", found: s, rule });
        }
        self.push(name, Op::MaxPool2 { x, add: None }, Shape { h: s.h / 2, w: s.w / 2, ..s })
    }

    /// The average of each 2 x 2 square: sides halved, an odd one to the larger half, where squares are averaged that are not whole.
    pub fn avg_pool2(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        self.push(name, Op::AvgPool2 { x }, Shape { h: s.h.div_ceil(2), w: s.w.div_ceil(2), ..s })
    }

    /// Twice the size, bilinear with half-pixel centres.
    pub fn upsample_bilinear2(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        self.push(name, Op::UpsampleBilinear2 { x }, Shape { h: s.h * 2, w: s.w * 2, ..s })
    }

    /// Twice the size, each pixel repeated.
    pub fn upsample_nearest2(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        self.upsample_nearest(name, x, [s.h * 2, s.w * 2])
    }

    /// To that height and width: twice the size, or a row or a column less, which is the last.
    pub fn upsample_nearest(&mut self, name: &str, x: ValueId, [h, w]: [usize; 2]) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        if h.div_ceil(2) != s.h || w.div_ceil(2) != s.w {
            let rule = "half the sides of what it becomes, rounded up";
            return Err(GraphError::Size { name: name.to_owned(), kind: "upsample_nearest2", found: s, rule });
        }
        self.push(name, Op::UpsampleNearest2 { x }, Shape { h, w, ..s })
    }

    /// The channels of `a`, then those of `b`.
    pub fn concat(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        let (s, found) = (self.found(name, a)?, self.found(name, b)?);
        self.same(name, "concat", found, Shape { c: found.c, ..s })?;
        self.push(name, Op::Concat { a, b, add: None }, Shape { c: s.c + found.c, ..s })
    }

    /// The sine and cosine code of `t`, of shape `(n, 1, 1, 1)`, in `dim` elements.
    pub fn position_encoding(&mut self, name: &str, t: ValueId, dim: usize) -> Result<ValueId, GraphError> {
        let s = self.found(name, t)?;
        self.same(name, "position_encoding", s, Shape::vector(s.n, 1))?;
        self.push(name, Op::PositionEncoding { t, dim }, Shape::vector(s.n, dim))
    }

    pub(super) fn id_count(&self, name: &str, ids: IdsId) -> Result<usize, GraphError> {
        let foreign = || GraphError::Foreign { name: name.to_owned(), index: ids.index() };
        self.ids.get(ids.index()).map(|&(_, n)| n).ok_or_else(foreign)
    }

    /// `x + gate * b`, `gate` of shape `(n, 1, 1, c)` broadcast over rows and columns.
    pub fn gated_add(&mut self, name: &str, x: ValueId, gate: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        let (s, vector, found) = (self.found(name, x)?, self.found(name, gate)?, self.found(name, b)?);
        self.same(name, "gated_add", vector, Shape::vector(s.n, s.c))?;
        self.same(name, "gated_add", found, s)?;
        self.push(name, Op::GatedAdd { x, gate, b }, s)
    }

    /// `channels` channels of `x`, from `from` on.
    pub fn slice(&mut self, name: &str, x: ValueId, from: usize, channels: usize) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        if from.checked_add(channels).is_none_or(|end| end > s.c) {
            let rule = "at most the channels that there are, less those of the slice";
            return Err(GraphError::Parameter { name: name.to_owned(), parameter: "from", found: from, rule });
        }
        self.push(name, Op::Slice { x, from }, Shape { c: channels, ..s })
    }

    pub(super) fn divides(
        &self,
        name: &str,
        parameter: &'static str,
        found: usize,
        channels: usize,
    ) -> Result<(), GraphError> {
        if found > 0 && channels.is_multiple_of(found) {
            return Ok(());
        }
        let rule = "a divisor of the number of channels";
        Err(GraphError::Parameter { name: name.to_owned(), parameter, found, rule })
    }

    fn layer(
        &mut self,
        name: &str,
        kind: WeightKind,
        out: usize,
        bias: bool,
    ) -> Result<(WeightId, Option<WeightId>), GraphError> {
        let weight = self.weight(&format!("{name}.weight"), kind)?;
        let kind = WeightKind::Vector { len: out };
        let bias = if bias { Some(self.weight(&format!("{name}.bias"), kind)?) } else { None };
        Ok((weight, bias))
    }

    pub(super) fn weight(&mut self, name: &str, kind: WeightKind) -> Result<WeightId, GraphError> {
        self.derived(name, kind, Derivation::Stored)
    }

    /// A weight that is made from the tensor of that name.
    pub(super) fn derived(
        &mut self,
        name: &str,
        kind: WeightKind,
        derivation: Derivation,
    ) -> Result<WeightId, GraphError> {
        let [inp, kw, kh, out] = kind.ne().map(|n| n as usize);
        self.extent(name, Shape::new(out, kh, kw, inp))?;
        // A layer used twice shares its tensor.
        if let Some(i) = self.weights.iter().position(|w| w.name == name && w.derivation == derivation) {
            let first = self.weights[i].kind;
            if first != kind {
                return Err(GraphError::Weight { name: name.to_owned(), first: first.ne(), second: kind.ne() });
            }
            return Ok(WeightId(i as u32));
        }
        self.weights.push(Weight { name: name.to_owned(), kind, derivation });
        Ok(WeightId(self.weights.len() as u32 - 1))
    }

    pub(super) fn push(&mut self, name: &str, op: Op<ValueId>, shape: Shape) -> Result<ValueId, GraphError> {
        let output = self.value(name, shape)?;
        self.nodes.push(Node { name: name.to_owned(), op, output });
        Ok(output)
    }

    fn value(&mut self, name: &str, shape: Shape) -> Result<ValueId, GraphError> {
        self.extent(name, shape)?;
        self.values.push(shape);
        Ok(ValueId(self.values.len() as u32 - 1))
    }

    fn extent(&self, name: &str, found: Shape) -> Result<(), GraphError> {
        match found.checked_elements() {
            Some(1..=MAX_ELEMENTS) => Ok(()),
            _ => Err(GraphError::Extent { name: name.to_owned(), found, limit: MAX_ELEMENTS }),
        }
    }

    pub(super) fn found(&self, name: &str, value: ValueId) -> Result<Shape, GraphError> {
        let foreign = || GraphError::Foreign { name: name.to_owned(), index: value.index() };
        self.values.get(value.index()).copied().ok_or_else(foreign)
    }

    pub(super) fn same(&self, name: &str, kind: &'static str, found: Shape, expected: Shape) -> Result<(), GraphError> {
        if found == expected {
            return Ok(());
        }
        Err(GraphError::Shape { name: name.to_owned(), kind, found, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(g: &mut Graph, h: usize, c: usize) -> ValueId {
        g.input("x", Shape::new(2, h, h, c)).unwrap()
    }

    #[test]
    fn shapes_are_inferred() {
        let mut g = Graph::new();
        let x = picture(&mut g, 8, 3);
        let y = g.conv2d("conv", x, 5, [3, 2, 1], true).unwrap();
        assert_eq!(g.shape(y), Shape::new(2, 4, 4, 5));
        let y = g.max_pool2("pool", y).unwrap();
        let y = g.upsample_nearest2("up", y).unwrap();
        let z = g.upsample_bilinear2("up2", y).unwrap();
        let z = g.concat("cat", z, x).unwrap();
        assert_eq!(g.shape(z), Shape::new(2, 8, 8, 8));
        assert_eq!(g.weights()[0].kind.ne(), [3, 3, 3, 5]);
        assert_eq!(g.parameters(), 5 * 3 * 3 * 3 + 5);
    }

    #[test]
    fn a_mismatch_names_the_operation_and_both_shapes() {
        let mut g = Graph::new();
        let x = picture(&mut g, 8, 3);
        let y = g.max_pool2("pool", x).unwrap();
        let error = g.add("skip", x, y).unwrap_err();
        assert_eq!(alloc::string::ToString::to_string(&error), "skip: add got 2x4x4x3, expected 2x8x8x3");
        assert!(matches!(g.add_channels("time", x, y), Err(GraphError::Shape { .. })));
        assert!(matches!(g.concat("cat", x, y), Err(GraphError::Shape { .. })));
        assert!(matches!(g.position_encoding("pos", x, 4), Err(GraphError::Shape { .. })));
    }

    #[test]
    fn sizes_and_parameters_are_checked() {
        let mut g = Graph::new();
        let x = picture(&mut g, 7, 3);
        assert!(matches!(g.max_pool2("pool", x), Err(GraphError::Size { .. })));
        assert!(matches!(g.conv2d("c", x, 4, [9, 1, 0], true), Err(GraphError::Size { .. })));
        assert!(matches!(g.conv2d("c", x, 4, [3, 0, 1], true), Err(GraphError::Parameter { .. })));
        assert!(matches!(g.conv2d("c", x, 4, [3, 1, 3], true), Err(GraphError::Parameter { .. })));
        assert!(matches!(g.conv2d("c", x, 0, [3, 1, 1], true), Err(GraphError::Extent { .. })));
        assert!(matches!(g.linear("l", x, usize::MAX, true), Err(GraphError::Extent { .. })));
        let big = Shape::new(usize::MAX, 2, 1, 1);
        assert!(matches!(g.input("big", big), Err(GraphError::Extent { .. })));
        assert!(matches!(g.relu("r", ValueId(99)), Err(GraphError::Foreign { .. })));
    }

    #[test]
    fn gated_layers_are_checked() {
        let mut g = Graph::new();
        let x = picture(&mut g, 4, 12);
        let y = g.linear_geglu("ff", x, 7, true).unwrap();
        assert_eq!(g.shape(y), Shape::new(2, 4, 4, 7));
        assert_eq!(g.weights()[0].kind, WeightKind::Linear { out: 14, inp: 12 });
        assert_eq!(g.weights()[1].kind, WeightKind::Vector { len: 14 });
        assert!(matches!(g.activate("g", x, Activation::Geglu), Err(GraphError::Geglu { .. })));
        assert!(matches!(g.linear_geglu("g", x, usize::MAX, true), Err(GraphError::Extent { .. })));
    }

    #[test]
    fn a_tensor_has_one_shape() {
        let mut g = Graph::new();
        let x = picture(&mut g, 4, 3);
        let y = g.linear("l", x, 3, true).unwrap();
        g.linear("l", y, 3, true).unwrap();
        assert_eq!(g.weights().len(), 2);
        assert!(matches!(g.linear("l", y, 4, true), Err(GraphError::Weight { .. })));
    }
}
