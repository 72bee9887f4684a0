//! The figures of a text-to-image model, as a table to read and as JSON to keep.
use crate::eval::neighbour::Distribution;
use crate::eval::psnr::Psnr;
use crate::systems::matcher::command::MatcherFigures;
use crate::systems::matcher::retrieval::Retrieval;
use serde_json::{Value, json};
use std::fmt::Write;

/// Everything that one run found.
pub struct Figures {
    /// The command line.
    pub command: String,
    /// Settings that the figures depend on.
    pub settings: Value,
    /// The matcher's file, and how well it does.
    pub matcher: (String, MatcherFigures),
    /// The captions, and what the matcher finds of the real pictures of them.
    pub captions: usize,
    /// See [`Self::captions`].
    pub real: Retrieval,
    /// Samples for which the matcher finds their caption.
    pub samples: Retrieval,
    /// Frechet distance of the samples to the real set.
    pub frechet: f64,
    /// Of one half of the real set to the other.
    pub floor: f64,
    /// Of the real pictures of the captions to the real set.
    pub chosen: f64,
    /// How far each sample is from its nearest picture of the set.
    pub neighbours: Distribution,
    /// The model's file, its length, and seconds a picture.
    pub model: (String, u64, f64),
    /// Other files at the same seeds: file, length, seconds a picture, PSNR against the model's pictures.
    pub against: Vec<(String, u64, f64, Psnr)>,
    /// Pictures compared with those files.
    pub compared: usize,
}

/// JSON has no infinity: `null` is the PSNR of equal pictures.
fn decibel(v: f64) -> Value {
    if v.is_finite() { json!(v) } else { Value::Null }
}

impl Figures {
    /// All figures, with command and settings.
    pub fn json(&self) -> Value {
        let share = |r: &Option<Retrieval>| r.as_ref().map_or(Value::Null, Retrieval::json);
        let (file, m) = &self.matcher;
        let n = &self.neighbours;
        let against = self.against.iter().map(|(file, bytes, seconds, p)| {
            json!({
                "file": file, "bytes": bytes, "seconds_a_picture": seconds, "pictures": self.compared,
                "psnr": {"mean": decibel(p.mean), "min": decibel(p.min), "overall": decibel(p.overall), "equal": p.equal},
            })
        });
        json!({
            "command": self.command,
            "settings": self.settings,
            "matcher": {
                "file": file, "known_subjects_changed": share(&m.known), "held_out_variants": share(&m.variants),
                "held_out_subjects": share(&m.unknown),
            },
            "model": {"file": self.model.0, "bytes": self.model.1, "seconds_a_picture": self.model.2},
            "captions": self.captions,
            "retrieval": {"samples": self.samples.json(), "real_pictures": self.real.json()},
            "frechet_distance": {
                "samples": self.frechet, "halves_of_the_real_set": self.floor, "real_pictures_of_the_captions": self.chosen,
            },
            "nearest_picture_of_the_set": {"min": n.min, "percent5": n.percent5, "median": n.median},
            "against": against.collect::<Vec<_>>(),
        })
    }

    /// The figures as text.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| _ = writeln!(out, "{text}");
        let told = |r: &Option<Retrieval>| r.as_ref().map_or("none".into(), ToString::to_string);
        let (file, m) = &self.matcher;
        line(format!("matcher {file}"));
        line(format!("  pictures of training, changed anew: {}", told(&m.known)));
        line(format!("  variants of known subjects that were held out: {}", told(&m.variants)));
        line(format!("  subjects that were held out: {}", told(&m.unknown)));
        let (file, bytes, seconds) = &self.model;
        line(format!("model {file}, {bytes} bytes, {seconds:.2} s a picture"));
        line(format!("  samples of {} captions: {}", self.captions, self.samples));
        line(format!("  real pictures of them: {}", self.real));
        line(format!(
            "  Frechet distance to the real set: {:.4}; of its halves {:.4}; of the captions' real pictures {:.4}",
            self.frechet, self.floor, self.chosen
        ));
        let n = &self.neighbours;
        let near = format!("min {:.3}, 5 % {:.3}, median {:.3}", n.min, n.percent5, n.median);
        line(format!("  nearest picture of the set (L2 of values 0 to 1): {near}"));
        if !self.against.is_empty() {
            line(format!("{} pictures at the same seeds, PSNR against the model's", self.compared));
            let head = ["bytes", "s each", "mean", "min", "overall", "equal"];
            let [a, b, c, d, e, f] = head;
            line(format!("{:32} {a:>10} {b:>7} {c:>8} {d:>8} {e:>8} {f:>6}", "file"));
            for (file, bytes, seconds, p) in &self.against {
                let psnr = format!("{:8.2} {:8.2} {:8.2} {:6}", p.mean, p.min, p.overall, p.equal);
                line(format!("{file:32} {bytes:>10} {seconds:7.2} {psnr}"));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_json_hold_the_figures() {
        let retrieval = |first| Retrieval { asked: 8, among: 100, first, five: 8 };
        let psnr = Psnr { mean: f64::INFINITY, min: f64::INFINITY, overall: 41.5, equal: 4 };
        let f = Figures {
            command: "nijimi-train evaluate".into(),
            settings: json!({"seeds": 4}),
            matcher: (
                "m.safetensors".into(),
                MatcherFigures { known: Some(retrieval(7)), variants: None, unknown: None },
            ),
            captions: 2,
            real: retrieval(8),
            samples: retrieval(6),
            frechet: 0.25,
            floor: 0.0625,
            chosen: 0.125,
            neighbours: Distribution { min: 1.5, percent5: 2.5, median: 3.5 },
            model: ("f32.gguf".into(), 1000, 0.5),
            against: vec![("q8.gguf".into(), 250, 0.75, psnr)],
            compared: 4,
        };
        let table = f.table();
        for part in ["87.5 %", "75.0 %", "0.2500", "0.0625", "0.1250", "41.50", "inf", "q8.gguf", "2.500", "0.75"] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        let json = f.json();
        assert_eq!(json["retrieval"]["samples"]["first"], 0.75);
        assert_eq!(json["frechet_distance"]["halves_of_the_real_set"], 0.0625);
        assert_eq!(json["against"][0]["psnr"]["mean"], Value::Null);
        assert_eq!(json["against"][0]["psnr"]["overall"], 41.5);
        assert_eq!(json["matcher"]["held_out_variants"], Value::Null);
    }
}
