//! Which pictures show the same subject.
//!
//! Emoji come in variants that differ by skin tone: the file's name has its code point (1f3fb to 1f3ff), the caption says
//! it after a colon or comma. Without it, the two tell the same subject.
use super::Picture;
use std::collections::HashMap;

/// Numbers subjects in the order of the pictures, those with captions first: by the caption, or, of a picture without
/// one, by the file.
pub(super) fn number(pictures: &mut [Picture]) {
    let (mut by_name, mut by_file, mut count) = (HashMap::new(), HashMap::new(), 0);
    let mut fresh = || {
        count += 1;
        count - 1
    };
    for picture in pictures.iter_mut().filter(|p| !p.name.is_empty()) {
        picture.subject = *by_name.entry(name_key(&picture.name)).or_insert_with(&mut fresh);
        by_file.entry(file_key(&picture.file)).or_insert(picture.subject);
    }
    for picture in pictures.iter_mut().filter(|p| p.name.is_empty()) {
        picture.subject = *by_file.entry(file_key(&picture.file)).or_insert_with(&mut fresh);
    }
}

/// A caption in lower case without the skin tone.
fn name_key(name: &str) -> String {
    let name = name.to_lowercase();
    let mut parts: Vec<&str> = name.split_inclusive([':', ',']).collect();
    // "kiss: light skin tone": the colon stands with the first part.
    while parts.last().is_some_and(|p| p.trim_end_matches([',', ':']).ends_with("skin tone")) && parts.len() > 1 {
        parts.pop();
    }
    parts.concat().trim_end_matches([',', ':', ' ']).to_owned()
}

/// A file's stem in lower case without code points of skin tones.
fn file_key(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem).to_ascii_lowercase();
    let tone = |part: &&str| matches!(*part, "1f3fb" | "1f3fc" | "1f3fd" | "1f3fe" | "1f3ff");
    let kept: Vec<&str> = stem.split('_').filter(|part| !tone(part)).collect();
    kept.join("_")
}
