//! Step 6 from fit to file: the runtime's answers against dfdx's, the shipped files, and the facts of MNIST.
#[allow(dead_code, reason = "shared by tests that each use a part")]
mod common;

use common::Folder;
use dfdx::prelude::{Cpu, TensorFromVec as _};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Law, Model, Numbers};
use nijimi_trainer::data::idx::{LabelledPictures, Split};
use nijimi_trainer::data::loader::Loader;
use nijimi_trainer::fit::Record;
use nijimi_trainer::mt19937::Mt19937;
use nijimi_trainer::nn::mlp::Mlp;
use nijimi_trainer::param;
use nijimi_trainer::systems::regression::examples::Examples;
use nijimi_trainer::systems::regression::{RegressionSettings, linear, mlp};
use nijimi_trainer::tensor::T2;
use std::path::PathBuf;

/// The same weights in dfdx and in the runtime, through the file.
/// Seen red with biases left out of the file.
#[test]
fn the_runtime_answers_as_the_trained_network() {
    let folder = Folder::new("step6");
    let mut random = Mt19937::new(0);
    let examples = Examples::book_sine(&mut random);
    let settings = RegressionSettings { iterations: 300, lr: 0.2, batch: None, adam: false, seed: 0 };
    let device = Cpu::default();
    for (system, fitted) in [
        ("mlp", mlp::by_descent(&examples, &[10], &mut random, &settings).expect("a fit")),
        ("regression", linear::by_descent(&examples, &settings).expect("a fit")),
    ] {
        let path = folder.join(system);
        fitted.write(&path, system, "test", &examples, &Record::default()).expect("a file");
        let bytes = std::fs::read(&path).expect("the file");
        let numbers = Numbers::load(&File::new_checked(&bytes).expect("GGUF")).expect("a model");
        assert_eq!((numbers.system(), numbers.columns()), (system, &examples.columns[..]));
        let Law::Regression(regressor) = numbers.law() else { panic!("{system} is {:?}", numbers.law()) };
        let mut network = Mlp::zero(&device, &fitted.widths);
        param::load(&mut network, "", &fitted.state).expect("the weights");
        let x: Vec<f32> = examples.x.iter().map(|x| *x as f32).collect();
        let x: T2<Cpu> = device.tensor_from_vec(x, (examples.y.len(), 1));
        for (x, y) in examples.x.iter().zip(network.forward(x).as_vec()) {
            let (by_runtime, in_f64) = (regressor.predict(&[*x])[0], fitted.predict(&[*x])[0]);
            assert!((by_runtime - y).abs() < 1e-6, "{system} at {x}: {by_runtime} {y}");
            assert!((f64::from(y) - in_f64).abs() < 1e-6, "{system} at {x}: {y} {in_f64}");
        }
        assert!((regressor.sigma().powi(2) - fitted.mean_squared_error(&examples)).abs() < 1e-12);
    }
}

fn shipped(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../weights").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every weight file of these steps loads, and says what it is.
/// Seen red with the sine's file under the line's name.
#[test]
fn shipped_files_are_what_their_names_say() {
    for name in ["rosenbrock.gguf", "regression.gguf", "sine-mlp.gguf"] {
        let bytes = shipped(name);
        let numbers = Numbers::load(&File::new_checked(&bytes).expect("GGUF")).expect(name);
        match numbers.law() {
            Law::Descent(trace) => {
                assert_eq!((name, trace.rows(), trace.function()), ("rosenbrock.gguf", 11, "rosenbrock"));
                let last = trace.row(10).expect("a row");
                assert!((last[1] - 0.994_498_436_778_245_6).abs() < 1e-5, "{last:?}");
            }
            Law::Regression(r) if name == "regression.gguf" => {
                assert!((f64::from(r.predict(&[0.0])[0]) - 5.314_485_073_089_6).abs() < 1e-5);
            }
            Law::Regression(r) => {
                // The book's noise adds 1/2 to the sine.
                assert_eq!((name, r.widths()), ("sine-mlp.gguf", &[1, 10, 1][..]));
                assert!((r.predict(&[0.25])[0] - 1.5).abs() < 0.2, "{:?}", r.predict(&[0.25]));
            }
            other => panic!("{name} is {other:?}"),
        }
    }
    for (name, system) in [("vae", "Vae"), ("hvae", "Hvae"), ("classifier", "Classifier")] {
        let kind = if name == "classifier" { "q8_0" } else { "f16" };
        let bytes = shipped(&format!("digits-{name}-{kind}.gguf"));
        let loaded = Model::load(&File::new_checked(&bytes).expect("GGUF"), &Device::Cpu).expect(name);
        assert!(format!("{loaded:?}").starts_with(system), "{name}");
    }
}

/// Step 6.5: sizes, first labels and counts of MNIST, and its batches of 32. Needs the data.
/// Seen red with the two splits exchanged.
#[test]
fn mnist_is_the_books() {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("NIJIMI_DATA").map_or(beside, PathBuf::from).join("mnist");
    if !data.is_dir() {
        eprintln!("skipped: {} is not there; set NIJIMI_DATA", data.display());
        return;
    }
    let count =
        |d: &LabelledPictures| (0..10).map(|l| d.labels.iter().filter(|x| **x == l).count()).collect::<Vec<_>>();
    let train = LabelledPictures::load(&data, Split::Train).expect("MNIST");
    assert_eq!((train.len(), train.width, train.height), (60_000, 28, 28));
    assert_eq!(train.labels[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(count(&train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    let test = LabelledPictures::load(&data, Split::Test).expect("MNIST");
    assert_eq!(test.labels[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    assert_eq!(count(&test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    let mean = test.pixels.iter().map(|p| f64::from(*p) / 255.0).sum::<f64>() / test.pixels.len() as f64;
    assert!((mean - 0.132_514_605_842_336_96).abs() < 1e-12, "{mean}");
    let mut loader = Loader::new(train.len(), 32, 0);
    assert_eq!((loader.batches(), loader.rows(0, 0).len()), (1875, 32));
    assert_eq!(
        (Loader::new(train.len(), 128, 0).batches(), Loader::new(train.len(), 128, 0).rows(0, 468).len()),
        (469, 96)
    );
}
