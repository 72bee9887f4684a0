//! Samples of a weight file, drawn by the runtime: what is judged is what users get.
use crate::error::{Error, Result};
use crate::say;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{Device, Diffusion, Info, Request, Session, SessionOptions, batch_seeds};
use nijimi_runtime::sampler::{Calls, Solver};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

/// How samples are drawn.
#[derive(Clone, Debug)]
pub struct SampleSettings {
    /// Seed of the first picture; the i-th has `seed + i`.
    pub seed: u64,
    /// Sampler steps.
    pub steps: usize,
    /// Strength of classifier-free guidance; 1 is none.
    pub guidance_scale: f32,
    /// The solver.
    pub solver: Solver,
    /// Pictures drawn at once; no picture depends on it.
    pub batch: usize,
    /// Threads; 0 for all cores.
    pub threads: usize,
}

/// The solver of that name, with its usual settings.
///
/// # Errors
/// Names the solvers there are.
pub fn solver(name: &str) -> Result<Solver> {
    let unknown = || Error::Usage(format!("--sampling-method {name}: there are {}", Solver::NAMES));
    Solver::from_name(name).ok_or_else(unknown)
}

/// A weight file, loaded.
pub struct Model(Diffusion);

impl Model {
    /// Loads a file.
    ///
    /// # Errors
    /// If the file cannot be read, or is no model.
    pub fn open(path: &Path) -> Result<Self> {
        let mapped = MappedFile::open(path).map_err(nijimi_runtime::Error::from)?;
        Self::of(mapped.bytes(), path)
    }

    /// Loads the bytes of a file that is called `path` in errors.
    ///
    /// # Errors
    /// If they are no model.
    pub fn of(bytes: &[u8], path: &Path) -> Result<Self> {
        let load = || Diffusion::load(&File::new_checked(bytes)?, &Device::Cpu);
        // The runtime knows bytes only; the user wants to know which file.
        load().map(Self).map_err(|e| Error::data(path, e.to_string()))
    }

    /// Width, height and channels of its pictures.
    pub fn size(&self) -> (usize, usize, usize) {
        let network = &self.0.info().network;
        let [height, width] = network.size();
        (width, height, network.channels())
    }

    /// What the file says of the model.
    pub fn info(&self) -> &Info {
        self.0.info()
    }

    /// A session of the runtime's.
    ///
    /// # Errors
    /// As of the runtime's.
    pub fn session(&self, options: &SessionOptions) -> Result<Session> {
        Ok(self.0.session(options)?)
    }

    /// The calls of a run over the model's noise levels.
    ///
    /// # Errors
    /// As of the runtime's.
    pub fn calls(&self, solver: Solver, steps: usize) -> Result<Calls> {
        Ok(self.0.calls(solver, steps)?)
    }

    /// The labels' names; none for an unconditional model.
    pub fn labels(&self) -> &[String] {
        &self.0.info().labels
    }

    /// Draws one picture a label: `(n, height, width, channels)`, mapped from the model's range to 0..1 and clipped,
    /// as a saved picture is.
    ///
    /// # Errors
    /// Settings that the model refuses, or a picture that is not finite.
    pub fn sample(&self, labels: &[Option<u32>], settings: &SampleSettings) -> Result<Vec<f32>> {
        let batch = settings.batch.min(labels.len()).max(1);
        let guidance = settings.guidance_scale != 1.0;
        let calls = self.0.calls(settings.solver, settings.steps)?;
        let options = SessionOptions { batch, guidance, threads: settings.threads, ..Default::default() };
        let mut session = self.0.session(&options)?;
        let [low, high] = self.0.info().range;
        let mut pictures = Vec::new();
        let (terminal, begun) = (std::io::stderr().is_terminal(), Instant::now());
        for (i, labels) in labels.chunks(batch).enumerate() {
            let seeds = batch_seeds(settings.seed.wrapping_add((i * batch) as u64), labels.len());
            let request = Request { labels, seeds: &seeds, calls: &calls, guidance_scale: settings.guidance_scale };
            let mut run = session.run(&request)?;
            while let Some(step) = run.step()? {
                if terminal {
                    let seconds = begun.elapsed().as_secs_f64();
                    say::err(format_args!(
                        "\r\x1b[K{} pictures, step {}/{}, {seconds:.0} s",
                        i * batch,
                        step.index + 1,
                        step.total
                    ));
                    _ = std::io::stderr().flush();
                }
            }
            pictures.extend(run.pictures()?.iter().map(|v| ((v - low) / (high - low)).clamp(0.0, 1.0)));
        }
        if terminal {
            say::err(format_args!("\r\x1b[K"));
        }
        Ok(pictures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nijimi_runtime::gguf::{MetaValue, Writer};
    use nijimi_runtime::quant::DType;
    use nijimi_runtime::raw::nn::BookUnet;
    use nijimi_runtime::raw::rng::normal_fill;

    /// A model of 8x8 pictures in [-1, 3], with three labels and random weights.
    fn tiny() -> Vec<u8> {
        let channels = vec![4, 8];
        let network = BookUnet { in_channels: 1, channels, time_dim: 12, label_count: 3, height: 8, width: 8 };
        let labels = ["a", "b", "c"].map(String::from).to_vec();
        let meta: [(&str, MetaValue); 18] = [
            ("general.architecture", "nijimi".into()),
            ("nijimi.format_version", 1u32.into()),
            ("nijimi.system", "ddpm".into()),
            ("nijimi.network", "book-unet".into()),
            ("nijimi.unet.in_channels", 1u32.into()),
            ("nijimi.unet.channels", MetaValue::U32s(vec![4, 8])),
            ("nijimi.unet.time_dim", 12u32.into()),
            ("nijimi.unet.label_count", 3u32.into()),
            ("nijimi.image.width", 8u32.into()),
            ("nijimi.image.height", 8u32.into()),
            ("nijimi.image.channels", 1u32.into()),
            ("nijimi.image.range", MetaValue::F32s(vec![-1.0, 3.0])),
            ("nijimi.labels", MetaValue::Strs(labels)),
            ("nijimi.schedule.kind", "linear".into()),
            ("nijimi.schedule.steps", 100u32.into()),
            ("nijimi.schedule.beta_start", 1e-4f64.into()),
            ("nijimi.schedule.beta_end", 0.02f64.into()),
            ("nijimi.prediction_type", "epsilon".into()),
        ];
        let mut writer = Writer::new();
        for (key, value) in meta {
            writer.meta(key, value).expect(key);
        }
        writer.meta("nijimi.first_timestep", 1u32).expect("a number");
        for (i, weight) in network.graph(1).expect("a graph").weights().iter().enumerate() {
            let mut values = vec![0.0; weight.kind.elements()];
            normal_fill(77, i as u32, &mut values);
            values.iter_mut().for_each(|v| *v *= 0.2);
            writer.tensor(&weight.name, &weight.kind.row_major(), DType::F32, &values).expect("a tensor");
        }
        writer.finish()
    }

    fn with_file<R>(name: &str, bytes: &[u8], run: impl FnOnce(&Path) -> R) -> R {
        let path = std::env::temp_dir().join(format!("nijimi-{name}-{}.gguf", std::process::id()));
        std::fs::write(&path, bytes).expect("writing");
        let result = run(&path);
        std::fs::remove_file(&path).expect("removal");
        result
    }

    /// Seen red: seeds that start anew with each batch; the range left as the model's.
    #[test]
    fn pictures_are_clipped_to_the_unit_and_do_not_depend_on_the_batch() {
        let model = with_file("tiny", &tiny(), |path| Model::open(path).expect("a model"));
        assert_eq!((model.size(), model.labels().len()), ((8, 8, 1), 3));
        let labels = [Some(0), Some(1), Some(2), None, Some(1)];
        let settings = |batch, seed| {
            let solver = solver("ddim").expect("a solver");
            SampleSettings { seed, steps: 4, guidance_scale: 2.0, solver, batch, threads: 1 }
        };
        let all = model.sample(&labels, &settings(5, 10)).expect("pictures");
        assert_eq!(all.len(), 5 * 64);
        assert_eq!(all, model.sample(&labels, &settings(2, 10)).expect("pictures"));
        assert_eq!(all[64..], model.sample(&labels[1..], &settings(3, 11)).expect("pictures"));
        // Noise of variance about 1 around 0 is at (0 + 1) / 4 of the range.
        let mean = all.iter().sum::<f32>() / all.len() as f32;
        assert!(all.iter().all(|v| (0.0..=1.0).contains(v)) && (0.1..0.45).contains(&mean), "{mean}");
    }

    /// Seen red: the error of the runtime handed on without the file's name.
    #[test]
    fn an_unknown_sampler_and_a_file_that_is_no_model_are_refused_by_name() {
        assert!(solver("euler_b").unwrap_err().to_string().contains("euler_b"));
        let error = with_file("no-model", b"GGUF but no more", |path| Model::open(path).map(|_| ()).unwrap_err());
        assert!(error.to_string().contains("nijimi-no-model"), "{error}");
    }
}
