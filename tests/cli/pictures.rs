//! Pictures on the command line: what they were drawn with.

use super::common::Folder;
use std::fs;

// Seen red: a picture taken for a weight file.
#[test]
fn a_picture_tells_what_it_was_drawn_with() {
    let folder = Folder::new();
    folder.draw(&["7", "-s", "5", "--eta", "0.5", "-o", "seven.png"]);
    let output = folder.nijimi(&["inspect", "seven.png"]);
    assert!(output.status.success(), "{output:?}");
    let bytes = folder.bytes("seven.png").len();
    let version = env!("CARGO_PKG_VERSION");
    let want = format!(
        "file: seven.png, {bytes} bytes\npicture: 8x8, gray, 8 bits\nprompt: 7\nSteps: 10\nSampler: ddim\nCFG scale: 2\nSeed: 5\n\
         Size: 8x8\nModel: tiny\nEta: 0.5\nVersion: nijimi {version}\n"
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), want);

    let (code, problem) = folder.fail(&["inspect", "seven.png", "--keys"]);
    assert!(code == 2 && problem.contains("--keys is for weight files"), "{code} {problem}");
}

#[test]
fn pictures_without_text_and_broken_ones() {
    let folder = Folder::new();
    let mut encoder = png::Encoder::new(fs::File::create(folder.path.join("bare.png")).unwrap(), 1, 1);
    encoder.add_text_chunk("workflow".into(), "{}".into()).unwrap();
    encoder.write_header().unwrap().write_image_data(&[0]).unwrap();
    let output = folder.nijimi(&["inspect", "bare.png"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("picture: 1x1, gray, 8 bits\n"), "{text}");
    assert!(text.contains("parameters: none (other texts: workflow)"), "{text}");

    let whole = folder.bytes("bare.png");
    for len in [8, 30, whole.len() - 20] {
        fs::write(folder.path.join("cut.png"), &whole[..len]).unwrap();
        let (code, problem) = folder.fail(&["inspect", "cut.png"]);
        assert!(code == 3 && problem.contains("cut.png is a damaged PNG picture ("), "{len}: {code} {problem}");
    }
}
