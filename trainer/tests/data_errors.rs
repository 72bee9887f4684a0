//! Every kind of wrong data file is told apart, with what was found and where.
#[allow(dead_code)]
mod common;

use common::{Folder, LABELS, PICTURES, idx, write_data};
use flate2::Compression;
use flate2::write::GzEncoder;
use nijimi_trainer::data::idx::{LabelledPictures, Split};
use nijimi_trainer::error::Error;
use std::io::Write;

fn load(folder: &Folder) -> Result<LabelledPictures, Error> {
    LabelledPictures::load(&folder.0, Split::Train)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).expect("compressing into memory");
    out.finish().expect("compressing into memory")
}

/// Loads after `spoil` and expects a data error about `file` whose text holds `text`.
fn refused(name: &str, spoil: impl Fn(&Folder), file: &str, text: &str) {
    let folder = Folder::new(name);
    write_data(&folder.0, 6);
    assert_eq!(load(&folder).expect("the data set is right before it is spoilt").len(), 6);
    spoil(&folder);
    match load(&folder) {
        Err(Error::Data { path, what }) => {
            let expected = if file.is_empty() { folder.0.clone() } else { folder.join(file) };
            assert_eq!(path, expected, "{what}");
            assert!(what.contains(text), "{name}: the message is: {what}");
        }
        Err(e) => panic!("{name}: another error: {e}"),
        Ok(_) => panic!("{name}: accepted"),
    }
}

fn read(folder: &Folder, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).expect("a file of the data set")
}

fn write(folder: &Folder, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).expect("a file of the data set");
}

fn remove(folder: &Folder, name: &str) {
    std::fs::remove_file(folder.join(name)).expect("removing");
}

// Each of these was seen red with its check taken out of the reader.

#[test]
fn missing_pictures_are_refused() {
    let text = "neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz is there";
    refused("no-pictures", |f| remove(f, PICTURES), "", text);
}

#[test]
fn missing_labels_are_refused() {
    refused("no-labels", |f| remove(f, LABELS), "", "neither train-labels-idx1-ubyte nor");
}

#[test]
fn a_wrong_magic_is_refused() {
    let text = "begins with [00, 00, 08, 01], expected [00, 00, 08, 03]";
    refused("magic", |f| write(f, PICTURES, &read(f, LABELS).repeat(9)), PICTURES, text);
}

#[test]
fn an_empty_file_is_refused() {
    refused("empty", |f| write(f, PICTURES, &[]), PICTURES, "0 bytes: shorter than the header");
}

#[test]
fn a_truncated_file_is_refused() {
    let text = "cut off: the header says [6, 8, 8] = 384 bytes, the file holds 284";
    refused("short", |f| write(f, PICTURES, &read(f, PICTURES)[..300]), PICTURES, text);
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let text = "too long: the header says [6] = 6 bytes, the file holds 7";
    refused("long", |f| write(f, LABELS, &[read(f, LABELS), vec![0]].concat()), LABELS, text);
}

#[test]
fn counts_that_differ_are_refused() {
    refused("count", |f| write(f, LABELS, &idx(&[5], &[0; 5])), LABELS, "5 labels, but ");
}

#[test]
fn no_pictures_are_refused() {
    let spoil = |f: &Folder| {
        write(f, PICTURES, &idx(&[0, 8, 8], &[]));
        write(f, LABELS, &idx(&[0], &[]));
    };
    refused("none", spoil, PICTURES, "no pictures: the header says [0, 8, 8]");
}

#[test]
fn a_header_of_absurd_size_is_refused() {
    refused("huge", |f| write(f, PICTURES, &idx(&[u32::MAX; 3], &[])), PICTURES, "more than 4294967296 bytes");
}

/// Seen red with an unfinished gzip stream accepted.
#[test]
fn a_cut_gzip_file_is_refused() {
    let cut = |f: &Folder| {
        let zipped = gzip(&read(f, PICTURES));
        std::fs::remove_file(f.join(PICTURES)).expect("removing");
        write(f, &format!("{PICTURES}.gz"), &zipped[..zipped.len() / 2]);
    };
    refused("gzip", cut, &format!("{PICTURES}.gz"), "damaged or cut off gzip data");
}

#[test]
fn gzip_and_plain_files_hold_the_same() {
    let folder = Folder::new("gzip-whole");
    write_data(&folder.0, 6);
    let plain = load(&folder).expect("plain files");
    for name in [PICTURES, LABELS] {
        let zipped = gzip(&read(&folder, name));
        std::fs::remove_file(folder.join(name)).expect("removing");
        write(&folder, &format!("{name}.gz"), &zipped);
    }
    let zipped = load(&folder).expect("zipped files");
    assert_eq!((plain.width, plain.height, plain.len()), (8, 8, 6));
    assert!(plain.pixels == zipped.pixels && plain.labels == zipped.labels);
}
