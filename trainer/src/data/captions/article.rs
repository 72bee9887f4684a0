//! The indefinite article of a name.

/// A name with its indefinite article, if it takes one.
pub(super) fn with_article(name: &str) -> String {
    article(name).map_or_else(|| name.to_owned(), |article| format!("{article} {name}"))
}

/// The indefinite article, where a name takes one.
pub(super) fn article(name: &str) -> Option<&'static str> {
    let first = name.split([' ', ',', '-']).next().unwrap_or_default();
    let last = name.split(',').next().unwrap_or_default().rsplit(' ').next().unwrap_or_default();
    let plural = last.ends_with('s') && !last.ends_with("ss") && !last.ends_with("us") && !last.ends_with("is");
    let other = ["a", "an", "the", "no", "two", "three", "people", "men", "women"];
    if plural || other.contains(&first) || !first.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    // By sound: a unicorn, an hourglass.
    let consonant = ["uni", "use", "ufo", "euro", "one", "ukr", "uk"];
    let vowel = first.starts_with(['a', 'e', 'i', 'o', 'u']) || first.starts_with("hour");
    Some(if vowel && !consonant.iter().any(|c| first.starts_with(c)) { "an" } else { "a" })
}
