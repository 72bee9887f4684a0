//! A text-to-image model as a teacher.
use super::network::LEVELS;
use crate::error::{Error, Result};
use crate::nn::text2image::TextToImage;
use crate::ops::Kit;
use crate::systems::distill::lesson::{Asked, Course};
use crate::tensor::T4;
use nijimi_runtime::model::{LatentDefaults, LatentInfo};
use nijimi_runtime::sampler::{Prediction, Solver};
use nijimi_runtime::schedule::Spacing;

/// The course of a teacher whose file is described so; the description becomes the student's, and states how it is drawn with.
///
/// # Errors
/// A lesson that cannot be taught, a teacher that is not drawn with by DDIM, by v, on trailing levels.
pub fn course(asked: Asked, info: &mut LatentInfo) -> Result<Course> {
    let (schedule, settings) = info.settings(None, &[], 1)?;
    let as_here = settings.prediction == Prediction::V && settings.spacing == Spacing::Trailing;
    let alone = matches!(settings.solver, Solver::Ddim { eta: 0.0, .. });
    if !as_here || !alone || schedule.steps() != LEVELS {
        let what = format!(
            "--teacher: it must predict v on {LEVELS} levels with trailing steps of DDIM, as nijimi-train's own models do: this \
             one cannot be taught from"
        );
        return Err(Error::File(what));
    }
    let lesson = asked.of(info.steps(), info.defaults.guidance_scale.unwrap_or(1.0));
    let course = Course::new(lesson, &schedule, settings, settings)?;
    info.defaults =
        LatentDefaults { steps: Some(lesson.steps), guidance_scale: Some(1.0), ..LatentDefaults::default() };
    Ok(course)
}

/// The trained model, and how it is followed.
pub struct Teacher<D: Kit> {
    model: TextToImage<D>,
    course: Course,
    /// A window of no text.
    empty: Vec<u32>,
}

impl<D: Kit> Teacher<D> {
    /// Teaches as `model` draws; `empty` is the window of an empty prompt.
    pub fn new(model: TextToImage<D>, course: Course, empty: Vec<u32>) -> Self {
        Self { model, course, empty }
    }

    /// How it teaches.
    pub fn course(&self) -> &Course {
        &self.course
    }

    /// v as the student is to answer it to `x`, latents (n, channels, side, side) noised to `levels` of the student's. `ids` are
    /// windows of text, one a picture.
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
    ) -> Result<Vec<f32>> {
        let mut ids = ids.to_vec();
        if self.course.is_guided() {
            levels.iter().for_each(|_| ids.extend(&self.empty));
        }
        self.course.answers(x, levels, |latents, timesteps| {
            let latents: T4<D> = device.tensor_from_vec(latents, (timesteps.len(), channels, side, side));
            let times: Vec<f64> = timesteps.iter().map(|t| *t as f64).collect();
            let time = self.model.unet.time_codes(device, &times);
            Ok(self.model.forward(latents, &time, &ids, self.empty.len())?.as_vec())
        })
    }
}
