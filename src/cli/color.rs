//! When text is coloured.

use std::ffi::OsStr;

use anstream::ColorChoice;
use clap::ValueEnum;

/// When to colour what is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum When {
    /// On a terminal, unless the environment says otherwise.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl When {
    /// What the arguments ask for, as far as they can be understood: for the messages of clap, which come before its
    /// results.
    pub fn asked<A: AsRef<OsStr>>(arguments: impl Iterator<Item = A>) -> Self {
        let mut is_next = false;
        let mut asked = Self::Auto;
        for argument in arguments {
            let text = argument.as_ref().to_str().unwrap_or_default();
            let value = match text.strip_prefix("--color=") {
                Some(value) => Some(value),
                None => is_next.then_some(text),
            };
            if let Some(when) = value.and_then(|value| Self::from_str(value, false).ok()) {
                asked = when;
            }
            is_next = text == "--color";
            if text == "--" {
                break;
            }
        }
        asked
    }

    /// Makes this the rule for all that is printed from now on. `NO_COLOR` and the like are heeded by [`When::Auto`] alone.
    pub fn apply(self) {
        let choice = match self {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        for (arguments, expected) in [
            ("x --color=always", When::Always),
            ("x --color never y", When::Never),
            ("--color=always --color never", When::Never),
            ("x --color", When::Auto),
            ("x --color=blue", When::Auto),
            ("x -- --color=always", When::Auto),
            ("x", When::Auto),
        ] {
            assert_eq!(When::asked(arguments.split(' ')), expected, "{arguments}");
        }
    }
}
