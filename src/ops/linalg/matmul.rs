//! Products of matrices: `matmul`, which `bmm` and `mv` become, and `matmul_with_flatten`.

use ndarray::{ArrayD, Axis};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, Rows, TensorId};
use crate::kernels::{Real, map, matmul as kernel, with_real, with_reals};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, Macs, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::decomposition::Decomposition;
use crate::program::{
    Attr, Builder, Draft, Fact, Facts, FromAttr, OpKind, Operand, Parts, ValueId,
};
use crate::tensor::DType::{BF16, F16, F32, F64, I32, I64};
use crate::tensor::{
    Array, Dim, Element, Panels, Tensor, broadcast_dims, display_shape, reshape_dims,
};

const X_AND_Y: &[Binding] = &[Binding::Slot("X"), Binding::Slot("Y")];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "matmul",
        &[Arg::Tensor("x"), Arg::Tensor("y")],
        &[
            Form::legacy(&["matmul_v2"], X_AND_Y, &["Out"])
                .renaming(&[("trans_x", "transpose_x"), ("trans_y", "transpose_y")]),
            Form::legacy(&["matmul"], X_AND_Y, &["Out"])
                .renaming(&[
                    ("transpose_X", "transpose_x"),
                    ("transpose_Y", "transpose_y"),
                ])
                .rewriting(scale_product),
            // In Paddle, `bmm` takes two operands of rank 3, and `mv` a matrix and a vector.
            Form::legacy(&["bmm"], X_AND_Y, &["Out"]),
            Form::legacy(
                &["mv"],
                &[Binding::Slot("X"), Binding::Slot("Vec")],
                &["Out"],
            ),
        ],
        Matmul::parse,
    )
    .on_complex(complex_product)
    .with_pir(&[Form::pir(&["bmm", "mv"], &["X", "Y"], X_AND_Y)])
    .with_dtypes(&[I32, I64, F16, BF16, F32, F64])
    .with_accuracy(Accuracy::Accumulated)
    .with_channels(|op, [rank, of_weight]| {
        let is_transposed = op.attrs.get("transpose_y").and_then(bool::from_attr);
        let behind = if is_transposed.unwrap_or(false) { 2 } else { 1 };
        Some([rank.checked_sub(1)?, of_weight.checked_sub(behind)?])
    })
    .speculatable(),
    OpDef::new(
        "matmul_with_flatten",
        &[Arg::Tensor("x"), Arg::Tensor("y")],
        &[Form::legacy(&["mul"], X_AND_Y, &["Out"])
            // Quantisation scales: meaningless without a quantised kernel.
            .ignoring(&["scale_x", "scale_y", "scale_out"])],
        MatmulWithFlatten::parse,
    )
    .with_dtypes(FLOATS)
    .with_accuracy(Accuracy::Accumulated)
    .with_channels(|_, [rank, of_weight]| (of_weight == 2).then_some([rank.checked_sub(1)?, 1]))
    .speculatable(),
];

/// The product of complex matrices, as products of their parts.
fn complex_product(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut whole = Decomposition::new(builder, draft);
    let (x, y) = (whole.parts(0)?, whole.parts(1)?);
    let rank = whole.rank(x.real).max(whole.rank(y.real));
    let attrs = ["transpose_x", "transpose_y"];
    let [transpose_x, transpose_y] = attrs.map(|name| whole.attr(name, false));
    let attrs = [
        ("transpose_x", Attr::Bool(transpose_x?)),
        ("transpose_y", Attr::Bool(transpose_y?)),
    ];
    let mut product = |x: Option<ValueId>, y: Option<ValueId>| {
        let (x, y) = (x?, y?);
        Some(whole.op("matmul", &[x, y], &attrs, rank))
    };
    let real = product(Some(x.real), Some(y.real));
    let less = product(x.imag, y.imag);
    let (first, second) = (product(Some(x.real), y.imag), product(x.imag, Some(y.real)));
    let real = real.ok_or_else(|| Error::internal("numbers without real parts"))?;
    let real = less.map_or(real, |less| whole.op("subtract", &[real, less], &[], rank));
    let imag = match (first, second) {
        (Some(first), Some(second)) => Some(whole.op("add", &[first, second], &[], rank)),
        (first, second) => first.or(second),
    };
    whole.finish_parts(real, imag)
}

/// Makes the `alpha` of `ProgramDesc`'s older `matmul` an op of its own: a `scale` behind the product.
fn scale_product(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    match draft.attrs.remove("head_number") {
        None | Some(Attr::Int(1)) => {}
        Some(heads) => {
            return Err(Error::unsupported(format!(
                "a product for each of {heads} heads (`head_number`)"
            )));
        }
    }
    let alpha = match draft.attrs.remove("alpha") {
        None => 1.0,
        Some(Attr::Float(alpha)) => alpha,
        Some(other) => {
            return Err(Error::malformed(format!(
                "the attribute `alpha` is {} where a number was expected",
                other.type_name()
            )));
        }
    };
    if alpha == 1.0 {
        return Ok(builder.emit(draft));
    }
    let [result] = draft.results.as_slice() else {
        return Err(Error::malformed("a matmul without one result"));
    };
    let ty = (result.dtype, result.shape.clone());
    let product = builder.insert("matmul", draft.operands, draft.attrs, ty);
    let alpha = builder.constant(Tensor::scalar(alpha));
    Ok(builder.emit(Draft {
        kind: OpKind::Known("scale"),
        operands: vec![Operand::One(product), Operand::One(alpha)],
        results: draft.results,
        attrs: [("bias".to_owned(), Attr::Float(0.0))].into(),
    }))
}

/// NumPy's `matmul`, with the last two axes of either operand swapped first where its flag says so. A vector is a row
/// on the left and a column on the right, whatever the flags say.
///
/// Paddle: `phi/kernels/matmul_kernel.h`. ONNX: MatMul.
struct Matmul {
    x: ValueId,
    y: ValueId,
    transpose_x: bool,
    transpose_y: bool,
}

impl Matmul {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            transpose_x: op.attr_or("transpose_x", false)?,
            transpose_y: op.attr_or("transpose_y", false)?,
        }))
    }

    /// The shapes of the operands as they are multiplied: transposed, and vectors with a second axis of extent 1.
    fn matrices(&self, facts: &Facts<'_>) -> Result<(Vec<Dim>, Vec<Dim>)> {
        let mut x = matrix(facts.shape(self.x), self.transpose_x)?;
        let mut y = matrix(facts.shape(self.y), self.transpose_y)?;
        if x.len() == 1 {
            x.insert(0, Dim::Known(1));
        }
        if y.len() == 1 {
            y.push(Dim::Known(1));
        }
        Ok((x, y))
    }
}

/// The shape of an operand with its last two axes swapped if `transpose` says so and it is no vector.
fn matrix(shape: &[Dim], transpose: bool) -> Result<Vec<Dim>> {
    let mut shape = shape.to_vec();
    let rank = shape.len();
    if rank == 0 {
        return Err(Error::malformed("an operand of rank 0 in a matrix product"));
    }
    if transpose && rank > 1 {
        shape.swap(rank - 1, rank - 2);
    }
    Ok(shape)
}

/// Emits an operand with its last two axes swapped if `transpose` says so and it is no vector.
fn lower_operand(g: &mut Lowering<'_>, id: ValueId, transpose: bool) -> Result<TensorId> {
    let tensor = g.value(id)?;
    let rank = g.rank(id);
    if !transpose || rank < 2 {
        return Ok(tensor);
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 1, rank - 2);
    Ok(g.transpose(tensor, &perm))
}

impl Function for Matmul {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, y) = self.matrices(facts)?;
        let ([x_batch @ .., m, k], [y_batch @ .., inner, n]) = (x.as_slice(), y.as_slice()) else {
            return Err(Error::internal("a matrix without two axes"));
        };
        if let (Dim::Known(a), Dim::Known(b)) = (k, inner)
            && a != b
        {
            return Err(Error::malformed(format!(
                "can't multiply {} with {}: the inner extents differ",
                display_shape(facts.shape(self.x)),
                display_shape(facts.shape(self.y))
            )));
        }
        let mut shape = broadcast_dims(x_batch, y_batch)?;
        if facts.rank(self.x) > 1 {
            shape.push(m.clone());
        }
        if facts.rank(self.y) > 1 {
            shape.push(n.clone());
        }
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = lower_operand(g, self.x, self.transpose_x)?;
        let y = lower_operand(g, self.y, self.transpose_y)?;
        let rank = g.rank(self.x);
        if g.rank(self.y) != 1 || rank < 2 {
            return Ok(g.node("MatMul", &[x, y], []));
        }
        // The vector as a matrix, since ONNX Runtime fuses a Transpose with a MatMul by a vector, and then does not
        // transpose.
        let column = match g.shape(self.y)[0].known() {
            Some(count) if g.is_parameter(self.y) => {
                let whole = Rows {
                    value: self.y,
                    start: 0,
                    count,
                };
                g.rows(&[whole], &[count, 1])?
            }
            _ => g.unsqueeze(y, &[1]),
        };
        let product = g.node("MatMul", &[x, column], []);
        Ok(g.squeeze(product, &[rank as i64 - 1]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        if let Some(y) = values.panels(self.y) {
            return with_real!(x, x => kernel::matmul_panels(x, y)?);
        }
        match (x, values.get(self.y)?) {
            (Tensor::I32(x), Tensor::I32(y)) => self.product(x, y, kernel::integers),
            (Tensor::I64(x), Tensor::I64(y)) => self.product(x, y, kernel::integers),
            (Tensor::F32(x), Tensor::F32(y)) => self.product(x, y, kernel::matmul),
            (Tensor::F64(x), Tensor::F64(y)) => self.product(x, y, kernel::matmul),
            (x, y) => Err(Error::unsupported(format!(
                "the reference has no kernel for {} with {}",
                x.dtype(),
                y.dtype()
            ))),
        }
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        let depth = facts
            .shape(self.x)
            .iter()
            .rev()
            .nth(usize::from(self.transpose_x && facts.rank(self.x) > 1));
        let result = Function::infer(self, facts).map(|fact| fact.shape);
        count_macs(facts, [self.x, self.y], result, depth)
    }

    fn right_matrix(&self) -> Option<ValueId> {
        (!self.transpose_x && !self.transpose_y).then_some(self.y)
    }
}

/// A kernel that multiplies the matrices on the last two axes of two arrays.
type Product<T> = fn(&Array<T>, &Array<T>) -> Result<ArrayD<T>>;

impl Matmul {
    fn product<T: Element>(
        &self,
        x: &Array<T>,
        y: &Array<T>,
        product: Product<T>,
    ) -> Result<Tensor> {
        if x.ndim() == 0 || y.ndim() == 0 {
            return Err(Error::malformed("an operand of rank 0 in a matrix product"));
        }
        let left = as_matrix(x, self.transpose_x, 0);
        let right = as_matrix(y, self.transpose_y, 1);
        let mut product = product(&left, &right)?;
        if y.ndim() == 1 {
            let last = Axis(product.ndim() - 1);
            product = product.index_axis_move(last, 0);
        }
        if x.ndim() == 1 {
            let row = Axis(product.ndim() - y.ndim().min(2));
            product = product.index_axis_move(row, 0);
        }
        Ok(T::tensor(product.into()))
    }
}

/// An operand as it is multiplied: transposed, or a vector with a second axis of extent 1 at `vector_axis`.
fn as_matrix<T: Element>(x: &Array<T>, transpose: bool, vector_axis: usize) -> Array<T> {
    let mut x = x.clone();
    let rank = x.ndim();
    if rank == 1 {
        return x.insert_axis(Axis(vector_axis));
    }
    if transpose {
        x.swap_axes(rank - 1, rank - 2);
    }
    x
}

/// The multiply-accumulates of a product: one per element of the result and position along the axes that are summed,
/// whose extents are `depth`.
fn count_macs<'d>(
    facts: &Facts<'_>,
    operands: [ValueId; 2],
    result: Result<Vec<Dim>>,
    depth: impl IntoIterator<Item = &'d Dim>,
) -> Macs {
    let depth = depth.into_iter().cloned();
    let count = result
        .ok()
        .and_then(|result| Macs::product(result.into_iter().chain(depth)));
    let Some(count) = count else {
        return Macs::Unknown;
    };
    if operands.iter().any(|id| facts.is_parameter(*id)) {
        Macs::Weighted(count)
    } else {
        Macs::Activations(count)
    }
}

/// The product of two matrices, into which the operands are flattened: the axes from `x_num_col_dims` or
/// `y_num_col_dims` on become the columns, and those before them the rows. The result has the axes that are not summed.
///
/// Paddle: `phi/kernels/matmul_kernel.h` (`MatmulWithFlatten`). ONNX: Reshape or Flatten, and MatMul.
struct MatmulWithFlatten {
    x: ValueId,
    y: ValueId,
    x_num_col_dims: i64,
    y_num_col_dims: i64,
}

/// The first of the axes that become the columns of a flattened operand of this rank.
fn column_axis(num_col_dims: i64, rank: usize) -> Result<usize> {
    let axis = usize::try_from(num_col_dims).ok();
    axis.filter(|axis| (1..=rank).contains(axis))
        .ok_or_else(|| {
            Error::malformed(format!(
                "{num_col_dims} row axes are out of range for rank {rank}"
            ))
        })
}

/// Emits a tensor flattened to a matrix, whose columns are the axes from `axis` on.
fn lower_matrix(g: &mut Lowering<'_>, id: ValueId, axis: usize) -> Result<TensorId> {
    let tensor = g.value(id)?;
    if g.rank(id) == 2 && axis == 1 {
        return Ok(tensor);
    }
    let (rows, columns) = g.shape(id).split_at(axis);
    let shape = [
        reshape_dims(rows, &[Dim::Known(-1)])?,
        reshape_dims(columns, &[Dim::Known(-1)])?,
    ]
    .concat();
    Ok(g.reshape(tensor, &shape).unwrap_or_else(|| {
        let axis = ("axis", NodeAttr::Int(axis as i64));
        g.node("Flatten", &[tensor], [axis])
    }))
}

impl MatmulWithFlatten {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            x_num_col_dims: op.attr_or("x_num_col_dims", 1)?,
            y_num_col_dims: op.attr_or("y_num_col_dims", 1)?,
        }))
    }

    fn column_axes(&self, x_rank: usize, y_rank: usize) -> Result<(usize, usize)> {
        Ok((
            column_axis(self.x_num_col_dims, x_rank)?,
            column_axis(self.y_num_col_dims, y_rank)?,
        ))
    }

    fn product<T: Real>(&self, x: &Array<T>, y: &Array<T>) -> Result<Array<T>> {
        let (x_axis, y_axis) = self.column_axes(x.ndim(), y.ndim())?;
        let product = kernel::matmul(&flatten(x, x_axis)?, &flatten(y, y_axis)?)?;
        let shape = [&x.shape()[..x_axis], &y.shape()[y_axis..]].concat();
        map::reshape(&product.into(), &shape)
    }

    fn panel_product<T: Real>(&self, x: &Array<T>, y: &Panels) -> Result<Array<T>> {
        let x_axis = column_axis(self.x_num_col_dims, x.ndim())?;
        let product = kernel::matmul_panels(&flatten(x, x_axis)?, y)?;
        let shape = [&x.shape()[..x_axis], &[y.shape()[1]]].concat();
        map::reshape(&product.into(), &shape)
    }
}

/// A tensor flattened to a matrix, whose columns are the axes from `axis` on.
fn flatten<T: Element>(x: &Array<T>, axis: usize) -> Result<Array<T>> {
    let (rows, columns) = x.shape().split_at(axis);
    map::reshape(x, &[rows.iter().product(), columns.iter().product()])
}

impl Function for MatmulWithFlatten {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, y) = (facts.shape(self.x), facts.shape(self.y));
        let (x_axis, y_axis) = self.column_axes(x.len(), y.len())?;
        let shape = [&x[..x_axis], &y[y_axis..]].concat();
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, y) = (g.value(self.x)?, g.value(self.y)?);
        let (x_rank, y_rank) = (g.rank(self.x), g.rank(self.y));
        let (x_axis, y_axis) = self.column_axes(x_rank, y_rank)?;
        if x_axis + 1 == x_rank && y_axis == 1 && y_rank == 2 {
            return Ok(g.node("MatMul", &[x, y], []));
        }
        let rows = lower_matrix(g, self.x, x_axis)?;
        let columns = lower_matrix(g, self.y, y_axis)?;
        let product = g.node("MatMul", &[rows, columns], []);
        if x_axis == 1 && y_axis + 1 == y_rank {
            return Ok(product);
        }
        let shape = self.infer(g)?.shape;
        if let Some(result) = g.reshape(product, &shape) {
            return Ok(result);
        }
        let rows = g.shape_slice(x, 0, x_axis as i64);
        let columns = g.shape_slice(y, y_axis as i64, y_rank as i64);
        let shape = g.concat(&[rows, columns], 0);
        Ok(g.node("Reshape", &[product, shape], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        if let Some(y) = values.panels(self.y) {
            return with_real!(x, x => self.panel_product(x, y)?);
        }
        with_reals!(x, values.get(self.y)?, (x, y) => self.product(x, y)?)
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        let Ok((x_axis, _)) = self.column_axes(facts.rank(self.x), facts.rank(self.y)) else {
            return Macs::Unknown;
        };
        let depth = &facts.shape(self.x)[x_axis..];
        let result = self.infer(facts).map(|fact| fact.shape);
        count_macs(facts, [self.x, self.y], result, depth)
    }

    fn right_matrix(&self) -> Option<ValueId> {
        (self.y_num_col_dims == 1).then_some(self.y)
    }
}
