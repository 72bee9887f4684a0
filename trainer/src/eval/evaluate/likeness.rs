//! Whether a picture looks like what was asked for, by the pictures of the set themselves: no network judges.
use crate::data::captioned::Captioned;
use crate::data::captions;
use crate::eval::neighbour::{distance, nearest_few};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Nearest pictures among which the subject counts as found where it was asked for in other words.
const FEW: usize = 3;

/// How samples compare with the set's pictures of what they were asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Likeness {
    /// Samples.
    pub asked: usize,
    /// Those whose nearest picture of the set, L2 over all pixels, is of the subject.
    pub first: usize,
    /// Those with the subject among the three nearest.
    pub three: usize,
    /// Median L2 of values 0 to 1 to the nearest picture of the subject.
    pub median: f64,
    /// Energy of the gradients, the mean squared difference of neighbouring pixels: of the samples, and of the pictures of the
    /// set that are nearest to them among those of their subject. Blur lowers it.
    pub energy: [f64; 2],
}

impl Likeness {
    /// Of `samples` (n, side, side, 3), 0 to 1; `right` says for each which subjects it may show.
    ///
    /// # Panics
    /// If a sample may show no subject that has a picture.
    pub fn of(samples: &[f32], right: &[Vec<u32>], set: &Captioned) -> Self {
        let size = set.side * set.side * 3;
        let pixels: Vec<u8> = set.pictures.iter().flat_map(|p| p.pixels.iter().copied()).collect();
        let mut of = BTreeMap::<u32, Vec<usize>>::new();
        for (i, picture) in set.pictures.iter().enumerate() {
            of.entry(picture.subject).or_default().push(i);
        }
        let mut found = Self { asked: right.len(), first: 0, three: 0, median: 0.0, energy: [0.0; 2] };
        let mut distances = Vec::with_capacity(right.len());
        let near = nearest_few(samples, &pixels, size, FEW);
        for ((sample, right), near) in samples.chunks_exact(size).zip(right).zip(near) {
            let is_right = |i: usize| right.contains(&set.pictures[i].subject);
            found.first += usize::from(is_right(near[0].index));
            found.three += usize::from(near.iter().any(|n| is_right(n.index)));
            let own = right.iter().flat_map(|s| of.get(s).into_iter().flatten());
            let own = own.map(|i| (distance(sample, &set.pictures[*i].pixels), *i));
            let (d, real) = own.min_by(|a, b| a.0.total_cmp(&b.0)).expect("a subject has a picture");
            distances.push(d);
            let real = set.pictures[real].pixels.iter().map(|b| f32::from(*b) / 255.0);
            found.energy[0] += energy(sample, set.side) / found.asked as f64;
            found.energy[1] += energy(&real.collect::<Vec<_>>(), set.side) / found.asked as f64;
        }
        distances.sort_by(f64::total_cmp);
        let n = distances.len();
        found.median = if n == 0 { f64::NAN } else { f64::midpoint(distances[(n - 1) / 2], distances[n / 2]) };
        found
    }

    /// For a report.
    #[must_use]
    pub fn json(&self) -> Value {
        let share = |n: usize| n as f64 / self.asked.max(1) as f64;
        json!({
            "pictures": self.asked, "nearest_is_of_the_subject": share(self.first),
            "subject_among_three_nearest": share(self.three), "median_distance_to_the_subject": self.median,
            "gradient_energy": self.energy[0], "gradient_energy_of_the_set": self.energy[1],
        })
    }
}

impl std::fmt::Display for Likeness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |n: usize| 100.0 * n as f64 / self.asked.max(1) as f64;
        let [own, real] = self.energy;
        write!(
            f,
            "nearest picture of the set is of the subject for {:.1} % of {}, among the three nearest for {:.1} %; median L2 to \
             the subject {:.2}; gradient energy {own:.4}, {:.3} of the real ones'",
            percent(self.first),
            self.asked,
            percent(self.three),
            self.median,
            own / real
        )
    }
}

/// The mean squared difference of pixels side by side and one above the other.
fn energy(picture: &[f32], side: usize) -> f64 {
    let row = side * 3;
    let square = |a: &f32, b: &f32| f64::from(a - b).powi(2);
    let across = picture.chunks_exact(row).flat_map(|line| line.iter().zip(&line[3..]));
    let down = picture.iter().zip(&picture[row..]);
    let sums = [across.map(|(a, b)| square(a, b)).sum::<f64>(), down.map(|(a, b)| square(a, b)).sum()];
    let each = ((side - 1) * row) as f64;
    (sums[0] + sums[1]) / (2.0 * each)
}

/// The subjects that names tell, as prompts have them; those that the set has.
pub fn subjects_named(names: &[&str], set: &Captioned) -> Vec<u32> {
    let mut found: Vec<u32> =
        set.pictures.iter().filter(|p| names.contains(&&captions::subject(p)[..])).map(|p| p.subject).collect();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::captioned::Picture;

    /// Two subjects of two pixels' side: black, and black and white in a chequer; the second has two pictures.
    fn set() -> Captioned {
        let picture = |name: &str, subject, pixels: [u8; 4]| Picture {
            file: String::new(),
            name: name.into(),
            category: String::new(),
            tags: Vec::new(),
            subject,
            pixels: pixels.iter().flat_map(|v| [*v; 3]).collect(),
            size: [2; 2],
        };
        let pictures = vec![
            picture("black", 0, [0; 4]),
            picture("board", 1, [255, 0, 0, 255]),
            picture("board: dark skin tone", 1, [51; 4]),
        ];
        Captioned { side: 2, pictures, skipped: Vec::new() }
    }

    fn sample(values: [f32; 4]) -> Vec<f32> {
        values.iter().flat_map(|v| [*v; 3]).collect()
    }

    /// Seen red with any picture of the set in place of the subject's, and with columns alone in the energy.
    #[test]
    fn samples_are_compared_with_their_subject() {
        let set = set();
        let samples = [sample([0.9, 0.0, 0.0, 0.9]), sample([0.0, 0.0, 0.0, 0.0])].concat();
        let found = Likeness::of(&samples, &[vec![1], vec![1]], &set);
        assert_eq!((found.asked, found.first, found.three), (2, 1, 2));
        // 0.1 in six values; and 0.2 in twelve, from the second picture of the subject.
        let expected = f64::midpoint(0.06f64.sqrt(), 0.48f64.sqrt());
        assert!((found.median - expected).abs() < 1e-6, "{} {expected}", found.median);
        assert!((found.energy[0] - 0.405).abs() < 1e-6 && (found.energy[1] - 0.5).abs() < 1e-6, "{:?}", found.energy);
    }

    #[test]
    fn names_find_their_subjects_whatever_the_tone() {
        assert_eq!(subjects_named(&["board"], &set()), [1]);
        assert_eq!(subjects_named(&["board", "black", "other"], &set()), [0, 1]);
    }
}
