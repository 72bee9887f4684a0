//! A student of few steps of a diffusion model on labelled pictures: what it is taught, what it draws, what cannot be taught.
#[allow(dead_code, reason = "shared by tests that each use a part")]
mod common;

use common::{Folder, LABELS, PICTURES, idx, write_data};
use dfdx::prelude::Cpu;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Info, Request, SessionOptions};
use nijimi_runtime::raw::cpu::position_encoding;
use nijimi_runtime::sampler::{Calls, Prediction, Solver, SolverSettings};
use nijimi_runtime::schedule::Spacing;
use nijimi_trainer::import;
use nijimi_trainer::systems::ddpm::student::course;
use nijimi_trainer::systems::ddpm::teacher::Teacher;
use nijimi_trainer::systems::distill::lesson::Lesson;
use std::path::Path;
use std::process::{Command, Output};

const SIDE: usize = 8;
const TIME: usize = 12;
const SIZE: usize = SIDE * SIDE;

fn run(folder: &Folder, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi-train"));
    command.current_dir(&folder.0).args(line.split_whitespace()).output().expect("nijimi-train")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn done(folder: &Folder, line: &str) {
    let output = run(folder, line);
    assert!(output.status.success(), "{line}: {}", said(&output));
}

fn refused(folder: &Folder, line: &str) -> String {
    let output = run(folder, line);
    assert!(matches!(output.status.code(), Some(2 | 3)), "{line}: {}", said(&output));
    said(&output)
}

/// A folder with pictures of bars, and a teacher that has seen them for so many epochs.
fn taught(name: &str, epochs: usize) -> Folder {
    let folder = Folder::new(name);
    write_data(&folder.0, 240);
    let sizes = "--channels 8,16,32 --time-dim 12 --noise-steps 100 --beta-end 0.1 --batch 16 -t 2";
    let common = "--data . --out teacher.gguf --lr 3e-3 --ema 0.98 --type f32";
    done(&folder, &format!("ddpm {sizes} {common} --epochs {epochs}"));
    folder
}

fn read(folder: &Folder, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).expect(name)
}

fn close(what: &str, ours: &[f32], theirs: &[f32]) {
    let most = ours.iter().zip(theirs).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    println!("{what}: {most:.1e}");
    assert!(ours.len() == theirs.len() && most < 2e-4, "{what}: {most} away");
}

/// One DDIM step by each of the student's answers, written down anew, comes where the runtime's own guided run of the teacher comes:
/// at each of the student's levels, and at the picture. Seen red with the null label's answers first, without guidance, with leading steps
/// taught, with estimates let out of their range, with the timesteps of the step before, and with less of the sample in the student's
/// step.
#[test]
fn a_students_answers_lead_where_the_runtimes_steps_lead() {
    let folder = taught("distill-answers", 4);
    let bytes = read(&folder, "teacher.gguf");
    let file = File::new_checked(&bytes).expect("a file");
    let info = Info::read(&file).expect("a description");
    let device = Cpu::default();
    let network = import::book_unet(&device, &file).expect("a network");
    let runtime = Diffusion::load(&file, &Device::Cpu).expect("a model");
    let mut session = runtime.session(&SessionOptions { batch: 3, ..Default::default() }).expect("a session");
    for lesson in [
        Lesson { steps: 2, teacher_steps: 10, guidance_scale: 2.5 },
        Lesson { steps: 5, teacher_steps: 20, guidance_scale: 1.0 },
        Lesson { steps: 1, teacher_steps: 4, guidance_scale: 0.0 },
    ] {
        let Lesson { steps, teacher_steps, guidance_scale } = lesson;
        let teacher = Teacher::new(network.clone(), course(&info, lesson).expect("a course"));
        let settings = info.settings(Solver::ddim(0.0), teacher_steps).expect("settings");
        let settings = SolverSettings { spacing: Spacing::Trailing, ..settings };
        let calls = Calls::new(&info.schedule, &settings).expect("calls");
        // Without guidance the runtime asks once, told of the label; by strength 0 that is the answer to none.
        let told = guidance_scale != 0.0;
        let labels = [0, 1, 2].map(|label| told.then_some(label));
        let request = Request { labels: &labels, seeds: &[5, 6, 7], calls: &calls, guidance_scale };
        let mut run = session.run(&request).expect("a run");
        let mut x = run.sample().expect("a sample").to_vec();
        let mut one_hot = [0.0; 9];
        (0..3).for_each(|i| one_hot[4 * i] = 1.0);
        let times = |timesteps: &[usize]| {
            let mut rows = vec![0.0; timesteps.len() * TIME];
            for (row, t) in rows.chunks_exact_mut(TIME).zip(timesteps) {
                position_encoding((t + 1) as f32, TIME, row);
            }
            rows
        };
        let levels = teacher.course().levels();
        assert_eq!(levels, (0..steps).map(|i| 100 - i * 100 / steps - 1).collect::<Vec<_>>());
        for level in levels {
            let answers =
                teacher.answers(&device, &x, (SIDE, SIDE), &[level; 3], times, Some(&one_hot)).expect("answers");
            // Song et al. 2021, equation 12, without noise; Salimans and Ho 2022 for v.
            let (now, next) = (info.schedule.alpha_bar(level + 1), info.schedule.alpha_bar(level + 1 - 100 / steps));
            for (x, v) in x.iter_mut().zip(&answers) {
                let (z, v) = (f64::from(*x), f64::from(*v));
                let clean = now.sqrt() * z - (1.0 - now).sqrt() * v;
                let noise = (1.0 - now).sqrt() * z + now.sqrt() * v;
                *x = (next.sqrt() * clean + (1.0 - next).sqrt() * noise) as f32;
            }
            (0..teacher_steps / steps).for_each(|_| assert!(run.step().expect("a step").is_some()));
            close(&format!("{lesson:?}, from level {level}"), &x, run.sample().expect("a sample"));
        }
    }
}

/// How bright the bar is that a label asks for, and the brightest other one, in each picture that the file draws with nothing said.
fn drawn(bytes: &[u8]) -> Vec<[f32; 2]> {
    let model = Diffusion::load(&File::new_checked(bytes).expect("a file"), &Device::Cpu).expect("a model");
    let defaults = model.info().defaults;
    let calls = model.calls(defaults.solver, defaults.steps).expect("calls");
    let labels: Vec<Option<u32>> = (0..30).map(|i| Some(i % 3)).collect();
    let seeds: Vec<u64> = (100..130).collect();
    let request = Request { labels: &labels, seeds: &seeds, calls: &calls, guidance_scale: defaults.guidance_scale };
    let mut run = model.run(&request, &SessionOptions::default()).expect("a run");
    while run.step().expect("a step").is_some() {}
    let pictures = run.pictures().expect("pictures");
    let bars = |(picture, label): (&[f32], &Option<u32>)| {
        let bar = |i: usize| picture[2 * i * SIDE..][..2 * SIDE].iter().sum::<f32>() / (2 * SIDE) as f32;
        let asked = label.expect("a label") as usize;
        [bar(asked), (0..4).filter(|i| *i != asked).map(bar).fold(0.0, f32::max)]
    };
    pictures.chunks_exact(SIZE).zip(&labels).map(bars).collect()
}

/// A student draws in two steps, without guidance and with nothing said, what its teacher draws in fifty with it; so does a student's
/// student in one. Seen red with the noise that was added in place of the teacher's answers, and with epsilon in its file.
#[test]
fn a_student_draws_what_was_asked_for_in_few_steps() {
    let folder = taught("distill-draws", 40);
    let right = |name: &str| {
        let drawn = drawn(&read(&folder, name));
        let right = drawn.iter().filter(|[asked, other]| *asked > 0.6 && *other < 0.35).count();
        println!("{name}: {right} of {}", drawn.len());
        right
    };
    let teacher = right("teacher.gguf");
    assert!(teacher >= 27, "the teacher draws {teacher} of 30");
    let common = "--data . --batch 16 --lr 2e-3 --warmup 5 --ema 0.95 -t 2";
    done(&folder, &format!("distill --teacher teacher.gguf --out student.gguf --steps 2 --epochs 12 {common}"));
    let bytes = read(&folder, "student.gguf");
    let info = Info::read(&File::new_checked(&bytes).expect("a file")).expect("a description");
    assert_eq!((info.defaults.steps, info.defaults.guidance_scale), (2, 1.0));
    assert_eq!((info.prediction, info.spacing), (Prediction::V, Some(Spacing::Trailing)));
    assert_eq!((&info.labels[..], info.first_timestep), (&["0", "1", "2"].map(String::from)[..], 1));
    let student = right("student.gguf");
    assert!(student >= 27, "{student} of 30");
    // The steps of a teacher that is a student are those that it knows.
    done(&folder, &format!("distill --teacher student.gguf --out once.gguf --steps 1 --epochs 12 {common}"));
    let once = right("once.gguf");
    assert!(once >= 27, "{once} of 30");
    judged(&folder);
}

/// The judge draws with the file's own steps and guidance. Seen red with fifty steps for all.
fn judged(folder: &Folder) {
    for (name, test) in [(PICTURES, "t10k-images-idx3-ubyte"), (LABELS, "t10k-labels-idx1-ubyte")] {
        std::fs::copy(folder.join(name), folder.join(test)).expect("a copy");
    }
    let judge = "--judge judge.safetensors --judge-epochs 40";
    done(folder, &format!("eval --data . {judge} --model student.gguf --samples 30 --json figures.json -t 2"));
    let figures: serde_json::Value = serde_json::from_slice(&read(folder, "figures.json")).expect("JSON");
    assert_eq!((&figures["settings"]["steps"], &figures["settings"]["guidance_scale"]), (&2.into(), &1.0.into()));
    let said = refused(folder, "loss -m student.gguf --data .");
    assert!(said.contains("student.gguf") && said.contains("predicts no noise"), "{said}");
}

/// Seen red with levels drawn by the steps since the program began, and with the lesson not compared.
#[test]
fn a_student_goes_on_where_it_was() {
    let folder = taught("distill-resume", 1);
    let tensors = |name: &str| {
        let bytes = read(&folder, name);
        let file = File::new_checked(&bytes).expect("a checked file");
        file.tensors().map(|t| (t.name.to_owned(), t.to_f32())).collect::<Vec<_>>()
    };
    let common = "distill --teacher teacher.gguf --data . --batch 48 --epochs 1 --type f32 -t 2";
    for (name, options) in [("once", ""), ("twice", "--max-steps 3"), ("twice", "--resume")] {
        done(&folder, &format!("{common} --out {name}.gguf {options}"));
    }
    assert!(tensors("once.gguf") == tensors("twice.gguf"), "other weights");
    assert!(tensors("once.gguf") != tensors("teacher.gguf"), "nothing was learned");
    let said = refused(&folder, &format!("{common} --out twice.gguf --resume --steps 5"));
    assert!(said.contains("--steps was 4, is 5"), "{said}");
}

/// The bytes with what follows a key, and the number of its type, replaced.
fn with(bytes: &[u8], key: &str, value: &[u8]) -> Vec<u8> {
    let at = bytes.windows(key.len()).position(|w| w == key.as_bytes()).expect(key) + key.len() + 4;
    [&bytes[..at], value, &bytes[at + value.len()..]].concat()
}

/// Each says what to do; nothing is made. Seen red with the checks left out, each in turn.
#[test]
fn what_cannot_be_taught_is_refused() {
    let folder = taught("distill-refused", 1);
    let bytes = read(&folder, "teacher.gguf");
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect(name);
    write("first.gguf", &with(&bytes, "nijimi.first_timestep", &0u32.to_le_bytes()));
    write("linear.gguf", &bytes_with_word(&bytes, "nijimi.schedule.kind", "linear", "cosine"));
    // An array: its elements' type, its length, its elements.
    let range = [&6u32.to_le_bytes()[..], &2u64.to_le_bytes(), &(-1f32).to_le_bytes(), &1f32.to_le_bytes()].concat();
    write("range.gguf", &with(&bytes, "nijimi.image.range", &range));
    let heights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights/heights.gguf");
    std::fs::copy(heights, folder.join("heights.gguf")).expect("a file");
    let sizes = "--channels 8,16 --time-dim 12 --noise-steps 100 --batch 16 --max-steps 1 -t 1";
    done(&folder, &format!("ddpm --data . --out alone.gguf --unconditional {sizes}"));
    for (name, side, labels) in [("other-size", 4, [0, 1]), ("other-labels", 8, [0, 3])] {
        std::fs::create_dir(folder.join(name)).expect("a folder");
        let pixels = vec![7; 2 * side * side];
        write(&format!("{name}/{PICTURES}"), &idx(&[2, side as u32, side as u32], &pixels));
        write(&format!("{name}/{LABELS}"), &idx(&[2], &labels));
    }
    for (options, expected) in [
        ("--teacher teacher.gguf --data . --prompts prompts.txt", "--prompts"),
        ("--teacher alone.gguf --data . --cfg-scale 2", "--cfg-scale"),
        ("--teacher teacher.gguf --data . --teacher-steps 10", "--teacher-steps 10 for --steps 4"),
        ("--teacher teacher.gguf --data . --steps 60 --teacher-steps 120", "at most 100"),
        ("--teacher heights.gguf --data .", "from nijimi-train text2image or nijimi-train ddpm"),
        ("--teacher first.gguf --data .", "lowest noise level"),
        ("--teacher linear.gguf --data .", "linear schedule"),
        ("--teacher range.gguf --data .", "values from 0 to 1"),
        ("--teacher nowhere.gguf --data .", "nowhere.gguf"),
        ("--teacher teacher.gguf --data other-size", "draws 8x8"),
        ("--teacher teacher.gguf --data other-labels", "knows 0 to 2"),
        ("--teacher teacher.gguf --data . --precision f8", "--precision"),
    ] {
        let said = refused(&folder, &format!("distill {options} --out student.gguf -t 1"));
        assert!(said.contains(expected), "{options}: {said}");
        assert!(!folder.join("student.gguf").exists() && !folder.join("student-report").exists(), "{options}");
    }
    // Of a teacher without labels a student is taught without guidance.
    done(&folder, "distill --teacher alone.gguf --data . --out student.gguf --max-steps 1 -t 1");
}

/// The same with another word of the same length behind a key.
fn bytes_with_word(bytes: &[u8], key: &str, word: &str, other: &str) -> Vec<u8> {
    let length = (word.len() as u64).to_le_bytes();
    with(bytes, key, &[&length[..], other.as_bytes()].concat())
}
