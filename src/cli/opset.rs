//! The argument that chooses the version of ONNX's operator set.

use std::str::FromStr;
use std::sync::LazyLock;

use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, Error, LowestOpset, Model, OPSETS};

/// The version of ONNX's operator set.
#[derive(clap::Args)]
pub(super) struct Opset {
    /// ONNX's operator set to convert to
    #[arg(long = "opset", value_name = "N|auto", help = OPSET_HELP.as_str())]
    number: Option<Asked>,
}

static OPSET_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "The version of ONNX's operator set to convert to, {} to {}, or auto for the lowest that will do [default: \
         {DEFAULT_OPSET}]",
        OPSETS.start(),
        OPSETS.end()
    )
});

/// What `--opset` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Lowest,
    Number(u32),
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Lowest);
        }
        let number = text.parse().ok().filter(|number| OPSETS.contains(number));
        let (first, last) = (OPSETS.start(), OPSETS.end());
        number
            .map(Self::Number)
            .ok_or_else(|| format!("choose one from {first} to {last}, or auto"))
    }
}

/// An opset that was chosen for a model.
pub(super) struct Chosen {
    pub number: u32,
    /// Why, if it is the lowest.
    pub reason: Option<String>,
}

impl Opset {
    /// The version for a model that is converted with `options`: the one that was asked for, or that of the options.
    ///
    /// # Errors
    /// When the lowest is asked for, and the model can't be converted to any.
    pub fn of(&self, model: &Model, options: &ConvertOptions<'_>) -> Result<Chosen, Error> {
        match self.number {
            Some(Asked::Number(number)) => Ok(Chosen {
                number,
                reason: None,
            }),
            Some(Asked::Lowest) => model.lowest_opset_with(options).map(Chosen::from),
            None => Ok(Chosen {
                number: options.opset,
                reason: None,
            }),
        }
    }
}

impl From<LowestOpset> for Chosen {
    fn from(lowest: LowestOpset) -> Self {
        let reason = match lowest.needed_by {
            Some(what) => format!("the lowest for {what}"),
            None => "the lowest of all, since no op needs a higher one".to_owned(),
        };
        Self {
            number: lowest.opset,
            reason: Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opset_is_a_number_or_auto() {
        assert_eq!("auto".parse(), Ok(Asked::Lowest));
        assert_eq!("7".parse(), Ok(Asked::Number(7)));
        for text in ["", "6", "999", "-17", "17.0", "Auto", "99999999999"] {
            let refusal = text.parse::<Asked>().unwrap_err();
            assert!(refusal.starts_with("choose one from 7 to "), "{refusal}");
        }
    }
}
