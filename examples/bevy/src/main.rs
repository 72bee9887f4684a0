//! A game's window in which an emoji forms, on the wgpu device of bevy.
//!
//! A thread draws; a system takes each step's estimate, and puts it into the image of a sprite.
//!
//! ```sh
//! cargo run --release -- "a red apple" # in this folder
//! ```

use bevy::asset::RenderAssetUsages;
use bevy::prelude::*;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat};
use bevy::render::renderer::{RenderDevice, RenderQueue};
use nijimi_runtime::gpu::{Gpu, GpuOptions};
use nijimi_runtime::{Device, Error, Model};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../weights/emoji-q8_0.gguf");

/// Red, green, blue and alpha of a picture, row by row.
type Pixels = Vec<u8>;

/// The picture that forms, and the thread's end.
#[derive(Resource)]
struct Forming {
    image: Handle<Image>,
    pictures: Mutex<Receiver<Result<Pixels, Error>>>,
}

fn main() {
    App::new()
        .add_plugins(DefaultPlugins.set(ImagePlugin::default_nearest()))
        .add_systems(Startup, begin)
        .add_systems(Update, show)
        .run();
}

/// Loads the model on bevy's device, and has a thread draw.
fn begin(mut commands: Commands, mut images: ResMut<Assets<Image>>, device: Res<RenderDevice>, queue: Res<RenderQueue>) -> Result {
    let prompt = std::env::args().nth(1).unwrap_or("a red apple".into());
    let gpu = Gpu::from_device(device.wgpu_device().clone(), (**queue).clone(), &GpuOptions::default())?;
    let model = Model::open(WEIGHTS, &Device::Gpu(gpu))?;
    let [height, width] = model.request(&prompt, 1)?.size;
    let size = Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 };
    let usages = RenderAssetUsages::MAIN_WORLD | RenderAssetUsages::RENDER_WORLD;
    let gray = [128, 128, 128, 255];
    let image = images.add(Image::new_fill(size, TextureDimension::D2, &gray, TextureFormat::Rgba8UnormSrgb, usages));
    commands.spawn(Camera2d);
    commands.spawn(Sprite { image: image.clone(), custom_size: Some(Vec2::splat(512.0)), ..default() });
    // One picture waits: a device that is faster than the frames is not kept from them.
    let (sender, pictures) = sync_channel(1);
    commands.insert_resource(Forming { image, pictures: Mutex::new(pictures) });
    std::thread::spawn(move || {
        if let Err(error) = draw(&model, &prompt, &sender) {
            _ = sender.send(Err(error));
        }
    });
    Ok(())
}

/// Draws until the picture is made, or nobody takes what is sent.
fn draw(model: &Model, prompt: &str, pictures: &SyncSender<Result<Pixels, Error>>) -> Result<(), Error> {
    let mut run = model.run(&model.request(prompt, 1)?)?;
    let mut pixels = vec![0; run.bytes()];
    loop {
        let step = run.step()?;
        match step {
            Some(_) => run.write_preview(&mut pixels)?,
            None => run.write_u8(&mut pixels)?,
        }
        let rgba = pixels.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
        if pictures.send(Ok(rgba)).is_err() || step.is_none() {
            return Ok(());
        }
    }
}

/// Once a frame: what was made since the last one.
fn show(forming: Res<Forming>, mut images: ResMut<Assets<Image>>) -> Result {
    let Ok(pictures) = forming.pictures.lock() else { return Ok(()) };
    while let Ok(picture) = pictures.try_recv() {
        if let Some(mut image) = images.get_mut(&forming.image) {
            image.data = Some(picture?);
        }
    }
    Ok(())
}
