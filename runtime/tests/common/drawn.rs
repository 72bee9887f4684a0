//! A request of any model, drawn to its end.

use nijimi_runtime::Model;
use nijimi_runtime::model::DrawRequest;

/// The bytes of all its pictures.
pub fn drawn(model: &Model, request: &DrawRequest<'_>) -> Vec<u8> {
    let mut run = model.run(request).unwrap();
    while run.step().unwrap().is_some() {}
    let mut pixels = vec![0; run.bytes()];
    run.write_u8(&mut pixels).unwrap();
    pixels
}
