//! A server in this process, and a client of few lines.
#![allow(dead_code, reason = "each test takes what it needs")]

use nijimi_runtime::model::{Device, Diffusion, LatentRequest, Request, Stored, TextToImage, batch_seeds};
use nijimi_serve::{Config, ModelFile, Server, Stopper};
use serde_json::Value;
use std::io::{Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub static DIGITS: &[u8] = include_bytes!("../../../weights/digits-q8_0.gguf");
pub static EMOJI: &[u8] = include_bytes!("../../../weights/emoji-q8_0.gguf");

/// Both models; digits draw if none is named.
pub fn config() -> Config {
    let file = |name: &str, bytes: &'static [u8]| ModelFile { name: name.into(), stored: Arc::new(bytes) };
    let mut config = Config::new(vec![file("digits", DIGITS), file("emoji", EMOJI)]);
    config.grace = Duration::from_secs(60);
    config
}

/// A server that runs; it is stopped, and must have left well, at the end.
pub struct Running {
    pub address: SocketAddr,
    stop: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn new(config: Config) -> Self {
        let server = Server::bind(config).unwrap();
        let (address, stop) = (server.address(), server.stopper());
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self { address, stop, thread: Some(thread) }
    }

    pub fn stop(&mut self) {
        self.stop.stop();
        self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
    }

    pub fn begin_to_stop(&self) {
        self.stop.stop();
    }

    /// Sends a request, of which nothing is read yet.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        // Who is refused by the length alone need not be read.
        let _ = stream.write_all(body);
        stream
    }

    pub fn get(&self, path: &str) -> Reply {
        read(self.send("GET", path, "", b""))
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        read(self.send("POST", path, "", body.to_string().as_bytes()))
    }

    /// A request that draws for long, and is being drawn.
    pub fn busy(&self) -> TcpStream {
        let body = serde_json::json!({ "prompt": "7", "steps": 1000, "n": 8, "seed": 1, "sampling_method": "ddim" });
        let stream = self.send("POST", "/v1/images/generations", "", body.to_string().as_bytes());
        self.until(|health| health["running"] == 1);
        stream
    }

    /// Waits until the health is as it shall be.
    pub fn until(&self, is: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        while !is(&self.get("/health").json()) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{}", self.get("/health").json());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A counter.
    pub fn counter(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("nijimi_{name} ")));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            thread.join().unwrap();
        }
    }
}

/// What was answered.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.head, self.text()))
    }

    /// The data of each event.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.split("\n\n").filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

/// Reads an answer to its end.
pub fn read(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    // A connection that is reset after the answer has said all.
    let _ = stream.read_to_end(&mut bytes);
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = bytes[at + 4..].to_vec();
    if head.contains("transfer-encoding: chunked") {
        let (mut rest, mut whole) = (&body[..], Vec::new());
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            whole.extend_from_slice(&rest[end + 2..][..length]);
            rest = &rest[end + 4 + length..];
        }
        body = whole;
    }
    Reply { status, head, body }
}

/// Pixels of a PNG in base64, and its text.
pub fn pixels(base64: &Value) -> (Vec<u8>, String) {
    let bytes = decode(base64.as_str().unwrap_or_else(|| panic!("{base64}")));
    let mut reader = png::Decoder::new(Cursor::new(&bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let text = reader.info().uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == "parameters");
    (pixels, text.expect("a chunk parameters").text.clone())
}

pub fn decode(base64: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
}

pub fn encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What the runtime alone draws of a digit, with each seed by itself.
pub fn digits(label: &str, first: u64, n: usize, steps: usize) -> Vec<Vec<u8>> {
    let model = Diffusion::load(&DIGITS.file().unwrap(), &Device::Cpu).unwrap();
    let (calls, defaults) = (model.calls(model.info().defaults.solver, steps).unwrap(), model.info().defaults);
    let mut session = model.session(&Default::default()).unwrap();
    let labels = [Some(model.label(label).unwrap())];
    let draw = |seed: u64| {
        let request =
            Request { labels: &labels, seeds: &[seed], calls: &calls, guidance_scale: defaults.guidance_scale };
        let mut run = session.run(&request).unwrap();
        while run.step().unwrap().is_some() {}
        run.to_u8().unwrap()
    };
    batch_seeds(first, n).into_iter().map(draw).collect()
}

/// The same of a prompt.
pub fn emoji(prompt: &str, seed: u64, steps: usize, change: impl FnOnce(&mut LatentRequest<'_>)) -> Vec<u8> {
    let model = TextToImage::load(&EMOJI.file().unwrap(), &Device::Cpu).unwrap();
    let defaults = model.info().defaults;
    let calls = model.calls_by(defaults.solver, defaults.sigmas, steps).unwrap();
    let mut request = model.request(prompt, seed, &calls);
    change(&mut request);
    let mut run = model.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    run.to_u8().unwrap()
}
