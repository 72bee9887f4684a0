//! `nijimi`: draws pictures from one weight file.
//!
//! ```sh
//! nijimi 7 -o seven.png
//! nijimi "0 1 2 3 4 5 6 7 8 9" -b 4 -s 1 -o grid.png
//! ```
//!
//! Everything that touches the runtime is in [`draw`]; the other modules know words, pixels and files.

mod canvas;
mod cli;
mod default_model;
mod draw;
mod fault;
mod grid;
mod parameters;
mod picture;
mod progress;
mod prompt;
mod run;
mod target;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)).and_then(run::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(),
    }
}
