use super::*;
use crate::gguf::{File, MetaValue, Value, ValueType, Writer};
use crate::model::{Device, Model};
use crate::quant::DType;
use alloc::string::ToString;
use alloc::vec;

fn mixture() -> Mixture {
    let short = MultivariateNormal::new(vec![2.0, 54.5], vec![0.07, 0.44, 0.44, 33.7]).unwrap();
    let long = MultivariateNormal::new(vec![4.3, 80.0], vec![0.17, 0.94, 0.94, 36.0]).unwrap();
    Mixture::new(vec![0.35, 0.65], vec![short, long]).unwrap()
}

fn network() -> Regressor {
    let layers = vec![(vec![2.0, -1.0, 0.5], vec![0.1, 0.2, -0.3]), (vec![1.5, -2.0, 0.25], vec![4.0])];
    Regressor::new(vec![1, 3, 1], layers, 0.3, vec![[-1.0, 3.0]]).unwrap()
}

fn line() -> Regressor {
    Regressor::new(vec![2, 1], vec![(vec![2.0, -3.0], vec![5.0])], 0.5, vec![[0.0, 1.0], [10.0, 20.0]]).unwrap()
}

fn trace() -> Trace {
    Trace::new("rosenbrock".into(), 1e-3, 3, vec![0.0, 0.0, 2.0, 1.0, 0.002, 1.6]).unwrap()
}

/// Every system, with its name.
fn systems() -> Vec<(&'static str, Numbers)> {
    let normal = Normal::new(172.70250853667997, 4.830167473396299).unwrap();
    let mvn = mixture().components()[1].clone();
    let laws = [
        ("normal", Law::Normal(normal), &["height"][..]),
        ("mvn", Law::Mvn(mvn), &["eruption", "waiting"]),
        ("mixture", Law::Mixture(mixture()), &["eruption", "waiting"]),
        ("descent", Law::Descent(trace()), &["step", "x0", "x1"]),
        ("regression", Law::Regression(line()), &["a", "b", "y"]),
        ("mlp", Law::Regression(network()), &["x", "y"]),
    ];
    let make = |(system, law, columns)| {
        let about = About { name: "test".into(), license: "MIT".into(), ..About::columns(columns) };
        (system, Numbers::new(law, about).unwrap())
    };
    laws.into_iter().map(make).collect()
}

/// What is written is read, to the bit, and draws and weighs the same. Seen red with sigma written as an f32, and with the
/// components' covariances in reverse order.
#[test]
fn every_system_survives_its_file() {
    for (system, numbers) in systems() {
        let record: [(&str, MetaValue); 2] = [("command", "test".into()), ("rows", 272u64.into())];
        let bytes = numbers.to_file(&record).unwrap();
        assert_eq!(bytes, numbers.to_file(&record).unwrap());
        let file = File::new_checked(&bytes).unwrap();
        assert_eq!((file.str("nijimi.system"), file.str("nijimi.train.command")), (Ok(system), Ok("test")));
        let read = Numbers::load(&file).unwrap();
        assert_eq!(read, numbers);
        assert_eq!((read.name(), read.license(), read.system()), ("test", "MIT", system));
        assert!(matches!(Model::load(&file, &Device::Cpu), Ok(Model::Numbers(n)) if n == numbers));
    }
}

/// A row depends on the seed and its number, and on nothing else; its density is the law's. Seen red with the index left
/// out of the stream's key.
#[test]
fn rows_are_keyed_and_have_their_density() {
    for (system, numbers) in systems() {
        let dim = numbers.dim();
        let row = |seed, index| {
            let mut row = vec![f64::NAN; dim];
            let is = numbers.sample(seed, index, &mut row);
            (is, row)
        };
        if system == "descent" {
            assert_eq!((numbers.rows(), row(1, 1)), (Some(2), (true, vec![1.0, 0.002, 1.6])));
            assert!(!row(1, 2).0 && !row(1, u64::MAX).0);
            assert_eq!(numbers.log_density(&[0.0; 3]), None);
            continue;
        }
        assert_eq!(numbers.rows(), None);
        let (_, first) = row(1, 0);
        assert_eq!(first, row(1, 0).1);
        assert_ne!(first, row(1, 1).1);
        assert_ne!(first, row(2, 0).1);
        let log_density = numbers.log_density(&first).unwrap();
        let want = match numbers.law() {
            Law::Normal(normal) => normal.log_pdf(first[0]),
            Law::Mvn(normal) => normal.log_pdf(&first),
            Law::Mixture(mixture) => mixture.log_pdf(&first),
            Law::Regression(regressor) => {
                let (x, y) = first.split_at(regressor.inputs());
                let mean = f64::from(regressor.predict(x)[0]);
                Normal::new(mean, regressor.sigma()).unwrap().log_pdf(y[0])
            }
            Law::Descent(_) => f64::NAN,
        };
        assert!((log_density - want).abs() < 1e-12, "{system}: {log_density} {want}");
    }
}

/// By hand, in f64. Seen red with the bias left out, with a sigmoid after the last layer, and with the matrix transposed.
#[test]
fn a_network_answers_as_its_formula() {
    let sigmoid = |v: f64| 1.0 / (1.0 + libm::exp(-v));
    for x in [-1.0, 0.3, 2.5] {
        let hidden = [sigmoid(2.0 * x + 0.1), sigmoid(0.2 - x), sigmoid(0.5 * x - 0.3)];
        let want = 1.5 * hidden[0] - 2.0 * hidden[1] + 0.25 * hidden[2] + 4.0;
        assert!((f64::from(network().predict(&[x])[0]) - want).abs() < 1e-6);
        let want = Normal::new(want, 0.3).unwrap().log_pdf(4.4);
        assert!((network().log_density(&[x, 4.4]) - want).abs() < 1e-5);
    }
    assert_eq!(line().predict(&[0.5, 2.0]), [5.0 + 1.0 - 6.0]);
    let wide = vec![(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![0.0; 3]), (vec![1.0; 3], vec![0.0])];
    let wide = Regressor::new(vec![2, 3, 1], wide, 1.0, vec![[0.0, 1.0]; 2]).unwrap();
    let sum: f64 = [-0.5, -0.5, -0.5].map(sigmoid).iter().sum();
    assert!((f64::from(wide.predict(&[0.5, -0.5])[0]) - sum).abs() < 1e-6);
}

/// Draws of a regression: x over its range, residuals of sigma. Seen red with the residual left out, and with x in [0, 1).
#[test]
fn a_regression_draws_inputs_and_residuals() {
    let numbers = systems().remove(4).1;
    let n = 4000;
    let (mut sums, mut squares) = ([0.0; 2], 0.0);
    for i in 0..n {
        let mut row = [0.0; 3];
        numbers.sample(9, i, &mut row);
        assert!((0.0..1.0).contains(&row[0]) && (10.0..20.0).contains(&row[1]));
        sums = [sums[0] + row[0], sums[1] + row[1]];
        let residual = row[2] - f64::from(line().predict(&row[..2])[0]);
        squares += residual * residual;
    }
    let error = 5.0 / libm::sqrt(n as f64);
    assert!((sums[0] / n as f64 - 0.5).abs() < 0.3 * error && (sums[1] / n as f64 - 15.0).abs() < 3.0 * error);
    assert!((squares / n as f64 / 0.25 - 1.0).abs() < error * core::f64::consts::SQRT_2);
}

/// The file of `numbers` with one key's value replaced, and perhaps one more tensor.
fn changed(numbers: &Numbers, replace: Option<(&str, MetaValue)>, tensor: Option<&str>) -> Result<Numbers, Error> {
    let bytes = numbers.to_file(&[]).unwrap();
    let file = File::new_checked(&bytes).unwrap();
    let mut writer = Writer::new();
    let mut replaced = replace.is_none();
    for (key, value) in file.metadata() {
        let value: MetaValue = match (value, &replace) {
            (_, Some((other, value))) if *other == key => {
                replaced = true;
                value.clone()
            }
            (Value::Str(v), _) => v.into(),
            (Value::U32(v), _) => v.into(),
            (Value::F64(v), _) => v.into(),
            (Value::Array(a), _) if a.kind() == ValueType::Str => file.strs(key).unwrap().as_slice().into(),
            (Value::Array(a), _) if a.kind() == ValueType::U32 => file.u32s(key).unwrap().into(),
            _ => file.f64s(key).unwrap().into(),
        };
        writer.meta(key, value).unwrap();
    }
    assert!(replaced, "{replace:?}");
    for tensor in file.tensors() {
        writer.tensor(tensor.name, &tensor.shape(), DType::F32, &tensor.to_f32()).unwrap();
    }
    if let Some(name) = tensor {
        writer.tensor(name, &[1, 1], DType::F32, &[1.0]).unwrap();
    }
    Numbers::load(&File::new_checked(&writer.finish()).unwrap())
}

fn with(numbers: &Numbers, key: &str, value: MetaValue) -> String {
    changed(numbers, Some((key, value)), None).unwrap_err().to_string()
}

/// Each refusal names its key. Seen red with the checks of lengths and of the system's widths left out.
#[test]
fn contradictory_files_are_refused_by_their_key() {
    let all = systems();
    let find = |system: &str| &all.iter().find(|(name, _)| *name == system).unwrap().1;
    #[track_caller]
    fn says(error: &str, parts: &[&str]) {
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let e = with(find("normal"), "nijimi.normal.sigma", (-1.0f64).into());
    says(&e, &["nijimi.normal.sigma", "-1"]);
    says(&with(find("normal"), "nijimi.normal.sigma", 1.0f32.into()), &["nijimi.normal.sigma", "f32", "f64"]);
    says(&with(find("normal"), "nijimi.columns", (&["a", "b"][..]).into()), &["nijimi.columns", "2 names", "1"]);
    says(&with(find("normal"), "nijimi.columns", MetaValue::Strs(vec![])), &["nijimi.columns", "0 names"]);
    says(&with(find("normal"), "nijimi.system", "gamma".into()), &["nijimi.system", "gamma"]);
    let e = with(find("mvn"), "nijimi.mvn.covariance", vec![1.0, 2.0, 2.0, 1.0].into());
    says(&e, &["nijimi.mvn.covariance", "pivot 1", "-3"]);
    says(&with(find("mvn"), "nijimi.mvn.covariance", vec![1.0].into()), &["nijimi.mvn.covariance", "4 numbers"]);
    says(&with(find("mvn"), "nijimi.mvn.mean", vec![1.0].into()), &["nijimi.mvn.mean", "2 numbers"]);
    let e = with(find("mixture"), "nijimi.mixture.weights", vec![0.5, 0.6].into());
    says(&e, &["nijimi.mixture.weights", "1.1"]);
    says(&with(find("mixture"), "nijimi.mixture.weights", vec![1.0].into()), &["nijimi.mixture.means", "4 numbers"]);
    says(&with(find("mixture"), "nijimi.mixture.weights", Vec::<f64>::new().into()), &["nijimi.mixture.means"]);
    let covariances = vec![0.07, 0.44, 0.44, 33.7, 1.0, 0.5, -0.5, 1.0];
    let e = with(find("mixture"), "nijimi.mixture.covariances", covariances.into());
    says(&e, &["nijimi.mixture.covariances", "component 1", "not symmetric"]);
    says(
        &with(find("descent"), "nijimi.descent.trace", vec![1.0; 4].into()),
        &["nijimi.descent.trace", "4", "rows of 3"],
    );
    says(&with(find("descent"), "nijimi.descent.learning_rate", 0.0f64.into()), &["nijimi.descent.learning_rate"]);
    says(&with(find("mlp"), "nijimi.mlp.widths", vec![1u32, 4, 1].into()), &["layers.0.weight", "[1, 4, 1, 1]"]);
    says(&with(find("mlp"), "nijimi.mlp.widths", vec![1u32, 3, 1, 1].into()), &["layers.2.weight", "missing"]);
    says(&with(find("mlp"), "nijimi.mlp.widths", vec![1u32].into()), &["nijimi.mlp.widths", "[1]"]);
    says(&with(find("mlp"), "nijimi.mlp.widths", vec![u32::MAX, 1, 1].into()), &["nijimi.mlp.widths", "4096"]);
    says(&with(find("mlp"), "nijimi.mlp.activation", "relu".into()), &["nijimi.mlp.activation", "relu", "sigmoid"]);
    says(&with(find("mlp"), "nijimi.system", "regression".into()), &["nijimi.mlp.widths", "regression"]);
    says(&with(find("mlp"), "nijimi.regression.inputs", vec![2.0, 1.0].into()), &["nijimi.regression.inputs"]);
    says(&with(find("mlp"), "nijimi.regression.sigma", 0.0f64.into()), &["nijimi.regression.sigma", "0"]);
    says(&with(find("regression"), "nijimi.mlp.widths", vec![1u32, 1].into()), &["layers.0.weight", "[2, 1, 1, 1]"]);
    // Tensors where there should be none, or of a layer too many.
    for (system, name) in [("mixture", "layers.0.weight"), ("mlp", "layers.2.weight")] {
        let e = changed(find(system), None, Some(name)).unwrap_err().to_string();
        says(&e, &[name, "is not of this network"]);
    }
    let nan = Regressor::new(vec![1, 1], vec![(vec![f32::NAN], vec![0.0])], 1.0, vec![[0.0, 1.0]]);
    says(&nan.unwrap_err().to_string(), &["layers.0.weight", "NaN"]);
}

/// Whatever a byte is changed to, there is an error or a model that draws, and no panic.
#[test]
fn damaged_files_are_refused_or_run() {
    let mut stream = Stream::new(4, "damage", 0);
    let mut loaded = 0;
    for (_, numbers) in systems() {
        let good = numbers.to_file(&[]).unwrap();
        for _ in 0..3000 {
            let mut bytes = good.clone();
            let at = stream.below(bytes.len() as u64) as usize;
            bytes[at] = stream.next_u32() as u8;
            let Ok(file) = File::new_checked(&bytes) else { continue };
            let Ok(numbers) = Numbers::load(&file) else { continue };
            let mut row = vec![0.0; numbers.dim()];
            numbers.sample(1, 0, &mut row);
            _ = numbers.log_density(&row);
            loaded += 1;
        }
    }
    assert!(loaded > 1000, "{loaded}");
}
