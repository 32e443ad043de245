//! Sentences broken into lines.

/// The width of a terminal that people can be expected to have.
const WIDTH: usize = 80;

/// A text broken at spaces into lines of at most 80 characters, each with a newline. Longer words keep a line of their
/// own.
pub(super) fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped.push('\n');
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces() {
        let text = format!("{} one {}", "a".repeat(76), "b".repeat(90));
        let lines: Vec<String> = wrapped(&text).lines().map(str::to_owned).collect();
        let (a, b) = ("a".repeat(76), "b".repeat(90));
        assert_eq!(lines, [format!("{a} one"), b]);
    }
}
