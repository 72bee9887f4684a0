//! What waits to be drawn: first come, first served, and beside it what may share its run.

use crate::order::Order;
use crate::refusal::{Family, Refusal};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// A request that waits, or is being drawn.
pub struct Job {
    pub order: Order,
    pub family: Family,
    /// What the client is shown on the way.
    pub steps: mpsc::Sender<Step>,
    /// Where the pictures go; none once something went there.
    done: RefCell<Option<oneshot::Sender<Drawing>>>,
}

/// A step of one picture.
pub struct Step {
    /// The picture, from 0.
    pub picture: usize,
    /// The step, from 0, and how many there are.
    pub index: usize,
    pub total: usize,
    /// The estimate, a PNG file.
    pub png: Vec<u8>,
}

/// A picture.
pub struct Drawn {
    pub png: Vec<u8>,
    pub seed: u64,
    /// The text of the PNG file.
    pub text: String,
}

/// What becomes of a request.
pub type Drawing = Result<Vec<Drawn>, Refusal>;

/// A client's end: when it is dropped, the work is.
pub struct Ticket {
    pub steps: mpsc::Receiver<Step>,
    pub done: oneshot::Receiver<Drawing>,
}

/// Steps that wait for a client that reads slowly; more are not shown.
const SHOWN: usize = 64;

impl Job {
    pub fn new(order: Order, family: Family) -> (Self, Ticket) {
        let ((steps, shown), (done, pictures)) = (mpsc::channel(SHOWN), oneshot::channel());
        (Self { order, family, steps, done: RefCell::new(Some(done)) }, Ticket { steps: shown, done: pictures })
    }

    /// Whether anybody waits for it.
    pub fn is_wanted(&self) -> bool {
        self.done.borrow().as_ref().is_some_and(|done| !done.is_closed())
    }

    /// The last word; whoever went away is not told.
    pub fn answer(&self, answer: Drawing) {
        if let Some(done) = self.done.take() {
            let _ = done.send(answer);
        }
    }
}

/// The queue.
pub struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// The most that wait.
    limit: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    running: usize,
    stopping: bool,
}

impl Queue {
    pub fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), limit }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, if there is room. Of those whose clients went away nothing is left.
    ///
    /// # Errors
    /// [`Refusal::Busy`], with the time that the queue takes if a run takes so many seconds; [`Refusal::Stopping`].
    pub fn push(&self, job: Job, seconds_a_run: f64) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.stopping {
            return Err(Refusal::Stopping);
        }
        state.waiting.retain(Job::is_wanted);
        if state.waiting.len() >= self.limit {
            let seconds = (state.waiting.len() as f64 * seconds_a_run).ceil().clamp(1.0, 3600.0);
            return Err(Refusal::Busy(seconds as u64));
        }
        state.waiting.push_back(job);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for a job, and takes it with all that share its run, up to `batch` pictures; none when the server stops. What was
    /// taken before is done.
    pub fn next(&self, batch: usize) -> Option<Vec<Job>> {
        let mut state = self.state();
        state.running = 0;
        let first = loop {
            if state.stopping {
                return None;
            }
            match state.waiting.pop_front() {
                Some(job) if job.is_wanted() => break job,
                Some(_) => {}
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        let mut jobs = vec![first];
        let mut room = jobs[0].order.at_once(batch).saturating_sub(jobs[0].order.seeds.len());
        let mut at = 0;
        while room > 0 && at < state.waiting.len() {
            let other = &state.waiting[at];
            if other.is_wanted() && other.order.seeds.len() <= room && jobs[0].order.shares(&other.order) {
                room -= other.order.seeds.len();
                jobs.extend(state.waiting.remove(at));
            } else {
                at += 1;
            }
        }
        state.running = jobs.len();
        Some(jobs)
    }

    /// How many wait, and how many are being drawn.
    pub fn lengths(&self) -> (usize, usize) {
        let state = self.state();
        (state.waiting.iter().filter(|job| job.is_wanted()).count(), state.running)
    }

    /// Takes nothing more; those that wait are told.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        state.waiting.drain(..).for_each(|job| job.answer(Err(Refusal::Stopping)));
        self.wake.notify_all();
    }
}
