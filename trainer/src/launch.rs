//! What the commands that fit a system have in common: device, threads, folders, types of weights, and signals.
use crate::error::{Error, Result};
use nijimi_runtime::gguf::{File, Value};
use nijimi_runtime::quant::DType;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What a run computes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// This machine's processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

impl std::str::FromStr for Device {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" if cfg!(feature = "cuda") => Ok(Self::Cuda),
            "cuda" => {
                Err("this build is without CUDA; `cargo build --release -p nijimi-trainer --features cuda` makes one \
                           (see docs/cuda.md)"
                    .into())
            }
            _ => Err("expected cpu or cuda".into()),
        }
    }
}

/// The type of weights that `--type` names.
///
/// # Errors
/// Names the types there are.
pub fn dtype(name: &str) -> std::result::Result<DType, String> {
    let known = DType::from_name(name).filter(|dtype| *dtype != DType::BF16);
    known.ok_or_else(|| "expected f32, f16, q8_0, q6_k, q5_k, q4_k or q4_0".into())
}

/// Computes on so many threads from here on; `None` is all cores.
///
/// # Errors
/// If the threads were set before.
pub fn threads(count: Option<usize>) -> Result<()> {
    if let Some(threads) = count {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|e| Error::Usage(format!("-t {threads}: {e}")))?;
    }
    Ok(())
}

/// That no option is given beside another that it cannot be obeyed with: option, what for, and whether it is so.
///
/// # Errors
/// Names the first that is.
pub fn obeyed(ignored: &[(&str, &str, bool)]) -> Result<()> {
    match ignored.iter().find(|(.., is)| *is) {
        Some((option, why, _)) => {
            Err(Error::Usage(format!("{option} has no part beside {why}: leave one of them out")))
        }
        None => Ok(()),
    }
}

/// The folder of a run's report: as asked for, or the weight file's name without its extension, with `-report`.
pub fn report_folder(asked: Option<&PathBuf>, out: &Path) -> PathBuf {
    asked.cloned().unwrap_or_else(|| {
        let stem = out.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        out.with_file_name(format!("{stem}-report"))
    })
}

/// The name of a model: as asked for, or that of the data's folder or file.
pub fn model_name(asked: Option<&String>, data: &Path, default: &str) -> String {
    let path = data.canonicalize().unwrap_or_else(|_| data.into());
    let name = asked.cloned().or_else(|| path.file_name().map(|n| n.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| default.into())
}

/// The name of a model of a table: as asked for, or that of the file without its extension, or `default`.
pub fn table_name(asked: Option<&String>, data: Option<&Path>, default: &str) -> String {
    let stem = data.and_then(Path::file_stem).map(|s| s.to_string_lossy().into_owned());
    asked.cloned().or(stem).unwrap_or_else(|| default.into())
}

/// Options whose values are words, not files.
const WORDS: [&str; 6] = ["--name", "--names", "--license", "--labels", "--columns", "--only"];

/// The command line, for a file that is passed on: of files and folders their names, not where they lie on this machine, and
/// without `--resume`, which makes no other file.
pub fn command_line() -> String {
    recorded(std::env::args())
}

fn recorded(args: impl Iterator<Item = String>) -> String {
    let name = |arg: &str| Path::new(arg).file_name().map_or_else(|| arg.into(), |n| n.to_string_lossy().into_owned());
    let kept = |option: &str, value: &str| if WORDS.contains(&option) { value.into() } else { name(value) };
    let (mut line, mut last) = (Vec::new(), String::new());
    for arg in args.filter(|a| a != "--resume") {
        line.push(match arg.split_once('=') {
            Some((option, value)) if option.starts_with("--") => format!("{option}={}", kept(option, value)),
            _ => kept(&last, &arg),
        });
        last = arg;
    }
    line.join(" ")
}

/// The flag that Ctrl-C and SIGTERM set, the same for all runs of a process; a second one ends the process at once.
///
/// # Errors
/// If the system refuses a handler.
pub fn interruptible() -> Result<Arc<AtomicBool>> {
    static STOP: OnceLock<std::result::Result<Arc<AtomicBool>, String>> = OnceLock::new();
    let stop = STOP.get_or_init(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        // Checkpoints appear whole or not at all, so nothing is lost but the steps since.
        let handler = move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        ctrlc::set_handler(handler).map_err(|e| e.to_string())?;
        #[cfg(unix)]
        {
            use signal_hook::{consts, flag};
            // What schedulers, containers and `timeout` send before they kill.
            let twice = flag::register_conditional_shutdown(consts::SIGTERM, 143, stop.clone());
            twice.and_then(|_| flag::register(consts::SIGTERM, stop.clone())).map_err(|e| e.to_string())?;
            // What `mpirun` hands on to all processes.
            #[cfg(feature = "mpi")]
            flag::register(consts::SIGUSR1, stop.clone()).map_err(|e| e.to_string())?;
        }
        Ok(stop)
    });
    stop.clone().map_err(|e| Error::Internal(format!("Ctrl-C cannot be caught: {e}")))
}

/// The names of `count` labels: as listed with commas, or 0, 1, 2, ...
///
/// # Errors
/// If there are not as many names as labels.
pub fn labels(list: Option<&str>, count: usize) -> Result<Vec<String>> {
    let labels: Vec<String> = match list {
        Some(list) => list.split(',').map(|l| l.trim().to_owned()).collect(),
        None => (0..count).map(|i| i.to_string()).collect(),
    };
    if labels.len() == count {
        return Ok(labels);
    }
    Err(Error::Usage(format!("--labels names {} labels, the data has {count}", labels.len())))
}

/// The mean losses of the epochs that a weight file records.
///
/// # Errors
/// If it is none.
pub fn epoch_losses(file: &[u8]) -> Result<Vec<f64>> {
    let file = File::new_checked(file).map_err(nijimi_runtime::Error::from)?;
    Ok(match file.get("nijimi.train.epoch_losses") {
        Some(Value::Array(a)) => {
            a.iter().filter_map(|v| if let Value::F32(v) = v { Some(f64::from(v)) } else { None }).collect()
        }
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with the arguments as they are.
    #[test]
    fn the_command_that_is_kept_tells_no_folders() {
        let line = "/opt/bin/nijimi-train vae --data /home/me/mnist/ --out ../m.gguf --resume --license a/b --lr 1e-3";
        let kept = |line: &str| recorded(line.split(' ').map(str::to_owned));
        assert_eq!(kept(line), "nijimi-train vae --data mnist --out m.gguf --license a/b --lr 1e-3");
        assert_eq!(
            kept("nijimi-train vae --data=/home/me/mnist --license=a/b"),
            "nijimi-train vae --data=mnist --license=a/b"
        );
    }
}
