//! Weights and inputs for the programs of `fixtures/wild/`, which came without: the same to the bit as those that
//! `fixtures/wild.py` makes, where it says how.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ndarray::Array;
use ndarray_npy::NpzWriter;
use prost::Message;
use serde_json::Value;

use super::framework::{ProgramDesc, TensorDesc};

/// Codes of `VarType`.
const INT32: i32 = 2;
const INT64: i32 = 3;
const FLOAT32: i32 = 5;
const DENSE_TENSOR: i32 = 7;
const UINT8: i32 = 20;

/// The open extents of the inputs but the first, in either run.
const SIZES: [usize; 2] = [64, 96];

/// The first numbers of a splitmix64 sequence, whose seed is the FNV-1a hash of `key`.
fn words(key: &str, count: usize) -> impl Iterator<Item = u64> {
    let mut state = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (0..count).map(move |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

fn uniform(key: &str, low: f64, high: f64, count: usize) -> impl Iterator<Item = f32> {
    let scale = f64::from(1_u32 << 24);
    words(key, count).map(move |word| (low + (high - low) * ((word >> 40) as f64 / scale)) as f32)
}

fn below(key: &str, bound: u64, count: usize) -> impl Iterator<Item = u64> {
    words(key, count).map(move |word| word % bound)
}

/// A persistable variable; `low` and `high` bound its values, if it holds floating-point numbers.
struct Weight {
    name: String,
    desc: TensorDesc,
    low: f64,
    high: f64,
}

impl Weight {
    /// The weight as in a file.
    fn bytes(&self) -> Vec<u8> {
        let desc = self.desc.encode_to_vec();
        let length = i32::try_from(desc.len()).unwrap().to_le_bytes();
        let mut bytes = [&[0; 16][..], &length, &desc].concat();
        let count = self
            .desc
            .dims
            .iter()
            .map(|dim| usize::try_from(*dim).unwrap());
        let count = count.product();
        let integers = below(&self.name, 3, count);
        match self.desc.data_type {
            FLOAT32 => {
                let values = uniform(&self.name, self.low, self.high, count);
                bytes.extend(values.flat_map(f32::to_le_bytes));
            }
            INT32 => bytes.extend(integers.flat_map(|value| (value as i32).to_le_bytes())),
            INT64 => bytes.extend(integers.flat_map(u64::to_le_bytes)),
            UINT8 => bytes.extend(integers.map(|value| value as u8)),
            code => panic!("{}: weights of type {code} are not made", self.name),
        }
        bytes
    }
}

/// The bounds of a weight that is neither a variance nor a scale.
fn bounds(dims: &[i64]) -> (f64, f64) {
    let root = |count: i64| (count as f64).sqrt();
    let bound = match dims {
        [] | [_] => 0.2,
        [rows, _] => 1.0 / root(*rows),
        [_, rest @ ..] => 2.0 / root(rest.iter().product()),
    };
    (-bound, bound)
}

/// The program in a file of the older format.
pub fn program_desc(program: &Path) -> ProgramDesc {
    ProgramDesc::decode(fs::read(program).unwrap().as_slice()).unwrap()
}

/// The weights that a program declares, in the order of their names.
fn weights(program: &Path) -> Vec<Weight> {
    let mut weights = if program.extension().is_some_and(|e| e == "json") {
        weights_of_pir(program)
    } else {
        weights_of(&program_desc(program))
    };
    weights.sort_by(|a, b| a.name.cmp(&b.name));
    weights
}

fn weights_of(program: &ProgramDesc) -> Vec<Weight> {
    let arguments = |wanted: &str, kind: &str| -> HashSet<&str> {
        let ops = program.blocks.iter().flat_map(|block| &block.ops);
        let slots = ops
            .filter(|op| op.r#type.contains(kind))
            .flat_map(|op| &op.inputs);
        let slots = slots.filter(|slot| slot.parameter == wanted);
        slots
            .flat_map(|slot| &slot.arguments)
            .map(String::as_str)
            .collect()
    };
    let (variances, scales) = (arguments("Variance", ""), arguments("Scale", "norm"));
    let variables = program.blocks.iter().flat_map(|block| &block.vars);
    let dense = variables.filter(|v| v.persistable() && v.r#type.r#type == DENSE_TENSOR);
    let weights = dense.map(|variable| {
        let desc = variable.r#type.lod_tensor.as_ref().unwrap().tensor.clone();
        let (low, high) = match variable.name.as_str() {
            name if variances.contains(name) => (0.6, 1.6),
            name if scales.contains(name) => (0.7, 1.3),
            _ => bounds(&desc.dims),
        };
        let name = variable.name.clone();
        Weight {
            name,
            desc,
            low,
            high,
        }
    });
    weights.collect()
}

/// The weights of a program of Paddle 3, all of which are taken for float32.
fn weights_of_pir(program: &Path) -> Vec<Weight> {
    let program: Value = serde_json::from_slice(&fs::read(program).unwrap()).unwrap();
    let ops = &program["program"]["regions"][0]["blocks"][0]["ops"];
    let parameters = ops.as_array().unwrap().iter().filter(|op| op["#"] == "p");
    let weights = parameters.map(|op| {
        let dims = op["O"]["TT"]["D"][1].as_array().unwrap().iter();
        let dims: Vec<i64> = dims.map(|dim| dim.as_i64().unwrap()).collect();
        let (low, high) = bounds(&dims);
        Weight {
            name: op["A"][3].as_str().unwrap().to_owned(),
            desc: TensorDesc {
                data_type: FLOAT32,
                dims,
            },
            low,
            high,
        }
    });
    weights.collect()
}

/// Copies a program into a folder and puts its weights beside it, in one file or in one for each. Returns the path of
/// the copy, and a checksum of all weights: a sum of their 32-bit words, each times the odd number of its position.
pub fn write_model(program: &Path, folder: &Path, separate: bool) -> (PathBuf, i64) {
    let copy = folder.join(program.file_name().unwrap());
    fs::copy(program, &copy).unwrap();
    let weights = weights(program);
    if separate {
        for weight in &weights {
            // Names of variables may have slashes.
            let path = folder.join(&weight.name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, weight.bytes()).unwrap();
        }
    }
    let mut bytes: Vec<u8> = weights.iter().flat_map(Weight::bytes).collect();
    if !separate {
        let params = match program.extension() {
            None => folder.join("__params__"),
            Some(_) => copy.with_extension("pdiparams"),
        };
        fs::write(params, &bytes).unwrap();
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let (words, _) = bytes.as_chunks();
    let words = words
        .iter()
        .map(|word| u64::from(u32::from_le_bytes(*word)));
    let odd = (1..).step_by(2);
    let sum = words.zip(odd).fold(0_u64, |sum, (word, odd)| {
        sum.wrapping_add(word.wrapping_mul(odd))
    });
    (copy, sum.cast_signed())
}

/// Writes the inputs of the first or second run of a program, and returns their names.
pub fn write_inputs(program: &ProgramDesc, run: usize, npz: &Path) -> Vec<String> {
    let block = &program.blocks[0];
    let feeds = block.ops.iter().filter(|op| op.r#type == "feed");
    let names: Vec<String> = feeds.map(|op| op.outputs[0].arguments[0].clone()).collect();
    let mut writer = NpzWriter::new(File::create(npz).unwrap());
    for name in &names {
        let variable = block.vars.iter().find(|v| v.name == *name).unwrap();
        let tensor = &variable.r#type.lod_tensor.as_ref().unwrap().tensor;
        let shape: Vec<usize> = tensor
            .dims
            .iter()
            .enumerate()
            .map(|(axis, extent)| match usize::try_from(*extent) {
                Ok(extent) => extent,
                Err(_) if axis == 0 => run,
                Err(_) => SIZES[run - 1],
            })
            .collect();
        let values = input(name, run, tensor.data_type, shape.iter().product());
        let values = Array::from_shape_vec(shape, values).unwrap();
        match tensor.data_type {
            FLOAT32 => writer.add_array(name, &values),
            INT32 => writer.add_array(name, &values.mapv(|value| value as i32)),
            INT64 => writer.add_array(name, &values.mapv(|value| value as i64)),
            code => panic!("{name}: inputs of type {code} are not made"),
        }
        .unwrap();
    }
    writer.finish().unwrap();
    names
}

/// Values for an input that make sense by its name.
fn input(name: &str, run: usize, code: i32, count: usize) -> Vec<f32> {
    let key = format!("{name}/{run}");
    if name.contains("shape") || name.contains("size") {
        vec![320.0; count]
    } else if name.contains("scale") {
        vec![1.0; count]
    } else if code == FLOAT32 {
        let bound = 3_f64.sqrt();
        uniform(&key, -bound, bound, count).collect()
    } else {
        below(&key, 10, count).map(|value| value as f32).collect()
    }
}
