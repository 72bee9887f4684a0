//! The same thing in other words, so that a model finds it whichever way it is asked for.
use super::article::with_article;
use super::words::{ALIKE, COLOURS, DESCRIBING};
use nijimi_runtime::raw::rng::Stream;

fn one<'a>(of: &[&'a str], draw: &mut Stream) -> &'a str {
    of[draw.below(of.len() as u64) as usize]
}

/// A name in which words and pairs of words stand for others of the same meaning; not those behind `without`.
pub fn exchanged(name: &str, draw: &mut Stream) -> String {
    let mut text = format!(" {name} ");
    for group in ALIKE {
        for word in *group {
            let found = format!(" {word} ");
            if let Some(at) = text.find(&found) {
                let other = one(group, draw);
                text.replace_range(at..at + found.len(), &format!(" {other} "));
                break;
            }
        }
    }
    text.trim().to_owned()
}

/// Words before what is asked for.
const BEFORE: [&str; 12] = [
    "a picture of",
    "an image of",
    "a drawing of",
    "an emoji of",
    "an icon of",
    "a photo of",
    "picture of",
    "emoji of",
    "drawing of",
    "draw",
    "show me",
    "i want",
];
/// Words behind it.
const BEHIND: [&str; 6] = ["emoji", "icon", "symbol", "picture", "please", "on white"];

/// A thing, with its article or without, in a sentence or a phrase.
pub fn asked_for(with_article: &str, bare: &str, draw: &mut Stream) -> String {
    if draw.uniform() < 0.7 {
        format!("{} {with_article}", one(&BEFORE, draw))
    } else {
        format!("{bare} {}", one(&BEHIND, draw))
    }
}

/// How strongly.
const HOW: [&str; 5] = ["very", "really", "so", "quite", "super"];

/// A thing by a word that describes it, from its name, its tags or its picture's `colour`, and a word for what it is: `an apple that
/// is red`, `blue car`, `very sad face`. `None` where nothing describes it.
pub fn described(name: &str, tags: &[String], colour: Option<&str>, draw: &mut Stream) -> Option<String> {
    let describes = |w: &str| DESCRIBING.contains(&w);
    let plain = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase());
    // What stands before "with" or a comma, and of that the last word, is the thing.
    let thing = name.split(" with ").next().unwrap_or(name).split(',').next().unwrap_or(name);
    let (own, rest): (Vec<&str>, Vec<&str>) = thing.split(' ').partition(|w| describes(w));
    let told = tags.iter().map(String::as_str).filter(|t| describes(t));
    let mut describing: Vec<&str> = own.iter().copied().chain(told).collect();
    // What is told goes before what is seen: a red heart may be drawn in a blue box.
    if !describing.iter().any(|w| COLOURS.contains(w)) {
        describing.extend(colour);
    }
    if describing.is_empty() || rest.is_empty() {
        return None;
    }
    let adjective = one(&describing, draw);
    let mut things = vec![rest.join(" ")];
    // The name's own word counts twice: tags tell what else it may be called, and much that it is not.
    things.extend(rest.last().map(|w| (*w).to_owned()));
    things.extend(tags.iter().filter(|t| plain(t) && !describes(t)).take(6).cloned());
    let first =
        if draw.uniform() < 0.6 { draw.below(2.min(things.len() as u64)) } else { draw.below(things.len() as u64) };
    let thing = exchanged(&things[first as usize], draw);
    let adjective = exchanged(adjective, draw);
    Some(match draw.below(8) {
        0 | 1 => format!("{adjective} {thing}"),
        2 => with_article(&format!("{adjective} {thing}")),
        3 | 4 => format!("{} that is {adjective}", with_article(&thing)),
        5 => format!("{} which is {adjective}", with_article(&thing)),
        6 if COLOURS.contains(&&adjective[..]) => format!("{adjective} colored {thing}"),
        _ => format!("{} {adjective} {thing}", one(&HOW, draw)),
    })
}

/// Two to four of the words of a name and its tags, in any order, one of the name's own among them.
pub fn some(name: &str, tags: &[String], draw: &mut Stream) -> String {
    let mut own: Vec<&str> = name.split([' ', ',']).filter(|w| !w.is_empty()).collect();
    draw.shuffle(&mut own);
    let first = own.pop().unwrap_or(name);
    let mut words: Vec<&str> = own.into_iter().chain(tags.iter().map(String::as_str)).filter(|w| *w != first).collect();
    draw.shuffle(&mut words);
    words.truncate(1 + draw.below(3) as usize);
    words.push(first);
    draw.shuffle(&mut words);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// All that 2,000 draws make.
    fn all(say: impl Fn(&mut Stream) -> String) -> BTreeSet<String> {
        (0..2000).map(|i| say(&mut Stream::new(4, "wording", i))).collect()
    }

    /// Seen red with the name's own describing words left among what it is, and without the tags' words, and with the picture's colour beside the name's.
    #[test]
    fn a_thing_is_said_by_what_describes_it() {
        let tags = ["fruit", "mac", "school"].map(String::from);
        let apple = all(|draw| described("red apple", &tags, Some("green"), draw).expect("red"));
        for text in
            ["an apple that is red", "an apple which is red", "red apple", "a red apple", "red fruit", "very red apple"]
        {
            assert!(apple.contains(text), "{text} in {apple:?}");
        }
        assert!(apple.iter().all(|t| t.split(' ').filter(|w| *w == "red").count() == 1), "{apple:?}");
        let tags = ["vehicle", "blue", "campervan", "car"].map(String::from);
        let car = all(|draw| described("sport utility vehicle", &tags, None, draw).expect("blue"));
        assert!(car.contains("blue car") && car.contains("a vehicle that is blue"), "{car:?}");
        assert_eq!(described("cactus", &["desert".into()], None, &mut Stream::new(1, "none", 0)), None);
        let cactus = all(|draw| described("cactus", &["desert".into()], Some("green"), draw).expect("green"));
        assert!(cactus.contains("a cactus that is green") && cactus.contains("green colored cactus"), "{cactus:?}");
    }

    /// Seen red with the first word of a group taken always.
    #[test]
    fn words_stand_for_one_another() {
        let cat = all(|draw| exchanged("grinning cat", draw));
        assert!(cat.contains("smiling kitty") && cat.contains("grinning cat"), "{cat:?}");
        assert_eq!(all(|draw| exchanged("catfish scarf", draw)), BTreeSet::from(["catfish scarf".into()]));
    }

    #[test]
    fn no_word_stands_in_two_places() {
        let mut seen = BTreeSet::new();
        assert!(DESCRIBING.iter().all(|w| seen.insert(w)), "a describing word comes twice");
        assert!(COLOURS.iter().all(|w| DESCRIBING.contains(w)), "a colour describes");
        for group in ALIKE {
            let words: BTreeSet<_> = group.iter().collect();
            assert!(group.len() > 1 && words.len() == group.len(), "{group:?}");
        }
    }

    #[test]
    fn some_words_have_one_of_the_name() {
        let tags = ["pet", "meow"].map(String::from);
        let texts = all(|draw| some("cat face", &tags, draw));
        assert!(texts.iter().all(|t| t.contains("cat") || t.contains("face")), "{texts:?}");
        assert!(texts.contains("meow cat") && texts.iter().any(|t| t.split(' ').count() == 4), "{texts:?}");
    }
}
