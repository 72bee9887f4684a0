//! The tensors of one module, against the layer that they are for: which kind of change they are, and whether they fit.

use super::key::{Factor, Piece};
use super::places::Place;
use crate::error::LoraError;
use crate::tensor_file::TensorFile;
use std::collections::BTreeMap;

/// The names of a module's tensors in the file.
pub(super) type Pieces = BTreeMap<Piece, String>;

/// What is added to a layer, before it is multiplied by the scale.
#[derive(Debug)]
pub(super) enum Change {
    /// LoRA and LoCon.
    Product(Stored),
    /// LoHa: two of the layer's shape, multiplied number by number (Hyeon-Woo et al. 2022, "FedPara: Low-Rank Hadamard
    /// Product for Communication-Efficient Federated Learning").
    Hadamard([Stored; 2]),
    /// LoKr: each number of the first times the whole second (Yeh et al. 2024, "Navigating Text-To-Image Customization: From
    /// LyCORIS Fine-Tuning to Model Evaluation").
    Kronecker([Stored; 2]),
}

/// A matrix of rows of `[taps][inp]`, as a file holds it.
#[derive(Debug)]
pub(super) struct Stored {
    pub rows: usize,
    pub inp: usize,
    /// Height times width of a kernel; 1 of a matrix.
    pub taps: usize,
    pub form: Form,
}

#[derive(Debug)]
pub(super) enum Form {
    /// `[rows][inp][kh][kw]`.
    Whole(String),
    /// `left * right`, or `left * core * right`; `left` is `[rows][rank]`, or if `turned` `[rank][rows]`.
    Product { rank: usize, left: String, right: String, core: Option<String>, turned: bool },
}

/// Of which of a layer's numbers DoRA says the length (Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// All that lead to an output.
    Rows,
    /// All that come from an input.
    Columns,
}

/// A module that was found to fit.
#[derive(Debug)]
pub(super) struct Module {
    /// The layer's shape, in our layout.
    pub shape: Vec<usize>,
    /// By what alpha is divided; none of a change without products, which alpha says nothing of.
    pub rank: Option<usize>,
    /// What the change is multiplied by at strength 1.
    pub scale: f32,
    pub change: Change,
    pub lengths: Option<(Axis, String)>,
    /// All tensors with numbers.
    pub tensors: Vec<String>,
}

impl Module {
    /// Checks the shapes of the tensors against the layer's and each other's. The scale is still the caller's to say.
    pub fn fit(file: &TensorFile, module: &str, pieces: &Pieces, place: &Place) -> Result<Self, LoraError> {
        let fit = Fit { file, module, pieces };
        let change = fit.change(place)?;
        let lengths = fit.lengths(place)?;
        let rank = match &change {
            Change::Product(only) | Change::Hadamard([only, _]) => only.rank(),
            Change::Kronecker([first, second]) => second.rank().or(first.rank()),
        };
        let tensors = pieces.iter().filter(|(piece, _)| **piece != Piece::Alpha).map(|(_, name)| name.clone());
        Ok(Self { shape: place.shape.clone(), rank, scale: 1.0, change, lengths, tensors: tensors.collect() })
    }

    /// Columns of the layer as a matrix: inputs, or taps times inputs.
    pub fn columns(&self) -> usize {
        self.shape[1..].iter().product()
    }
}

impl Stored {
    fn rank(&self) -> Option<usize> {
        match self.form {
            Form::Whole(_) => None,
            Form::Product { rank, .. } => Some(rank),
        }
    }
}

/// What is looked at, for messages.
struct Fit<'a> {
    file: &'a TensorFile,
    module: &'a str,
    pieces: &'a Pieces,
}

impl<'a> Fit<'a> {
    fn change(&self, place: &Place) -> Result<Change, LoraError> {
        // A linear layer is a convolution of one tap, and some files store it so.
        let (out, inp, kernel) = match place.shape[..] {
            [out, kh, kw, inp] => (out, inp, [kh, kw]),
            _ => (place.shape[0], place.shape[place.shape.len() - 1], [1, 1]),
        };
        let find = |is: fn(&Piece) -> bool| self.pieces.iter().find(|(piece, _)| is(piece)).map(|(_, name)| name);
        let lora = find(|piece| matches!(piece, Piece::Down | Piece::Up | Piece::Mid));
        let loha = find(|piece| matches!(piece, Piece::Hada(..)));
        let lokr = find(|piece| matches!(piece, Piece::Lokr(_) | Piece::LokrProduct(..)));
        if let Some((first, second)) = lora.zip(loha.or(lokr)).or(loha.zip(lokr)) {
            return Err(self.twice(first, second));
        }
        match () {
            () if loha.is_some() => {
                let product = |i| self.product(|factor| Piece::Hada(i, factor), out, inp, kernel, true);
                Ok(Change::Hadamard([product(0)?, product(1)?]))
            }
            () if lokr.is_some() => self.kronecker(out, inp, kernel),
            () => {
                let piece = |factor| match factor {
                    Factor::Left => Piece::Up,
                    Factor::Right => Piece::Down,
                    Factor::Core => Piece::Mid,
                };
                Ok(Change::Product(self.product(piece, out, inp, kernel, false)?))
            }
        }
    }

    /// Of matrices whose sizes multiply to the layer's.
    fn kronecker(&self, out: usize, inp: usize, kernel: [usize; 2]) -> Result<Change, LoraError> {
        let whole = self.pieces.get(&Piece::Lokr(0));
        let (rows, columns) = match whole {
            Some(whole) => (whole, whole),
            None => (self.name(Piece::LokrProduct(0, Factor::Left))?, self.name(Piece::LokrProduct(0, Factor::Right))?),
        };
        // The first matrix alone says how the layer's sides are divided.
        let side = |name: &String, axis: usize, of: usize| {
            let shape = &self.file.tensors()[name].shape;
            let side = shape.get(axis).copied().filter(|&side| side > 0 && of.is_multiple_of(side));
            side.ok_or_else(|| LoraError::Divide {
                path: self.file.path().into(),
                name: name.clone(),
                found: shape.clone(),
                layer: [out, inp],
            })
        };
        let first = [side(rows, 0, out)?, side(columns, 1, inp)?];
        let matrix = |i: usize, [rows, inp]: [usize; 2], kernel: [usize; 2]| match self.pieces.get(&Piece::Lokr(i)) {
            Some(name) => {
                if let Some((_, product)) =
                    self.pieces.iter().find(|(p, _)| matches!(p, Piece::LokrProduct(n, _) if *n == i))
                {
                    return Err(self.twice(name, product));
                }
                self.check(name, [rows, inp, kernel[0], kernel[1]])?;
                Ok(Stored { rows, inp, taps: kernel[0] * kernel[1], form: Form::Whole(name.clone()) })
            }
            None => self.product(|factor| Piece::LokrProduct(i, factor), rows, inp, kernel, true),
        };
        Ok(Change::Kronecker([matrix(0, first, [1, 1])?, matrix(1, [out / first[0], inp / first[1]], kernel)?]))
    }

    /// `turned` is how the factor next to the output lies where there is a core.
    fn product(
        &self,
        piece: impl Fn(Factor) -> Piece,
        rows: usize,
        inp: usize,
        [kh, kw]: [usize; 2],
        turned: bool,
    ) -> Result<Stored, LoraError> {
        let right = self.name(piece(Factor::Right))?.clone();
        let left = self.name(piece(Factor::Left))?.clone();
        let core = self.pieces.get(&piece(Factor::Core)).cloned();
        let turned = turned && core.is_some();
        let rank = self.file.tensors()[&right].shape.first().map_or(1, |&rank| rank.max(1));
        let taps = if core.is_some() { [1, 1] } else { [kh, kw] };
        self.check(&right, [rank, inp, taps[0], taps[1]])?;
        self.check(&left, if turned { [rank, rows, 1, 1] } else { [rows, rank, 1, 1] })?;
        core.as_ref().map_or(Ok(()), |core| self.check(core, [rank, rank, kh, kw]))?;
        Ok(Stored { rows, inp, taps: kh * kw, form: Form::Product { rank, left, right, core, turned } })
    }

    /// DoRA's: of rows `[out][1]`, of columns `[1][in]`, with two more dimensions of 1 for a convolution.
    fn lengths(&self, place: &Place) -> Result<Option<(Axis, String)>, LoraError> {
        let (out, inp) = (place.shape[0], place.shape[place.shape.len() - 1]);
        // PEFT's are of one dimension, or, of a convolution, along the second.
        if let Some(name) = self.pieces.get(&Piece::RowLengths) {
            let shape = &self.file.tensors()[name].shape;
            let vector = shape.iter().product::<usize>() == out && shape.iter().filter(|&&n| n != 1).count() <= 1;
            return if vector { Ok(Some((Axis::Rows, name.clone()))) } else { Err(self.wrong(name, vec![out])) };
        }
        let Some(name) = self.pieces.get(&Piece::Lengths) else { return Ok(None) };
        match &self.file.tensors()[name].shape[..] {
            [rows, ones @ ..] if *rows == out && ones.iter().all(|&n| n == 1) => Ok(Some((Axis::Rows, name.clone()))),
            [1, columns, ones @ ..] if *columns == inp && ones.iter().all(|&n| n == 1) => {
                Ok(Some((Axis::Columns, name.clone())))
            }
            _ => Err(self.wrong(name, vec![out, 1])),
        }
    }

    fn name(&self, piece: Piece) -> Result<&'a String, LoraError> {
        self.pieces.get(&piece).ok_or_else(|| LoraError::Half {
            path: self.file.path().into(),
            module: self.module.to_owned(),
            missing: piece.name(),
        })
    }

    /// That a tensor has the shape, with or without the kernel's dimensions, or with its taps beside the inputs.
    fn check(&self, name: &str, expected: [usize; 4]) -> Result<(), LoraError> {
        let found = &self.file.tensors()[name].shape;
        let [rows, inp, kh, kw] = expected;
        match found[..] == expected || found[..] == [rows, inp * kh * kw] {
            true => Ok(()),
            false if kh * kw == 1 => Err(self.wrong(name, vec![rows, inp])),
            false => Err(self.wrong(name, expected.into())),
        }
    }

    fn wrong(&self, name: &str, expected: Vec<usize>) -> LoraError {
        let found = self.file.tensors()[name].shape.clone();
        LoraError::Shape { path: self.file.path().into(), name: name.to_owned(), found, expected }
    }

    fn twice(&self, first: &str, second: &str) -> LoraError {
        let (path, of) = (self.file.path().into(), self.module.to_owned());
        LoraError::Twice { path, first: first.to_owned(), second: second.to_owned(), of }
    }
}
