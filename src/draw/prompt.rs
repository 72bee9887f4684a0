//! From a prompt to the names of labels.

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

#[cfg(test)]
mod tests {
    use super::names;

    // Seen red: the shortest match taken; commas joined to their words.
    #[test]
    fn words_commas_and_names_of_several_words() {
        let known = |name: &str| ["Ankle boot", "Ankle", "Bag"].contains(&name);
        assert_eq!(names("0 1\t2,3 , 4,,", known), ["0", "1", "2", "3", "4"]);
        assert_eq!(names("Bag Ankle  boot Bag", known), ["Bag", "Ankle boot", "Bag"]);
        assert_eq!(names("Ankle, boot", known), ["Ankle", "boot"]);
        assert!(names(" , ", known).is_empty());
    }
}
