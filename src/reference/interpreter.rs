//! The interpreter: runs a program, op by op.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use super::lifetimes::Lifetimes;
use super::rounding::Rounding;
use super::walk::{Alter, Made, Rounds, Step, Visitor, Walk};
use super::weights::Weights;
use crate::analyse;
use crate::error::{Error, Result};
use crate::operator::{Accuracy, ParsedOp, Precision, Registry, Values};
use crate::program::{Op, Program, Value};
use crate::tensor::{DType, Dim, Tensor, allows_shape, display_shape, refuse_too_large};

/// A program ready to run, with its weights in memory.
pub struct Reference<'p> {
    program: &'p Program,
    ops: Vec<ParsedOp>,
    weights: Weights,
    lifetimes: Lifetimes,
    precision: Precision,
    /// The element types of all values for the shapes of the last inputs.
    inferred: Mutex<Option<Inferred>>,
    /// Ends runs before their next op when it is set.
    stop: Option<Arc<AtomicBool>>,
}

/// What has been inferred from the shapes of a run's inputs.
struct Inferred {
    shapes: Vec<Vec<usize>>,
    dtypes: Arc<[DType]>,
}

impl<'p> Reference<'p> {
    /// Reads the ops and loads the weights.
    ///
    /// # Errors
    /// When an op is not supported or the weights can't be read.
    pub fn new(program: &'p Program, registry: &Registry, precision: Precision) -> Result<Self> {
        let ops = analyse::resolve(program, registry)?;
        Ok(Self {
            weights: Weights::load(program, &ops, precision)?,
            ops,
            lifetimes: Lifetimes::of_program(program),
            program,
            precision,
            inferred: Mutex::new(None),
            stop: None,
        })
    }

    /// Has runs end with [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted), before their next op, when another
    /// thread sets `stop`.
    pub fn stopped_by(mut self, stop: Option<Arc<AtomicBool>>) -> Self {
        self.stop = stop;
        self
    }

    /// Computes the outputs, in the program's order, from named inputs.
    ///
    /// # Errors
    /// When an input is missing or of another type or shape, or an op can't be computed.
    pub fn run(&self, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>> {
        self.run_whole(inputs, None)
    }

    /// Runs as [`Reference::run`] does, with all results moved by as much as rounding may move them, by the accuracy of
    /// their ops.
    ///
    /// # Errors
    /// Those of [`Reference::run`].
    pub(crate) fn run_moved(
        &self,
        inputs: &[(String, Tensor)],
        rounding: &mut Rounding,
        accuracy: &(dyn Fn(&Op) -> Option<Accuracy> + Sync),
    ) -> Result<Vec<Tensor>> {
        let mut alter = |tensor, of: Made<'_>| {
            rounding.result(tensor, of.dtype, accuracy(of.op), of.largest_operand())
        };
        self.run_whole(inputs, Some(&mut alter))
    }

    /// Runs to the end, with results that are altered as in [`Reference::walk`].
    fn run_whole<'w>(
        &'w self,
        inputs: &[(String, Tensor)],
        alter: Option<&'w mut Alter<'w>>,
    ) -> Result<Vec<Tensor>> {
        let walk = || self.walk(inputs, alter, None);
        // From inside of the thread pool: otherwise this thread would go to sleep, and be woken, for each parallel kernel.
        let outputs = rayon::scope(|_| walk())?;
        outputs.ok_or_else(|| Error::internal("a run ended early"))
    }

    /// Runs as [`Reference::run`] does, and calls `visit` after each op, those of blocks in these `rounds`. None if
    /// `visit` ends the run early.
    pub(crate) fn run_by_op(
        &self,
        inputs: &[(String, Tensor)],
        rounds: Rounds,
        visit: &mut dyn FnMut(Step<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<Option<Vec<Tensor>>> {
        let visitor = Visitor { visit, rounds };
        self.walk(inputs, None, Some(visitor))
    }

    /// Runs op by op. `alter` gets every result, and returns what is kept of it.
    fn walk<'w>(
        &'w self,
        inputs: &[(String, Tensor)],
        alter: Option<&'w mut Alter<'w>>,
        visitor: Option<Visitor<'w>>,
    ) -> Result<Option<Vec<Tensor>>> {
        let is_visited = visitor.is_some();
        let is_seen = is_visited || alter.is_some();
        let (mut tensors, panels) = self.weights.tensors_and_panels(is_seen);
        for id in self.program.inputs() {
            let value = &self.program[*id];
            let tensor = input(value, inputs)?;
            tensors[id.index()] = Some(tensor.cast(self.precision.keeping(value.dtype)));
        }
        let mut walk = Walk {
            dtypes: self.result_types(&tensors)?,
            tensors,
            panels,
            precision: self.precision,
            alter,
            visitor,
            around: Vec::new(),
            stop: self.stop.clone(),
        };
        let ops = self.program.ops().iter().zip(&self.ops);
        for ((op, parsed), lifetime) in ops.zip(&self.lifetimes.ops) {
            walk.op(op, parsed, lifetime)?;
            if is_visited && walk.visitor.is_none() {
                return Ok(None);
            }
        }
        let values = Values::new(&walk.tensors, self.precision);
        let outputs = self.program.outputs().iter();
        let outputs = outputs.map(|output| values.get(output.value).cloned());
        outputs.collect::<Result<_>>().map(Some)
    }

    /// The element types of all values for inputs of the shapes in `tensors`, which are inferred anew if those of the
    /// last run were others.
    fn result_types(&self, tensors: &[Option<Tensor>]) -> Result<Arc<[DType]>> {
        let inputs = self.program.inputs().iter();
        let shapes = inputs.filter_map(|id| Some(tensors[id.index()].as_ref()?.shape().to_vec()));
        let shapes: Vec<Vec<usize>> = shapes.collect();
        let mut inferred = self.inferred.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inferred.as_ref().filter(|known| known.shapes == shapes) {
            return Ok(known.dtypes.clone());
        }
        let dtypes: Arc<[DType]> = self.inferred_types(tensors)?.into();
        *inferred = Some(Inferred {
            shapes,
            dtypes: dtypes.clone(),
        });
        Ok(dtypes)
    }

    /// The element types of all values, by inference from the shapes of the inputs, which are in `tensors`.
    /// Shapes that contradict each other, and results for which there is not enough memory, are found here,
    /// before a kernel meets them.
    fn inferred_types(&self, tensors: &[Option<Tensor>]) -> Result<Vec<DType>> {
        let program = self.program.with_input_shapes(|id, declared| {
            tensors[id.index()].as_ref().map_or_else(
                || declared.to_vec(),
                |tensor| tensor.shape().iter().copied().map(Dim::from).collect(),
            )
        });
        let facts = analyse::infer(&program, &self.ops)?;
        for op in program.all_ops() {
            for id in &op.results {
                let extents = facts.shape(*id).iter();
                let extents = extents.map(|dim| usize::try_from(dim.known()?).ok());
                if let Some(shape) = extents.collect::<Option<Vec<usize>>>() {
                    refuse_too_large(&shape).map_err(|e| e.at_op(&op.source))?;
                }
            }
        }
        Ok(program.values().map(|(id, _)| facts.dtype(id)).collect())
    }
}

/// Finds an input by name and checks it against its declaration.
fn input<'t>(value: &Value, inputs: &'t [(String, Tensor)]) -> Result<&'t Tensor> {
    let name = &value.name;
    let (_, tensor) = inputs
        .iter()
        .find(|(given, _)| given == name)
        .ok_or_else(|| Error::invalid(format!("the input `{name}` is not given")))?;
    if tensor.dtype() == value.dtype && allows_shape(&value.shape, tensor.shape()) {
        return Ok(tensor);
    }
    Err(Error::invalid(format!(
        "the input `{name}` is {} {} where the model takes {} {}",
        tensor.dtype(),
        display_shape(tensor.shape()),
        value.dtype,
        display_shape(&value.shape)
    )))
}
