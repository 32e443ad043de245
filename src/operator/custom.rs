//! Ops without a definition that are passed through to an operator of another ONNX domain.

use std::str::FromStr;

use super::interface::{Macs, Operator};
use super::values::Values;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::program::{Attr, Fact, Facts, Op, Operand, ValueId};
use crate::tensor::Tensor;

/// An op of Paddle that has no definition, and the operator of another ONNX domain that takes its place.
///
/// The operator gets the tensors that the op reads, in the order of the file, and the attributes that the file holds,
/// but for those that only say how Paddle runs an op. `ProgramDesc` keeps the slots of a custom op in the order of
/// their names, PIR the operands in the order of their declaration. What is known of the results is what the program
/// declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomOp {
    /// The op's name in Paddle, with or without the dialect that PIR puts in front (`custom_op.`).
    pub name: String,
    /// The domain of the ONNX operator.
    pub domain: String,
    /// The type of the ONNX operator.
    pub op_type: String,
}

/// The domain of the operators that ONNX Runtime has beside ONNX's own.
pub(crate) const ONNX_RUNTIME_DOMAIN: &str = "com.microsoft";

/// The dialect of custom ops in PIR.
const DIALECT: &str = "custom_op.";

impl CustomOp {
    /// What helps where the op `name` has no definition, as a clause.
    pub(crate) fn hint(name: &str) -> String {
        let name = Self::plain(name);
        format!("--custom-op {name}=DOMAIN::NAME would pass it through to an operator of your own")
    }

    /// Whether this is about the op of the name `op`, with or without its dialect.
    pub fn names(&self, op: &str) -> bool {
        Self::plain(&self.name) == Self::plain(op)
    }

    /// The op's name without its dialect.
    pub(super) fn plain(name: &str) -> &str {
        name.strip_prefix(DIALECT).unwrap_or(name)
    }
}

impl FromStr for CustomOp {
    type Err = Error;

    /// Reads `PADDLE_NAME=domain::OnnxName`.
    ///
    /// # Errors
    /// When the text has another form, a name is none that ONNX allows, or the domain is reserved for ONNX.
    fn from_str(text: &str) -> Result<Self> {
        let names = text.split_once('=').and_then(|(name, operator)| {
            let (domain, op_type) = operator.rsplit_once("::")?;
            Some((name.trim(), domain.trim(), op_type.trim()))
        });
        let Some((name, domain, op_type)) = names else {
            return Err(Error::invalid(format!(
                "a custom op is written PADDLE_NAME=domain::OnnxName, as in \
                 my_relu=com.example::MyRelu, not {text:?}"
            )));
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Error::invalid(format!("{name:?} is no name of an op")));
        }
        if domain.is_empty() || domain == "ai.onnx" || domain.starts_with("ai.onnx.") {
            return Err(Error::invalid(format!(
                "the domain {domain:?} is reserved for ONNX's own operators; choose one of yours, \
                 such as com.example"
            )));
        }
        if !domain.split('.').all(is_identifier) {
            return Err(Error::invalid(format!(
                "{domain:?} is no domain: those are names joined by dots, such as com.example"
            )));
        }
        if !is_identifier(op_type) {
            return Err(Error::invalid(format!(
                "{op_type:?} is no type of an ONNX operator: those consist of letters, digits and _"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            domain: domain.to_owned(),
            op_type: op_type.to_owned(),
        })
    }
}

fn is_identifier(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(is_part) && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty()
}

/// One occurrence of a custom op.
pub(super) struct PassThrough {
    custom: CustomOp,
    operands: Vec<Option<ValueId>>,
    results: Vec<ValueId>,
    attrs: Vec<(String, NodeAttr)>,
}

impl PassThrough {
    /// Reads an occurrence.
    ///
    /// # Errors
    /// When it has an attribute that ONNX has no type for, or holds blocks.
    pub(super) fn parse(op: &Op, custom: &CustomOp) -> Result<Self> {
        if !op.blocks.is_empty() {
            return Err(Error::unsupported(
                "an op that holds blocks can't be passed through",
            ));
        }
        let mut operands = Vec::new();
        for operand in &op.operands {
            match operand {
                Operand::Absent => operands.push(None),
                given => operands.extend(given.values().iter().copied().map(Some)),
            }
        }
        let attrs = op.attrs.iter();
        let attrs = attrs.map(|(name, attr)| Ok((name.clone(), node_attr(name, attr)?)));
        Ok(Self {
            custom: custom.clone(),
            operands,
            results: op.results.clone(),
            attrs: attrs.collect::<Result<_>>()?,
        })
    }
}

/// The attribute as ONNX has it. Numbers become float32, as Paddle keeps those of custom ops.
fn node_attr(name: &str, attr: &Attr) -> Result<NodeAttr> {
    Ok(match attr {
        Attr::Bool(value) => NodeAttr::Int((*value).into()),
        Attr::Int(value) => NodeAttr::Int(*value),
        Attr::Float(value) => NodeAttr::Float(*value as f32),
        Attr::String(value) => NodeAttr::Text(value.clone()),
        Attr::Bools(values) => NodeAttr::Ints(values.iter().copied().map(i64::from).collect()),
        Attr::Ints(values) => NodeAttr::Ints(values.clone()),
        Attr::Floats(values) => {
            NodeAttr::Floats(values.iter().map(|value| *value as f32).collect())
        }
        Attr::Strings(values) => NodeAttr::Texts(values.clone()),
        Attr::Block(_) => {
            return Err(Error::unsupported(format!(
                "the attribute `{name}` is {}, which can't be passed through",
                attr.type_name()
            )));
        }
    })
}

impl Operator for PassThrough {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let declared = self.results.iter().map(|id| facts.get(*id).clone());
        Ok(declared.collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let operands = self.operands.iter();
        let inputs = operands.map(|id| id.map(|id| g.value(id)).transpose());
        let inputs = inputs.collect::<Result<_>>()?;
        let operator = (self.custom.domain.as_str(), self.custom.op_type.as_str());
        Ok(g.custom_node(operator, inputs, self.attrs.clone(), self.results.len()))
    }

    fn evaluate(&self, _: &Values<'_>) -> Result<Vec<Tensor>> {
        let CustomOp {
            domain, op_type, ..
        } = &self.custom;
        Err(Error::unsupported(format!(
            "only a runtime that has {domain}::{op_type} can compute it"
        )))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::CustomOp;

    #[test]
    fn a_custom_op_is_written_as_two_names() {
        let op: CustomOp = "my_relu=com.example::MyRelu".parse().unwrap();
        let names = [&*op.name, &*op.domain, &*op.op_type];
        assert_eq!(names, ["my_relu", "com.example", "MyRelu"]);
    }

    #[test]
    fn what_is_no_custom_op_is_refused_by_what_is_wrong() {
        for (text, word) in [
            ("my_relu", "PADDLE_NAME=domain::OnnxName"),
            ("my_relu=MyRelu", "PADDLE_NAME=domain::OnnxName"),
            ("=com.example::MyRelu", "no name of an op"),
            ("my relu=com.example::MyRelu", "no name of an op"),
            ("my_relu=::MyRelu", "reserved"),
            ("my_relu=ai.onnx::MyRelu", "reserved"),
            ("my_relu=ai.onnx.ml::MyRelu", "reserved"),
            ("my_relu=com..example::MyRelu", "no domain"),
            ("my_relu=com.example::", "no type"),
            ("my_relu=com.example::My-Relu", "no type"),
            ("my_relu=com.example::1Relu", "no type"),
        ] {
            let said = text.parse::<CustomOp>().unwrap_err().to_string();
            assert!(said.contains(word), "{text}: {said}");
        }
    }
}
