//! `data_norm`: normalisation by sums over the data of the training.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::image::non_negative_i32;
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "data_norm",
    &[
        Arg::Optional("scale_w"),
        Arg::Optional("bias"),
        Arg::Tensor("x"),
        Arg::Tensor("batch_size"),
        Arg::Tensor("batch_sum"),
        Arg::Tensor("batch_square_sum"),
    ],
    &[Form::legacy(
        &["data_norm"],
        &[
            Binding::Optional("scale_w"),
            Binding::Optional("bias"),
            Binding::Slot("X"),
            Binding::Slot("BatchSize"),
            Binding::Slot("BatchSum"),
            Binding::Slot("BatchSquareSum"),
        ],
        &["Y"],
    )
    .ignoring(&[
        // What training does with the sums.
        "summary_decay_rate",
        "sync_stats",
        "epsilon",
        // The rank is 2, so that the channels are the last axis in any layout.
        "data_layout",
    ])],
    DataNorm::parse,
)
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Rounded)];

/// `(x - batch_sum / batch_size) · √(batch_size / batch_square_sum)` for each column of `x` (`[n, c]`), and then
/// `· scale_w + bias` if `enable_scale_and_shift` is set. All parameters are vectors of `c` elements. With a positive
/// `slot_dim`, rows consist of slots of that many elements, and a slot whose first element is 0 becomes zeros.
///
/// Paddle: `DataNormKernel` in `phi/kernels/cpu/data_norm_kernel.cc`. ONNX: Div, Sqrt, Sub, Mul and Add; Less and Where
/// for slots.
struct DataNorm {
    x: ValueId,
    batch_size: ValueId,
    batch_sum: ValueId,
    batch_square_sum: ValueId,
    scale_and_bias: Option<[ValueId; 2]>,
    slot_dim: Option<usize>,
}

/// Paddle takes lesser magnitudes for 0.
const LEAST: f64 = 1e-7;

impl DataNorm {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let has_scale = op.attr_or("enable_scale_and_shift", false)?;
        let slot_dim: i64 = op.attr_or("slot_dim", -1)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            batch_size: op.operand("batch_size")?,
            batch_sum: op.operand("batch_sum")?,
            batch_square_sum: op.operand("batch_square_sum")?,
            scale_and_bias: has_scale
                .then(|| Ok::<_, Error>([op.operand("scale_w")?, op.operand("bias")?]))
                .transpose()?,
            slot_dim: non_negative_i32(slot_dim).filter(|slot| *slot > 0),
        }))
    }

    fn normalize<T: Real>(
        &self,
        x: &Array<T>,
        [size, sum, square_sum]: [&Array<T>; 3],
        scale_and_bias: Option<[&Array<T>; 2]>,
    ) -> Result<Array<T>> {
        let parameters = [size, sum, square_sum].into_iter();
        let mut parameters = parameters.chain(scale_and_bias.into_iter().flatten());
        let columns = x.shape().last().copied().unwrap_or(0);
        let slot = self.slot_dim.unwrap_or(1);
        if parameters.any(|parameter| parameter.len() != columns) || columns % slot != 0 {
            return Err(Error::malformed(format!(
                "no parameters for {columns} columns"
            )));
        }
        let mut y = x.as_standard_layout().into_owned();
        let least = T::from_f64(LEAST);
        for mut row in y.rows_mut() {
            for (column, x) in row.iter_mut().enumerate() {
                let mean = sum[column] / size[column];
                let scale = (size[column] / square_sum[column]).sqrt();
                *x = (*x - mean) * scale;
                if let Some([scale, bias]) = scale_and_bias {
                    *x = *x * scale[column] + bias[column];
                }
            }
        }
        let first = x.rows();
        if self.slot_dim.is_some() {
            for (mut row, x) in y.rows_mut().into_iter().zip(first) {
                for (column, y) in row.iter_mut().enumerate() {
                    if x[column / slot * slot].abs() < least {
                        *y = T::zero();
                    }
                }
            }
        }
        Ok(y.into())
    }
}

impl Function for DataNorm {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let fits = match (x.shape.as_slice(), self.slot_dim) {
            ([_, columns], Some(slot)) => {
                columns.extent().is_none_or(|columns| columns % slot == 0)
            }
            (shape, _) => shape.len() == 2,
        };
        let sums = [self.batch_size, self.batch_sum, self.batch_square_sum].into_iter();
        let mut parameters = sums.chain(self.scale_and_bias.into_iter().flatten());
        if !fits || parameters.any(|parameter| facts.rank(parameter) != 1) {
            let shape = display_shape(&x.shape);
            return Err(Error::malformed(format!(
                "rows of shape {shape}, or parameters that are not one for each column"
            )));
        }
        Ok(Fact::new(x.dtype, x.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let size = g.value(self.batch_size)?;
        let (sum, square_sum) = (g.value(self.batch_sum)?, g.value(self.batch_square_sum)?);
        let mean = g.node("Div", &[sum, size], []);
        let scale = g.node("Div", &[size, square_sum], []);
        let scale = g.node("Sqrt", &[scale], []);
        let y = g.node("Sub", &[x, mean], []);
        let mut y = g.node("Mul", &[y, scale], []);
        if let Some([scale, bias]) = self.scale_and_bias {
            let (scale, bias) = (g.value(scale)?, g.value(bias)?);
            y = g.node("Mul", &[y, scale], []);
            y = g.node("Add", &[y, bias], []);
        }
        let Some(slot) = self.slot_dim else {
            return Ok(y);
        };
        let dtype = g.dtype(self.x);
        let slots = g.vector(&[0, -1, slot as i64]);
        let [x, y] = [x, y].map(|x| g.node("Reshape", &[x, slots], []));
        let first = g.slice(x, 0, 1, 2);
        let magnitude = g.node("Abs", &[first], []);
        let (least, zero) = (g.scalar(dtype, LEAST), g.scalar(dtype, 0.0));
        let is_zero = g.node("Less", &[magnitude, least], []);
        let y = g.node("Where", &[is_zero, zero, y], []);
        let rows = match g.shape(self.x)[1] {
            Dim::Known(columns) => g.vector(&[-1, columns]),
            _ => g.vector(&[0, -1]),
        };
        Ok(g.node("Reshape", &[y, rows], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let sums = [self.batch_size, self.batch_sum, self.batch_square_sum];
        with_real!(values.get(self.x)?, x => {
            let get = |id: ValueId| same_type(values.get(id)?, x);
            let [size, sum, square_sum] = sums.map(get);
            let scale_and_bias = match self.scale_and_bias {
                Some([scale, bias]) => Some([get(scale)?, get(bias)?]),
                None => None,
            };
            self.normalize(x, [size?, sum?, square_sum?], scale_and_bias)?
        })
    }
}
