//! A mixture from its weight file: rows and their densities, as bytes. Part of the bare programs and, by its path, of the
//! hosted tests that compare.
use alloc::vec;
use alloc::vec::Vec;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{About, Law, Numbers};
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal};

const ROWS: u64 = 200;

/// Writes the book's mixture of two as a weight file, loads that, and gives [`rows_of`] it.
pub fn rows() -> Result<Vec<u8>, Error> {
    let short = MultivariateNormal::new(vec![2.0, 54.5], vec![0.07, 0.44, 0.44, 33.7])?;
    let long = MultivariateNormal::new(vec![4.3, 80.0], vec![0.17, 0.94, 0.94, 36.0])?;
    let law = Law::Mixture(Mixture::new(vec![0.35, 0.65], vec![short, long])?);
    let bytes = Numbers::new(law, About::columns(&["eruption", "waiting"]))?.to_file(&[])?;
    rows_of(&bytes)
}

/// Each row's numbers and log density, of a weight file of numbers.
pub fn rows_of(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let (numbers, mut out) = (Numbers::load(&File::new_checked(bytes)?)?, Vec::new());
    let mut row = vec![0.0; numbers.dim()];
    for index in 0..ROWS {
        numbers.sample(7, index, &mut row);
        let log_density = numbers.log_density(&row).unwrap_or(f64::NAN);
        out.extend(row.iter().chain([&log_density]).flat_map(|v| v.to_le_bytes()));
    }
    Ok(out)
}
