//! The forward process of a model, and what its network answers: as its file says, since it is drawn with by these.
use crate::error::{Error, Result};
use nijimi_runtime::model::LatentInfo;
use nijimi_runtime::sampler::Prediction;
use nijimi_runtime::schedule::Schedule;

/// Noise levels, how they are drawn, and the answer to be learned.
#[derive(Clone, Debug)]
pub struct Process {
    /// `alpha_bar` at t = 0..T.
    pub alpha_bars: Vec<f64>,
    prediction: Prediction,
    /// See [`Self::level`].
    shift: f64,
    /// Whether the levels are those of the cosine, so that a shift is a formula.
    cosine: bool,
}

/// A time in [0, 1] of the cosine schedule, uniform before: there sigma over signal is the tangent.
fn shifted(time: f64, shift: f64) -> f64 {
    use std::f64::consts::FRAC_PI_2;
    (shift * (time * FRAC_PI_2).tan()).atan() / FRAC_PI_2
}

/// How far levels are drawn towards noise where nothing is said: for models that were begun here.
const SHIFT: f64 = 3.0;

impl Process {
    /// Of the model that `info` describes. `shift` says how far noise levels are drawn towards noise; by none, as the model was
    /// trained before: by 3 on the cosine schedule, evenly on others.
    ///
    /// # Errors
    /// A schedule that cannot be, and flow matching.
    pub fn of(info: &LatentInfo, shift: Option<f64>) -> Result<Self> {
        let (schedule, settings) = info.settings(None, &[], 1)?;
        if settings.prediction == Prediction::Flow {
            let what = "--init: the file is of flow matching, which can be drawn with, but not trained";
            return Err(Error::File(what.into()));
        }
        let alpha_bars = schedule.alpha_bars()[1..].to_vec();
        let cosine = Schedule::cosine(alpha_bars.len()).map_err(nijimi_runtime::Error::from)?;
        let cosine = cosine.alpha_bars()[1..] == alpha_bars[..];
        let shift = shift.unwrap_or(if cosine { SHIFT } else { 1.0 });
        Ok(Self { alpha_bars, prediction: settings.prediction, shift, cosine })
    }

    /// The shift, and the words for schedule and answer, for a run's settings.
    pub fn told(&self) -> (f64, &'static str, String) {
        let prediction = match self.prediction {
            Prediction::Epsilon => "epsilon",
            Prediction::Sample => "sample",
            _ => "v_prediction",
        };
        let last = self.alpha_bars.last().copied().unwrap_or_default();
        (self.shift, prediction, format!("{} levels to alpha_bar {last}", self.alpha_bars.len()))
    }

    /// The level of a time in [0, 1): where noise over signal is `shift` times that at uniform times. 1: uniform. Hoogeboom et al.
    /// 2023 (simple diffusion), section 3.1; Esser et al. 2024, section 5.3.2.
    pub fn level(&self, time: f64) -> usize {
        let n = self.alpha_bars.len();
        let level = if self.cosine {
            (shifted(time, self.shift) * n as f64) as usize
        } else {
            let over = |a: f64| ((1.0 - a) / a).sqrt();
            let wanted = self.shift * over(self.alpha_bars[((time * n as f64) as usize).min(n - 1)]);
            self.alpha_bars.partition_point(|a| over(*a) < wanted)
        };
        level.min(n - 1)
    }

    /// Signal and noise at a level.
    pub fn signal_and_sigma(&self, level: usize) -> (f32, f32) {
        let a = self.alpha_bars[level];
        (a.sqrt() as f32, (1.0 - a).sqrt() as f32)
    }

    /// What is to be answered where `noise` was added to `clean`. v: Salimans and Ho 2022, section 4.
    pub fn answer(&self, (signal, sigma): (f32, f32), clean: f32, noise: f32) -> f32 {
        match self.prediction {
            Prediction::Epsilon => noise,
            Prediction::Sample => clean,
            _ => signal * noise - sigma * clean,
        }
    }

    /// What a loss is multiplied by so that it is that of the clean sample, weighted by `min(snr, gamma)`. Hang et al. 2023.
    pub fn weight(&self, level: usize, gamma: f64) -> f64 {
        let a = self.alpha_bars[level];
        let snr = a / (1.0 - a);
        match self.prediction {
            Prediction::Epsilon if snr == 0.0 => 1.0,
            Prediction::Epsilon => snr.min(gamma) / snr,
            Prediction::Sample => snr.min(gamma),
            _ => snr.min(gamma) * (1.0 - a),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(schedule: &Schedule, prediction: Prediction, shift: f64, cosine: bool) -> Process {
        Process { alpha_bars: schedule.alpha_bars()[1..].to_vec(), prediction, shift, cosine }
    }

    /// Noise over signal, at the levels that are drawn, is the shift times that of uniform ones. Seen red with the shift left out.
    #[test]
    fn levels_are_shifted_towards_noise() {
        let cosine = Schedule::cosine(1000).expect("the schedule");
        let linear = Schedule::linear(1e-4, 0.02, 1000).expect("the schedule");
        for (schedule, is) in [(&cosine, true), (&linear, false)] {
            let over = |time: f64, shift| {
                let p = process(schedule, Prediction::V, shift, is);
                let a = p.alpha_bars[p.level(time)];
                ((1.0 - a) / a).sqrt()
            };
            for time in [0.1, 0.3, 0.5, 0.7] {
                let even = process(schedule, Prediction::V, 1.0, is).level(time);
                assert!(even.abs_diff((time * 1000.0) as usize) <= 1, "{even}");
                for shift in [0.5, 3.0] {
                    // The levels are steps, and the cosine begins a little late.
                    let ratio = over(time, shift) / over(time, 1.0) / shift;
                    assert!((ratio - 1.0).abs() < 0.1, "time {time}, shift {shift}: {ratio}");
                }
            }
        }
        assert!(shifted(0.0, 3.0) == 0.0 && shifted(0.999_999, 3.0) < 1.0);
    }

    /// Seen red with v answered whatever is predicted, and with one weight for all.
    #[test]
    fn answers_and_weights_are_those_of_the_prediction() {
        let schedule = Schedule::linear(1e-4, 0.02, 1000).expect("the schedule");
        let of = |prediction| process(&schedule, prediction, 1.0, false);
        let at = of(Prediction::V).signal_and_sigma(500);
        let [eps, clean, v] =
            [Prediction::Epsilon, Prediction::Sample, Prediction::V].map(|p| of(p).answer(at, 0.5, -2.0));
        assert!((eps, clean) == (-2.0, 0.5) && (v - (at.0 * -2.0 - at.1 * 0.5)).abs() < 1e-6);
        // The same mistake of the clean sample costs the same, whichever answer it is made in.
        let a = of(Prediction::V).alpha_bars[500];
        let snr = a / (1.0 - a);
        let cost = |p, scale: f64| of(p).weight(500, 5.0) * scale;
        let sample = cost(Prediction::Sample, 1.0);
        assert!((cost(Prediction::Epsilon, snr) / sample - 1.0).abs() < 1e-12);
        assert!((cost(Prediction::V, 1.0 / (1.0 - a)) / sample - 1.0).abs() < 1e-12);
    }
}
