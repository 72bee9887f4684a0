//! The options of the server.

use super::check::{DEVICE, none};
use super::value::{Backend, Bytes, place};
use crate::fault::Fault;
use argh::{ArgsInfo, FromArgs};
use nijimi_cli::number::{count, index, threads};
use nijimi_runtime::model::Place;
use std::path::PathBuf;

/// Serves drawing over HTTP, with models that stay in memory: for clients of OpenAI's images and of AUTOMATIC1111's web UI, and
/// for a browser. Stops at SIGTERM and Ctrl-C.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} -m sd15-q8_0.gguf --port 8080",
    error_code(1, "The address is taken, or the server cannot work."),
    error_code(2, "The command line is wrong, or others could ask without a token."),
    error_code(3, "A file is invalid."),
    error_code(4, "No GPU was found, or it failed.")
)]
pub struct Serve {
    /// weight file or checkpoint to serve, by its name without folder and extension. May be repeated; the first one draws if a
    /// request names none. emoji and digits are always there
    #[argh(option, short = 'm', arg_name = "file")]
    pub model: Vec<PathBuf>,
    /// address to listen at: this machine's own (127.0.0.1, the default), or one that others reach, with a token
    #[argh(option, arg_name = "address", default = "String::from(\"127.0.0.1\")")]
    pub host: String,
    /// port (default: 7860); 0 for any that is free. The address is printed
    #[argh(option, arg_name = "n", default = "7860")]
    pub port: u16,
    /// file with a token, of 16 characters or more, that clients must send as Authorization: Bearer
    #[argh(option, arg_name = "file")]
    pub token_file: Option<PathBuf>,
    /// let anyone who reaches the address draw, without a token
    #[argh(switch)]
    pub insecure: bool,
    /// most memory for weights and runs, such as 4G or 800M (default: what is free at the start). What would take more is
    /// refused before it begins
    #[argh(option, arg_name = "size")]
    pub memory_limit: Option<Bytes>,
    /// requests that may wait (default: 32); further ones are told to come back later
    #[argh(option, arg_name = "n", default = "32", from_str_fn(index))]
    pub queue: usize,
    /// pictures of equal settings, of one or more requests, to draw at a time (default: 8)
    #[argh(option, arg_name = "n", default = "8", from_str_fn(count))]
    pub max_batch: usize,
    /// most pictures of a request (default: 16)
    #[argh(option, arg_name = "n", default = "16", from_str_fn(count))]
    pub max_pictures: usize,
    /// most steps of a request (default: 1000)
    #[argh(option, arg_name = "n", default = "1000", from_str_fn(count))]
    pub max_steps: usize,
    /// longest side of a picture, in pixels (default: 2048)
    #[argh(option, arg_name = "n", default = "2048", from_str_fn(side))]
    pub max_side: usize,
    /// seconds that a run may go on after SIGTERM (default: 10)
    #[argh(option, arg_name = "n", default = "10", from_str_fn(index))]
    pub grace: usize,
    /// auto, cpu or gpu (default: auto, a GPU if there is one, else the CPU)
    #[argh(option, arg_name = "name")]
    pub backend: Option<Backend>,
    /// GPU to use, by its number in nijimi devices
    #[argh(option, arg_name = "n", from_str_fn(index))]
    pub device: Option<usize>,
    /// CPU threads (default, and if 0 or negative: one per core)
    #[argh(option, short = 't', arg_name = "n", default = "0", from_str_fn(threads))]
    pub threads: usize,
}

/// Pixels of a side that a PNG of a client may have twice.
fn side(text: &str) -> Result<usize, String> {
    count(text).ok().filter(|side| *side <= 8192).ok_or_else(|| "must be a whole number from 1 to 8192".into())
}

impl Serve {
    /// That no option excludes another.
    pub(super) fn check(self) -> Result<Self, Fault> {
        none(&[
            (self.device.is_some() && self.backend == Some(Backend::Cpu), DEVICE),
            (
                self.insecure && self.token_file.is_some(),
                "--insecure is for a server without a token: leave out one of both",
            ),
        ])?;
        Ok(self)
    }

    /// Where models are drawn with.
    pub fn place(&self) -> Place {
        place(self.device, self.backend)
    }
}
