//! A server that draws: `nijimi serve`, for programs to take along.
//!
//! Models stay in memory and are chosen by name; requests wait in a queue of limited length, those with the same settings share
//! a run, and each picture is the one that its seed gives alone. Clients of OpenAI's images and of AUTOMATIC1111's web UI are
//! answered, browsers get a page, and `docs/serve.md` says which fields are obeyed.
//!
//! ```no_run
//! use nijimi_serve::{Config, ModelFile, Server};
//! use std::sync::Arc;
//!
//! let weights = std::fs::read("weights/digits-q8_0.gguf")?;
//! let model = ModelFile { name: "digits".into(), stored: Arc::new(weights) };
//! let mut config = Config::new(vec![model]);
//! config.port = 8080;
//! let server = Server::bind(config)?;
//! println!("http://{}", server.address());
//! server.run()?; // until SIGTERM or SIGINT
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One thread draws (the runtime has threads of its own), one speaks with the clients, and a few read bodies and pictures. Nothing
//! of a request reaches the file system.
#![forbid(unsafe_code)]

mod access;
mod events;
mod fields;
mod metrics;
mod models;
mod openai;
mod order;
mod queue;
mod refusal;
mod routes;
mod sdapi;
mod server;
mod shared;
mod studio;
mod worker;

pub use models::ModelFile;
pub use server::{Server, Stopper};

use nijimi_runtime::model::Device;
use std::net::IpAddr;
use std::time::Duration;

/// What a server is to be.
#[non_exhaustive]
pub struct Config {
    /// The models, the one that draws if none is named first.
    pub models: Vec<ModelFile>,
    /// Where they draw.
    pub device: Device,
    /// Threads of the CPU; 0 for one a core.
    pub threads: usize,
    /// Bytes that weights and runs may take; `None` for any.
    pub memory: Option<u64>,
    /// The address, 127.0.0.1 if nothing is said.
    pub host: IpAddr,
    /// The port; 0 for one that is free.
    pub port: u16,
    /// What clients must send as `Authorization: Bearer`, 16 visible characters or more.
    pub token: Option<String>,
    /// Whether others than this machine may ask without a token.
    pub insecure: bool,
    /// How long a run may go on when the server is to leave.
    pub grace: Duration,
    /// How much is taken from clients.
    pub limits: Limits,
}

impl Config {
    /// On the CPU, for this machine alone, at a free port.
    #[must_use]
    pub fn new(models: Vec<ModelFile>) -> Self {
        Self {
            models,
            device: Device::Cpu,
            threads: 0,
            memory: None,
            host: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            token: None,
            insecure: false,
            grace: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// Whether a server at that address would begin, before any model is read: see [`ServeError`].
///
/// # Errors
/// An address that others reach, without a token and not `insecure`; a token that can be guessed.
pub fn check_access(host: IpAddr, token: Option<&str>, insecure: bool) -> Result<(), ServeError> {
    access::Access::new(host, token.map(str::to_owned), insecure).map(drop)
}

/// How much is taken from clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Requests that wait.
    pub queue: usize,
    /// Pictures of one run.
    pub batch: usize,
    /// Pictures of one request.
    pub pictures: usize,
    /// Steps.
    pub steps: usize,
    /// The longest side of a picture, in pixels: of those that are drawn, and twice that of those that are sent.
    pub side: usize,
    /// Bytes of a prompt.
    pub prompt: usize,
    /// Windows of a prompt, each some 75 words.
    pub windows: usize,
    /// Bytes of a body.
    pub body: usize,
    /// Bodies that are being read at a time.
    pub bodies: usize,
    /// Connections.
    pub connections: usize,
    /// How long a header, or a body, may take.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 32,
            batch: 8,
            pictures: 16,
            steps: 1000,
            side: 2048,
            prompt: 10_000,
            windows: 16,
            body: 32 << 20,
            bodies: 16,
            connections: 256,
            patience: Duration::from_secs(30),
        }
    }
}

/// Why there is no server.
#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// A file that is no model to draw with.
    #[error("{name}: {message}")]
    Model {
        /// The model.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Others could ask, and there is no token.
    #[error(
        "others reach {0}: make clients show a token (--token-file FILE), or say that anyone may draw (--insecure)"
    )]
    Unsafe(IpAddr),
    /// A token that can be guessed, or is more than a word.
    #[error("the token must have at least {0} visible characters, and no spaces: make one with openssl rand -hex 16")]
    Token(usize),
    /// The address cannot be had.
    #[error("cannot listen at {address}: {source}")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system refuses something else.
    #[error("the server cannot work: {0}")]
    System(#[from] std::io::Error),
}
