//! Prompts: names of labels, and what in a text is another program's notation.

use nijimi_runtime::raw::text::prompt::{Part, parse};

/// Splits a prompt into names. A comma always separates; so does white space, except in a name that the model knows
/// (`known`): of "Ankle boot Bag" the first two words are one name.
pub fn names(prompt: &str, known: impl Fn(&str) -> bool) -> Vec<String> {
    let mut names = Vec::new();
    for part in prompt.split(',') {
        let words: Vec<&str> = part.split_whitespace().collect();
        let mut rest = &words[..];
        while !rest.is_empty() {
            let longest = (2..=rest.len()).rev().find(|&n| known(&rest[..n].join(" "))).unwrap_or(1);
            names.push(rest[..longest].join(" "));
            rest = &rest[longest..];
        }
    }
    names
}

/// The weights of a prompt's parts.
pub fn weights(prompt: &str) -> impl Iterator<Item = f64> {
    parse(prompt).into_iter().filter_map(|part| if let Part::Text { weight, .. } = part { Some(weight) } else { None })
}

/// In place of ComfyUI's notation.
const EMBEDDING: &str = "give an embedding with --embedding FILE:WORD, and write the word alone";

/// What of a prompt would mean something else to other programs, and is read as words here; `place` says where it stands.
pub fn notes(place: &str, prompt: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |found: &str, what: &str| notes.push(format!("{found} in {place} is read as words: {what}"));
    for (open, close) in [('<', '>'), ('[', ']'), ('{', '}')] {
        for found in spans(prompt, open, close) {
            let inner = &found[1..found.len() - 1];
            let kind = inner.split_once(':').map_or("", |(kind, _)| kind.trim()).to_ascii_lowercase();
            let when = || inner.rsplit_once(':').is_some_and(|(_, when)| when.trim().parse::<f64>().is_ok());
            match open {
                '<' if matches!(&*kind, "lora" | "lyco") => {
                    note(found, "apply a LoRA with --lora FILE:STRENGTH");
                }
                '<' if matches!(&*kind, "embedding" | "embed") => note(found, EMBEDDING),
                '<' if matches!(&*kind, "hypernet" | "segment" | "clip") => {
                    note(found, "this notation is not supported");
                }
                '[' if when() => note(found, "prompt editing is not supported, so write what to draw"),
                '[' if inner.contains('|') => note(found, "alternating words are not supported, so write what to draw"),
                '{' => note(found, "braces have no meaning here; a weight is written (word:1.2)"),
                _ => {}
            }
        }
    }
    let words = || prompt.split(|c: char| c.is_whitespace() || c == ',');
    if words().any(|word| word == "AND") {
        note("AND", "composing prompts is not supported");
    }
    for word in
        words().filter(|word| word.trim_start_matches(['(', '[']).to_ascii_lowercase().starts_with("embedding:"))
    {
        note(word, EMBEDDING);
    }
    notes
}

/// The innermost parts of a text from one character to the other, neither of them behind a backslash.
fn spans(text: &str, open: char, close: char) -> Vec<&str> {
    let (mut spans, mut from, mut escaped) = (Vec::new(), None, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == open => from = Some(at),
            c if c == close => spans.extend(from.take().map(|from| &text[from..=at])),
            _ => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen red: the shortest match taken; commas joined to their words.
    #[test]
    fn words_commas_and_names_of_several_words() {
        let known = |name: &str| ["Ankle boot", "Ankle", "Bag"].contains(&name);
        assert_eq!(names("0 1\t2,3 , 4,,", known), ["0", "1", "2", "3", "4"]);
        assert_eq!(names("Bag Ankle  boot Bag", known), ["Bag", "Ankle boot", "Bag"]);
        assert_eq!(names("Ankle, boot", known), ["Ankle", "boot"]);
        assert!(names(" , ", known).is_empty());
    }

    // Seen red: escapes not looked at; brackets that are only weights noted.
    #[test]
    fn notations_of_other_programs_are_noted() {
        for (prompt, part) in [
            ("a cat <lora:style:1>", "<lora:style:1> in the prompt is read as words: apply a LoRA with --lora"),
            ("<LORA:a>", "--lora"),
            ("<hypernet:a:1>", "<hypernet:a:1>"),
            ("a [cat:dog:0.5]", "[cat:dog:0.5]"),
            ("a [(cat:1.2):10]", "[(cat:1.2):10]"),
            ("[cat::3]", "[cat::3]"),
            ("a [cow|horse]", "[cow|horse]"),
            ("{cat|dog}", "{cat|dog}"),
            ("a cat AND a dog", "AND in the prompt"),
            ("a, (embedding:style:1.2)", "--embedding FILE:WORD"),
            ("<embedding:style>", "--embedding FILE:WORD"),
        ] {
            let notes = notes("the prompt", prompt);
            assert!(notes.len() == 1 && notes[0].contains(part), "{prompt}: {notes:?}");
        }
        for plain in
            ["a (cat:1.2) [dog] BREAK 3:4", "a < b > c", r"\[a:b:1]", "SAND and ANDROID", "12:30", "an embedding: none"]
        {
            let embedding = plain.contains("embedding");
            assert_eq!(notes("-n", plain).len(), usize::from(embedding), "{plain}");
        }
        assert_eq!(weights("a (b:3)").collect::<Vec<_>>(), [1.0, 3.0]);
    }
}
