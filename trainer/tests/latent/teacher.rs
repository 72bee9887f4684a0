//! What a student is taught.
use super::networks::{ids, normal, random, text, unet};
use dfdx::prelude::*;
use nijimi_runtime::raw::nn::TextStates;
use nijimi_runtime::sampler::{Prediction, Solver, SolverSettings};
use nijimi_runtime::schedule::Schedule;
use nijimi_trainer::nn::text2image::TextToImage;
use nijimi_trainer::ops::Precision;
use nijimi_trainer::systems::distill::lesson::{Course, Lesson};
use nijimi_trainer::systems::text2image::teacher::Teacher;

const SIDE: usize = 4;
const PICTURES: usize = 3;

/// A DDIM step by v, written down anew: Song et al. 2021, equation 12, without noise.
fn ddim(z: &[f32], v: &[f32], from: f64, to: f64) -> Vec<f32> {
    let step = |(z, v): (&f32, &f32)| {
        let (z, v) = (f64::from(*z), f64::from(*v));
        let (clean, noise) = (from.sqrt() * z - (1.0 - from).sqrt() * v, (1.0 - from).sqrt() * z + from.sqrt() * v);
        (to.sqrt() * clean + (1.0 - to).sqrt() * noise) as f32
    };
    z.iter().zip(v).map(step).collect()
}

/// A lesson of one step teaches what the teacher answers; one of several leads, in one step, where its steps lead. Seen red with the
/// guidance left out, with the teacher's own answers taught, with the timesteps of the step before, and with less of the sample in the
/// student's step.
#[test]
fn one_step_leads_where_the_teachers_lead() {
    let device = Cpu::default();
    let (unet, text) = (unet(), text());
    let mut model =
        TextToImage::new(&device, 1, &unet, (&text, TextStates::LAST, 22), Precision::F32).expect("networks");
    random(&mut model);
    let schedule = Schedule::cosine(1000).expect("the schedule");
    let settings = SolverSettings { prediction: Prediction::V, ..SolverSettings::new(Solver::ddim(0.0), 1) };
    let alpha_bars = &schedule.alpha_bars()[1..];
    let (tokens, len) = (text.positions, unet.in_channels * SIDE * SIDE);
    let (x, told) = (normal("latents", PICTURES * len), ids(&text, PICTURES * tokens));
    let empty = vec![1; tokens];
    let answer = |z: &[f32], time: f64, ids: &[u32]| {
        let z: Tensor<(usize, usize, usize, usize), f32, Cpu> =
            device.tensor_from_vec(z.to_vec(), (1, unet.in_channels, SIDE, SIDE));
        let time = model.unet.time_codes(&device, &[time]);
        model.forward(z, &time, ids, tokens).expect("an answer").as_vec()
    };
    for (steps, teacher_steps, guidance_scale, levels) in
        [(5, 5, 1.0, [999, 599, 199]), (5, 10, 2.5, [999, 599, 199]), (2, 8, 1.5, [999, 499, 499])]
    {
        let lesson = Lesson { steps, teacher_steps, guidance_scale };
        let course = Course::new(lesson, &schedule, settings, settings).expect("a course");
        let teacher = Teacher::new(model.clone(), course, empty.clone());
        let taught = teacher.answers(&device, &x, (unet.in_channels, SIDE), &levels, &told).expect("answers");
        let (each, apart) = (teacher_steps / steps, 1000 / teacher_steps);
        for (i, level) in levels.into_iter().enumerate() {
            let (own, ids) = (&x[i * len..][..len], &told[i * tokens..][..tokens]);
            let at = |step: usize| if level + 1 == step * apart { 1.0 } else { alpha_bars[level - step * apart] };
            let mut z = own.to_vec();
            for step in 0..each {
                let time = (level - step * apart) as f64;
                let (with, without) = (answer(&z, time, ids), answer(&z, time, &empty));
                let guided = with.iter().zip(&without).map(|(a, b)| b + guidance_scale * (a - b));
                z = ddim(&z, &guided.collect::<Vec<_>>(), at(step), at(step + 1));
            }
            let one = ddim(own, &taught[i * len..][..len], at(0), at(each));
            let most = z.iter().zip(&one).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(most < 1e-3, "{lesson:?}, level {level}: {most} away");
        }
    }
}
