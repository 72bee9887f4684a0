//! The walk: forward block by block, and back.
use super::adapter::{Adapter, Factors};
use super::frozen::Frozen;
use crate::error::{Error, Result};
use crate::ops::cpu::parallel::prelude::*;
use nijimi_runtime::raw::cpu::Context;
use nijimi_runtime::raw::graph::{Graph, Node, ValueId, WeightId};
use std::ops::Range;

/// An operation of which no gradient is known.
pub(super) fn no_gradient(node: &Node) -> Error {
    let (name, kind) = (&node.name, node.op.kind());
    Error::File(format!("{name}: the gradient of {kind} is not known: this network can be drawn with, but not trained"))
}

/// One network at one size, with what is trained beside its weights.
pub struct Walk<'a> {
    pub(super) graph: &'a Graph,
    pub(super) frozen: &'a Frozen<'a>,
    pub(super) ctx: &'a Context,
    adapters: Vec<Option<Adapter<'a>>>,
    /// Whether a value depends on what gradients are wanted of.
    pub(super) depends: Vec<bool>,
    blocks: Vec<Range<usize>>,
    /// The node that reads a value last; outputs are read after all.
    last: Vec<usize>,
}

/// What a forward pass leaves for the way back.
pub struct Kept {
    values: Vec<Option<Vec<f32>>>,
    ids: Vec<Vec<Option<u32>>>,
}

/// What the way back brings.
pub struct Gradients {
    /// Of each adapter's factors, by its number.
    pub factors: Vec<Option<Factors>>,
    /// Of the inputs, in the graph's order, of those that were wanted.
    pub inputs: Vec<Option<Vec<f32>>>,
}

/// To which block an operation belongs: a residual block, or one of a transformer.
fn block(name: &str) -> &str {
    let words = ["resnets.", "transformer_blocks.", "layers."];
    let found = words.iter().filter_map(|word| name.rfind(word).map(|at| at + word.len())).max();
    match found {
        Some(at) => &name[..name[at..].find('.').map_or(name.len(), |dot| at + dot)],
        None => name.rsplit_once('.').map_or(name, |(start, _)| start),
    }
}

/// Runs of operations of one block.
fn blocks(graph: &Graph) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    let nodes = graph.nodes();
    for i in 0..nodes.len() {
        match blocks.last_mut() {
            Some(last) if block(&nodes[last.start].name) == block(&nodes[i].name) => last.end = i + 1,
            _ => blocks.push(i..i + 1),
        }
    }
    blocks
}

/// The weight of a layer with a matrix.
pub fn weight_of(node: &Node) -> Option<WeightId> {
    use nijimi_runtime::raw::graph::Op;
    match node.op {
        Op::Conv2d { weight, .. } | Op::Linear { weight, .. } => Some(weight),
        _ => None,
    }
}

impl<'a> Walk<'a> {
    /// A walk over `graph`, whose weights are `frozen`; `adapters` are by weight. Gradients are wanted of the adapters, and
    /// of inputs that `wanted` names.
    pub fn new(
        graph: &'a Graph,
        frozen: &'a Frozen<'a>,
        ctx: &'a Context,
        adapters: Vec<Option<Adapter<'a>>>,
        wanted: &[&str],
    ) -> Self {
        let nodes = graph.nodes();
        let mut last = vec![0; graph.values().len()];
        let mut depends = vec![false; graph.values().len()];
        let inputs = graph.inputs().iter().filter(|port| wanted.contains(&&*port.name));
        inputs.for_each(|port| depends[port.value.index()] = true);
        for (i, node) in nodes.iter().enumerate() {
            let adapted = weight_of(node).is_some_and(|w| adapters.get(w.index()).is_some_and(Option::is_some));
            depends[node.output.index()] = adapted || node.op.reads().any(|v| depends[v.index()]);
            node.op.reads().for_each(|v| last[v.index()] = i);
        }
        graph.outputs().iter().for_each(|port| last[port.value.index()] = usize::MAX);
        Self { graph, frozen, ctx, adapters, depends, blocks: blocks(graph), last }
    }

    pub(super) fn adapter(&self, weight: WeightId) -> Option<&Adapter<'a>> {
        self.adapters.get(weight.index())?.as_ref()
    }

    fn input(&self, name: &str) -> Result<ValueId> {
        let port = self.graph.inputs().iter().find(|port| port.name == name);
        Ok(port.ok_or_else(|| Error::Internal(format!("the network has no input {name}")))?.value)
    }

    /// The network's value of an output.
    ///
    /// # Panics
    /// If the graph has no output of that name.
    pub fn output<'k>(&self, kept: &'k Kept, name: &str) -> &'k [f32] {
        let port = self.graph.outputs().iter().find(|port| port.name == name).expect("a known output");
        kept.values[port.value.index()].as_deref().expect("an output stays")
    }

    /// Executes the network. `ids` are those of its inputs of ids.
    ///
    /// # Errors
    /// An operation without a gradient; an input that is not the network's, or has another length.
    pub fn forward(&self, inputs: &[(&str, &[f32])], ids: Vec<Vec<Option<u32>>>) -> Result<Kept> {
        let mut values: Vec<Option<Vec<f32>>> = vec![None; self.graph.values().len()];
        for (name, given) in inputs {
            let value = self.input(name)?;
            let expected = self.graph.shape(value).elements();
            if given.len() != expected {
                return Err(Error::Internal(format!("{name} has {} numbers, not {expected}", given.len())));
            }
            values[value.index()] = Some(given.to_vec());
        }
        let nodes = self.graph.nodes();
        for block in &self.blocks {
            for i in block.clone() {
                let (y, _) = self.compute(&nodes[i], &values, &ids)?;
                values[nodes[i].output.index()] = Some(y);
                // What only this block reads is made again on the way back.
                for node in &nodes[block.start..i] {
                    let v = node.output.index();
                    if self.last[v] <= i {
                        values[v] = None;
                    }
                }
            }
        }
        Ok(Kept { values, ids })
    }

    /// The gradients of what is trained, where those of the outputs are `of`, each by its output's name.
    ///
    /// # Errors
    /// As of [`Self::forward`].
    pub fn backward(&self, kept: Kept, of: Vec<(&str, Vec<f32>)>) -> Result<Gradients> {
        let Kept { mut values, ids } = kept;
        let nodes = self.graph.nodes();
        let mut gradients: Vec<Option<Vec<f32>>> = vec![None; values.len()];
        for (name, g) in of {
            let port = self.graph.outputs().iter().find(|port| port.name == name);
            let port = port.ok_or_else(|| Error::Internal(format!("the network has no output {name}")))?;
            gradients[port.value.index()] = Some(g);
        }
        let count = self.adapters.iter().flatten().map(|a| a.index + 1).max().unwrap_or(0);
        let mut factors: Vec<Option<Factors>> = vec![None; count];
        for block in self.blocks.iter().rev() {
            let reached = |gradients: &[Option<Vec<f32>>], node: &Node| {
                gradients[node.output.index()].is_some() && self.depends[node.output.index()]
            };
            let mut pre = vec![None; block.len()];
            if block.clone().any(|i| self.depends[nodes[i].output.index()]) {
                for i in block.clone() {
                    // A gated layer's features are not kept with its result.
                    if values[nodes[i].output.index()].is_none() || is_gated(&nodes[i]) {
                        let (y, features) = self.compute(&nodes[i], &values, &ids)?;
                        values[nodes[i].output.index()] = Some(y);
                        pre[i - block.start] = features;
                    }
                }
            }
            for i in block.clone().rev() {
                if reached(&gradients, &nodes[i]) {
                    let go = gradients[nodes[i].output.index()].take().unwrap_or_default();
                    let through = self.through(&nodes[i], &values, pre[i - block.start].as_deref(), &ids, go)?;
                    for (value, g) in through.values {
                        if self.depends[value.index()] {
                            add(&mut gradients[value.index()], g);
                        }
                    }
                    if let Some((index, own)) = through.factors {
                        factors[index].get_or_insert_default().add(&own, 1.0);
                    }
                }
                gradients[nodes[i].output.index()] = None;
                values[nodes[i].output.index()] = None;
            }
        }
        let inputs = self.graph.inputs().iter().map(|port| gradients[port.value.index()].take()).collect();
        Ok(Gradients { factors, inputs })
    }

    /// The most bytes that values and gradients of a graph take at once, the weights not counted.
    pub fn bytes(graph: &Graph) -> usize {
        let (nodes, mut last) = (graph.nodes(), vec![0; graph.values().len()]);
        for (i, node) in nodes.iter().enumerate() {
            node.op.reads().for_each(|v| last[v.index()] = i);
        }
        let size = |i: usize| size_of::<f32>() * graph.shape(nodes[i].output).elements();
        let (mut across, mut most) = (0, 0);
        for block in blocks(graph) {
            // A gated layer's features are twice as many as it makes.
            let own: usize = block.clone().map(|i| if is_gated(&nodes[i]) { 3 * size(i) } else { size(i) }).sum();
            let largest = block.clone().map(size).max().unwrap_or(0);
            let stays = block.clone().filter(|i| last[nodes[*i].output.index()] >= block.end);
            across += stays.map(size).sum::<usize>();
            // Values, their gradients, and heads apart of what attention reads and makes.
            most = most.max(2 * own + 8 * largest);
        }
        // Gradients of what goes from block to block wait as the values do.
        2 * across + most
    }
}

fn is_gated(node: &Node) -> bool {
    use nijimi_runtime::raw::graph::{Activation, Op};
    matches!(node.op, Op::Linear { activation: Activation::Geglu, .. })
}

fn add(sum: &mut Option<Vec<f32>>, g: Vec<f32>) {
    match sum {
        None => *sum = Some(g),
        Some(sum) => {
            sum.par_chunks_mut(1 << 13).zip(g.par_chunks(1 << 13)).for_each(|(sum, g)| {
                sum.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
            });
        }
    }
}
