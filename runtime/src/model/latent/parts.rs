//! A model's networks: all in memory, or each loaded from the file when it is used and given back afterwards.

use super::info::LatentInfo;
use super::stages::{ModelPart, Stage};
use crate::Error;
use crate::gguf::File;
use crate::model::network::{Evaluator, Network};
use crate::model::{Device, Patch, RequestError, SessionOptions, Stored};
use crate::sync::Arc;
use alloc::vec::Vec;

/// Where the weights come from, and where they go.
struct Origin {
    stored: Arc<dyn Stored>,
    device: Device,
    patches: Vec<Arc<dyn Patch>>,
    /// Words that were added: a patch of its own, the last.
    taught: Option<Arc<dyn Patch>>,
    /// Bytes of a network's weights that are in memory while it works, if not all are.
    held: Option<u64>,
}

impl Origin {
    fn patches(&self) -> Vec<Arc<dyn Patch>> {
        self.patches.iter().chain(&self.taught).cloned().collect()
    }
}

/// The networks.
#[derive(Clone)]
pub(super) struct Parts {
    held: Vec<(ModelPart, Arc<Network>)>,
    origin: Option<Arc<Origin>>,
}

/// Loads one.
fn load(
    file: &File<'_>,
    info: &LatentInfo,
    part: ModelPart,
    device: &Device,
    patches: &[Arc<dyn Patch>],
) -> Result<Arc<Network>, Error> {
    let graph = part.smallest(info)?;
    let device = device.for_tables(&graph);
    Ok(Network::load_part(file, &part.prefixes(info), graph, patches, &device)?.into())
}

impl Parts {
    /// Loads all.
    pub fn load(file: &File<'_>, info: &LatentInfo, device: &Device) -> Result<Self, Error> {
        let load = |part| Ok((part, load(file, info, part, device, &[])?));
        Ok(Self { held: ModelPart::all(info).map(load).collect::<Result<_, Error>>()?, origin: None })
    }

    /// Looks at all tensors' names and shapes.
    pub fn check(stored: &dyn Stored, info: &LatentInfo) -> Result<(), Error> {
        let file = stored.file()?;
        for part in ModelPart::all(info) {
            Network::check_part(&file, &part.prefixes(info), part.smallest(info)?)?;
        }
        Ok(())
    }

    /// Loads none.
    pub fn open(
        stored: Arc<dyn Stored>,
        device: Device,
        patches: Vec<Arc<dyn Patch>>,
        taught: Option<Arc<dyn Patch>>,
    ) -> Self {
        let origin = Origin { stored, device, patches, taught, held: None };
        Self { held: Vec::new(), origin: Some(Arc::new(origin)) }
    }

    /// As it is when it is opened, with so many bytes of a network's weights in memory at once.
    pub fn streamed(&self, held: u64) -> Result<Self, Error> {
        let not_of = |of| Err(RequestError::NotOf { what: "streamed weights", of }.into());
        let Some(origin) = &self.origin else { return not_of("models that are opened") };
        if !matches!(origin.device, Device::Cpu) {
            return not_of("the CPU");
        }
        let (stored, device, patches, taught) =
            (origin.stored.clone(), origin.device.clone(), origin.patches.clone(), origin.taught.clone());
        let origin = Origin { stored, device, patches, taught, held: Some(held) };
        Ok(Self { held: Vec::new(), origin: Some(Arc::new(origin)) })
    }

    /// As it is, with other patches: of what is held, the tensors are shared that are changed by the same.
    pub fn with_patches(&self, info: &LatentInfo, patches: Vec<Arc<dyn Patch>>) -> Result<Self, Error> {
        let Some(origin) = &self.origin else {
            return Err(RequestError::NotOf { what: "another strength of LoRAs", of: "models that are opened" }.into());
        };
        let (stored, device, taught) = (origin.stored.clone(), origin.device.clone(), origin.taught.clone());
        let next = Origin { stored, device, patches, taught, held: origin.held };
        let (old, new, file) = (origin.patches(), next.patches(), origin.stored.file()?);
        let again = |(part, network): &(ModelPart, Arc<Network>)| -> Result<_, Error> {
            let graph = part.smallest(info)?;
            let device = origin.device.for_tables(&graph);
            let network = network.repatched(&file, &part.prefixes(info), graph, [&old, &new], &device)?;
            Ok((*part, Arc::new(network)))
        };
        Ok(Self { held: self.held.iter().map(again).collect::<Result<_, _>>()?, origin: Some(Arc::new(next)) })
    }

    /// The network: the one that is held, or one that is loaded now and lives as long as it is used.
    pub fn get(&self, info: &LatentInfo, part: ModelPart) -> Result<Arc<Network>, Error> {
        if let Some((_, network)) = self.held.iter().find(|(held, _)| *held == part) {
            return Ok(network.clone());
        }
        let Some(origin) = &self.origin else { unreachable!("what has no origin holds all parts") };
        if let Some(held) = origin.held {
            let (prefixes, graph) = (part.prefixes(info), part.smallest(info)?);
            return Ok(Network::streamed(&origin.stored, &prefixes, graph, &origin.patches(), held)?.into());
        }
        load(&origin.stored.file()?, info, part, &origin.device, &origin.patches())
    }

    /// What evaluates the graphs of one of the model's stages.
    pub fn evaluator(&self, info: &LatentInfo, stage: Stage, options: &SessionOptions) -> Result<Evaluator, Error> {
        let Some(part) = stage.part else { unreachable!("it has a file of its own") };
        let graphs = stage.graphs.into_iter().map(|(graph, _)| graph).collect();
        self.get(info, part)?.evaluator(graphs, options)
    }

    /// Whether it is held.
    pub fn holds(&self, part: ModelPart) -> bool {
        self.held.iter().any(|(held, _)| *held == part)
    }

    /// As it is, with `parts` loaded and held.
    pub fn hold(&self, info: &LatentInfo, parts: impl IntoIterator<Item = ModelPart>) -> Result<Self, Error> {
        let mut next = self.clone();
        for part in parts {
            if !next.holds(part) {
                next.held.push((part, self.get(info, part)?));
            }
        }
        Ok(next)
    }

    /// As it is, with all parts held.
    pub fn hold_all(&self, info: &LatentInfo) -> Result<Self, Error> {
        self.hold(info, ModelPart::all(info))
    }

    /// Bytes of the packed weights that are held.
    pub fn bytes(&self) -> usize {
        self.held.iter().map(|(_, network)| network.weight_bytes()).sum()
    }
}
