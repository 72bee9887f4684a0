//! A classifier from its file: log-probabilities and their gradient, in every number format, on the CPU and on a
//! device.

#[path = "common/autoencoder.rs"]
mod autoencoder;
#[path = "common/classifier.rs"]
mod common;
#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;

use autoencoder::{Made, normals};
use common::{file, gradient, log_probabilities, network};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, MetaValue};
use nijimi_runtime::model::{
    Classifier, ClassifierSession, Device, Model, ModelError, Network, RequestError, SessionOptions,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::graph::{Graph, GraphError, Shape};

const BATCH: usize = 3;
const PICTURE: usize = 64;

fn options() -> SessionOptions {
    SessionOptions { batch: BATCH, threads: 2, ..Default::default() }
}

fn singles(x: &[f64]) -> Vec<f32> {
    x.iter().map(|x| *x as f32).collect()
}

/// Differences to the f64 reference: of log-probabilities, and of gradients as a share of the largest.
fn classifies(made: &Made, session: &mut ClassifierSession, [tolerance, of_gradient]: [f64; 2]) {
    for (n, t) in [(1, 1), (BATCH, 700)] {
        let labels = &[Some(7), None, Some(0)][..n];
        let x = singles(&normals(9, t, n * PICTURE));
        let pictures: Vec<Vec<f64>> = x.chunks(PICTURE).map(|x| x.iter().map(|x| f64::from(*x)).collect()).collect();
        let found = session.log_probabilities(&x, t as f32).unwrap().to_vec();
        assert_eq!(found.len(), n * 10);
        for (x, found) in pictures.iter().zip(found.chunks(10)) {
            for (found, expected) in found.iter().zip(log_probabilities(made, x, t)) {
                assert!((f64::from(*found) - expected).abs() <= tolerance, "{found} {expected}");
            }
            assert!((found.iter().map(|v| f64::from(*v).exp()).sum::<f64>() - 1.0).abs() < 1e-5);
        }
        let found = session.gradient(&x, t as f32, labels).unwrap().to_vec();
        for ((x, found), label) in pictures.iter().zip(found.chunks(PICTURE)).zip(labels) {
            let Some(label) = *label else {
                assert!(found.iter().all(|v| *v == 0.0));
                continue;
            };
            let expected = gradient(made, x, t, label);
            let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            assert!(largest > 1e-3, "a gradient to be seen");
            for (found, expected) in found.iter().zip(&expected) {
                let off = (f64::from(*found) - expected).abs() / largest;
                assert!(off <= of_gradient, "{found} {expected}: {off}");
            }
        }
        differences(session, &x, t, labels);
    }
}

/// The runtime's own log-probabilities, a small step along the gradient and back, rise by its length.
fn differences(session: &mut ClassifierSession, x: &[f32], t: u32, labels: &[Option<u32>]) {
    const STEP: f32 = 1.0 / 512.0;
    let g = session.gradient(x, t as f32, labels).unwrap().to_vec();
    for (i, label) in labels.iter().enumerate() {
        let (Some(label), own) = (*label, i * PICTURE..(i + 1) * PICTURE) else { continue };
        let length = g[own.clone()].iter().map(|v| v * v).sum::<f32>().sqrt();
        let [high, low] = [STEP, -STEP].map(|step| {
            let moved = x[own.clone()].iter().zip(&g[own.clone()]).map(|(x, g)| x + step * g / length);
            session.log_probabilities(&moved.collect::<Vec<_>>(), t as f32).unwrap()[label as usize]
        });
        let slope = (high - low) / (2.0 * STEP);
        assert!((slope - length).abs() <= 0.01 * length, "{slope} {length}");
    }
}

/// Seen red with kernels that are not turned, with the forward convolution's padding on the way back, and with the
/// first picture's label for all.
#[test]
fn gradients_are_those_of_the_definition() {
    for dtype in [DType::F32, DType::F16] {
        let made = file(dtype, &[]);
        let classifier = Classifier::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap();
        assert_eq!((classifier.label("7").unwrap(), classifier.info().network.channels.len()), (7, 2));
        classifies(&made, &mut classifier.session(&options()).unwrap(), [1e-5, 1e-4]);
        assert!(matches!(
            Model::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu),
            Ok(Model::Classifier(_))
        ));
    }
}

/// Where weights are quantized the CPU rounds activations to 8 bits; the gradient, whose weights are f16, starts from
/// those.
///
/// Seen red with kernels that are not turned.
#[test]
fn quantized_gradients_lead_the_same_way() {
    let made = file(DType::Q8_0, &[]);
    let classifier = Classifier::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap();
    let mut session = classifier.session(&options()).unwrap();
    let x = normals(9, 0, PICTURE);
    let found = session.gradient(&singles(&x), 300.0, &[Some(4)]).unwrap();
    let expected = gradient(&made, &x, 300, 4);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let found: Vec<f64> = found.iter().map(|v| f64::from(*v)).collect();
    let cosine = dot(&found, &expected) / (dot(&found, &found) * dot(&expected, &expected)).sqrt();
    assert!(cosine > 0.99, "{cosine}");
}

/// Seen red with kernels that are not turned, with the columns alone taken for the place in a square, and with another
/// shape folded into the product before it.
#[cfg(feature = "gpu")]
#[test]
fn a_device_has_the_same_gradients() {
    use nijimi_runtime::gpu::ExecOptions;
    let Some(gpu) = device::device() else { return };
    for dtype in [DType::F32, DType::F16, DType::Q8_0] {
        let made = file(dtype, &[]);
        let classifier = Classifier::load(&File::new_checked(&made.bytes).unwrap(), &Device::Gpu(gpu.clone())).unwrap();
        let device = ExecOptions { no_cooperative: true, ..Default::default() };
        let options = SessionOptions { device, ..options() };
        // What was q8_0 is rounded once more for the gradient, to f16.
        let of_gradient = if dtype == DType::Q8_0 { 2e-3 } else { 1e-4 };
        classifies(&made, &mut classifier.session(&options).unwrap(), [2e-5, of_gradient]);
    }
}

/// A picture's gradient does not depend on its neighbours, bit for bit.
///
/// Seen red with the first picture's label for all.
#[test]
fn pictures_of_a_batch_do_not_see_each_other() {
    let made = file(DType::F32, &[]);
    let classifier = Classifier::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap();
    let mut session = classifier.session(&options()).unwrap();
    let (x, labels) = (singles(&normals(3, 0, BATCH * PICTURE)), [Some(1), Some(2), Some(3)]);
    let together = session.gradient(&x, 50.0, &labels).unwrap().to_vec();
    for (i, together) in together.chunks(PICTURE).enumerate() {
        assert_eq!(session.gradient(&x[i * PICTURE..][..PICTURE], 50.0, &labels[i..=i]).unwrap(), together);
    }
}

#[test]
fn refusals_say_why() {
    let made = file(DType::F32, &[]);
    let classifier = Classifier::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap();
    let mut session = classifier.session(&options()).unwrap();
    let x = [0.0; PICTURE];
    let wrong = session.gradient(&x, 1.0, &[Some(10)]).unwrap_err();
    assert!(matches!(wrong, Error::Request(RequestError::LabelRange { label: 10, count: 10, .. })), "{wrong}");
    assert!(session.gradient(&x[1..], 1.0, &[Some(1)]).is_err());
    assert!(session.gradient(&[], 1.0, &[]).is_err());
    assert!(session.log_probabilities(&[0.0; 4 * PICTURE], 1.0).is_err());
    assert!(session.log_probabilities(&x[1..], 1.0).is_err());
    let error = session.log_probabilities(&[f32::NAN; PICTURE], 1.0).unwrap_err().to_string();
    assert!(error.starts_with("block1.mlp.2 (linear) made") || error.starts_with("block1."), "{error}");
    assert!(matches!(classifier.label("x"), Err(RequestError::UnknownLabel { .. })));

    let refused = |key, value: MetaValue| {
        let made = file(DType::F32, &[(key, value)]);
        Classifier::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap_err()
    };
    let error = refused("nijimi.labels", MetaValue::Strs(vec!["a".into()])).to_string();
    assert_eq!(error, "nijimi.labels is 1 names, must be 10, as nijimi.classifier.label_count says");
    let error = refused("nijimi.classifier.channels", MetaValue::U32s(vec![8, 16]));
    assert!(matches!(error, Error::Model(ModelError::TensorShape { .. })), "{error}");
    let error = refused("nijimi.image.channels", 3u32.into()).to_string();
    assert_eq!(error, "nijimi.image.channels is 3, must be 1, as the network's");
    assert!(refused("nijimi.system", "ddpm".into()).to_string().contains("this version runs classifier"));
}

/// A value that is used twice, kernels with and without zeros around the picture, and a linear layer on pixels: what
/// the classifier does not have.
///
/// Seen red with one of two gradients in place of their sum, and with an addition's second operand left out.
#[test]
fn gradients_go_every_way_that_they_can() {
    let build = |labels: bool| {
        let mut g = Graph::new();
        let x = g.input("x", Shape::new(1, 8, 8, 3)).unwrap();
        let a = g.conv2d("a", x, 5, [5, 1, 1], true).unwrap();
        let a = g.relu("a.relu", a).unwrap();
        let b = g.conv2d("b", x, 5, [3, 1, 0], true).unwrap();
        let sum = g.add("sum", a, b).unwrap();
        let c = g.linear("c", sum, 5, false).unwrap();
        let c = g.add("skip", c, sum).unwrap();
        let c = g.max_pool2("pool", c).unwrap();
        let c = g.conv2d("head", c, 6, [3, 1, 0], true).unwrap();
        let logs = g.log_softmax("logs", c).unwrap();
        if labels {
            let ids = g.input_ids("labels", 1);
            let y = g.log_probability_gradient("gradient", c, ids, x).unwrap();
            g.output("y", y).unwrap();
        } else {
            g.output("y", logs).unwrap();
        }
        g
    };
    let graphs = || vec![build(false), build(true)];
    let made = autoencoder::write(Vec::new(), &graphs()[..1], DType::F32);
    let network = Network::load(&File::new_checked(&made.bytes).unwrap(), graphs(), &Device::Cpu).unwrap();
    let mut evaluator = network.evaluator(graphs(), &options()).unwrap();
    let mut x = singles(&normals(4, 0, 8 * 8 * 3));
    evaluator.evaluate(1, &[("x", &x)], &[Some(2)]).unwrap();
    let found = evaluator.output("y").unwrap().to_vec();
    let largest = found.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    const STEP: f32 = 1.0 / 256.0;
    for (i, found) in found.iter().enumerate() {
        let own = x[i];
        let [high, low] = [own + STEP, own - STEP].map(|v| {
            x[i] = v;
            evaluator.evaluate(0, &[("x", &x)], &[]).unwrap();
            evaluator.output("y").unwrap()[2]
        });
        x[i] = own;
        let slope = (high - low) / (2.0 * STEP);
        assert!((found - slope).abs() <= 0.02 * largest, "{i}: {found} {slope}");
    }

    let error = evaluator.evaluate(0, &[("z", &x)], &[]).unwrap_err().to_string();
    assert_eq!(error, "no input \"z\": the graph has x");
    let error = evaluator.evaluate(0, &[], &[]).unwrap_err().to_string();
    assert_eq!(error, "no input \"x\": the graph needs it, so give it");
    let error = evaluator.evaluate(1, &[("x", &x)], &[]).unwrap_err().to_string();
    assert_eq!(error, "number of ids is 0, must be 1 to 1");
    assert!(evaluator.evaluate(2, &[], &[]).is_err() && evaluator.output("none").is_err());
    assert!(network.evaluator(vec![build(false)], &options()).is_err());
}

#[test]
fn what_has_no_gradient_says_so() {
    let mut g = Graph::new();
    let x = g.input("x", Shape::vector(1, 4)).unwrap();
    let a = g.silu("act", x).unwrap();
    let y = g.linear("l", a, 3, true).unwrap();
    let ids = g.input_ids("labels", 1);
    let error = g.log_probability_gradient("g", y, ids, x).unwrap_err();
    assert!(
        matches!(&error, GraphError::NoGradient { name, kind: "activate", .. } if name == "act.backward"),
        "{error}"
    );
    let other = g.input("other", Shape::vector(1, 4)).unwrap();
    assert!(matches!(g.log_probability_gradient("g", y, ids, other), Err(GraphError::NoGradient { .. })));
    // Before it, there is none to be had.
    assert!(g.log_probability_gradient("g", y, ids, a).is_ok());
    assert_eq!(network().gradient(2).unwrap().parameters(), network().graph(1).unwrap().parameters());
}
