//! What is said about a picture in training: its caption in several wordings, so that a model is not bound to one.
mod article;
mod colour;
mod wordings;
mod words;

use super::captioned::Picture;
use article::with_article;
use colour::colour;
use nijimi_runtime::raw::rng::Stream;

/// How often a caption that tells a skin tone says so; without it, any tone may be drawn.
const TONE: f32 = 0.8;

/// A text as people type prompts: in lower case, `:` as a comma, `&` as "and", straight apostrophes, without quotation
/// marks, brackets, full stops and exclamation marks. A text of nothing else is only lowered.
#[must_use]
pub fn clean(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut out = String::with_capacity(lower.len());
    let mut last = ' ';
    let mut chars = lower.chars().peekable();
    while let Some(c) = chars.next() {
        let number = last.is_ascii_digit() && chars.peek().is_some_and(char::is_ascii_digit);
        match c {
            '.' | ':' if number => out.push(c),
            ':' | ';' => out.push(','),
            '&' => out.push_str("and"),
            '’' | '‘' => out.push('\''),
            '“' | '”' | '"' | '(' | ')' | '[' | ']' | '.' | '!' => {}
            c => out.push(c),
        }
        last = c;
    }
    let words: Vec<&str> = out.split_whitespace().collect();
    let joined = words.join(" ").trim_matches([',', ' ']).to_owned();
    if joined.is_empty() { lower.trim().to_owned() } else { joined }
}

/// A picture's name as it is typed: `woman running, dark skin tone`; empty if it has none.
#[must_use]
pub fn name(picture: &Picture) -> String {
    clean(&picture.name)
}

/// A name without the skin tones at its end, and those with the comma before them.
fn split_tone(name: &str) -> (&str, &str) {
    let mut end = name.len();
    while name[..end].ends_with("skin tone")
        && let Some(comma) = name[..end].rfind(", ")
    {
        end = comma;
    }
    name.split_at(end)
}

/// A picture's name as it is typed, without the skin tone that tells it from other pictures of its subject.
#[must_use]
pub fn subject(picture: &Picture) -> String {
    split_tone(&name(picture)).0.to_owned()
}

/// One wording of a picture's caption: its name in four of eleven, with an article in one of seven, with one to three tags or asked
/// for in a sentence in one of ten each, said with what describes it in one of six, some of its words in one of eleven, a tag or
/// the category alone in one of twenty. A third of those made of the name have words for other ones. Empty for a picture
/// without name, category and tags.
#[must_use]
pub fn caption(picture: &Picture, draw: &mut Stream) -> String {
    let whole = name(picture);
    let (base, tone) = split_tone(&whole);
    let tone = if draw.uniform() < TONE { tone } else { "" };
    let tags = tags(picture);
    let which = draw.uniform();
    if base.is_empty() {
        return alone(picture, &tags, draw);
    }
    let exchanged = draw.uniform() < EXCHANGED;
    let said =
        |base: &str, draw: &mut Stream| if exchanged { wordings::exchanged(base, draw) } else { base.to_owned() };
    let plain = |draw: &mut Stream| format!("{}{tone}", said(base, draw));
    match which {
        w if w < 0.365 => plain(draw),
        w if w < 0.505 => format!("{}{tone}", with_article(&said(base, draw))),
        w if w < 0.605 => wordings::asked_for(&with_article(&said(base, draw)), base, draw) + tone,
        w if w < 0.765 => {
            wordings::described(base, &tags, colour(&picture.pixels), draw).unwrap_or_else(|| said(base, draw)) + tone
        }
        w if w < 0.855 => wordings::some(base, &tags, draw),
        w if w < 0.95 => {
            let mut more: Vec<&String> = tags.iter().filter(|t| !base.contains(t.as_str())).collect();
            draw.shuffle(&mut more);
            more.truncate(1 + draw.below(3) as usize);
            more.iter().fold(plain(draw), |text, tag| format!("{text}, {tag}"))
        }
        _ => Some(alone(picture, &tags, draw)).filter(|t| !t.is_empty()).unwrap_or_else(|| plain(draw)),
    }
}

/// How often words of a name are exchanged for others of the same meaning.
const EXCHANGED: f32 = 0.33;

/// A tag or the category.
fn alone(picture: &Picture, tags: &[String], draw: &mut Stream) -> String {
    let category = clean(&picture.category);
    if tags.is_empty() || !category.is_empty() && draw.uniform() < 0.5 {
        return category;
    }
    tags[draw.below(tags.len() as u64) as usize].clone()
}

/// The tags as they are typed, without code words such as `u5408` and `clock3`.
fn tags(picture: &Picture) -> Vec<String> {
    let code = |t: &str| t.contains(|c: char| c.is_ascii_digit()) && t.contains(|c: char| c.is_ascii_alphabetic());
    picture.tags.iter().map(|t| clean(t)).filter(|t| !t.is_empty() && !code(t)).collect()
}

/// All that captions are made of, for training a vocabulary: each picture's name, category and tags.
pub fn texts(pictures: &[Picture]) -> impl Iterator<Item = String> {
    pictures.iter().flat_map(|picture| {
        let mut texts = tags(picture);
        // Names are what is typed: their words are to be tokens of their own before those of tags.
        texts.extend([name(picture), name(picture), clean(&picture.category)]);
        texts
    })
}

/// Words of things that their mirror image is not: writing, directions, the time, maps, phases of the moon.
const ONE_WAY: [&str; 46] = [
    "abacus",
    "arrow",
    "arrows",
    "banknote",
    "button",
    "calendar",
    "card",
    "chart",
    "clock",
    "clockwise",
    "decreasing",
    "dragon",
    "facing",
    "first",
    "flag",
    "globe",
    "hour",
    "hundred",
    "id",
    "increasing",
    "japan",
    "japanese",
    "keyboard",
    "keycap",
    "last",
    "left",
    "leftwards",
    "letter",
    "map",
    "moon",
    "newspaper",
    "number",
    "numbers",
    "o'clock",
    "o’clock",
    "pager",
    "quarter",
    "receipt",
    "right",
    "rightwards",
    "sign",
    "symbol",
    "thirty",
    "timer",
    "watch",
    "waxing",
];

/// Whether the mirror image of a picture is as good an example of its caption: not of symbols and flags, nor of writing,
/// directions, clocks and maps, nor where two skin tones are told in an order. Pictures without a name are left alone.
#[must_use]
pub fn may_flip(picture: &Picture) -> bool {
    let name = picture.name.to_lowercase();
    let mut words = name.split(|c: char| !c.is_alphanumeric() && !"'’".contains(c));
    let kind = picture.category.to_lowercase();
    !name.is_empty()
        && !matches!(&kind[..], "symbols" | "flags")
        && !words.any(|w| ONE_WAY.contains(&w) || w.chars().all(|c| c.is_ascii_digit()) && !w.is_empty())
        && name.matches("skin tone").count() < 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::captioned::{Captioned, tests::emoji};
    use std::collections::BTreeMap;

    fn picture(name: &str, category: &str, tags: &[&str]) -> Picture {
        let tags = tags.iter().map(|t| String::from(*t)).collect();
        let (name, category) = (name.into(), category.into());
        Picture { file: "a.png".into(), name, category, tags, subject: 0, pixels: Vec::new(), size: [0; 2] }
    }

    #[test]
    fn a_text_is_cleaned_as_it_is_typed() {
        let cleaned = [
            ("Santa Claus: dark skin tone", "santa claus, dark skin tone"),
            ("A button (blood type)", "a button blood type"),
            ("Japanese “passing grade” button", "japanese passing grade button"),
            ("one o’clock", "one o'clock"),
            ("keycap: #", "keycap, #"),
            ("People & Body", "people and body"),
            ("  ON!  arrow. ", "on arrow"),
            ("at 12:30, 1.5 litres", "at 12:30, 1.5 litres"),
            ("!", "!"),
            ("", ""),
        ];
        for (text, expected) in cleaned {
            assert_eq!(clean(text), expected);
        }
    }

    /// Seen red with half the share of the article, and with the tone always said.
    #[test]
    fn wordings_come_in_their_shares() {
        let p = picture("snowboarder: dark skin tone", "People & Body", &["ski", "snow", "u5408", "sport", "winter"]);
        let mut counts = BTreeMap::new();
        let n = 10_000;
        for i in 0..n {
            let text = caption(&p, &mut Stream::new(1, "caption", i));
            let text = if text.contains("dark skin tone") {
                *counts.entry("toned".to_owned()).or_insert(0) += 1;
                text.replace(", dark skin tone", "")
            } else {
                text
            };
            let parts: Vec<&str> = text.split(", ").collect();
            let tag = |t: &&str| ["ski", "snow", "sport", "winter"].contains(t);
            let kind = match parts[..] {
                ["snowboarder"] => "name",
                ["a snowboarder"] => "article",
                ["people and body"] => "category",
                [one] if tag(&one) => "tag",
                // "snow" is part of the name.
                ["snowboarder", ref tags @ ..] if tags.iter().all(tag) => {
                    assert!(tags.len() <= 3 && !tags.contains(&"snow"), "{text}");
                    "tags"
                }
                [words] if words.split(' ').all(|w| w == "snowboarder" || tag(&w)) => {
                    assert!((2..=4).contains(&words.split(' ').count()) && words.contains("snowboarder"), "{text}");
                    "words"
                }
                [words] if words.ends_with(" a snowboarder") || words.starts_with("snowboarder ") => "asked for",
                _ => panic!("{text}"),
            };
            *counts.entry(kind.to_owned()).or_insert(0) += 1;
        }
        // Nothing describes it, so the share of descriptions is the name's.
        for (kind, share) in [
            ("name", 0.525),
            ("article", 0.14),
            ("asked for", 0.1),
            ("tags", 0.095),
            ("words", 0.09),
            ("category", 0.025),
            ("tag", 0.025),
            ("toned", 0.8 * 0.86),
        ] {
            let found = f64::from(counts[kind]) / n as f64;
            assert!((found - share).abs() < 0.02, "{kind}: {found}");
        }
    }

    const ALIKE_A_CAT: [&str; 3] = ["cat", "kitty", "kitten"];

    #[test]
    fn what_is_missing_is_left_out() {
        let texts = |p: &Picture| (0..200).map(|i| caption(p, &mut Stream::new(1, "c", i))).collect::<Vec<_>>();
        assert!(texts(&picture("", "", &[])).iter().all(String::is_empty));
        assert!(texts(&picture("", "Food", &[])).iter().all(|t| t == "food"));
        let swords = texts(&picture("crossed swords", "", &[]));
        assert!(swords.iter().all(|t| t.contains("swords") && !t.contains(',') && t.trim() == t), "{swords:?}");
        let one_tag = texts(&picture("a cat", "", &["pet"]));
        assert!(one_tag.iter().all(|t| t.contains("pet") || ALIKE_A_CAT.iter().any(|c| t.contains(c))), "{one_tag:?}");
    }

    #[test]
    fn articles_follow_sound_and_number() {
        let of = |name: &str| article::article(name).unwrap_or("");
        let found =
            ["red apple", "orange", "unicorn", "hourglass", "euro banknote", "grapes", "octopus", "cross"].map(of);
        assert_eq!(found, ["a", "an", "a", "an", "a", "", "an", "a"]);
        assert_eq!(["8 ball", "", "women, dancing", "glasses, sun", "iris"].map(of), ["", "", "", "", "an"]);
    }

    /// Seen red without the category asked for, and without the words.
    #[test]
    fn what_has_a_direction_is_not_flipped() {
        let flips = |name: &str, category: &str| may_flip(&picture(name, category, &[]));
        for name in ["cat", "red apple", "woman running: dark skin tone", "bright sunset", "watermelon"] {
            assert!(flips(name, "Animals"), "{name}");
        }
        for name in [
            "left arrow",
            "one o’clock",
            "keycap: 1",
            "woman running facing right",
            "backhand index pointing left",
            "alarm clock",
            "last quarter moon",
            "globe showing Americas",
            "",
            "1st place medal 1",
            "people holding hands: dark skin tone, light skin tone",
        ] {
            assert!(!flips(name, ""), "{name}");
        }
        assert!(!flips("red heart", "Symbols") && !flips("pirate", "Flags"));
    }

    #[test]
    fn the_emoji_have_captions_of_their_own() {
        let Some(dir) = emoji() else { return };
        let set = Captioned::load(&dir, 16, crate::data::captioned::Captions::Needed).expect("pictures");
        let named: Vec<&Picture> = set.pictures.iter().filter(|p| !p.name.is_empty()).collect();
        let mut names: Vec<String> = named.iter().map(|p| name(p)).collect();
        assert!(names.iter().all(|n| !n.is_empty() && !n.contains(":") && !n.contains('’')));
        names.sort_unstable();
        names.dedup();
        assert!(names.len() >= named.len() - 2, "{} of {}", names.len(), named.len());
        let flipped = named.iter().filter(|p| may_flip(p)).count();
        assert!((named.len() / 2..named.len() * 9 / 10).contains(&flipped), "{flipped}");
    }
}
