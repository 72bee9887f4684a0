//! What the threads of a server share.

use crate::Limits;
use crate::access::Access;
use crate::metrics::Metrics;
use crate::models::{Entry, Models, Room};
use crate::order::Order;
use crate::queue::{Job, Queue, Ticket};
use crate::refusal::{Family, Refusal};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;

/// All of it.
pub struct Shared {
    pub models: Models,
    pub room: Room,
    pub limits: Limits,
    pub access: Access,
    pub queue: Queue,
    pub metrics: Metrics,
    /// Requests whose bodies are being read or decoded: their memory is bounded.
    pub bodies: Semaphore,
    /// Somebody asks for a look at what is being drawn.
    pub look: AtomicBool,
    /// Somebody asks that it be left.
    pub interrupt: AtomicBool,
    /// The server leaves, and waits no longer.
    pub abort: AtomicBool,
    /// What AUTOMATIC1111's clients chose.
    chosen: Mutex<Arc<Entry>>,
    current: Mutex<(Option<Current>, Option<Vec<u8>>)>,
}

/// How far the work is.
#[derive(Clone, Copy)]
pub struct Current {
    /// Steps made, of all rounds.
    pub step: usize,
    pub total: usize,
    pub begun: Instant,
    /// Requests that share it.
    pub jobs: usize,
}

impl Shared {
    pub fn new(models: Models, room: Room, limits: Limits, access: Access) -> Self {
        Self {
            chosen: Mutex::new(models.all()[0].clone()),
            models,
            room,
            access,
            queue: Queue::new(limits.queue),
            metrics: Metrics::default(),
            bodies: Semaphore::new(limits.bodies),
            limits,
            look: AtomicBool::new(false),
            interrupt: AtomicBool::new(false),
            abort: AtomicBool::new(false),
            current: Mutex::default(),
        }
    }

    /// Puts what was worked out into the queue.
    pub fn submit(&self, order: Order, family: Family) -> Result<Ticket, Refusal> {
        let (job, ticket) = Job::new(order, family);
        self.queue.push(job, self.metrics.seconds_a_run())?;
        Ok(ticket)
    }

    /// The model of AUTOMATIC1111's clients.
    pub fn chosen(&self) -> Arc<Entry> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn choose(&self, entry: Arc<Entry>) {
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = entry;
    }

    /// How far the work is now; the last picture of other work goes.
    pub fn show(&self, current: Option<Current>) {
        let mut shown = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_none() {
            shown.1 = None;
        }
        shown.0 = current;
    }

    /// A look at it, a PNG file.
    pub fn keep(&self, png: Vec<u8>) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(png);
    }

    pub fn current(&self) -> (Option<Current>, Option<Vec<u8>>) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
