//! Several graphs on the tensors of one file.

use super::{Graph, GraphError, Weight, WeightId};
use alloc::vec::Vec;

/// Gives graphs one list of weights: those of all of them, each once, in the order in which they first appear. One set
/// of packed weights then serves all, such as an encoder and a decoder in one file.
///
/// # Errors
/// [`GraphError::Weight`] if two graphs use one tensor with different shapes.
pub fn share_weights(graphs: &mut [Graph]) -> Result<(), GraphError> {
    let mut all: Vec<Weight> = Vec::new();
    for graph in graphs.iter_mut() {
        let mut places = Vec::with_capacity(graph.weights.len());
        for weight in &graph.weights {
            let same = |w: &Weight| w.name == weight.name && w.derivation == weight.derivation;
            let place = all.iter().position(same);
            if let Some(first) = place.map(|i| all[i].kind).filter(|kind| *kind != weight.kind) {
                let (first, second) = (first.ne(), weight.kind.ne());
                return Err(GraphError::Weight { name: weight.name.clone(), first, second });
            }
            places.push(WeightId(place.unwrap_or(all.len()) as u32));
            if place.is_none() {
                all.push(weight.clone());
            }
        }
        for node in &mut graph.nodes {
            node.op.weights_mut().into_iter().flatten().for_each(|id| *id = places[id.index()]);
        }
    }
    graphs.iter_mut().for_each(|graph| graph.weights.clone_from(&all));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Op, Shape};
    use alloc::vec;

    fn layers(names: &[&str], width: usize) -> Graph {
        let mut g = Graph::new();
        let mut x = g.input("x", Shape::vector(1, width)).unwrap();
        for name in names {
            x = g.linear(name, x, width, true).unwrap();
        }
        g.output("y", x).unwrap();
        g
    }

    /// Seen red with each graph's own numbers left in place.
    #[test]
    fn a_tensor_of_two_graphs_is_one_weight() {
        let mut graphs = vec![layers(&["a", "b"], 4), layers(&["c", "b"], 4)];
        share_weights(&mut graphs).unwrap();
        let names: Vec<&str> = graphs[0].weights().iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names, ["a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias"]);
        assert_eq!(graphs[0].weights(), graphs[1].weights());
        let used = graphs[1].nodes().iter().map(|node| match node.op {
            Op::Linear { weight, bias: Some(bias), .. } => [weight.index(), bias.index()],
            _ => panic!("{node:?}"),
        });
        assert_eq!(used.collect::<Vec<_>>(), [[4, 5], [2, 3]]);
        let mut graphs = [layers(&["a"], 4), layers(&["a"], 5)];
        assert!(matches!(share_weights(&mut graphs), Err(GraphError::Weight { .. })));
    }
}
