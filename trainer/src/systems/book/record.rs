//! What a rung left: kept in its folder, so that a ladder can be resumed and listed.
use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;

/// How far a rung came.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum State {
    Begun,
    Done,
    /// With what went wrong.
    Failed(String),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Record {
    pub fingerprint: String,
    pub state: State,
    pub seconds: f64,
    /// Names of the weight files in the folder.
    pub weights: Vec<String>,
    /// The command lines that were run.
    pub commands: Vec<String>,
}

const NAME: &str = "rung.json";

impl Record {
    pub fn save(&self, folder: &Path) -> Result<()> {
        let (state, fault) = match &self.state {
            State::Begun => ("begun", None),
            State::Done => ("done", None),
            State::Failed(what) => ("failed", Some(what)),
        };
        let record = json!({
            "fingerprint": self.fingerprint, "state": state, "fault": fault, "seconds": self.seconds,
            "weights": self.weights, "commands": self.commands,
        });
        write_atomic(&folder.join(NAME), format!("{record:#}\n").as_bytes())
    }

    /// The record of a folder; `None` if there is none.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(Error::io(&path))?,
        };
        let damaged = || Error::data(&path, "not a record of a rung, or damaged; remove its folder to start anew");
        let record: Value = serde_json::from_str(&text).map_err(|_| damaged())?;
        let texts = |key: &str| -> Vec<String> {
            let list = record[key].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        let state = match record["state"].as_str() {
            Some("begun") => State::Begun,
            Some("done") => State::Done,
            Some("failed") => State::Failed(record["fault"].as_str().unwrap_or_default().to_owned()),
            _ => return Err(damaged()),
        };
        let fingerprint = record["fingerprint"].as_str().ok_or_else(damaged)?.to_owned();
        let seconds = record["seconds"].as_f64().unwrap_or(0.0);
        Ok(Some(Self { fingerprint, state, seconds, weights: texts("weights"), commands: texts("commands") }))
    }

    /// Whether all that a done rung has is still there.
    pub fn is_whole(&self, folder: &Path) -> bool {
        let report = [crate::report::PAGE, crate::report::RECORD];
        let mut needed = report.into_iter().chain(self.weights.iter().map(String::as_str));
        needed.all(|name| folder.join(name).is_file())
    }
}
