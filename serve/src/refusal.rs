//! Why a request is not answered with a picture, in the shape that each family of clients reads.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use nijimi_runtime::error::{Error, Fault};
use nijimi_runtime::model::RequestError;
use serde_json::{Value, json};

/// Whose interface is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// OpenAI's, and this server's own.
    OpenAi,
    /// AUTOMATIC1111's.
    Sdapi,
}

impl Family {
    /// By the path of a request.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/sdapi/") { Self::Sdapi } else { Self::OpenAi }
    }
}

/// What stands in the way.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// What is asked for cannot be, or is not understood; with the field.
    Usage(Option<String>, String),
    /// The token is missing or wrong.
    Token,
    /// A page of another site asks.
    Origin(String),
    /// There is no model of that name.
    Model(String),
    /// There is nothing at that path.
    Path(String),
    /// There is, but not by that method.
    Method(String),
    /// The body did not come in time.
    Slow,
    /// The body is larger than that many bytes.
    Body(usize),
    /// So many wait already; after so many seconds there may be room.
    Busy(u64),
    /// The server is about to leave.
    Stopping,
    /// Another client asked that the work be stopped.
    Interrupted,
    /// None of the client's doing.
    Internal(String),
}

impl Refusal {
    /// A field that cannot be obeyed.
    pub fn field(name: &str, message: impl Into<String>) -> Self {
        Self::Usage(Some(name.into()), format!("{name}: {}", message.into()))
    }

    /// Something without a field of its own.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(None, message.into())
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::Usage(..) => StatusCode::BAD_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Model(_) | Self::Path(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Body(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy(_) | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Interrupted => StatusCode::CONFLICT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A word for it, as OpenAI's clients and the counters have it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage(..) => "invalid_request",
            Self::Token => "invalid_api_key",
            Self::Origin(_) => "forbidden",
            Self::Model(_) => "model_not_found",
            Self::Path(_) => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::Slow => "timeout",
            Self::Body(_) => "too_large",
            Self::Busy(_) => "queue_full",
            Self::Stopping => "stopping",
            Self::Interrupted => "interrupted",
            Self::Internal(_) => "internal",
        }
    }

    pub fn message(&self) -> String {
        match self {
            Self::Usage(_, message) | Self::Origin(message) | Self::Internal(message) => message.clone(),
            Self::Token => "the token is missing or wrong: send the header Authorization: Bearer TOKEN".into(),
            Self::Model(name) => format!("no model is called {name:?}: GET /v1/models tells which there are"),
            Self::Path(what) => format!("nothing is at {what}: see docs/serve.md"),
            Self::Method(what) => format!("{what} is asked for by another method: see docs/serve.md"),
            Self::Slow => "the body did not come in time: send it faster, or send less".into(),
            Self::Body(most) => format!("the body is larger than {most} bytes: send smaller pictures"),
            Self::Busy(seconds) => format!("too many requests wait already: try again in {seconds} s"),
            Self::Stopping => "the server is stopping: ask again when it is back".into(),
            Self::Interrupted => "the work was interrupted by POST /sdapi/v1/interrupt".into(),
        }
    }

    /// As the family's clients read it.
    pub fn json(&self, family: Family) -> Value {
        let (message, code) = (self.message(), self.code());
        match family {
            Family::OpenAi => {
                let param = if let Self::Usage(field, _) = self { field.clone() } else { None };
                let kind = if self.status().is_server_error() { "server_error" } else { "invalid_request_error" };
                json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
            }
            Family::Sdapi => json!({ "error": code, "detail": message, "body": "", "errors": message }),
        }
    }

    pub fn response(&self, family: Family) -> Response<Body> {
        let mut response = json_response(self.status(), &self.json(family));
        let headers = response.headers_mut();
        if let Self::Busy(seconds) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        if *self == Self::Token {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        match (&e, e.fault()) {
            (Error::Request(RequestError::NotFinite { .. }), _) => Self::usage(format!(
                "{e}: cfg_scale or a weight in the prompt is too large, or the model's weights are damaged"
            )),
            (Error::Request(_), _) | (_, Fault::Request) => Self::usage(e.to_string()),
            _ => Self::Internal(e.to_string()),
        }
    }
}

/// The server gives it the shape that the client reads.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}

/// An answer of JSON.
pub fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    text_response(status, "application/json", value.to_string())
}

/// An answer of any text.
pub fn text_response(status: StatusCode, kind: &'static str, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
