//! The command line of `nijimi-train`.
use crate::error::{Error, Result};
use crate::fit::Ended;
use crate::launch;
use crate::say::{self, say, tell};
use crate::world::{self, World};
use argh::{ArgsInfo, FromArgs};
use nijimi_cli::habits::usual;
use nijimi_runtime::quant::DType;
use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;

/// Trains the models that nijimi samples.
#[derive(FromArgs, ArgsInfo)]
pub struct Cli {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, read once")]
enum Command {
    Normal(crate::systems::normal::command::NormalArgs),
    Mvn(crate::systems::mvn::command::MvnArgs),
    Mixture(crate::systems::mixture::cli::MixtureArgs),
    Ddpm(crate::systems::ddpm::command::DdpmArgs),
    Text2image(crate::systems::text2image::command::TextToImageArgs),
    Lora(crate::systems::lora::command::LoraArgs),
    Distill(crate::systems::distill::command::DistillArgs),
    Autoencoder(crate::systems::autoencoder_kl::command::AutoencoderArgs),
    Matcher(crate::systems::matcher::command::MatcherArgs),
    Descent(crate::systems::descent::DescentArgs),
    Regression(crate::systems::regression::linear::RegressionArgs),
    Mlp(crate::systems::regression::mlp::MlpArgs),
    Vae(crate::systems::vae::VaeArgs),
    Hvae(crate::systems::hvae::HvaeArgs),
    Classifier(crate::systems::classifier::ClassifierArgs),
    Quantize(QuantizeArgs),
    Eval(crate::eval::cli::EvalArgs),
    Evaluate(crate::eval::evaluate::EvaluateArgs),
    Guided(crate::eval::guided::GuidedArgs),
    Loss(crate::eval::loss::LossArgs),
    Book(crate::systems::book::BookArgs),
}

/// Encode a weight file anew with another type of weights.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "quantize")]
pub struct QuantizeArgs {
    /// the file to read, best with f32 weights (the report folder's latest.gguf)
    #[argh(option, short = 'm')]
    model: PathBuf,
    /// the file to write
    #[argh(option)]
    out: PathBuf,
    /// type of the weights: f32, f16, q8_0, q6_k, q5_k, q4_k or q4_0
    #[argh(option, long = "type", from_str_fn(launch::dtype))]
    dtype: DType,
}

/// Parses the command line, runs, and returns the exit code: 0 done, 130 interrupted, or that of [`Error::exit_code`].
pub fn main() -> i32 {
    nijimi_runtime::gguf::faults_of_files_are_errors();
    let cli = match read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(Told::Help(text)) => {
            say!("{}", text.trim_end());
            return code(say::done().map(|()| Ended::Finished));
        }
        Err(Told::Wrong(text)) => return code(Err(Error::Usage(text))),
    };
    let together = match &cli.command {
        Command::Ddpm(args) => args.world,
        Command::Autoencoder(args) => args.world,
        Command::Text2image(args) => args.world,
        _ => false,
    };
    let world = match world::join(together) {
        Ok(world) => world,
        Err(e) => return code(Err(e)),
    };
    let ended = run(cli.command, &world).and_then(|ended| say::done().map(|()| ended));
    // The code comes after the message: a job ends when the first of its processes does.
    code(world::close(&*world, ended))
}

/// Why a command line is not run.
enum Told {
    Help(String),
    Wrong(String),
}

/// Reads the arguments, as people give them.
fn read(args: impl Iterator<Item = OsString>) -> std::result::Result<Cli, Told> {
    let mut words = Vec::new();
    for arg in args.skip(1) {
        let arg = arg.into_string();
        words.push(arg.map_err(|arg| Told::Wrong(format!("{} is not UTF-8: use another name", arg.display())))?);
    }
    if let [only] = &words[..]
        && ["-V", "--version"].contains(&&**only)
    {
        return Err(Told::Help(concat!("nijimi-train ", env!("CARGO_PKG_VERSION")).into()));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let words = usual(&Cli::get_args_info(), &words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Cli::from_args(&["nijimi-train"], &words).map_err(|early| match early.status {
        Ok(()) => Told::Help(early.output),
        Err(()) => Told::Wrong(early.output.trim().replace('\n', " ")),
    })
}

fn run(command: Command, world: &Rc<dyn World>) -> Result<Ended> {
    match command {
        Command::Ddpm(args) => crate::systems::ddpm::command::run(&args, world),
        Command::Text2image(args) => crate::systems::text2image::command::run(&args, world),
        Command::Distill(args) => crate::systems::distill::command::run(&args, world),
        Command::Autoencoder(args) => crate::systems::autoencoder_kl::command::run(&args, world),
        Command::Lora(args) => crate::systems::lora::command::run(&args),
        Command::Matcher(args) => crate::systems::matcher::command::run(&args).map(|()| Ended::Finished),
        Command::Descent(args) => crate::systems::descent::run(&args),
        Command::Regression(args) => crate::systems::regression::linear::run(&args),
        Command::Mlp(args) => crate::systems::regression::mlp::run(&args),
        Command::Vae(args) => crate::systems::vae::vae(&args),
        Command::Hvae(args) => crate::systems::hvae::hvae(&args),
        Command::Classifier(args) => crate::systems::classifier::command(&args),
        Command::Normal(args) => crate::systems::normal::command::run(&args).map(|()| Ended::Finished),
        Command::Mvn(args) => crate::systems::mvn::command::run(&args).map(|()| Ended::Finished),
        Command::Mixture(args) => crate::systems::mixture::cli::run(&args).map(|()| Ended::Finished),
        Command::Eval(args) => crate::eval::cli::run(&args).map(|()| Ended::Finished),
        Command::Evaluate(args) => crate::eval::evaluate::run(&args).map(|()| Ended::Finished),
        Command::Guided(args) => crate::eval::guided::run(&args).map(|()| Ended::Finished),
        Command::Book(args) => crate::systems::book::run(&args).map(|()| Ended::Finished),
        Command::Loss(args) => crate::eval::loss::run(&args).map(|()| Ended::Finished),
        Command::Quantize(a) => crate::quantize::quantize(&a.model, &a.out, a.dtype).map(|()| Ended::Finished),
    }
}

/// The exit code, after a message to stderr if it is an error.
fn code(result: Result<Ended>) -> i32 {
    match result {
        Ok(Ended::Finished) => 0,
        Ok(Ended::Interrupted) => 130,
        Err(e) => {
            tell!("nijimi-train: {e}");
            e.exit_code()
        }
    }
}
