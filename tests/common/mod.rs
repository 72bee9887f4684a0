//! A tiny model with random weights, a folder for its pictures, and the program run in it.

use nijimi_runtime::gguf::{MetaValue, Writer};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::graph::WeightKind;
use nijimi_runtime::raw::nn::BookUnet;
use nijimi_runtime::raw::rng::normal_fill;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Width and height of the tiny model's pictures.
pub const SIDE: usize = 8;

/// A weight file: pictures of 8 x 8 with that many channels, `labels`, 10 steps of DDIM.
pub fn tiny_model(in_channels: usize, labels: &[&str]) -> Vec<u8> {
    let (label_count, side) = (labels.len(), SIDE as u32);
    let channels = vec![8, 16, 16];
    let network = BookUnet { in_channels, channels, time_dim: 20, label_count, height: SIDE, width: SIDE };
    let meta: [(&str, MetaValue); 23] = [
        ("general.architecture", "nijimi".into()),
        ("general.name", "tiny".into()),
        ("nijimi.format_version", 1u32.into()),
        ("nijimi.system", "ddpm".into()),
        ("nijimi.network", "book-unet".into()),
        ("nijimi.unet.in_channels", (in_channels as u32).into()),
        ("nijimi.unet.channels", vec![8u32, 16, 16].into()),
        ("nijimi.unet.time_dim", 20u32.into()),
        ("nijimi.unet.label_count", (label_count as u32).into()),
        ("nijimi.image.width", side.into()),
        ("nijimi.image.height", side.into()),
        ("nijimi.image.channels", (in_channels as u32).into()),
        ("nijimi.image.range", vec![0.0f32, 1.0].into()),
        ("nijimi.labels", labels.into()),
        ("nijimi.schedule.kind", "linear".into()),
        ("nijimi.schedule.steps", 1000u32.into()),
        ("nijimi.schedule.beta_start", 1e-4f64.into()),
        ("nijimi.schedule.beta_end", 0.02f64.into()),
        ("nijimi.prediction_type", "epsilon".into()),
        ("nijimi.first_timestep", 1u32.into()),
        ("nijimi.sampler.method", "ddim".into()),
        ("nijimi.sampler.steps", 10u32.into()),
        ("nijimi.sampler.guidance_scale", 2.0f32.into()),
    ];
    let mut writer = Writer::new();
    for (key, value) in meta {
        writer.meta(key, value).unwrap();
    }
    for (i, weight) in network.graph(1).unwrap().weights().iter().enumerate() {
        let fan_in = match weight.kind {
            WeightKind::Conv { kernel, inp, .. } => kernel * kernel * inp,
            WeightKind::Linear { inp, .. } => inp,
            _ => 16,
        };
        let mut values = vec![0.0; weight.kind.elements()];
        normal_fill(77, i as u32, &mut values);
        values.iter_mut().for_each(|v| *v *= (1.5 / fan_in as f32).sqrt());
        writer.tensor(&weight.name, &weight.kind.row_major(), DType::F32, &values).unwrap();
    }
    writer.finish()
}

/// A new folder with `tiny.gguf` in it (gray, labels 0 to 9), removed at the end.
pub struct Folder {
    pub path: PathBuf,
}

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        let labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        fs::write(path.join("tiny.gguf"), tiny_model(1, &labels)).unwrap();
        Self { path }
    }

    /// Runs the program here with the arguments alone.
    pub fn nijimi(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_nijimi")).args(args).current_dir(&self.path).output().unwrap()
    }

    /// As [`Self::nijimi`], with a text on standard input.
    pub fn nijimi_reading(&self, args: &[&str], text: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi"));
        command.args(args).current_dir(&self.path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // What does not read it is told by its answer.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Draws with the tiny model; what the program says on stderr.
    pub fn draw(&self, args: &[&str]) -> String {
        let output = self.nijimi(&[args, &["-m", "tiny.gguf"]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty());
        stderr
    }

    /// Exit code and message of a call that must fail.
    pub fn fail(&self, args: &[&str]) -> (i32, String) {
        let output = self.nijimi(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        let message = stderr.trim_end().strip_prefix("nijimi: ").unwrap_or_else(|| panic!("{stderr}"));
        (output.status.code().unwrap(), message.into())
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn picture(&self, name: &str) -> Picture {
        let bytes = self.bytes(name);
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let info = reader.info();
        let text = info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == "parameters");
        let parameters = text.expect("a chunk parameters").text.clone();
        Picture { width: info.width as usize, height: info.height as usize, color: info.color_type, pixels, parameters }
    }

    /// The names of all files but the model's.
    pub fn files(&self) -> Vec<String> {
        let files = fs::read_dir(&self.path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> = files.filter(|name| !name.ends_with(".gguf")).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[derive(Debug, PartialEq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub color: png::ColorType,
    pub pixels: Vec<u8>,
    pub parameters: String,
}

impl Picture {
    /// The pixels of a rectangle.
    pub fn cut(&self, x: usize, y: usize, width: usize, height: usize) -> Vec<u8> {
        let rows = self.pixels.chunks(self.width).skip(y).take(height);
        rows.flat_map(|row| row[x..x + width].to_vec()).collect()
    }
}
