//! Identity matrices, which need not be square: `eye`.
//!
//! Paddle: `phi/kernels/eye_kernel.h`. ONNX: Expand and EyeLike.

use super::arange::{constant_number, number};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Dim, Tensor, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "eye",
    &[Arg::Scalar("num_rows"), Arg::Scalar("num_columns")],
    &[Form::legacy(
        &["eye"],
        &[
            Binding::Scalar {
                attr: "num_rows",
                slots: &[],
            },
            Binding::Scalar {
                attr: "num_columns",
                slots: &[],
            },
        ],
        &["Out"],
    )],
    Eye::parse,
)
.with_dtypes(&[DType::I32, DType::I64, DType::F32, DType::F64])];

/// A matrix with ones on its main diagonal and zeros elsewhere.
struct Eye {
    rows: ValueId,
    columns: ValueId,
    dtype: DType,
}

impl Eye {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            rows: op.operand("num_rows")?,
            columns: op.operand("num_columns")?,
            dtype: op.attr("dtype")?,
        }))
    }

    /// Both extents. -1 stands for as many columns as rows.
    fn extents(rows: f64, columns: f64) -> (i64, i64) {
        let rows = rows as i64;
        let columns = columns as i64;
        (rows, if columns == -1 { rows } else { columns })
    }

    /// What is known of an extent before a run.
    fn extent(facts: &Facts<'_>, id: ValueId) -> Dim {
        match (constant_number(facts, id), facts.content(id)) {
            (Some(number), _) => Dim::Known(number as i64),
            (None, Some([dim])) => dim.clone(),
            _ => Dim::Unknown,
        }
    }

    fn is_square(&self, facts: &Facts<'_>) -> bool {
        Self::extent(facts, self.columns) == Dim::Known(-1)
    }

    fn shape(&self, facts: &Facts<'_>) -> [Dim; 2] {
        let columns = if self.is_square(facts) {
            self.rows
        } else {
            self.columns
        };
        [self.rows, columns].map(|id| Self::extent(facts, id))
    }
}

impl Function for Eye {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(self.dtype, self.shape(facts).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let shape = self.shape(g);
        let shape = if let Some(shape) = g.dims(&shape) {
            shape
        } else {
            let rows = g.int_array(self.rows)?;
            let columns = if self.is_square(g) {
                rows
            } else {
                g.int_array(self.columns)?
            };
            g.concat(&[rows, columns], 0)
        };
        let zero = g.scalar(DType::F32, 0.0);
        let zeros = g.node("Expand", &[zero, shape], []);
        // In float32, since ONNX Runtime does not have a kernel of EyeLike for every type.
        let eye = g.node(
            "EyeLike",
            &[zeros],
            [("dtype", NodeAttr::Int(DType::F32.onnx_code().into()))],
        );
        Ok(g.cast(eye, DType::F32, self.dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (rows, columns) =
            Self::extents(number(values, self.rows)?, number(values, self.columns)?);
        let extent = |e: i64| usize::try_from(e).map_err(|_| Error::malformed("a negative extent"));
        let (rows, columns) = (extent(rows)?, extent(columns)?);
        refuse_too_large(&[rows, columns])?;
        let mut eye = vec![0_i64; rows * columns];
        for place in 0..rows.min(columns) {
            eye[place * columns + place] = 1;
        }
        Ok(Tensor::from_elements(&[rows, columns], eye)?.cast(values.dtype(self.dtype)))
    }
}
