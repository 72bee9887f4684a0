//! The figures, as a table to read and as JSON to keep.
use super::neighbour::Distribution;
use super::psnr::Psnr;
use serde_json::{Value, json};
use std::fmt::Write;

/// How many samples of a label were recognised as it.
#[derive(Clone, PartialEq, Debug)]
pub struct LabelCount {
    /// The label's name.
    pub name: String,
    /// Samples drawn for this label.
    pub asked: usize,
    /// Those of them that the judge took for it.
    pub recognised: usize,
}

/// Counts by label; `None` for a model without labels, of which nothing is asked.
pub type Recognition = Option<Vec<LabelCount>>;

/// Share recognised over all labels.
pub fn share(counts: &[LabelCount]) -> f64 {
    let (asked, right) = counts.iter().fold((0, 0), |(a, r), c| (a + c.asked, r + c.recognised));
    right as f64 / asked.max(1) as f64
}

/// The judge, and what it says of real pictures.
#[derive(Clone, PartialEq, Debug)]
pub struct RealFigures {
    /// The judge's file.
    pub judge: String,
    /// Share of the test set that it recognises.
    pub accuracy: f64,
    /// Pictures in the test set.
    pub test_pictures: usize,
    /// Real pictures that stand beside the samples, and how many.
    pub compared: usize,
    /// Frechet distance of that many training pictures to the test set: what a perfect model would have.
    pub floor: f64,
    /// Distances of that many test pictures to the training set.
    pub test_neighbours: Distribution,
}

/// What was measured of a model.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelFigures {
    /// The file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Seconds of sampling.
    pub seconds: f64,
    /// Samples by label.
    pub recognition: Recognition,
    /// Frechet distance of the samples to the test set.
    pub frechet: f64,
    /// Distances of the samples to the training set.
    pub neighbours: Distribution,
}

/// Another file of the same model at the same seeds.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    /// The file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Seconds of sampling.
    pub seconds: f64,
    /// Samples by label.
    pub recognition: Recognition,
    /// Its samples against the model's.
    pub psnr: Psnr,
}

/// Everything that one run of `nijimi-train eval` found.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    /// The command line.
    pub command: String,
    /// Samples, seed, steps and so on.
    pub settings: Value,
    /// Of real pictures.
    pub real: RealFigures,
    /// Of the model, if one was given.
    pub model: Option<ModelFigures>,
    /// Of the files compared with it.
    pub against: Vec<Comparison>,
}

fn distribution(d: &Distribution) -> Value {
    json!({"min": d.min, "percent5": d.percent5, "median": d.median})
}

fn recognition(counts: &Recognition) -> Value {
    counts.as_ref().map_or(Value::Null, |counts| {
        let each = counts.iter().map(|c| json!({"label": c.name, "asked": c.asked, "recognised": c.recognised}));
        json!({"share": share(counts), "labels": each.collect::<Vec<_>>()})
    })
}

/// JSON has no infinity: `null` is the PSNR of equal pictures.
fn decibel(v: f64) -> Value {
    if v.is_finite() { json!(v) } else { Value::Null }
}

impl Figures {
    /// All figures, with command and settings.
    pub fn json(&self) -> Value {
        let r = &self.real;
        let model = self.model.as_ref().map(|m| {
            json!({
                "file": m.file, "bytes": m.bytes, "seconds": m.seconds, "recognised": recognition(&m.recognition),
                "frechet_distance": m.frechet, "nearest_training_picture": distribution(&m.neighbours),
            })
        });
        let against = self.against.iter().map(|c| {
            json!({
                "file": c.file, "bytes": c.bytes, "seconds": c.seconds, "recognised": recognition(&c.recognition),
                "psnr": {
                    "mean": decibel(c.psnr.mean), "min": decibel(c.psnr.min), "overall": decibel(c.psnr.overall),
                    "equal": c.psnr.equal,
                },
            })
        });
        json!({
            "command": self.command,
            "settings": self.settings,
            "judge": {"file": r.judge, "test_accuracy": r.accuracy, "test_pictures": r.test_pictures},
            "real": {
                "pictures": r.compared, "frechet_distance": r.floor,
                "nearest_training_picture_of_test": distribution(&r.test_neighbours),
            },
            "model": model,
            "against": against.collect::<Vec<_>>(),
        })
    }

    /// The figures as tables.
    pub fn table(&self) -> String {
        let (r, mut out) = (&self.real, String::new());
        let mut line = |text: String| _ = writeln!(out, "{}", text.trim_end());
        line(format!("judge {}: recognises {:.2} % of {} test pictures", r.judge, 100.0 * r.accuracy, r.test_pictures));
        line(String::new());
        line(format!("{:32} {:>10} {:>9}   {}", "", "recognised", "Frechet", "nearest training picture (L2)"));
        line(format!(
            "{:32} {:>10} {:>9} {:>8} {:>8} {:>8}",
            "pictures", "as asked", "to test", "min", "5 %", "median"
        ));
        let near = |d: &Distribution| format!("{:8.3} {:8.3} {:8.3}", d.min, d.percent5, d.median);
        if let Some(m) = &self.model {
            line(format!("{:32} {:>10} {:9.3} {}", m.file, percent(&m.recognition), m.frechet, near(&m.neighbours)));
        }
        line(format!("{:32} {:>10} {:9.3}", format!("real training pictures, {}", r.compared), "", r.floor));
        let name = format!("real test pictures, {}", r.compared);
        line(format!("{name:32} {:>10} {:>9} {}", "", "", near(&r.test_neighbours)));
        if let Some(counts) = self.model.as_ref().and_then(|m| m.recognition.as_ref()) {
            line(String::new());
            line(format!("{:16} {:>8} {:>10}", "label", "samples", "recognised"));
            for c in counts {
                let share = 100.0 * c.recognised as f64 / c.asked.max(1) as f64;
                line(format!("{:16} {:>8} {share:8.1} %", c.name, c.asked));
            }
        }
        if let (false, Some(m)) = (self.against.is_empty(), &self.model) {
            line(String::new());
            line(format!("at the same seeds, against {} ({} bytes, {:.1} s)", m.file, m.bytes, m.seconds));
            let head = ["bytes", "seconds", "recognised", "PSNR mean", "min", "overall", "equal"];
            let [a, b, c, d, e, f, g] = head;
            line(format!("{:32} {a:>10} {b:>8} {c:>10} {d:>10} {e:>8} {f:>8} {g:>6}", "file"));
            for c in &self.against {
                let (share, p) = (percent(&c.recognition), &c.psnr);
                let psnr = format!("{:10.2} {:8.2} {:8.2} {:6}", p.mean, p.min, p.overall, p.equal);
                line(format!("{:32} {:>10} {:8.1} {share:>10} {psnr}", c.file, c.bytes, c.seconds));
            }
        }
        out
    }
}

fn percent(counts: &Recognition) -> String {
    counts.as_ref().map_or_else(String::new, |c| format!("{:.1} %", 100.0 * share(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let count = |name: &str, recognised| LabelCount { name: name.into(), asked: 4, recognised };
        let counts = Some(vec![count("cat", 4), count("dog", 2)]);
        let near = Distribution { min: 1.0, percent5: 2.0, median: 3.0 };
        let psnr = Psnr { mean: f64::INFINITY, min: f64::INFINITY, overall: f64::INFINITY, equal: 8 };
        Figures {
            command: "nijimi-train eval".into(),
            settings: json!({"samples": 8}),
            real: RealFigures {
                judge: "j".into(),
                accuracy: 0.994,
                test_pictures: 100,
                compared: 8,
                floor: 0.5,
                test_neighbours: near,
            },
            model: Some(ModelFigures {
                file: "m.gguf".into(),
                bytes: 10,
                seconds: 1.5,
                recognition: counts.clone(),
                frechet: 2.25,
                neighbours: near,
            }),
            against: vec![Comparison { file: "n.gguf".into(), bytes: 5, seconds: 1.0, recognition: counts, psnr }],
        }
    }

    /// Seen red: the share taken as the mean of something else than all samples (`asked` of the first label only);
    /// infinity as 0.
    #[test]
    fn table_and_json_hold_the_figures() {
        let f = figures();
        let table = f.table();
        for part in ["99.40 %", "75.0 %", "2.250", "0.500", "cat", "50.0 %", "inf"] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        let json = f.json();
        assert_eq!(json["model"]["recognised"]["share"], 0.75);
        assert_eq!(json["against"][0]["psnr"]["min"], Value::Null);
        assert_eq!(json["against"][0]["psnr"]["equal"], 8);
        assert_eq!(json["settings"]["samples"], 8);
    }
}
