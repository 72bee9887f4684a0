//! Server-sent events: each step with its estimate, then the pictures.

use crate::openai::{now, picture};
use crate::queue::{Drawn, Step, Ticket};
use crate::refusal::{Family, Refusal};
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Which steps a client is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    All,
    /// So many of them, evenly.
    Some(usize),
}

impl Shown {
    /// Whether step `index` of `total` is.
    fn shows(self, index: usize, total: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(n) => index + 1 < total && (index + 1) * (n + 1) / total > index * (n + 1) / total,
        }
    }
}

/// The body of an answer of events.
pub struct Events {
    /// None once all is said.
    ticket: Option<Ticket>,
    shown: Shown,
    kind: &'static str,
    size: String,
    /// Estimates of each picture that were sent.
    sent: Vec<usize>,
    /// What is to be sent.
    ready: VecDeque<Bytes>,
}

impl Events {
    pub fn new(ticket: Ticket, shown: Shown, kind: &'static str, size: String) -> Self {
        Self { ticket: Some(ticket), shown, kind, size, sent: Vec::new(), ready: VecDeque::new() }
    }

    fn put(&mut self, name: &str, mut data: Value) {
        data["type"] = name.into();
        // JSON has no line breaks of its own.
        self.ready.push_back(format!("event: {name}\ndata: {data}\n\n").into());
    }

    fn step(&mut self, step: &Step) {
        if !self.shown.shows(step.index, step.total) {
            return;
        }
        self.sent.resize(self.sent.len().max(step.picture + 1), 0);
        let data = json!({
            "partial_image_index": self.sent[step.picture], "index": step.picture, "step": step.index + 1,
            "steps": step.total, "b64_json": STANDARD.encode(&step.png), "created_at": now(), "size": self.size,
            "output_format": "png", "quality": "auto", "background": "opaque",
        });
        self.sent[step.picture] += 1;
        self.put(&format!("{}.partial_image", self.kind), data);
    }

    fn last(&mut self, drawn: Result<Vec<Drawn>, Refusal>) {
        match drawn {
            Err(refusal) => self.put("error", refusal.json(Family::OpenAi)),
            Ok(drawn) => {
                for (index, drawn) in drawn.iter().enumerate() {
                    let mut data = picture(drawn);
                    let usage = json!({ "input_tokens": 0, "output_tokens": 0, "total_tokens": 0 });
                    for (key, value) in [
                        ("index", json!(index)),
                        ("created_at", json!(now())),
                        ("size", json!(self.size)),
                        ("output_format", json!("png")),
                        ("quality", json!("auto")),
                        ("background", json!("opaque")),
                        ("usage", usage),
                    ] {
                        data[key] = value;
                    }
                    self.put(&format!("{}.completed", self.kind), data);
                }
            }
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(ticket) = &mut self.ticket else { return Poll::Ready(None) };
            match ready!(ticket.steps.poll_recv(cx)) {
                Some(step) => self.step(&step),
                // All steps were sent: what is left are the pictures.
                None => {
                    let done = ready!(Pin::new(&mut ticket.done).poll(cx));
                    self.ticket = None;
                    self.last(done.unwrap_or_else(|_| Err(Refusal::Internal("the drawing was lost".into()))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;

    // Seen red: the last step, which the picture itself follows, counted.
    #[test]
    fn some_steps_evenly() {
        let shown = |n, total| (0..total).filter(|&i| Shown::Some(n).shows(i, total)).collect::<Vec<_>>();
        assert_eq!((shown(0, 20), shown(1, 20), shown(3, 20)), (vec![], vec![9], vec![4, 9, 14]));
        assert_eq!((shown(3, 2), shown(9, 10).len(), shown(50, 10).len(), shown(1, 1)), (vec![0], 9, 9, vec![]));
        assert_eq!((0..7).filter(|&i| Shown::All.shows(i, 7)).count(), 7);
    }
}
