//! Every op, defined once: its names, what is known of its result, its ONNX lowering and its
//! reference kernel.
//!
//! One file per family. To add an op, write its [`OpDef`] in the family's `OPS` and add its cases
//! to `fixtures/op_cases/`.

mod activation;
mod affine_channel;
mod affine_grid;
mod attention;
mod batch_norm;
mod bessel;
mod broadcast;
mod causal;
mod clip;
mod compare;
mod composite;
mod conv;
mod conv_transpose;
mod count;
mod creation;
mod crop;
mod cross_entropy;
mod cumulative;
mod data_norm;
mod def;
mod deformable_conv;
mod diagonal;
mod einsum;
mod elementwise;
mod expand;
mod fold;
mod fused;
mod fused_activation;
mod fused_conv;
mod fused_layers;
mod gather;
mod grid_sample;
mod group_norm;
mod image;
mod index_put;
mod interpolate;
mod join;
mod labels;
mod like;
mod linalg;
mod loss;
mod lrn;
mod mask;
mod math;
mod matmul;
mod matrix;
mod maxout;
mod median;
mod norm;
mod operator;
mod order;
mod pad;
mod pool;
mod power;
mod predicate;
mod prelu;
mod random;
mod reader;
mod rearrange;
mod reduce;
mod resample;
mod reshape;
mod rms_norm;
mod roi_align;
mod rotary;
mod scale;
mod scatter;
mod select;
mod sequence;
mod shape;
mod shift;
mod slice;
mod softmax;
mod special;
mod spectral_norm;
mod strided_slice;
mod tally;
mod tile;
mod triangle;
mod unary;
mod unbind;
mod unique;
mod variadic;
mod vector_norm;
mod vector_product;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

pub use def::Accuracy;
pub(crate) use def::{Arg, Form, From, OpDef, Rewrite};
pub(crate) use operator::{Facts, Macs, Operator};
pub(crate) use reader::OpReader;

use crate::error::{Error, Result};
use crate::program::{Op, OpKind, Operand, Program, ValueId};
use crate::tensor::{DType, display_shape};

/// All families.
static FAMILIES: &[&[OpDef]] = &[
    activation::OPS,
    affine_channel::OPS,
    attention::OPS,
    affine_grid::OPS,
    batch_norm::OPS,
    bessel::OPS,
    causal::OPS,
    clip::OPS,
    compare::OPS,
    conv::OPS,
    conv_transpose::OPS,
    count::OPS,
    creation::OPS,
    crop::OPS,
    cross_entropy::OPS,
    cumulative::OPS,
    diagonal::OPS,
    data_norm::OPS,
    deformable_conv::OPS,
    einsum::OPS,
    elementwise::OPS,
    expand::OPS,
    fold::OPS,
    fused::OPS,
    fused_activation::OPS,
    fused_conv::OPS,
    fused_layers::OPS,
    gather::OPS,
    grid_sample::OPS,
    group_norm::OPS,
    index_put::OPS,
    interpolate::OPS,
    join::OPS,
    labels::OPS,
    like::OPS,
    linalg::OPS,
    loss::OPS,
    lrn::OPS,
    mask::OPS,
    math::OPS,
    matmul::OPS,
    matrix::OPS,
    maxout::OPS,
    median::OPS,
    norm::OPS,
    order::OPS,
    pad::OPS,
    pool::OPS,
    power::OPS,
    predicate::OPS,
    prelu::OPS,
    random::OPS,
    rearrange::OPS,
    reduce::OPS,
    reshape::OPS,
    rotary::OPS,
    rms_norm::OPS,
    roi_align::OPS,
    scale::OPS,
    scatter::OPS,
    select::OPS,
    sequence::OPS,
    shape::OPS,
    shift::OPS,
    slice::OPS,
    softmax::OPS,
    special::OPS,
    spectral_norm::OPS,
    strided_slice::OPS,
    tally::OPS,
    tile::OPS,
    triangle::OPS,
    unbind::OPS,
    unique::OPS,
    variadic::OPS,
    vector_norm::OPS,
    vector_product::OPS,
];

/// An op that can be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportedOp {
    /// The PHI name.
    pub name: &'static str,
    /// Its types in programs of the older format.
    pub legacy: Vec<&'static str>,
    /// Its names in programs of Paddle 3, without the `_` of those that overwrite an operand.
    pub pir: Vec<&'static str>,
    /// The element types that its first operand may have, or its result where it has none.
    pub dtypes: &'static [DType],
    /// The lowest opset in which ONNX expresses it. Some attributes and types need a higher one.
    pub opset: u32,
    /// How closely two right implementations of it agree.
    pub accuracy: Accuracy,
}

/// Every op that can be converted.
pub fn supported_ops() -> Vec<SupportedOp> {
    let names = |forms: &'static [Form]| forms.iter().flat_map(|form| form.names).copied();
    let supported = all().map(|def| SupportedOp {
        name: def.name,
        legacy: names(def.legacy).collect(),
        pir: std::iter::once(def.name).chain(names(def.pir)).collect(),
        dtypes: def.dtypes,
        opset: def.opset,
        accuracy: def.accuracy,
    });
    supported.collect()
}

/// Every op that has a definition.
pub(crate) fn all() -> impl Iterator<Item = &'static OpDef> {
    FAMILIES.iter().copied().flatten()
}

/// A way to spell an op: its definition, and the form.
type Spelling = (&'static OpDef, &'static Form);

/// The definitions by PHI name.
static BY_NAME: LazyLock<HashMap<&str, &OpDef>> =
    LazyLock::new(|| all().map(|def| (def.name, def)).collect());

/// The forms by the names that they have in files.
fn by_spelling(forms: fn(&'static OpDef) -> &'static [Form]) -> HashMap<&'static str, Spelling> {
    let spellings = all().flat_map(|def| forms(def).iter().map(move |form| (def, form)));
    spellings
        .flat_map(|(def, form)| form.names.iter().map(move |name| (*name, (def, form))))
        .collect()
}

/// The definition of a PHI op.
pub(crate) fn find(name: &str) -> Option<&'static OpDef> {
    BY_NAME.get(name).copied()
}

/// The definition and the legacy form that an op type of `ProgramDesc` has.
pub(crate) fn find_legacy(name: &str) -> Option<Spelling> {
    static FORMS: LazyLock<HashMap<&str, Spelling>> =
        LazyLock::new(|| by_spelling(|def| def.legacy));
    FORMS.get(name).copied()
}

/// The definition that an op of PIR has, and its form if that is not the definition's own.
pub(crate) type PirSpelling = (&'static OpDef, Option<&'static Form>);

/// How an op of PIR's dialect `pd_op` is spelled.
pub(crate) fn find_pir(name: &str) -> Option<PirSpelling> {
    static FORMS: LazyLock<HashMap<&str, Spelling>> = LazyLock::new(|| by_spelling(|def| def.pir));
    match FORMS.get(name) {
        Some((def, form)) => Some((def, Some(form))),
        None => Some((find(name)?, None)),
    }
}

/// Reads every op of a program.
///
/// # Errors
/// When ops have no definition: all of them are listed, with counts. Else the first op that is
/// not what its definition expects.
pub(crate) fn resolve(program: &Program) -> Result<Vec<Box<dyn Operator>>> {
    refuse_unknown(program)?;
    program.ops().iter().map(parse).collect()
}

/// Reads one op.
pub(crate) fn parse(op: &Op) -> Result<Box<dyn Operator>> {
    let parse = || {
        let def = find(op.kind.name()).ok_or_else(|| Error::unsupported("not supported"))?;
        let mut reader = OpReader::new(op, def);
        let operator = (def.parse)(&mut reader)?;
        reader.finish()?;
        Ok(operator)
    };
    parse().map_err(|e: Error| e.at_op(&op.source))
}

fn refuse_unknown(program: &Program) -> Result<()> {
    let mut unknown: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for op in program.all_ops() {
        if let OpKind::Unknown(name) = &op.kind {
            unknown.entry(name).or_insert((0, op.source.index)).0 += 1;
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = unknown
        .iter()
        .map(|(name, (count, first))| format!("`{name}` ({count} ×, first at op {first})"))
        .collect();
    let (what, verb) = if unknown.len() == 1 {
        ("1 kind of op".to_owned(), "is")
    } else {
        (format!("{} kinds of ops", unknown.len()), "are")
    };
    Err(Error::unsupported(format!(
        "the model uses {what} that {verb} not supported: {}",
        list.join(", ")
    )))
}

/// Whether an op gives other results in each run, whatever its operands are.
pub(crate) fn is_random(op: &Op) -> bool {
    find(op.kind.name()).is_some_and(|def| def.accuracy == Accuracy::Random)
}

/// Whether each output of a program depends on random numbers: no two runs give the same then.
pub(crate) fn random_outputs(program: &Program) -> Vec<bool> {
    let mut random: BTreeSet<ValueId> = BTreeSet::new();
    for op in program.ops() {
        let mut operands = op.operands.iter().flat_map(Operand::values);
        // The shape of random numbers is none.
        let reads_values = !matches!(op.kind.name(), "shape" | "shape64");
        if is_random(op) || (reads_values && operands.any(|id| random.contains(id))) {
            random.extend(&op.results);
        }
    }
    let outputs = program.outputs().iter();
    outputs
        .map(|output| random.contains(&output.value))
        .collect()
}

/// What is known of every value, by going through the ops in order.
pub(crate) fn infer<'p>(
    program: &'p Program,
    operators: &[Box<dyn Operator>],
) -> Result<Facts<'p>> {
    let mut facts = Facts::declared(program);
    for (op, operator) in program.ops().iter().zip(operators) {
        infer_op(op, &**operator, &mut facts)?;
    }
    Ok(facts)
}

/// Adds what is known of the results of one op.
pub(crate) fn infer_op(op: &Op, operator: &dyn Operator, facts: &mut Facts<'_>) -> Result<()> {
    let infer = || {
        refuse_type(op, facts)?;
        let inferred = operator.infer(facts)?;
        if inferred.len() != op.results.len() {
            let (due, found) = (inferred.len(), op.results.len());
            return Err(Error::malformed(format!(
                "writes {found} variables where it has {due} results"
            )));
        }
        if let Some(fact) = inferred.iter().find(|fact| fact.is_impossible()) {
            let shape = display_shape(&fact.shape);
            return Err(Error::malformed(format!(
                "a result of the impossible shape {shape}"
            )));
        }
        Ok(inferred)
    };
    let inferred = infer().map_err(|e| e.at_op(&op.source))?;
    for (result, fact) in op.results.iter().zip(inferred) {
        facts.refine(*result, fact);
    }
    Ok(())
}

/// Refuses operands that the op's definition does not list.
fn refuse_type(op: &Op, facts: &Facts<'_>) -> Result<()> {
    let operands = op.operands.iter().flat_map(Operand::values);
    let (Some(def), Some(value)) = (find(op.kind.name()), operands.chain(&op.results).next())
    else {
        return Ok(());
    };
    let dtype = facts.dtype(*value);
    if def.dtypes.contains(&dtype) {
        return Ok(());
    }
    let taken: Vec<&str> = def.dtypes.iter().map(|dtype| dtype.name()).collect();
    let message = format!("it takes {}, not {dtype}", taken.join(", "));
    Err(Error::unsupported(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names = BTreeSet::new();
        let mut spellings = BTreeSet::new();
        let mut pir_spellings = BTreeSet::new();
        for def in all() {
            assert!(names.insert(def.name), "two definitions of {}", def.name);
            for spelling in def.legacy.iter().flat_map(|form| form.names) {
                assert!(spellings.insert(spelling), "two readings of {spelling}");
            }
            for spelling in def.pir.iter().flat_map(|form| form.names) {
                assert!(pir_spellings.insert(spelling), "two readings of {spelling}");
            }
        }
    }

    #[test]
    fn legacy_forms_give_every_operand() {
        for def in all() {
            for form in def.legacy {
                assert_eq!(form.operands.len(), def.operands.len(), "{}", def.name);
                assert_eq!(form.results.len(), def.results.len(), "{}", def.name);
            }
        }
    }
}
