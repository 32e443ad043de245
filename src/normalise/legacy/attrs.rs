//! Attributes of an op in `ProgramDesc`, decoded, without those that have no bearing on the result.

use std::collections::BTreeMap;

use super::desc::OpDesc;
use crate::error::{Error, Result};
use crate::program::{Attr, FromAttr};
use crate::proto::framework::op_desc::Attr as AttrDesc;
use crate::proto::framework::{AttrType, Scalar};

/// An attribute of an op.
pub(super) struct Attribute {
    pub name: String,
    /// The type that the file states, if it is known.
    r#type: Option<AttrType>,
    /// Its value; what the file has instead, if that is none.
    value: Result<Attr, Box<AttrDesc>>,
}

/// Those attributes of an op of this type that may bear on its result.
pub(super) fn of_op(op_type: &str, descs: Vec<AttrDesc>) -> Vec<Attribute> {
    let bearing = descs.into_iter();
    let bearing = bearing.filter(|desc| !is_hint(op_type, &desc.name));
    let attributes = bearing.map(|desc| Attribute {
        name: desc.name.clone(),
        r#type: AttrType::try_from(desc.r#type).ok(),
        value: value(&desc).map_err(|_| Box::new(desc)),
    });
    let mut attributes: Vec<Attribute> = attributes.collect();
    attributes.shrink_to_fit();
    attributes
}

/// Attributes that have no bearing on the result of an inference, on whatever op they stand. `docs/paddle-history.md`
/// says which release wrote them.
const HINTS: &[&str] = &[
    // Bookkeeping of training, and where an op was made or is to run.
    "op_role",
    "op_role_var",
    "op_namescope",
    "op_callstack",
    "op_device",
    "@ALL_KERNELS_MUST_COMPUTE_RUNTIME_SHAPE@",
    // The choice among kernels that compute the same.
    "use_cudnn",
    "use_mkldnn",
    "use_onednn",
    "workspace_size_MB",
    "exhaustive_search",
    "search_times",
    "use_addto",
    "x_data_format",
    "y_data_format",
    "mkldnn_format",
    "onednn_format",
    // What kernels for narrow types would need, and what quantisers noted. A float result does not depend on it.
    "use_quantizer",
    "mkldnn_data_type",
    "onednn_data_type",
    "force_fp32_output",
    "Scale_in",
    "Scale_out",
    "Scale_in_eltwise",
    "Scale_weights",
    "Scale_x",
    "Scale_y",
    "with_quant_attr",
    "out_threshold",
    "quantization_type",
    "bit_length",
    "activation_bits",
    "skip_quant",
];

/// Whether an attribute of an op has no bearing on the result, by its name: one of [`HINTS`], or the range that a
/// quantiser has seen of a slot (`Out0_threshold`) or a variable (`fc_0.tmp_0.max`).
fn is_hint(op_type: &str, name: &str) -> bool {
    // Ops that quantise compute with it.
    if name == "bit_length" && op_type.contains("quantize") {
        return false;
    }
    let slot = name.strip_suffix("_threshold");
    let is_of_slot = slot.is_some_and(|slot| slot.ends_with(|c: char| c.is_ascii_digit()));
    let is_of_variable = name.ends_with(".min") || name.ends_with(".max");
    HINTS.contains(&name) || is_of_slot || is_of_variable
}

/// Fusions that Paddle's own optimiser puts into an op. They are left out where they are off; an op whose fusion is on
/// keeps the attribute, which its definition has to read.
const FUSIONS: &[&str] = &[
    "fuse_relu",
    "fuse_brelu",
    "fuse_with_relu",
    "fuse_activation",
    "fuse_activation_type",
    "fuse_eltwise",
    "fuse_residual_connection",
    "fuse_relu_before_depthwise_conv",
    "fused_reshape_X",
    "fused_reshape_Y",
    "fused_reshape_Out",
    "fused_transpose_X",
    "fused_transpose_Y",
    "fused_transpose_Out",
];

/// Parameters of a fusion, which have no meaning where it is off.
const FUSION_PARAMETERS: &[&str] = &[
    "fuse_alpha",
    "fuse_beta",
    "fuse_brelu_threshold",
    "fuse_activation_alpha",
    "fuse_activation_beta",
    "fuse_activation_scale",
];

/// The attributes of `op` that bear on its result, by their names in `ProgramDesc`. An attribute that names variables
/// in place of a value is given as their names.
///
/// # Errors
/// When an attribute has no value, or is of a type that is not known.
pub(super) fn decode(op: &OpDesc) -> Result<BTreeMap<String, Attr>> {
    let mut attrs = BTreeMap::new();
    for attribute in &op.attrs {
        let name = attribute.name.as_str();
        if FUSION_PARAMETERS.contains(&name) {
            continue;
        }
        let attr = match &attribute.value {
            Ok(attr) => attr.clone(),
            Err(desc) => value(desc)?,
        };
        if FUSIONS.contains(&name) && is_off(&attr) {
            continue;
        }
        attrs.insert(name.to_owned(), attr);
    }
    Ok(attrs)
}

/// The attributes of an op that can't be read, as far as their types are known.
pub(super) fn decode_known(op: &OpDesc) -> BTreeMap<String, Attr> {
    let known = op.attrs.iter().filter_map(|attribute| {
        let value = attribute.value.as_ref().ok()?;
        Some((attribute.name.clone(), value.clone()))
    });
    known.collect()
}

/// The numbers of the blocks that `op` holds.
pub(super) fn blocks(op: &OpDesc) -> impl Iterator<Item = i64> {
    op.attrs
        .iter()
        .flat_map(|attribute| match (attribute.r#type, &attribute.value) {
            (Some(AttrType::Block), Ok(Attr::Block(number))) => vec![*number],
            (Some(AttrType::Blocks), Ok(Attr::Ints(numbers))) => numbers.clone(),
            _ => Vec::new(),
        })
}

/// The attributes of `op` that name variables in place of a value, each with these names.
pub(super) fn variables(op: &OpDesc) -> impl Iterator<Item = (&str, Vec<&str>)> {
    op.attrs.iter().filter_map(|attribute| {
        let names = match (attribute.r#type?, &attribute.value) {
            (AttrType::Var, Ok(Attr::String(name))) => vec![name.as_str()],
            (AttrType::Vars, Ok(Attr::Strings(names))) => {
                names.iter().map(String::as_str).collect()
            }
            (AttrType::Var | AttrType::Vars, _) => Vec::new(),
            _ => return None,
        };
        Some((attribute.name.as_str(), names))
    })
}

fn is_off(attr: &Attr) -> bool {
    match attr {
        Attr::Bool(value) => !value,
        Attr::Int(value) => *value == 0,
        Attr::String(value) => value.is_empty(),
        Attr::Ints(values) => values.is_empty(),
        _ => false,
    }
}

fn value(desc: &AttrDesc) -> Result<Attr> {
    let missing = || Error::malformed(format!("the attribute `{}` has no value", desc.name));
    let kind = AttrType::try_from(desc.r#type).map_err(|_| {
        Error::unsupported(format!(
            "the attribute `{}` has the unknown type {}",
            desc.name, desc.r#type
        ))
    })?;
    let widen = |values: &[i32]| values.iter().map(|v| i64::from(*v)).collect();
    let value = match kind {
        AttrType::Int => Attr::Int(desc.i.ok_or_else(missing)?.into()),
        AttrType::Long => Attr::Int(desc.l.ok_or_else(missing)?),
        AttrType::Float => Attr::Float(desc.f.ok_or_else(missing)?.into()),
        AttrType::Float64 => Attr::Float(desc.float64.ok_or_else(missing)?),
        AttrType::String => Attr::String(desc.s.clone().ok_or_else(missing)?),
        AttrType::Boolean => Attr::Bool(desc.b.ok_or_else(missing)?),
        AttrType::Ints => Attr::Ints(widen(&desc.ints)),
        AttrType::Longs => Attr::Ints(desc.longs.clone()),
        AttrType::Floats => Attr::Floats(desc.floats.iter().map(|v| f64::from(*v)).collect()),
        AttrType::Float64s => Attr::Floats(desc.float64s.clone()),
        AttrType::Strings => Attr::Strings(desc.strings.clone()),
        AttrType::Booleans => Attr::Bools(desc.bools.clone()),
        AttrType::Block => Attr::Block(desc.block_idx.ok_or_else(missing)?.into()),
        AttrType::Blocks => Attr::Ints(widen(&desc.blocks_idx)),
        AttrType::Var => Attr::String(desc.var_name.clone().ok_or_else(missing)?),
        AttrType::Vars => Attr::Strings(desc.vars_name.clone()),
        AttrType::Scalar => scalar(desc.scalar.as_ref().ok_or_else(missing)?)?,
        AttrType::Scalars => scalars(&desc.scalars)?,
    };
    Ok(value)
}

fn scalar(scalar: &Scalar) -> Result<Attr> {
    let value = match scalar.r#type {
        1 => scalar.b.map(Attr::Bool),
        2 => scalar.i.map(Attr::Int),
        3 => scalar.r.map(Attr::Float),
        4 => return Err(Error::unsupported("complex numbers are not supported")),
        other => {
            return Err(Error::unsupported(format!(
                "a scalar of unknown type {other}"
            )));
        }
    };
    value.ok_or_else(|| Error::malformed("a scalar has no value"))
}

/// A list of scalars: of integers if all are bools or whole numbers, and otherwise of floating-point numbers.
///
/// # Errors
/// When a list that has other numbers holds bools as well.
fn scalars(list: &[Scalar]) -> Result<Attr> {
    let values: Vec<Attr> = list.iter().map(scalar).collect::<Result<_>>()?;
    let integers: Option<Vec<i64>> = values.iter().map(as_integer).collect();
    if let Some(integers) = integers {
        return Ok(Attr::Ints(integers));
    }
    let reals: Option<Vec<f64>> = values.iter().map(f64::from_attr).collect();
    reals
        .map(Attr::Floats)
        .ok_or_else(|| Error::unsupported("a list of bools and numbers"))
}

fn as_integer(attr: &Attr) -> Option<i64> {
    match attr {
        Attr::Bool(value) => Some((*value).into()),
        other => i64::from_attr(other),
    }
}
