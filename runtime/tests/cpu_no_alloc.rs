//! Nothing is allocated while a layer runs: a session's memory is known before it starts.

#[path = "common/counting.rs"]
mod counting;

use counting::ALLOCATIONS;
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::{
    AttentionShape, Context, Conv2dShape, Epilogue, ImageShape, Matrix, activate, ada_layer_norm, attention,
    attention_scratch, conv2d, conv2d_scratch, group_norm, group_norm_scratch, layer_norm, linear, linear_scratch,
    modulated_rms_norm, rotary,
};
use nijimi_runtime::raw::graph::Activation;
use std::sync::atomic::Ordering::Relaxed;

/// The only test of this binary, so that no other allocates meanwhile. Seen red with the table of pointers in a `Vec`.
#[test]
fn a_layer_allocates_nothing() {
    let s = Conv2dShape {
        n: 3,
        h: 20,
        w: 20,
        c_in: 64,
        c_out: 100,
        kernel: 3,
        stride: 1,
        upsample: false,
        pad: 1,
        pad_end: 1,
    };
    let ctx = Context::new(3);
    // A thread allocates while it starts, which may be after its pool was made.
    std::thread::sleep(std::time::Duration::from_millis(100));
    for (dtype, weight_bytes) in [(DType::F32, 4 * 64), (DType::F16, 2 * 64), (DType::Q8_0, 68), (DType::Q4_0, 36)] {
        let data = vec![0; s.c_out * 9 * weight_bytes];
        let packed = Matrix::pack(dtype, &data, s.c_out, 9, s.c_in).unwrap();
        let stored = Matrix::stored(dtype, data.into(), s.c_out, 9, s.c_in).unwrap();
        let (x, bias) = (vec![1.0; s.n * s.h * s.w * s.c_in], vec![1.0; s.c_out]);
        let mut y = vec![0.0; s.n * s.h * s.w * s.c_out];
        let mut scratch = vec![0; conv2d_scratch(&ctx, &s, dtype)];
        let e = Epilogue { bias: &bias, residual: None, activation: Activation::Relu };
        let before = ALLOCATIONS.load(Relaxed);
        for _ in 0..20 {
            conv2d(&ctx, &s, &x, &packed, &e, &mut scratch, &mut y);
        }
        conv2d(&ctx, &s, &x, &stored, &e, &mut scratch, &mut y);
        assert_eq!(ALLOCATIONS.load(Relaxed), before, "{}", dtype.name());
        assert!(y.iter().all(|v| *v == 1.0));
    }
    a_transformer_block_allocates_nothing(&ctx);
}

/// Seen red with attention's transposed values in a `Vec`.
fn a_transformer_block_allocates_nothing(ctx: &Context) {
    let (n, tokens, c) = (2, 400, 64);
    let (heads, kv_heads) = (4, 2);
    let shape = AttentionShape { n, queries: tokens, keys: tokens, c, heads, kv_heads, causal: true, scale: None };
    let picture = ImageShape { n, h: 20, w: 20, c };
    let x = vec![1.0; n * tokens * c];
    let (mut y, mut scratch) = (x.clone(), vec![0; attention_scratch(ctx, &shape)]);
    scratch.resize(scratch.len().max(group_norm_scratch(picture, 8)), 0);
    scratch.resize(scratch.len().max(linear_scratch(ctx, n * tokens, c, DType::F32)), 0);
    let w = Matrix::pack(DType::F32, &vec![0; 2 * c * c * 4], 2 * c, 1, c).unwrap();
    let (ones, e) = (vec![1.0; c], Epilogue { activation: Activation::Geglu, ..Epilogue::NONE });
    let (vectors, angles) = (vec![1.0; n * c], vec![1.0; tokens * c / heads]);
    let before = ALLOCATIONS.load(Relaxed);
    for _ in 0..20 {
        let affine = [&ones[..], &ones];
        group_norm(ctx, picture, 8, 1e-5, affine, Activation::Silu, Some(&x), &mut scratch, &mut y);
        layer_norm(ctx, c, 1e-5, affine, None, &mut y);
        ada_layer_norm(ctx, picture, 1e-5, &vectors, None, None, &mut y);
        modulated_rms_norm(ctx, picture, 1e-5, [&ones, &vectors], None, &mut y);
        rotary(ctx, [c, heads], true, &angles, None, &mut y);
        activate(ctx, Activation::Gelu, &mut y);
        let kv = &x[..n * tokens * c / 2];
        attention(ctx, &shape, [&x, kv, kv], None, Some(&[Some(300), None]), &mut scratch, &mut y);
        linear(ctx, n * tokens, &x, &w, &e, &mut scratch, &mut y);
    }
    assert_eq!(ALLOCATIONS.load(Relaxed), before);
}
