//! What people are used to from other programs, as argh takes it.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

/// The arguments of a command, or of one of its subcommands, with `--name=value` and `-b4` apart, and of an option that is given several times the last
/// alone, unless it may be repeated. What follows an option is its value, whatever it begins with.
pub fn usual(command: &CommandInfoWithArgs, args: &[&str]) -> Vec<String> {
    if let Some((name, rest)) = args.split_first()
        && let Some(inner) = command.commands.iter().find(|inner| inner.name == *name)
    {
        return [name.to_string()].into_iter().chain(usual(&inner.command, rest)).collect();
    }
    let option = |name: &str| {
        let takes_value = |flag: &&FlagInfo<'_>| matches!(flag.kind, FlagInfoKind::Option { .. });
        let is = |flag: &&FlagInfo<'_>| flag.long == name || flag.short.is_some_and(|c| name == format!("-{c}"));
        command.flags.iter().filter(takes_value).find(is)
    };
    // Each with the long name of its option.
    let mut kept: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut args = args.iter().copied();
    while let Some(arg) = args.next() {
        if arg == "--" {
            kept.push(("", [arg].into_iter().chain(args).collect()));
            break;
        }
        let (name, value) = match (arg.starts_with("--"), arg.split_once('=')) {
            (true, Some((name, value))) => (name, Some(value)),
            _ => apart(arg).map_or((arg, None), |(name, value)| (name, Some(value))),
        };
        let Some(flag) = option(name) else {
            kept.push(("", vec![arg]));
            continue;
        };
        if !matches!(flag.optionality, Optionality::Repeating | Optionality::Greedy) {
            kept.retain(|(long, _)| *long != flag.long);
        }
        kept.push((flag.long, [name].into_iter().chain(value.or_else(|| args.next())).collect()));
    }
    kept.into_iter().flat_map(|(_, args)| args).map(str::to_owned).collect()
}

/// A letter and its number.
fn apart(arg: &str) -> Option<(&str, &str)> {
    let (name, number) = arg.split_at_checked(2).filter(|(name, _)| name.starts_with('-'))?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some((name, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use argh::{ArgsInfo, FromArgs};

    /// A program.
    #[derive(FromArgs, ArgsInfo)]
    struct Program {
        /// how many
        #[argh(option, short = 's')]
        _seed: Option<u64>,
        /// what not
        #[argh(option, short = 'n')]
        _negative_prompt: Option<String>,
        /// how often
        #[argh(option)]
        _steps: Option<u64>,
        /// what else
        #[argh(option)]
        _lora: Vec<String>,
        /// how many at once
        #[argh(option, short = 'b')]
        _batch: Option<u64>,
        /// more words
        #[argh(switch, short = 'v')]
        _verbose: bool,
        #[argh(subcommand)]
        _inner: Option<Verb>,
    }

    #[derive(FromArgs, ArgsInfo)]
    #[argh(subcommand)]
    enum Verb {
        Inner(#[allow(dead_code, reason = "argh fills it")] Inner),
    }

    /// A command of its own.
    #[derive(FromArgs, ArgsInfo)]
    #[argh(subcommand, name = "inner")]
    struct Inner {
        /// a rate
        #[argh(option)]
        _lr: Option<f64>,
    }

    fn program(args: &[&str]) -> Vec<String> {
        usual(&Program::get_args_info(), args)
    }

    // Seen red: a prompt taken apart at its equals sign; the first one kept; --lora kept once; a subcommand not looked into.
    #[test]
    fn as_other_programs_have_it() {
        assert_eq!(
            program(&["--steps=2", "-b4", "a=b", "--lora=x=y"]),
            ["--steps", "2", "-b", "4", "a=b", "--lora", "x=y"]
        );
        assert_eq!(program(&["-s", "1", "-v", "--seed=2", "-s", "-1"]), ["-v", "-s", "-1"]);
        assert_eq!(program(&["-n", "a", "cat", "--negative-prompt", "-n"]), ["cat", "--negative-prompt", "-n"]);
        assert_eq!(program(&["--lora", "a", "--lora=b"]), ["--lora", "a", "--lora", "b"]);
        assert_eq!(program(&["-n", "--steps=2", "-p=x", "-v=1"]), ["-n", "--steps=2", "-p=x", "-v=1"]);
        assert_eq!(program(&["-s", "1", "--", "-s", "--steps=2"]), ["-s", "1", "--", "-s", "--steps=2"]);
        assert_eq!(program(&["--unknown=1", "-7", "-s"]), ["--unknown=1", "-7", "-s"]);
        assert_eq!(program(&["inner", "--lr=1", "--lr", "2", "--steps=2"]), ["inner", "--lr", "2", "--steps=2"]);
    }
}
