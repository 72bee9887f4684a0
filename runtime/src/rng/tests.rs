use super::*;
use alloc::vec;
use alloc::vec::Vec;

/// Random123's `kat_vectors`, philox4x32 with 10 rounds. Seen red with 9 and with 11 rounds.
#[test]
fn known_answers_of_random123() {
    let ones = u32::MAX;
    assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(philox4x32_10([ones; 4], [ones; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
    assert_eq!(philox4x32_10(pi, [0xa409_3822, 0x299f_31d0]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
}

/// `torch.randn(12)` on CUDA after `torch.manual_seed(0)`, as quoted in the header of AUTOMATIC1111's `rng_philox.py`.
/// Seen red with the cosine branch, with the element in word 0, and with seed 1.
#[test]
fn seed_0_is_torch_cuda_seed_0() {
    #[rustfmt::skip]
    let torch = [
        -0.924_662_6, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.579_725_6,
        -0.622_851_2, -0.32838709, -1.074_542_3, -0.36314407, -1.671_050_7, 2.265_505_f32,
    ];
    let mut ours = [0f32; 12];
    normal_fill(0, 0, &mut ours);
    for (a, b) in ours.iter().zip(torch) {
        // All but one are equal bits. An angle constant rounded to f32 would miss by 2e-7.
        assert!((a - b).abs() < 1e-8, "{a} {b}");
    }
}

/// The bits themselves, so that a platform whose `libm` differs is noticed. Seen red with `sin` in f32.
#[test]
fn the_bits_are_fixed() {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for seed in [0, 1, 0x1234_5678_9abc_def0] {
        let mut x = [0f32; 1000];
        normal_fill(seed, 5, &mut x);
        for byte in x.iter().flat_map(|v| v.to_bits().to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(hash, 0xca4f_12d9_dbd1_5ed2, "{hash:#x}");
}

#[test]
fn an_element_does_not_depend_on_the_length_and_each_coordinate_matters() {
    let (mut a, mut b) = ([0f32; 7], [0f32; 100]);
    normal_fill(9, 2, &mut a);
    normal_fill(9, 2, &mut b);
    assert_eq!(a, b[..7]);
    assert_eq!(b[99], normal_at(9, 2, 99));
    for other in [normal_at(10, 2, 3), normal_at(9, 3, 3), normal_at(9, 2, 4), normal_at(9 + (1 << 32), 2, 3)] {
        assert_ne!(other, b[3]);
    }
    assert_ne!(normal_at(9, 2, 3 + (1 << 32)), b[3]);
}

#[test]
fn the_extreme_words_give_finite_normals() {
    for g0 in [0, 1, u32::MAX] {
        for g1 in [0, 1, u32::MAX / 4, u32::MAX] {
            assert!(box_muller(g0, g1).is_finite());
        }
    }
    // The largest value there is: u = 2^-33, sin = 1.
    assert!((box_muller(0, u32::MAX / 4) - 6.7637).abs() < 1e-3);
}

/// Kolmogorov-Smirnov distance from the standard normal, times sqrt(n).
fn kolmogorov(x: &mut [f32]) -> f64 {
    x.sort_by(f32::total_cmp);
    let n = x.len() as f64;
    let cdf = |v: f32| 0.5 * libm::erfc(-f64::from(v) / core::f64::consts::SQRT_2);
    let d = x.iter().enumerate().map(|(i, &v)| f64::max(cdf(v) - i as f64 / n, (i + 1) as f64 / n - cdf(v)));
    d.fold(0.0, f64::max) * libm::sqrt(n)
}

fn moments(x: &[f32]) -> (f64, f64) {
    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
    (mean, x.iter().map(|&v| (f64::from(v) - mean) * (f64::from(v) - mean)).sum::<f64>() / x.len() as f64)
}

/// Mean, variance, KS (1.95 is the level of 1e-3), and the correlation of neighbours, draws and seeds.
/// Seen red with a normal scaled by 1.02, and with the draw left out of the counter.
#[test]
fn normals_are_normal_and_independent() {
    let n = 50_000;
    let (mut a, mut b, mut c) = (vec![0f32; n], vec![0f32; n], vec![0f32; n]);
    normal_fill(42, 0, &mut a);
    normal_fill(42, 1, &mut b);
    normal_fill(43, 0, &mut c);
    let five_sigma = 5.0 / libm::sqrt(n as f64);
    let correlation =
        |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum::<f64>() / n as f64;
    for (x, y) in [(&a, &b), (&a, &c), (&b, &c)] {
        assert!(correlation(x, y).abs() < five_sigma);
    }
    assert!(correlation(&a[1..], &a).abs() < five_sigma);
    let mut stream = Stream::new(42, "normal test", 0);
    let mut d: Vec<f32> = (0..n).map(|_| stream.normal()).collect();
    for x in [&mut a, &mut b, &mut c, &mut d] {
        let (mean, variance) = moments(x);
        assert!(mean.abs() < five_sigma && (variance - 1.0).abs() < five_sigma * core::f64::consts::SQRT_2);
        let ks = kolmogorov(x);
        assert!(ks < 1.95, "{ks}");
    }
}

/// As above for the normals of f64, and that they are not f32's widened. Seen red with both uniforms taken from one draw,
/// and with a normal scaled by 1.02.
#[test]
fn normals_of_f64_are_normal() {
    let n = 50_000;
    let mut stream = Stream::new(42, "normal test", 1);
    let x: Vec<f64> = (0..n).map(|_| stream.normal_f64()).collect();
    assert!(x.iter().filter(|v| f64::from(**v as f32) == **v).count() < 10);
    let five_sigma = 5.0 / libm::sqrt(n as f64);
    let correlation = x.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / n as f64;
    assert!(correlation.abs() < five_sigma, "{correlation}");
    let mut x: Vec<f32> = x.into_iter().map(|v| v as f32).collect();
    let (mean, variance) = moments(&x);
    assert!(mean.abs() < five_sigma && (variance - 1.0).abs() < five_sigma * core::f64::consts::SQRT_2);
    let ks = kolmogorov(&mut x);
    assert!(ks < 1.95, "{ks}");
}

#[test]
fn uniforms_are_uniform_and_below_one() {
    let mut s = Stream::new(1, "uniform test", 8);
    let (mut sum, mut sum64) = (0.0, 0.0);
    for _ in 0..50_000 {
        let (u, v) = (s.uniform(), s.uniform_f64());
        assert!((0.0..1.0).contains(&u) && (0.0..1.0).contains(&v));
        (sum, sum64) = (sum + f64::from(u), sum64 + v);
    }
    for mean in [sum / 5e4, sum64 / 5e4] {
        assert!((mean - 0.5).abs() < 5.0 / libm::sqrt(12.0 * 5e4));
    }
}

/// Chi-square of 7 cells at 5 sigma, and a range so large that taking a remainder would be biased by a half.
/// Seen red with `next_u64() % n`.
#[test]
fn below_is_unbiased() {
    let mut s = Stream::new(3, "below test", 0);
    let mut count = [0f64; 7];
    (0..70_000).for_each(|_| count[s.below(7) as usize] += 1.0);
    let chi2: f64 = count.iter().map(|c| (c - 1e4) * (c - 1e4) / 1e4).sum();
    assert!(chi2 < 6.0 + 5.0 * libm::sqrt(12.0), "{chi2}");
    let n = 3 << 62;
    let low = (0..20_000).filter(|_| s.below(n) < 1 << 62).count() as f64;
    assert!((low / 2e4 - 1.0 / 3.0).abs() < 0.02, "{low}");
    assert_eq!((s.below(0), s.below(1)), (0, 0));
}

/// All 24 orders of 4 items come equally often. Seen red with `below(i)` (Sattolo's cycles: 6 orders only).
#[test]
fn shuffle_is_uniform_over_orders_and_repeats_by_key() {
    let mut seen = [0f64; 256];
    for step in 0..24_000 {
        let mut items = [0usize, 1, 2, 3];
        Stream::new(5, "shuffle", step).shuffle(&mut items);
        seen[items[0] * 64 + items[1] * 16 + items[2] * 4 + items[3]] += 1.0;
    }
    assert_eq!(seen.iter().filter(|&&c| c > 0.0).count(), 24);
    let chi2: f64 = seen.iter().filter(|&&c| c > 0.0).map(|c| (c - 1e3) * (c - 1e3) / 1e3).sum();
    assert!(chi2 < 23.0 + 5.0 * libm::sqrt(46.0), "{chi2}");
    let order = |seed, purpose, step| {
        let mut items: Vec<u32> = (0..100).collect();
        Stream::new(seed, purpose, step).shuffle(&mut items);
        items
    };
    assert_eq!(order(1, "shuffle", 2), order(1, "shuffle", 2));
    for other in
        [order(2, "shuffle", 2), order(1, "label", 2), order(1, "shuffle", 3), order(1, "shuffle", 2 + (1 << 32))]
    {
        assert_ne!(order(1, "shuffle", 2), other);
    }
    Stream::new(1, "shuffle", 0).shuffle::<u8>(&mut []);
}

#[test]
fn streams_never_use_the_counters_of_pictures() {
    for purpose in ["", "shuffle", "noise", "timestep", "label drop", "init"] {
        assert_ne!(purpose_word(purpose), 0);
    }
}
