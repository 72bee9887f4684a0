//! A sprite that is drawn while one looks: nijimi works on the wgpu device that Bevy renders with, and its pictures stay there.
//!
//! The render world has the model and makes a step a frame, after which the run draws into the sprite's texture what the model
//! thinks the picture will be. The main world says what is to be drawn; the space key asks for another picture.
//!
//! ```sh
//! cargo run --release                # in this folder
//! cargo run --release -- "a fox"
//! ```

use bevy::asset::RenderAssetUsages;
use bevy::prelude::*;
use bevy::render::extract_resource::{ExtractResource, ExtractResourcePlugin};
use bevy::render::render_asset::RenderAssets;
use bevy::render::render_resource::{TextureFormat, TextureUsages, TextureViewDescriptor};
use bevy::render::renderer::{RenderDevice, RenderQueue};
use bevy::render::texture::GpuImage;
use bevy::render::{Render, RenderApp, RenderStartup, RenderSystems};
use nijimi_runtime::gpu::{Gpu, GpuOptions};
use nijimi_runtime::model::{Run, TextToImage, Values};
use nijimi_runtime::{Device, Model};

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../weights/emoji-q8_0.gguf");
/// Of the texture, in which each of the model's pixels fills a square.
const SIDE: u32 = 512;

fn main() -> AppExit {
    let prompt = std::env::args().nth(1).unwrap_or("a red apple".into());
    let window = Window { title: "nijimi".into(), resolution: (SIDE, SIDE).into(), ..default() };
    App::new()
        .add_plugins(DefaultPlugins.set(WindowPlugin { primary_window: Some(window), ..default() }))
        .add_plugins(Painting { prompt })
        .run()
}

struct Painting {
    prompt: String,
}

impl Plugin for Painting {
    fn build(&self, app: &mut App) {
        let prompt = self.prompt.clone();
        let show = move |mut commands: Commands, mut images: ResMut<Assets<Image>>| {
            let texture = images.add(texture());
            commands.spawn(Camera2d);
            commands.spawn(Sprite::from_image(texture.clone()));
            commands.insert_resource(Wish { prompt: prompt.clone(), seed: 1, texture });
        };
        app.add_plugins(ExtractResourcePlugin::<Wish>::default())
            .add_systems(Startup, show)
            .add_systems(Update, another);
        app.sub_app_mut(RenderApp)
            .add_systems(RenderStartup, open)
            .add_systems(Render, paint.in_set(RenderSystems::Prepare));
    }
}

/// nijimi writes what the eye sees as it is (`Rgba8Unorm`), of which the sprite is told that it is sRGB.
fn texture() -> Image {
    let (format, seen) = (TextureFormat::Rgba8Unorm, TextureFormat::Rgba8UnormSrgb);
    let mut image = Image::new_target_texture(SIDE, SIDE, format, Some(seen));
    image.texture_descriptor.usage =
        TextureUsages::STORAGE_BINDING | TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST;
    // Nothing is stored by way of a view in sRGB.
    let usage = Some(TextureUsages::TEXTURE_BINDING);
    image.texture_view_descriptor = Some(TextureViewDescriptor { format: Some(seen), usage, ..default() });
    image.asset_usage = RenderAssetUsages::RENDER_WORLD;
    image
}

/// What is to be drawn, and where.
#[derive(Resource, ExtractResource, Clone)]
#[extract_app(RenderApp)]
struct Wish {
    prompt: String,
    seed: u64,
    texture: Handle<Image>,
}

fn another(keys: Res<ButtonInput<KeyCode>>, mut wish: ResMut<Wish>) {
    if keys.just_pressed(KeyCode::Space) {
        wish.seed += 1;
    }
}

/// In the render world.
#[derive(Resource)]
struct Painter {
    model: TextToImage,
    /// Of the picture that is drawn, or was last.
    seed: Option<u64>,
    run: Option<Run<'static>>,
}

/// The model, on the device that Bevy has opened.
fn open(mut commands: Commands, device: Res<RenderDevice>, queue: Res<RenderQueue>) -> Result {
    let gpu = Gpu::from_device(device.wgpu_device().clone(), (**queue).clone(), &GpuOptions::default())?;
    let Model::TextToImage(model) = Model::open(WEIGHTS, &Device::Gpu(gpu))? else {
        return Err("this app draws with text-to-image models".into());
    };
    commands.insert_resource(Painter { model, seed: None, run: None });
    Ok(())
}

/// A step, and what is seen of it.
fn paint(painter: Option<ResMut<Painter>>, wish: Option<Res<Wish>>, images: Res<RenderAssets<GpuImage>>) -> Result {
    let (Some(mut painter), Some(wish)) = (painter, wish) else { return Ok(()) };
    let Some(image) = images.get(&wish.texture) else { return Ok(()) };
    let Painter { model, seed, run } = &mut *painter;
    if *seed != Some(wish.seed) {
        *seed = Some(wish.seed);
        let calls = model.info().default_calls()?;
        *run = Some(model.run(&model.request(&wish.prompt, wish.seed, &calls))?);
    }
    let Some(drawn) = run else { return Ok(()) };
    let step = drawn.step()?;
    // While it is drawn, what it will become; at last, what it is.
    let shown = if step.is_some() { Values::Estimate } else { Values::Sample };
    drawn.draw_into(shown, 0, &image.texture.create_view(&default()))?;
    match step {
        Some(step) => info!("step {} of {}", step.index + 1, step.total),
        None => {
            drawn.to_u8()?; // What goes wrong on a device is found when something is read back.
            *run = None;
        }
    }
    Ok(())
}
