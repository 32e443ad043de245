//! Values of flags that are written as in Python.

use std::str::FromStr;

use paddle2onnx::operator::CustomOp;
use paddle2onnx::tensor::Dim;
use paddle2onnx::{Error, InputShape, Model, Renaming, Result};
use py_literal::Value;

/// The ONNX domain of the operators that Paddle2ONNX passes ops through to.
const DOMAIN: &str = "Paddle";

/// True or False.
#[derive(Clone, Copy)]
pub(super) struct Boolean(pub bool);

impl FromStr for Boolean {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "True" | "1" => Ok(Self(true)),
            "False" | "0" | "None" => Ok(Self(false)),
            _ => Err("True or False is needed, as Python writes it".into()),
        }
    }
}

/// The operators that ops are passed through to: a dictionary of names.
#[derive(Clone)]
pub(super) struct Operators(pub Vec<CustomOp>);

impl FromStr for Operators {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let what = "a dictionary of names is needed, as in {'paddle_op': 'OnnxOp'}";
        let pairs = pairs(&value(text, what)?).ok_or(what)?;
        let operators = pairs.into_iter().map(|(name, operator)| {
            let custom = format!("{name}={DOMAIN}::{operator}").parse();
            custom.map_err(|e: Error| e.to_string())
        });
        operators.collect::<Result<_, _>>().map(Self)
    }
}

/// Names for outputs: of all, in their order, or of those that the old names stand before.
#[derive(Clone)]
pub(super) enum Renamed {
    All(Vec<String>),
    Some(Vec<(String, String)>),
}

impl FromStr for Renamed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let what = "a list of names or a dictionary of old and new ones is needed, as in ['a', 'b'] or {'old': 'new'}";
        let value = value(text, what)?;
        if let Some(pairs) = pairs(&value) {
            return Ok(Self::Some(pairs));
        }
        let items = match &value {
            Value::List(items) | Value::Tuple(items) => items.iter(),
            _ => return Err(what.into()),
        };
        let names = items.map(|item| item.as_string().cloned());
        names
            .collect::<Option<_>>()
            .map(Self::All)
            .ok_or_else(|| what.into())
    }
}

impl Renamed {
    /// The model with its outputs called so.
    ///
    /// # Errors
    /// When there are fewer outputs or more, or none of an old name.
    pub fn applied(&self, model: Model) -> Result<Model> {
        let pairs: Vec<(String, String)> = match self {
            Self::Some(pairs) => pairs.clone(),
            Self::All(names) => {
                let outputs = model.program().outputs();
                if names.len() != outputs.len() {
                    return Err(Error::invalid(format!(
                        "--output_names has {} names, but the model has {} outputs",
                        names.len(),
                        outputs.len()
                    )));
                }
                let old = outputs.iter().map(|output| output.name.clone());
                old.zip(names.iter().cloned()).collect()
            }
        };
        let pairs = pairs.into_iter();
        let renamings: Vec<Renaming> = pairs.map(|(old, new)| Renaming { old, new }).collect();
        model.renamed(&renamings)
    }
}

/// The shapes of inputs: a dictionary of lists, or None for none.
#[derive(Clone)]
pub(super) struct Shapes(pub Vec<(String, Vec<i64>)>);

impl FromStr for Shapes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let what = "a dictionary of shapes is needed, as in {'x': [1, 3, 224, 224]}";
        let entries = match value(text, what)? {
            Value::None => Vec::new(),
            Value::Dict(entries) => entries,
            _ => return Err(what.into()),
        };
        let shapes = entries.iter().map(|(name, shape)| {
            let extents = shape.as_list()?.iter();
            let extents = extents.map(|extent| extent.as_integer()?.to_string().parse().ok());
            Some((name.as_string()?.clone(), extents.collect::<Option<_>>()?))
        });
        shapes
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| what.into())
    }
}

impl Shapes {
    /// The model with inputs of these shapes, in which -1 stands for an extent that each run sets.
    ///
    /// # Errors
    /// When there is no such input, it has another rank, or an extent is not above 0.
    pub fn applied(&self, model: Model) -> Result<Model> {
        let shapes = self.0.iter().map(|(name, extents)| {
            let extents = extents
                .iter()
                .enumerate()
                .map(|(axis, extent)| match extent {
                    -1 => Ok(Dim::Symbol(format!("{name}_dim{axis}").into())),
                    1.. => Ok(Dim::Known(*extent)),
                    _ => Err(Error::invalid(format!(
                        "--input_shape_dict: an extent of {extent}"
                    ))),
                });
            Ok(InputShape {
                name: name.clone(),
                shape: extents.collect::<Result<_>>()?,
            })
        });
        model.with_input_shapes(&shapes.collect::<Result<Vec<_>>>()?)
    }
}

/// The value of a literal; `what` says what is needed, if it is none.
fn value(text: &str, what: &str) -> Result<Value, String> {
    text.trim().parse().map_err(|_| what.to_owned())
}

/// The entries of a dictionary of strings.
fn pairs(value: &Value) -> Option<Vec<(String, String)>> {
    let entries = value.as_dict()?.iter();
    let pairs =
        entries.map(|(key, value)| Some((key.as_string()?.clone(), value.as_string()?.clone())));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_those_of_python() {
        for (text, expected) in [
            ("True", true),
            ("False", false),
            ("1", true),
            (" 0 ", false),
        ] {
            assert_eq!(text.parse::<Boolean>().unwrap().0, expected, "{text}");
        }
        for text in ["Treu", "true", "", "2"] {
            assert!(text.parse::<Boolean>().is_err(), "{text}");
        }
    }

    #[test]
    fn dictionaries_and_lists_are_those_of_python() {
        let operators: Operators = r#"{"my_relu": "Relu2", 'b': 'C',}"#.parse().unwrap();
        let names: Vec<&str> = operators.0.iter().map(|c| c.op_type.as_str()).collect();
        assert_eq!(names, ["Relu2", "C"]);
        assert_eq!("{}".parse::<Operators>().unwrap().0, []);
        assert!(matches!("['a', \"b\"]".parse(), Ok(Renamed::All(names)) if names == ["a", "b"]));
        assert!(matches!("{'a': 'b'}".parse(), Ok(Renamed::Some(pairs)) if pairs.len() == 1));
        let shapes: Shapes = "{'x': [1, -1, 224], 'y': [2]}".parse().unwrap();
        assert_eq!(shapes.0[0], ("x".to_owned(), vec![1, -1, 224]));
        assert!("None".parse::<Shapes>().unwrap().0.is_empty());
        for text in ["{'a': 1}", "{'a'", "[]", "a"] {
            assert!(text.parse::<Operators>().is_err(), "{text}");
        }
        assert!("[1]".parse::<Renamed>().is_err());
        assert!("{'x': 3}".parse::<Shapes>().is_err());
    }
}
