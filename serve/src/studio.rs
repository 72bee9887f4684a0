//! Models in memory, and their sessions: loaded when they are first drawn with, given back when others need the room.

use crate::models::{About, Entry, Fitting, Room};
use crate::order::Order;
use crate::refusal::Refusal;
use nijimi_runtime::Error;
use nijimi_runtime::error::Fault;
use nijimi_runtime::model::{
    Decoding, Diffusion, LatentRequest, LatentSession, OpenOptions, Request, Run, Session, SessionOptions, StepInfo,
    TextToImage, is_of_one_color,
};
use std::sync::Arc;

/// What a run made: `(n, h, w, c)` bytes, and their shape `(h, w, c)`.
pub type Pictures = (Vec<u8>, [usize; 3]);

/// What is told after each step; false to leave the run.
pub type Each<'a> = &'a mut dyn FnMut(&mut Run<'_>, StepInfo) -> Result<bool, Error>;

/// Sessions of a model that are kept: of usual numbers of pictures each need not be planned again.
const SESSIONS: usize = 4;

/// What is in memory, the least recently used first.
pub struct Studio {
    room: Room,
    loaded: Vec<Loaded>,
}

struct Loaded {
    entry: Arc<Entry>,
    model: Model,
}

enum Model {
    Prompts {
        /// The file, whose parts are loaded when a run comes to them.
        opened: TextToImage,
        /// The same with all parts that runs use.
        held: TextToImage,
        sessions: Vec<(Kind, LatentSession)>,
    },
    Labels {
        model: Diffusion,
        sessions: Vec<((usize, bool), Session)>,
    },
}

/// What tells sessions of prompts apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    pictures: usize,
    size: [usize; 2],
    guided: bool,
    starts: [bool; 2],
}

impl Studio {
    pub fn new(room: Room) -> Self {
        Self { room, loaded: Vec::new() }
    }

    /// Bytes of weights and sessions.
    pub fn bytes(&self) -> u64 {
        self.loaded.iter().map(Loaded::bytes).sum()
    }

    /// Draws pictures, each an order's of that number, in one run; nothing if `each` leaves it. The orders
    /// share runs.
    pub fn draw(&mut self, pictures: &[(&Order, usize)], each: Each<'_>) -> Result<Option<Pictures>, Refusal> {
        let Some((order, _)) = pictures.first() else { return Ok(None) };
        let needed = order.fitting.map_or(0, |fitting| fitting.bytes);
        let mut loaded = self.load(&order.entry, needed)?;
        let drawn = self.run(&mut loaded, pictures, each);
        self.loaded.push(loaded);
        drawn
    }

    /// Takes the model out, loaded; models that have not been used for long go, if there would be no room.
    fn load(&mut self, entry: &Arc<Entry>, needed: u64) -> Result<Loaded, Refusal> {
        let at = self.loaded.iter().position(|loaded| Arc::ptr_eq(&loaded.entry, entry));
        let found = at.map(|at| self.loaded.remove(at));
        self.give_way(needed);
        if let Some(mut loaded) = found {
            let sessions = loaded.bytes() - loaded.weights();
            if self.room.memory.is_some_and(|memory| self.bytes() + needed + sessions > memory) {
                loaded.clear();
            }
            return Ok(loaded);
        }
        let model = match &entry.about {
            About::Prompts(_) => {
                let options = OpenOptions { device: self.room.device.clone(), ..OpenOptions::default() };
                let opened = TextToImage::open(entry.stored.clone(), options)?;
                Model::Prompts { held: opened.clone(), opened, sessions: Vec::new() }
            }
            About::Labels(_) => {
                let file = entry.stored.file().map_err(Error::from)?;
                let weights = file.tensors().map(|tensor| tensor.data.len() as u64).sum();
                if let Some(memory) = self.room.memory.filter(|memory| weights > *memory) {
                    let problem =
                        format!("{} has {weights} bytes of weights, of {memory} that may be used", entry.name);
                    return Err(Refusal::usage(format!("{problem}: give more with --memory-limit")));
                }
                self.give_way(weights);
                Model::Labels { model: Diffusion::load(&file, &self.room.device)?, sessions: Vec::new() }
            }
        };
        Ok(Loaded { entry: entry.clone(), model })
    }

    /// Forgets models until so many bytes fit.
    fn give_way(&mut self, needed: u64) {
        let Some(memory) = self.room.memory else { return };
        while !self.loaded.is_empty() && self.bytes().saturating_add(needed) > memory {
            self.loaded.remove(0);
        }
    }

    fn run(
        &mut self,
        loaded: &mut Loaded,
        pictures: &[(&Order, usize)],
        each: Each<'_>,
    ) -> Result<Option<Pictures>, Refusal> {
        let (n, order) = (pictures.len(), pictures[0].0);
        let options = SessionOptions { threads: self.room.threads, ..SessionOptions::default() };
        let seeds: Vec<u64> = pictures.iter().map(|(order, i)| order.seeds[*i]).collect();
        let drawn = match &mut loaded.model {
            Model::Prompts { opened, held, sessions } => {
                let Some(Fitting { choice, .. }) = order.fitting else {
                    return Err(Refusal::Internal("a run of a prompt that was not planned".into()));
                };
                let request = LatentRequest {
                    prompts: pictures.iter().map(|(order, _)| &*order.parameters.prompt).collect(),
                    negatives: pictures.iter().map(|(order, _)| negative(order)).collect(),
                    seeds,
                    size: order.size,
                    guidance_scale: order.guidance_scale,
                    image_guidance_scale: order.image_guidance_scale,
                    init_image: order.start.as_ref().map(|start| &*start.image),
                    mask: order.start.as_ref().and_then(|start| start.mask.as_deref()),
                    decoding: choice.tiling.map_or(Decoding::Whole, Decoding::Tiled),
                    options,
                    ..opened.request("", 0, &order.calls)
                };
                if choice.staged {
                    let model = choice.held.map_or_else(|| Ok(opened.clone()), |held| opened.streamed(held))?;
                    (*held, *sessions) = (opened.clone(), Vec::new());
                    finish(model.run(&request)?, each)?
                } else {
                    *held = held.hold(&held.used(order.start.is_some(), None))?;
                    let kind = Kind {
                        pictures: n,
                        size: order.size,
                        guided: held.info().is_guided(order.guidance_scale),
                        starts: [order.start.is_some(), request.mask.is_some()],
                    };
                    // A session has its model's clone: one made before the encoder was held would load it each time.
                    if !recall(sessions, &kind) {
                        keep(sessions, kind, held.session());
                    }
                    let Some((_, session)) = sessions.last_mut() else { unreachable!("it was put there") };
                    finish(session.run(&request)?, each)?
                }
            }
            Model::Labels { model, sessions } => {
                let kind = (n, ![0.0, 1.0].contains(&order.guidance_scale));
                if !recall(sessions, &kind) {
                    let own: usize = sessions.iter().map(|(_, session)| session.bytes()).sum();
                    let make = |others: u64| {
                        let allowed = |memory: u64| memory.saturating_sub(others + model.weight_bytes() as u64);
                        let memory_limit = self.room.memory.map(allowed);
                        model.session(&SessionOptions { batch: n, guidance: kind.1, memory_limit, ..options })
                    };
                    let session = match make(self.loaded.iter().map(Loaded::bytes).sum::<u64>() + own as u64) {
                        Err(e) if e.fault() == Fault::Request => {
                            // Nothing else has to be there.
                            self.loaded.clear();
                            sessions.clear();
                            make(0)?
                        }
                        session => session?,
                    };
                    keep(sessions, kind, session);
                }
                let Some((_, session)) = sessions.last_mut() else { unreachable!("it was put there") };
                let labels: Vec<Option<u32>> = pictures.iter().map(|(order, _)| order.label).collect();
                let guidance_scale = order.guidance_scale;
                let request = Request { labels: &labels, seeds: &seeds, calls: &order.calls, guidance_scale };
                finish(session.run(&request)?, each)?
            }
        };
        #[cfg(feature = "gpu")]
        if let nijimi_runtime::Device::Gpu(gpu) = &self.room.device {
            // What was compiled is kept for the next start, where that can be.
            let _ = gpu.store_cache();
        }
        if let Some((bytes, [h, w, c])) = &drawn
            && bytes.chunks_exact(h * w * c).any(|picture| is_of_one_color(picture, *c))
        {
            match &loaded.model {
                Model::Prompts { held, .. } => held.check_constant(&options)?,
                Model::Labels { model, .. } => model.check_constant(&options)?,
            }
        }
        Ok(drawn)
    }
}

impl Loaded {
    fn weights(&self) -> u64 {
        match &self.model {
            Model::Prompts { held, .. } => held.weight_bytes() as u64,
            Model::Labels { model, .. } => model.weight_bytes() as u64,
        }
    }

    fn bytes(&self) -> u64 {
        let sessions: usize = match &self.model {
            Model::Prompts { sessions, .. } => sessions.iter().map(|(_, session)| session.bytes()).sum(),
            Model::Labels { sessions, .. } => sessions.iter().map(|(_, session)| session.bytes()).sum(),
        };
        self.weights() + sessions as u64
    }

    fn clear(&mut self) {
        match &mut self.model {
            Model::Prompts { sessions, .. } => sessions.clear(),
            Model::Labels { sessions, .. } => sessions.clear(),
        }
    }
}

/// What the picture shall not show, if that was said.
fn negative(order: &Order) -> Option<&str> {
    Some(&*order.parameters.negative).filter(|text| !text.is_empty())
}

/// Whether there is a session of that kind, which then is the last one.
fn recall<K: PartialEq, S>(sessions: &mut [(K, S)], kind: &K) -> bool {
    let found = sessions.iter().position(|(known, _)| known == kind);
    found.inspect(|&at| sessions[at..].rotate_left(1)).is_some()
}

/// Adds one; the one that was not used for the longest goes.
fn keep<K, S>(sessions: &mut Vec<(K, S)>, kind: K, session: S) {
    if sessions.len() == SESSIONS {
        sessions.remove(0);
    }
    sessions.push((kind, session));
}

/// Takes a run's steps.
fn finish(mut run: Run<'_>, each: Each<'_>) -> Result<Option<Pictures>, Error> {
    while let Some(step) = run.step()? {
        if !each(&mut run, step)? {
            return Ok(None);
        }
    }
    Ok(Some((run.to_u8()?, run.picture_shape())))
}
