//! A picture from a prompt, step by step, with what it will be after each of them.
//!
//! ```sh
//! cargo run --release -p nijimi-runtime --example steps -- weights/emoji-q8_0.gguf "a red apple" apple
//! ```

use nijimi_runtime::{Device, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(prompt), Some(name)) = (args.next(), args.next(), args.next()) else {
        return Err("three arguments: a weight file, a prompt, the beginning of the pictures' names".into());
    };
    let Model::TextToImage(model) = Model::open(file, &Device::Cpu)? else {
        return Err("this file does not hold a text-to-image model".into());
    };
    let calls = model.info().default_calls()?;
    let mut run = model.run(&model.request(&prompt, 1, &calls))?;
    let [height, width, _] = run.picture_shape();
    let save = |name: String, bytes: &[u8]| {
        image::save_buffer(name, bytes, width as u32, height as u32, image::ColorType::Rgb8)
    };
    while let Some(step) = run.step()? {
        println!("{} of {}", step.index + 1, step.total);
        save(format!("{name}-{:02}.png", step.index + 1), &run.preview()?)?;
    }
    save(format!("{name}.png"), &run.to_u8()?)?;
    Ok(())
}
