//! The classifier of step 10.3: the runtime's answers and gradients from its file against dfdx's on the same weights.
#[allow(dead_code, reason = "shared by tests that each use a part")]
mod common;

use common::Folder;
use dfdx::prelude::{Backward as _, Cpu, TensorFromVec as _, Trace as _};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Classifier as RuntimeClassifier, Device, SessionOptions};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::position_encoding;
use nijimi_runtime::raw::rng::Stream;
use nijimi_trainer::data::idx::{LabelledPictures, Split};
use nijimi_trainer::fit::{At, Record, Task};
use nijimi_trainer::nn::judge::cross_entropy;
use nijimi_trainer::nn::noisy_classifier::NoisyClassifier;
use nijimi_trainer::optim::{AdamW, Optimizer};
use nijimi_trainer::param;
use nijimi_trainer::systems::classifier::evaluate::accuracy_by_t;
use nijimi_trainer::systems::classifier::{Classifier, ClassifierSettings};
use nijimi_trainer::tensor::{T2, T4};
use nijimi_trainer::world::Share;

const SIDE: usize = 8;
const TIME: usize = 12;
const STEPS: u64 = 120;

fn task(folder: &Folder) -> Classifier<Cpu> {
    common::write_data(&folder.0, 64);
    let data = LabelledPictures::load(&folder.0, Split::Train).expect("the data set");
    let settings = ClassifierSettings { batch: 16, epochs: STEPS / 4, steps: 100, betas: (1e-4, 0.1), seed: 3 };
    let labels = ["a", "b", "c"].map(String::from).to_vec();
    Classifier::new(Cpu::default(), settings, "bars".into(), labels, vec![4, 8], TIME, data).expect("a task")
}

/// Trains for some steps, so that the norms' running statistics are not those of a new network.
fn trained(task: &mut Classifier<Cpu>) -> Vec<f64> {
    let mut optimizer = Optimizer::new(AdamW { lr: 3e-3, weight_decay: 0.0, warmup: 0, clip: None, muon: None });
    let per_epoch = task.steps_per_epoch();
    let step = |step: u64| {
        let at = At { step, epoch: step / per_epoch, index: step % per_epoch, share: Share::WHOLE };
        let gradients = param::zero_gradients(task.model());
        let mut result = task.step(at, gradients).expect("a step");
        optimizer.update(task.model(), &mut result.gradients, None);
        result.loss
    };
    (0..STEPS).map(step).collect()
}

fn pictures(n: usize) -> Vec<f32> {
    let mut stream = Stream::new(8, "test pictures", 0);
    (0..n * SIDE * SIDE).map(|_| 0.3 + 0.5 * stream.normal()).collect()
}

/// dfdx's logits of pictures, all at time `t`, and the gradients of each label's log-probability.
fn by_dfdx(model: &NoisyClassifier<Cpu>, x: &[f32], t: f32, labels: &[u8]) -> (Vec<f32>, Vec<f32>) {
    let (device, n) = (Cpu::default(), labels.len());
    let mut row = vec![0f32; TIME];
    position_encoding(t, TIME, &mut row);
    let time: T2<Cpu> = device.tensor_from_vec(row.repeat(n), (n, TIME));
    let x: T4<Cpu> = device.tensor_from_vec(x.to_vec(), (n, 1, SIDE, SIDE));
    let logits = model.eval(x.leaky_trace(), &time);
    let values = logits.as_vec();
    // The mean cross-entropy is minus the mean log-probability.
    let gradients = cross_entropy(logits, labels).0.backward();
    (values, gradients.get(&x).as_vec().iter().map(|g| -g * n as f32).collect())
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let sum = logits.iter().map(|l| f64::from(*l).exp()).sum::<f64>().ln();
    logits.iter().map(|l| f64::from(*l) - sum).collect()
}

/// Seen red with biases left out of the file.
#[test]
fn the_runtime_answers_as_the_trained_network() {
    let folder = Folder::new("classifier");
    let mut task = task(&folder);
    let losses = trained(&mut task);
    let mean = |l: &[f64]| l.iter().sum::<f64>() / l.len() as f64;
    let (first, last) = (mean(&losses[..10]), mean(&losses[losses.len() - 10..]));
    assert!(last < 0.7 * first, "the loss went from {first} to {last}");

    let mut model = task.model().clone();
    let bytes = task.export(&mut model, &Record::default(), DType::F32).expect("a file");
    let runtime = RuntimeClassifier::load(&File::new_checked(&bytes).expect("GGUF"), &Device::Cpu).expect("a model");
    assert_eq!(runtime.info().labels, ["a", "b", "c"]);
    let labels = [2u8, 0, 1, 1, 0];
    let n = labels.len();
    let mut session = runtime.session(&SessionOptions { batch: n, ..Default::default() }).expect("a session");
    let x = pictures(n);
    for t in [1u32, 40, 100] {
        let (logits, gradients) = by_dfdx(&model, &x, t as f32, &labels);
        let found = session.log_probabilities(&x, t as f32).expect("log-probabilities");
        let expected: Vec<f64> = logits.chunks_exact(3).flat_map(log_softmax).collect();
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert!((f64::from(*a) - b).abs() < 1e-4, "t {t}, value {i}: {a} {b}");
        }
        let asked: Vec<Option<u32>> = labels.iter().map(|l| Some(u32::from(*l))).collect();
        let found = session.gradient(&x, t as f32, &asked).expect("gradients");
        let scale = gradients.iter().fold(0f32, |m, g| m.max(g.abs()));
        assert!(scale > 1e-3, "a gradient to compare: {scale}");
        for (i, (a, b)) in found.iter().zip(&gradients).enumerate() {
            assert!((a - b).abs() < 1e-4 * scale, "t {t}, gradient {i}: {a} {b} of {scale}");
        }
    }
}

/// A trained classifier knows clean bars and guesses at noise. Seen red with the same noise levels in every range.
#[test]
fn accuracy_falls_with_noise() {
    let folder = Folder::new("accuracy");
    let mut task = task(&folder);
    trained(&mut task);
    let mut model = task.model().clone();
    let bytes = task.export(&mut model, &Record::default(), DType::F32).expect("a file");
    let data = LabelledPictures::load(&folder.0, Split::Train).expect("the data set");
    let bins = accuracy_by_t(&bytes, &data, data.len()).expect("figures");
    assert_eq!((bins.len(), bins[0].first, bins[9].last), (10, 1, 100));
    assert!(bins.windows(2).all(|b| b[0].last + 1 == b[1].first));
    assert!(bins[0].accuracy > 0.95 && bins[0].cross_entropy < 0.3, "{:?}", bins[0]);
    assert!(bins[9].accuracy < 0.75 && bins[9].cross_entropy > bins[0].cross_entropy, "{:?}", bins[9]);
}
