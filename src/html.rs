//! HTML pages: each is one file that needs no network, can be read on a phone, and is light or dark as the
//! reader's system is set.
//!
//! The style has these classes, among others: `good`, `bad` and `neutral` set the colour of an element;
//! `numbers`, on a table, aligns all columns but the first to the right; `scroll`, on an element around a
//! table, lets the table move sideways where it is wider than the screen; `badge`, with one of the colours,
//! makes a word stand on a background of that colour.

/// Appends a line to a string. Writing to a string can't fail, so the result of that is dropped.
macro_rules! put {
    ($text:expr, $($rest:tt)*) => {
        let _ = writeln!($text, $($rest)*);
    };
}
pub(crate) use put;

/// The style of all pages.
const STYLE: &str = include_str!("html.css");

/// A whole page. `title` is plain text, and `body` is HTML.
pub(crate) fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// Text, escaped for the elements and the quoted attributes of HTML and XML. Control characters, most of
/// which XML does not allow, are replaced by U+FFFD; newlines and tabs are kept.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            other if other.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let escaped = escape("<a href='x'>\u{1b}[31m & \"b\"\n");
        assert_eq!(
            escaped,
            "&lt;a href=&#39;x&#39;&gt;\u{fffd}[31m &amp; &quot;b&quot;\n"
        );
    }

    #[test]
    fn a_page_escapes_its_title_alone() {
        let page = page("a < b", "<p>text</p>\n");
        assert!(page.contains("<title>a &lt; b</title>"), "{page}");
        assert!(page.contains("<p>text</p>"), "{page}");
        assert!(page.contains("width=device-width"), "{page}");
    }
}
