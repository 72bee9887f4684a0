//! A published model's U-Net and text encoders, frozen, with the factors that are trained: a batch's loss and gradients.
use crate::error::{Error, Result};
use crate::finetune::adapter::{Adapter, Factors};
use crate::finetune::frozen::Frozen;
use crate::finetune::walk::{Walk, weight_of};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{LatentInfo, TextInfo};
use nijimi_runtime::raw::cpu::Context;
use nijimi_runtime::raw::graph::{Graph, WeightKind};
use nijimi_runtime::raw::nn::{ClipText, SdRequest, SdUnet};

/// What the tensors of the U-Net begin with.
const UNET: &str = "unet.";

/// Which layers are trained beside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layers {
    /// Queries, keys, values and outputs of attention.
    Attention,
    /// All of the transformers: those, the layers between them, and what leads in and out.
    Transformers,
}

impl std::str::FromStr for Layers {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "attention" => Ok(Self::Attention),
            "transformers" => Ok(Self::Transformers),
            _ => Err("expected attention or transformers".into()),
        }
    }
}

/// How the names of attention's layers end.
const ATTENTION: [&str; 8] = ["to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj"];
/// Those of the transformers' others.
const OTHERS: [&str; 6] = ["proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "fc1", "fc2"];

impl Layers {
    /// The end of a layer's name by which it is taken, if it is.
    fn ending(self, name: &str) -> Option<&'static str> {
        let others = if self == Self::Transformers { &OTHERS[..] } else { &[] };
        ATTENTION
            .iter()
            .chain(others)
            .find(|end| name.strip_suffix(**end).is_some_and(|rest| rest.ends_with('.')))
            .copied()
    }
}

/// A layer that is trained beside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layer {
    /// Its weight's name in the file, without `.weight`.
    pub name: String,
    /// How all such layers' names end.
    pub ending: &'static str,
    /// 0 for the U-Net, then the text encoders.
    pub part: usize,
    /// Its weight's number in the graph.
    weight: usize,
    /// Inputs, and outputs.
    pub sides: [usize; 2],
    /// Whether it is a convolution, of 1x1.
    pub convolution: bool,
}

/// The layers of a graph that are taken.
fn taken(graph: &Graph, part: usize, layers: Layers) -> Vec<Layer> {
    let mut found: Vec<Layer> = Vec::new();
    for weight in graph.nodes().iter().filter_map(weight_of) {
        let about = &graph.weights()[weight.index()];
        let name = about.name.strip_suffix(".weight").unwrap_or(&about.name);
        let (sides, convolution) = match about.kind {
            WeightKind::Linear { out, inp } => ([inp, out], false),
            WeightKind::Conv { out, kernel: 1, inp } => ([inp, out], true),
            _ => continue,
        };
        let new = !found.iter().any(|layer| layer.weight == weight.index());
        if let Some(ending) = layers.ending(name).filter(|_| new) {
            found.push(Layer { name: name.into(), ending, part, weight: weight.index(), sides, convolution });
        }
    }
    found
}

/// What the U-Net is told of texts.
#[derive(Clone, Debug)]
pub enum Told<'b> {
    /// States, one text after the other, and pooled ones, computed before.
    States {
        /// `(n, tokens, width)`.
        states: Vec<f32>,
        /// States of a text.
        tokens: usize,
        /// `(n, width)`, or empty.
        pooled: Vec<f32>,
    },
    /// Texts, which encoders that are trained read; none is zeros.
    Texts(Vec<Option<&'b str>>),
}

/// What a step is given.
#[derive(Clone, Debug)]
pub struct Batch<'b> {
    /// Height and width of the latents.
    pub size: [usize; 2],
    /// Noised latents, `(n, h, w, c)`.
    pub noised: Vec<f32>,
    /// What is to be answered.
    pub target: Vec<f32>,
    /// What each example's loss is multiplied by.
    pub weights: Vec<f32>,
    /// Noise levels.
    pub timesteps: Vec<f64>,
    /// Captions.
    pub told: Told<'b>,
}

/// A trained layer's factors, `down` and `up`.
pub type Pair<'p> = [&'p [f32]; 2];

/// Text encoders, walked through.
struct Encoded<'g> {
    states: Vec<f32>,
    tokens: usize,
    pooled: Vec<f32>,
    walks: Vec<(Walk<'g>, crate::finetune::walk::Kept)>,
}

/// The frozen networks of a file.
pub struct Networks<'a> {
    info: &'a LatentInfo,
    unet: &'a SdUnet,
    context: Context,
    /// The U-Net, and the text encoders if they are trained.
    frozen: Vec<Frozen<'a>>,
    /// What is trained beside, the U-Net's first.
    pub layers: Vec<Layer>,
    rank: usize,
    scale: f32,
}

fn runtime(e: impl Into<nijimi_runtime::Error>) -> Error {
    e.into().into()
}

/// The graph of a text encoder.
fn text_graph(text: &TextInfo, n: usize, tokens: usize) -> Result<Graph> {
    text.network.graph(text.prefix, [n, tokens], text.states).map_err(runtime)
}

impl<'a> Networks<'a> {
    /// The layers that would be trained, by the file's description alone.
    ///
    /// # Errors
    /// A network that is no U-Net's.
    pub fn layers(info: &LatentInfo, layers: Layers, texts: bool) -> Result<Vec<Layer>> {
        let graphs = Self::graphs(info, texts)?;
        Ok(graphs.iter().enumerate().flat_map(|(part, graph)| taken(graph, part, layers)).collect())
    }

    /// Loads the networks.
    ///
    /// # Errors
    /// A model that is not of Stable Diffusion's kind; tensors that are missing.
    pub fn load(
        file: &'a File<'a>,
        info: &'a LatentInfo,
        layers: Layers,
        texts: bool,
        (rank, alpha): (usize, f32),
        threads: usize,
    ) -> Result<Self> {
        let unet = unet(info)?;
        let graphs = Self::graphs(info, texts)?;
        let frozen = graphs.iter().map(|graph| Frozen::load(file, graph.weights())).collect::<Result<_>>()?;
        let layers = Self::layers(info, layers, texts)?;
        Ok(Self { info, unet, context: Context::new(threads), frozen, layers, rank, scale: alpha / rank as f32 })
    }

    /// The graphs whose weights are in memory.
    ///
    /// # Errors
    /// A model that is not of Stable Diffusion's kind.
    pub fn graphs(info: &LatentInfo, texts: bool) -> Result<Vec<Graph>> {
        let unet = unet(info)?;
        let mut graphs = vec![unet.graph(UNET, &unet.smallest()).map_err(runtime)?];
        if texts {
            for text in &info.texts {
                graphs.push(text_graph(text, 1, 1)?);
            }
        }
        Ok(graphs)
    }

    /// What is read where a caption is dropped: nothing is zeros.
    pub fn empty(&self) -> Option<&'static str> {
        (!self.info.zeros_for_empty).then_some("")
    }

    /// Whether the text encoders are trained.
    pub fn trains_texts(&self) -> bool {
        self.frozen.len() > 1
    }

    /// Adapters by the weights of a part's graph.
    fn adapters<'p>(&self, part: usize, graph: &Graph, factors: &[Pair<'p>]) -> Vec<Option<Adapter<'p>>> {
        let mut adapters = vec![None; graph.weights().len()];
        for (index, (layer, [down, up])) in self.layers.iter().zip(factors).enumerate() {
            if layer.part == part {
                adapters[layer.weight] = Some(Adapter { down, up, rank: self.rank, scale: self.scale, index });
            }
        }
        adapters
    }

    /// The U-Net's graph for so many latents and states of a text.
    fn unet_graph(&self, n: usize, size: [usize; 2], tokens: usize) -> Result<Graph> {
        self.unet.graph(UNET, &SdRequest::new(n, size, tokens)).map_err(runtime)
    }

    /// The bytes that a step takes at a size, beside the weights.
    ///
    /// # Errors
    /// A size that the network cannot have.
    pub fn step_bytes(info: &LatentInfo, n: usize, size: [usize; 2], tokens: usize) -> Result<usize> {
        let unet = unet(info)?;
        let graph = unet.graph(UNET, &SdRequest::new(n, size, tokens)).map_err(runtime)?;
        Ok(Walk::bytes(&graph) + Frozen::adjoint_bytes(graph.weights()))
    }

    /// Walks through the text encoders.
    fn encode<'g>(&'g self, graphs: &'g [Graph], texts: &[Option<&str>], factors: &[Pair<'g>]) -> Result<Encoded<'g>> {
        let mut encoded = Encoded { states: Vec::new(), tokens: 0, pooled: Vec::new(), walks: Vec::new() };
        let mut parts = Vec::new();
        for (i, (text, graph)) in self.info.texts.iter().zip(graphs).enumerate() {
            let windows: Vec<Vec<u32>> = texts.iter().map(|t| text.tokenizer.window(t.unwrap_or_default())).collect();
            let windows: Vec<&[u32]> = windows.iter().map(|w| &w[..]).collect();
            encoded.tokens = windows.first().map_or(0, |w| w.len());
            let end = text.states.pooled.then_some(text.tokenizer.special().end);
            let mut all = text.network.ids(&windows, end).map_err(runtime)?;
            let places = all.split_off(windows.len() * encoded.tokens);
            let walk = Walk::new(graph, &self.frozen[i + 1], &self.context, self.adapters(i + 1, graph, factors), &[]);
            let kept = walk.forward(&[], vec![all, places])?;
            parts.push((walk.output(&kept, ClipText::STATE).to_vec(), text.network.width));
            if end.is_some() {
                encoded.pooled = walk.output(&kept, ClipText::POOLED).to_vec();
            }
            encoded.walks.push((walk, kept));
        }
        for (row, text) in (0..texts.len() * encoded.tokens).map(|row| (row, texts[row / encoded.tokens])) {
            for (states, width) in &parts {
                match text {
                    Some(_) => encoded.states.extend(&states[row * width..][..*width]),
                    None => encoded.states.resize(encoded.states.len() + width, 0.0),
                }
            }
        }
        let width = encoded.pooled.len() / texts.len();
        for (pooled, _) in encoded.pooled.chunks_exact_mut(width.max(1)).zip(texts).filter(|(_, t)| t.is_none()) {
            pooled.fill(0.0);
        }
        Ok(encoded)
    }

    /// The loss of a batch, `mean(weight (answer - target)²)`, and the gradients of all factors, by the layers' order. `factors` are
    /// theirs.
    ///
    /// # Errors
    /// Latents of a size that the network cannot have; tokens that it does not know.
    pub fn step(&self, batch: &Batch<'_>, factors: &[Pair<'_>]) -> Result<(f64, Vec<Factors>)> {
        let n = batch.timesteps.len();
        let window = |text: &TextInfo| text.tokenizer.special().length;
        let graphs: Vec<Graph> = match &batch.told {
            Told::States { .. } => Vec::new(),
            Told::Texts(_) => {
                self.info.texts.iter().map(|text| text_graph(text, n, window(text))).collect::<Result<_>>()?
            }
        };
        let (states, tokens, pooled, walks);
        match &batch.told {
            Told::States { states: s, tokens: t, pooled: p } => {
                (states, tokens, pooled, walks) = (s.clone(), *t, p.clone(), Vec::new());
            }
            Told::Texts(texts) => {
                let encoded = self.encode(&graphs, texts, factors)?;
                (states, tokens, pooled, walks) = (encoded.states, encoded.tokens, encoded.pooled, encoded.walks);
            }
        }
        let graph = self.unet_graph(n, batch.size, tokens)?;
        let width = self.unet.time_width();
        let mut time = vec![0f32; n * width];
        time.chunks_exact_mut(width).zip(&batch.timesteps).for_each(|(row, t)| self.unet.write_time(*t, row));
        let mut inputs: Vec<(&str, &[f32])> =
            vec![(SdUnet::LATENTS, &batch.noised), (SdUnet::TIME, &time), (SdUnet::TEXT, &states)];
        let mut added = Vec::new();
        if let Some(about) = self.unet.added {
            added.resize(n * about.width, 0f32);
            let factor = self.info.autoencoder.factor();
            let [h, w] = batch.size.map(|side| (side * factor) as f64);
            let sizes = [h, w, 0.0, 0.0, h, w];
            let sizes = if about.code == 0 { &[][..] } else { &sizes };
            for (row, pooled) in added.chunks_exact_mut(about.width).zip(pooled.chunks_exact(pooled.len() / n)) {
                self.unet.write_added(pooled, sizes, row).map_err(runtime)?;
            }
            inputs.push((SdUnet::ADDED, &added));
        }
        let wanted: &[&str] = if walks.is_empty() { &[] } else { &[SdUnet::TEXT, SdUnet::ADDED] };
        let walk = Walk::new(&graph, &self.frozen[0], &self.context, self.adapters(0, &graph, factors), wanted);
        let kept = walk.forward(&inputs, Vec::new())?;
        let (loss, go) = weighted(walk.output(&kept, SdUnet::OUTPUT), &batch.target, &batch.weights);
        let back = walk.backward(kept, vec![(SdUnet::OUTPUT, go)])?;
        let of_input = |name: &str| {
            let i = graph.inputs().iter().position(|port| port.name == name)?;
            back.inputs[i].as_deref()
        };
        let mut all: Vec<Option<Factors>> = back.factors.clone();
        all.resize(self.layers.len(), None);
        let widths: Vec<usize> = self.info.texts.iter().map(|text| text.network.width).collect();
        let total: usize = widths.iter().sum();
        let mut from = 0;
        for (i, (walk, kept)) in walks.into_iter().enumerate() {
            let text = &self.info.texts[i];
            let mut of = Vec::new();
            if let (Some(g), Told::Texts(texts)) = (of_input(SdUnet::TEXT), &batch.told) {
                let rows = g.chunks_exact(total).enumerate();
                let own = rows.flat_map(|(row, g)| {
                    let is = texts[row / tokens].is_some();
                    g[from..from + widths[i]].iter().map(move |g| if is { *g } else { 0.0 })
                });
                of.push((ClipText::STATE, own.collect()));
                if let Some(g) = of_input(SdUnet::ADDED).filter(|_| text.states.pooled) {
                    let rows = g.chunks_exact(g.len() / n).zip(texts);
                    let pooled = rows.flat_map(|(g, text)| {
                        let is = text.is_some();
                        g[..pooled.len() / n].iter().map(move |g| if is { *g } else { 0.0 })
                    });
                    of.push((ClipText::POOLED, pooled.collect()));
                }
            }
            from += widths[i];
            for (sum, own) in all.iter_mut().zip(walk.backward(kept, of)?.factors) {
                *sum = sum.take().or(own);
            }
        }
        // A layer that the loss does not depend on, as the last one of an encoder whose last state is skipped.
        let zero = |layer: &Layer| {
            let [inp, out] = layer.sides;
            Factors { down: vec![0.0; inp * self.rank], up: vec![0.0; out * self.rank] }
        };
        let factors = all.into_iter().zip(&self.layers).map(|(f, layer)| f.unwrap_or_else(|| zero(layer))).collect();
        Ok((loss, factors))
    }
}

/// The U-Net of a model that is trained here.
fn unet(info: &LatentInfo) -> Result<&SdUnet> {
    let refuse = |what: &str| Error::File(format!("{what}: it can be drawn with, but not trained"));
    let unet = info.denoiser.unet().ok_or_else(|| refuse("its network is a transformer, and no U-Net"))?;
    if unet.text_width == 0 || info.texts.is_empty() {
        return Err(refuse("its U-Net reads no text"));
    }
    if unet.guidance_code > 0 {
        return Err(refuse("its U-Net is told a guidance scale (it is distilled)"));
    }
    if unet.in_channels != unet.out_channels || unet.in_channels != info.autoencoder.latent_channels() {
        return Err(refuse("its U-Net takes more than latents (it is for inpainting, depth or changing pictures)"));
    }
    let pooled = info.texts.iter().filter(|text| text.states.pooled).map(|text| text.network);
    let pooled: usize = pooled.map(|network| network.projection.unwrap_or(network.width)).sum();
    if unet.added.is_some_and(|added| added.code > 0 && added.width != pooled + 6 * added.code) {
        return Err(refuse("its U-Net is told a score (it is a refiner)"));
    }
    Ok(unet)
}

/// The weighted mean square, and its gradient.
fn weighted(answer: &[f32], target: &[f32], weights: &[f32]) -> (f64, Vec<f32>) {
    let len = answer.len() / weights.len();
    let (mut sum, mut go) = (0.0, vec![0f32; answer.len()]);
    for (i, (go, (a, t))) in go.iter_mut().zip(answer.iter().zip(target)).enumerate() {
        let (weight, apart) = (weights[i / len], a - t);
        sum += f64::from(weight) * f64::from(apart) * f64::from(apart);
        *go = 2.0 * weight * apart / answer.len() as f32;
    }
    (sum / answer.len() as f64, go)
}
