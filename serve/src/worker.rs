//! The thread that draws: takes what waits, shows how far it is, and leaves a run that nobody waits for.

use crate::queue::{Drawn, Job, Step};
use crate::refusal::{Family, Refusal};
use crate::shared::{Current, Shared};
use crate::studio::Studio;
use nijimi_runtime::model::{Run, StepInfo};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Draws until the queue stops.
pub fn work(shared: &Shared) {
    let mut studio = Studio::new(shared.room.clone());
    while let Some(jobs) = shared.queue.next(shared.room.batch) {
        // What no error was foreseen for is lost with all that it may have left half done; the server goes on.
        if catch_unwind(AssertUnwindSafe(|| draw(&mut studio, &jobs, shared))).is_err() {
            studio = Studio::new(shared.room.clone());
            jobs.iter()
                .for_each(|job| job.answer(Err(Refusal::Internal("the drawing failed: please report it".into()))));
        }
        shared.show(None);
        shared.metrics.resident.store(studio.bytes(), Relaxed);
    }
}

/// Draws all pictures of jobs that share runs.
fn draw(studio: &mut Studio, jobs: &[Job], shared: &Shared) {
    let begun = Instant::now();
    shared.interrupt.store(false, Relaxed);
    let list: Vec<(usize, usize)> =
        jobs.iter().enumerate().flat_map(|(job, it)| (0..it.order.seeds.len()).map(move |i| (job, i))).collect();
    let at_once = jobs[0].order.at_once(shared.room.batch);
    let rounds = list.len().div_ceil(at_once);
    let mut drawn: Vec<Vec<Drawn>> = jobs.iter().map(|_| Vec::new()).collect();
    for (round, chunk) in list.chunks(at_once).enumerate() {
        let pictures: Vec<_> = chunk.iter().map(|&(job, i)| (&jobs[job].order, i)).collect();
        let mut each = |run: &mut Run<'_>, step: StepInfo| {
            shared.metrics.steps.fetch_add(1, Relaxed);
            if !wanted(jobs, shared) {
                return Ok(false);
            }
            let total = step.total * rounds;
            let current = Current { step: round * step.total + step.index + 1, total, begun, jobs: jobs.len() };
            shared.show(Some(current));
            let look = shared.look.swap(false, Relaxed);
            if jobs[0].order.shown || look {
                let (bytes, shape) = (run.preview()?, run.picture_shape());
                show(jobs, chunk, &bytes, shape, step, look.then_some(shared));
            }
            Ok(true)
        };
        if !wanted(jobs, shared) {
            return;
        }
        match studio.draw(&pictures, &mut each) {
            Ok(None) => return,
            Ok(Some((bytes, shape))) => {
                for (&(job, i), pixels) in chunk.iter().zip(bytes.chunks_exact(shape.iter().product())) {
                    let (seed, text) = (jobs[job].order.seeds[i], jobs[job].order.parameters(i).text());
                    match nijimi_pictures::png(shape, pixels, text.clone()) {
                        Ok(png) => drawn[job].push(Drawn { png, seed, text }),
                        Err(e) => jobs[job].answer(Err(Refusal::Internal(e.to_string()))),
                    }
                }
            }
            Err(refusal) => {
                jobs.iter().for_each(|job| job.answer(Err(refusal.clone())));
                return;
            }
        }
    }
    shared.metrics.drew(list.len(), begun.elapsed());
    jobs.iter().zip(drawn).for_each(|(job, drawn)| job.answer(Ok(drawn)));
}

/// Whether anybody still waits. Those whose work shall be left are told so.
fn wanted(jobs: &[Job], shared: &Shared) -> bool {
    let before = jobs.iter().filter(|job| job.is_wanted()).count();
    if shared.abort.load(Relaxed) {
        jobs.iter().for_each(|job| job.answer(Err(Refusal::Stopping)));
    } else if shared.interrupt.swap(false, Relaxed) {
        let theirs = jobs.iter().filter(|job| job.family == Family::Sdapi);
        theirs.for_each(|job| job.answer(Err(Refusal::Interrupted)));
    }
    let now = jobs.iter().filter(|job| job.is_wanted()).count();
    if now == 0 {
        shared.metrics.cancelled.fetch_add(before.max(1) as u64, Relaxed);
    }
    now > 0
}

/// Sends each picture's estimate to whom it is for, and keeps the first one for who asked.
fn show(
    jobs: &[Job],
    chunk: &[(usize, usize)],
    bytes: &[u8],
    shape: [usize; 3],
    step: StepInfo,
    keep: Option<&Shared>,
) {
    let text = format!("step {} of {}", step.index + 1, step.total);
    for (at, (&(job, picture), pixels)) in chunk.iter().zip(bytes.chunks_exact(shape.iter().product())).enumerate() {
        let (job, kept) = (&jobs[job], keep.filter(|_| at == 0));
        if !(job.order.shown && job.is_wanted()) && kept.is_none() {
            continue;
        }
        let Ok(png) = nijimi_pictures::png(shape, pixels, text.clone()) else { continue };
        if let Some(shared) = kept {
            shared.keep(png.clone());
        }
        if job.order.shown {
            // A client that does not read is not waited for.
            let _ = job.steps.try_send(Step { picture, index: step.index, total: step.total, png });
        }
    }
}
