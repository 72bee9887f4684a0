//! OpenAI's interface: `/v1/images/generations`, `/v1/images/edits`, `/v1/models`.

use crate::events::{Events, Shown};
use crate::fields::Fields;
use crate::models::{About, Entry};
use crate::order::{Init, Mask, Order, Wish};
use crate::queue::{Drawn, Ticket};
use crate::refusal::{Family, Refusal, json_response, text_response};
use crate::routes::{Answer, aside, body};
use crate::shared::Shared;
use axum::body::Body;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nijimi_pictures::{Decoded, Fit, Limits as Readable};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub async fn models(State(shared): State<Arc<Shared>>) -> Answer {
    let data: Vec<Value> = shared.models.all().iter().map(|entry| about(entry)).collect();
    Ok(json_response(StatusCode::OK, &json!({ "object": "list", "data": data })))
}

pub async fn model(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Answer {
    Ok(json_response(StatusCode::OK, &about(&*shared.models.find(&name)?)))
}

fn about(entry: &Entry) -> Value {
    let [height, width, _] = entry.shape();
    let mut about = json!({
        "id": entry.name, "object": "model", "created": 0, "owned_by": "nijimi", "title": entry.title(),
        "size": format!("{width}x{height}"),
    });
    let (steps, guidance, labels) = match &entry.about {
        About::Prompts(info) => (info.steps(), info.guidance_scale(), Value::Null),
        About::Labels(info) => (info.defaults.steps, info.defaults.guidance_scale, json!(info.labels)),
    };
    (about["steps"], about["cfg_scale"], about["labels"]) = (json!(steps), json!(guidance), labels);
    about
}

/// How a request is answered.
struct Way {
    /// By events, of which some have an estimate.
    shown: Option<Shown>,
    size: String,
}

pub async fn generations(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let permit = shared.bodies.acquire().await;
    let bytes = body(&shared, request).await?;
    let own = shared.clone();
    let (ticket, way) = aside(move || {
        let mut fields = Fields::of_json(&bytes)?;
        let (entry, wish, way) = wish(&own, &mut fields)?;
        fields.finish()?;
        Ok((own.submit(Order::new(entry, wish, &own.room, &own.limits)?, Family::OpenAi)?, way))
    })
    .await?;
    drop(permit);
    answer(ticket, way, "image_generation").await
}

pub async fn edits(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let permit = shared.bodies.acquire().await;
    let (parts, unread) = request.into_parts();
    let bytes = body(&shared, Request::from_parts(parts.clone(), unread)).await?;
    let form = Multipart::from_request(Request::from_parts(parts, Body::from(bytes)), &()).await;
    let form = form.map_err(|e| Refusal::usage(format!("{}: send multipart/form-data", e.body_text())))?;
    let (texts, files) = read(form).await?;
    let own = shared.clone();
    let (ticket, way) = aside(move || {
        let mut fields = Fields::of_form(texts)?;
        let strength = fields.share("strength")?;
        let (entry, mut wish, way) = wish(&own, &mut fields)?;
        fields.finish()?;
        wish.strength = strength;
        wish.init = Some(init(&own, files)?);
        Ok((own.submit(Order::new(entry, wish, &own.room, &own.limits)?, Family::OpenAi)?, way))
    })
    .await?;
    drop(permit);
    answer(ticket, way, "image_edit").await
}

/// A form's texts, and its files, by their fields; what a file is called is not looked at.
type Form = (Vec<(String, String)>, Vec<(String, Vec<u8>)>);

async fn read(mut form: Multipart) -> Result<Form, Refusal> {
    let wrong = |e: MultipartError| Refusal::usage(format!("the form is broken: {}", e.body_text()));
    let (mut texts, mut files) = (Vec::new(), Vec::new());
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        let name = field.name().unwrap_or_default().trim_end_matches("[]").to_owned();
        if texts.len() + files.len() == 64 {
            return Err(Refusal::usage("the form has more than 64 fields"));
        }
        match &*name {
            "image" | "mask" => files.push((name, field.bytes().await.map_err(wrong)?.to_vec())),
            _ => texts.push((name, field.text().await.map_err(wrong)?)),
        }
    }
    Ok((texts, files))
}

/// The picture, and what of it is repainted: what is transparent in the mask, or, without one, in the picture.
fn init(shared: &Shared, files: Vec<(String, Vec<u8>)>) -> Result<Init, Refusal> {
    let (mut image, mut mask) = (None, None);
    for (name, bytes) in files {
        let slot = if name == "mask" { &mut mask } else { &mut image };
        if slot.replace(decoded(shared, &name, &bytes)?).is_some() {
            return Err(Refusal::field(&name, "given twice: one is read"));
        }
    }
    let image = image.ok_or_else(|| Refusal::field("image", "send the picture to begin with"))?;
    let mask = mask.or_else(|| image.is_transparent().then(|| image.clone())).map(Mask::Holes);
    Ok(Init { image, mask, fit: Fit::Crop })
}

/// A picture of a request.
pub fn decoded(shared: &Shared, field: &str, bytes: &[u8]) -> Result<Decoded, Refusal> {
    let side = 2 * shared.limits.side as u32;
    let limits = Readable { side, bytes: u64::from(side) * u64::from(side) * 4 };
    Decoded::read(bytes, limits).map_err(|e| Refusal::field(field, format!("it {e}")))
}

/// What is asked for, of the fields that both endpoints have.
fn wish(shared: &Shared, fields: &mut Fields) -> Result<(Arc<Entry>, Wish, Way), Refusal> {
    let limits = &shared.limits;
    let entry = match fields.name("model")? {
        Some(name) => shared.models.find(&name)?,
        None => shared.models.all()[0].clone(),
    };
    let prompt = fields.text("prompt", limits.prompt)?.ok_or_else(|| Refusal::field("prompt", "it is missing"))?;
    let (width, height) = size(fields.name("size")?)?;
    if let Some(format) = fields.name("response_format")?.filter(|format| format != "b64_json") {
        let format: String = format.chars().take(32).collect();
        return Err(Refusal::field(
            "response_format",
            format!("{format:?} is not supported, since no picture is kept: b64_json is"),
        ));
    }
    // What has one possible value here, and who asks.
    fields.only("output_format", &[json!("png")])?;
    fields.only("output_compression", &[json!(100)])?;
    fields.only("quality", &[json!("auto"), json!("standard")])?;
    fields.only("background", &[json!("auto"), json!("opaque")])?;
    fields.only("moderation", &[json!("low")])?;
    fields.only("style", &[])?;
    fields.only("input_fidelity", &[])?;
    fields.pass(&["user"]);
    let stream = fields.flag("stream")?.unwrap_or(false);
    let partial = fields.count("partial_images", 0..=limits.steps)?;
    let shown = stream.then_some(match partial {
        None => Shown::All,
        Some(n) => Shown::Some(n),
    });
    let wish = Wish {
        prompt,
        negative: fields.text("negative_prompt", limits.prompt)?.filter(|text| !text.is_empty()),
        count: fields.count("n", 1..=limits.pictures)?.unwrap_or(1),
        width,
        height,
        seed: fields.seed("seed")?,
        steps: fields.count("steps", 1..=limits.steps)?,
        cfg_scale: fields.number("cfg_scale")?,
        image_cfg_scale: fields.number("image_cfg_scale")?,
        method: fields.name("sampling_method")?,
        scheduler: fields.name("scheduler")?,
        eta: fields.share("eta")?,
        shown: stream && partial != Some(0),
        ..Wish::default()
    };
    let [own_height, own_width, _] = entry.shape();
    let size = format!("{}x{}", width.unwrap_or(own_width), height.unwrap_or(own_height));
    Ok((entry, wish, Way { shown, size }))
}

/// `WIDTHxHEIGHT`.
fn size(text: Option<String>) -> Result<(Option<usize>, Option<usize>), Refusal> {
    let Some(text) = text.filter(|text| text != "auto") else { return Ok((None, None)) };
    let side = |text: &str| text.parse::<usize>().ok().filter(|side| (1..=1 << 20).contains(side));
    let found = text.split_once('x').and_then(|(w, h)| Some((side(w)?, side(h)?)));
    let (w, h) = found.ok_or_else(|| Refusal::field("size", "must be WIDTHxHEIGHT, as in 64x64, or auto"))?;
    Ok((Some(w), Some(h)))
}

/// The pictures, at once or as events.
async fn answer(ticket: Ticket, Way { shown, size }: Way, kind: &'static str) -> Answer {
    if let Some(shown) = shown {
        let body = Body::new(Events::new(ticket, shown, kind, size));
        return Ok(text_response(StatusCode::OK, "text/event-stream", body));
    }
    let lost = |_| Refusal::Internal("the drawing was lost: please report it".into());
    let drawn = ticket.done.await.map_err(lost)??;
    let data: Vec<Value> = drawn.iter().map(picture).collect();
    Ok(json_response(StatusCode::OK, &json!({ "created": now(), "data": data, "size": size, "output_format": "png" })))
}

/// A picture, as JSON.
pub fn picture(drawn: &Drawn) -> Value {
    json!({ "b64_json": STANDARD.encode(&drawn.png), "seed": drawn.seed })
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
