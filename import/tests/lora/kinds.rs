//! What LoHa, LoKr and DoRA make of a layer, against their definitions.

use super::made::{Made, Stored, factors, product, stored};
use super::pipeline;
use nijimi_import::Lora;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::Patch;
use nijimi_runtime::quant::DType;

const STRENGTH: f32 = 0.75;
const LINEAR: &str = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";
const POINTWISE: &str = "unet.mid_block.attentions.0.proj_in.weight";
const CONVOLUTION: &str = "unet.mid_block.resnets.0.conv1.weight";

/// A layer of the model: outputs, inputs, taps.
struct Layer {
    bytes: Vec<u8>,
    tensor: &'static str,
    sizes: [usize; 3],
}

impl Layer {
    fn of(tensor: &'static str) -> Option<Self> {
        let bytes = pipeline("sd1", DType::F32)?;
        let shape = File::new_checked(&bytes).unwrap().tensor(tensor).unwrap().shape();
        let (out, inp) = (shape[0], shape[shape.len() - 1]);
        Some(Self { bytes, tensor, sizes: [out, inp, shape.iter().product::<usize>() / out / inp] })
    }

    fn named(&self, end: &str, shape: &[usize]) -> Stored {
        stored(&[self.tensor.trim_end_matches(".weight"), end].concat(), shape)
    }

    fn alpha(&self, alpha: f32) -> Stored {
        Stored { shape: vec![], values: vec![alpha], ..self.named(".alpha", &[1]) }
    }

    /// The layer, and what becomes of it.
    fn merged(&self, tensors: Vec<Stored>, strength: f32) -> [Vec<f32>; 2] {
        let file = File::new_checked(&self.bytes).unwrap();
        let made = Made::new(tensors, &[]);
        let lora = Lora::open(&made.path.0, strength, &file).unwrap();
        let stored = file.tensor(self.tensor).unwrap();
        let (before, mut after) = (stored.to_f32(), stored.to_f32());
        lora.apply(self.tensor, &stored.shape(), &mut after).unwrap();
        [before, after]
    }

    /// That `change(o, i, tap)` times the strength is added.
    fn adds(&self, tensors: Vec<Stored>, change: impl Fn(usize, usize, usize) -> f64) {
        let [_, inp, taps] = self.sizes;
        let name = tensors[0].name.clone();
        let [before, after] = self.merged(tensors, STRENGTH);
        for (n, (before, after)) in before.iter().zip(&after).enumerate() {
            let want = f64::from(*before) + f64::from(STRENGTH) * change(n / (inp * taps), n % inp, n / inp % taps);
            assert!((f64::from(*after) - want).abs() < 4e-6, "{name}, value {n}: {after} for {want}");
        }
    }
}

/// `sum over r of left[row][r] * right[r][column]`.
fn at(left: &Stored, right: &Stored, row: usize, column: usize) -> f64 {
    let (rank, columns) = (right.shape[0], right.values.len() / right.shape[0]);
    (0..rank).map(|r| f64::from(left.values[row * rank + r]) * f64::from(right.values[r * columns + column])).sum()
}

/// `sum over a and b of left[a][row] * core[a][b][tap] * right[b][column]`.
fn with_core(left: &Stored, core: &Stored, right: &Stored, row: usize, column: usize, tap: usize) -> f64 {
    let [rank, taps] = [core.shape[0], core.shape[2..].iter().product()];
    let [rows, columns] = [left, right].map(|factor| factor.values.len() / rank);
    let product = |a: usize, b: usize| {
        let core = f64::from(core.values[(a * rank + b) * taps + tap]);
        f64::from(left.values[a * rows + row]) * core * f64::from(right.values[b * columns + column])
    };
    (0..rank).flat_map(|a| (0..rank).map(move |b| (a, b))).map(|(a, b)| product(a, b)).sum()
}

/// Seen red with the second product left out, with alpha over the rank twice, and with a kernel's taps and channels exchanged.
#[test]
fn loha_is_two_products_number_by_number() {
    for tensor in [LINEAR, POINTWISE, CONVOLUTION] {
        let Some(layer) = Layer::of(tensor) else { return };
        let [out, inp, taps] = layer.sizes;
        let [a, b] = [1, 2].map(|i| {
            let [left, right] = [("a", [out, 3]), ("b", [3, inp * taps])];
            [left, right].map(|(end, shape)| layer.named(&format!(".hada_w{i}_{end}"), &shape))
        });
        let tensors = vec![a[0].clone(), a[1].clone(), b[0].clone(), b[1].clone(), layer.alpha(2.0)];
        layer.adds(tensors, |o, i, tap| {
            let column = i * taps + tap;
            2.0 / 3.0 * at(&a[0], &a[1], o, column) * at(&b[0], &b[1], o, column)
        });
    }
}

/// Seen red with the factor next to the output not turned, and with the core transposed.
#[test]
fn loha_of_convolutions_has_cores() {
    let Some(layer) = Layer::of(CONVOLUTION) else { return };
    let [out, inp, _] = layer.sizes;
    let [a, b] = [1, 2].map(|i| {
        [
            (format!(".hada_w{i}_a"), vec![3, out]),
            (format!(".hada_t{i}"), vec![3, 3, 3, 3]),
            (format!(".hada_w{i}_b"), vec![3, inp]),
        ]
        .map(|(end, shape)| layer.named(&end, &shape))
    });
    let of = |[left, core, right]: &[Stored; 3], o, i, tap| with_core(left, core, right, o, i, tap);
    layer.adds(a.iter().chain(&b).cloned().collect(), |o, i, tap| of(&a, o, i, tap) * of(&b, o, i, tap));
}

/// Matrices as they are, as products, and with a core; alpha says nothing where nothing is a product. Seen red with the two
/// matrices exchanged, with alpha applied to whole ones, and with the rank of the first taken.
#[test]
fn lokr_is_a_kronecker_product() {
    for tensor in [LINEAR, POINTWISE, CONVOLUTION] {
        let Some(layer) = Layer::of(tensor) else { return };
        let [out, inp, taps] = layer.sizes;
        let [first, second] = [[4, 2], [out / 4, inp / 2]];
        let kernel = if taps == 1 { vec![] } else { vec![3, 3] };
        let whole = [layer.named(".lokr_w1", &first), layer.named(".lokr_w2", &[&second[..], &kernel].concat())];
        let small = [layer.named(".lokr_w1_a", &[4, 1]), layer.named(".lokr_w1_b", &[1, 2])];
        let thin = [layer.named(".lokr_w2_a", &[second[0], 3]), layer.named(".lokr_w2_b", &[3, second[1] * taps])];
        let one = |o: usize, i: usize| f64::from(whole[0].values[o / second[0] * 2 + i / second[1]]);
        let one_of_small = |o: usize, i: usize| at(&small[0], &small[1], o / second[0], i / second[1]);
        let column = |i: usize, tap: usize| i % second[1] * taps + tap;
        let other =
            |o: usize, i: usize, tap| f64::from(whole[1].values[o % second[0] * second[1] * taps + column(i, tap)]);
        let other_of_thin = |o: usize, i, tap| at(&thin[0], &thin[1], o % second[0], column(i, tap));
        let with_alpha = |parts: [&[Stored]; 2]| [parts[0], parts[1], &[layer.alpha(2.0)]].concat();
        layer.adds(with_alpha([&whole[..1], &whole[1..]]), |o, i, tap| one(o, i) * other(o, i, tap));
        layer.adds(with_alpha([&whole[..1], &thin]), |o, i, tap| 2.0 / 3.0 * one(o, i) * other_of_thin(o, i, tap));
        layer.adds(with_alpha([&small, &whole[1..]]), |o, i, tap| 2.0 * one_of_small(o, i) * other(o, i, tap));
        layer.adds(with_alpha([&small, &thin]), |o, i, tap| 2.0 / 3.0 * one_of_small(o, i) * other_of_thin(o, i, tap));
        if taps > 1 {
            let [left, core, right] = [
                layer.named(".lokr_w2_a", &[3, second[0]]),
                layer.named(".lokr_t2", &[3, 3, 3, 3]),
                layer.named(".lokr_w2_b", &[3, second[1]]),
            ];
            let tensors = vec![whole[0].clone(), left.clone(), core.clone(), right.clone()];
            layer.adds(tensors, |o, i, tap| {
                one(o, i) * with_core(&left, &core, &right, o % second[0], i % second[1], tap)
            });
        }
    }
}

/// By row and by column, of a strength of 1 and others. Seen red with the length of the layer before the change, with rows
/// taken for columns, and with the strength on the change.
#[test]
fn dora_stretches_rows_or_columns() {
    for tensor in [LINEAR, CONVOLUTION] {
        let Some(layer) = Layer::of(tensor) else { return };
        let [out, inp, taps] = layer.sizes;
        let shape: Vec<usize> = if taps == 1 { vec![out, inp] } else { vec![out, 3, 3, inp] };
        let ends = [".lora_down.weight", ".lora_up.weight"];
        let pair = factors(tensor.trim_end_matches(".weight"), ends, &shape, 2);
        let change = product(&pair[1].values, &pair[0].values, &shape, 2);
        let ones = if taps == 1 { &[][..] } else { &[1, 1] };
        for (end, dims, by_row) in [
            (".dora_scale", [&[out, 1], ones].concat(), true),
            (".lora_magnitude_vector", vec![out], true),
            (".lora_magnitude_vector.weight", [&[1, out], ones].concat(), true),
            (".dora_scale", [&[1, inp], ones].concat(), false),
        ] {
            for strength in [1.0, 0.5, 0.0] {
                let scale = layer.named(end, &dims);
                let [before, after] = layer.merged([&pair[..], std::slice::from_ref(&scale)].concat(), strength);
                let sum: Vec<f64> = before.iter().zip(&change).map(|(w, change)| f64::from(*w) + change).collect();
                let group = |n: usize| if by_row { n / (inp * taps) } else { n % inp };
                let mut squares = vec![0.0; scale.values.len()];
                sum.iter().enumerate().for_each(|(n, v)| squares[group(n)] += v * v);
                for (n, after) in after.iter().enumerate() {
                    let whole = sum[n] * f64::from(scale.values[group(n)]) / squares[group(n)].sqrt();
                    let before = f64::from(before[n]);
                    let want = before + f64::from(strength) * (whole - before);
                    assert!((f64::from(*after) - want).abs() < 2e-6, "{end} {dims:?}, value {n}: {after} for {want}");
                }
            }
        }
    }
}
