//! Autoencoders from their files: what they compute, in every number format, on the CPU and on a device.

#[path = "common/autoencoder.rs"]
mod common;
#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;

use common::{HEIGHT, HIDDEN, LATENT, Made, PICTURE, WIDTH, meta, normals, write};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, MetaValue, Writer};
use nijimi_runtime::model::{Device, Hvae, HvaeSession, ModelError, Network, SessionOptions, Vae, VaeSession};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::graph::{Graph, Shape};
use nijimi_runtime::raw::nn::{MlpHvae, MlpVae};
use nijimi_runtime::raw::plan::PlanError;

const BATCH: usize = 3;

fn vae_file(dtype: DType) -> Made {
    let network = MlpVae { height: HEIGHT, width: WIDTH, channels: 1, hidden: HIDDEN, latent: LATENT };
    write(meta("vae"), &[network.encoder(1).unwrap(), network.decoder(1).unwrap()], dtype)
}

fn hvae_file(dtype: DType) -> Made {
    let network = MlpHvae { height: HEIGHT, width: WIDTH, channels: 1, hidden: HIDDEN, latent: LATENT };
    let graphs = [network.encoder1(1), network.encoder2(1), network.decoder1(1), network.decoder2(1)];
    write(meta("hvae"), &graphs.map(Result::unwrap), dtype)
}

fn options() -> SessionOptions {
    SessionOptions { batch: BATCH, threads: 2, ..Default::default() }
}

/// Pictures in [0, 1].
fn pictures(n: usize) -> Vec<f32> {
    (0..n * PICTURE).map(|i| (i * 37 % 101) as f32 / 100.0).collect()
}

fn doubles(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

/// The largest difference.
fn distance(found: &[f32], expected: impl IntoIterator<Item = f64>) -> f64 {
    let expected: Vec<f64> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).fold(0.0, |d, (a, b)| d.max((f64::from(*a) - b).abs()))
}

/// Quantized weights meet activations of 8 bits on the CPU.
fn tolerance(dtype: DType) -> f64 {
    if matches!(dtype, DType::Q8_0) { 0.02 } else { 2e-6 }
}

fn vae_computes(made: &Made, session: &mut VaeSession, tolerance: f64) {
    for n in [1, BATCH] {
        let x = pictures(n);
        let expected: Vec<_> = x.chunks(PICTURE).map(|x| made.encode("encoder", &doubles(x))).collect();
        let (mu, logvar) = session.encode(&x).unwrap();
        assert!(distance(mu, expected.iter().flat_map(|e| e[0].clone())) <= tolerance);
        assert!(distance(logvar, expected.iter().flat_map(|e| e[1].clone())) <= tolerance);
        let back = expected.iter().flat_map(|e| made.decode("decoder", &e[0], true));
        assert!(distance(session.reconstruct(&x).unwrap(), back) <= tolerance);

        let seeds: Vec<u64> = (0..n as u64).map(|i| 40 + i).collect();
        let z: Vec<f64> = seeds.iter().flat_map(|&seed| normals(seed, 0, LATENT)).collect();
        let expected = || z.chunks(LATENT).flat_map(|z| made.decode("decoder", z, true));
        assert!(distance(session.sample(&seeds).unwrap(), expected()) <= tolerance);
        let z: Vec<f32> = z.iter().map(|z| *z as f32).collect();
        assert!(distance(session.decode(&z).unwrap(), expected()) <= tolerance);
        let bytes = session.sample_u8(&seeds).unwrap();
        let near = |(byte, x): (&u8, f64)| (f64::from(*byte) - x * 255.0).abs() <= 1.0 + tolerance * 255.0;
        assert!(bytes.iter().zip(expected()).all(near));
    }
}

fn hvae_computes(made: &Made, session: &mut HvaeSession, tolerance: f64) {
    for n in [1, BATCH] {
        let x = pictures(n);
        let expected: Vec<_> = x.chunks(PICTURE).map(|x| made.encode("encoder1", &doubles(x))).collect();
        let (mu, logvar) = session.encode(&x).unwrap();
        assert!(distance(mu, expected.iter().flat_map(|e| e[0].clone())) <= tolerance);
        assert!(distance(logvar, expected.iter().flat_map(|e| e[1].clone())) <= tolerance);
        let z1 = mu.to_vec();
        let expected: Vec<_> = z1.chunks(LATENT).map(|z| made.encode("encoder2", &doubles(z))).collect();
        let (mu, logvar) = session.encode2(&z1).unwrap();
        assert!(distance(mu, expected.iter().flat_map(|e| e[0].clone())) <= tolerance);
        assert!(distance(logvar, expected.iter().flat_map(|e| e[1].clone())) <= tolerance);
        let back = z1.chunks(LATENT).flat_map(|z| made.decode("decoder1", &doubles(z), true));
        assert!(distance(session.reconstruct(&x).unwrap(), back) <= tolerance);

        let seeds: Vec<u64> = (0..n as u64).map(|i| 40 + i).collect();
        let expected = seeds.iter().flat_map(|&seed| {
            let mean = made.decode("decoder2", &normals(seed, 0, LATENT), false);
            let z1: Vec<f64> = mean.iter().zip(normals(seed, 1, LATENT)).map(|(mean, noise)| mean + noise).collect();
            made.decode("decoder1", &z1, true)
        });
        assert!(distance(session.sample(&seeds).unwrap(), expected) <= tolerance);
        let z2 = [0.5f32, -1.0, 0.25, 2.0, 0.0];
        let expected = made.decode("decoder2", &doubles(&z2), false);
        assert!(distance(session.decode2(&z2).unwrap(), expected) <= tolerance);
    }
}

/// Seen red with `logvar` decoded in place of `mu`, without the sigmoid, and with the weights' numbers of the graphs
/// as they were before they shared a list.
#[test]
fn a_vae_computes_what_it_should() {
    for dtype in [DType::F32, DType::F16, DType::Q8_0] {
        let made = vae_file(dtype);
        let vae = Vae::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap();
        assert_eq!((vae.info().name.as_str(), vae.info().network.latent), ("tiny", LATENT));
        vae_computes(&made, &mut vae.session(&options()).unwrap(), tolerance(dtype));
    }
}

/// Seen red with draw 0 of the seed in place of draw 1, and with the decoders exchanged.
#[test]
fn a_hierarchical_vae_computes_what_it_should() {
    for dtype in [DType::F32, DType::F16, DType::Q8_0] {
        let made = hvae_file(dtype);
        let hvae = Hvae::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap();
        hvae_computes(&made, &mut hvae.session(&options()).unwrap(), tolerance(dtype));
    }
}

/// The same reference, so that the device is as near to it as the CPU; quantized weights meet f32 activations there.
/// Seen red with an argument of the sigmoid larger by a hundredth.
#[cfg(feature = "gpu")]
#[test]
fn a_device_computes_the_same() {
    let Some(gpu) = device::device() else { return };
    for dtype in [DType::F32, DType::F16, DType::Q8_0] {
        let made = vae_file(dtype);
        let vae = Vae::load(&File::new_checked(&made.bytes).unwrap(), &Device::Gpu(gpu.clone())).unwrap();
        let options = nijimi_runtime::gpu::ExecOptions { no_cooperative: true, ..Default::default() };
        let options = SessionOptions { device: options, ..self::options() };
        vae_computes(&made, &mut vae.session(&options).unwrap(), 1e-5);
        let made = hvae_file(dtype);
        let hvae = Hvae::load(&File::new_checked(&made.bytes).unwrap(), &Device::Gpu(gpu.clone())).unwrap();
        hvae_computes(&made, &mut hvae.session(&options).unwrap(), 1e-5);
    }
}

/// A picture does not depend on its neighbours, bit for bit.
///
/// Seen red with the first seed's noise for all.
#[test]
fn seeds_are_independent() {
    let made = hvae_file(DType::F32);
    let hvae = Hvae::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap();
    let mut session = hvae.session(&options()).unwrap();
    let together = session.sample(&[5, 6, 7]).unwrap().to_vec();
    assert_ne!(together[..PICTURE], together[PICTURE..2 * PICTURE]);
    for (i, seed) in [5, 6, 7].into_iter().enumerate() {
        assert_eq!(session.sample(&[seed]).unwrap(), &together[i * PICTURE..][..PICTURE]);
    }
}

/// Seen red with what the last evaluation left in place of zeros.
#[test]
fn a_short_input_is_followed_by_zeros() {
    let mut g = Graph::new();
    let x = g.input("x", Shape::vector(3, 2)).unwrap();
    let y = g.relu("f", x).unwrap();
    g.output("y", y).unwrap();
    let bytes = Writer::new().finish();
    let network = Network::load(&File::new_checked(&bytes).unwrap(), vec![g.clone()], &Device::Cpu).unwrap();
    let mut evaluator = network.evaluator(vec![g], &options()).unwrap();
    evaluator.evaluate(0, &[("x", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])], &[]).unwrap();
    evaluator.evaluate(0, &[("x", &[7.0, -8.0, 9.0])], &[]).unwrap();
    assert_eq!(evaluator.output("y").unwrap(), [7.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    assert!(evaluator.evaluate(0, &[("x", &[0.0; 7])], &[]).is_err());
}

/// Seen red with results not looked at.
#[test]
fn refusals_say_why() {
    let made = vae_file(DType::F32);
    let file = File::new_checked(&made.bytes).unwrap();
    let error = Hvae::load(&file, &Device::Cpu).unwrap_err().to_string();
    assert!(error.starts_with("nijimi.system is \"vae\", this version runs hvae"), "{error}");
    let vae = Vae::load(&file, &Device::Cpu).unwrap();
    let mut session = vae.session(&options()).unwrap();
    let error = session.sample(&[]).unwrap_err().to_string();
    assert_eq!(error, "number of pictures is 0, must be 1 to 3");
    let error = session.decode(&[0.0; LATENT + 1]).unwrap_err().to_string();
    assert_eq!(error, "latent vectors is 6 values, must be 1 to 3 times 5");
    assert!(session.encode(&[0.0; (BATCH + 1) * PICTURE]).is_err());
    let error = session.decode(&[f32::NAN; BATCH * LATENT]).unwrap_err().to_string();
    assert!(error.starts_with("decoder.linear1 (linear) made NaN"), "{error}");
    // The session is not lost.
    assert!(session.sample(&[1]).is_ok());

    let bytes = session.bytes() as u64;
    let limited = SessionOptions { memory_limit: Some(bytes / 2), ..options() };
    assert!(matches!(
        vae.session(&limited).map(drop),
        Err(Error::Exec(nijimi_runtime::raw::plan::ExecError::Plan(PlanError::Memory { .. })))
    ));
    assert!(vae.session(&SessionOptions { batch: 0, ..options() }).is_err());
}

#[test]
fn a_file_that_is_wrong_is_refused() {
    let network = MlpVae { height: HEIGHT, width: WIDTH, channels: 1, hidden: HIDDEN, latent: LATENT };
    let graphs = [network.encoder(1).unwrap(), network.decoder(1).unwrap()];
    let load = |key, value: MetaValue, graphs: &[_]| {
        let mut meta = meta("vae");
        meta.iter_mut().filter(|(k, _)| *k == key).for_each(|(_, v)| *v = value.clone());
        let made = write(meta, graphs, DType::F32);
        Vae::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).map(drop)
    };
    let text = |result: Result<(), Error>| result.unwrap_err().to_string();
    let range = MetaValue::F32s(vec![-1.0, 1.0]);
    assert_eq!(text(load("nijimi.image.range", range, &graphs)), "nijimi.image.range is [-1.0, 1.0], must be [0, 1]");
    let zero = text(load("nijimi.vae.latent", 0u32.into(), &graphs));
    assert_eq!(zero, "latent is 0, must be 1 to 1048576");
    let wider = load("nijimi.vae.hidden", 33u32.into(), &graphs);
    assert!(matches!(wider, Err(Error::Model(ModelError::TensorShape { .. }))), "{wider:?}");
    let half = load("none", 0u32.into(), &graphs[..1]);
    assert!(matches!(half, Err(Error::Model(ModelError::MissingTensor { .. }))), "{half:?}");
}
