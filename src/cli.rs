//! The command line, in the names that people have in their fingers.

use crate::fault::Fault;
use argh::FromArgs;
use nijimi_runtime::gpu::Choice;
use std::ffi::OsString;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::str::FromStr;

/// Draws from a model: pictures as PNG, on a GPU or the CPU, or numbers as CSV.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} 7 -o seven.png",
    example = "{command_name} \"0 1 2 3 4 5 6 7 8 9\" -b 4 -s 1 -o grid.png",
    example = "{command_name} \"3 5\" -b 100 -o digit-%03d.png",
    example = "{command_name} -m heights.gguf -b 1000 -o heights.csv",
    note = "As the first word, five are commands, not prompts:\n  nijimi convert      makes a weight file of a Stable Diffusion checkpoint\n  nijimi inspect      tells what a weight file is\n  nijimi density      evaluates a model's log density for rows of numbers\n  nijimi devices      lists the GPUs and what they can do\n  nijimi self-test    compares a GPU with the CPU: put what it prints into bug reports",
    error_code(1, "Internal error."),
    error_code(2, "The command line is wrong."),
    error_code(3, "A file, a folder or the prompt is not what it must be."),
    error_code(4, "A GPU is missing, or did not do what it was asked.")
)]
pub struct Cli {
    /// names of what to draw, separated by spaces or commas; nothing: whatever comes
    #[argh(positional, arg_name = "prompt")]
    positional: Option<String>,
    /// the same, as an option
    #[argh(option, short = 'p', arg_name = "prompt")]
    prompt: Option<String>,
    /// what a picture shall not show, of models that read prompts
    #[argh(option, short = 'n', arg_name = "prompt")]
    pub negative_prompt: Option<String>,
    /// weight file (default: handwritten digits, part of the program)
    #[argh(option, short = 'm', arg_name = "file")]
    pub model: Option<PathBuf>,
    /// PNG file, in a folder that exists (default: output.png). Several pictures make a labelled grid; with a number
    /// in the name, as in out-%03d.png, each gets its own file, counted from 0. Numbers go to a CSV file, or are
    /// printed if none is named
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: Option<String>,
    /// pictures for each word of the prompt, or rows of numbers (default: 1)
    #[argh(option, short = 'b', arg_name = "n", default = "1")]
    pub batch: usize,
    /// seed of the first picture (default: random); the next ones have the next seeds, the same for each word. Rows of
    /// numbers share it
    #[argh(option, short = 's', arg_name = "n")]
    pub seed: Option<u64>,
    /// width of the picture, of models that read prompts (default: the model's)
    #[argh(option, short = 'W', arg_name = "n")]
    pub width: Option<usize>,
    /// height of it
    #[argh(option, short = 'H', arg_name = "n")]
    pub height: Option<usize>,
    /// number of steps (default: the model's; of the other method, 50 for ddim and all 1000 for ddpm; 20 of models that
    /// read prompts)
    #[argh(option, arg_name = "n")]
    pub steps: Option<usize>,
    /// how strictly to follow the prompt: 1 is without guidance (default: the model's)
    #[argh(option, arg_name = "x")]
    pub cfg_scale: Option<f32>,
    /// classifier of noised pictures that draws towards the prompt, in place of the model's own labels
    #[argh(option, arg_name = "file")]
    pub classifier: Option<PathBuf>,
    /// how strongly it does (default: 1)
    #[argh(option, arg_name = "x")]
    pub classifier_scale: Option<f32>,
    /// ddpm or ddim (default: the model's); models that read prompts know many more, as euler_a and dpm++2m
    #[argh(option, arg_name = "name")]
    pub sampling_method: Option<String>,
    /// how the noise levels are spread, of models that read prompts: discrete, karras, exponential, ... (default: the
    /// model's)
    #[argh(option, arg_name = "name")]
    pub scheduler: Option<String>,
    /// how far the contrast of strong guidance is brought back, 0 to 1, of models that read prompts (default: 0)
    #[argh(option, arg_name = "x")]
    pub cfg_rescale: Option<f32>,
    /// noise in each step of ddim, 0 to 1 (default: 0, none)
    #[argh(option, arg_name = "x")]
    pub eta: Option<f64>,
    /// let estimates of the clean picture leave the range of pictures on the way, as the book does
    #[argh(switch)]
    pub no_clip: bool,
    /// auto, cpu or gpu (default: auto, a GPU if there is one, or else the CPU). With gpu, a driver that runs shaders on
    /// the CPU will do
    #[argh(option, arg_name = "name")]
    backend: Option<Backend>,
    /// the GPU of that number in nijimi devices
    #[argh(option, arg_name = "n")]
    device: Option<usize>,
    /// measure first how the GPU computes this model's layers best; the choice is kept, for it and this driver
    #[argh(switch)]
    pub tune: bool,
    /// threads of the CPU (default: one for each core)
    #[argh(option, short = 't', arg_name = "n", default = "0")]
    pub threads: usize,
    /// enlarge each pixel to n x n (default: 2 in a grid, 1 else)
    #[argh(option, arg_name = "n")]
    pub scale: Option<usize>,
    /// tell about the model, the machine, memory and time
    #[argh(switch, short = 'v')]
    pub verbose: bool,
    /// print the version and exit
    #[argh(switch)]
    version: bool,
}

/// Lists the GPUs, and what runs shaders on the CPU.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"))]
pub struct Devices {}

/// Compares all that a GPU does with the CPU, and measures it. Ends with exit code 4 unless everything agrees.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"), error_code(4, "There is no GPU, or it computes something else than the CPU."))]
pub struct SelfTest {
    /// the GPU of that number in nijimi devices (default: the best; where there is none, what runs shaders on the CPU)
    #[argh(option, arg_name = "n")]
    pub device: Option<usize>,
    /// shapes of large networks, as on a real GPU, also where shaders run on the CPU: takes minutes
    #[argh(switch)]
    pub large: bool,
}

/// Makes a weight file of a published checkpoint of Stable Diffusion 1.x, 2.x or SDXL: a diffusers folder, or a single
/// .safetensors file.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} stable-diffusion-v1-5/ -o sd15-q8_0.gguf --type q8_0",
    example = "{command_name} model.safetensors --tokenizer stable-diffusion-v1-5/tokenizer -o model.gguf",
    error_code(2, "The command line is wrong."),
    error_code(3, "The checkpoint is not what it must be, or the file cannot be written.")
)]
pub struct Convert {
    /// folder with a model_index.json, or .safetensors file
    #[argh(positional)]
    pub source: PathBuf,
    /// file to write
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: PathBuf,
    /// number format of the weights: f32, f16, bf16, q8_0 or q4_0 (default: f16). Norms and biases are f32; with q8_0 and
    /// q4_0, tables of embeddings, first and last convolutions, and rows that are no multiple of 32, are f16
    #[argh(option, long = "type", arg_name = "name", default = "String::from(\"f16\")")]
    pub kind: String,
    /// exception, as in "unet.*attn2=f16": a regular expression to be found in the names of tensors, and their format.
    /// May be repeated: the first that matches decides
    #[argh(option, arg_name = "regex=type")]
    pub tensor_type: Vec<String>,
    /// variant of a folder's files: fp16 for model.fp16.safetensors (default: none, or what is there)
    #[argh(option, arg_name = "name")]
    pub variant: Option<String>,
    /// folder of the vocabulary, which a single file has not: vocab.json and merges.txt, or tokenizer.json
    #[argh(option, arg_name = "folder")]
    pub tokenizer: Option<PathBuf>,
    /// epsilon, v_prediction or sample: what the network predicts (default: as the checkpoint says)
    #[argh(option, arg_name = "name")]
    pub prediction_type: Option<String>,
    /// name of the model (default: that of the folder or file)
    #[argh(option, arg_name = "text")]
    pub name: Option<String>,
}

/// Tells what a weight file is: its system, what it draws, its weights and how it was made.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"), error_code(3, "The file is not what it must be."))]
pub struct Inspect {
    /// weight file (default: the one that is part of the program)
    #[argh(positional)]
    pub file: Option<PathBuf>,
    /// list all metadata
    #[argh(switch)]
    pub keys: bool,
    /// list all tensors
    #[argh(switch)]
    pub tensors: bool,
}

/// Evaluates the log density (natural logarithm) of rows of numbers under a model that has one, and prints the rows
/// with it as CSV; the sum goes to stderr.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"), error_code(3, "A file is not what it must be."))]
pub struct Density {
    /// weight file
    #[argh(option, short = 'm', arg_name = "file")]
    pub model: PathBuf,
    /// rows of numbers, separated by commas or white space, with or without a line of names (default: standard input)
    #[argh(positional)]
    pub data: Option<PathBuf>,
    /// CSV file for the result (default: printed)
    #[argh(option, short = 'o', arg_name = "file")]
    pub output: Option<PathBuf>,
}

/// What the program is asked to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Convert a checkpoint.
    Convert(Convert),
    /// Explain a file.
    Inspect(Inspect),
    /// Evaluate a density.
    Density(Density),
    /// Draw.
    Draw(Box<Cli>),
    /// List the devices.
    Devices,
    /// Test one.
    SelfTest(SelfTest),
}

/// What `--backend` knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Backend {
    Auto,
    Cpu,
    Gpu,
}

impl FromStr for Backend {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ => Err("there are auto, cpu and gpu"),
        }
    }
}

/// Where to draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On the CPU.
    Cpu,
    /// On a GPU if there is one that works, or else on the CPU.
    Auto,
    /// On this adapter and no other.
    Gpu(Choice),
}

/// More threads than any machine has are a slip of the finger.
const MAX_THREADS: usize = 1024;

/// Most pictures for each word: a number of nine digits would draw for a year.
const MAX_BATCH: usize = 1_000_000;

impl Cli {
    /// What was asked for; empty for anything.
    pub fn prompt(&self) -> &str {
        self.positional.as_deref().or(self.prompt.as_deref()).unwrap_or_default()
    }

    /// Where to draw.
    pub fn place(&self) -> Place {
        match (self.device, self.backend) {
            (Some(index), _) => Place::Gpu(Choice::Index(index)),
            (None, Some(Backend::Gpu)) => Place::Gpu(Choice::Any),
            (None, Some(Backend::Cpu)) => Place::Cpu,
            (None, Some(Backend::Auto) | None) => Place::Auto,
        }
    }

    /// That no option is given which only models that read prompts know.
    pub fn no_text(&self) -> Result<(), Fault> {
        let given = [
            ("-n", self.negative_prompt.is_some()),
            ("-W", self.width.is_some()),
            ("-H", self.height.is_some()),
            ("--scheduler", self.scheduler.is_some()),
            ("--cfg-rescale", self.cfg_rescale.is_some()),
        ];
        none_of(&given, "models that read prompts: ")
    }

    /// That no option is given which is about steps, of a model that has none; `why` says so.
    pub fn no_sampler(&self, why: &str) -> Result<(), Fault> {
        let given = [
            ("--steps", self.steps.is_some()),
            ("--cfg-scale", self.cfg_scale.is_some()),
            ("--classifier", self.classifier.is_some()),
            ("--sampling-method", self.sampling_method.is_some()),
            ("--eta", self.eta.is_some()),
            ("--no-clip", self.no_clip),
        ];
        none_of(&given, &format!("diffusion models: {why}, so "))
    }

    fn check(self) -> Result<Self, Fault> {
        let problem = if self.positional.is_some() && self.prompt.is_some() {
            "the prompt was given twice: once is enough, with or without -p"
        } else if !(1..=MAX_BATCH).contains(&self.batch) {
            "-b must be 1 to 1000000"
        } else if self.steps == Some(0) {
            "--steps must be at least 1"
        } else if self.threads > MAX_THREADS {
            "-t must be at most 1024; 0 takes one thread for each core"
        } else if self.tune && self.backend == Some(Backend::Cpu) {
            "--tune is for GPUs: leave it out, or --backend cpu"
        } else if self.device.is_some() && self.backend == Some(Backend::Cpu) {
            "--device is for GPUs: leave it out, or --backend cpu"
        } else if self.scale.is_some_and(|scale| !(1..=64).contains(&scale)) {
            "--scale must be 1 to 64"
        } else if self.cfg_scale.is_some_and(|scale| !scale.is_finite()) {
            "--cfg-scale must be a finite number, 1 for none"
        } else if self.classifier_scale.is_some_and(|scale| !scale.is_finite()) {
            "--classifier-scale must be a finite number, 0 for none"
        } else if self.classifier_scale.is_some() && self.classifier.is_none() {
            "--classifier-scale needs a --classifier"
        } else if self.classifier.is_some() && self.cfg_scale.is_some() {
            "--classifier takes the place of --cfg-scale: give one of them"
        } else {
            return Ok(self);
        };
        Err(Fault::Usage(problem.into()))
    }
}

/// That no option of a list is given; `whose` says what it is for, and why it is refused.
pub fn none_of(given: &[(&str, bool)], whose: &str) -> Result<(), Fault> {
    match given.iter().find(|option| option.1) {
        Some((option, _)) => Err(Fault::Usage(format!("{option} is for {whose}leave it out"))),
        None => Ok(()),
    }
}

/// Reads the arguments, without the program's name. Help and version are printed here, and end the program.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, Fault> {
    let args = args.map(OsString::into_string).collect::<Result<Vec<_>, _>>();
    let args = args.map_err(|arg| Fault::Usage(format!("{} is not UTF-8: use another name", arg.display())))?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.split_first() {
        Some((&"devices", rest)) => read::<Devices>("nijimi devices", rest).map(|Devices {}| Command::Devices),
        Some((&"self-test", rest)) => read("nijimi self-test", rest).map(Command::SelfTest),
        Some((&"convert", rest)) => read("nijimi convert", rest).map(Command::Convert),
        Some((&"inspect", rest)) => read("nijimi inspect", rest).map(Command::Inspect),
        Some((&"density", rest)) => read("nijimi density", rest).map(Command::Density),
        _ => match read::<Cli>("nijimi", &args)? {
            cli if cli.version => print(concat!("nijimi ", env!("CARGO_PKG_VERSION"))),
            cli => cli.check().map(Box::new).map(Command::Draw),
        },
    }
}

fn read<T: FromArgs>(name: &str, args: &[&str]) -> Result<T, Fault> {
    let command: Vec<&str> = name.split(' ').collect();
    T::from_args(&command, args).map_err(|exit| match exit.status {
        Ok(()) => print(&exit.output),
        Err(()) => Fault::Usage(remedy(name, exit.output.trim())),
    })
}

fn print(text: &str) -> ! {
    // A reader that has seen enough, as `head`, is no error.
    let _ = writeln!(stdout(), "{}", text.trim_end());
    std::process::exit(0)
}

fn remedy(name: &str, message: &str) -> String {
    let hint = match message.strip_prefix("Unrecognized argument: ") {
        Some(arg) if !arg.starts_with('-') && name == "nijimi" => "put a prompt of several words in quotes, or see",
        _ => "see",
    };
    format!("{message}: {hint} {name} --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(args: &[&str]) -> Result<Command, Fault> {
        parse(args.iter().map(OsString::from))
    }

    fn read(args: &[&str]) -> Cli {
        match command(args) {
            Ok(Command::Draw(cli)) => *cli,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn refused(args: &[&str]) -> String {
        match command(args) {
            Err(Fault::Usage(message)) => message,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn the_prompt_is_positional_or_an_option() {
        assert_eq!(read(&["7"]).prompt(), "7");
        assert_eq!(read(&["-p", "7"]).prompt(), "7");
        assert_eq!(read(&[]).prompt(), "");
        assert_eq!(read(&["help"]).prompt(), "help");
        assert_eq!(read(&["--", "-7"]).prompt(), "-7");
        assert!(refused(&["7", "-p", "7"]).contains("twice"));
    }

    // Seen red: a prompt of that name taken for the command.
    #[test]
    fn commands_are_the_first_word() {
        assert_eq!(command(&["devices"]), Ok(Command::Devices));
        assert_eq!(command(&["self-test"]), Ok(Command::SelfTest(SelfTest { device: None, large: false })));
        let first = SelfTest { device: Some(1), large: true };
        assert_eq!(command(&["self-test", "--device", "1", "--large"]), Ok(Command::SelfTest(first)));
        assert_eq!(command(&["inspect"]), Ok(Command::Inspect(Inspect { file: None, keys: false, tensors: false })));
        for prompt in ["devices", "self-test", "convert", "inspect", "density"] {
            assert_eq!(read(&["-p", prompt]).prompt(), prompt);
            assert_eq!(read(&["--", prompt]).prompt(), prompt);
            assert_eq!(read(&["-v", prompt]).prompt(), prompt);
        }
        assert_eq!(refused(&["devices", "1"]), "Unrecognized argument: 1: see nijimi devices --help");
    }

    #[test]
    fn where_to_draw() {
        for (args, place) in [
            (&[][..], Place::Auto),
            (&["--backend", "auto"], Place::Auto),
            (&["--backend", "cpu"], Place::Cpu),
            (&["--backend", "gpu"], Place::Gpu(Choice::Any)),
            (&["--device", "2"], Place::Gpu(Choice::Index(2))),
            (&["--backend", "gpu", "--device", "0"], Place::Gpu(Choice::Index(0))),
        ] {
            assert_eq!(read(args).place(), place, "{args:?}");
        }
        assert!(refused(&["--backend", "cpu", "--device", "0"]).contains("--device is for GPUs"));
        assert!(refused(&["--backend", "cpu", "--tune"]).contains("--tune is for GPUs"));
        assert!(refused(&["--backend", "cuda"]).contains("there are auto, cpu and gpu"));
    }

    #[test]
    fn wrong_arguments_name_a_remedy() {
        assert_eq!(refused(&["-7"]), "Unrecognized argument: -7: see nijimi --help");
        assert!(refused(&["7", "8"]).contains("in quotes"));
        assert!(refused(&["-b", "few"]).contains("'-b' with value 'few'"));
        assert!(refused(&["-o"]).contains("No value provided for option '-o'"));
        for args in [["-b", "0"], ["-b", "1000001"], ["--steps", "0"], ["-t", "1025"], ["--scale", "0"]] {
            assert!(refused(&args).contains(args[0]), "{args:?}");
        }
        assert!(refused(&["--cfg-scale", "nan"]).contains("finite"));
        assert!(refused(&["--classifier", "c.gguf", "--classifier-scale", "inf"]).contains("finite"));
        assert!(refused(&["--classifier-scale", "2"]).contains("needs a --classifier"));
        assert!(refused(&["--classifier", "c.gguf", "--cfg-scale", "2"]).contains("one of them"));
    }
}
