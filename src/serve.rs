//! `nijimi serve`: the server, with the program's models and devices.

use crate::cli::Serve;
use crate::draw::backend;
use crate::draw::text_to_image::planning;
use crate::fault::Fault;
use crate::file::default_model::BuiltIn;
use crate::file::source::{Conversion, Role, Source};
use crate::memory;
use nijimi_cli::print::print;
use nijimi_import::stem;
use nijimi_runtime::model::Device;
use nijimi_serve::{Config, Limits, ModelFile, ServeError, Server};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Answers until it is told to stop.
pub fn run(options: &Serve) -> Result<(), Fault> {
    let token = options.token_file.as_deref().map(token).transpose()?;
    let host = host(&options.host)?;
    nijimi_serve::check_access(host, token.as_deref(), options.insecure).map_err(fault)?;
    // What one part of a model gives back, the next one takes.
    memory::give_back();
    let gpu = backend::device(options.place())?;
    let mut config = Config::new(models(&options.model)?);
    config.memory = planning::allowed(options.memory_limit, gpu.as_ref());
    config.device = gpu.map_or(Device::Cpu, Device::Gpu);
    (config.host, config.port, config.token, config.insecure) = (host, options.port, token, options.insecure);
    (config.threads, config.grace) = (options.threads, Duration::from_secs(options.grace as u64));
    let Limits { queue, batch, pictures, steps, side, .. } = &mut config.limits;
    (*queue, *batch, *pictures) = (options.queue, options.max_batch, options.max_pictures);
    (*steps, *side) = (options.max_steps, options.max_side);
    let server = Server::bind(config).map_err(fault)?;
    print(&format!("nijimi serves at http://{}\n", server.address()))?;
    server.run().map_err(fault)
}

/// Those that are named, then those that are built in.
fn models(paths: &[std::path::PathBuf]) -> Result<Vec<ModelFile>, Fault> {
    let mut models = Vec::new();
    for path in paths {
        let name = BuiltIn::named(path).map_or_else(|| stem(path), |model| model.name.to_owned());
        let source = Source::open_or_convert(Some(path), Role::Model, Conversion::default())?;
        models.push(ModelFile { name, stored: source.stored() });
    }
    for model in BuiltIn::ALL {
        if !models.iter().any(|known| known.name == model.name) {
            models.push(ModelFile { name: model.name.into(), stored: std::sync::Arc::new(model.bytes) });
        }
    }
    Ok(models)
}

fn token(path: &Path) -> Result<String, Fault> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| Fault::Input(format!("--token-file {}: it cannot be read: {e}", path.display())))?;
    Ok(text.trim().to_owned())
}

/// A name is none: what it means may change.
fn host(text: &str) -> Result<IpAddr, Fault> {
    let text = if text == "localhost" { "127.0.0.1" } else { text };
    let wrong = || Fault::Usage(format!("--host {text}: give an address, such as 127.0.0.1, ::1 or 0.0.0.0"));
    text.trim_matches(['[', ']']).parse().map_err(|_| wrong())
}

fn fault(e: ServeError) -> Fault {
    let message = e.to_string();
    match e {
        ServeError::Unsafe(_) => Fault::Usage(message),
        ServeError::Token(_) => Fault::Input(format!("--token-file: {message}")),
        ServeError::Model { .. } => Fault::Input(message),
        ServeError::Bind { .. } => Fault::Internal(format!("{message}: take another --port, or --host")),
        _ => Fault::Internal(message),
    }
}
