//! `nijimi`: draws from one weight file: pictures, or numbers.
//!
//! ```sh
//! nijimi "a red apple" -o apple.png
//! nijimi "0 1 2 3 4 5 6 7 8 9" -m digits -b 4 -s 1 -o grid.png
//! ```
//!
//! Four rooms: [`cli`] reads the command line, [`draw`] draws, [`mod@file`] reads and writes, [`tell`] tells of files and devices.

mod bytes;
mod cli;
mod draw;
mod fault;
mod file;
mod memory;
mod quiet;
#[cfg(feature = "serve")]
mod serve;
mod tell;

use cli::Command;
use nijimi_cli::print::print;
use std::process::ExitCode;

fn main() -> ExitCode {
    quiet::drivers();
    nijimi_runtime::gguf::faults_of_files_are_errors();
    let asked = cli::parse(std::env::args_os().skip(1));
    let done = asked.and_then(|command| match command {
        Command::Draw(asked) => draw::run::run(*asked),
        Command::Convert(options) => file::convert::run(&options),
        Command::Upscale(options) => draw::upscale::run(&options),
        Command::Plan(options) => tell::plan::run(&options),
        Command::Inspect(options) => tell::inspect::run(&options),
        Command::Density(options) => tell::density::run(&options),
        #[cfg(feature = "serve")]
        Command::Serve(options) => serve::run(&options),
        Command::Devices => tell::devices::list(),
        Command::SelfTest(options) => tell::self_test::run(&options),
        Command::Print(text) => Ok(print(&format!("{}\n", text.trim_end()))?),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(),
    }
}
