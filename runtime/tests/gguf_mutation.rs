//! Damaged files: never a panic, and what is accepted is usable throughout.
//!
//! Seen red: with the range check of tensors clamped to the file, the overlap check removed, or the dimension product
//! unchecked, these fail.

mod common;

use common::{Numbers, seeds, touch::touch};

#[test]
fn truncated_at_every_length() {
    for (name, bytes) in seeds::seeds() {
        let read: Vec<usize> = (0..bytes.len()).filter(|&len| touch(&bytes[..len])).collect();
        // Only the padding at the end may be missing.
        assert!(read.iter().all(|&len| len + 32 > bytes.len()), "{name}: read at {read:?} of {}", bytes.len());
    }
}

#[test]
fn every_byte_flipped() {
    for (name, mut bytes) in seeds::seeds() {
        let (mut read, mut refused) = (0, 0);
        for i in 0..bytes.len() {
            let original = bytes[i];
            for mask in [0x01, 0x80, 0xff, 0x20] {
                bytes[i] = original ^ mask;
                if touch(&bytes) { read += 1 } else { refused += 1 }
            }
            bytes[i] = original;
        }
        assert!(refused > 0, "{name}: nothing was refused");
        // Of the empty file, only header fields can be flipped; elsewhere, text and data may change freely.
        assert!(name == "empty.gguf" || read > 0, "{name}: everything was refused");
    }
}

#[test]
fn thousands_of_mutations() {
    let mut numbers = Numbers(11);
    let seeds = seeds::seeds();
    let interesting = [0, 1, 2, 4, 8, 9, 31, 32, 33, 64, 255, 1 << 31, 1 << 32, u64::MAX / 4, u64::MAX - 31, u64::MAX];
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].1.clone();
        // The header is where damage matters: half of the mutations go to its first part.
        for _ in 0..1 + numbers.below(6) {
            let reach = if numbers.below(2) == 0 { bytes.len() } else { bytes.len().min(400) };
            let at = numbers.below(reach);
            match numbers.below(5) {
                0 => bytes[at] = numbers.bits() as u8,
                1 | 2 => {
                    let width = if numbers.below(2) == 0 { 8 } else { 4 };
                    let value = interesting[numbers.below(interesting.len())].to_le_bytes();
                    let end = bytes.len().min(at + width);
                    bytes[at..end].copy_from_slice(&value[..end - at]);
                }
                3 => {
                    let end = bytes.len().min(at + 1 + numbers.below(40));
                    bytes.drain(at..end);
                }
                _ => {
                    let end = bytes.len().min(at + 1 + numbers.below(40));
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        touch(&bytes);
    }
}
