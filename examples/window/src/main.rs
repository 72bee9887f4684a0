//! A window that draws emoji from a typed prompt, and shows after each step what the model thinks it is drawing.
//!
//! nijimi works on the wgpu device that eframe has opened, and its pictures stay there: a run draws into a texture that
//! egui shows. The steps are made by a thread, one for each frame, so the window goes on while shaders are compiled and
//! while a device is slow.
//!
//! ```sh
//! cargo run --release                  # in this folder
//! cargo run --release -- "a red apple" # begins at once
//! ```

use eframe::egui::{self, Key, ProgressBar, TextEdit, TextureId, Vec2};
use eframe::egui_wgpu::wgpu;
use nijimi_runtime::gpu::{Gpu, GpuOptions};
use nijimi_runtime::model::{LatentSession, StepInfo, Values};
use nijimi_runtime::{Device, Error, Model};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::Scope;

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../weights/emoji-q8_0.gguf");

fn main() -> eframe::Result {
    let prompt = std::env::args().nth(1);
    let viewport = egui::ViewportBuilder::default().with_inner_size([400.0, 500.0]);
    let options = eframe::NativeOptions { viewport, ..Default::default() };
    // The scope waits for the painter, which ends when the window is gone.
    std::thread::scope(|scope| {
        eframe::run_native("nijimi", options, Box::new(|cc| Ok(Box::new(Window::new(cc, scope, prompt)?))))
    })
}

/// What the painter is asked for.
struct Job {
    prompt: String,
    seed: u64,
    /// Lets it make a step; without a sender it stops.
    frames: Receiver<()>,
    /// What [`nijimi_runtime::model::Run::step`] said; nothing more comes after `None`.
    notices: Sender<Result<Option<StepInfo>, Error>>,
}

/// The window's ends of a job. To drop them is to cancel it.
struct Drawing {
    frames: SyncSender<()>,
    notices: Receiver<Result<Option<StepInfo>, Error>>,
}

struct Window {
    device: String,
    jobs: Sender<Job>,
    picture: TextureId,
    prompt: String,
    seed: u64,
    drawing: Option<Drawing>,
    /// How much is drawn, from 0 to 1.
    progress: f32,
    message: String,
}

impl Window {
    fn new<'scope>(
        cc: &eframe::CreationContext<'_>,
        scope: &'scope Scope<'scope, '_>,
        prompt: Option<String>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let state = cc.wgpu_render_state.as_ref().ok_or("eframe draws without wgpu")?;
        let gpu = Gpu::from_device(state.device.clone(), state.queue.clone(), &GpuOptions::default())?;
        let device = gpu.name();
        let Model::TextToImage(model) = Model::open(WEIGHTS, &Device::Gpu(gpu))? else {
            return Err("this window draws with text-to-image models".into());
        };

        let [height, width] = model.info().size().map(|side| side as u32);
        let texture = state.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("picture"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            // The first is nijimi's wish, the second egui's.
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::TEXTURE_BINDING,
            view_formats: &[],
        });
        let view = texture.create_view(&Default::default());
        let picture = state.renderer.write().register_native_texture(&state.device, &view, wgpu::FilterMode::Nearest);

        let (jobs, asked) = channel();
        let ctx = cc.egui_ctx.clone();
        scope.spawn(move || paint(model.session(), &asked, &view, &ctx));
        let mut window = Self {
            device,
            jobs,
            picture,
            prompt: prompt.clone().unwrap_or("a red apple".into()),
            seed: 1,
            drawing: None,
            progress: 0.0,
            message: String::new(),
        };
        if prompt.is_some() {
            window.draw();
        }
        Ok(window)
    }

    /// Begins a drawing, in place of the one before.
    fn draw(&mut self) {
        let ((frames, go), (tell, notices)) = (sync_channel(1), channel());
        self.drawing = Some(Drawing { frames, notices });
        (self.progress, self.message) = (0.0, "begins".into());
        // Where the painter is gone, the notices say so.
        _ = self.jobs.send(Job { prompt: self.prompt.clone(), seed: self.seed, frames: go, notices: tell });
    }

    fn end(&mut self, message: impl ToString) {
        (self.drawing, self.message) = (None, message.to_string());
    }
}

impl eframe::App for Window {
    /// Once a frame: takes what the painter said, and lets it make a step.
    fn logic(&mut self, _: &egui::Context, _: &mut eframe::Frame) {
        while let Some(drawing) = &self.drawing {
            match drawing.notices.try_recv() {
                Ok(Ok(Some(step))) => {
                    self.progress = (step.index + 1) as f32 / step.total as f32;
                    self.message = format!("step {} of {}", step.index + 1, step.total);
                }
                Ok(Ok(None)) => self.end("done"),
                Ok(Err(error)) => self.end(error),
                Err(TryRecvError::Disconnected) => self.end("the painter is gone"),
                Err(TryRecvError::Empty) => {
                    _ = drawing.frames.try_send(()); // It has one already, if it is slower than the frames.
                    break;
                }
            }
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        egui::CentralPanel::default().show(ui, |ui| {
            let prompt = ui.add(TextEdit::singleline(&mut self.prompt).desired_width(f32::INFINITY));
            let entered = prompt.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            ui.horizontal(|ui| {
                ui.label("Seed");
                ui.add(egui::DragValue::new(&mut self.seed));
                if ui.button("Draw").clicked() || entered {
                    self.draw();
                }
                if ui.add_enabled(self.drawing.is_some(), egui::Button::new("Cancel")).clicked() {
                    self.end("cancelled");
                }
                ui.add(egui::Label::new(&self.device).truncate());
            });
            ui.add(ProgressBar::new(self.progress).text(&self.message));
            let side = ui.available_size().min_elem();
            ui.image((self.picture, Vec2::splat(side)));
        });
    }
}

/// The painter: draws one job after the other into the texture, until there are no more.
fn paint(mut session: LatentSession, jobs: &Receiver<Job>, view: &wgpu::TextureView, ctx: &egui::Context) {
    for job in jobs {
        let tell = |notice| {
            _ = job.notices.send(notice); // Nobody listens to a job that was cancelled.
            ctx.request_repaint();
        };
        if let Err(error) = draw(&mut session, &job, view, tell) {
            tell(Err(error));
        }
    }
}

fn draw(
    session: &mut LatentSession,
    job: &Job,
    view: &wgpu::TextureView,
    tell: impl Fn(Result<Option<StepInfo>, Error>),
) -> Result<(), Error> {
    let calls = session.model().info().default_calls()?;
    let request = session.model().request(&job.prompt, job.seed, &calls);
    let mut run = session.run(&request)?;
    while job.frames.recv().is_ok() {
        let step = run.step()?;
        // While it is drawn, what it will become; at last, what it is.
        let shown = if step.is_some() { Values::Estimate } else { Values::Sample };
        run.draw_into(shown, 0, view)?;
        if step.is_none() {
            run.to_u8()?; // What goes wrong on a device is found when something is read back.
        }
        tell(Ok(step));
        if step.is_none() {
            break;
        }
    }
    Ok(())
}
