//! The published encoders' tensors, and what is refused; states are compared in `tests/golden.rs`.

use super::*;
use crate::graph::WeightKind;
use alloc::borrow::ToOwned;
use alloc::string::ToString;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The names and shapes of the published encoders at full size.
#[test]
fn the_presets_are_the_published_encoders() {
    let all = [("sd15", "text_encoder", ClipText::VIT_L_14), ("sd21", "text_encoder", ClipText::OPEN_CLIP_H)];
    let sdxl = [("sdxl", "text_encoder", ClipText::VIT_L_14), ("sdxl", "text_encoder_2", ClipText::OPEN_CLIP_BIG_G)];
    for (family, part, config) in all.into_iter().chain(sdxl) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/shapes").join(family.to_owned() + ".json");
        let tensors = &json(&path)[part]["tensors"];
        let prefix = format!("{part}.");
        let graph = config.graph(&prefix, [1, 77], TextStates::LAST).unwrap();
        for weight in graph.weights() {
            let name = weight.name.strip_prefix(&prefix).unwrap();
            let short = name.strip_prefix("text_model.").unwrap_or(name);
            let shape = tensors.get(name).or_else(|| tensors.get(short));
            let shape = shape.unwrap_or_else(|| panic!("{family} {part} has no {name}"));
            let shape: Vec<usize> = shape.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
            assert_eq!(weight.kind.row_major(), shape, "{family} {part} {name}");
        }
        assert_eq!(graph.weights().len(), tensors.as_object().unwrap().len(), "{family} {part}");
        assert!(matches!(graph.weights()[0].kind, WeightKind::Table { .. }));
    }
}

#[test]
fn skipping_and_pooling_need_the_same_tensors() {
    let config = ClipText { layers: 3, ..ClipText::OPEN_CLIP_BIG_G };
    let names = |states| config.graph("", [2, 5], states).unwrap().weights().to_vec();
    let all = names(TextStates::LAST);
    for skip in 0..3 {
        for (normed, pooled) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut found = names(TextStates { skip, normed, pooled });
            found.sort_by(|a, b| a.name.cmp(&b.name));
            let mut all = all.clone();
            all.sort_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(found, all, "{skip} {normed} {pooled}");
        }
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    let refused = |config: ClipText, sizes, skip| {
        config.graph("", sizes, TextStates { skip, ..TextStates::LAST }).unwrap_err().to_string()
    };
    let config = ClipText::VIT_L_14;
    assert_eq!(refused(config, [1, 78], 0), "tokens is 78, must be 1 to 77");
    assert_eq!(refused(config, [1, 77], 12), "skipped layers is 12, must be 0 to 11");
    assert!(refused(ClipText { heads: 5, ..config }, [1, 77], 0).contains("heads is 5"));
    assert!(refused(ClipText { layers: 0, ..config }, [1, 77], 0).contains("layers is 0"));
    assert!(refused(config, [usize::MAX, 77], 0).contains("number of ids"));
    let error = config.ids(&[&[0, 49408]], None).unwrap_err();
    assert_eq!(error.to_string(), "a token id is 49408, must be less than 49408: the tokenizer is of another model");
    assert_eq!(config.ids(&[&[7, 9, 9], &[7, 8, 9]], Some(9)).unwrap()[6..], [Some(1), Some(2)]);
}
