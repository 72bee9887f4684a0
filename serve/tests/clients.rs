//! What clients of other servers ask for, as they do.

mod common;

use common::{Running, config, decode, digits, pixels, read};
use serde_json::{Value, json};

const TXT2IMG: &str = "/sdapi/v1/txt2img";

/// With all that usual clients send along.
// Seen red: seeds of a batch all alike.
#[test]
fn the_web_uis_requests() {
    let server = Running::new(config());
    let body = json!({
        "prompt": "4", "negative_prompt": "", "seed": 9, "steps": 3, "cfg_scale": 3.0, "width": 28, "height": 28,
        "batch_size": 2, "n_iter": 2, "sampler_name": "DDIM", "scheduler": "Automatic", "send_images": true,
        "save_images": false, "override_settings": {}, "override_settings_restore_afterwards": true, "restore_faces": false,
        "tiling": false, "enable_hr": false, "denoising_strength": 0.7, "hr_scale": 2, "hr_upscaler": "Latent",
        "hr_second_pass_steps": 0, "subseed": -1, "subseed_strength": 0, "seed_resize_from_h": -1, "seed_resize_from_w": -1,
        "styles": [], "eta": null, "s_churn": 0.0, "s_noise": 1.0, "script_name": null, "script_args": [],
        "alwayson_scripts": {}, "do_not_save_samples": true, "do_not_save_grid": true,
    });
    let reply = server.post(TXT2IMG, &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    let images = answer["images"].as_array().unwrap();
    let got: Vec<_> = images.iter().map(|image| pixels(image).0).collect();
    let info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    assert_eq!(info["all_seeds"], json!([9, 10, 11, 12]));
    assert_eq!((&info["sampler_name"], &info["steps"]), (&json!("DDIM"), &json!(3)));
    assert_eq!(info["infotexts"][3], json!(pixels(&images[3]).1));
    assert!(pixels(&images[3]).1.contains("Sampler: ddim, CFG scale: 3, Seed: 12"), "{}", pixels(&images[3]).1);
    assert_eq!(answer["parameters"]["steps"], 3);
    // The digits' own way is DDIM of that guidance.
    assert_eq!(got, digits("4", 9, 4, 3));
    let none = server.post(TXT2IMG, &json!({ "prompt": "4", "steps": 1, "send_images": false })).json();
    assert_eq!(none["images"], json!([]));
}

// Seen red: the chosen model forgotten.
#[test]
fn models_are_told_and_chosen() {
    let server = Running::new(config());
    let names = |value: &Value, key: &str| {
        value.as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let models = server.get("/v1/models").json();
    assert_eq!(names(&models["data"], "id"), ["digits", "emoji"]);
    assert_eq!((&models["data"][0]["size"], &models["data"][1]["size"]), (&json!("28x28"), &json!("64x64")));
    assert_eq!(server.get("/v1/models/emoji").json()["id"], "emoji");
    assert_eq!(server.get("/v1/models/..%2Fx").status, 404);
    assert_eq!(names(&server.get("/sdapi/v1/sd-models").json(), "model_name"), ["digits", "emoji"]);
    assert!(names(&server.get("/sdapi/v1/samplers").json(), "name").contains(&"Euler a".to_owned()));
    assert!(names(&server.get("/sdapi/v1/schedulers").json(), "label").contains(&"Karras".to_owned()));
    assert_eq!(server.post("/sdapi/v1/options", &json!({ "sd_model_checkpoint": "emoji" })).status, 200);
    assert_eq!(server.get("/sdapi/v1/options").json()["sd_model_checkpoint"], "emoji");
    let drawn = server.post(TXT2IMG, &json!({ "prompt": "a cat", "steps": 1, "sampler_name": "Euler a" })).json();
    assert!(pixels(&drawn["images"][0]).1.contains("Size: 64x64"));
    // OpenAI's clients are not theirs.
    let drawn = server.post("/v1/images/generations", &json!({ "prompt": "4", "steps": 1 }));
    assert_eq!(drawn.status, 200, "{}", drawn.text());
}

/// What these clients have under way is left, and nothing else.
// Seen red: the work not left.
#[test]
fn progress_and_interruption() {
    let server = Running::new(config());
    let idle = server.get("/sdapi/v1/progress").json();
    assert_eq!((&idle["progress"], &idle["state"]["job_count"]), (&json!(0.0), &json!(0)));
    assert_eq!(server.post("/sdapi/v1/interrupt", &json!({})).status, 200);
    let body = json!({ "prompt": "1", "steps": 1000, "batch_size": 8, "sampler_name": "DDIM" }).to_string();
    let running = server.send("POST", TXT2IMG, "", body.as_bytes());
    server.until(|health| health["running"] == 1);
    let mut look = Value::Null;
    while look.is_null() {
        let now = server.get("/sdapi/v1/progress?skip_current_image=false").json();
        assert_eq!(now["state"]["job_count"], 1, "{now}");
        look = now["current_image"].clone();
    }
    assert!(decode(look.as_str().unwrap()).starts_with(b"\x89PNG"));
    let now = server.get("/sdapi/v1/progress?skip_current_image=true").json();
    assert!(now["current_image"].is_null() && now["state"]["sampling_steps"] == 1000, "{now}");
    let done = now["progress"].as_f64().unwrap();
    assert!(done > 0.0 && done < 1.0 && now["eta_relative"].as_f64().unwrap() > 0.0, "{now}");
    server.post("/sdapi/v1/interrupt", &json!({}));
    let reply = read(running);
    assert_eq!((reply.status, &reply.json()["images"]), (200, &json!([])), "{}", reply.text());

    let other = json!({ "prompt": "5", "seed": 1, "steps": 200 });
    let running = server.send("POST", "/v1/images/generations", "", other.to_string().as_bytes());
    server.until(|health| health["running"] == 1);
    server.post("/sdapi/v1/interrupt", &json!({}));
    assert_eq!(pixels(&read(running).json()["data"][0]["b64_json"]).0, digits("5", 1, 1, 200)[0]);
}

// Seen red: a picture too many counted.
#[test]
fn the_page_and_the_counters() {
    let server = Running::new(config());
    let page = server.get("/");
    assert!(
        page.status == 200 && page.head.contains("text/html") && page.head.contains("default-src 'none'"),
        "{}",
        page.head
    );
    // Nothing of anywhere else.
    assert!(!page.text().contains("http://") && !page.text().contains("https://"));
    server.post("/v1/images/generations", &json!({ "prompt": "4", "steps": 2, "n": 3 }));
    server.get("/nowhere");
    let text = server.get("/metrics").text();
    for line in [
        "nijimi_requests_total{path=\"/v1/images/generations\",status=\"200\"} 1",
        "nijimi_requests_total{path=\"other\",status=\"404\"} 1",
        "nijimi_refused_total{reason=\"not_found\"} 1",
        "nijimi_pictures_total 3",
        "nijimi_steps_total 2",
        "nijimi_runs_total 1",
        "nijimi_queue_length 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
}
