//! AdamW on dfdx's fused kernel with a state of our own, so that it can be saved and resumed.
use crate::fingerprint::Fingerprint;
use crate::ops::cpu::muon::orthogonalize;
use crate::ops::cpu::parallel::prelude::*;
use crate::ops::{Kit, Precision};
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
    /// Whether matrices are updated by Muon (Jordan et al. 2024) instead, with products in this precision, and at the same
    /// learning rate and decay as the rest (Liu et al. 2025, "Muon is scalable for LLM training"). A convolution is the matrix
    /// (outputs, inputs times taps). Tables of embeddings, biases, scales and what has fewer than 16 rows or columns are not.
    pub muon: Option<Precision>,
}

/// Muon's momentum, and the share of the learning rate that makes its steps as long as Adam's.
const MOMENTUM: f32 = 0.95;
const LENGTH: f32 = 0.2;
/// Rows and columns from which a tensor counts as a matrix.
const LEAST_SIDE: usize = 16;

impl AdamW {
    /// A run's settings with these, under the options' names.
    pub fn named(&self, settings: Fingerprint) -> Fingerprint {
        let settings = settings.with("--lr", self.lr).with("--warmup", self.warmup).maybe("--clip", self.clip);
        let optimizer = if self.muon.is_some() { "muon" } else { "adamw" };
        settings.with("--weight-decay", self.weight_decay).with("--optimizer", optimizer)
    }

    /// Rows and columns of a tensor that Muon updates.
    fn matrix<S: Shape>(&self, shape: &S, kind: Kind) -> Option<[usize; 2]> {
        let sides: Vec<usize> = shape.concrete().into_iter().collect();
        let [rows, columns] = [*sides.first()?, sides[1..].iter().product()];
        let is = self.muon.is_some() && kind == Kind::Weight && sides.len() > 1 && rows.min(columns) >= LEAST_SIDE;
        is.then_some([rows, columns])
    }
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
        let mut update = Update { optimizer: self, gradients, config, scale: scale as f32, skip, turns: Vec::new() };
        model.visit("", &mut update);
        let mut turns = update.turns;
        if let Some(precision) = self.settings.muon {
            let bf16 = if let Precision::Bf16(cpu) = precision { Some(cpu) } else { None };
            let mut order: Vec<&mut Turn> = turns.iter_mut().collect();
            order.sort_by_key(|t| std::cmp::Reverse(t.direction.len()));
            order.into_par_iter().for_each_alone(|t| orthogonalize(bf16, &mut t.direction, t.sides[0], t.sides[1]));
            model.visit("", &mut Walk { turns: turns.into_iter().peekable(), config: &config });
        }
        norm
    }

    /// The moments that a tensor has, with what comes before its name.
    fn moments<S: Shape>(&mut self, shape: &S, kind: Kind) -> Vec<(&'static str, &mut Gradients<f32, D>)> {
        if self.settings.matrix(shape, kind).is_some() {
            return vec![("muon.m.", &mut self.first)];
        }
        vec![("adam.m.", &mut self.first), ("adam.v.", &mut self.second)]
    }

    /// The moments by name, under `adam.m.` and `adam.v.`; of what Muon updates under `muon.m.`.
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
    turns: Vec<Turn>,
}

/// Where a matrix is to go.
struct Turn {
    name: String,
    sides: [usize; 2],
    direction: Vec<f32>,
}

impl<D: Kit> Visitor<D> for Update<'_, D> {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
        if !kind.trained() || self.skip == Some(name) {
            return;
        }
        let (ghost, allocated) = (t.ghost(), "allocation of an optimizer buffer");
        let g = self.gradients.get_or_alloc_mut(&ghost).expect(allocated);
        let o = &mut *self.optimizer;
        if let Some(sides) = o.settings.matrix(t.shape(), kind) {
            let m = o.first.get_or_alloc_mut(&ghost).expect(allocated);
            let direction = t.device().nesterov(m, g, MOMENTUM, self.scale);
            self.turns.push(Turn { name: name.into(), sides, direction });
            return;
        }
        let (m, v) =
            (o.first.get_or_alloc_mut(&ghost).expect(allocated), o.second.get_or_alloc_mut(&ghost).expect(allocated));
        D::adam(&self.config, o.updates as i32, self.scale, t, [m, v], g);
    }
}

/// Takes matrices along their directions.
struct Walk<'a> {
    turns: std::iter::Peekable<std::vec::IntoIter<Turn>>,
    config: &'a AdamConfig,
}
impl<D: Kit> Visitor<D> for Walk<'_> {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, D>, _: Kind) {
        if let Some(turn) = self.turns.next_if(|turn| turn.name == name) {
            let lr = self.config.lr as f32;
            let decay = if let Some(WeightDecay::Decoupled(w)) = self.config.weight_decay { w as f32 } else { 0.0 };
            let longer = turn.sides[0].max(turn.sides[1]) as f32;
            D::walk(t, &turn.direction, lr * LENGTH * longer.sqrt(), lr * decay);
        }
    }
}

/// Gradient descent: `w -= lr g`, for networks so small that each step may pass through the host.
pub fn descend<D: Kit, M: Module<D>>(model: &mut M, gradients: Gradients<f32, D>, lr: f32) {
    struct Descend<D: Kit>(Gradients<f32, D>, f32);
    impl<D: Kit> Visitor<D> for Descend<D> {
        fn visit<S: Shape>(&mut self, _: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
            if kind.trained() {
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
        if kind.trained() {
            let shape: Vec<usize> = t.shape().concrete().into_iter().collect();
            for (prefix, moments) in self.0.moments(t.shape(), kind) {
                let data = t.device().download(moments.get_or_alloc_mut(&*t).expect("allocation of a moment"));
                self.1.insert(format!("{prefix}{name}"), Values { shape: shape.clone(), data });
            }
        }
    }
}

struct Load<'a, D: Kit>(&'a mut Optimizer<D>, &'a State, Result<(), String>);
impl<D: Kit> Visitor<D> for Load<'_, D> {
    fn visit<S: Shape>(&mut self, name: &str, t: &mut Tensor<S, f32, D>, kind: Kind) {
        if !kind.trained() || self.2.is_err() {
            return;
        }
        for (prefix, moments) in self.0.moments(t.shape(), kind) {
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
