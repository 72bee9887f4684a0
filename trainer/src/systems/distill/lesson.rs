//! A lesson for a student of few steps: where several guided steps of a trained model lead is what the student is to answer in
//! one step without guidance. Salimans and Ho 2022 (progressive distillation, here all halvings at once); Meng et al. 2023
//! (guidance). Both are steps of the runtime's sampler, so that what is taught is what is drawn.
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use nijimi_runtime::raw::guidance::classifier_free;
use nijimi_runtime::sampler::{Calls, SamplerState, SolverSettings};
use nijimi_runtime::schedule::{Schedule, Spacing};

/// Steps of a teacher, unless its file states fewer.
const TEACHER_STEPS: usize = 20;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Asked {
    /// Steps of the student.
    pub steps: usize,
    /// Steps of the teacher.
    pub teacher_steps: Option<usize>,
    /// Strength of the teacher's guidance.
    pub guidance_scale: Option<f32>,
}

impl Asked {
    /// The lesson of a teacher whose file states so many steps and such guidance.
    pub fn of(self, steps: usize, guidance_scale: f32) -> Lesson {
        let usual = TEACHER_STEPS.min(steps).next_multiple_of(self.steps.max(1));
        Lesson {
            steps: self.steps,
            teacher_steps: self.teacher_steps.unwrap_or(usual),
            guidance_scale: self.guidance_scale.unwrap_or(guidance_scale),
        }
    }
}

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
    /// Whether it can be taught on so many noise levels.
    ///
    /// # Errors
    /// Says which number does not fit.
    pub fn check(&self, levels: usize) -> Result<()> {
        let (steps, teacher) = (self.steps, self.teacher_steps);
        if steps == 0 || teacher == 0 || teacher > levels || !teacher.is_multiple_of(steps) {
            let what = format!(
                "--teacher-steps {teacher} for --steps {steps}: give a multiple, at most {levels}, as 20 for 4"
            );
            return Err(Error::Usage(what));
        }
        if !self.guidance_scale.is_finite() || self.guidance_scale < 0.0 {
            return Err(Error::Usage(format!("--cfg-scale {}: expected 0 or more", self.guidance_scale)));
        }
        Ok(())
    }

    /// A run's settings with these.
    pub(crate) fn named(&self, fingerprint: Fingerprint) -> Fingerprint {
        fingerprint
            .with("--steps", self.steps)
            .with("--teacher-steps", self.teacher_steps)
            .with("--cfg-scale", self.guidance_scale)
    }
}

/// A lesson on the noise levels of a model.
#[derive(Clone, Debug)]
pub struct Course {
    lesson: Lesson,
    teacher: Calls,
    student: Calls,
}

impl Course {
    /// Of a teacher and a student that draw with these settings, but in the lesson's steps, which begin at the last level
    /// ("trailing"). Both must be of DDIM without fresh noise: it is one step that is learned, without a history.
    ///
    /// # Errors
    /// A lesson that cannot be taught on the levels of `schedule`.
    pub fn new(lesson: Lesson, schedule: &Schedule, teacher: SolverSettings, student: SolverSettings) -> Result<Self> {
        lesson.check(schedule.steps())?;
        let spread = |settings, steps| {
            let settings = SolverSettings { steps, spacing: Spacing::Trailing, ..settings };
            Calls::new(schedule, &settings).map_err(nijimi_runtime::Error::from)
        };
        let (teacher, student) = (spread(teacher, lesson.teacher_steps)?, spread(student, lesson.steps)?);
        let each = lesson.teacher_steps / lesson.steps;
        let own = teacher.calls().iter().step_by(each).map(|call| call.t);
        if !own.eq(student.calls().iter().map(|call| call.t)) {
            let (levels, steps) = (schedule.steps(), lesson.teacher_steps);
            let what =
                format!("--teacher-steps {steps}: of {levels} levels it visits others than the student: give another");
            return Err(Error::Usage(what));
        }
        Ok(Self { lesson, teacher, student })
    }

    /// How it is taught.
    pub fn lesson(&self) -> Lesson {
        self.lesson
    }

    /// The timesteps that the student draws at.
    pub fn levels(&self) -> Vec<usize> {
        self.student.calls().iter().map(|call| call.t as usize).collect()
    }

    /// Whether the teacher is asked twice.
    pub fn is_guided(&self) -> bool {
        self.lesson.guidance_scale != 1.0
    }

    /// The student's answers: those whose one step from `x`, samples noised to `levels` of the student's, leads where the teacher's
    /// steps lead. `ask` gives the teacher's answers to samples at as many timesteps; where [it is guided](Self::is_guided) they
    /// come twice, and the second half is told nothing.
    ///
    /// # Errors
    /// Those of `ask`; answers of another length.
    ///
    /// # Panics
    /// If a level is none of the student's.
    pub fn answers(
        &self,
        x: &[f32],
        levels: &[usize],
        mut ask: impl FnMut(Vec<f32>, &[usize]) -> Result<Vec<f32>>,
    ) -> Result<Vec<f32>> {
        let (teacher, student) = (self.teacher.calls(), self.student.calls());
        let each = teacher.len() / student.len();
        let place =
            |level: &usize| student.iter().position(|c| c.t as usize == *level).expect("a level of the student's");
        let places: Vec<usize> = levels.iter().map(place).collect();
        let len = x.len() / levels.len().max(1);
        let mut state = SamplerState::new(teacher, len);
        let mut z = x.to_vec();
        for step in 0..each {
            let call = |place: &usize| &teacher[place * each + step];
            let mut timesteps: Vec<usize> = places.iter().map(|place| call(place).t as usize).collect();
            let mut samples = z.clone();
            if self.is_guided() {
                timesteps.extend_from_within(..);
                samples.extend_from_within(..);
            }
            let mut told = ask(samples, &timesteps)?;
            if self.is_guided() {
                let mut without = told.split_off(told.len() / 2);
                classifier_free(self.lesson.guidance_scale, &told, &mut without)
                    .map_err(nijimi_runtime::Error::from)?;
                told = without;
            }
            for ((z, answer), place) in z.chunks_exact_mut(len).zip(told.chunks_exact(len)).zip(&places) {
                state.accept(call(place), z, answer, &[]).map_err(nijimi_runtime::Error::from)?;
            }
        }
        for ((z, x), place) in z.chunks_exact_mut(len).zip(x.chunks_exact(len)).zip(&places) {
            // The student's step leads to from_x x + from_answer answer. Its estimate is a mean of the teacher's: within their
            // range, if they are kept in one.
            let call = &student[*place];
            let from_x = call.next.x + call.next.x0 * call.x0_from_x;
            let from_answer = call.next.x0 * call.x0_from_out + call.next.out;
            z.iter_mut().zip(x).for_each(|(z, x)| *z = (*z - from_x * x) / from_answer);
        }
        Ok(z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nijimi_runtime::sampler::{Prediction, Solver};

    const LESSON: Lesson = Lesson { steps: 4, teacher_steps: 20, guidance_scale: 3.0 };

    fn course(lesson: Lesson, clip: Option<[f32; 2]>) -> Result<Course> {
        let schedule = Schedule::linear(1e-4, 0.02, 1000).expect("the schedule");
        let base = SolverSettings::new(Solver::ddim(0.0), 1);
        let teacher = SolverSettings { steps_offset: 0, clip, epsilon_from_x0: clip.is_some(), ..base };
        Course::new(lesson, &schedule, teacher, SolverSettings { prediction: Prediction::V, ..teacher })
    }

    /// Seen red with leading steps, and with nothing checked.
    #[test]
    fn a_student_draws_at_some_of_its_teachers_levels() {
        let taught = course(LESSON, None).expect("a course");
        assert_eq!(taught.levels(), [999, 749, 499, 249]);
        let teacher: Vec<f32> = taught.teacher.calls()[..6].iter().map(|call| call.t).collect();
        assert_eq!(teacher, [999.0, 949.0, 899.0, 849.0, 799.0, 749.0]);
        for (steps, teacher_steps, guidance_scale) in
            [(0, 20, 1.0), (3, 20, 1.0), (4, 2000, 1.0), (4, 20, -1.0), (4, 20, f32::NAN)]
        {
            assert!(course(Lesson { steps, teacher_steps, guidance_scale }, None).is_err());
        }
    }

    /// Seen red with 20 for all, and not rounded up.
    #[test]
    fn what_is_not_said_is_as_the_file_has_it() {
        let asked = Asked { steps: 4, teacher_steps: None, guidance_scale: None };
        assert_eq!(asked.of(50, 3.0), LESSON);
        assert_eq!(Asked { steps: 3, ..asked }.of(50, 3.0).teacher_steps, 21);
        // A student in its turn knows no other levels than its own.
        assert_eq!(Asked { steps: 2, ..asked }.of(4, 1.0).teacher_steps, 4);
        let said = Asked { teacher_steps: Some(8), guidance_scale: Some(1.5), ..asked };
        assert_eq!(said.of(50, 3.0), Lesson { teacher_steps: 8, guidance_scale: 1.5, ..LESSON });
    }

    /// What a student is to answer is, as a picture, a mean of its teacher's estimates, which are kept in their range. Seen red
    /// with the estimates let out of it, with noise in place of v, and with less of the sample in the student's step.
    #[test]
    fn estimates_stay_in_the_range_of_the_pictures() {
        let taught = course(LESSON, Some([0.0, 1.0])).expect("a course");
        let levels = taught.levels();
        let mut noise = nijimi_runtime::raw::rng::Stream::new(3, "answers", 0);
        let x: Vec<f32> = (0..4 * 8).map(|_| noise.normal()).collect();
        let answers = taught.answers(&x, &levels, |samples, _| Ok(samples.iter().map(|_| noise.normal()).collect()));
        let answers = answers.expect("answers");
        let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
        for ((x, answers), call) in x.chunks_exact(8).zip(answers.chunks_exact(8)).zip(taught.student.calls()) {
            for (x, answer) in x.iter().zip(answers) {
                let clean = call.alpha * x - call.sigma * answer;
                (least, most) = (least.min(clean), most.max(clean));
            }
        }
        assert!(least > -1e-3 && most < 1.001 && most - least > 0.5, "{least} to {most}");
    }
}
