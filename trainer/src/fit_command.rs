//! Commands that fit a system. argh cannot put one structure's options into another's, so what they have in common is
//! written once in this macro: `out;` in place of an option stands for the option of that name, with its type and help.

/// Declares a command's options, in the order of its help: shared ones by their name, with what differs in brackets behind
/// it, and others as argh has them. All commands have `out`, `report`, `epochs`, `dtype`, `checkpoints` and `max_steps`,
/// from which `fit_options` is made.
macro_rules! fit_command {
    ($(#[$($doc:tt)*])+ $name:ident $command:tt { $($options:tt)* }) => {
        fit_command! { @ [$(#[$($doc)*])+ $name $command fit] {} $($options)* }
    };
    // Without `fit_options`, of a command that has other options than those.
    (plain $(#[$($doc:tt)*])+ $name:ident $command:tt { $($options:tt)* }) => {
        fit_command! { @ [$(#[$($doc)*])+ $name $command] {} $($options)* }
    };

    // A shared option: what argh is told, its help, its name and type. argh looks at the words of a type, so it is no `ty`.
    (@ $c:tt { $($f:tt)* } + [$($argh:tt)*] [$($help:tt)*] $name:ident:
        $($type:ident)::+ $(<$($of:tt)::+>)?; $($rest:tt)*) => { fit_command! { @ $c {
            $($f)* $(#[doc = $help])* #[argh($($argh)*)] pub(crate) $name: $($type)::+ $(<$($of)::+>)?,
        } $($rest)* } };
    // One of the command's own.
    (@ $c:tt { $($f:tt)* } $(#[$($a:tt)*])+ $name:ident: $type:ident $(<$of:tt>)?, $($rest:tt)*) => {
        fit_command! { @ $c { $($f)* $(#[$($a)*])+ pub(crate) $name: $type $(<$of>)?, } $($rest)* }
    };

    (@ $c:tt $f:tt idx; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option] [" folder with IDX files: MNIST, Fashion-MNIST, or your own in that form"] data: std::path::PathBuf;
        $($rest)* } };
    (@ $c:tt $f:tt out; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option] [" the weight file to write"] out: std::path::PathBuf; $($rest)* } };
    (@ $c:tt $f:tt table; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option] [" the table: numbers in lines, divided by commas, tabs, semicolons or spaces"] data: std::path::PathBuf;
        $($rest)* } };
    (@ $c:tt $f:tt columns; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option] [" the columns, by name or number from 1, with commas (default: all)"] columns: Option<String>;
        + [option] [" other names for the columns, with commas"] names: Option<String>; $($rest)* } };
    (@ $c:tt $f:tt report; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option] [" folder of the report (default: the weight file's name without its extension, with -report)"]
        report: Option<std::path::PathBuf>; $($rest)* } };
    (@ $c:tt $f:tt report($what:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option] [" folder for " $what " (default: the weight file's name without its extension, with -report)"]
        report: Option<std::path::PathBuf>; $($rest)* } };
    (@ $c:tt $f:tt epochs($what:tt, $n:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::times), default = $n] [" " $what " (default " $n ")"] epochs: u64; $($rest)* } };
    (@ $c:tt $f:tt batch($n:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::count), default = $n] [" pictures in a batch (default " $n ")"] batch: usize; $($rest)* } };
    (@ $c:tt $f:tt lr($what:tt, $n:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::positive), default = $n] [" " $what " (default " $n ")"] lr: f64; $($rest)* } };
    (@ $c:tt $f:tt warmup($n:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::or_none), default = $n] [" steps over which the learning rate rises from 0 (default " $n ")"] warmup: u64;
        $($rest)* } };
    (@ $c:tt $f:tt clip; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::positive)] [" largest norm of the gradients; longer ones are scaled down (default: no limit)"] clip: Option<f64>;
        $($rest)* } };
    (@ $c:tt $f:tt clip($said:tt, $n:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::positive), default = $n] [" largest norm of the gradients; longer ones are scaled down (default " $said ")"]
        clip: f64; $($rest)* } };
    (@ $c:tt $f:tt ema($said:tt, $n:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::decay), default = $n]
        [" decay of the averaged weights that are exported; 0 exports the raw ones (default " $said ")"] ema: f64;
        $($rest)* } };
    (@ $c:tt $f:tt dtype($more:tt, $said:tt, $type:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, long = "type", from_str_fn(crate::launch::dtype), default = $type]
        [" type of the exported weights: f32, f16, q8_0, q6_k, q5_k, q4_k or q4_0" $more " (default " $said ")"]
        dtype: nijimi_runtime::quant::DType; $($rest)* } };
    (@ $c:tt $f:tt labels; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option] [" names of the labels in their order, with commas (default: 0,1,2,...)"] labels: Option<String>;
        $($rest)* } };
    (@ $c:tt $f:tt name($of:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option] [" name of the model in the file (default: " $of "'s)"] name: Option<String>; $($rest)* } };
    (@ $c:tt $f:tt betas; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::variance), default = "1e-4"] [" variance of the first noise level (default 1e-4)"] beta_start: f64;
        + [option, from_str_fn(nijimi_cli::number::variance), default = "0.02"] [" variance of the last noise level (default 0.02)"] beta_end: f64; $($rest)* } };
    (@ $c:tt $f:tt seed; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::seed), default = "0"] [" keys everything random, -1 for a random one (default 0)"] seed: u64; $($rest)* } };
    // Text, since it is the device that knows which it has.
    (@ $c:tt $f:tt precision($of:tt); $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, default = "String::from(\"f32\")"]
        [" precision of the " $of "products: f32, or bf16 on CPUs that have it (default f32)"] precision: String;
        $($rest)* } };
    (@ $c:tt $f:tt checkpoints; $($rest:tt)*) => { fit_command! { @ $c $f
        + [switch] [" go on from the checkpoint in the report folder"] resume: bool;
        + [option, from_str_fn(nijimi_cli::number::minutes), default = "std::time::Duration::from_secs(300)"]
        [" minutes between checkpoints (default 5)"] checkpoint_minutes: std::time::Duration; $($rest)* } };
    (@ $c:tt $f:tt max_steps; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, from_str_fn(nijimi_cli::number::or_none)] [" stop after this many steps"] max_steps: Option<u64>; $($rest)* } };
    (@ $c:tt $f:tt world; $($rest:tt)*) => { fit_command! { @ $c $f
        + [switch] [" train together with the other processes that mpirun has started, each its share of every batch"
        " (see docs/world.md)"] world: bool; $($rest)* } };
    (@ $c:tt $f:tt device; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, default = "crate::launch::Device::Cpu"]
        [" what to train on: cpu, or cuda in a build for it (default cpu)"] device: crate::launch::Device; $($rest)* } };
    (@ $c:tt $f:tt threads; $($rest:tt)*) => { fit_command! { @ $c $f
        + [option, short = 't', from_str_fn(nijimi_cli::number::threads)] [" threads (default: all cores)"] threads: Option<usize>; $($rest)* } };

    (@ [$(#[$($doc:tt)*])+ $name:ident $command:tt] { $($fields:tt)* }) => {
        $(#[$($doc)*])+
        #[derive(argh::FromArgs, argh::ArgsInfo)]
        #[argh(subcommand, name = $command)]
        pub struct $name { $($fields)* }
    };
    (@ [$(#[$($doc:tt)*])+ $name:ident $command:tt fit] { $($fields:tt)* }) => {
        fit_command! { @ [$(#[$($doc)*])+ $name $command] { $($fields)* } }

        impl $crate::fit_command::FitCommand for $name {
            fn fit_options(
                &self,
                adam: $crate::optim::AdamW,
                ema: Option<f64>,
                fingerprint: $crate::fingerprint::Fingerprint,
            ) -> $crate::fit::FitOptions {
                $crate::fit::FitOptions {
                    out: self.out.clone(),
                    dtype: self.dtype,
                    report: $crate::launch::report_folder(self.report.as_ref(), &self.out),
                    epochs: self.epochs,
                    max_steps: self.max_steps,
                    fingerprint: adam.named(fingerprint).maybe("--ema", ema),
                    adam,
                    ema,
                    checkpoint_every: self.checkpoint_minutes,
                    keep: 0,
                    resume: self.resume,
                    command: $crate::launch::command_line(),
                }
            }

            fn prove(&self, share: $crate::world::Share, inputs: &[nijimi_cli::target::Named<'_>]) -> $crate::error::Result<()> {
                // The first process writes for all.
                if share.rank == 0 {
                    $crate::target::prove_run(&self.out, self.report.as_ref(), inputs)?;
                }
                Ok(())
            }
        }
    };
}

pub(crate) use fit_command;

/// A command whose options say how to fit.
pub(crate) trait FitCommand {
    /// What they say, with the optimizer, the decay of averaged weights, and all else that shapes the result: not `epochs`,
    /// which may grow from one run to the next.
    fn fit_options(
        &self,
        adam: crate::optim::AdamW,
        ema: Option<f64>,
        fingerprint: crate::fingerprint::Fingerprint,
    ) -> crate::fit::FitOptions;

    /// That the weight file and the report can be written, by the process that writes them.
    ///
    /// # Errors
    /// As of [`crate::target::prove_run`].
    fn prove(&self, share: crate::world::Share, inputs: &[nijimi_cli::target::Named<'_>]) -> crate::error::Result<()>;
}
