//! Parameters of run-time shape behind a visitor: optimizer, EMA, clipping, checkpoint and export are visitors.
use crate::ops::Kit;
use crate::tensor::Buffer;
use crate::world::World;
use dfdx::optim::UnusedTensors;
use dfdx::prelude::*;
use std::any::Any;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

/// What a tensor of a module is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Trained by the optimizer.
    Weight,
    /// Rows that are looked up by number: trained too, but no matrix that vectors are multiplied with.
    Table,
    /// State that a forward pass keeps, such as running averages.
    Buffer,
}

impl Kind {
    /// Whether the optimizer trains it.
    #[must_use]
    pub fn trained(self) -> bool {
        self != Self::Buffer
    }
}

/// Is shown every tensor of a module, by name.
pub trait Visitor<D: Kit> {
    /// One tensor; `name` is as in PyTorch's state dict.
    fn visit<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, D>, kind: Kind);
}

/// Something with parameters. A clone has parameters of its own, under the same tensor ids.
pub trait Module<D: Kit>: Clone {
    /// Shows every tensor, always in the same order; names begin with `prefix`.
    fn visit(&mut self, prefix: &str, visitor: &mut impl Visitor<D>);
}

/// Number of trained values.
pub fn count<D: Kit, M: Module<D>>(module: &mut M) -> usize {
    struct Count(usize);
    impl<D: Kit> Visitor<D> for Count {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
            if kind.trained() {
                self.0 += t.shape().num_elements();
            }
        }
    }
    let mut c = Count(0);
    module.visit("", &mut c);
    c.0
}

/// A tensor on the host: its shape and row-major values.
#[derive(Clone, PartialEq, Debug)]
pub struct Values {
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub data: Vec<f32>,
}

/// Tensors by name.
pub type State = BTreeMap<String, Values>;

/// Copies every tensor to the host, under `prefix` and its name.
pub fn state<D: Kit, M: Module<D>>(module: &mut M, prefix: &str) -> State {
    struct Save(State);
    impl<D: Kit> Visitor<D> for Save {
        fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, D>, _: Kind) {
            let shape = t.shape().concrete().into_iter().collect();
            self.0.insert(name.into(), Values { shape, data: t.as_vec() });
        }
    }
    let mut s = Save(State::new());
    module.visit(prefix, &mut s);
    s.0
}

/// Overwrites every tensor from `state`. The error names the tensor and both shapes.
pub fn load<D: Kit, M: Module<D>>(module: &mut M, prefix: &str, state: &State) -> Result<(), String> {
    struct Load<'a>(&'a State, Result<(), String>);
    impl<D: Kit> Visitor<D> for Load<'_> {
        fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, D>, _: Kind) {
            if self.1.is_err() {
                return;
            }
            let want: Vec<usize> = t.shape().concrete().into_iter().collect();
            match self.0.get(name) {
                None => self.1 = Err(format!("tensor {name} is missing")),
                Some(v) if v.shape != want => {
                    self.1 = Err(format!("tensor {name} has shape {:?}, this model expects {want:?}", v.shape));
                }
                Some(v) => t.copy_from(&v.data),
            }
        }
    }
    let mut l = Load(state, Ok(()));
    module.visit(prefix, &mut l);
    l.1
}

/// Gradient buffers of zero for every weight; what they are not asked for is dropped during the backward pass.
pub fn zero_gradients<D: Kit, M: Module<D>>(module: &mut M) -> Gradients<f32, D> {
    struct Zero<D: Kit>(Gradients<f32, D>, UnusedTensors);
    impl<D: Kit> Visitor<D> for Zero<D> {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
            if kind.trained() {
                self.0.try_alloc_for(&*t).expect("allocation of a gradient");
                self.1.add(&*t);
            }
        }
    }
    let mut z = Zero(Gradients::leaky(), UnusedTensors::default());
    module.visit("", &mut z);
    z.0.retain_leafs(&z.1.ids);
    z.0
}

/// The Euclidean norm of all gradients, summed in f64.
pub fn gradient_norm<D: Kit, M: Module<D>>(module: &mut M, gradients: &mut Gradients<f32, D>) -> f64 {
    struct Norm<'a, D: Kit>(&'a mut Gradients<f32, D>, f64);
    impl<D: Kit> Visitor<D> for Norm<'_, D> {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
            if kind.trained() {
                let g: &mut Buffer<D> = self.0.get_or_alloc_mut(&*t).expect("allocation of a gradient");
                self.1 += t.device().sum_squares(g);
            }
        }
    }
    let mut n = Norm(gradients, 0.0);
    module.visit("", &mut n);
    n.1.sqrt()
}

/// Of all processes' gradients the mean, weighted by `weight` (over all they sum to 1); also of buffers, such as running
/// averages. The same bits on all of them.
pub fn average_over<D: Kit, M: Module<D>>(
    world: &dyn World,
    module: &mut M,
    gradients: &mut Gradients<f32, D>,
    weight: f64,
) {
    struct Read<'a, D: Kit>(&'a mut Gradients<f32, D>, Vec<f32>);
    impl<D: Kit> Visitor<D> for Read<'_, D> {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
            match kind {
                Kind::Weight | Kind::Table => {
                    let g = self.0.get_or_alloc_mut(&*t).expect("allocation of a gradient");
                    self.1.extend(t.device().download(g));
                }
                Kind::Buffer => self.1.extend(t.as_vec()),
            }
        }
    }
    struct Write<'a, D: Kit>(&'a mut Gradients<f32, D>, &'a [f32]);
    impl<D: Kit> Visitor<D> for Write<'_, D> {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
            let (values, rest) = self.1.split_at(t.shape().num_elements());
            self.1 = rest;
            match kind {
                Kind::Weight | Kind::Table => {
                    let g = self.0.get_or_alloc_mut(&*t).expect("allocation of a gradient");
                    t.device().upload(g, values);
                }
                Kind::Buffer => t.copy_from(values),
            }
        }
    }
    let mut read = Read(gradients, Vec::new());
    module.visit("", &mut read);
    let Read(gradients, mut values) = read;
    values.iter_mut().for_each(|v| *v *= weight as f32);
    world.sum(&mut values);
    module.visit("", &mut Write(gradients, &values));
}

/// A number that tells the bits of all tensors from other ones.
pub fn checksum<D: Kit, M: Module<D>>(module: &mut M) -> f64 {
    struct Sum(DefaultHasher);
    impl<D: Kit> Visitor<D> for Sum {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, _: Kind) {
            self.0.write(bytemuck::cast_slice(&t.as_vec()));
        }
    }
    let mut s = Sum(DefaultHasher::new());
    module.visit("", &mut s);
    // As many bits as an f64 holds.
    (s.0.finish() >> 11) as f64
}

/// `average = decay * average + (1 - decay) * model`, buffers included.
pub fn average<D: Kit, M: Module<D>>(average: &mut M, model: &mut M, decay: f64) {
    // Clones share the model's values: nothing is copied. Shapes differ from one tensor to the next, hence `Any`.
    struct Read(Vec<Box<dyn Any>>);
    impl<D: Kit> Visitor<D> for Read {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, _: Kind) {
            self.0.push(Box::new(t.clone()));
        }
    }
    struct Mix(std::vec::IntoIter<Box<dyn Any>>, f64);
    impl<D: Kit> Visitor<D> for Mix {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, _: Kind) {
            let new = self.0.next().and_then(|v| v.downcast::<Tensor<S, f32, D>>().ok());
            D::average(t, &new.expect("both models have the same tensors"), self.1);
        }
    }
    let mut r = Read(Vec::new());
    model.visit("", &mut r);
    average.visit("", &mut Mix(r.0.into_iter(), decay));
}
