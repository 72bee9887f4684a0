//! What is chosen and compared; drawing needs a model.
use super::*;

fn set() -> Captioned {
    let picture = |i: u32, name: &str| Picture {
        file: format!("{i}.png"),
        name: name.into(),
        category: String::new(),
        tags: Vec::new(),
        subject: i / 5,
        pixels: vec![0; 12],
        size: [2; 2],
    };
    let names = ["x: dark skin tone", "x: light skin tone", "x", "", "x: medium skin tone"];
    Captioned { side: 2, pictures: (0..40).map(|i| picture(i, names[i as usize % 5])).collect(), skipped: Vec::new() }
}

/// Seen red with the first picture of each subject taken.
#[test]
fn the_picture_of_a_subject_is_that_without_a_tone() {
    let set = set();
    let parts = Parts::new(&set, 8, 3);
    let known = subjects(&set, Some(&parts));
    assert_eq!(known.len(), 6, "two of eight subjects are held out");
    assert!(known.iter().all(|p| p.name == "x" && parts.train.contains_key(&p.subject)));
    assert_eq!(captions::subject(&set.pictures[0]), "x");
}

#[test]
fn captions_are_chosen_by_the_seed_and_none_twice() {
    let first = chosen(50, 20, 1);
    assert_eq!(first, chosen(50, 20, 1));
    assert_ne!(first, chosen(50, 20, 2));
    let mut all = chosen(50, 100, 1);
    assert_eq!(all[..20], first);
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<_>>());
    assert_eq!(
        (short("red apple", 16), short("an apple of the reddest kind", 16)),
        ("red apple".into(), "an apple of th..".into())
    );
}

#[test]
fn a_file_that_is_no_model_is_refused_by_name() {
    let path = std::env::temp_dir().join(format!("nijimi-no-artist-{}.gguf", std::process::id()));
    std::fs::write(&path, b"GGUF but no more").expect("writing");
    let how = Drawing { method: None, steps: None, guidance_scale: None, batch: 1, threads: 1 };
    let told = Artist::open(&path, &how).map(|_| ()).unwrap_err().to_string();
    std::fs::remove_file(&path).expect("removal");
    assert!(told.contains("nijimi-no-artist"), "{told}");
}
