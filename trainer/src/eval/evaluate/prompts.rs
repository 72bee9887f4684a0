//! Prompts that are pictured for people to look at.

/// Subjects that picture sets of symbols have, in short words: the grid of eight by eight.
pub const GRID: [&str; 64] = [
    "red apple",
    "banana",
    "grapes",
    "watermelon",
    "strawberry",
    "pineapple",
    "cherries",
    "pear",
    "cat",
    "dog face",
    "lion",
    "panda",
    "frog",
    "penguin",
    "owl",
    "butterfly",
    "fish",
    "octopus",
    "crab",
    "turtle",
    "snail",
    "bee",
    "horse",
    "elephant",
    "pizza",
    "hamburger",
    "doughnut",
    "cookie",
    "bread",
    "ice cream",
    "birthday cake",
    "hot beverage",
    "sun",
    "crescent moon",
    "star",
    "rainbow",
    "cloud",
    "snowman",
    "fire",
    "droplet",
    "rose",
    "sunflower",
    "cactus",
    "palm tree",
    "mushroom",
    "four leaf clover",
    "tulip",
    "evergreen tree",
    "automobile",
    "bus",
    "bicycle",
    "airplane",
    "rocket",
    "sailboat",
    "locomotive",
    "tractor",
    "grinning face",
    "red heart",
    "ghost",
    "robot",
    "crown",
    "guitar",
    "soccer ball",
    "light bulb",
];

/// Things that no picture of the set shows, at least not so: what a model makes of words that it knows apart.
pub const NOVEL: [&str; 32] = [
    "blue apple",
    "cat with sunglasses",
    "green heart on fire",
    "purple banana",
    "red elephant",
    "snowman on the beach",
    "black rose",
    "yellow car",
    "frog with a crown",
    "blue pizza",
    "dog in a rocket",
    "pink tree",
    "white pumpkin",
    "robot cat",
    "green strawberry",
    "fish with a hat",
    "orange moon",
    "blue sunflower",
    "penguin on a bicycle",
    "golden bread",
    "crying star",
    "purple horse",
    "house with a heart",
    "red cloud",
    "smiling apple",
    "black banana",
    "rainbow fish",
    "blue fire",
    "cake with a rocket",
    "two cats",
    "angry pizza",
    "green dog face",
];

/// Subjects asked for in other words than their names, and the names of those that would be right. Some have forms that captions are
/// trained in too ("that is", "a picture of"), some have none.
pub const ASKED: [(&str, &[&str]); 30] = [
    ("an apple that is red", &["red apple"]),
    ("a green apple please", &["green apple"]),
    ("blue car", &["sport utility vehicle"]),
    ("red car", &["automobile", "oncoming automobile"]),
    ("smiling cat", &["grinning cat", "grinning cat with smiling eyes", "smiling cat with heart-eyes"]),
    (
        "very sad face",
        &[
            "crying face",
            "loudly crying face",
            "disappointed face",
            "pensive face",
            "worried face",
            "frowning face",
            "slightly frowning face",
            "sad but relieved face",
            "weary face",
            "anguished face",
            "persevering face",
        ],
    ),
    (
        "happy face",
        &[
            "grinning face",
            "smiling face",
            "grinning face with big eyes",
            "grinning face with smiling eyes",
            "beaming face with smiling eyes",
            "smiling face with smiling eyes",
            "slightly smiling face",
            "smiling face with hearts",
            "grinning squinting face",
        ],
    ),
    ("a picture of a dog", &["dog", "dog face", "guide dog", "service dog", "poodle"]),
    ("a piece of pizza", &["pizza"]),
    ("a burger", &["hamburger"]),
    ("the sun with a face", &["sun with face"]),
    ("an angry red face", &["enraged face", "angry face", "face with symbols on mouth"]),
    ("big yellow star", &["star", "glowing star"]),
    ("heart that is blue", &["blue heart", "light blue heart"]),
    ("a heart, green", &["green heart"]),
    ("broken red heart", &["broken heart"]),
    ("a house with a garden", &["house with garden"]),
    ("airplane in the sky", &["airplane", "airplane departure", "airplane arrival", "small airplane"]),
    ("an orange fish with stripes", &["tropical fish"]),
    ("a gray elephant", &["elephant"]),
    ("a bird that says hoo", &["owl"]),
    ("black and white bear", &["panda"]),
    (
        "a flower that is pink",
        &["cherry blossom", "tulip", "hibiscus", "rose", "white flower", "blossom", "wilted flower"],
    ),
    ("christmas tree with lights", &["christmas tree"]),
    (
        "the moon at night",
        &[
            "crescent moon",
            "full moon",
            "first quarter moon face",
            "full moon face",
            "last quarter moon face",
            "new moon face",
            "night with stars",
            "waning gibbous moon",
            "waxing gibbous moon",
            "last quarter moon",
            "first quarter moon",
            "waxing crescent moon",
            "waning crescent moon",
            "new moon",
        ],
    ),
    ("a man who cooks", &["man cook"]),
    ("a hot cup of coffee", &["hot beverage"]),
    ("guitar to play music", &["guitar"]),
    ("yellow banana fruit", &["banana"]),
    ("a white ghost", &["ghost"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with a name misspelt.
    #[test]
    fn what_is_asked_for_in_other_words_is_in_the_set() {
        let Some(dir) = crate::data::captioned::tests::emoji() else { return };
        let set = crate::data::captioned::Captioned::load(&dir, 8, crate::data::captioned::Captions::Needed)
            .expect("pictures");
        for (prompt, names) in ASKED {
            for name in names {
                assert!(!super::super::likeness::subjects_named(&[name], &set).is_empty(), "{prompt}: no {name}");
            }
        }
    }

    #[test]
    fn no_prompt_comes_twice() {
        let all: std::collections::BTreeSet<_> = GRID.iter().chain(&NOVEL).collect();
        assert_eq!(all.len(), 96);
    }
}
