//! The autoencoders of step 7 and appendix C: parameters, losses and gradients against plain arithmetic in f64, and the
//! runtime's answers from their files.
#[allow(dead_code, reason = "shared by tests that each use a part")]
mod common;

use common::{Folder, PICTURES, idx};
use dfdx::prelude::{AsArray, Backward as _, Cpu, NoneTape, OwnedTape, TensorFromVec as _, Trace as _};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Hvae as RuntimeHvae, SessionOptions, Vae as RuntimeVae};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::rng::Stream;
use nijimi_trainer::export::autoencoder::{Description, autoencoder};
use nijimi_trainer::fit::Record;
use nijimi_trainer::nn::hvae::{Estimator, Hvae};
use nijimi_trainer::nn::vae::{Terms, Vae, VaeConfig, kl_standard, reparameterize};
use nijimi_trainer::param::{self, Module, State};
use nijimi_trainer::tensor::T2;

const TINY: VaeConfig = VaeConfig { pixels: 12, hidden: 7, latent: 3 };
const BATCH: usize = 4;

/// The book's figures. Seen red with hidden layers of 201.
#[test]
fn parameter_counts_are_the_books() {
    let device = Cpu::default();
    let mut vae = Vae::new(&device, 0, VaeConfig { pixels: 784, hidden: 200, latent: 20 });
    assert_eq!(param::count(&mut vae), 326_824);
    let mut hvae = Hvae::new(&device, 0, VaeConfig { pixels: 784, hidden: 100, latent: 20 });
    assert_eq!(param::count(&mut hvae), 174_084);
}

/// `KL(N(1, 1/2^2) || N(0, 1))`, and the book's form, which is twice that.
/// Seen red with the 1 left out.
#[test]
fn the_divergence_is_the_closed_form() {
    let logvar = 0.25f32.ln();
    let kl: Vec<f64> = kl_standard(&[1.0, 0.0], &[logvar, 0.0]).collect();
    assert!((kl[0] - 0.818_147_180_559_945_4).abs() < 1e-7, "{}", kl[0]);
    assert_eq!(kl[1], 0.0);
    let terms = Terms { reconstruction: 0.0, kl: kl[0] };
    assert!((terms.loss(1.0) - 1.636_294_361_119_890_6).abs() < 2e-7);
    // The book's last loss in nats.
    let last = Terms { reconstruction: 38.600_760_223_388_67, kl: 0.0 };
    assert!((last.negative_elbo(784) - 739.748).abs() < 1e-3, "{}", last.negative_elbo(784));
}

fn random(n: usize, name: &str) -> Vec<f64> {
    let mut stream = Stream::new(5, name, 0);
    (0..n).map(|_| f64::from(stream.normal())).collect()
}

fn single(v: &[f64]) -> Vec<f32> {
    v.iter().map(|v| *v as f32).collect()
}

fn tensor(v: &[f64], width: usize) -> T2<Cpu> {
    Cpu::default().tensor_from_vec(single(v), (v.len() / width, width))
}

/// Weights in f64 by name.
type Weights = std::collections::BTreeMap<String, (usize, Vec<f64>)>;

fn weights(state: &State) -> Weights {
    let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    state.iter().map(|(k, v)| (k.clone(), (*v.shape.last().expect("a shape"), wide(&v.data)))).collect()
}

/// A linear layer of one row.
fn linear(w: &Weights, name: &str, x: &[f64]) -> Vec<f64> {
    let ((width, weight), (_, bias)) = (&w[&format!("{name}.weight")], &w[&format!("{name}.bias")]);
    assert_eq!(*width, x.len());
    let row = |(r, b): (&[f64], &f64)| b + r.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    weight.chunks_exact(*width).zip(bias).map(row).collect()
}

fn relu(v: Vec<f64>) -> Vec<f64> {
    v.into_iter().map(|v| v.max(0.0)).collect()
}

fn encode(w: &Weights, name: &str, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let h = relu(linear(w, &format!("{name}.linear"), x));
    (linear(w, &format!("{name}.linear_mu"), &h), linear(w, &format!("{name}.linear_logvar"), &h))
}

fn decode(w: &Weights, name: &str, z: &[f64]) -> Vec<f64> {
    linear(w, &format!("{name}.linear2"), &relu(linear(w, &format!("{name}.linear1"), z)))
}

fn draw((mu, logvar): &(Vec<f64>, Vec<f64>), eps: &[f64]) -> Vec<f64> {
    mu.iter().zip(logvar).zip(eps).map(|((m, l), e)| m + (l / 2.0).exp() * e).collect()
}

/// `sum (a - b)^2`.
fn squares(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The book's divergence term: `-sum (1 + ln s^2 - (mu - mean)^2 - s^2)`.
fn twice_kl((mu, logvar): &(Vec<f64>, Vec<f64>), mean: &[f64]) -> f64 {
    squares(mu, mean) - logvar.iter().map(|l| 1.0 + l - l.exp()).sum::<f64>()
}

fn error(x: &[f64], x_hat: Vec<f64>) -> f64 {
    squares(x, &x_hat.iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect::<Vec<_>>())
}

/// Which loss.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Loss {
    Vae,
    Hvae(Estimator),
}

/// The loss of one picture, in f64, as the formulas have it.
fn picture_loss(w: &Weights, x: &[f64], eps: [&[f64]; 2], beta: f64, loss: Loss) -> f64 {
    let zeros = vec![0.0; TINY.latent];
    let Loss::Hvae(estimator) = loss else {
        let q = encode(w, "encoder", x);
        return error(x, decode(w, "decoder", &draw(&q, eps[0]))) + beta * twice_kl(&q, &zeros);
    };
    let q1 = encode(w, "encoder1", x);
    let z1 = draw(&q1, eps[0]);
    let q2 = encode(w, "encoder2", &z1);
    let z_hat = decode(w, "decoder2", &draw(&q2, eps[1]));
    let middle = match estimator {
        Estimator::Surrogate => twice_kl(&q1, &z_hat),
        Estimator::Exact => squares(&z1, &z_hat) - q1.1.iter().map(|l| 1.0 + l).sum::<f64>(),
    };
    error(x, decode(w, "decoder1", &z1)) + beta * (twice_kl(&q2, &zeros) + middle)
}

fn batch_loss(w: &Weights, x: &[f64], eps: [&[f64]; 2], beta: f64, loss: Loss) -> f64 {
    let row = |i: usize| {
        let part = |v: usize, all: &'static str| (v * i, all);
        let ((from, _), (at, _)) = (part(TINY.pixels, "x"), part(TINY.latent, "eps"));
        let eps = eps.map(|e| &e[at..at + TINY.latent]);
        picture_loss(w, &x[from..from + TINY.pixels], eps, beta, loss)
    };
    (0..BATCH).map(row).sum::<f64>() / BATCH as f64
}

/// Gradients of every weight by the tape, against finite differences in f64 with the same noise: the reparameterization
/// passes them through the draw.
fn check<M: Module<Cpu>>(
    mut model: M,
    loss: Loss,
    run: impl Fn(
        &M,
        dfdx::prelude::Tensor<(usize, usize), f32, Cpu, OwnedTape<f32, Cpu>>,
        [&T2<Cpu>; 2],
        f64,
    ) -> (dfdx::prelude::Tensor<dfdx::prelude::Rank0, f32, Cpu, OwnedTape<f32, Cpu>>, Terms),
) {
    let beta = 0.7;
    let x: Vec<f64> = random(BATCH * TINY.pixels, "x").iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect();
    let x: Vec<f64> = single(&x).iter().map(|v| f64::from(*v)).collect();
    let eps = ["eps1", "eps2"].map(|n| random(BATCH * TINY.latent, n));
    let tensors = eps.each_ref().map(|e| tensor(e, TINY.latent));
    let w = weights(&param::state(&mut model, ""));
    let gradients = param::zero_gradients(&mut model);
    let traced = tensor(&x, TINY.pixels).traced(gradients);
    let (value, terms) = run(&model, traced, tensors.each_ref(), beta);
    let eps = eps.each_ref().map(Vec::as_slice);
    let expected = batch_loss(&w, &x, eps, beta, loss);
    assert!((terms.loss(beta) - expected).abs() < 1e-5 * expected.abs(), "{loss:?}: {} {expected}", terms.loss(beta));
    assert!(
        (f64::from(value.array()) - expected).abs() < 1e-5 * expected.abs(),
        "{loss:?}: {} {expected}",
        value.array()
    );
    let mut gradients = value.backward();
    let mut slopes = Slopes { gradients: &mut gradients, w: &w, x: &x, eps, beta, loss, seen: 0 };
    model.visit("", &mut slopes);
    assert_eq!(slopes.seen, w.values().map(|v| v.1.len()).sum::<usize>());
}

struct Slopes<'a> {
    gradients: &'a mut dfdx::prelude::Gradients<f32, Cpu>,
    w: &'a Weights,
    x: &'a [f64],
    eps: [&'a [f64]; 2],
    beta: f64,
    loss: Loss,
    seen: usize,
}

impl param::Visitor<Cpu> for Slopes<'_> {
    fn visit<S: dfdx::prelude::Shape>(
        &mut self,
        name: &str,
        t: &mut dfdx::prelude::Tensor<S, f32, Cpu>,
        _: param::Kind,
    ) {
        let found = self.gradients.get_or_alloc_mut(&*t).expect("a gradient").to_vec();
        for (i, g) in found.iter().enumerate() {
            let h = 1e-6;
            let at = |step: f64| {
                let mut w = self.w.clone();
                w.get_mut(name).expect("a weight").1[i] += step;
                batch_loss(&w, self.x, self.eps, self.beta, self.loss)
            };
            let slope = (at(h) - at(-h)) / (2.0 * h);
            let near = (f64::from(*g) - slope).abs() < 1e-5 * slope.abs().max(1.0);
            assert!(near, "{:?}: {name}[{i}]: {g}, by differences {slope}", self.loss);
        }
        self.seen += found.len();
    }
}

/// Seen red with the variance in place of the standard deviation in the draw.
#[test]
fn the_vaes_gradient_is_that_of_its_loss() {
    let model = Vae::new(&Cpu::default(), 3, TINY);
    check(model, Loss::Vae, |m, x, eps, beta| m.loss(x, eps[0], beta));
}

/// Seen red with the variance in place of the standard deviation in the draw.
#[test]
fn the_hvaes_gradients_are_those_of_both_losses() {
    for estimator in [Estimator::Surrogate, Estimator::Exact] {
        let model = Hvae::new(&Cpu::default(), 3, TINY);
        check(model, Loss::Hvae(estimator), |m, x, eps, beta| m.loss(x, eps, beta, estimator));
    }
}

/// `z = mu + sigma eps`: its mean and variance over many draws.
/// Seen red with the variance in place of the standard deviation.
#[test]
fn draws_have_the_mean_and_variance_asked_for() {
    let n = 100_000;
    let eps = tensor(&random(n, "draws"), 1);
    let (mu, logvar) = (tensor(&vec![0.5; n], 1), tensor(&vec![0.36f64.ln(); n], 1));
    let z = reparameterize(&mu, &logvar, &eps, NoneTape).as_vec();
    let mean = z.iter().map(|z| f64::from(*z)).sum::<f64>() / n as f64;
    let variance = z.iter().map(|z| (f64::from(*z) - mean).powi(2)).sum::<f64>() / n as f64;
    assert!((mean - 0.5).abs() < 4.0 * 0.6 / (n as f64).sqrt(), "{mean}");
    assert!((variance - 0.36).abs() < 4.0 * 0.36 * (2.0 / n as f64).sqrt(), "{variance}");
}

/// A linear chain: mu1 1/2, sigma1 0.6, `z2|z1 ~ N(0.8 z1, 0.4^2)`, `z1_hat = 1.1 z2`. In closed form the exact term
/// `E (z1 - z1_hat)^2` is 0.202384, the book's surrogate 0.835984, and their difference `2 Cov(z1, z1_hat)`; both estimators
/// of the network's loss are asked too, by Monte Carlo.
/// Seen red with the variance in place of the standard deviation in the draw.
#[test]
fn the_surrogate_leaves_out_a_covariance() {
    let (mu, sigma, a, s, b) = (0.5f64, 0.6f64, 0.8f64, 0.4f64, 1.1f64);
    let exact = (1.0 - a * b).powi(2) * (mu * mu + sigma * sigma) + b * b * s * s;
    let surrogate = (mu - a * b * mu).powi(2) + b * b * (a * a * sigma * sigma + s * s) + sigma * sigma;
    assert!((exact - 0.202_384).abs() < 1e-9 && (surrogate - 0.835_984).abs() < 1e-9, "{exact} {surrogate}");
    assert!((surrogate - exact - 2.0 * b * a * sigma * sigma).abs() < 1e-12);

    // The chain as a network: hidden units carry z and -z, so that ReLU loses nothing. The picture is one pixel of 0.
    let mut model = Hvae::new(&Cpu::default(), 0, VaeConfig { pixels: 1, hidden: 2, latent: 1 });
    let mut state = param::state(&mut model, "");
    let mut set = |name: &str, v: &[f32]| state.get_mut(name).expect("a tensor").data.copy_from_slice(v);
    for part in ["encoder1.linear", "encoder2.linear", "decoder1.linear1", "decoder2.linear1"] {
        set(&format!("{part}.weight"), &[1.0, -1.0]);
        set(&format!("{part}.bias"), &[0.0, 0.0]);
    }
    let layers = [
        ("encoder1.linear_mu", 0.0, mu),
        ("encoder1.linear_logvar", 0.0, 2.0 * sigma.ln()),
        ("encoder2.linear_mu", a, 0.0),
        ("encoder2.linear_logvar", 0.0, 2.0 * s.ln()),
        ("decoder2.linear2", b, 0.0),
        ("decoder1.linear2", 0.0, 0.0),
    ];
    for (name, slope, bias) in layers {
        set(&format!("{name}.weight"), &[slope as f32, -slope as f32]);
        set(&format!("{name}.bias"), &[bias as f32]);
    }
    param::load(&mut model, "", &state).expect("the chain");
    let n = 200_000;
    let [e1, e2] = ["toy1", "toy2"].map(|name| tensor(&random(n, name), 1));
    let x = tensor(&vec![0.0; n], 1);
    let term = |estimator| {
        let (_, t) = model.loss::<NoneTape>(x.clone(), [&e1, &e2], 1.0, estimator);
        // What else is in the divergence is known: KL of z2, and the entropy of q(z1|x).
        let kl2 = a * a * (mu * mu + sigma * sigma) + s * s - 1.0 - 2.0 * s.ln();
        2.0 * t.kl - kl2 + 1.0 + 2.0 * sigma.ln()
    };
    let (e, b) = (term(Estimator::Exact), term(Estimator::Surrogate));
    assert!((e - exact).abs() < 0.01, "{e} {exact}");
    assert!((b - surrogate).abs() < 0.01, "{b} {surrogate}");
}

fn about(network: &'static str, layers: &'static [&'static str]) -> Description {
    let system = if network == "mlp-vae" { "vae" } else { "hvae" };
    Description { name: "test".into(), size: (3, 4), system, network, layers, beta: 1.0 }
}

const VAE_LAYERS: [&str; 5] =
    ["encoder.linear", "encoder.linear_mu", "encoder.linear_logvar", "decoder.linear1", "decoder.linear2"];
const HVAE_LAYERS: [&str; 10] = [
    "encoder1.linear",
    "encoder1.linear_mu",
    "encoder1.linear_logvar",
    "encoder2.linear",
    "encoder2.linear_mu",
    "encoder2.linear_logvar",
    "decoder1.linear1",
    "decoder1.linear2",
    "decoder2.linear1",
    "decoder2.linear2",
];

fn same(what: &str, a: &[f32], b: &T2<Cpu>) {
    let b = b.as_vec();
    assert_eq!(a.len(), b.len(), "{what}");
    let far = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 2e-6, "{what}: {far}");
}

/// What is trained is what is run: the same weights in both.
/// Seen red with biases left out of the file.
#[test]
fn the_runtime_answers_as_the_trained_network() {
    let device = Cpu::default();
    let x: Vec<f64> = random(BATCH * TINY.pixels, "pictures").iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect();
    let z = random(BATCH * TINY.latent, "latents");
    let options = SessionOptions { batch: BATCH, ..SessionOptions::default() };
    let (x_t, z_t) = (tensor(&x, TINY.pixels), tensor(&z, TINY.latent));

    let mut vae = Vae::new(&device, 9, TINY);
    let state = param::state(&mut vae, "");
    let bytes = autoencoder(&state, &TINY, &about("mlp-vae", &VAE_LAYERS), &Record::default(), DType::F32);
    let bytes = bytes.expect("a file");
    let runtime = RuntimeVae::load(&File::new_checked(&bytes).expect("GGUF"), &Device::Cpu).expect("a model");
    let mut session = runtime.session(&options).expect("a session");
    let (mu, logvar) = vae.encode(x_t.clone());
    let found = session.encode(&single(&x)).expect("latents");
    same("mu", found.0, &mu);
    same("logvar", found.1, &logvar);
    same("picture", session.decode(&single(&z)).expect("pictures"), &vae.decode(z_t.clone()));

    let mut hvae = Hvae::new(&device, 9, TINY);
    let state = param::state(&mut hvae, "");
    let bytes = autoencoder(&state, &TINY, &about("mlp-hvae", &HVAE_LAYERS), &Record::default(), DType::F32);
    let bytes = bytes.expect("a file");
    let runtime = RuntimeHvae::load(&File::new_checked(&bytes).expect("GGUF"), &Device::Cpu).expect("a model");
    let mut session = runtime.session(&options).expect("a session");
    let (mu, logvar) = hvae.encode1(x_t);
    let found = session.encode(&single(&x)).expect("latents");
    same("mu1", found.0, &mu);
    same("logvar1", found.1, &logvar);
    let (mu, logvar) = hvae.encode2(z_t.clone());
    let found = session.encode2(&single(&z)).expect("latents");
    same("mu2", found.0, &mu);
    same("logvar2", found.1, &logvar);
    same("z1", session.decode2(&single(&z)).expect("means"), &hvae.decode2(z_t.clone()));
    same("picture", session.decode(&single(&z)).expect("pictures"), &hvae.decode1(z_t));
}

/// From a folder of pictures to a file, a report and figures, as the command does it.
/// Seen red with the report not written.
#[test]
fn a_small_vae_is_fitted_and_reported() {
    use argh::FromArgs as _;
    use nijimi_trainer::systems::autoencoder::{Asked, run};
    use nijimi_trainer::systems::vae::VaeArgs;
    let folder = Folder::new("vae");
    common::write_data(&folder.0, 96);
    // The test split is the training split under its other name.
    for name in [PICTURES, common::LABELS] {
        let test = name.replacen("train", "t10k", 1);
        std::fs::copy(folder.join(name), folder.join(&test)).expect("a copy");
    }
    assert_eq!(idx(&[1], &[7]).len(), 9);
    let [data, out, report] = ["", "vae.gguf", "report"].map(|n| folder.join(n).display().to_string());
    let args =
        ["--data", &data, "--out", &out, "--report", &report, "--epochs", "60", "--hidden", "16", "--latent", "2"];
    let args = [&args[..], &["--lr", "5e-3", "--batch", "16"]].concat();
    let args = VaeArgs::from_args(&["vae"], &args).expect("arguments");
    let outcome = run(&Asked::from(&args), Vae::new).expect("training");
    let e = outcome.evaluation.expect("figures");
    // Bars of three kinds: knowing which one leaves only the noise, whose sum of squares is (50/255)^2 / 12 a pixel.
    let noise = 64.0 * (50.0f64 / 255.0).powi(2) / 12.0;
    assert!(e.terms.reconstruction < 4.0 * noise + 1.0, "{:?}", e.terms);
    assert!(e.levels[0].active().iter().any(|a| *a), "{:?}", e.levels);
    for name in
        ["report.html", "report.json", "samples.png", "reconstructions.png", "walk.png", "plane.png", "epoch-060.png"]
    {
        assert!(folder.join("report").join(name).is_file(), "{name}");
    }
}
