//! Everything that a device does for us, compared with the CPU and timed: what `nijimi self-test` prints.

use super::cases::{self, Spec};
use super::{Case, Class, ExecOptions, Executor, Gpu, KernelRow, Measured, Mismatch, Row, Storage, trial};
use crate::Error;
use crate::gpu::lower::halves;
use crate::graph::{Activation, GraphError};
use crate::nn::NetworkError;
use crate::quant::DType;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

/// What a self-test is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SelfTestOptions {
    /// The shapes of large networks, so that rates mean something; `None` takes them on real GPUs, where they take
    /// seconds and not minutes.
    pub large: Option<bool>,
}

/// A half has 11 bits, and is rounded on the way in and out.
pub(super) const F16_TOLERANCE: f32 = 3e-3;
/// Of what GPUs are not meant to do to the last bit, exponentials and roots, and of sums of thousands of products.
const LOOSE: f32 = 1e-5;

/// Runs every kernel, with every type of weights, in every kind of storage that the device has, and a model (`file`, the
/// bytes of a weight file), and hands each result to `report`. Returns whether all passed.
///
/// Seen red, by two rows, with 1.7 for 1.702 in the shaders' quick GELU.
///
/// # Errors
/// A weight file that is refused, or a device that was lost; what else goes wrong with the device fails its row.
pub fn self_test(
    gpu: &Gpu,
    options: &SelfTestOptions,
    file: &[u8],
    mut report: impl FnMut(&Row),
) -> Result<bool, Error> {
    let large = options.large.unwrap_or(!gpu.is_software());
    let mut passed = true;
    let mut tell = |row: Row| {
        passed &= row.passed();
        report(&row);
        // What follows would fail for the same reason.
        gpu.alive()
    };
    for spec in specs(large).map_err(NetworkError::from)? {
        for row in kernel(gpu, spec, large) {
            tell(Row::Kernel(row))?;
        }
    }
    for row in trial::rows(gpu, file, large)? {
        tell(Row::Model(row))?;
    }
    Ok(passed)
}

/// How a kernel can run on this device.
fn variants(gpu: &Gpu, spec: &Spec, large: bool) -> Vec<(&'static str, ExecOptions, f32)> {
    // What only copies is exact everywhere.
    let loose = if spec.tolerance > 0.0 && (large || !gpu.is_software()) { LOOSE } else { 0.0 };
    let exact = ExecOptions { no_cooperative: true, ..ExecOptions::default() };
    let f16 = ExecOptions { storage: Storage::F16, ..exact };
    let mut all = vec![("f32", exact, spec.tolerance.max(loose))];
    // They round what is multiplied with these to halves. A CPU's own tiles have no use for them.
    if gpu.cooperative().is_some() && halves(spec.dtype) {
        all.push(("coop", ExecOptions { class: Some(Class::Gpu), ..ExecOptions::default() }, F16_TOLERANCE));
    }
    if gpu.has_f16() {
        all.push(("f16", f16, F16_TOLERANCE));
    }
    all
}

/// One row a variant.
fn kernel(gpu: &Gpu, spec: Spec, large: bool) -> Vec<KernelRow> {
    let variants = variants(gpu, &spec, large);
    let Spec { name, dtype, graph, .. } = spec;
    let case = Case::new(gpu, graph, dtype, 7);
    let row = |(variant, options, tolerance): (_, ExecOptions, _)| {
        let measured = case
            .as_ref()
            .map_err(ToString::to_string)
            .and_then(|case| measure(case, &options).map_err(|e| e.to_string()));
        KernelRow { name: name.clone(), variant, tolerance, measured }
    };
    variants.into_iter().map(row).collect()
}

fn measure(case: &Case, options: &ExecOptions) -> Result<Measured, Mismatch> {
    let executor = case.executor(options)?;
    let error = case.compare_on(&executor)?.error;
    let seconds = Case::time(&executor)?;
    Ok(Measured { error, seconds, bytes: traffic(case, &executor), flop: 2 * executor.plans()[0].macs() })
}

/// Bytes that must pass between memory and processors.
fn traffic(case: &Case, executor: &Executor) -> u64 {
    let activations: u64 = executor.plans()[0].steps().iter().map(|step| step.bytes()).sum();
    activations / 4 * executor.storage().bytes() + case.weight_bytes()
}

/// All kernels: in the shapes of a small network, or in shapes that fill a GPU and exceed its caches.
pub(super) fn specs(large: bool) -> Result<Vec<Spec>, GraphError> {
    let pick = |small: [usize; 4], big: [usize; 4]| if large { big } else { small };
    let rows = pick([1, 16, 16, 64], [1, 64, 64, 1024]);
    let picture = pick([1, 16, 16, 64], [2, 64, 64, 320]);
    let flat = pick([2, 16, 16, 64], [16, 64, 64, 256]);
    // It becomes four times as large, and a device may bind 128 MiB at once.
    let doubled = pick([2, 16, 16, 64], [2, 128, 128, 64]);
    let image = pick([2, 16, 16, 64], [8, 128, 128, 128]);
    let [_, _, _, channels] = picture;
    let [n, dim] = if large { [64, 1280] } else { [3, 100] };
    let mut all = Vec::new();
    for dtype in DType::ALL {
        // Whole blocks of each type: pictures of 320 channels have none of 256.
        let whole = |inputs: usize| inputs.next_multiple_of(if dtype.block_len() > 32 { dtype.block_len() } else { 1 });
        let [n, h, w, c] = picture;
        all.push(cases::linear(dtype, [rows[1] * rows[2], whole(rows[3]), rows[3]], true)?);
        all.push(cases::conv2d(dtype, [n, h, w, whole(c)], channels, [3, 1, 1])?);
    }
    all.push(cases::conv2d(DType::F16, [picture[0], picture[1], picture[2], 3], channels, [3, 1, 1])?);
    all.push(cases::conv2d(DType::Q8_0, picture, channels, [3, 2, 1])?);
    all.push(cases::upsampled_conv2d(picture, channels)?);
    all.push(cases::conv2d_end_padded(picture, channels)?);
    use Activation as A;
    let functions = [
        (A::Relu, true),
        (A::LeakyRelu, false),
        (A::ResidualScale, false),
        (A::Silu, true),
        (A::Gelu, false),
        (A::QuickGelu, false),
        (A::GeluTanh, false),
        (A::Sigmoid, false),
        (A::Tanh, false),
        (A::Negate, false),
    ];
    for (f, residual) in functions {
        all.push(cases::linear_then(f, residual, rows, rows[3])?);
    }
    all.push(cases::geglu(DType::Q8_0, rows, rows[3])?);
    let [queries, keys, c] = if large { [4096, 77, 320] } else { [64, 77, 64] };
    all.push(cases::attention(1, [queries, queries, c], 8, false)?);
    all.push(cases::attention(2, [queries, keys, c], 8, false)?);
    all.push(cases::attention(1, [queries / 4, queries / 4, c], 4, true)?);
    all.push(cases::attention(1, [queries / 4, queries / 4, 512], 1, false)?);
    all.push(cases::attention_biased(queries / 16, c, 8)?);
    all.push(cases::attention_shared(2, [queries / 4, queries / 4, 128], [8, 2], true)?);
    all.push(cases::attention_shared(2, [queries / 4, keys, 64], [4, 4], false)?);
    for halves in [false, true] {
        all.push(cases::rotary(flat, 2, halves, halves)?);
    }
    all.push(cases::multiply(flat)?);
    all.push(cases::group_norm(image, 32, Activation::None)?);
    all.push(cases::group_norm(image, 32, Activation::Silu)?);
    all.push(cases::layer_norm([flat[0], flat[1] * flat[2], 1, flat[3]])?);
    all.push(cases::ada_layer_norm(flat)?);
    all.push(cases::scaled_layer_norm(flat)?);
    all.push(cases::rms_norm(flat, 4)?);
    all.push(cases::modulated_rms_norm(flat)?);
    all.push(cases::gated_add(flat)?);
    all.push(cases::slice(flat)?);
    all.push(cases::max_pool(image, false)?);
    all.push(cases::max_pool(image, true)?);
    all.push(cases::avg_pool(image)?);
    all.push(cases::upsample_nearest(doubled, [0, 0])?);
    all.push(cases::upsample_nearest(doubled, [1, 1])?);
    all.push(cases::upsample_bilinear(doubled)?);
    all.push(cases::concat(flat, flat[3])?);
    all.push(cases::activate(Activation::Relu, flat)?);
    all.push(cases::activate(Activation::LeakyRelu, flat)?);
    all.push(cases::activate(Activation::ResidualScale, flat)?);
    all.push(cases::activate(Activation::Silu, flat)?);
    all.push(cases::activate(Activation::Gelu, flat)?);
    all.push(cases::activate(Activation::QuickGelu, flat)?);
    all.push(cases::activate(Activation::GeluTanh, flat)?);
    all.push(cases::activate(Activation::Sigmoid, flat)?);
    all.push(cases::activate(Activation::Tanh, flat)?);
    all.push(cases::activate(Activation::Negate, flat)?);
    all.push(cases::add(flat)?);
    all.push(cases::add_channels(flat)?);
    all.push(cases::relu_backward(flat)?);
    all.push(cases::max_pool_backward(image)?);
    all.push(cases::log_softmax(n, 10)?);
    all.push(cases::log_softmax_backward(n, 10)?);
    all.push(cases::position_encoding(n, dim)?);
    all.push(cases::embedding_add(n, dim)?);
    all.push(cases::token_embedding([n, 77, dim])?);
    all.push(cases::select_tokens([n, 77, dim], 1)?);
    all.push(cases::select_tokens([n, 77, dim], 5)?);
    Ok(all)
}
