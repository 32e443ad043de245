//! Names that are like one that there is not, for the message that says so.

/// How many names are suggested.
const SUGGESTIONS: usize = 5;

/// From here on, two names are alike, where 1 is for equal ones.
const ALIKE: f64 = 0.7;

/// The names that are most like `name`, the most similar first, without repetitions.
pub(crate) fn alike<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut alike: Vec<(f64, &str)> = names
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    alike.dedup();
    let alike = alike.into_iter().take(SUGGESTIONS);
    alike.map(|(_, other)| other).collect()
}

/// A clause with the names that are most like `name`, which begins with a semicolon; empty if none is like it.
pub(crate) fn hint<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = alike(name, names)
        .iter()
        .map(|other| format!("`{other}`"))
        .collect();
    match quoted.as_slice() {
        [] => String::new(),
        quoted => format!("; similar names: {}", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_names_come_first() {
        let names = ["im_shape", "image", "images", "scale_factor", "image"];
        let hint = hint("image1", names.into_iter());
        assert!(
            hint.starts_with("; similar names: `image`, `images`"),
            "{hint}"
        );
        assert!(!hint.contains("scale_factor"), "{hint}");
        assert_eq!(super::hint("zzz", names.into_iter()), "");
    }
}
