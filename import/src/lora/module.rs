//! The tensors of one module, against the layer that they are for.

use super::key::Piece;
use super::places::Place;
use crate::error::LoraError;
use crate::safetensors::Safetensors;

/// The names of a module's tensors in the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    pub down: Option<String>,
    pub up: Option<String>,
    pub mid: Option<String>,
    pub alpha: Option<String>,
}

impl Pieces {
    /// Notes a tensor; gives the one that was in its place.
    pub fn add(&mut self, piece: Piece, name: &str) -> Option<String> {
        let place = match piece {
            Piece::Down => &mut self.down,
            Piece::Up => &mut self.up,
            Piece::Mid => &mut self.mid,
            Piece::Alpha => &mut self.alpha,
        };
        place.replace(name.to_string())
    }
}

/// A module that was found to fit: what is added to a layer is `scale` times the product of its factors.
#[derive(Debug)]
pub(super) struct Module {
    /// The layer's shape, in our layout.
    pub shape: Vec<usize>,
    pub rank: usize,
    pub scale: f32,
    pub down: String,
    pub up: String,
    pub mid: Option<String>,
}

impl Module {
    /// Checks the factors' shapes against the layer's and each other's. The scale is still the caller's to say.
    pub fn fit(file: &Safetensors, module: &str, pieces: &Pieces, place: &Place) -> Result<Self, LoraError> {
        let half = |missing| LoraError::Half { path: file.path().into(), module: module.to_string(), missing };
        let down = pieces.down.clone().ok_or_else(|| half("factor next to the input (lora_down, lora_A)"))?;
        let up = pieces.up.clone().ok_or_else(|| half("factor next to the output (lora_up, lora_B)"))?;
        // A linear layer is a convolution of one tap, and some files store it so.
        let (out, inp, [kh, kw]) = match place.shape[..] {
            [out, kh, kw, inp] => (out, inp, [kh, kw]),
            _ => (place.shape[0], place.shape[place.shape.len() - 1], [1, 1]),
        };
        let rank = file.tensors()[&down].shape.first().map_or(1, |&rank| rank.max(1));
        let (taps, core) = if pieces.mid.is_some() { ([1, 1], [kh, kw]) } else { ([kh, kw], [1, 1]) };
        let expected = [
            (Some(&down), [rank, inp, taps[0], taps[1]]),
            (Some(&up), [out, rank, 1, 1]),
            (pieces.mid.as_ref(), [rank, rank, core[0], core[1]]),
        ];
        for (name, expected) in expected {
            let Some(name) = name else { continue };
            let found = &file.tensors()[name].shape;
            let pointwise = expected[2..] == [1, 1];
            if found[..] != expected && !(pointwise && found[..] == expected[..2]) {
                let expected = if pointwise && place.shape.len() == 2 { &expected[..2] } else { &expected[..] };
                return Err(LoraError::Shape {
                    path: file.path().into(),
                    name: name.clone(),
                    found: found.clone(),
                    expected: expected.to_vec(),
                });
            }
        }
        Ok(Self { shape: place.shape.clone(), rank, scale: 1.0, down, up, mid: pieces.mid.clone() })
    }

    /// The names of the factors.
    pub fn factors(&self) -> impl Iterator<Item = &String> {
        [&self.down, &self.up].into_iter().chain(&self.mid)
    }

    /// Columns of the layer as a matrix: inputs, or taps times inputs.
    pub fn columns(&self) -> usize {
        self.shape[1..].iter().product()
    }
}
