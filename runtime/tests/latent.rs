//! Whole pictures of a published pipeline, whose parts are loaded when the run comes to them.

mod common {
    pub mod diffusers;
    pub mod pipelines;
}

use common::pipelines::{families, opened};
use nijimi_runtime::quant::DType;

/// Of a picture in [0, 1].
const TOLERANCE: f32 = 2.0 / 255.0;

/// The weights of the fixtures are f16 numbers, so nothing is lost. Each part is loaded when the run comes to it.
#[test]
fn f16_weights_loaded_in_turn_draw_the_same() {
    let family = families().into_iter().find(|family| family.name == "sd1").unwrap();
    let model = opened(family.bytes(DType::F16), vec![]);
    assert_eq!(model.weight_bytes(), 0);
    for name in family.pictures() {
        let worst = family.far(&model, None, name);
        assert!(worst <= TOLERANCE, "{name}: {} / 255", worst * 255.0);
    }
    assert_eq!(model.weight_bytes(), 0);
}
