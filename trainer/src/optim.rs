//! AdamW on dfdx's fused kernel with a state of our own, so that it can be saved and resumed.
use crate::ops::Kit;
use crate::param::{Kind, Module, State, Values, Visitor};
use dfdx::optim::{AdamConfig, WeightDecay};
use dfdx::prelude::*;

/// Settings of the optimizer. Kingma and Ba 2015; Loshchilov and Hutter 2019.
#[derive(Clone, Debug)]
pub struct AdamW {
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Decoupled weight decay; 0 is Adam.
    pub weight_decay: f64,
    /// Steps over which the learning rate rises linearly from 0.
    pub warmup: u64,
    /// Largest norm of all gradients together; longer ones are scaled down.
    pub clip: Option<f64>,
}

/// The optimizer and its moments.
pub struct Optimizer<D: Kit> {
    settings: AdamW,
    /// Updates made so far.
    pub updates: u64,
    first: Gradients<f32, D>,
    second: Gradients<f32, D>,
}

impl<D: Kit> Optimizer<D> {
    /// An optimizer that has made no update yet.
    pub fn new(settings: AdamW) -> Self {
        Self { settings, updates: 0, first: Gradients::leaky(), second: Gradients::leaky() }
    }

    /// The learning rate of the next update.
    pub fn lr(&self) -> f64 {
        let rise = (self.updates + 1) as f64 / (self.settings.warmup + 1) as f64;
        self.settings.lr * rise.min(1.0)
    }

    /// Changes the learning rate, moments and count kept: for schedules other than warm-up.
    pub fn set_lr(&mut self, lr: f64) {
        self.settings.lr = lr;
    }

    /// One update; `skip` names parameters that had no part in this step's loss, and so keep value and moments (as PyTorch
    /// does where a gradient is `None`). The gradients are zero afterwards, ready for the next step. Returns their norm before
    /// clipping.
    pub fn update<M: Module<D>>(
        &mut self,
        model: &mut M,
        gradients: &mut Gradients<f32, D>,
        skip: Option<&str>,
    ) -> f64 {
        gradients.drop_non_leafs();
        let norm = crate::param::gradient_norm(model, gradients);
        let scale = self.settings.clip.map_or(1.0, |c| (c / (norm + 1e-6)).min(1.0));
        let config = AdamConfig {
            lr: self.lr(),
            weight_decay: Some(self.settings.weight_decay).filter(|w| *w > 0.0).map(WeightDecay::Decoupled),
            ..Default::default()
        };
        self.updates += 1;
        model.visit("", &mut Update { optimizer: self, gradients, config, scale: scale as f32, skip });
        norm
    }

    /// The moments by name, under `adam.m.` and `adam.v.`.
    pub fn state<M: Module<D>>(&mut self, model: &mut M) -> State {
        let mut save = Save(self, State::new());
        model.visit("", &mut save);
        save.1
    }

    /// Takes moments from `state`; the error names what is missing or misshapen.
    pub fn load<M: Module<D>>(&mut self, model: &mut M, state: &State) -> Result<(), String> {
        let mut load = Load(self, state, Ok(()));
        model.visit("", &mut load);
        load.2
    }
}

struct Update<'a, D: Kit> {
    optimizer: &'a mut Optimizer<D>,
    gradients: &'a mut Gradients<f32, D>,
    config: AdamConfig,
    scale: f32,
    skip: Option<&'a str>,
}
impl<D: Kit> Visitor<D> for Update<'_, D> {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
        if kind != Kind::Weight || self.skip == Some(name) {
            return;
        }
        let (ghost, allocated) = (t.ghost(), "allocation of an optimizer buffer");
        let g = self.gradients.get_or_alloc_mut(&ghost).expect(allocated);
        let o = &mut *self.optimizer;
        let (m, v) =
            (o.first.get_or_alloc_mut(&ghost).expect(allocated), o.second.get_or_alloc_mut(&ghost).expect(allocated));
        D::adam(&self.config, o.updates as i32, self.scale, t, [m, v], g);
    }
}

/// Gradient descent: `w -= lr g`, for networks so small that each step may pass through the host.
pub fn descend<D: Kit, M: Module<D>>(model: &mut M, gradients: Gradients<f32, D>, lr: f32) {
    struct Descend<D: Kit>(Gradients<f32, D>, f32);
    impl<D: Kit> Visitor<D> for Descend<D> {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
            if kind == Kind::Weight {
                let g = self.0.get_or_alloc_mut(&*t).expect("allocation of a gradient");
                let g = t.device().download(g);
                let new: Vec<f32> = t.as_vec().iter().zip(g).map(|(w, g)| w - self.1 * g).collect();
                t.copy_from(&new);
            }
        }
    }
    model.visit("", &mut Descend(gradients, lr));
}

struct Save<'a, D: Kit>(&'a mut Optimizer<D>, State);
impl<D: Kit> Visitor<D> for Save<'_, D> {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
        if kind == Kind::Weight {
            let shape: Vec<usize> = t.shape().concrete().into_iter().collect();
            for (prefix, moments) in [("adam.m.", &mut self.0.first), ("adam.v.", &mut self.0.second)] {
                let data = t.device().download(moments.get_or_alloc_mut(&*t).expect("allocation of a moment"));
                self.1.insert(format!("{prefix}{name}"), Values { shape: shape.clone(), data });
            }
        }
    }
}

struct Load<'a, D: Kit>(&'a mut Optimizer<D>, &'a State, Result<(), String>);
impl<D: Kit> Visitor<D> for Load<'_, D> {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
        if kind != Kind::Weight || self.2.is_err() {
            return;
        }
        for (prefix, moments) in [("adam.m.", &mut self.0.first), ("adam.v.", &mut self.0.second)] {
            let key = format!("{prefix}{name}");
            match self.1.get(&key) {
                Some(v) if v.data.len() == t.shape().num_elements() => {
                    t.device().upload(moments.get_or_alloc_mut(&*t).expect("allocation of a moment"), &v.data);
                }
                Some(v) => self.2 = Err(format!("tensor {key} has shape {:?}, which does not fit", v.shape)),
                None => self.2 = Err(format!("tensor {key} is missing")),
            }
        }
    }
}
