//! AUTOMATIC1111's interface: `/sdapi/v1/...`, with its names, its defaults where a model has none, and its answers.

mod names;

use crate::fields::Fields;
use crate::models::Entry;
use crate::openai::decoded;
use crate::order::{Init, Mask, Order, Wish};
use crate::queue::Drawn;
use crate::refusal::{Family, Refusal, json_response};
use crate::routes::{Answer, aside, body};
use crate::shared::Shared;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nijimi_pictures::{Decoded, Fit, Parameters};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Of no consequence here: nothing is saved, and what these describe is not done.
const PASSED: [&str; 20] = [
    "do_not_save_samples",
    "do_not_save_grid",
    "override_settings_restore_afterwards",
    "disable_extra_networks",
    "force_task_id",
    "comments",
    "infotext",
    "refiner_switch_at",
    "s_tmax",
    "subseed",
    "seed_resize_from_h",
    "seed_resize_from_w",
    "firstphase_width",
    "firstphase_height",
    "hr_scale",
    "hr_upscaler",
    "hr_second_pass_steps",
    "hr_resize_x",
    "hr_resize_y",
    "hr_prompt",
];

/// The same, of texts that would be obeyed where `enable_hr` is.
const PASSED_HR: [&str; 4] = ["hr_negative_prompt", "hr_checkpoint_name", "hr_sampler_name", "hr_scheduler"];

/// What is asked for, and how it is answered.
struct Asked {
    entry: Arc<Entry>,
    wish: Wish,
    /// Whether the answer has the pictures.
    sends: bool,
    /// Pictures at a time, as the client counts them.
    batch: usize,
    /// The request, without its pictures.
    echo: Map<String, Value>,
}

pub async fn txt2img(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    draw(shared, request, false).await
}

pub async fn img2img(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    draw(shared, request, true).await
}

async fn draw(shared: Arc<Shared>, request: Request, starts: bool) -> Answer {
    let permit = shared.bodies.acquire().await;
    let bytes = body(&shared, request).await?;
    let own = shared.clone();
    let (ticket, (reply, facts)) = aside(move || {
        let Asked { entry, wish, sends, batch, echo } = asked(&own, &bytes, starts)?;
        let reply = Reply { sends, batch, echo, model: entry.name.clone() };
        let order = Order::new(entry, wish, &own.room, &own.limits)?;
        let facts = order.parameters.clone();
        Ok((own.submit(order, Family::Sdapi)?, (reply, facts)))
    })
    .await?;
    drop(permit);
    let drawn = match ticket.done.await {
        Ok(Err(Refusal::Interrupted)) => Vec::new(),
        Ok(drawn) => drawn?,
        Err(_) => return Err(Refusal::Internal("the drawing was lost: please report it".into())),
    };
    Ok(json_response(StatusCode::OK, &reply.json(&facts, &drawn)))
}

struct Reply {
    sends: bool,
    batch: usize,
    echo: Map<String, Value>,
    model: String,
}

impl Reply {
    fn json(self, facts: &Parameters, drawn: &[Drawn]) -> Value {
        let images: Vec<String> = drawn.iter().filter(|_| self.sends).map(|it| STANDARD.encode(&it.png)).collect();
        let each = |value: &Value| vec![value.clone(); drawn.len()];
        let (prompt, negative) = (json!(facts.prompt), json!(facts.negative));
        let sampling = facts.sampling.as_ref();
        let info = json!({
            "prompt": prompt, "all_prompts": each(&prompt),
            "negative_prompt": negative, "all_negative_prompts": each(&negative),
            "seed": facts.seed, "all_seeds": drawn.iter().map(|it| it.seed).collect::<Vec<_>>(),
            "subseed": 0, "all_subseeds": each(&json!(0)), "subseed_strength": 0,
            "width": facts.width, "height": facts.height,
            "sampler_name": sampling.map(|s| names::label(&s.sampler)), "cfg_scale": sampling.map(|s| s.guidance_scale),
            "steps": sampling.map(|s| s.steps), "batch_size": self.batch,
            "denoising_strength": facts.extras.init_image.as_ref().map(|(_, strength)| strength),
            "sd_model_name": self.model, "sd_model_hash": null, "restore_faces": false, "extra_generation_params": {},
            "index_of_first_image": 0, "infotexts": drawn.iter().map(|it| &it.text).collect::<Vec<_>>(),
            "styles": [], "is_using_inpainting_conditioning": false, "interrupted": drawn.is_empty(),
            "version": concat!("nijimi ", env!("CARGO_PKG_VERSION")),
        });
        json!({ "images": images, "parameters": self.echo, "info": info.to_string() })
    }
}

fn asked(shared: &Shared, bytes: &[u8], starts: bool) -> Result<Asked, Refusal> {
    let mut fields = Fields::of_json(bytes)?;
    let echo = fields.without(&["init_images", "mask", "init_latent"]);
    let limits = &shared.limits;
    let entry = model(shared, &mut fields)?;
    let (method, scheduler) = names::sampling(&mut fields)?;
    let batch = fields.count("batch_size", 1..=limits.pictures)?.unwrap_or(1);
    let count = batch * fields.count("n_iter", 1..=limits.pictures)?.unwrap_or(1);
    if count > limits.pictures {
        let most = limits.pictures;
        return Err(Refusal::field(
            "n_iter",
            format!("{count} pictures with batch_size, and at most {most} are drawn"),
        ));
    }
    let strength = fields.share("denoising_strength")?;
    let wish = Wish {
        prompt: fields.text("prompt", limits.prompt)?.unwrap_or_default(),
        negative: fields.text("negative_prompt", limits.prompt)?.filter(|text| !text.is_empty()),
        count,
        width: fields.count("width", 1..=1 << 20)?,
        height: fields.count("height", 1..=1 << 20)?,
        seed: fields.seed("seed")?,
        steps: fields.count("steps", 1..=limits.steps)?,
        cfg_scale: fields.number("cfg_scale")?,
        // 0 is the web UI's word for nothing.
        image_cfg_scale: fields.number("image_cfg_scale")?.filter(|&scale| scale != 0.0),
        method,
        scheduler,
        eta: fields.share("eta")?,
        init: if starts { Some(init(shared, &mut fields)?) } else { None },
        // Without an init image, it is for the second pass of enable_hr.
        strength: strength.filter(|_| starts),
        shown: false,
    };
    let sends = fields.flag("send_images")?.unwrap_or(true);
    for name in ["save_images", "restore_faces", "tiling", "enable_hr", "include_init_images"] {
        fields.only(name, &[json!(false)])?;
    }
    for name in ["subseed_strength", "s_churn", "s_tmin", "s_min_uncond"] {
        fields.only(name, &[json!(0)])?;
    }
    for name in ["styles", "script_args"] {
        fields.only(name, &[json!([])])?;
    }
    for name in ["script_name", "refiner_checkpoint"] {
        fields.only(name, &[json!("")])?;
    }
    fields.only("alwayson_scripts", &[json!({})])?;
    fields.only("s_noise", &[json!(1)])?;
    fields.pass(&PASSED);
    fields.pass(&PASSED_HR);
    fields.finish()?;
    Ok(Asked { entry, wish, sends, batch, echo })
}

/// The chosen model, or the one of `override_settings`, of which nothing else is obeyed.
fn model(shared: &Shared, fields: &mut Fields) -> Result<Arc<Entry>, Refusal> {
    let Some(settings) = fields.take("override_settings") else { return Ok(shared.chosen()) };
    let Value::Object(settings) = settings else {
        return Err(Refusal::field("override_settings", "must be an object"));
    };
    let mut chosen = shared.chosen();
    for (name, value) in settings {
        match (&*name, value) {
            ("sd_model_checkpoint", Value::String(model)) => chosen = shared.models.find(&model)?,
            (_, Value::Null) => {}
            (name, _) => {
                let name: String = name.chars().take(64).collect();
                let what = format!("{name} is not supported: sd_model_checkpoint alone is");
                return Err(Refusal::field("override_settings", what));
            }
        }
    }
    Ok(chosen)
}

/// The picture to begin with, and what of it is repainted.
fn init(shared: &Shared, fields: &mut Fields) -> Result<Init, Refusal> {
    let images = match fields.take("init_images") {
        Some(Value::Array(images)) => images,
        _ => Vec::new(),
    };
    let [Value::String(image)] = &images[..] else {
        return Err(Refusal::field("init_images", "must be a list of one picture, in base64"));
    };
    let image = picture(shared, "init_images", image)?;
    let inverted = fields.count("inpainting_mask_invert", 0..=1)? == Some(1);
    let mask = match fields.take("mask") {
        Some(Value::String(mask)) => Some(Mask::White { mask: picture(shared, "mask", &mask)?, inverted }),
        Some(_) => return Err(Refusal::field("mask", "must be a picture, in base64")),
        None => None,
    };
    // What is kept stays as it is, what is repainted begins as it is, and no part is enlarged.
    fields.only("inpainting_fill", &[json!(1)])?;
    fields.only("inpaint_full_res", &[json!(false), json!(0)])?;
    for name in ["mask_blur", "mask_blur_x", "mask_blur_y"] {
        fields.only(name, &[json!(0)])?;
    }
    fields.only("mask_round", &[json!(true)])?;
    fields.pass(&["inpaint_full_res_padding", "initial_noise_multiplier"]);
    let fit = match fields.count("resize_mode", 0..=3)? {
        None | Some(1) => Fit::Crop,
        Some(0) => Fit::Stretch,
        Some(_) => return Err(Refusal::field("resize_mode", "0 (resize) and 1 (crop and resize) are supported")),
    };
    Ok(Init { image, mask, fit })
}

/// A picture in base64, with or without `data:image/png;base64,` before it.
fn picture(shared: &Shared, field: &str, text: &str) -> Result<Decoded, Refusal> {
    let text = match text.starts_with("data:") {
        true => text.split_once(',').map_or("", |(_, text)| text),
        false => text,
    };
    let bytes = STANDARD.decode(text.trim()).map_err(|e| Refusal::field(field, format!("it is no base64: {e}")))?;
    decoded(shared, field, &bytes)
}

pub async fn samplers() -> Answer {
    Ok(json_response(StatusCode::OK, &names::samplers()))
}

pub async fn schedulers() -> Answer {
    Ok(json_response(StatusCode::OK, &names::schedulers()))
}

pub async fn models(State(shared): State<Arc<Shared>>) -> Answer {
    let about = |entry: &Arc<Entry>| {
        let name = &entry.name;
        json!({ "title": name, "model_name": name, "hash": null, "sha256": null, "filename": name, "config": null })
    };
    let models: Vec<Value> = shared.models.all().iter().map(about).collect();
    Ok(json_response(StatusCode::OK, &json!(models)))
}

pub async fn options(State(shared): State<Arc<Shared>>) -> Answer {
    let options =
        json!({ "sd_model_checkpoint": shared.chosen().name, "samples_format": "png", "enable_pnginfo": true });
    Ok(json_response(StatusCode::OK, &options))
}

pub async fn set_options(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let mut fields = Fields::of_json(&body(&shared, request).await?)?;
    let chosen = fields.name("sd_model_checkpoint")?.map(|name| shared.models.find(&name)).transpose()?;
    fields.only("samples_format", &[json!("png")])?;
    fields.only("enable_pnginfo", &[json!(true)])?;
    fields.finish()?;
    if let Some(entry) = chosen {
        shared.choose(entry);
    }
    Ok(json_response(StatusCode::OK, &Value::Null))
}

/// How far the work is. A look at it comes with the next step, and so with the next question.
pub async fn progress(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let mut query = uri.query().unwrap_or_default().split('&');
    let skips = query
        .any(|pair| matches!(pair, "skip_current_image=true" | "skip_current_image=True" | "skip_current_image=1"));
    let (current, look) = shared.current();
    if current.is_some() && !skips {
        shared.look.store(true, Relaxed);
    }
    let (waiting, running) = shared.queue.lengths();
    let (step, total) = current.map_or((0, 0), |current| (current.step, current.total));
    let done = if total == 0 { 0.0 } else { step as f64 / total as f64 };
    let seconds = current.map_or(0.0, |current| current.begun.elapsed().as_secs_f64());
    let eta = if step == 0 { 0.0 } else { seconds / step as f64 * (total - step) as f64 };
    let state = json!({
        "skipped": false, "interrupted": false, "stopping_generation": false, "job": if running > 0 { "drawing" } else { "" },
        "job_count": waiting + running, "job_no": 0, "job_timestamp": "", "sampling_step": step, "sampling_steps": total,
        "requests_in_run": current.map_or(0, |current| current.jobs),
    });
    let image = look.filter(|_| !skips).map(|png| STANDARD.encode(png));
    let answer =
        json!({ "progress": done, "eta_relative": eta, "state": state, "current_image": image, "textinfo": null });
    Ok(json_response(StatusCode::OK, &answer))
}

/// Has what these clients have under way left; what others have goes on.
pub async fn interrupt(State(shared): State<Arc<Shared>>) -> Answer {
    shared.interrupt.store(true, Relaxed);
    Ok(json_response(StatusCode::OK, &json!({})))
}
