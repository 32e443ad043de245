//! Texts cut to the width of a column.

/// A text with its start cut off if it exceeds `width` characters: the ends of names tell them apart.
pub(super) fn to_end(text: &str, width: usize) -> String {
    let excess = text.chars().count().saturating_sub(width);
    if excess == 0 {
        return text.to_owned();
    }
    let end = text.chars().skip(excess + 1);
    std::iter::once('…').chain(end).collect()
}

/// A text with its end cut off if it exceeds `width` characters.
pub(super) fn to_start(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", start.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_ends() {
        assert_eq!(to_end("short", 5), "short");
        assert_eq!(to_end("vit/großer_name", 8), "…er_name");
    }

    #[test]
    fn lines_keep_their_starts() {
        assert_eq!(to_start("short", 5), "short");
        assert_eq!(to_start("ein großer Hund", 5), "ein…");
    }
}
