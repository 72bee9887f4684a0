//! A diffusion model on labelled pictures as a teacher.
use crate::error::Result;
use crate::nn::book_unet::BookUnet;
use crate::ops::Kit;
use crate::systems::distill::lesson::Course;
use crate::tensor::{T2, T4};

/// The trained model, and how it is followed.
pub struct Teacher<D: Kit> {
    model: BookUnet<D>,
    course: Course,
}

impl<D: Kit> Teacher<D> {
    /// Teaches as `model` draws.
    pub fn new(model: BookUnet<D>, course: Course) -> Self {
        Self { model, course }
    }

    /// The network.
    pub fn model(&self) -> &BookUnet<D> {
        &self.model
    }

    /// How it teaches.
    pub fn course(&self) -> &Course {
        &self.course
    }

    /// What the student is to answer to `x`, pictures (n, 1, height, width) noised to `levels` of the student's. `times` gives the
    /// position encodings of timesteps; `one_hot` has a row for each picture, of zeros where it is told no label.
    ///
    /// # Errors
    /// None of a network that fits its course.
    ///
    /// # Panics
    /// If a level is none of the student's.
    pub fn answers(
        &self,
        device: &D,
        x: &[f32],
        (height, width): (usize, usize),
        levels: &[usize],
        times: impl Fn(&[usize]) -> Vec<f32>,
        one_hot: Option<&[f32]>,
    ) -> Result<Vec<f32>> {
        let (labels, dim) = (self.model.config().label_count, self.model.config().time_dim);
        self.course.answers(x, levels, |pictures, timesteps| {
            let n = timesteps.len();
            let pictures: T4<D> = device.tensor_from_vec(pictures, (n, 1, height, width));
            let time: T2<D> = device.tensor_from_vec(times(timesteps), (n, dim));
            let one_hot = one_hot.map(|rows| {
                let mut rows = rows.to_vec();
                rows.resize(n * labels, 0.0);
                device.tensor_from_vec(rows, (n, labels))
            });
            Ok(self.model.eval(pictures, time, one_hot).as_vec())
        })
    }
}
