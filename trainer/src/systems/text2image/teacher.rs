//! A teacher for a student of few steps: where several guided steps of a trained model lead is what the student is to answer in
//! one step without guidance. Salimans and Ho 2022 (progressive distillation, here all halvings at once); Meng et al. 2023
//! (guidance).
use super::network::LEVELS;
use crate::error::{Error, Result};
use crate::nn::text2image::TextToImage;
use crate::ops::Kit;
use crate::tensor::T4;
use nijimi_runtime::model::{LatentDefaults, LatentInfo};
use nijimi_runtime::sampler::Prediction;
use nijimi_runtime::schedule::Spacing;

/// How a student is taught.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lesson {
    /// Steps of the student.
    pub steps: usize,
    /// Steps of the teacher, a multiple of the student's.
    pub teacher_steps: usize,
    /// Strength of the teacher's guidance; 1 is none.
    pub guidance_scale: f32,
}

impl Lesson {
    /// Whether it can be taught.
    ///
    /// # Errors
    /// Says which number does not fit.
    pub fn check(&self) -> Result<()> {
        let (steps, teacher) = (self.steps, self.teacher_steps);
        if steps == 0 || teacher == 0 || teacher > LEVELS || !teacher.is_multiple_of(steps) {
            let what = format!(
                "--teacher-steps {teacher} for --steps {steps}: give a multiple, at most {LEVELS}, as 20 for 4"
            );
            return Err(Error::Usage(what));
        }
        if !self.guidance_scale.is_finite() || self.guidance_scale < 0.0 {
            return Err(Error::Usage(format!("--cfg-scale {}: expected 0 or more", self.guidance_scale)));
        }
        Ok(())
    }

    /// The lesson with the guidance that the teacher's file states where none is given (infinite); the student's file then states
    /// how it is drawn with.
    ///
    /// # Errors
    /// A lesson that cannot be taught, a teacher that is not drawn with by v on trailing levels.
    pub fn taught(self, info: &mut LatentInfo) -> Result<Self> {
        let own = info.defaults.guidance_scale.unwrap_or(1.0);
        let guidance_scale = if self.guidance_scale == f32::INFINITY { own } else { self.guidance_scale };
        let lesson = Self { guidance_scale, ..self };
        lesson.check()?;
        let (schedule, settings) = info.settings(None, &[], 1)?;
        let as_here = settings.prediction == Prediction::V && settings.spacing == Spacing::Trailing;
        if !as_here || schedule.steps() != LEVELS {
            let what = format!(
                "--teacher: it must predict v on {LEVELS} levels with trailing steps, as nijimi-train's own models do: this one \
                 cannot be taught from"
            );
            return Err(Error::File(what));
        }
        info.defaults =
            LatentDefaults { steps: Some(lesson.steps), guidance_scale: Some(1.0), ..LatentDefaults::default() };
        Ok(lesson)
    }

    /// The teacher's timesteps, from noise: spread as samplers spread them that begin at the last level ("trailing").
    fn timesteps(&self) -> Vec<usize> {
        let each = LEVELS as f64 / self.teacher_steps as f64;
        (0..self.teacher_steps).map(|i| (LEVELS as f64 - i as f64 * each).round() as usize - 1).collect()
    }

    /// The timesteps that the student draws at.
    pub fn levels(&self) -> Vec<usize> {
        self.timesteps().into_iter().step_by(self.teacher_steps / self.steps).collect()
    }
}

/// The trained model, and how it is followed.
pub struct Teacher<D: Kit> {
    model: TextToImage<D>,
    lesson: Lesson,
    /// A window of no text.
    empty: Vec<u32>,
}

impl<D: Kit> Teacher<D> {
    /// Teaches as `model` draws; `empty` is the window of an empty prompt.
    pub fn new(model: TextToImage<D>, lesson: Lesson, empty: Vec<u32>) -> Self {
        Self { model, lesson, empty }
    }

    /// How it teaches.
    pub fn lesson(&self) -> Lesson {
        self.lesson
    }

    /// v as the student is to answer it: that whose one DDIM step from `x`, latents (n, channels, side, side) noised to `levels` of
    /// the student's, leads where the teacher's steps lead. `ids` are windows of text, one a picture; `alpha_bars` is at 0..T.
    ///
    /// # Errors
    /// Ids that the text encoder has no rows for.
    ///
    /// # Panics
    /// If a level is none of the student's.
    pub fn answers(
        &self,
        device: &D,
        x: &[f32],
        (channels, side): (usize, usize),
        levels: &[usize],
        ids: &[u32],
        alpha_bars: &[f64],
    ) -> Result<Vec<f32>> {
        let (timesteps, len) = (self.lesson.timesteps(), channels * side * side);
        let each = self.lesson.teacher_steps / self.lesson.steps;
        let place = |level| timesteps.iter().position(|t| t == level).expect("a level of the student's");
        let first: Vec<usize> = levels.iter().map(place).collect();
        // Signal and noise at step i; behind the last one all is signal.
        let at = |i: usize| {
            let a = timesteps.get(i).map_or(1.0, |t| alpha_bars[*t]);
            (a.sqrt() as f32, (1.0 - a).sqrt() as f32)
        };
        let tokens = self.empty.len();
        let guided = self.lesson.guidance_scale != 1.0;
        let mut ids = ids.to_vec();
        if guided {
            levels.iter().for_each(|_| ids.extend(&self.empty));
        }
        let mut z = x.to_vec();
        for step in 0..each {
            let mut times: Vec<f64> = first.iter().map(|i| timesteps[i + step] as f64).collect();
            let mut pictures = z.clone();
            if guided {
                times.extend_from_within(..);
                pictures.extend_from_within(..);
            }
            let n = times.len();
            let pictures: T4<D> = device.tensor_from_vec(pictures, (n, channels, side, side));
            let time = self.model.unet.time_codes(device, &times);
            let v = self.model.forward(pictures, &time, &ids, tokens)?.as_vec();
            let (told, without) = v.split_at(z.len());
            for (i, z) in z.chunks_exact_mut(len).enumerate() {
                let ((signal, sigma), (next_signal, next_sigma)) = (at(first[i] + step), at(first[i] + step + 1));
                for (j, z) in z.iter_mut().enumerate() {
                    let j = i * len + j;
                    let v = match without.get(j) {
                        Some(without) => without + self.lesson.guidance_scale * (told[j] - without),
                        None => told[j],
                    };
                    let (clean, noise) = (signal * *z - sigma * v, sigma * *z + signal * v);
                    *z = next_signal * clean + next_sigma * noise;
                }
            }
        }
        for (i, (z, x)) in z.chunks_exact_mut(len).zip(x.chunks_exact(len)).enumerate() {
            let ((signal, sigma), (end_signal, end_sigma)) = (at(first[i]), at(first[i] + each));
            // z = end_signal clean + end_sigma noise, with clean and noise those that make x.
            let (a, b) = (end_signal * signal + end_sigma * sigma, end_sigma * signal - end_signal * sigma);
            z.iter_mut().zip(x).for_each(|(z, x)| *z = (*z - a * x) / b);
        }
        Ok(z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with leading steps (`i * each`).
    #[test]
    fn a_student_draws_at_some_of_its_teachers_levels() {
        let lesson = Lesson { steps: 4, teacher_steps: 20, guidance_scale: 3.0 };
        assert_eq!(lesson.levels(), [999, 749, 499, 249]);
        assert_eq!(lesson.timesteps()[..6], [999, 949, 899, 849, 799, 749]);
        assert!(lesson.check().is_ok());
        for (steps, teacher_steps, guidance_scale) in
            [(0, 20, 1.0), (3, 20, 1.0), (4, 2000, 1.0), (4, 20, -1.0), (4, 20, f32::NAN)]
        {
            assert!(Lesson { steps, teacher_steps, guidance_scale }.check().is_err());
        }
    }
}
