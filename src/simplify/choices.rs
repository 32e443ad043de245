//! Ops that choose among boxes, made fit for runtimes that can't run them: left out, or with results of fixed extents.
//!
//! Unlike the other passes these change what a program computes, and are made on request alone.
//!
//! Before [`without_choices`]:
//!
//! ```text
//! input %0:boxes : float32 [batch, 8400, 4]
//! input %1:scores : float32 [batch, 80, 8400]
//! %2:nms, %3:index, %4:numbers = multiclass_nms3(%0:boxes, %1:scores, -) : float32 [?, 6], int32 [?, 1], int32 [batch]
//! output nms = %2:nms
//! output numbers = %4:numbers
//! ```
//!
//! After it:
//!
//! ```text
//! input %0:boxes : float32 [batch, 8400, 4]
//! input %1:scores : float32 [batch, 80, 8400]
//! %5:nms/transpose = transpose(%1:scores) : float32 [batch, 8400, 80]
//! output boxes = %0:boxes
//! output scores = %5:nms/transpose
//! ```

use std::collections::HashSet;

use super::dead::{drop_remarks, drop_unneeded};
use crate::error::{Error, Result};
use crate::operator::Registry;
use crate::program::{
    Attr, Attributes, Op, OpKind, Operand, Origin, Output, Program, Value, ValueId,
};

/// The attribute of an op that chooses boxes which says how many it gives of each image, in any run.
pub(crate) const LIMIT: &str = "nms_limit";

/// The program up to the boxes and scores among which is chosen. These are its first outputs, two for each op that
/// chooses: `boxes` (`[n, boxes, 4]`: left, top, right, bottom) and `scores` (`[n, boxes, classes]`), numbered if there are
/// several. They have the order and layout that TensorRT's EfficientNMS takes. Outputs that do not depend on a choice
/// follow.
///
/// # Errors
/// When there is no such op, or one stands in a block.
pub(crate) fn without_choices(program: &Program, registry: &Registry) -> Result<Program> {
    let mut program = program.clone();
    refuse_others(&program, registry)?;
    let mut depend: HashSet<ValueId> = HashSet::new();
    let (mut chosen_from, mut left_out) = (Vec::new(), HashSet::new());
    for op in &program.ops {
        let chooses = registry.chooses_boxes(op);
        let mut reads_choice = false;
        op.each_read(&mut |id| reads_choice |= depend.contains(&id));
        if chooses || reads_choice {
            depend.extend(&op.results);
            left_out.insert(op.source.index);
        }
        // A choice among boxes that were chosen before is left out with what it reads.
        if chooses && !reads_choice {
            chosen_from.push(op.clone());
        }
    }
    let others = program
        .outputs
        .iter()
        .filter(|o| !depend.contains(&o.value));
    let others: Vec<Output> = others.cloned().collect();
    let is_only = chosen_from.len() == 1;
    let mut outputs = Vec::new();
    for (number, op) in chosen_from.into_iter().enumerate() {
        let end = if is_only {
            String::new()
        } else {
            format!("_{number}")
        };
        let (boxes, scores) = match op.operands.as_slice() {
            [Operand::One(boxes), Operand::One(scores), ..] => (*boxes, *scores),
            _ => return Err(Error::malformed("boxes or scores are missing").at_op(&op.source)),
        };
        let scores = transposed(&mut program, &op, scores);
        outputs.extend(
            [("boxes", boxes), ("scores", scores)].map(|(name, value)| Output {
                name: format!("{name}{end}"),
                value,
            }),
        );
    }
    let taken: HashSet<String> = outputs.iter().map(|output| output.name.clone()).collect();
    outputs.extend(
        others
            .into_iter()
            .filter(|output| !taken.contains(&output.name)),
    );
    program.outputs = outputs;
    drop_unneeded(&mut program);
    drop_remarks(&mut program);
    // What turns the scores stands in the place of the choice.
    program
        .remarks
        .retain(|(source, _)| !left_out.contains(&source.index));
    Ok(program)
}

/// The scores with classes last, by a `transpose` at the end of the program. Those without an axis of images have them
/// there already.
fn transposed(program: &mut Program, op: &Op, scores: ValueId) -> ValueId {
    let given = &program[scores];
    let [images, classes, boxes] = given.shape.as_slice() else {
        return scores;
    };
    let result = Value {
        name: format!("{}/transpose", op.source.output),
        dtype: given.dtype,
        shape: vec![images.clone(), boxes.clone(), classes.clone()],
        origin: Origin::Result,
    };
    let result = program.add_value(result);
    program.ops.push(Op {
        kind: OpKind::Known("transpose"),
        operands: vec![Operand::One(scores)],
        results: vec![result],
        attrs: Attributes::from([("perm".to_owned(), Attr::Ints(vec![0, 2, 1]))]),
        blocks: Vec::new(),
        release: op.release,
        source: op.source.clone(),
    });
    result
}

/// The program in which every op that chooses boxes gives exactly `limit` of each image, or as many as it keeps if these are
/// fewer: rows of -1 stand for those that are missing. It looks at no more candidates of each class either.
///
/// # Errors
/// When there is no such op, or one stands in a block.
pub(crate) fn with_limit(program: &Program, registry: &Registry, limit: usize) -> Result<Program> {
    let mut program = program.clone();
    refuse_others(&program, registry)?;
    let limit = i64::try_from(limit).map_err(|_| Error::invalid("a limit beyond 64 bits"))?;
    for op in &mut program.ops {
        if registry.chooses_boxes(op) {
            op.attrs.insert(LIMIT.to_owned(), Attr::Int(limit));
        }
    }
    Ok(program)
}

/// Refuses programs that choose no boxes, or in blocks.
fn refuse_others(program: &Program, registry: &Registry) -> Result<()> {
    let mut inner = program.ops.iter().flat_map(Op::inner_ops);
    if let Some(op) = inner.find(|op| registry.chooses_boxes(op)) {
        return Err(Error::unsupported("it chooses boxes in a block").at_op(&op.source));
    }
    if program.ops.iter().any(|op| registry.chooses_boxes(op)) {
        return Ok(());
    }
    Err(Error::unsupported(
        "no op of the program drops boxes that overlap better ones (such as multiclass_nms3)",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Release, Source};
    use crate::tensor::{DType, Dim};

    #[test]
    fn remarks_on_what_is_left_out_are_dropped() {
        let mut program = Program::default();
        let mut value = |rank| {
            program.add_value(Value {
                name: String::new(),
                dtype: DType::F32,
                shape: vec![Dim::Unknown; rank],
                origin: Origin::Result,
            })
        };
        let [boxes, scores, image] = [3, 3, 3].map(&mut value);
        let [found, after] = [2, 2].map(&mut value);
        let op = |index, kind, operands: &[ValueId], result| Op {
            kind: OpKind::Known(kind),
            operands: operands.iter().map(|id| Operand::One(*id)).collect(),
            results: vec![result],
            attrs: Attributes::default(),
            blocks: Vec::new(),
            release: Release::NEWEST,
            source: Source {
                index,
                ..Source::default()
            },
        };
        program.inputs = vec![image, boxes];
        program.ops = vec![
            op(0, "relu", &[image], scores),
            op(1, "multiclass_nms3", &[boxes, scores], found),
            op(2, "relu", &[found], after),
        ];
        program.outputs = vec![Output {
            name: "found".to_owned(),
            value: after,
        }];
        program.remarks = program
            .ops
            .iter()
            .map(|op| (op.source.clone(), "noticed".into()))
            .collect();
        let program = without_choices(&program, &Registry::standard()).unwrap();
        let noticed: Vec<usize> = program.remarks.iter().map(|(op, _)| op.index).collect();
        assert_eq!(noticed, [0]);
    }
}
