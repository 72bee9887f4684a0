//! What a server bears: too many clients, clients that leave, an end, strangers, and bodies that were made to harm.

mod common;

use common::{Running, config, digits, encode, pixels, read};
use nijimi_serve::{Config, ServeError, Server};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const DRAW: &str = "/v1/images/generations";

// Seen red: the limit not looked at.
#[test]
fn a_full_queue_says_so() {
    let mut small = config();
    small.limits.queue = 1;
    let server = Running::new(small);
    let busy = server.busy();
    let one = json!({ "prompt": "1", "seed": 2, "steps": 1 });
    let waits = server.send("POST", DRAW, "", one.to_string().as_bytes());
    server.until(|health| health["waiting"] == 1);
    for path in [DRAW, "/sdapi/v1/txt2img"] {
        let reply = server.post(path, &one);
        assert_eq!(reply.status, 503, "{}", reply.text());
        let after = reply.head.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
        assert!(after.parse::<u64>().unwrap() >= 1, "{after}");
        assert!(reply.text().contains("queue_full"), "{}", reply.text());
    }
    drop(waits);
    server.until(|health| health["waiting"] == 0);
    let waits = server.send("POST", DRAW, "", one.to_string().as_bytes());
    server.until(|health| health["waiting"] == 1);
    drop(busy);
    assert_eq!(pixels(&read(waits).json()["data"][0]["b64_json"]).0, digits("1", 2, 1, 1)[0]);
    assert!(server.get("/metrics").text().contains("nijimi_refused_total{reason=\"queue_full\"} 2"));
}

/// Also of one that is shown the steps.
// Seen red: the run finished for nobody.
#[test]
fn a_client_that_goes_frees_the_worker() {
    let server = Running::new(config());
    let body = json!({ "prompt": "1", "steps": 1000, "n": 16, "sampling_method": "ddim", "stream": true });
    let shown = server.send("POST", DRAW, "", body.to_string().as_bytes());
    server.until(|health| health["running"] == 1);
    drop(shown);
    server.until(|health| health["running"] == 0);
    drop(server.busy());
    server.until(|health| health["running"] == 0);
    let (steps, pictures) = (server.counter("steps_total"), server.counter("pictures_total"));
    assert!(steps < 2000.0 && pictures == 0.0, "{steps} steps, {pictures} pictures");
    assert_eq!(server.counter("cancelled_total"), 2.0);
}

/// What is being drawn may be finished; what waits is refused; who comes is not answered.
// Seen red: those that wait not told.
#[test]
fn the_end_is_bounded() {
    let mut server = Running::new(config());
    let draws = json!({ "prompt": "5", "seed": 1, "steps": 100 });
    let running = server.send("POST", DRAW, "", draws.to_string().as_bytes());
    server.until(|health| health["running"] == 1);
    let waits = server.send("POST", DRAW, "", json!({ "prompt": "1", "steps": 1 }).to_string().as_bytes());
    server.until(|health| health["waiting"] == 1);
    server.stop();
    assert_eq!(read(running).status, 200);
    let refused = read(waits);
    assert!(refused.status == 503 && refused.text().contains("stopping"), "{}", refused.text());
    assert!(TcpStream::connect(server.address).is_err());

    let mut hurried = config();
    hurried.grace = Duration::from_millis(100);
    let mut server = Running::new(hurried);
    let busy = server.busy();
    let begun = Instant::now();
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(read(busy).status, 503);
}

const TOKEN: &str = "0123456789abcdef0123";

// Seen red: any token of the right length taken.
#[test]
fn a_token_is_asked_for() {
    let mut guarded = config();
    guarded.token = Some(TOKEN.into());
    let server = Running::new(guarded);
    let body = json!({ "prompt": "1", "steps": 1 }).to_string();
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("POST", DRAW),
        ("POST", "/v1/images/edits"),
        ("POST", "/sdapi/v1/txt2img"),
        ("GET", "/sdapi/v1/progress"),
        ("POST", "/sdapi/v1/interrupt"),
        ("GET", "/nowhere"),
    ] {
        for header in ["", "Authorization: Bearer 0123456789abcdef0124\r\n", "Authorization: Bearer\r\n"] {
            let reply = read(server.send(method, path, header, body.as_bytes()));
            assert_eq!(reply.status, 401, "{path} {header}: {}", reply.text());
            assert!(reply.head.contains("www-authenticate: bearer"), "{}", reply.head);
        }
    }
    assert_eq!((server.get("/health").status, server.get("/").status), (200, 200));
    let reply = read(server.send("POST", DRAW, &format!("Authorization: Bearer {TOKEN}\r\n"), body.as_bytes()));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

// Seen red: an origin not compared.
#[test]
fn others_reach_it_with_a_token_alone() {
    let bind = |change: fn(&mut Config)| {
        let mut config = config();
        config.host = "0.0.0.0".parse().unwrap();
        change(&mut config);
        Server::bind(config).map(drop)
    };
    assert!(matches!(bind(|_| {}), Err(ServeError::Unsafe(_))));
    assert!(matches!(bind(|config| config.token = Some("short".into())), Err(ServeError::Token(_))));
    bind(|config| config.token = Some(TOKEN.into())).unwrap();
    bind(|config| config.insecure = true).unwrap();
    // Nor does a page of the web, by whatever name it has for this machine.
    let server = Running::new(config());
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /v1/models HTTP/1.1\r\nHost: evil.org\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(read(stream).status, 403);
    let foreign = read(server.send("POST", DRAW, "Origin: http://evil.org\r\n", b"{\"prompt\": \"1\"}"));
    assert_eq!(foreign.status, 403);
}

/// An error that names what is wrong, in the client's shape; the server goes on.
// Seen red: unknown fields passed over.
#[test]
fn bodies_that_were_made_to_harm() {
    let mut bounded = config();
    bounded.memory = Some(1 << 30);
    let server = Running::new(bounded);
    let draw = |body: Value| (DRAW, body.to_string().into_bytes());
    let old = |body: Value| ("/sdapi/v1/txt2img", body.to_string().into_bytes());
    let from = |image: &str| {
        let body =
            json!({ "init_images": [image], "prompt": "", "override_settings": { "sd_model_checkpoint": "emoji" } });
        ("/sdapi/v1/img2img", body.to_string().into_bytes())
    };
    // A header that claims 40000 x 40000 pixels.
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x9c\x40\0\0\x9c\x40\x08\x06\0\0\0".to_vec();
    bomb.extend([0; 64]);
    let emoji = |key: &str, value: Value| {
        let mut body = json!({ "model": "emoji", "prompt": "a cat", "steps": 1 });
        body[key] = value;
        draw(body)
    };
    for ((path, body), status, part) in [
        ((DRAW, b"".to_vec()), 400, "no JSON"),
        ((DRAW, b"{\"prompt\":".to_vec()), 400, "no JSON"),
        ((DRAW, b"\xff\xfe\x00".to_vec()), 400, "no JSON"),
        ((DRAW, "[".repeat(1 << 20).into_bytes()), 400, "no JSON"),
        ((DRAW, b"[1]".to_vec()), 400, "no object"),
        (draw(json!({})), 400, "prompt: it is missing"),
        (draw(json!({ "prompt": 7 })), 400, "prompt: must be a text"),
        (draw(json!({ "prompt": "x" })), 400, "prompt: must be one of this model's labels: 0, 1"),
        (draw(json!({ "prompt": "7", "n": 0 })), 400, "n: must be a whole number from 1 to 16"),
        (draw(json!({ "prompt": "7", "n": 1e18 })), 400, "n: must be"),
        (draw(json!({ "prompt": "7", "steps": 1001 })), 400, "steps: must be"),
        (draw(json!({ "prompt": "7", "size": "1024x1024" })), 400, "width: digits draws 28x28 alone"),
        (draw(json!({ "prompt": "7", "response_format": "url" })), 400, "response_format: "),
        (draw(json!({ "prompt": "7", "quality": "hd" })), 400, "quality: "),
        (draw(json!({ "prompt": "7", "style": "vivid" })), 400, "style: "),
        (draw(json!({ "prompt": "7", "background": "transparent" })), 400, "background: "),
        (draw(json!({ "prompt": "7", "lora": "x" })), 400, "lora: this field is not known"),
        (draw(json!({ "prompt": "7", "negative_prompt": "x" })), 400, "negative_prompt: digits reads no prompts"),
        (draw(json!({ "prompt": "7", "seed": -1.5 })), 400, "seed: "),
        (draw(json!({ "prompt": "7", "cfg_scale": "nan" })), 400, "cfg_scale: "),
        (draw(json!({ "prompt": "7", "sampling_method": "magic" })), 400, "sampling_method: not known"),
        (draw(json!({ "prompt": "7", "model": "../weights/digits" })), 404, "no model is called"),
        (draw(json!({ "prompt": "7", "model": "/etc/passwd" })), 404, "model_not_found"),
        (draw(json!({ "prompt": "7", "model": "digits.gguf" })), 404, "no model"),
        (emoji("size", json!("0x64")), 400, "size: "),
        (emoji("size", json!("65x64")), 400, "width: 65 is not a multiple of"),
        (emoji("size", json!("99999999999999999999x64")), 400, "size: "),
        (emoji("size", json!("65536x64")), 400, "width: 65536 is more than 2048"),
        (draw(json!({ "model": "emoji", "prompt": "a cat", "cfg_scale": 3, "size": "2048x2048" })), 400, "MB"),
        (emoji("prompt", json!("a ".repeat(6000))), 400, "prompt: it has 12000 bytes"),
        (emoji("prompt", json!("a ".repeat(4000))), 400, "prompt: it, or the negative one, is longer"),
        (emoji("cfg_scale", json!(1e30)), 400, "cfg_scale: "),
        (emoji("strength", json!(0.5)), 400, "strength: "),
        (old(json!({ "prompt": "7", "sampler_name": "magic" })), 400, "sampler_name: not known"),
        (old(json!({ "prompt": "7", "enable_hr": true })), 400, "enable_hr: "),
        (old(json!({ "prompt": "7", "batch_size": 8, "n_iter": 8 })), 400, "n_iter: 64 pictures"),
        (old(json!({ "prompt": "7", "override_settings": { "CLIP_stop_at_last_layers": 2 } })), 400, "CLIP_stop"),
        (old(json!({ "prompt": "7", "script_name": "X/Y/Z plot" })), 400, "script_name: "),
        (old(json!({ "prompt": "7", "alwayson_scripts": { "controlnet": {} } })), 400, "alwayson_scripts: "),
        (from("!!!"), 400, "init_images: it is no base64"),
        (from(&encode(b"GIF89a")), 400, "neither a PNG nor a JPEG"),
        (from(&encode(&bomb)), 400, "init_images: it "),
        (("/sdapi/v1/options", b"{\"sd_model_checkpoint\": \"../x\"}".to_vec()), 404, "no model"),
        (("/sdapi/v1/options", b"{\"sd_vae\": \"x\"}".to_vec()), 400, "sd_vae: "),
        (("/nowhere", b"{}".to_vec()), 404, "not_found"),
        (("/health", b"{}".to_vec()), 405, "method_not_allowed"),
    ] {
        let reply = read(server.send("POST", path, "", &body));
        let text = reply.text();
        assert!(reply.status == status && text.contains(part), "{part}: {} {text:.400}", reply.status);
        let json = reply.json();
        let message = if path.starts_with("/sdapi") { &json["detail"] } else { &json["error"]["message"] };
        assert!(message.is_string(), "{text:.400}");
    }
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST {DRAW} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 33554433\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let large = read(stream);
    assert!(large.status == 413 && large.text().contains("too_large"), "{}", large.text());
    // Nothing was drawn, and all of it still can be.
    assert_eq!(
        (server.counter("steps_total"), server.post(DRAW, &json!({ "prompt": "7", "steps": 1 })).status),
        (0.0, 200)
    );
}

/// The plan is known before a run: nothing is begun that would take more.
// Seen red: the memory not asked about.
#[test]
fn what_takes_too_much_memory_is_refused() {
    let ask = |memory: u64, models: &[&str]| {
        let mut bounded = config();
        bounded.memory = Some(memory);
        let server = Running::new(bounded);
        let draw = |model: &&str| {
            let prompt = if *model == "emoji" { "a cat" } else { "7" };
            server.post(DRAW, &json!({ "model": model, "prompt": prompt, "steps": 1 }))
        };
        let replies: Vec<_> = models.iter().map(draw).map(|reply| (reply.status, reply.text())).collect();
        server.until(|health| health["running"] == 0);
        (replies, server.counter("model_bytes"))
    };
    let (replies, bytes) = ask(1 << 20, &["emoji", "digits"]);
    for (status, text) in replies {
        assert!(status == 400 && (text.contains(" MB") || text.contains("bytes of weights")), "{status} {text}");
    }
    assert!(bytes <= f64::from(1 << 20), "{bytes}");
    // Room for either, and not for both at their fullest.
    let (replies, bytes) = ask(40 << 20, &["digits", "emoji", "digits", "emoji"]);
    assert!(
        replies.iter().all(|reply| reply.0 == 200),
        "{:?}",
        replies.iter().map(|r| &r.1[..200.min(r.1.len())]).collect::<Vec<_>>()
    );
    assert!(bytes <= f64::from(40 << 20), "{bytes}");
}
