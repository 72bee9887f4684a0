//! A matcher of made-up pictures: a colour and a shape, which the caption names.
use super::command::figures;
use super::*;

const COLOURS: [(&str, [u8; 3]); 4] =
    [("red", [220, 30, 30]), ("green", [30, 180, 40]), ("blue", [40, 60, 220]), ("black", [0; 3])];

/// Four colours of three shapes, five variants each, which differ in their place.
fn shapes() -> Captioned {
    let side = 16;
    let mut pictures = Vec::new();
    for (colour, rgb) in COLOURS {
        for (s, shape) in ["bar", "pole", "square"].into_iter().enumerate() {
            for variant in 0..5usize {
                let at = 3 + variant;
                let inside = |y: usize, x: usize| match s {
                    0 => (at..at + 4).contains(&y),
                    1 => (at..at + 4).contains(&x),
                    _ => (at..at + 6).contains(&x) && (at..at + 6).contains(&y),
                };
                let pixel = |i: usize| if inside(i / side, i % side) { rgb } else { [255; 3] };
                let tones =
                    ["", ": light skin tone", ": medium skin tone", ": dark skin tone", ": medium-dark skin tone"];
                pictures.push(Picture {
                    file: format!("{colour}-{shape}-{variant}.png"),
                    name: format!("{colour} {shape}{}", tones[variant]),
                    category: "shapes".into(),
                    tags: vec!["flat".into()],
                    subject: pictures.len() as u32 / 5,
                    pixels: (0..side * side).flat_map(pixel).collect(),
                    size: [side; 2],
                });
            }
        }
    }
    Captioned { side, pictures, skipped: Vec::new() }
}

#[test]
fn parts_hold_out_variants_and_whole_subjects() {
    let mut set = shapes();
    set.pictures[0].name.clear();
    let parts = Parts::new(&set, 10, 1);
    let held: std::collections::BTreeSet<u32> =
        parts.unknown.iter().map(|i| set.pictures[*i as usize].subject).collect();
    assert_eq!((parts.train.len(), held.len()), (10, 2));
    assert!(held.iter().all(|s| !parts.train.contains_key(s)));
    let trained: Vec<u32> = parts.train.values().flatten().copied().collect();
    assert!(parts.variants.iter().all(|v| !trained.contains(v)));
    assert_eq!(trained.len() + parts.variants.len() + parts.unknown.len(), 59, "the one without a caption is in none");
    assert_eq!(parts.variants.len(), 10);
    assert_eq!(parts, Parts::new(&set, 10, 1));
}

/// Seen red with the caption of another subject.
#[test]
fn a_matcher_learns_and_is_the_same_after_saving_and_loading() {
    let set = shapes();
    let settings = MatcherSettings { epochs: 60, batch: 8, hold_out: 5, vocabulary: 600, ..MatcherSettings::default() };
    let mut matcher = TrainedMatcher::train(Cpu::default(), &set, &settings).expect("training");
    let found = figures(&matcher, &set).expect("figures");
    let (known, variants) = (found.known.expect("figures"), found.variants.expect("figures"));
    assert_eq!((known.asked, known.among, variants.asked), (11, 11, 11));
    assert!(known.first >= 9 && variants.first >= 9, "{known}; {variants}");
    assert!(found.unknown.is_none(), "one subject has no rival");
    let path = std::env::temp_dir().join(format!("nijimi-matcher-{}.safetensors", std::process::id()));
    matcher.save(&path, &[("command", "test".into())]).expect("saving");
    let again = TrainedMatcher::load(Cpu::default(), &path).expect("loading");
    std::fs::remove_file(&path).expect("removal");
    let pixels = &set.pictures[7].pixels;
    assert_eq!(matcher.pictures(pixels), again.pictures(pixels));
    assert_eq!(matcher.captions(&["a red bar", "flat"]), again.captions(&["a red bar", "flat"]));
    assert_eq!((again.side(), again.held_out), (16, (5, 1)));
}

#[test]
fn what_makes_no_matcher_is_refused() {
    let mut set = shapes();
    set.side = 15;
    let train = |set: &Captioned| {
        TrainedMatcher::train(Cpu::default(), set, &MatcherSettings { hold_out: 5, ..MatcherSettings::default() })
            .map(|_| ())
            .unwrap_err()
    };
    assert!(train(&set).to_string().contains("multiple of 16"));
    set.pictures.iter_mut().for_each(|p| p.name.clear());
    assert!(train(&set).to_string().contains("two subjects"));
    let path = std::env::temp_dir().join(format!("nijimi-no-matcher-{}.safetensors", std::process::id()));
    Checkpoint { tensors: param::State::new(), facts: HashMap::from([("kind".into(), "judge".into())]) }
        .save(&path)
        .expect("saving");
    let told = TrainedMatcher::load(Cpu::default(), &path).map(|_| ()).unwrap_err().to_string();
    std::fs::remove_file(&path).expect("removal");
    assert!(told.contains("not a matcher"), "{told}");
}
