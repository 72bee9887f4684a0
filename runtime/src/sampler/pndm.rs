//! PNDM (Liu et al. 2022): Runge-Kutta for the first three steps, then linear multistep (PLMS); or PLMS alone, whose
//! first step is taken twice.

use super::call::{Call, Mix};
use super::levels::Point;
use super::settings::SolverSettings;
use super::{Prediction, SamplerError};
use crate::schedule::Schedule;
use alloc::vec::Vec;

/// Weights of the newest four answers (eq. 12 and its lower orders).
const ADAMS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// Slots 0 to 3 keep answers, slots 4 and 5 those inside a Runge-Kutta step.
pub(super) fn calls(
    schedule: &Schedule,
    s: &SolverSettings,
    skip_prk: bool,
    set_alpha_to_one: bool,
) -> Result<Vec<Call>, SamplerError> {
    if !matches!(s.prediction, Prediction::Epsilon | Prediction::V) {
        return Err(SamplerError::Prediction { solver: "pndm", wants: "epsilon or v" });
    }
    let levels = schedule.steps();
    let timesteps: Vec<i64> = s.spacing.timesteps(levels, s.steps, s.steps_offset)?.iter().map(|&t| t as i64).collect();
    let (stride, n) = ((levels / s.steps) as i64, timesteps.len());
    let end = if set_alpha_to_one { 1.0 } else { schedule.alpha_bar(1) };
    let alpha_bar = |t: i64| if t < 0 { end } else { schedule.alpha_bar((t as usize).min(levels - 1) + 1) };
    let store = |slot: usize| Some((slot, [0.0, 0.0, 1.0]));
    let call = |step: usize, t: i64| {
        let now = alpha_bar(t);
        Point::given(t as f64, libm::sqrt(now), libm::sqrt(1.0 - now)).call(step, s)
    };
    // Eq. 11 from level `t` to `to`: weights of the sample and of the answer.
    let transfer = |t: i64, to: i64| {
        let (now, next) = (alpha_bar(t), alpha_bar(to));
        let below = now * libm::sqrt(1.0 - next) + libm::sqrt(now * (1.0 - now) * next);
        let (x, out) = (libm::sqrt(next / now), -(next - now) / below);
        if s.prediction == Prediction::V { (x + out * libm::sqrt(1.0 - now), out * libm::sqrt(now)) } else { (x, out) }
    };
    let mut calls = Vec::new();
    let (mut kept, mut first) = (0, s.start);
    if !skip_prk {
        if n < s.start + 4 {
            return Err(SamplerError::TooFew { steps: n - s.start, least: 4 });
        }
        for (group, &t) in timesteps[s.start..s.start + 3].iter().enumerate() {
            // The middle is counted from the end, as the reference does; they differ where the stride is odd.
            let (half, end) = (stride / 2, timesteps[s.start + group + 1]);
            let middle = end + half;
            let mean: &[(usize, f64)] = &[(group, 1.0 / 6.0), (4, 1.0 / 3.0), (5, 1.0 / 3.0), (3, 1.0 / 6.0)];
            let stages = [
                (t, t - half, group, &[(group, 1.0)][..]),
                (middle, middle, 4, &[(4, 1.0)]),
                (middle, end, 5, &[(5, 1.0)]),
                (end, end, 3, mean),
            ];
            for (stage, (at, to, slot, weights)) in stages.into_iter().enumerate() {
                let (x, out) = transfer(t, to);
                let next = Mix::default().with_base(x);
                let next = weights.iter().fold(next, |mix, &(slot, weight)| mix.with_slot(slot, out * weight));
                let keep = stage == 0;
                calls.push(Call { store: store(slot), keep, next, ..call(s.start + group, at) });
            }
        }
        (kept, first) = (3, s.start + 3);
    }
    for (i, &t) in timesteps.iter().enumerate().skip(first) {
        let (x, out) = transfer(t, t - stride);
        let weights = ADAMS[kept.min(3)];
        let next =
            weights.iter().enumerate().fold(Mix::default(), |mix, (k, w)| mix.with_slot((kept - k) % 4, out * w));
        if kept != 0 || n - s.start == 1 {
            calls.push(Call { store: store(kept % 4), next: Mix { x: x as f32, ..next }, ..call(i, t) });
        } else {
            // The first step once more, with the mean of the answers at both of its ends.
            let there = Mix { x: x as f32, ..next };
            calls.push(Call { store: store(0), keep: true, next: there, ..call(i, t) });
            let end = timesteps[i + 1];
            let (x, out) = transfer(end + stride, end);
            let next = Mix { out: (out / 2.0) as f32, ..Mix::default() }.with_base(x).with_slot(0, out / 2.0);
            calls.push(Call { next, ..call(i, end) });
        }
        kept += 1;
    }
    Ok(calls)
}
