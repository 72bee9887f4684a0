//! What is drawn: the picture of its seed, alone, in a batch, step by step, from a picture.

mod common;

use common::{Running, config, digits, emoji, encode, pixels, read};
use nijimi_runtime::model::{Device, Stored, TextToImage};
use serde_json::{Value, json};

const DRAW: &str = "/v1/images/generations";

/// The text is the program's, so that its options can be read from the picture.
// Seen red: seeds of a batch all alike.
#[test]
fn a_picture_is_the_one_of_its_seed() {
    let server = Running::new(config());
    let reply = server.post(DRAW, &json!({ "prompt": "7", "n": 3, "seed": 5, "steps": 2 }));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let data = reply.json()["data"].as_array().unwrap().clone();
    let got: Vec<_> = data.iter().map(|picture| pixels(&picture["b64_json"]).0).collect();
    assert_eq!(got, digits("7", 5, 3, 2));
    assert_eq!([5, 6, 7].map(|seed| json!(seed)), [0, 1, 2].map(|i: usize| data[i]["seed"].clone()));
    let text = pixels(&data[1]["b64_json"]).1;
    assert!(text.starts_with("7\nSteps: 2, Sampler: ddim, CFG scale: 3, Seed: 6, Size: 28x28, Model: "), "{text}");

    let reply = server.post(DRAW, &json!({ "model": "emoji", "prompt": "a red apple", "seed": 3, "steps": 2 }));
    let got = pixels(&reply.json()["data"][0]["b64_json"]).0;
    assert_eq!(got, emoji("a red apple", 3, 2, |_| {}));
    let all = json!({
        "model": "emoji", "prompt": "a cat", "seed": 3, "steps": 2, "negative_prompt": "blue", "cfg_scale": 5, "size": "32x64",
    });
    let got = pixels(&server.post(DRAW, &all).json()["data"][0]["b64_json"]).0;
    let want = emoji("a cat", 3, 2, |request| {
        (request.negatives, request.guidance_scale, request.size) = (vec![Some("blue")], 5.0, [64, 32]);
    });
    assert_eq!(got, want);
    // A seed of nobody's is told.
    let data = server.post(DRAW, &json!({ "prompt": "7", "steps": 1 })).json()["data"][0].clone();
    assert_eq!(pixels(&data["b64_json"]).0, digits("7", data["seed"].as_u64().unwrap(), 1, 1)[0]);
}

/// Whatever waits with the same settings is drawn at once, and each picture as it would be alone.
// Seen red: the run before them not left; each job a run of its own.
#[test]
fn requests_that_wait_share_a_run() {
    let server = Running::new(config());
    let busy = server.busy();
    let ask = |i: usize, steps: usize| {
        let body = json!({ "prompt": i.to_string(), "seed": i * 10, "steps": steps });
        server.send("POST", DRAW, "", body.to_string().as_bytes())
    };
    let waiting: Vec<_> = (0..5).map(|i| (i, 2, ask(i, 2))).chain([(9, 3, ask(9, 3))]).collect();
    server.until(|health| health["waiting"] == 6);
    drop(busy);
    for (i, steps, stream) in waiting {
        let reply = read(stream);
        let got = pixels(&reply.json()["data"][0]["b64_json"]).0;
        assert_eq!(got, digits(&i.to_string(), i as u64 * 10, 1, steps)[0], "{i}");
    }
    // The run that was left is none: five in one, one alone.
    assert_eq!((server.counter("runs_total"), server.counter("pictures_total")), (2.0, 6.0));
    // Prompts, too, and those of two windows not with those of one: the shorter one would be another picture.
    let busy = server.busy();
    let long = "a very red apple and ".repeat(20);
    let prompts = ["a red apple", "a cat", &long];
    let ask = |prompt: &str| {
        let body = json!({ "model": "emoji", "prompt": prompt, "seed": 4, "steps": 1 });
        server.send("POST", DRAW, "", body.to_string().as_bytes())
    };
    let waiting = prompts.map(|prompt| (prompt, ask(prompt)));
    server.until(|health| health["waiting"] == 3);
    drop(busy);
    for (prompt, stream) in waiting {
        assert_eq!(pixels(&read(stream).json()["data"][0]["b64_json"]).0, emoji(prompt, 4, 1, |_| {}), "{prompt:.20}");
    }
    assert_eq!(server.counter("runs_total"), 4.0);
}

// Seen red: seeds of a batch all alike.
#[test]
fn steps_are_shown_as_events() {
    let server = Running::new(config());
    let ask = |partial: Value| {
        server.post(
            DRAW,
            &json!({ "prompt": "3", "seed": 8, "steps": 4, "n": 2, "stream": true, "partial_images": partial }),
        )
    };
    let reply = ask(Value::Null);
    assert!(reply.head.contains("content-type: text/event-stream"), "{}", reply.head);
    let events = reply.events();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, [vec!["image_generation.partial_image"; 8], vec!["image_generation.completed"; 2]].concat());
    let place =
        |event: &Value| ["step", "steps", "index", "partial_image_index"].map(|key| event[key].as_u64().unwrap());
    let places: Vec<_> = events[..8].iter().map(place).collect();
    assert_eq!(places, (0..8).map(|i| [i / 2 + 1, 4, i % 2, i / 2]).collect::<Vec<_>>());
    let want = digits("3", 8, 2, 4);
    for i in 0..2 {
        assert_eq!(pixels(&events[8 + i]["b64_json"]).0, want[i]);
        // The estimate of the last step is the picture; the first one is not.
        assert_eq!(pixels(&events[6 + i]["b64_json"]).0, want[i]);
        assert_ne!(pixels(&events[i]["b64_json"]).0, want[i]);
    }
    let count = |partial| ask(json!(partial)).events().len();
    assert_eq!((count(0), count(1)), (2, 4));
}

/// A picture of `width` x `height`, as a PNG file; the right half is transparent if that is asked for.
fn png_of(width: usize, height: usize, alpha: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(if alpha { png::ColorType::Rgba } else { png::ColorType::Rgb });
    let color = |i: usize| [(i % width * 3) as u8, (i / width * 3) as u8, 90];
    let pixel = |i: usize| match alpha {
        true => [&color(i)[..], &[if i % width < width / 2 { 255 } else { 0 }]].concat(),
        false => color(i).to_vec(),
    };
    let pixels: Vec<u8> = (0..width * height).flat_map(pixel).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// What the runtime alone makes of that picture, with the right half repainted or all of it.
fn edited(strength: f64, masked: bool) -> Vec<u8> {
    let model = TextToImage::load(&common::EMOJI.file().unwrap(), &Device::Cpu).unwrap();
    let defaults = model.info().defaults;
    let (schedule, settings) = model.info().settings_by(defaults.solver, defaults.sigmas, 4).unwrap();
    let calls = nijimi_runtime::sampler::Calls::new(&schedule, &settings.from_strength(strength)).unwrap();
    let picture = |i: usize| [(i % 64 * 3) as f32, (i / 64 * 3) as f32, 90.0].map(|v| v / 255.0);
    let picture: Vec<f32> = (0..64 * 64).flat_map(picture).collect();
    let mask: Vec<f32> = (0..64 * 64).map(|i| if i % 64 < 32 { 0.0 } else { 1.0 }).collect();
    let mut request = model.request("a red apple", 2, &calls);
    request.init_image = Some(&picture);
    request.mask = masked.then_some(&mask);
    let mut run = model.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    run.to_u8().unwrap()
}

// Seen red: the mask the other way round.
#[test]
fn a_picture_begins_with_another() {
    let server = Running::new(config());
    let form = |parts: &[(&str, &[u8])]| {
        let mut body = Vec::new();
        for (name, bytes) in parts {
            let file = if matches!(*name, "image" | "mask") { "; filename=\"../../etc/passwd\"" } else { "" };
            body.extend(format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
            body.extend_from_slice(bytes);
            body.extend(b"\r\n");
        }
        body.extend(b"--B--\r\n");
        read(server.send("POST", "/v1/images/edits", "Content-Type: multipart/form-data; boundary=B\r\n", &body))
    };
    let common: [(&str, &[u8]); 5] =
        [("prompt", b"a red apple"), ("model", b"emoji"), ("seed", b"2"), ("steps", b"4"), ("strength", b"0.5")];
    let (opaque, half) = (png_of(64, 64, false), png_of(64, 64, true));
    let draw = |files: &[(&str, &[u8])]| {
        let reply = form(&[&common[..], files].concat());
        assert_eq!(reply.status, 200, "{}", reply.text());
        pixels(&reply.json()["data"][0]["b64_json"])
    };
    let (whole, text) = draw(&[("image", &opaque)]);
    assert!(text.contains("Denoising strength: 0.5"), "{text}");
    assert_eq!(whole, edited(0.5, false));
    assert_eq!(draw(&[("image", &opaque), ("mask", &half)]).0, edited(0.5, true));
    // AUTOMATIC1111's: white is repainted, and strength has another name.
    let white = {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 64, 64);
        encoder.set_color(png::ColorType::Grayscale);
        let pixels: Vec<u8> = (0..64 * 64).map(|i| if i % 64 < 32 { 0 } else { 255 }).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        bytes
    };
    let body = |mask: Value| {
        json!({
            "prompt": "a red apple", "override_settings": { "sd_model_checkpoint": "emoji" }, "seed": 2, "steps": 4,
            "denoising_strength": 0.5, "init_images": [format!("data:image/png;base64,{}", encode(&opaque))], "mask": mask,
        })
    };
    let draw = |mask| pixels(&server.post("/sdapi/v1/img2img", &body(mask)).json()["images"][0]).0;
    assert_eq!((draw(Value::Null), draw(json!(encode(&white)))), (edited(0.5, false), edited(0.5, true)));

    for (files, part) in [
        (&[][..], "image: "),
        (&[("image", &opaque[..]), ("image", &opaque)], "given twice"),
        (&[("image", &opaque), ("mask", &png_of(32, 32, true))], "mask: must have the size"),
        (&[("image", b"no picture")], "neither a PNG nor a JPEG"),
        (&[("image", &opaque[..120])], "damaged"),
        (&[("image", &opaque), ("strength", b"0.5")], "strength: given twice"),
    ] {
        let reply = form(&[&common[..], files].concat());
        assert!(reply.status == 400 && reply.text().contains(part), "{part}: {}", reply.text());
    }
}
