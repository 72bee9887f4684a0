//! A picture from a prompt, as the README has it: `cargo run --release -p nijimi-runtime --example text_to_image`, where
//! `weights/` is.

use nijimi_runtime::{Device, Model};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::open("weights/emoji-q8_0.gguf", &Device::Cpu)?; // on a GPU: &Device::gpu()?
    let picture = model.draw("a red apple", 1)?; // size, steps, solver and guidance are the file's
    let (width, height) = (picture.width as u32, picture.height as u32);
    image::save_buffer("apple.png", &picture.to_rgb(), width, height, image::ColorType::Rgb8)?;
    Ok(())
}
