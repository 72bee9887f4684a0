//! Both stages of latent diffusion from a folder of captioned pictures to a file that draws, through the program.
#[path = "common/colours.rs"]
mod colours;
#[allow(dead_code, reason = "shared by tests that each use a part")]
mod common;

use colours::{COLOURS, write_pictures};
use common::Folder;
use nijimi_runtime::gguf::{File, Writer};
use nijimi_runtime::model::{Device, FirstStage, LatentInfo, LatentRequest, TextToImage};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::{Field, Prediction};
use nijimi_trainer::checkpoint::Checkpoint;
use std::process::{Command, Output};

const SIDE: usize = 16;

fn train(folder: &Folder, system: &str, options: &str) -> Output {
    let (data, common) = (folder.join("pictures"), "--size 16 --groups 2 --batch 8 -t 2");
    let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi-train"));
    command.current_dir(&folder.0).arg(system).arg("--data").arg(data);
    command.args(common.split(' ')).args(options.split_whitespace()).output().expect("nijimi-train")
}

fn done(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// What it says when it refuses.
fn refused(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(2 | 3)), "{said}");
    said
}

fn autoencoder(folder: &Folder, options: &str) -> Output {
    let sizes = if options.contains("--channels") { "" } else { "--channels 8,16" };
    train(folder, "autoencoder", &format!("{sizes} --shift 0 --warmup 5 {options}"))
}

const SIZES: &str = "--channels 16,32 --transformers 0,1 --head 8 --text-width 16 --text-layers 1 --tokens 8 \
                     --vocabulary 600 --warmup 5";

fn text2image(folder: &Folder, options: &str) -> Output {
    train(folder, "text2image", options)
}

/// The mean colour that a file draws for a prompt, 0 to 255.
fn drawn(bytes: &[u8], prompt: &str) -> [f32; 3] {
    let model = TextToImage::load(&File::new_checked(bytes).expect("a file"), &Device::Cpu).expect("a model");
    let defaults = model.info().defaults;
    let calls = model.calls_by(defaults.solver, defaults.sigmas, defaults.steps.expect("steps")).expect("calls");
    let guidance_scale = defaults.guidance_scale.expect("a scale");
    let request = LatentRequest { guidance_scale, size: [SIDE, SIDE], ..model.request(prompt, 5, &calls) };
    let mut run = model.run(&request).expect("a run");
    while run.step().expect("a step").is_some() {}
    let picture = run.to_u8().expect("a picture");
    assert_eq!(picture.len(), 3 * SIDE * SIDE);
    [0, 1, 2].map(|c| picture.iter().skip(c).step_by(3).map(|v| f32::from(*v)).sum::<f32>() / (SIDE * SIDE) as f32)
}

/// The prompt leads: each colour that is asked for is drawn, and no other. Seen red with the captions of all examples
/// dropped.
#[test]
fn pictures_follow_their_prompts() {
    let folder = Folder::new("text2image");
    write_pictures(&folder.join("pictures"));
    let said = done(autoencoder(&folder, "--out first.gguf --hold-out 0 --epochs 100 --lr 4e-3"));
    assert!(said.contains("broken.png"), "what was passed over is told: {said}");
    let first = std::fs::read(folder.join("first.gguf")).expect("the autoencoder");
    let stage = FirstStage::read(&File::new_checked(&first).expect("a file")).expect("a first stage");
    assert!(stage.scaling_factor.is_finite() && stage.network.kl().unwrap().channels == [8, 16]);

    let said = done(text2image(
        &folder,
        &format!(
            "{SIZES} --autoencoder first.gguf --out model.gguf --epochs 60 --lr 3e-3 --ema 0.98 --type q8_0 --license CC0-1.0"
        ),
    ));
    assert!(said.contains("million parameters"), "{said}");
    let bytes = std::fs::read(folder.join("model.gguf")).expect("the model");
    let info = LatentInfo::read(&File::new_checked(&bytes).expect("a file")).expect("a description");
    assert_eq!((info.sample_size, info.texts[0].network.positions, &*info.license), (8, 8, "CC0-1.0"));
    for (name, asked) in COLOURS {
        let found = drawn(&bytes, &format!("{name} tile"));
        let apart = |c: [u8; 3]| (0..3).map(|i| (found[i] - f32::from(c[i])).powi(2)).sum::<f32>().sqrt();
        println!("{name}: {found:?}, {:.0} away", apart(asked));
        for (other, colour) in COLOURS {
            assert!(other == name || apart(asked) < 0.5 * apart(colour), "{name} was drawn as {found:?}");
        }
    }
    judged(&folder);
    taught(&folder);
}

/// A student draws in two steps without guidance what its teacher draws in twenty with it. Seen red with guidance away from the
/// prompt. (Colours this plain come out by the teacher's own answers too: `latent/teacher.rs` tells them apart.)
fn taught(folder: &Folder) {
    let lesson = "--teacher model.gguf --steps 2 --teacher-steps 8 --epochs 20 --lr 1e-3 --ema 0.95";
    let common = "--data pictures --out student.gguf --batch 8 -t 2";
    let run = |options: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi-train"));
        command.current_dir(&folder.0).arg("distill").args(options.split_whitespace()).output().expect("nijimi-train")
    };
    done(run(&format!("{common} {lesson}")));
    let bytes = std::fs::read(folder.join("student.gguf")).expect("the student");
    let defaults = LatentInfo::read(&File::new_checked(&bytes).expect("a file")).expect("a description").defaults;
    assert_eq!((defaults.steps, defaults.guidance_scale), (Some(2), Some(1.0)));
    for (name, asked) in COLOURS {
        let found = drawn(&bytes, &format!("{name} tile"));
        let apart = |c: [u8; 3]| (0..3).map(|i| (found[i] - f32::from(c[i])).powi(2)).sum::<f32>().sqrt();
        println!("{name} by the student: {found:?}, {:.0} away", apart(asked));
        for (other, colour) in COLOURS {
            assert!(other == name || apart(asked) < 0.5 * apart(colour), "{name} was drawn as {found:?}");
        }
    }
    let said = refused(run(&format!("{common} --teacher model.gguf --report other --steps 3 --teacher-steps 20")));
    assert!(said.contains("--teacher-steps 20 for --steps 3"), "{said}");
}

/// `evaluate` says of the model that draws the right colours that they are, in its figures and its pictures. Seen red with
/// the captions of the samples in another order, and with the size of `--init` kept whatever `--size` says.
fn judged(folder: &Folder) {
    let run = |options: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi-train"));
        command.current_dir(&folder.0).args(options.split_whitespace()).output().expect("nijimi-train")
    };
    done(run("matcher --data pictures --size 16 --hold-out 0 --epochs 60 --batch 4 --out matcher.safetensors -t 2"));
    let judge = "evaluate model.gguf --data pictures --matcher matcher.safetensors -t 2";
    done(run(&format!("{judge} --report judged --captions 4 --seeds 2 --compare 4 --against model.gguf")));
    let json = std::fs::read(folder.join("judged/figures.json")).expect("the figures");
    let figures: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let found = &figures["matched"]["retrieval"]["samples"];
    assert_eq!((&found["pictures"], &found["captions"]), (&8.into(), &4.into()), "{figures:#}");
    assert!(found["first"].as_f64().expect("a share") > 0.9, "chance is a quarter: {figures:#}");
    let likeness = &figures["likeness"];
    let right = likeness["nearest_is_of_the_subject"].as_f64().expect("a share");
    assert!(right > 0.9 && likeness["pictures"] == 8, "chance is a quarter: {figures:#}");
    assert!(likeness["median_distance_to_the_subject"].as_f64().expect("a distance") < 4.0, "{figures:#}");
    let against = &figures["against"][0];
    assert_eq!((&against["pictures"], &against["psnr"]["equal"]), (&4.into(), &4.into()), "the same file: {figures:#}");
    for (name, [width, height]) in [("grid.png", [8 * 16, 8 * 16]), ("novel.png", [0, 0]), ("nearest.png", [0, 0])] {
        let picture = image::open(folder.join("judged").join(name)).expect(name).to_rgb8();
        assert!(picture.width() > width && picture.height() > height, "{name}: {:?}", picture.dimensions());
    }
    // A file that draws other sizes is not compared.
    done(run("text2image --data pictures --init model.gguf --out same.gguf --size 32 --max-steps 0 --type f32"));
    let said = refused(run(&format!("{judge} --report other --captions 4 --against same.gguf")));
    assert!(said.contains("same.gguf") && said.contains("draws 32x32, the model 16x16"), "{said}");
    // Left out, it is that of the file. Seen red with 64 in its place.
    done(run("text2image --data pictures --init model.gguf --out same.gguf --report left-out --max-steps 0"));
    let bytes = std::fs::read(folder.join("same.gguf")).expect("the model");
    let info = LatentInfo::read(&File::new_checked(&bytes).expect("a file")).expect("a description");
    assert_eq!((info.sample_size, &*info.license), (8, "CC0-1.0"));
}

/// Stopped and resumed is uninterrupted, to the bit; so is starting from a file, which brings all that it was made with.
/// Seen red with the trained tensors of `--init` left out.
#[test]
fn training_goes_on_where_it_was() {
    let folder = Folder::new("text2image-resume");
    write_pictures(&folder.join("pictures"));
    done(autoencoder(&folder, "--out first.gguf --hold-out 2 --epochs 2"));
    let tensors = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).expect("a file");
        let file = File::new_checked(&bytes).expect("a checked file");
        file.tensors().map(|t| (t.name.to_owned(), t.to_f32())).collect::<Vec<_>>()
    };
    for optimizer in ["muon", "adamw"] {
        let common = format!("{SIZES} --autoencoder first.gguf --epochs 2 --type f32 --optimizer {optimizer}");
        for (name, options) in [("once", ""), ("twice", "--max-steps 3"), ("twice", "--resume")] {
            let report = format!("{name}-{optimizer}");
            done(text2image(&folder, &format!("{common} --out {name}.gguf --report {report} {options}")));
        }
        assert_eq!(tensors("once.gguf"), tensors("twice.gguf"), "{optimizer}");
    }
    done(text2image(&folder, "--init once.gguf --out again.gguf --max-steps 0 --type f32"));
    assert_eq!(tensors("once.gguf"), tensors("again.gguf"));
}

/// A file of the same tensors that is drawn with epsilon on Stable Diffusion's levels.
fn as_epsilon(bytes: &[u8]) -> Vec<u8> {
    let file = File::new_checked(bytes).expect("a file");
    let mut info = LatentInfo::read(&file).expect("a description");
    for (name, field) in &mut info.settings {
        match &name[..] {
            "prediction_type" => *field = Field::Text("epsilon".into()),
            "beta_schedule" => *field = Field::Text("scaled_linear".into()),
            "beta_start" => *field = Field::Number(0.00085),
            "beta_end" => *field = Field::Number(0.012),
            _ => {}
        }
    }
    let vocabulary = nijimi_trainer::import::vocabulary(&file).expect("a vocabulary");
    let mut w = Writer::new();
    info.write(&mut w, &[&vocabulary], DType::F32).expect("a description");
    for t in file.tensors() {
        w.tensor(t.name, &t.shape(), DType::F32, &t.to_f32()).expect("a tensor");
    }
    w.finish()
}

/// What the network is to answer is what the file says that it answers, on the file's own levels, and the file that comes out says the
/// same. Seen red with v on the cosine for all, and with the sizes beside `--init` taken in silence.
#[test]
fn a_model_is_trained_on_as_its_file_says() {
    let folder = Folder::new("text2image-terms");
    write_pictures(&folder.join("pictures"));
    done(autoencoder(&folder, "--out first.gguf --hold-out 2 --epochs 1"));
    done(text2image(&folder, &format!("{SIZES} --autoencoder first.gguf --out v.gguf --max-steps 1 --type f32")));
    let bytes = std::fs::read(folder.join("v.gguf")).expect("a model");
    std::fs::write(folder.join("epsilon.gguf"), as_epsilon(&bytes)).expect("a file");
    for name in ["v", "epsilon"] {
        done(text2image(
            &folder,
            &format!(
                "--init {name}.gguf --out {name}-on.gguf --max-steps 2 --batches {name}-batches --channels 16,32 --tokens 8"
            ),
        ));
        let bytes = std::fs::read(folder.join(&format!("{name}-on.gguf"))).expect("a model");
        let info = LatentInfo::read(&File::new_checked(&bytes).expect("a file")).expect("a description");
        let (schedule, settings) = info.settings(None, &[], 1).expect("a schedule");
        assert_eq!(settings.prediction == Prediction::Epsilon, name == "epsilon");
        let kept = |path: &str| Checkpoint::load(&folder.join(path)).expect(path).tensors;
        let latents = kept(&format!("{name}-on-report/latents.safetensors")).remove("latents").expect("latents").data;
        let batch = kept(&format!("{name}-batches/batch-000002.safetensors"));
        let (x, answers, levels) = (&batch["x"].data, &batch["target"].data, &batch["level"].data);
        let len = x.len() / levels.len();
        for ((x, answer), level) in x.chunks_exact(len).zip(answers.chunks_exact(len)).zip(levels) {
            let a = schedule.alpha_bars()[*level as usize + 1];
            let (signal, sigma) = (a.sqrt() as f32, (1.0 - a).sqrt() as f32);
            let clean = |(x, answer): (&f32, &f32)| {
                if name == "epsilon" { (x - sigma * answer) / signal } else { signal * x - sigma * answer }
            };
            let clean: Vec<f32> = x.iter().zip(answer).map(clean).collect();
            let away = |z: &[f32]| z.iter().zip(&clean).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let nearest = latents.chunks_exact(len).map(away).fold(f32::INFINITY, f32::min);
            assert!(nearest < 1e-3, "{name}, level {level}: {nearest} from the nearest latents");
        }
    }
    for (option, there) in [("--channels 16,64", "16,32"), ("--text-width 32", "16"), ("--transformers 1,1", "0,1")] {
        let said = refused(text2image(&folder, &format!("--init v.gguf --out other.gguf {option}")));
        assert!(said.contains(option) && said.contains(there) && !folder.join("other.gguf").exists(), "{said}");
    }
    let lesson = "distill --teacher epsilon.gguf --data pictures --out student.gguf -t 2";
    let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi-train"));
    let said = refused(command.current_dir(&folder.0).args(lesson.split(' ')).output().expect("nijimi-train"));
    assert!(said.contains("--teacher") && said.contains("predict v"), "{said}");
}

/// What is held out is measured and not trained on, prompts of one's own are pictured, checkpoints are kept. Seen red with the
/// held-out pictures trained on too.
#[test]
fn a_run_is_watched() {
    let folder = Folder::new("text2image-watched");
    write_pictures(&folder.join("pictures"));
    done(autoencoder(&folder, "--out first.gguf --hold-out 2 --epochs 2"));
    std::fs::write(folder.join("prompts.txt"), "a red tile\n\n".repeat(9)).expect("prompts");
    let common = format!("{SIZES} --autoencoder first.gguf --hold-out 2 --prompts prompts.txt --type f32");
    let said = done(text2image(&folder, &format!("{common} --out model.gguf --epochs 3 --keep 2")));
    assert!(said.contains("on what is held out"), "{said}");
    let log = std::fs::read_to_string(folder.join("model-report/log.jsonl")).expect("the log");
    let lines = || log.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("JSON"));
    let held_out: Vec<f64> = lines().filter_map(|l| l["held_out_loss"].as_f64()).collect();
    assert!(held_out.len() == 3 && held_out.iter().all(|l| l.is_finite() && *l > 0.0), "{held_out:?}");
    // Three subjects, eight times each, in batches of eight.
    assert_eq!(lines().filter(|l| l["gradient_norm"].is_f64()).count(), 9);
    let preview = image::open(folder.join("model-report/epoch-003.png")).expect("a preview");
    // Nine of them are two rows of eight; three captions would be one.
    let (width, height) = preview.to_rgb8().dimensions();
    assert!(2 * width > 7 * height && 2 * width < 9 * height, "{width}x{height}");
    let kept = |name: &str| Checkpoint::load(&folder.join("model-report").join(name)).map(|c| c.tensors);
    let [first, second, third] = [1, 2, 3].map(|epoch| kept(&format!("checkpoint-000{epoch}.safetensors")));
    assert!(first.is_err() && second.is_ok(), "two are kept");
    assert!(third.expect("the last") == kept("checkpoint.safetensors").expect("the newest"), "another checkpoint");
    std::fs::write(folder.join("prompts.txt"), "\n").expect("prompts");
    let said = refused(text2image(&folder, &format!("{common} --out other.gguf --epochs 1")));
    assert!(said.contains("prompts.txt") && said.contains("one a line"), "{said}");
}

/// Each says what to do.
#[test]
fn what_makes_no_sense_is_refused() {
    let folder = Folder::new("text2image-refused");
    write_pictures(&folder.join("pictures"));
    done(autoencoder(&folder, "--out first.gguf --hold-out 2 --epochs 1"));
    let cases = [
        ("", "--autoencoder FILE"),
        ("--autoencoder first.gguf --init first.gguf", "leave --autoencoder out"),
        ("--init first.gguf", "nijimi.system"),
        ("--autoencoder first.gguf --channels 8,16 --transformers 1", "one for each of --channels"),
        ("--autoencoder first.gguf --channels 8,16 --transformers 0,1 --head 5", "--head 5"),
        ("--autoencoder first.gguf --channels 8,8,8,8,8 --transformers 0,0,0,0,0 --head 8", "fewer --channels"),
        ("--autoencoder first.gguf --vocabulary 10", "vocabulary"),
        ("--autoencoder first.gguf --channels 8,8 --transformers 0,0 --head 8 --optimizer sgd", "adamw or muon"),
        ("--autoencoder first.gguf --channels 8,8 --transformers 0,0 --head 8 --hold-out 9", "--hold-out 9"),
        ("--autoencoder pictures/red0.png", "red0.png"),
    ];
    for (options, expected) in cases {
        let said = refused(text2image(&folder, &format!("--out model.gguf {options}")));
        assert!(said.contains(expected), "{options}: {said}");
        assert!(!folder.join("model.gguf").exists());
    }
    let said = refused(autoencoder(&folder, "--out other.gguf --channels 8,9 --hold-out 0"));
    assert!(said.contains("9 channels"), "{said}");
    let said = refused(autoencoder(&folder, "--out other.gguf --hold-out 100"));
    assert!(said.contains("--hold-out"), "{said}");
}
