//! The command line, in the names that people have in their fingers.

mod check;
mod commands;
mod draw;
mod parts;
#[cfg(feature = "serve")]
mod serve;
pub mod value;

pub use commands::{Convert, Density, Devices, Inspect, Plan, SelfTest, Upscale};
pub use parts::{ControlFiles, Draw, MachineOptions, OutputOptions, SamplingOptions, Subject, TextOptions};
#[cfg(feature = "serve")]
pub use serve::Serve;
pub use value::{EmbeddingFile, LoraFile, PreviewMethod};

use crate::fault::Fault;
use argh::{ArgsInfo, FromArgs};
use draw::Cli;
use nijimi_cli::habits::usual;
use std::ffi::OsString;

/// What the program is asked to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Convert a checkpoint.
    Convert(Convert),
    /// Enlarge a picture.
    Upscale(Upscale),
    /// Tell what a run would take.
    Plan(Box<Plan>),
    /// Explain a file.
    Inspect(Inspect),
    /// Evaluate a density.
    Density(Density),
    /// Serve drawing.
    #[cfg(feature = "serve")]
    Serve(Box<Serve>),
    /// Draw.
    Draw(Box<Draw>),
    /// List the devices.
    Devices,
    /// Test one.
    SelfTest(SelfTest),
    /// Print the help or the version.
    Print(String),
}

/// That no option of a list is given; `whose` says what they are for.
pub fn none_of(given: &[(&str, bool)], whose: &str) -> Result<(), Fault> {
    match given.iter().find(|option| option.1) {
        Some((option, _)) => Err(Fault::Usage(format!("{option} is for {whose}: leave it out"))),
        None => Ok(()),
    }
}

/// Reads the arguments, without the program's name.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, Fault> {
    let args = args.map(OsString::into_string).collect::<Result<Vec<_>, _>>();
    let args = args.map_err(|arg| Fault::Usage(format!("{} is not UTF-8: use another name", arg.display())))?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.split_first() {
        Some((&"devices", rest)) => read("nijimi devices", rest, |Devices {}| Ok(Command::Devices)),
        Some((&"self-test", rest)) => read("nijimi self-test", rest, |options| Ok(Command::SelfTest(options))),
        Some((&"convert", rest)) => read("nijimi convert", rest, |options| Ok(Command::Convert(options))),
        Some((&"plan", rest)) => read("nijimi plan", rest, |plan: Plan| Ok(Command::Plan(Box::new(plan.check()?)))),
        Some((&"upscale", rest)) => {
            read("nijimi upscale", rest, |options: Upscale| Ok(Command::Upscale(options.check()?)))
        }
        Some((&"inspect", rest)) => read("nijimi inspect", rest, |options| Ok(Command::Inspect(options))),
        Some((&"density", rest)) => read("nijimi density", rest, |options| Ok(Command::Density(options))),
        #[cfg(feature = "serve")]
        Some((&"serve", rest)) => {
            read("nijimi serve", rest, |serve: Serve| Ok(Command::Serve(Box::new(serve.check()?))))
        }
        #[cfg(not(feature = "serve"))]
        Some((&"serve", _)) => Err(Fault::Usage("this program cannot serve: build it with --features serve".into())),
        _ => read("nijimi", &args, |cli: Cli| match cli.version {
            true => Ok(Command::Print(concat!("nijimi ", env!("CARGO_PKG_VERSION")).into())),
            false => Ok(Command::Draw(Box::new(cli.check()?.into()))),
        }),
    }
}

fn read<T: FromArgs + ArgsInfo>(
    name: &str,
    args: &[&str],
    command: impl FnOnce(T) -> Result<Command, Fault>,
) -> Result<Command, Fault> {
    let names: Vec<&str> = name.split(' ').collect();
    let args = usual(&T::get_args_info(), args);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match T::from_args(&names, &args) {
        Ok(options) => command(options),
        Err(exit) if exit.status.is_ok() => Ok(Command::Print(exit.output)),
        Err(exit) => Err(Fault::Usage(remedy(name, exit.output.trim()))),
    }
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
    use super::parts::ImagePromptFiles;
    use super::*;
    use argh::{FlagInfoKind, Optionality};
    use nijimi_runtime::gpu::Choice;
    use nijimi_runtime::model::Place;

    fn command(args: &[&str]) -> Result<Command, Fault> {
        parse(args.iter().map(OsString::from))
    }

    fn read(args: &[&str]) -> Draw {
        match command(args) {
            Ok(Command::Draw(draw)) => *draw,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn refused(args: &[&str]) -> String {
        match command(args) {
            Err(Fault::Usage(message)) => message,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    /// Of every command, every option takes its value in both forms, and the last one is obeyed.
    #[test]
    fn every_option_of_every_command() {
        fn all<T: ArgsInfo>() {
            let info = T::get_args_info();
            for flag in info.flags.iter().filter(|f| matches!(f.kind, FlagInfoKind::Option { .. })) {
                assert_eq!(usual(&info, &[&format!("{}=-x", flag.long)]), [flag.long, "-x"]);
                let twice = usual(&info, &[flag.long, "a", flag.long, "b"]);
                assert_eq!(twice.len(), if matches!(flag.optionality, Optionality::Repeating) { 4 } else { 2 });
            }
        }
        all::<Cli>();
        all::<Convert>();
        all::<Density>();
        all::<Devices>();
        all::<Inspect>();
        all::<Plan>();
        all::<SelfTest>();
        all::<Upscale>();
        #[cfg(feature = "serve")]
        all::<Serve>();
    }

    #[test]
    fn the_prompt_is_positional_or_an_option() {
        assert_eq!(read(&["7"]).subject.prompt, "7");
        assert_eq!(read(&["-p", "7"]).subject.prompt, "7");
        assert_eq!(read(&[]).subject.prompt, "");
        assert_eq!(read(&["help"]).subject.prompt, "help");
        assert_eq!(read(&["--", "-7"]).subject.prompt, "-7");
        assert!(refused(&["7", "-p", "7"]).contains("given twice"));
    }

    // Seen red: a prompt of that name taken for the command.
    #[test]
    fn commands_are_the_first_word() {
        assert_eq!(command(&["devices"]), Ok(Command::Devices));
        assert_eq!(command(&["self-test"]), Ok(Command::SelfTest(SelfTest { device: None, large: false })));
        let first = SelfTest { device: Some(1), large: true };
        assert_eq!(command(&["self-test", "--device", "1", "--large"]), Ok(Command::SelfTest(first)));
        assert_eq!(command(&["inspect"]), Ok(Command::Inspect(Inspect { file: None, keys: false, tensors: false })));
        for prompt in ["devices", "self-test", "convert", "plan", "inspect", "density", "serve", "upscale"] {
            assert_eq!(read(&["-p", prompt]).subject.prompt, prompt);
            assert_eq!(read(&["--", prompt]).subject.prompt, prompt);
            assert_eq!(read(&["-v", prompt]).subject.prompt, prompt);
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
            assert_eq!(read(args).machine.place, place, "{args:?}");
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
        assert!(refused(&["--classifier-scale", "2"]).contains("needs --classifier"));
        assert!(refused(&["--classifier", "c.gguf", "--cfg-scale", "2"]).contains("one of them"));
    }

    // Of each option that takes a number. Seen red: one of them read as any number.
    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let counts = ["-b", "-W", "-H", "--steps", "--cache", "--preview-interval", "--scale"];
        let shares = ["--cfg-rescale", "--eta", "--strength"];
        let finite =
            ["--cfg-scale", "--img-cfg-scale", "--classifier-scale", "--control-strength", "--ip-adapter-strength"];
        let others = ["-t", "-s", "--clip-skip", "--device", "--memory-limit", "--lora"];
        for (options, values) in [
            (&counts[..], &["0", "-1", "1.5", "nan", "99999999999999999999"][..]),
            (&shares, &["nan", "-1", "1e30", "1.001", "x"]),
            (&finite, &["nan", "inf", "1e39", "x"]),
            (&others[..5], &["nan", "1.5.", "x"]),
            (&others[5..], &["a.safetensors:nan", "a.safetensors:inf", ""]),
        ] {
            for (option, value) in options.iter().flat_map(|option| values.iter().map(move |value| (option, value))) {
                let message = refused(&[option, value]);
                assert!(message.contains(&format!("'{option}'")) && !message.contains("invalid digit"), "{message}");
            }
        }
    }

    // Seen red: --mask without -i let through.
    #[test]
    fn options_that_need_others_say_which() {
        for (args, part) in [
            (&["--strength", "0.5"][..], "needs an init image: give one with -i"),
            (&["--mask", "m.png"], "needs an init image to repaint: give one with -i"),
            (&["--mask-crop", "32"], "needs a mask"),
            (&["--hires-strength", "0.5"], "needs --hires"),
            (&["--hires-upscaler", "latent"], "needs --hires"),
            (&["--hires", "1"], "above 1"),
            (&["--hires", "2", "-i", "a.png"], "from a prompt alone"),
            (&["--hires", "2", "--save-latents", "a.safetensors"], "two sizes"),
            (&["--control-net", "c.gguf"], "--control-image"),
            (&["--control-image", "c.png"], "--control-net"),
            (&["--control-strength", "1"], "needs --control-net"),
            (&["--control-net", "a", "--control-net", "b", "--control-image", "c"], "--control-image"),
            (&["--control-net", "a", "--control-image", "c", "--control-image", "d"], "--control-net"),
            (
                &[
                    "--control-net",
                    "a",
                    "--control-net",
                    "b",
                    "--control-image",
                    "c",
                    "--control-image",
                    "d",
                    "--control-strength",
                    "1",
                ],
                "for each --control-net",
            ),
            (&["--ip-adapter", "a", "--clip-vision", "e"], "--ip-adapter-image"),
            (&["--ip-adapter", "a", "--ip-adapter-image", "c"], "--clip-vision"),
            (&["--clip-vision", "e"], "needs --ip-adapter"),
            (&["--ip-adapter-image", "c"], "need an IP-Adapter"),
            (&["--ip-adapter-strength", "1"], "need an IP-Adapter"),
            (&["--preview-method", "vae"], "needs --preview"),
            (&["--preview", "a.png", "--preview-method", "taesd"], "needs --taesd"),
            (&["--preview", "a.png", "--preview-method", "tiny"], "there are proj, taesd and vae"),
            (&["--preview", "a.jpg"], "ending in .png"),
            (&["--save-latents", "a"], ".safetensors"),
            (&["--latents", "a.npy"], "name a .safetensors file"),
            (&["--rng", "gpu"], "there are nijimi, cpu and cuda"),
            (&["--type", "q5_1"], "there are f32, f16"),
            (&["--memory-limit", "much"], "4G"),
        ] {
            assert!(refused(args).contains(part), "{args:?}: {}", refused(args));
        }
        let cli = read(&["--lora", "a.safetensors:0.8", "--lora", "b.safetensors", "-i", "a.png", "--mask", "m.png"]);
        assert_eq!(cli.text.lora.iter().map(|lora| lora.strength).collect::<Vec<_>>(), [0.8, 1.0]);
        let two = ["--control-net", "a", "--control-image", "c", "--control-net", "b", "--control-image", "d"];
        let read = |strengths: &[&str]| read(&[&two[..], strengths].concat()).text.controls;
        let of = |network: &str, image: &str, strength| ControlFiles {
            network: network.into(),
            image: image.into(),
            strength,
        };
        assert_eq!(read(&[]), [of("a", "c", 1.0), of("b", "d", 1.0)]);
        let strengths = ["--control-strength", "0.5", "--control-strength", "0.25"];
        assert_eq!(read(&strengths), [of("a", "c", 0.5), of("b", "d", 0.25)]);
    }

    // Seen red with a strength of 1 whatever is asked.
    #[test]
    fn an_image_prompt() {
        let files = ["--ip-adapter", "a", "--clip-vision", "e", "--ip-adapter-image", "c", "--ip-adapter-image", "d"];
        let of = |strength| ImagePromptFiles {
            adapter: "a".into(),
            encoder: "e".into(),
            images: vec!["c".into(), "d".into()],
            strength,
        };
        assert_eq!(read(&files).text.image_prompt, Some(of(1.0)));
        let half = [&files[..], &["--ip-adapter-strength", "0.5"]].concat();
        assert_eq!(read(&half).text.image_prompt, Some(of(0.5)));
        let many = [&files[..], &["--ip-adapter-image", "c"].repeat(15)].concat();
        assert!(refused(&many).contains("more than 16 times"));
        assert!(refused(&["plan", "-m", "m", "--ip-adapter", "a"]).contains("--clip-vision"));
        assert!(refused(&["plan", "-m", "m", "--clip-vision", "a"]).contains("--ip-adapter"));
    }

    #[test]
    fn plans_need_a_model() {
        let Ok(Command::Plan(plan)) = command(&["plan", "-m", "a.gguf", "-W", "1024", "--device", "1"]) else {
            panic!()
        };
        assert_eq!((plan.width, plan.batch, plan.place()), (Some(1024), 1, Place::Gpu(Choice::Index(1))));
        assert!(refused(&["plan"]).contains("--model"));
        assert!(refused(&["plan", "-m", "a.gguf", "-b", "0"]).contains("'-b'"));
        assert!(
            refused(&["plan", "-m", "a.gguf", "--backend", "cpu", "--device", "0"]).contains("--device is for GPUs")
        );
    }

    // Seen red: --preview forgotten.
    #[test]
    fn models_that_do_not_read_prompts_refuse_what_is_about_them() {
        for args in [
            &["-n", "x"][..],
            &["-W", "8"],
            &["-H", "8"],
            &["--cfg-rescale", "1"],
            &["--cache", "2"],
            &["--img-cfg-scale", "1"],
            &["-i", "a.png"],
            &["--hires", "2"],
            &["--lora", "a.safetensors"],
            &["--embedding", "a.safetensors"],
            &["--control-net", "a", "--control-image", "a.png"],
            &["--ip-adapter", "a", "--clip-vision", "a", "--ip-adapter-image", "a.png"],
            &["--taesd", "a"],
            &["--vae-tiling"],
            &["--clip-skip", "2"],
            &["--rng", "cpu"],
            &["--latents", "a.safetensors"],
            &["--save-latents", "a.safetensors"],
            &["--preview", "a.png"],
            &["--type", "q8_0"],
            &["--tokenizer", "a"],
            &["--memory-limit", "1G"],
            &["--stay-resident"],
        ] {
            let refused = read(args).text.refuse(false);
            assert!(matches!(&refused, Err(Fault::Usage(m)) if m.starts_with(args[0])), "{args:?}: {refused:?}");
        }
        assert_eq!(read(&["7"]).text.refuse(false), Ok(()));
        // How a checkpoint is read.
        assert_eq!(read(&["-m", "a", "--type", "q8_0", "--variant", "fp16"]).text.refuse(true), Ok(()));
    }
}
