//! What the program refuses, what it tells, and what it leaves, through the program.
#[path = "common/colours.rs"]
mod colours;
#[allow(dead_code, reason = "shared by tests that each use a part")]
mod common;

use colours::write_pictures;
use common::{Folder, write_data};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn program(at: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi-train"));
    command.current_dir(at).args(line.split_whitespace());
    command
}

fn run(at: &Path, line: &str) -> Output {
    program(at, line).output().expect("nijimi-train")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn done(at: &Path, line: &str) -> String {
    let output = run(at, line);
    assert!(output.status.success(), "{line}: {}", said(&output));
    said(&output)
}

fn refused(at: &Path, line: &str, code: i32) -> String {
    let output = run(at, line);
    assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
    said(&output)
}

const TINY: &str = "autoencoder --data pictures --size 16 --channels 8,16 --groups 4 --batch 2 -t 1";

/// A folder with a set of pictures, in `pictures`.
fn with_pictures(name: &str) -> Folder {
    let folder = Folder::new(name);
    write_pictures(&folder.join("pictures"));
    folder
}

/// Seen red with the options' readers left out, each in turn.
#[test]
fn numbers_that_make_no_sense_are_refused_by_name() {
    let folder = Folder::new("numbers");
    let all = [
        (
            "autoencoder",
            "--lr -1|--lr nan|--lr 0|--ema 1|--ema 2|--kl-weight -1|--clip nan|--checkpoint-minutes 1e30|--batch 0",
        ),
        (
            "text2image",
            "--caption-drop 1.5|--mirror -1|--decay 2|--shift 0|--min-snr -1|--epochs 0|--head 0|--optimizer sgd",
        ),
        ("distill", "--steps 0|--lr inf|--cfg-scale nan|--decay -0.1"),
        ("ddpm", "--label-drop 2|--noise-steps 1|--beta-end 1|--weight-decay -1|-t 100000|--time-dim 0"),
        ("vae", "--beta nan|--hidden 0|-t 1.5"),
        ("hvae", "--latent 0|--ema -1"),
        ("classifier", "--beta-start 0|--lr -1e-3"),
        ("regression", "--lr -1|--batch 0|--every 0"),
        ("mlp", "--iterations 0|--hidden 0"),
        ("descent", "--lr inf|--every 0"),
        ("mixture", "--tolerance -1|--components 0|-t 1025|--restarts 0"),
        ("matcher", "--lr nan|--epochs 0"),
        ("normal", "--at-most nan"),
        ("evaluate", "--seeds 0|-t few"),
        ("eval", "--samples 0|--judge-epochs 0"),
    ];
    for (system, options) in all {
        for option in options.split('|') {
            let name = option.split(' ').next().expect("a name");
            let out = if ["evaluate", "eval"].contains(&system) { "" } else { "--out m.gguf" };
            let data = if system == "descent" { "" } else { "--data nowhere" };
            let said = refused(&folder.0, &format!("{system} {data} {out} {option}"), 2);
            assert!(said.contains(name), "{system} {option}: {said}");
        }
    }
    assert!(folder.0.read_dir().expect("the folder").next().is_none(), "nothing is made");
}

/// Seen red with nothing proved, and with inputs not compared.
#[test]
fn what_cannot_be_written_is_told_before_training() {
    let folder = with_pictures("targets");
    std::fs::create_dir(folder.join("folder.gguf")).expect("a folder");
    std::fs::write(folder.join("rows.csv"), "1,2\n2,3\n3,5\n4,4\n").expect("rows");
    std::fs::hard_link(folder.join("rows.csv"), folder.join("rows.gguf")).expect("a link");
    for (line, expected, code) in [
        (format!("{TINY} --out folder.gguf"), "a folder", 3),
        (format!("{TINY} --out nowhere/m.gguf"), "nowhere", 3),
        (format!("{TINY} --out m.gguf --report rows.csv"), "rows.csv", 3),
        (format!("{TINY} --out report/latest.gguf --report report"), "--out", 2),
        (format!("{TINY} --out pictures/red0.png"), "also read: --data", 2),
        ("mvn --data rows.csv --out rows.gguf".into(), "also read: --data", 2),
        ("regression --data rows.csv --out rows.csv".into(), "also read: --data", 2),
        ("quantize -m rows.csv --out rows.gguf --type f16".into(), "also read: -m", 2),
        ("ddpm --data pictures --out m.gguf".into(), "text2image", 3),
    ] {
        std::fs::create_dir_all(folder.join("report")).expect("a folder");
        let said = refused(&folder.0, &line, code);
        assert!(said.contains(expected), "{line}: {said}");
        assert!(!folder.join("folder-report").exists() && !folder.join("m-report").exists(), "{line}");
    }
    assert_eq!(std::fs::read(folder.join("rows.csv")).expect("the rows"), b"1,2\n2,3\n3,5\n4,4\n");
}

/// Seen red with the options taken in silence.
#[test]
fn options_that_have_no_part_are_refused() {
    let folder = Folder::new("no-part");
    for (line, name) in [
        ("ddpm --data d --out o --unconditional --label-drop 0.2", "--label-drop"),
        ("ddpm --data d --out o --as-in-book --ema 0.9", "--ema"),
        ("regression --out o --columns 1,2", "--columns"),
        ("mixture --data d --out o --init book --restarts 3", "--restarts"),
        ("evaluate m.gguf --data d --report r --compare 3", "--compare"),
        ("book --out o --train-all --weights w", "--weights"),
    ] {
        let said = refused(&folder.0, line, 2);
        assert!(said.contains(name), "{line}: {said}");
    }
}

/// Equal files, whatever folder; small sets; what is passed over; ends within an epoch. Seen red with seconds and folders in the
/// file, with 200 pictures held out, with captions needed, with other files not told, and with no report at the end.
#[test]
fn a_small_set_without_captions_gives_the_same_file_everywhere() {
    let files = ["one", "two"].map(|name| {
        let folder = with_pictures(&format!("equal-{name}"));
        for entry in folder.join("pictures").read_dir().expect("a folder") {
            let path = entry.expect("a file").path();
            if path.extension().is_some_and(|e| e == "txt") {
                std::fs::remove_file(path).expect("removal");
            }
        }
        std::fs::write(folder.join("pictures/moving.gif"), "GIF89a").expect("a file");
        std::fs::create_dir(folder.join("pictures/more")).expect("a folder");
        #[cfg(unix)]
        std::os::unix::fs::symlink("nowhere.png", folder.join("pictures/gone.png")).expect("a link");
        let here = folder.0.display();
        let line = TINY.replace("pictures", &format!("{here}/pictures"));
        let said = done(&folder.0, &format!("{line} --out {here}/m.gguf --max-steps 3"));
        let told =
            ["moving.gif", "more", if cfg!(unix) { "gone.png" } else { "" }, "broken.png", "stopped at step 3, 3 of 4"];
        for word in told {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(folder.join("m-report/loss.png").exists() && folder.join("m-report/step-000003.png").exists());
        std::fs::read(folder.join("m.gguf")).expect("the file")
    });
    assert!(files[0] == files[1], "another file in another folder");
    let has = |text: &str| files[0].windows(text.len()).any(|w| w == text.as_bytes());
    assert!(has("nijimi-train autoencoder") && has("m.gguf") && !has(&std::env::temp_dir().display().to_string()));
}

/// What a run goes on with, and what not. Seen red with each of the checks left out.
#[test]
fn a_resumed_run_is_told_what_is_another_now() {
    let folder = with_pictures("resumed");
    let line = format!("{TINY} --hold-out 1 --out m.gguf");
    let said = refused(&folder.0, &format!("{line} --resume"), 3);
    assert!(said.contains("leave --resume out"), "{said}");
    done(&folder.0, &format!("{line} --max-steps 2"));
    let said = done(&folder.0, &format!("{line} --resume --lr 1e-4 --max-steps 3"));
    assert!(said.contains("--lr was 0.001, is 0.0001"), "{said}");
    let said = refused(&folder.0, &format!("{line} --resume --lr 1e-4 --layers 2 --seed 7"), 3);
    assert!(said.contains("--layers was 1, is 2; --seed was 0, is 7") && !said.contains("Settings"), "{said}");
    let said = refused(&folder.0, &format!("{line} --resume --lr 1e-4 --max-steps 1"), 3);
    assert!(said.contains("--max-steps 3"), "{said}");
    let red = folder.join("pictures/red0.png");
    let before = std::fs::read(&red).expect("a picture");
    image::RgbImage::from_pixel(16, 16, image::Rgb([1, 2, 3])).save(&red).expect("a picture");
    let said = refused(&folder.0, &format!("{line} --resume --lr 1e-4 --max-steps 4"), 3);
    assert!(said.contains("the data was 8 pictures"), "{said}");
    std::fs::write(&red, before).expect("the picture");
    let path = folder.join("m-report/checkpoint.safetensors");
    let mut bytes = std::fs::read(&path).expect("a checkpoint");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, &bytes).expect("the checkpoint");
    let said = refused(&folder.0, &format!("{line} --resume --max-steps 4"), 3);
    assert!(said.contains("damaged"), "{said}");
}

/// Killed between an epoch's checkpoint and its report, a run makes this when it goes on. Seen red with it left out.
#[test]
fn a_report_that_was_missed_is_made_when_the_run_goes_on() {
    let folder = Folder::new("missed");
    write_data(&folder.0, 12);
    let line = "ddpm --data . --out m.gguf --channels 8,16 --time-dim 12 --noise-steps 20 --batch 6 -t 1";
    done(&folder.0, &format!("{line} --epochs 1"));
    std::fs::remove_file(folder.join("m-report/epoch-001.png")).expect("removal");
    done(&folder.0, &format!("{line} --epochs 2 --resume"));
    assert!(folder.join("m-report/epoch-001.png").exists() && folder.join("m-report/epoch-002.png").exists());
}

/// SIGTERM leaves a checkpoint; while a run is at work, no other has its folder. Seen red with the signal not caught, and with the
/// folder not claimed.
#[cfg(unix)]
#[test]
fn a_terminated_run_goes_on_and_has_its_folder_alone() {
    let folder = Folder::new("terminated");
    write_data(&folder.0, 600);
    let line = "ddpm --data . --out m.gguf --channels 8,16 --time-dim 12 --noise-steps 20 --batch 6 -t 1 --epochs 1000";
    let mut first = program(&folder.0, line).stderr(Stdio::null()).spawn().expect("nijimi-train");
    let log = || std::fs::read_to_string(folder.join("m-report/log.jsonl")).unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(60);
    while log().lines().count() < 3 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = said(&run(&folder.0, line));
    assert!(second.contains("another run"), "{second}");
    let kill = Command::new("kill").args(["-TERM", &first.id().to_string()]).status().expect("kill");
    assert!(kill.success());
    assert_eq!(first.wait().expect("its end").code(), Some(130));
    let last = log().lines().count() as u64;
    done(&folder.0, &format!("{line} --resume --max-steps {}", last + 2));
    let steps: Vec<u64> = log()
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).expect("JSON"))
        .filter(|l| l.get("loss").is_some())
        .map(|l| l["step"].as_u64().expect("a step"))
        .collect();
    assert_eq!(steps, (1..=steps.len() as u64).collect::<Vec<_>>());
    assert!(steps.len() as u64 >= last, "no step is lost");
}

/// Rows that cannot be printed are an error; nobody who listens is none. Seen red with `println!`.
#[cfg(target_os = "linux")]
#[test]
fn standard_output_is_checked() {
    let folder = Folder::new("stdout");
    let line = "descent --iterations 20 --every 1";
    let full = std::fs::File::create("/dev/full").expect("a device");
    let output = program(&folder.0, &format!("{line} --out a.gguf")).stdout(full).output().expect("nijimi-train");
    assert!(output.status.code() == Some(1) && said(&output).contains("standard output"), "{}", said(&output));
    assert!(folder.join("a.gguf").exists(), "what was computed is not lost");
    let full = std::fs::File::create("/dev/full").expect("a device");
    let told = program(&folder.0, &format!("{line} --out b.gguf")).stderr(full).output().expect("nijimi-train");
    assert!(told.status.success());
    let mut child =
        program(&folder.0, &format!("{line} --out c.gguf")).stdout(Stdio::piped()).spawn().expect("nijimi-train");
    drop(child.stdout.take());
    assert!(child.wait().expect("its end").success() && folder.join("c.gguf").exists());
}
