//! What people are used to from other programs, as argh takes it.

use argh::{ArgsInfo, FlagInfo, FlagInfoKind, Optionality};

/// The arguments of the command `T` with `--name=value` and `-b4` apart, and of an option that is given several times the last
/// alone, unless it may be repeated. What follows an option is its value, whatever it begins with.
pub fn usual<T: ArgsInfo>(args: &[&str]) -> Vec<String> {
    let info = T::get_args_info();
    let option = |name: &str| {
        let takes_value = |flag: &&FlagInfo<'_>| matches!(flag.kind, FlagInfoKind::Option { .. });
        let is = |flag: &&FlagInfo<'_>| flag.long == name || flag.short.is_some_and(|c| name == format!("-{c}"));
        info.flags.iter().filter(takes_value).find(is)
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
    use super::super::{Cli, Convert, Density, Devices, Inspect, Plan, SelfTest};
    use super::*;

    fn cli(args: &[&str]) -> Vec<String> {
        usual::<Cli>(args)
    }

    // Seen red: a prompt taken apart at its equals sign; the first one kept; --lora kept once.
    #[test]
    fn as_other_programs_have_it() {
        assert_eq!(
            cli(&["--steps=2", "-b4", "a=b", "--prompt=x=y"]),
            ["--steps", "2", "-b", "4", "a=b", "--prompt", "x=y"]
        );
        assert_eq!(cli(&["-s", "1", "-v", "--seed=2", "-s", "-1"]), ["-v", "-s", "-1"]);
        assert_eq!(cli(&["-n", "a", "cat", "--negative-prompt", "-n"]), ["cat", "--negative-prompt", "-n"]);
        assert_eq!(cli(&["--lora", "a", "--lora=b"]), ["--lora", "a", "--lora", "b"]);
        assert_eq!(cli(&["-n", "--steps=2", "-p=x", "-v=1"]), ["-n", "--steps=2", "-p=x", "-v=1"]);
        assert_eq!(cli(&["-s", "1", "--", "-s", "--steps=2"]), ["-s", "1", "--", "-s", "--steps=2"]);
        assert_eq!(cli(&["--unknown=1", "-7", "-s"]), ["--unknown=1", "-7", "-s"]);
        assert_eq!(usual::<Convert>(&["--tensor-type=a=f16", "--tensor-type=b=f16"]).len(), 4);
    }

    /// Of every command, every option takes its value in both forms.
    #[test]
    fn every_option_of_every_command() {
        fn all<T: ArgsInfo>() {
            for flag in T::get_args_info().flags.iter().filter(|f| matches!(f.kind, FlagInfoKind::Option { .. })) {
                assert_eq!(usual::<T>(&[&format!("{}=-x", flag.long)]), [flag.long, "-x"]);
                let twice = usual::<T>(&[flag.long, "a", flag.long, "b"]);
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
    }
}
