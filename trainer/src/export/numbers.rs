//! The systems of the book's step 6 as weight files: rows of numbers rather than pictures.
use super::{begin, linear};
use crate::error::Result;
use crate::fit::Record;
use crate::param::State;
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::quant::DType;

/// A function fitted to rows of numbers.
#[derive(Clone, Debug)]
pub struct Regression<'a> {
    /// `nijimi.system`: regression or mlp.
    pub system: &'a str,
    /// `general.name`.
    pub name: &'a str,
    /// Widths of input, hidden layers and output.
    pub widths: &'a [usize],
    /// Names of the inputs, then of the outputs.
    pub columns: &'a [String],
    /// Least and greatest value of each input.
    pub inputs: &'a [[f64; 2]],
    /// Root of the mean squared residual: the width of the noise that a sample adds.
    pub sigma: f64,
}

/// The bytes of a weight file for the network with the tensors of `state`, always in f32.
///
/// # Errors
/// If a tensor is missing or a value is not finite.
pub fn regression(state: &State, about: &Regression, record: &Record) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    begin(&mut w, about.name, DType::F32, about.system)?;
    w.meta("nijimi.mlp.widths", about.widths.iter().map(|n| *n as u32).collect::<Vec<u32>>())?;
    w.meta("nijimi.mlp.activation", "sigmoid")?;
    w.meta("nijimi.columns", about.columns.to_vec())?;
    w.meta("nijimi.regression.inputs", about.inputs.as_flattened().to_vec())?;
    w.meta("nijimi.regression.sigma", about.sigma)?;
    super::record(&mut w, record)?;
    for i in 0..about.widths.len() - 1 {
        linear(&mut w, state, &format!("layers.{i}"), DType::F32)?;
    }
    Ok(w.finish())
}

/// The bytes of a weight file for a path of descent: rows of step, x0 and x1.
///
/// # Errors
/// If a value is not finite.
pub fn descent(name: &str, function: &str, learning_rate: f64, trace: &[[f64; 3]], record: &Record) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    begin(&mut w, name, DType::F32, "descent")?;
    w.meta("nijimi.descent.function", function)?;
    w.meta("nijimi.descent.learning_rate", learning_rate)?;
    w.meta("nijimi.columns", ["step", "x0", "x1"].map(String::from).to_vec())?;
    w.meta("nijimi.descent.trace", trace.as_flattened().to_vec())?;
    super::record(&mut w, record)?;
    Ok(w.finish())
}
