//! What a file's autoencoder keeps of pictures: they pass through the file and the runtime, as users' pictures do.
use crate::error::{Error, Result};
use crate::eval::psnr::Psnr;
use crate::plot::Pictures;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{FirstStage, SessionOptions};
use nijimi_runtime::raw::nn::AutoencoderKl;

/// Figures of a set of pictures.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Of the decoded means beside the pictures, values 0 to 1.
    pub psnr: Psnr,
    /// The decoded pictures, `(n, side, side, 3)`, 0 to 1.
    pub pictures: Vec<f32>,
}

/// Encodes and decodes pictures (bytes of RGB, rows from the top) with the autoencoder of a weight file, of an autoencoder or
/// of a whole model.
///
/// # Errors
/// If the runtime refuses the file; sides that are not multiples of the autoencoder's factor.
pub fn evaluate(file: &[u8], pictures: &[&[u8]], side: usize) -> Result<Evaluation> {
    let file = File::new_checked(file).map_err(nijimi_runtime::Error::from)?;
    let stage = FirstStage::read(&file)?;
    let network = stage.network.kl().ok_or_else(|| Error::File("the file holds another kind of autoencoder".into()))?;
    let [encoder, decoder] = stage.load(&file)?;
    let small = side / network.factor();
    let graph = |e: nijimi_runtime::raw::nn::NetworkError| Error::from(nijimi_runtime::Error::from(e));
    let options = SessionOptions::default();
    let prefix = FirstStage::PREFIX;
    let mut encoder = encoder.evaluator(vec![network.encoder(prefix, 1, [side, side]).map_err(graph)?], &options)?;
    let mut decoder = decoder.evaluator(vec![network.decoder(prefix, 1, [small, small]).map_err(graph)?], &options)?;
    let latents = small * small * network.latent_channels;
    let (mut mean, mut log_variance) = (vec![0f32; latents], vec![0f32; latents]);
    let (mut given, mut decoded) = (Vec::new(), Vec::new());
    for picture in pictures {
        let values: Vec<f32> = picture.iter().map(|b| f32::from(*b) / 127.5 - 1.0).collect();
        encoder.evaluate(0, &[(AutoencoderKl::PICTURE, &values)], &[])?;
        network.moments(encoder.output(AutoencoderKl::MOMENTS)?, &mut mean, &mut log_variance);
        decoder.evaluate(0, &[(AutoencoderKl::LATENTS, &mean)], &[])?;
        let out = decoder.output(AutoencoderKl::PICTURE)?;
        decoded.extend(out.iter().map(|v| (v * 0.5 + 0.5).clamp(0.0, 1.0)));
        given.extend(picture.iter().map(|b| f32::from(*b) / 255.0));
    }
    Ok(Evaluation { psnr: Psnr::of_pairs(&given, &decoded, side * side * 3), pictures: decoded })
}

/// Pictures that a report shows.
const SHOWN: usize = 32;

/// The first pictures, each beside what became of it.
pub fn beside(pictures: &[&[u8]], decoded: &[f32], side: usize) -> Pictures {
    let size = side * side * 3;
    let pairs = pictures.iter().zip(decoded.chunks_exact(size)).take(SHOWN);
    let values = pairs.flat_map(|(a, b)| a.iter().map(|v| f32::from(*v) / 255.0).chain(b.iter().copied()));
    Pictures::new(side, side, 3, values.collect()).columns(8).zoom(2)
}
