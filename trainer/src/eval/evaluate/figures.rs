//! The figures of a text-to-image model, as a table to read and as JSON to keep.
use super::likeness::Likeness;
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
    /// Captions that were drawn.
    pub captions: usize,
    /// What a matcher says, if there is one.
    pub matched: Option<Matched>,
    /// The samples beside the pictures of their subjects.
    pub likeness: Likeness,
    /// The same of [`super::prompts::ASKED`], if the set has such subjects.
    pub asked: Option<Likeness>,
    /// How far each sample is from its nearest picture of the set.
    pub neighbours: Distribution,
    /// The model's file, its length, and seconds a picture.
    pub model: (String, u64, f64),
    /// Other files at the same seeds: file, length, seconds a picture, PSNR against the model's pictures.
    pub against: Vec<(String, u64, f64, Psnr)>,
    /// Pictures compared with those files.
    pub compared: usize,
}

/// What a matcher finds.
pub struct Matched {
    /// Its file, and how well it does.
    pub matcher: (String, MatcherFigures),
    /// Real pictures of the captions for which it finds their caption.
    pub real: Retrieval,
    /// Samples for which it does.
    pub samples: Retrieval,
    /// Frechet distance of the samples to the real set.
    pub frechet: f64,
    /// Of one half of the real set to the other.
    pub floor: f64,
    /// Of the real pictures of the captions to the real set.
    pub chosen: f64,
}

/// JSON has no infinity: `null` is the PSNR of equal pictures.
fn decibel(v: f64) -> Value {
    if v.is_finite() { json!(v) } else { Value::Null }
}

impl Figures {
    /// All figures, with command and settings.
    pub fn json(&self) -> Value {
        let share = |r: &Option<Retrieval>| r.as_ref().map_or(Value::Null, Retrieval::json);
        let n = &self.neighbours;
        let matched = self.matched.as_ref().map(|found| {
            let (file, m) = &found.matcher;
            json!({
                "matcher": {
                    "file": file, "known_subjects_changed": share(&m.known), "held_out_variants": share(&m.variants),
                    "held_out_subjects": share(&m.unknown),
                },
                "retrieval": {"samples": found.samples.json(), "real_pictures": found.real.json()},
                "frechet_distance": {
                    "samples": found.frechet, "halves_of_the_real_set": found.floor, "real_pictures_of_the_captions": found.chosen,
                },
            })
        });
        let against = self.against.iter().map(|(file, bytes, seconds, p)| {
            json!({
                "file": file, "bytes": bytes, "seconds_a_picture": seconds, "pictures": self.compared,
                "psnr": {"mean": decibel(p.mean), "min": decibel(p.min), "overall": decibel(p.overall), "equal": p.equal},
            })
        });
        json!({
            "command": self.command,
            "settings": self.settings,
            "matched": matched,
            "likeness": self.likeness.json(),
            "likeness_in_other_words": self.asked.as_ref().map(Likeness::json),
            "model": {"file": self.model.0, "bytes": self.model.1, "seconds_a_picture": self.model.2},
            "captions": self.captions,
            "nearest_picture_of_the_set": {"min": n.min, "percent5": n.percent5, "median": n.median},
            "against": against.collect::<Vec<_>>(),
        })
    }

    /// The figures as text.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| _ = writeln!(out, "{text}");
        let told = |r: &Option<Retrieval>| r.as_ref().map_or("none".into(), ToString::to_string);
        if let Some(Matched { matcher: (file, m), .. }) = &self.matched {
            line(format!("matcher {file}"));
            line(format!("  pictures of training, changed anew: {}", told(&m.known)));
            line(format!("  variants of known subjects that were held out: {}", told(&m.variants)));
            line(format!("  subjects that were held out: {}", told(&m.unknown)));
        }
        let (file, bytes, seconds) = &self.model;
        line(format!("model {file}, {bytes} bytes, {seconds:.2} s a picture"));
        line(format!("  {} captions: {}", self.captions, self.likeness));
        if let Some(asked) = &self.asked {
            line(format!("  in other words: {asked}"));
        }
        if let Some(m) = &self.matched {
            line(format!("  the matcher: {}", m.samples));
            line(format!("  of the real pictures: {}", m.real));
            line(format!(
                "  Frechet distance to the real set: {:.4}; of its halves {:.4}; of the captions' real pictures {:.4}",
                m.frechet, m.floor, m.chosen
            ));
        }
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
            captions: 2,
            matched: Some(Matched {
                matcher: (
                    "m.safetensors".into(),
                    MatcherFigures { known: Some(retrieval(7)), variants: None, unknown: None },
                ),
                real: retrieval(8),
                samples: retrieval(6),
                frechet: 0.25,
                floor: 0.0625,
                chosen: 0.125,
            }),
            likeness: Likeness { asked: 3, first: 2, three: 3, median: 9.125, energy: [0.03, 0.04] },
            asked: None,
            neighbours: Distribution { min: 1.5, percent5: 2.5, median: 3.5 },
            model: ("f32.gguf".into(), 1000, 0.5),
            against: vec![("q8.gguf".into(), 250, 0.75, psnr)],
            compared: 4,
        };
        let table = f.table();
        for part in [
            "87.5 %", "75.0 %", "0.2500", "0.0625", "0.1250", "41.50", "inf", "q8.gguf", "2.500", "0.75", "66.7 %",
            "9.12",
        ] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        let json = f.json();
        assert_eq!(json["matched"]["retrieval"]["samples"]["first"], 0.75);
        assert_eq!(json["matched"]["frechet_distance"]["halves_of_the_real_set"], 0.0625);
        assert_eq!(json["likeness"]["median_distance_to_the_subject"], 9.125);
        assert_eq!(json["against"][0]["psnr"]["mean"], Value::Null);
        assert_eq!(json["against"][0]["psnr"]["overall"], 41.5);
        assert_eq!(json["matched"]["matcher"]["held_out_variants"], Value::Null);
    }
}
