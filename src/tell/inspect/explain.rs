//! What a model of each system is, in words and in its own numbers.

use super::Line;
use nijimi_runtime::model::{Law, Model, Numbers};
use nijimi_runtime::raw::dist::MultivariateNormal;
use nijimi_runtime::raw::nn::PixelUnet;
use nijimi_runtime::schedule::Schedule;

/// Components of a mixture, and columns of a covariance, that are shown.
const SHOWN: usize = 8;

/// One sentence on what it is.
pub fn system(system: &Model) -> String {
    let of = |columns: &[String]| columns.join(", ");
    match system {
        Model::Numbers(numbers) => match numbers.law() {
            Law::Normal(_) => format!("a normal distribution of {}", of(numbers.columns())),
            Law::Mvn(_) => format!("a multivariate normal distribution of {}", of(numbers.columns())),
            Law::Mixture(mixture) => {
                format!("a mixture of {} normal distributions of {}", mixture.weights().len(), of(numbers.columns()))
            }
            Law::Descent(trace) => format!("the trace of a gradient descent on {}", trace.function()),
            Law::Regression(regressor) => {
                let (inputs, outputs) = numbers.columns().split_at(regressor.inputs());
                format!("{} from {}, with normal noise", of(outputs), of(inputs))
            }
            _ => "rows of numbers".into(),
        },
        Model::Vae(_) => "a variational autoencoder, which draws pictures".into(),
        Model::Hvae(_) => "a hierarchical variational autoencoder, which draws pictures".into(),
        Model::Diffusion(_) => "a diffusion model, which draws pictures".into(),
        Model::Classifier(_) => "a classifier of noised pictures, which guides a diffusion model".into(),
        _ => "another model".into(),
    }
}

/// Its numbers.
pub fn facts(system: &Model) -> Vec<Line> {
    match system {
        Model::Numbers(numbers) => law(numbers),
        Model::Vae(vae) => {
            let network = &vae.info().network;
            vec![
                pictures(network.width, network.height, network.channels),
                ("latent", format!("{} numbers, hidden layers of {}", network.latent, network.hidden)),
            ]
        }
        Model::Hvae(hvae) => {
            let network = &hvae.info().network;
            vec![
                pictures(network.width, network.height, network.channels),
                ("latent", format!("twice {} numbers, hidden layers of {}", network.latent, network.hidden)),
            ]
        }
        Model::Diffusion(pipeline) => {
            let info = pipeline.info();
            let (network, best) = (&info.network, info.defaults);
            let guidance = format!("guidance {}", best.guidance_scale);
            vec![
                pictures(network.size()[1], network.size()[0], network.channels()),
                labels(&info.labels),
                ("network", unet(network)),
                noise(&info.schedule),
                ("sampling", format!("{}, {} steps, {guidance} by default", best.solver, best.steps)),
            ]
        }
        Model::Classifier(classifier) => {
            let info = classifier.info();
            let network = &info.network;
            vec![
                pictures(network.width, network.height, network.in_channels),
                labels(&info.labels),
                ("network", format!("convolutions of {:?} channels", network.channels)),
                noise(&info.schedule),
            ]
        }
        _ => Vec::new(),
    }
}

/// How it is used.
pub fn example(system: &Model, file: &str) -> String {
    let built_in = file.contains('(');
    let m = if built_in { String::new() } else { format!(" -m {file}") };
    match system {
        Model::Numbers(numbers) if numbers.rows().is_some() => format!("nijimi{m}"),
        Model::Numbers(_) => format!("nijimi{m} -b 1000 -o sample.csv; nijimi density{m} data.csv"),
        Model::Diffusion(pipeline) => match pipeline.info().labels.first() {
            Some(label) => format!("nijimi {label:?}{m} -o picture.png"),
            None => format!("nijimi{m} -o picture.png"),
        },
        Model::Classifier(classifier) => {
            let label = classifier.info().labels.first().map(String::as_str).unwrap_or_default();
            format!("nijimi {label:?} --classifier {file} --classifier-scale 3 -o picture.png")
        }
        _ => format!("nijimi{m} -b 25 -o pictures.png"),
    }
}

fn law(numbers: &Numbers) -> Vec<Line> {
    match numbers.law() {
        Law::Normal(normal) => {
            vec![("mean", normal.mean().to_string()), ("sigma", normal.sigma().to_string())]
        }
        Law::Mvn(normal) => gaussian(normal),
        Law::Mixture(mixture) => {
            let parts = mixture.weights().iter().zip(mixture.components()).take(SHOWN);
            let mut lines = Vec::new();
            for (weight, component) in parts {
                lines.push(("weight", weight.to_string()));
                lines.extend(gaussian(component));
            }
            if mixture.weights().len() > SHOWN {
                lines.push(("...", format!("{} more components: see --keys", mixture.weights().len() - SHOWN)));
            }
            lines
        }
        Law::Descent(trace) => {
            let last = trace.rows().checked_sub(1).and_then(|last| trace.row(last)).unwrap_or_default();
            let end = numbers.columns().iter().zip(last).map(|(name, value)| format!("{name} {value}"));
            let rows = format!("{}, learning rate {}", trace.rows(), trace.learning_rate());
            vec![("rows", rows), ("end", end.collect::<Vec<_>>().join(", "))]
        }
        Law::Regression(regressor) => {
            let ranges = regressor.ranges().iter().map(|[low, high]| format!("{low} to {high}"));
            let mut lines = vec![
                ("layers", format!("{:?}", regressor.widths())),
                ("inputs", ranges.collect::<Vec<_>>().join(", ")),
                ("sigma", regressor.sigma().to_string()),
            ];
            // A line is told by its slope and intercept.
            if let ([1, 1], [(weight, bias)]) = (regressor.widths(), regressor.layers()) {
                lines.push(("line", format!("{} x + {}", weight[0], bias[0])));
            }
            lines
        }
        _ => Vec::new(),
    }
}

fn gaussian(normal: &MultivariateNormal) -> Vec<Line> {
    let mut lines = vec![("mean", list(normal.mean()))];
    let rows = normal.covariance().chunks_exact(normal.dim()).take(SHOWN);
    lines.extend(rows.enumerate().map(|(i, row)| (if i == 0 { "covariance" } else { "" }, list(row))));
    lines
}

fn list(values: &[f64]) -> String {
    let shown: Vec<String> = values.iter().take(SHOWN).map(f64::to_string).collect();
    let rest = if values.len() > SHOWN { ", ..." } else { "" };
    format!("[{}{rest}]", shown.join(", "))
}

fn unet(network: &PixelUnet) -> String {
    match network {
        PixelUnet::Book(unet) => format!("U-Net of {:?} channels, time vector of {}", unet.channels, unet.time_dim),
        PixelUnet::Sd(unet, _) => {
            let channels: Vec<usize> = unet.levels.iter().map(|level| level.channels).collect();
            let attends = unet.levels.iter().filter(|level| level.down.iter().chain(&level.up).any(|&n| n > 0)).count();
            format!("U-Net of {channels:?} channels, attention on {attends} of {} levels", channels.len())
        }
    }
}

fn pictures(width: usize, height: usize, channels: usize) -> Line {
    ("pictures", format!("{width}x{height}, {channels} channel{}", if channels == 1 { "" } else { "s" }))
}

fn labels(labels: &[String]) -> Line {
    ("labels", if labels.is_empty() { "none".into() } else { labels.join(", ") })
}

fn noise(schedule: &Schedule) -> Line {
    let (levels, last) = (schedule.steps(), schedule.alpha_bar(schedule.steps()));
    ("noise", format!("{levels} levels, alpha_bar from {} to {last:.3e}", schedule.alpha_bar(1)))
}
