//! `nijimi`: draws from one weight file: pictures, or numbers.
//!
//! ```sh
//! nijimi "a red apple" -o apple.png
//! nijimi "0 1 2 3 4 5 6 7 8 9" -m digits -b 4 -s 1 -o grid.png
//! ```
//!
//! What touches the runtime's models is in [`diffusion`], [`latent`], [`text_to_image`], [`numbers`], [`solver`], [`density`], [`inspect`],
//! [`convert`], [`backend`], [`devices`] and [`self_test`]; the
//! other modules know words, pixels and files.

mod artist;
mod backend;
mod bytes;
mod canvas;
mod cli;
mod convert;
mod default_model;
mod density;
mod devices;
mod diffusion;
mod fault;
mod grid;
mod image_in;
mod infotext;
mod inspect;
mod latent;
mod latents;
mod memory;
mod numbers;
mod parameters;
mod picture;
mod plan;
mod progress;
mod prompt;
mod quiet;
mod run;
mod self_test;
mod solver;
mod source;
mod table;
mod target;
mod text_to_image;

use cli::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    quiet::drivers();
    let asked = cli::parse(std::env::args_os().skip(1));
    let done = asked.and_then(|command| match command {
        Command::Draw(cli) => run::run(&cli),
        Command::Convert(options) => convert::run(&options),
        Command::Plan(options) => plan::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Density(options) => density::run(&options),
        Command::Devices => devices::list(),
        Command::SelfTest(options) => self_test::run(&options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(),
    }
}
