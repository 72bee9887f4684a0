//! Which number format each tensor gets.

use super::error::ImportError;
use nijimi_runtime::quant::DType;
use regex_lite::Regex;

/// Pictures and latents have fewer channels, all layers between them have more.
const NARROW: usize = 32;

/// A type for all, and exceptions by pattern.
///
/// Where no pattern says otherwise: norms and biases, which are few and added to everything, are f32; tables of
/// positions, and the first and last convolutions of each network, through which all passes, are f16 when the rest is
/// smaller than f16; so are convolutions to a picture or to latents. Tables of tokens and of a transformer's positions, which
/// are large, are q8_0 then.
/// Rows that are not whole blocks are what [`DType::of_rows`] says: q8_0 in place of a k-quant, or f16.
#[derive(Debug, Clone)]
pub struct Types {
    rest: DType,
    rules: Vec<(Regex, DType)>,
}

impl Types {
    /// All of a type, but for the defaults.
    pub fn new(rest: DType) -> Self {
        Self { rest, rules: Vec::new() }
    }

    /// The type for all.
    pub fn rest(&self) -> DType {
        self.rest
    }

    /// Adds an exception, `PATTERN=TYPE`: tensors in whose name the regular expression is found. The first that matches
    /// decides.
    ///
    /// # Errors
    /// A rule that is not of this form, a pattern that is no regular expression, or a type that does not exist.
    pub fn rule(&mut self, rule: &str) -> Result<(), ImportError> {
        let refuse = |why: String| ImportError::Pattern { pattern: rule.into(), why };
        // A pattern may hold =, a type does not.
        let (pattern, name) =
            rule.rsplit_once('=').ok_or_else(|| refuse("expected PATTERN=TYPE, as vae=f16".into()))?;
        let dtype = DType::from_name(name).ok_or_else(|| {
            refuse(format!("there is no type {name:?}: use f32, f16, bf16, q8_0, q6_k, q5_k, q4_k or q4_0"))
        })?;
        let pattern = Regex::new(pattern).map_err(|e| refuse(e.to_string()))?;
        self.rules.push((pattern, dtype));
        Ok(())
    }

    /// The type of a tensor of this name and shape.
    pub fn of(&self, name: &str, shape: &[usize]) -> DType {
        let row = shape.last().copied().unwrap_or(1);
        let fits = |dtype: DType| dtype.of_rows(row);
        if let Some((_, dtype)) = self.rules.iter().find(|(pattern, _)| pattern.is_match(name)) {
            // A vector, even one of whole blocks, is read as numbers.
            return if shape.len() == 1 && dtype.is_quantized() { DType::F32 } else { fits(*dtype) };
        }
        if shape.len() == 1 {
            return DType::F32;
        }
        let tables = ["embeddings.token_embedding.weight", "pos_embed.table.weight"];
        if self.rest.is_quantized() && tables.iter().any(|table| name.ends_with(table)) {
            return fits(DType::Q8_0);
        }
        let edges = [
            "conv_in.weight",
            "conv_out.weight",
            "embeddings.position_embedding.weight",
            "transformer.pos_embed.proj.weight",
            "transformer.proj_out.weight",
            // Of image encoders, and of the resamplers that read what they say.
            "embeddings.class_embedding.weight",
            "embeddings.patch_embedding.weight",
            "image_proj.latents.weight",
        ];
        // The tiny autoencoder's layers have numbers for names: its last convolutions are told by how few they lead to.
        let narrow = matches!(shape, [out, _, _, _] if *out < NARROW);
        if self.rest.is_quantized() && (narrow || edges.iter().any(|edge| name.ends_with(edge))) {
            return DType::F16;
        }
        fits(self.rest)
    }
}
