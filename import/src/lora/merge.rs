//! What a module adds to a layer.

use super::module::{Axis, Change, Form, Module, Stored};
use crate::error::ImportError;
use crate::tensor_file::TensorFile;
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::{Context, Epilogue, Matrix, linear, linear_scratch};
use nijimi_runtime::raw::layout::channels_last;
use nijimi_runtime::raw::plan::KernelError;
use std::ops::Range;

/// Rows of the layer that are worked out at a time.
const ROWS: usize = 64;

/// A module's numbers.
pub(super) struct Numbers {
    change: Kind,
    lengths: Option<(Axis, Vec<f32>)>,
}

enum Kind {
    Product(Rows),
    Hadamard([Rows; 2]),
    Kronecker([Rows; 2]),
}

impl Numbers {
    /// Reads them; what they add is multiplied by `scale`.
    pub fn read(file: &TensorFile, module: &Module, scale: f32) -> Result<Self, ImportError> {
        let rows = |stored: &Stored, scale: f32| Rows::read(file, stored, scale);
        let change = match &module.change {
            Change::Product(only) => Kind::Product(rows(only, scale)?),
            Change::Hadamard([a, b]) => Kind::Hadamard([rows(a, scale)?, rows(b, 1.0)?]),
            Change::Kronecker([a, b]) => Kind::Kronecker([rows(a, scale)?, rows(b, 1.0)?]),
        };
        let lengths = module.lengths.as_ref();
        let lengths = lengths.map(|(axis, name)| Ok::<_, ImportError>((*axis, values(file, name)?))).transpose()?;
        Ok(Self { change, lengths })
    }

    /// Changes the layer's values; `strength` is of a DoRA, which is not only added.
    pub fn apply(self, module: &Module, values: &mut [f32], strength: f32) -> Result<(), KernelError> {
        let columns = module.columns();
        let before = self.lengths.as_ref().map(|_| values.to_vec());
        match self.change {
            Kind::Product(product) => {
                let mut product = product.rows()?;
                for (i, values) in values.chunks_mut(ROWS * columns).enumerate() {
                    let change = product.take(i * ROWS..i * ROWS + values.len() / columns);
                    values.iter_mut().zip(change).for_each(|(value, change)| *value += *change);
                }
            }
            Kind::Hadamard([a, b]) => {
                let (mut a, mut b) = (a.rows()?, b.rows()?);
                for (i, values) in values.chunks_mut(ROWS * columns).enumerate() {
                    let rows = i * ROWS..i * ROWS + values.len() / columns;
                    let change = a.take(rows.clone()).iter().zip(b.take(rows));
                    values.iter_mut().zip(change).for_each(|(value, (a, b))| *value += a * b);
                }
            }
            Kind::Kronecker([a, b]) => kronecker(a, b, values)?,
        }
        if let (Some((axis, lengths)), Some(before)) = (self.lengths, before) {
            let inp = module.shape[module.shape.len() - 1];
            stretch(values, columns, inp, (axis, &lengths));
            if strength != 1.0 {
                // ComfyUI's way for strengths that it was not trained at: as far as said, from the one to the other.
                values
                    .iter_mut()
                    .zip(before)
                    .for_each(|(value, before)| *value = before + strength * (*value - before));
            }
        }
        Ok(())
    }
}

/// `values[o1 o2][tap][i1 i2] += a[o1][i1] * b[o2][tap][i2]`.
fn kronecker(a: Rows, b: Rows, values: &mut [f32]) -> Result<(), KernelError> {
    let (outer, inner) = ((a.rows, a.columns), (b.rows, b.columns / b.taps, b.taps));
    let (mut a, mut b) = (a.rows()?, b.rows()?);
    let (a, b) = (a.take(0..outer.0), b.take(0..inner.0));
    let (rows, inp, taps) = inner;
    for (o, values) in values.chunks_exact_mut(taps * outer.1 * inp).enumerate() {
        let (a, b) = (&a[o / rows * outer.1..][..outer.1], &b[o % rows * taps * inp..][..taps * inp]);
        for (values, b) in values.chunks_exact_mut(outer.1 * inp).zip(b.chunks_exact(inp)) {
            for (values, a) in values.chunks_exact_mut(inp).zip(a) {
                values.iter_mut().zip(b).for_each(|(value, b)| *value += a * b);
            }
        }
    }
    Ok(())
}

/// Gives each row, or all that comes from an input, its length.
fn stretch(values: &mut [f32], columns: usize, inp: usize, (axis, lengths): (Axis, &[f32])) {
    let square = |v: &f32| f64::from(*v) * f64::from(*v);
    // What is of no length has no direction to be stretched in.
    let factor = |(length, squares): (&f32, f64)| match squares > 0.0 {
        true => (f64::from(*length) / squares.sqrt()) as f32,
        false => 0.0,
    };
    match axis {
        Axis::Rows => {
            for (row, length) in values.chunks_exact_mut(columns).zip(lengths) {
                let factor = factor((length, row.iter().map(square).sum()));
                row.iter_mut().for_each(|v| *v *= factor);
            }
        }
        Axis::Columns => {
            let mut squares = vec![0.0; inp];
            for tap in values.chunks_exact(inp) {
                squares.iter_mut().zip(tap).for_each(|(sum, v)| *sum += square(v));
            }
            let factors: Vec<f32> = lengths.iter().zip(squares).map(factor).collect();
            for tap in values.chunks_exact_mut(inp) {
                tap.iter_mut().zip(&factors).for_each(|(v, factor)| *v *= factor);
            }
        }
    }
}

/// All numbers of a tensor.
fn values(file: &TensorFile, name: &str) -> Result<Vec<f32>, ImportError> {
    let mut values = Vec::new();
    file.read(name, 0..file.tensors()[name].shape.iter().product(), &mut values)?;
    Ok(values)
}

/// A matrix in memory, its columns as in our file.
struct Rows {
    rows: usize,
    columns: usize,
    taps: usize,
    /// `[rows][columns]`, or `[rows][rank]` with a right factor.
    left: Vec<f32>,
    /// `[rank][columns]`.
    right: Option<Vec<f32>>,
}

impl Rows {
    fn read(file: &TensorFile, stored: &Stored, scale: f32) -> Result<Self, ImportError> {
        let &Stored { rows, inp, taps, ref form } = stored;
        let (mut left, right) = match form {
            Form::Whole(name) => (channels_last(&values(file, name)?, inp, taps), None),
            Form::Product { rank, left, right, core, turned } => {
                let (left, right) = (values(file, left)?, values(file, right)?);
                let right = match core {
                    None => channels_last(&right, inp, taps),
                    Some(core) => with_core(&values(file, core)?, &right, *rank, taps, inp),
                };
                (if *turned { transposed(&left, rows) } else { left }, Some(right))
            }
        };
        left.iter_mut().for_each(|v| *v *= scale);
        Ok(Self { rows, columns: taps * inp, taps, left, right })
    }

    /// What works them out.
    fn rows(self) -> Result<Worked, KernelError> {
        let Self { columns, left, right, .. } = self;
        let Some(right) = right else { return Ok(Worked { columns, left, product: None }) };
        let rank = right.len() / columns;
        let bytes: Vec<u8> = transposed(&right, columns).iter().flat_map(|v| v.to_le_bytes()).collect();
        let matrix = Matrix::pack(DType::F32, &bytes, columns, 1, rank)?;
        let ctx = Context::new(1);
        let scratch = vec![0; linear_scratch(&ctx, ROWS, rank, DType::F32)];
        Ok(Worked { columns, left, product: Some(Product { rank, matrix, ctx, scratch, out: Vec::new() }) })
    }
}

/// Rows of a matrix, some at a time.
struct Worked {
    columns: usize,
    left: Vec<f32>,
    product: Option<Product>,
}

struct Product {
    rank: usize,
    matrix: Matrix,
    ctx: Context,
    scratch: Vec<u8>,
    out: Vec<f32>,
}

impl Worked {
    fn take(&mut self, rows: Range<usize>) -> &[f32] {
        let Some(Product { rank, matrix, ctx, scratch, out }) = &mut self.product else {
            return &self.left[rows.start * self.columns..rows.end * self.columns];
        };
        out.resize(rows.len() * self.columns, 0.0);
        for (left, out) in self.left[rows.start * *rank..rows.end * *rank]
            .chunks(ROWS * *rank)
            .zip(out.chunks_mut(ROWS * self.columns))
        {
            linear(ctx, left.len() / *rank, left, matrix, &Epilogue::NONE, scratch, out);
        }
        out
    }
}

/// `[columns][rows]` of `[rows][columns]`.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect()
}

/// The factor next to the input with the core in it, `[rank][taps][in]`: of a core of `[rank][rank][taps]` and a factor of
/// `[rank][in]`.
fn with_core(core: &[f32], right: &[f32], rank: usize, taps: usize, inp: usize) -> Vec<f32> {
    let mut out = vec![0.0; rank * taps * inp];
    for (i, out) in out.chunks_exact_mut(inp).enumerate() {
        let (row, tap) = (i / taps, i % taps);
        for (between, right) in right.chunks_exact(inp).enumerate() {
            let factor = core[(row * rank + between) * taps + tap];
            out.iter_mut().zip(right).for_each(|(out, right)| *out += factor * right);
        }
    }
    out
}
