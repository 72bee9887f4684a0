//! Which path leads where, and what stands before all of them.

use crate::refusal::{Family, Refusal, json_response, text_response};
use crate::shared::Shared;
use crate::{openai, sdapi};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, Response, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post};
use serde_json::json;
use std::sync::Arc;
use tokio::time::timeout;

/// What handlers answer with.
pub type Answer = Result<Response<Body>, Refusal>;

/// The page, whole.
const PAGE: &str = include_str!("page.html");

/// The server's paths: what is counted by path are these.
const PATHS: [&str; 14] = [
    "/",
    "/health",
    "/metrics",
    "/v1/models",
    "/v1/images/generations",
    "/v1/images/edits",
    "/sdapi/v1/txt2img",
    "/sdapi/v1/img2img",
    "/sdapi/v1/samplers",
    "/sdapi/v1/schedulers",
    "/sdapi/v1/sd-models",
    "/sdapi/v1/options",
    "/sdapi/v1/progress",
    "/sdapi/v1/interrupt",
];

pub fn all(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{name}", get(openai::model))
        .route("/v1/images/generations", post(openai::generations))
        .route("/v1/images/edits", post(openai::edits))
        .route("/sdapi/v1/txt2img", post(sdapi::txt2img))
        .route("/sdapi/v1/img2img", post(sdapi::img2img))
        .route("/sdapi/v1/samplers", get(sdapi::samplers))
        .route("/sdapi/v1/schedulers", get(sdapi::schedulers))
        .route("/sdapi/v1/sd-models", get(sdapi::models))
        .route("/sdapi/v1/options", get(sdapi::options).post(sdapi::set_options))
        .route("/sdapi/v1/progress", get(sdapi::progress))
        .route("/sdapi/v1/interrupt", post(sdapi::interrupt))
        .fallback(async |uri: Uri| Refusal::Path(shown(uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Refusal::Method(format!("{} by {method}", shown(uri.path())))
        })
        // Bodies are read by `body`, whose limit is the server's.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

fn shown(path: &str) -> String {
    path.chars().take(100).collect()
}

/// Who asks is looked at, what is answered is counted, and what is refused is told in the client's words.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let path = request.uri().path();
    let family = Family::of(path);
    let counted = PATHS.into_iter().find(|known| *known == path).unwrap_or("other");
    let mut response = match shared.access.check(path, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.response(family),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        shared.metrics.refuse(refusal.code());
        response = refusal.response(family);
    }
    shared.metrics.request(counted, response.status().as_u16());
    response
}

async fn page() -> Response<Body> {
    let mut response = text_response(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(policy));
    response
}

async fn health(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let (waiting, running) = shared.queue.lengths();
    json_response(StatusCode::OK, &json!({ "status": "ok", "waiting": waiting, "running": running }))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let (waiting, running) = shared.queue.lengths();
    text_response(StatusCode::OK, "text/plain; version=0.0.4", shared.metrics.text(waiting, running))
}

/// The whole body, if it is not too large and comes in time.
pub async fn body(shared: &Shared, request: Request) -> Result<Bytes, Refusal> {
    let (most, too_large) = (shared.limits.body, Refusal::Body(shared.limits.body));
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|n| n > most as u64) {
        return Err(too_large);
    }
    match timeout(shared.limits.patience, to_bytes(request.into_body(), most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Err(_) => Err(Refusal::Slow),
        // More than it said, or without saying.
        Ok(Err(e)) if std::error::Error::source(&e).is_some_and(|e| e.to_string().contains("limit")) => Err(too_large),
        Ok(Err(e)) => Err(Refusal::usage(format!("the body cannot be read: {e}"))),
    }
}

/// Work that takes a processor a while, on a thread for it.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let lost = |e| Refusal::Internal(format!("the request could not be read ({e}): please report it"));
    tokio::task::spawn_blocking(work).await.map_err(lost)?
}
