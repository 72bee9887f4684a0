//! Gradients as operations of the same graph: what a classifier needs to guide a diffusion model.

use super::{Activation, Derivation, Graph, GraphError, IdsId, Op, Shape, ValueId, WeightId, WeightKind};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

impl Graph {
    /// `log(softmax(x))` over the channels.
    pub fn log_softmax(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        self.push(name, Op::LogSoftmax { x }, s)
    }

    /// `onehot(ids[n]) - softmax(x)`, `x` of shape `(n, 1, 1, c)`: see [`Op::LogSoftmaxBackward`].
    pub fn log_softmax_backward(&mut self, name: &str, x: ValueId, ids: IdsId) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        let Some(&(_, n)) = self.ids.get(ids.index()) else {
            return Err(GraphError::Foreign { name: name.to_owned(), index: ids.index() });
        };
        self.same(name, "log_softmax_backward", s, Shape::vector(n, s.c))?;
        self.push(name, Op::LogSoftmaxBackward { x, ids }, s)
    }

    /// `g` where `relu` is above 0: see [`Op::ReluBackward`].
    pub fn relu_backward(&mut self, name: &str, g: ValueId, relu: ValueId) -> Result<ValueId, GraphError> {
        let (found, expected) = (self.found(name, g)?, self.found(name, relu)?);
        self.same(name, "relu_backward", found, expected)?;
        self.push(name, Op::ReluBackward { g, relu }, expected)
    }

    /// `g` at the largest of each square of `x`: see [`Op::MaxPool2Backward`].
    pub fn max_pool2_backward(&mut self, name: &str, x: ValueId, g: ValueId) -> Result<ValueId, GraphError> {
        let (s, found) = (self.found(name, x)?, self.found(name, g)?);
        let (h, w) = (found.h * 2, found.w * 2);
        self.same(name, "max_pool2_backward", s, Shape { h, w, ..found })?;
        self.push(name, Op::MaxPool2Backward { x, g }, s)
    }

    /// The same elements, in their order, as another shape.
    pub fn reshape(&mut self, name: &str, x: ValueId, shape: Shape) -> Result<ValueId, GraphError> {
        let found = self.found(name, x)?;
        if found.checked_elements() != shape.checked_elements() {
            return Err(GraphError::Shape { name: name.to_owned(), kind: "reshape", found, expected: shape });
        }
        self.push(name, Op::Activate { x, activation: Activation::None }, shape)
    }

    /// The gradient of `log(softmax(logits))[ids[n]]` with respect to `wrt`, which has its shape; zeros for a picture
    /// without an id. The pictures of a batch do not see each other, so this is each picture's own gradient.
    ///
    /// # Errors
    /// As [`Self::backward`], and logits that are not one row for each id.
    pub fn log_probability_gradient(
        &mut self,
        name: &str,
        logits: ValueId,
        ids: IdsId,
        wrt: ValueId,
    ) -> Result<ValueId, GraphError> {
        let g = self.log_softmax_backward(name, logits, ids)?;
        self.backward(name, logits, g, wrt)
    }

    /// The product of `gradient`, of the shape of `y`, and the derivative of `y` with respect to `wrt`, by a walk back
    /// from `y`. Operations of the gradient bear the names of those that they belong to, and `.backward`. It goes
    /// through convolutions of stride 1, linear layers, ReLU, additions (of a vector to a picture, to the picture), and
    /// 2x2 pooling.
    ///
    /// # Errors
    /// [`GraphError::NoGradient`] at another operation on the way, or if `y` does not depend on `wrt`.
    pub fn backward(&mut self, name: &str, y: ValueId, gradient: ValueId, wrt: ValueId) -> Result<ValueId, GraphError> {
        let (expected, found) = (self.found(name, y)?, self.found(name, gradient)?);
        self.same(name, "backward", found, expected)?;
        self.found(name, wrt)?;
        let mut depends = vec![false; self.values.len()];
        depends[wrt.index()] = true;
        for node in &self.nodes {
            depends[node.output.index()] |= node.op.reads().any(|value| depends[value.index()]);
        }
        let mut gradients: Vec<Option<ValueId>> = vec![None; self.values.len()];
        gradients[y.index()] = Some(gradient);
        for i in (0..self.nodes.len()).rev() {
            let (op, output) = (self.nodes[i].op, self.nodes[i].output);
            // What is before `wrt` does not matter.
            let (Some(Some(g)), true) = (gradients.get(output.index()).copied(), output != wrt) else { continue };
            if !depends[output.index()] {
                continue;
            }
            let own = format!("{}.backward", self.nodes[i].name);
            let [a, b] = self.through(&own, op, output, g, &depends)?;
            for (value, g) in [a, b].into_iter().flatten().filter(|(value, _)| depends[value.index()]) {
                let sum = match gradients[value.index()] {
                    Some(other) => self.add(&format!("{own}.sum"), other, g)?,
                    None => g,
                };
                gradients[value.index()] = Some(sum);
            }
        }
        gradients[wrt.index()]
            .ok_or_else(|| no_gradient(name, "what does not depend on the input", "ask for the gradient of what does"))
    }

    /// What of the gradient `g` of an operation's output reaches its operands.
    fn through(
        &mut self,
        name: &str,
        op: Op<ValueId>,
        output: ValueId,
        g: ValueId,
        depends: &[bool],
    ) -> Result<[Option<(ValueId, ValueId)>; 2], GraphError> {
        let none = Activation::None;
        let one = |x: ValueId, g: ValueId| Ok([Some((x, g)), None]);
        match op {
            Op::Conv2d {
                x, upsample: false, weight, kernel, pad: 0, pad_end: 0, residual: None, activation, ..
            } if activation == none && self.is_square(x, kernel) => {
                let s = self.found(name, x)?;
                let out = kernel * kernel * s.c;
                let kind = WeightKind::Linear { out, inp: self.found(name, g)?.c };
                let weight = self.weights[weight.index()].name.clone();
                let weight = self.derived(&weight, kind, Derivation::AdjointMatrix { kernel })?;
                let op = Op::Linear { x: g, weight, bias: None, residual: None, activation };
                let row = self.push(name, op, Shape::vector(s.n, out))?;
                one(x, self.reshape(&format!("{name}.picture"), row, s)?)
            }
            Op::Conv2d {
                x,
                upsample: false,
                weight,
                kernel,
                stride: 1,
                pad,
                pad_end,
                residual: None,
                activation,
                ..
            } if activation == none => {
                let (weight, shape) = (self.adjoint(weight)?, self.found(name, x)?);
                let (upsample, bias, residual, stride) = (false, None, None, 1);
                let (pad, pad_end) = (kernel - 1 - pad, kernel - 1 - pad_end);
                let op =
                    Op::Conv2d { x: g, upsample, weight, bias, kernel, stride, pad, pad_end, residual, activation };
                one(x, self.push(name, op, shape)?)
            }
            Op::Linear { x, weight, residual: None, activation, .. } if activation == none => {
                let (weight, shape) = (self.adjoint(weight)?, self.found(name, x)?);
                let op = Op::Linear { x: g, weight, bias: None, residual: None, activation };
                one(x, self.push(name, op, shape)?)
            }
            Op::Activate { x, activation: Activation::None } => {
                let shape = self.found(name, x)?;
                one(x, if self.found(name, g)? == shape { g } else { self.reshape(name, g, shape)? })
            }
            Op::Activate { x, activation: Activation::Relu } => one(x, self.relu_backward(name, g, output)?),
            Op::Add { a, b } => Ok([Some((a, g)), Some((b, g))]),
            Op::AddChannels { x, v } if !depends[v.index()] => one(x, g),
            Op::MaxPool2 { x, add: None } => one(x, self.max_pool2_backward(name, x, g)?),
            _ => Err(no_gradient(name, op.kind(), "build the network of operations that have one")),
        }
    }

    fn is_square(&self, x: ValueId, side: usize) -> bool {
        self.values.get(x.index()).is_some_and(|s| (s.h, s.w) == (side, side))
    }

    fn adjoint(&mut self, id: WeightId) -> Result<WeightId, GraphError> {
        let weight = self.weights[id.index()].clone();
        let kind = match (weight.derivation, weight.kind) {
            (Derivation::Stored, WeightKind::Conv { out, kernel, inp }) => {
                WeightKind::Conv { out: inp, kernel, inp: out }
            }
            (Derivation::Stored, WeightKind::Linear { out, inp }) => WeightKind::Linear { out: inp, inp: out },
            _ => return Err(no_gradient(&weight.name, "a gradient", "only first derivatives are known")),
        };
        self.derived(&weight.name, kind, Derivation::Adjoint)
    }
}

fn no_gradient(name: &str, kind: &'static str, remedy: &'static str) -> GraphError {
    GraphError::NoGradient { name: name.to_owned(), kind, remedy }
}
