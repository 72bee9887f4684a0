//! Words that a model is taught after its training (Gal et al. 2022, "An Image is Worth One Word: Personalizing Text-to-Image
//! Generation using Textual Inversion"): vectors behind the rows of its token tables.

use super::info::{LatentInfo, TextInfo};
use crate::Error;
use crate::model::Patch;
use crate::model::options::{check, in_range};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A word and its vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// What stands for it in a prompt, in capitals or not. Of several vectors, the second alone is `word_1`, and so on.
    pub word: String,
    /// For each of the model's text encoders `(vectors, width)`: as many vectors for each.
    pub vectors: Vec<Vec<f32>>,
}

/// What is put behind the rows of each text encoder's token table.
pub(super) struct Rows(Vec<(String, Vec<f32>)>);

impl Rows {
    /// Adds the words to what the file says of the model.
    ///
    /// # Errors
    /// Vectors of another width or for other encoders than the model's, numbers that are NaN or infinite; a word that there is.
    pub fn add(info: &mut LatentInfo, embeddings: &[Embedding]) -> Result<Self, Error> {
        let mut rows: Vec<_> = info.texts.iter().map(|text| (table(text), Vec::new())).collect();
        for Embedding { word, vectors } in embeddings {
            let encoders = info.texts.len();
            check(vectors.len() == encoders, "text encoders of an embedding", vectors.len(), format!("{encoders}"))?;
            let first = info.texts.iter().zip(vectors).next();
            let count = first.map_or(0, |(text, of)| of.len() / text.network.width);
            let room = info.texts.iter().map(|text| text.tokenizer.special().length - 2).min().unwrap_or(0);
            in_range("vectors of an embedding", count, 1, room)?;
            for (text, of) in info.texts.iter().zip(vectors) {
                let expected = count * text.network.width;
                check(of.len() == expected, "numbers of an embedding", of.len(), format!("{expected}"))?;
                let strange = of.iter().find(|v| !v.is_finite());
                check(strange.is_none(), "a number of an embedding", strange.unwrap_or(&0.0), "a finite number")?;
            }
            for ((text, of), (_, rows)) in info.texts.iter_mut().zip(vectors).zip(&mut rows) {
                // Behind all rows, of which some may be no token's.
                let before = text.network.vocabulary;
                text.network.vocabulary += count;
                text.tokenizer.add(word, before as u32..text.network.vocabulary as u32)?;
                rows.extend_from_slice(of);
            }
        }
        Ok(Self(rows))
    }
}

fn table(text: &TextInfo) -> String {
    format!("{}text_model.embeddings.token_embedding.weight", text.prefix)
}

impl Patch for Rows {
    fn touches(&self, _: &str) -> bool {
        false
    }

    fn apply(&self, _: &str, _: &[usize], _: &mut [f32]) -> Result<(), Error> {
        Ok(())
    }

    fn rows(&self, name: &str) -> &[f32] {
        self.0.iter().find(|(table, _)| table == name).map_or(&[], |(_, rows)| rows)
    }
}
