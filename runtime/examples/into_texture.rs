//! An app with a wgpu device of its own hands it in, and shows a picture while it is being drawn: a step a frame, the
//! estimate as a preview, all in textures of the app's. Nothing is copied to the host but the frames it saves.
//!
//! ```sh
//! cargo run --release -p nijimi-runtime --features gpu --example into_texture -- frames "a red apple"
//! ```

use nijimi_runtime::gpu::Gpu;
use nijimi_runtime::model::Values;
use nijimi_runtime::{Device, Model};
use std::error::Error;
use std::path::{Path, PathBuf};

/// Width and height of the app's window.
const WINDOW: u32 = 256;
/// Width and height of the picture in it: 64 pixels, each enlarged to 3.
const PICTURE: u32 = 192;
/// The window is saved at each of so many frames.
const SAVED: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().unwrap_or_else(|| "out".into()));
    let prompt = args.next().unwrap_or_else(|| "a red apple".into());
    std::fs::create_dir_all(&folder)?;
    let app = App::new()?;

    // What nijimi needs of the app: its device and its queue. Clones share them.
    let gpu = Gpu::from_device(app.device.clone(), app.queue.clone(), &Default::default())?;
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights/emoji-q8_0.gguf");
    let Model::TextToImage(model) = Model::open(weights, &Device::Gpu(gpu.clone()))? else {
        return Err("this example draws with a text-to-image model".into());
    };
    let calls = model.info().default_calls()?;

    let view = app.picture.create_view(&Default::default());
    let mut run = model.run(&model.request(&prompt, 1, &calls))?;
    // The app's loop: it draws its frame, the run makes a step. Both go into the app's queue, in this order, so no frame
    // sees half a step, and the app waits for nothing.
    let mut frame = 0;
    loop {
        let step = run.step()?;
        // While it is drawn, what it will become; at last, what it is.
        let shown = if step.is_some() { Values::Estimate } else { Values::Sample };
        run.draw_into(shown, 0, &view)?;
        app.frame(frame);
        if frame % SAVED == 0 || step.is_none() {
            app.save(&folder.join(format!("frame-{frame:03}.png")))?;
        }
        if step.is_none() {
            break;
        }
        frame += 1;
    }
    // What goes wrong on a device is found when something is read back.
    run.to_u8()?;
    println!("{} frames on {}; some of them are in {}", frame + 1, gpu.name(), folder.display());
    Ok(())
}

/// The host: a device, a window, and a texture that the picture is drawn into.
struct App {
    device: wgpu::Device,
    queue: wgpu::Queue,
    window: wgpu::Texture,
    picture: wgpu::Texture,
}

impl App {
    fn new() -> Result<Self, Box<dyn Error>> {
        let mut desc = wgpu::InstanceDescriptor::new_without_display_handle();
        desc.backends = wgpu::Backends::PRIMARY;
        let instance = wgpu::Instance::new(desc);
        let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
        // WebGPU's default limits suffice; with `SHADER_F16`, `SUBGROUP` and others some kernels are faster.
        let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
        let texture = |side, usage| {
            device.create_texture(&wgpu::TextureDescriptor {
                label: None,
                size: wgpu::Extent3d { width: side, height: side, depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba8Unorm,
                usage: usage | wgpu::TextureUsages::COPY_SRC,
                view_formats: &[],
            })
        };
        let window = texture(WINDOW, wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_DST);
        // The usage that `Run::draw_into` wants.
        let picture = texture(PICTURE, wgpu::TextureUsages::STORAGE_BINDING);
        Ok(Self { device, queue, window, picture })
    }

    /// The app's own drawing, here a background that changes from blue to orange, with the picture in its middle.
    fn frame(&self, frame: usize) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let warm = (frame as f64 / 50.0).min(1.0);
        let colour = wgpu::Color { r: warm, g: 0.5 * warm + 0.1, b: 0.8 - 0.6 * warm, a: 1.0 };
        encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &self.window.create_view(&Default::default()),
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations { load: wgpu::LoadOp::Clear(colour), store: wgpu::StoreOp::Store },
            })],
            ..Default::default()
        });
        let middle = (WINDOW - PICTURE) / 2;
        let origin = wgpu::Origin3d { x: middle, y: middle, z: 0 };
        let to = wgpu::TexelCopyTextureInfo { origin, ..self.window.as_image_copy() };
        encoder.copy_texture_to_texture(self.picture.as_image_copy(), to, self.picture.size());
        self.queue.submit([encoder.finish()]);
    }

    /// Writes the window to a file: for this example alone, an app would present it.
    fn save(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let row = WINDOW * 4;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(row * WINDOW),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None };
        let to = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout };
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_texture_to_buffer(self.window.as_image_copy(), to, self.window.size());
        self.queue.submit([encoder.finish()]);
        buffer.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("a buffer that can be mapped"));
        self.device.poll(wgpu::PollType::wait_indefinitely())?;

        let mut encoder = png::Encoder::new(std::fs::File::create(path)?, WINDOW, WINDOW);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&buffer.get_mapped_range(..)?)?;
        Ok(())
    }
}
