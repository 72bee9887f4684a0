//! Nice numbers for axes and contour levels: matplotlib's `MaxNLocator`, so that levels are those of the book's figures.

/// Steps of the contour levels: matplotlib's default for `MaxNLocator`.
const LEVEL_STEPS: [f64; 10] = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
/// Steps of the axes: matplotlib's `AutoLocator`.
const AXIS_STEPS: [f64; 5] = [1.0, 2.0, 2.5, 5.0, 10.0];
/// How close to a whole number of steps counts as one.
const CLOSE: f64 = 1e-10;

/// Contour levels for values from `least` to `greatest`, about eight intervals: the first is the last nice number not
/// above `least`, the last the first not below `greatest`. Both ends belong to the list, though no line is drawn at a
/// level outside the data. Empty if the values are not finite or all equal.
pub fn contour_levels(least: f64, greatest: f64) -> Vec<f64> {
    let ticks = nice(least, greatest, 8, &LEVEL_STEPS);
    let from = ticks.iter().rposition(|t| *t < least).unwrap_or(0);
    let to = ticks.iter().position(|t| *t > greatest).map_or(ticks.len(), |i| i + 1);
    if to.saturating_sub(from) < 3 { ticks } else { ticks[from..to].to_vec() }
}

/// Ticks of an axis from `least` to `greatest`, at most `intervals + 1`, all within the axis.
pub fn axis_ticks(least: f64, greatest: f64, intervals: usize) -> Vec<f64> {
    let slack = (greatest - least).abs() * 1e-9;
    let within = |t: &f64| (least - slack..=greatest + slack).contains(t);
    nice(least, greatest, intervals, &AXIS_STEPS).into_iter().filter(within).collect()
}

/// `MaxNLocator._raw_ticks`: the largest nice step that is not below the raw one gives too few ticks at times; then the
/// next smaller.
fn nice(least: f64, greatest: f64, intervals: usize, steps: &[f64]) -> Vec<f64> {
    let (low, high) = (least.min(greatest), least.max(greatest));
    let raw = (high - low) / intervals.max(1) as f64;
    if !(raw.is_finite() && raw > 0.0 && raw > 1e-12 * low.abs().max(high.abs())) {
        return Vec::new();
    }
    let middle = (high + low) / 2.0;
    let far = middle.abs() / (high - low) >= 100.0;
    let offset = if far { 10f64.powf(middle.abs().log10().floor()).copysign(middle) } else { 0.0 };
    let scale = 10f64.powf(raw.log10().floor());
    // A decade below, the decade, and one above, so that there is always a larger and a smaller step.
    let mut staircase: Vec<f64> = steps[..steps.len() - 1].iter().map(|s| 0.1 * s * scale).collect();
    staircase.extend(steps.iter().map(|s| s * scale));
    staircase.push(10.0 * steps[1] * scale);
    let (low, high) = (low - offset, high - offset);
    let first = staircase.iter().position(|s| *s >= raw).unwrap_or(staircase.len() - 1);
    let mut ticks = Vec::new();
    for step in staircase[..=first].iter().rev() {
        let base = (low / step).floor() * step;
        let (from, to) = (not_above(low - base, *step), not_below(high - base, *step));
        ticks = (from..=to).map(|i| i as f64 * step + base).collect();
        if ticks.iter().any(|t| (low..=high).contains(t)) {
            break;
        }
    }
    ticks.iter().map(|t| t + offset).collect()
}

fn not_above(x: f64, step: f64) -> i64 {
    let (whole, rest) = ((x / step).floor(), x.rem_euclid(step) / step);
    whole as i64 + i64::from((rest - 1.0).abs() < CLOSE)
}

fn not_below(x: f64, step: f64) -> i64 {
    let (whole, rest) = ((x / step).floor(), x.rem_euclid(step) / step);
    whole as i64 + i64::from(rest.abs() >= CLOSE)
}

/// Numbers of ticks as text: just as many decimals as tell them apart, and powers of ten for the very large and small.
pub fn labels(ticks: &[f64]) -> Vec<String> {
    let step = ticks.windows(2).map(|w| (w[1] - w[0]).abs()).fold(f64::INFINITY, f64::min);
    let largest = ticks.iter().fold(0.0, |m: f64, t| m.max(t.abs()));
    let step = if step.is_finite() { step } else { largest.max(1e-300) };
    if largest >= 1e6 || (largest > 0.0 && largest < 1e-3) {
        return ticks.iter().map(|t| scientific(*t)).collect();
    }
    let decimals = (0..12).find(|d| {
        let scaled = step * 10f64.powi(*d);
        scaled >= 0.5 && (scaled - scaled.round()).abs() < 1e-6 * scaled
    });
    let decimals = decimals.unwrap_or(6) as usize;
    ticks.iter().map(|t| format!("{:.decimals$}", if t.abs() < 1e-9 * largest { 0.0 } else { *t })).collect()
}

/// `2.5e-4`, without zeros at the end.
fn scientific(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let text = format!("{x:.4e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> serde_json::Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reference/classic.json");
        serde_json::from_str(&std::fs::read_to_string(path).expect("the reference")).expect("JSON")
    }

    /// The levels that matplotlib draws in each contour figure of the book, bit for bit.
    #[test]
    fn levels_are_matplotlibs() {
        let all = reference();
        for name in ["plot_3d", "plot_norm", "mle", "gmm", "em"] {
            let figure = &all[format!("contour.{name}")];
            let number = |key: &str| figure[key].as_f64().expect("a number");
            let levels = figure["levels"].as_array().expect("levels");
            let expected: Vec<f64> = levels.iter().filter_map(serde_json::Value::as_f64).collect();
            assert_eq!(contour_levels(number("zmin"), number("zmax")), expected, "{name}");
        }
    }

    #[test]
    fn ticks_stay_within_the_axis() {
        assert_eq!(axis_ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(axis_ticks(153.1, 190.9, 8), [155.0, 160.0, 165.0, 170.0, 175.0, 180.0, 185.0, 190.0]);
        assert_eq!(axis_ticks(1000.001, 1000.003, 4), [1000.001, 1000.002, 1000.003]);
        assert!(axis_ticks(1.0, 1.0, 5).is_empty() && axis_ticks(f64::NAN, 1.0, 5).is_empty());
    }

    #[test]
    fn labels_have_the_decimals_they_need() {
        assert_eq!(labels(&[0.0, 0.25, 0.5]), ["0.00", "0.25", "0.50"]);
        assert_eq!(labels(&[-10.0, 0.0, 10.0]), ["-10", "0", "10"]);
        assert_eq!(labels(&[0.0, 2e-4, 4e-4]), ["0", "2e-4", "4e-4"]);
    }
}
