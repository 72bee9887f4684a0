//! The colour that a picture's thing has, so that it can be asked for by it where neither name nor tags tell.

/// Share of a thing's pixels that have its colour.
const MOST: f32 = 0.5;

const NAMES: [&str; 9] = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black"];

/// The word for the colour of most of what is not white; `None` where there is no such colour. `pixels` are red, green and blue.
#[must_use]
pub fn colour(pixels: &[u8]) -> Option<&'static str> {
    let mut counts = [0_u32; NAMES.len()];
    let mut all = 0;
    for pixel in pixels.as_chunks::<3>().0 {
        // Behind the thing, and what is as white as that.
        if pixel.iter().all(|v| *v >= 240) {
            continue;
        }
        all += 1;
        if let Some(of) = named(*pixel).and_then(|name| NAMES.iter().position(|n| *n == name)) {
            counts[of] += 1;
        }
    }
    let most = (0..NAMES.len()).max_by_key(|i| counts[*i])?;
    (counts[most] > 0 && counts[most] as f32 >= MOST * all as f32).then_some(NAMES[most])
}

/// A pixel's colour; `None` of greys, of white and of pale skin. By hue in degrees, saturation and value.
fn named(pixel: [u8; 3]) -> Option<&'static str> {
    let [r, g, b] = pixel.map(|v| f32::from(v) / 255.0);
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = most - least;
    let saturation = if most > 0.0 { range / most } else { 0.0 };
    let hue = 60.0
        * match range {
            0.0 => 0.0,
            _ if most == r => ((g - b) / range).rem_euclid(6.0),
            _ if most == g => (b - r) / range + 2.0,
            _ => (r - g) / range + 4.0,
        };
    if most < 0.25 {
        return Some("black");
    }
    if saturation < 0.25 {
        return (most < 0.3).then_some("black");
    }
    match hue {
        h if (10.0..50.0).contains(&h) && most < 0.76 => Some("brown"),
        h if (10.0..50.0).contains(&h) && saturation < 0.5 => None,
        h if !(12.0..335.0).contains(&h) && saturation < 0.55 => Some("pink"),
        h if !(19.0..340.0).contains(&h) => Some("red"),
        h if h < 40.0 => Some("orange"),
        h if h < 66.0 => Some("yellow"),
        h if h < 165.0 => Some("green"),
        h if h < 255.0 => Some("blue"),
        h if h < 310.0 => Some("purple"),
        _ => Some("pink"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::captioned::{Captioned, Captions, tests::emoji};
    use crate::data::captions::name;

    fn of(parts: &[([u8; 3], usize)]) -> Option<&'static str> {
        colour(&parts.iter().flat_map(|(p, n)| p.repeat(*n)).collect::<Vec<_>>())
    }

    /// Seen red with white pixels counted among the thing's.
    #[test]
    fn the_colour_of_most_of_a_thing_on_white() {
        let (white, red, blue) = ([255; 3], [0xf4, 0x43, 0x36], [0x21, 0x96, 0xf3]);
        assert_eq!(of(&[(white, 90), (red, 7), (blue, 3)]), Some("red"));
        assert_eq!(of(&[(white, 90), (red, 4), (blue, 4), ([150; 3], 4)]), None);
        assert_eq!(of(&[(white, 90)]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[([0xfa, 0xdc, 0xbc], 9)]), None, "skin");
    }

    /// Seen red with the hue turned by 60 degrees.
    #[test]
    fn names_that_tell_a_colour_agree() {
        let Some(dir) = emoji() else { return };
        let set = Captioned::load(&dir, 32, Captions::Needed).expect("pictures");
        let (mut told, mut right, mut wrong) = (0, 0, Vec::new());
        for picture in &set.pictures {
            let name = name(picture);
            let plain = ["heart", "circle", "square", "apple", "book", "diamond"];
            let Some(said) = NAMES.iter().find(|n| name.split(' ').any(|w| w == **n)) else { continue };
            if !plain.iter().any(|w| name.ends_with(w)) {
                continue;
            }
            told += 1;
            match colour(&picture.pixels) {
                Some(found) if found == *said => right += 1,
                found => wrong.push((name, found)),
            }
        }
        assert!(told >= 20 && right * 10 >= told * 9, "{right} of {told}; {wrong:?}");
    }
}
