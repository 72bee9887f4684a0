//! The right caption among many.
use nijimi_runtime::raw::rng::Stream;
use serde_json::{Value, json};

/// How many pictures found their caption.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Retrieval {
    /// Pictures asked.
    pub asked: usize,
    /// Captions that each chose from.
    pub among: usize,
    /// Pictures nearest to their own.
    pub first: usize,
    /// Pictures to which their own was among the five nearest.
    pub five: usize,
}

impl Retrieval {
    /// Share that found their own.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.first as f64 / self.asked.max(1) as f64
    }

    /// For a report.
    #[must_use]
    pub fn json(&self) -> Value {
        let five = self.five as f64 / self.asked.max(1) as f64;
        json!({"pictures": self.asked, "captions": self.among, "first": self.share(), "first_five": five})
    }
}

impl std::fmt::Display for Retrieval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |n: usize| 100.0 * n as f64 / self.asked.max(1) as f64;
        let (first, five) = (percent(self.first), percent(self.five));
        write!(f, "{first:.1} % of {} find their caption among {}, {five:.1} % among its five", self.asked, self.among)
    }
}

/// The rank of each picture's own caption among `among`, from 0: its own, and others drawn from all captions by `seed` and
/// the picture's number. `pictures` and `captions` are unit vectors of `width`; `own` says which caption is a picture's. A
/// caption as near as its own counts as nearer.
///
/// # Panics
/// If `own` names a caption that is not there, or there is none but it.
#[must_use]
pub fn ranks(pictures: &[f32], captions: &[f32], own: &[usize], width: usize, among: usize, seed: u64) -> Vec<usize> {
    let count = captions.len() / width;
    let rank = |(i, (picture, own)): (usize, (&[f32], &usize))| {
        let mut others: Vec<usize> = (0..count).filter(|c| c != own).collect();
        Stream::new(seed, "other captions", i as u64).shuffle(&mut others);
        others.truncate(among.saturating_sub(1));
        let cosine =
            |c: usize| -> f32 { picture.iter().zip(&captions[c * width..(c + 1) * width]).map(|(a, b)| a * b).sum() };
        let right = cosine(*own);
        others.iter().filter(|c| cosine(**c) >= right).count()
    };
    pictures.chunks_exact(width).zip(own).enumerate().map(rank).collect()
}

/// Counts of [`ranks`].
#[must_use]
pub fn retrieval(
    pictures: &[f32],
    captions: &[f32],
    own: &[usize],
    width: usize,
    among: usize,
    seed: u64,
) -> Retrieval {
    let ranks = ranks(pictures, captions, own, width, among, seed);
    let within = |n: usize| ranks.iter().filter(|r| **r < n).count();
    let among = among.min(captions.len() / width);
    Retrieval { asked: ranks.len(), among, first: within(1), five: within(5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with equally near ones passed over.
    #[test]
    fn a_caption_is_found_among_as_many_as_asked_for() {
        let captions = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8, -1.0, 0.0];
        let pictures = [1.0, 0.0, 0.0, 1.0, 0.8, 0.6];
        assert_eq!(ranks(&pictures, &captions, &[0, 1, 3], 2, 4, 1), [0, 0, 3]);
        let r = retrieval(&pictures, &captions, &[0, 1, 3], 2, 4, 1);
        assert_eq!((r.asked, r.among, r.first, r.five), (3, 4, 2, 3));
        assert!((r.share() - 2.0 / 3.0).abs() < 1e-12);
        // One rival: the third picture's own is the farthest, whichever is drawn.
        assert_eq!(ranks(&pictures, &captions, &[0, 1, 3], 2, 2, 1), [0, 0, 1]);
        // The same caption twice cannot be told apart.
        assert_eq!(ranks(&[1.0, 0.0], &[1.0, 0.0, 1.0, 0.0], &[0], 2, 2, 1), [1]);
        // With one rival of many, now one and now another is drawn: of 200, one is nearer.
        let mut many = vec![0.0; 2 * 200];
        many[0] = 0.5;
        (many[2 * 150], many[2 * 151]) = (0.9, 0.9);
        let nearer: usize = (0..400).map(|seed| ranks(&[1.0, 0.0], &many, &[0], 2, 51, seed)[0]).sum();
        assert!((150..250).contains(&nearer), "{nearer}");
    }
}
