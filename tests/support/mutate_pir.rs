//! Programs of Paddle 3 that parse but make no sense: an existing one with a few values changed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// Numbers at which arithmetic on extents, axes and value numbers goes wrong first.
const NUMBERS: [i64; 14] = [
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    -2,
    100,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 40,
    i64::MAX,
    i64::MIN,
];

/// Words that have a meaning in some place: types, element types, modes.
const WORDS: [&str; 14] = [
    "",
    "0.t_i64",
    "0.t_c64",
    "NULL",
    "0.t_vec",
    "0.a_f32",
    "0.a_i32",
    "0.a_array",
    "NHWC",
    "SAME",
    "int32",
    "float16",
    "x",
    "w",
];

/// The program in these bytes with one to three changes that the seed decides.
pub fn mutated(program: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut program: Value = serde_json::from_slice(program).unwrap();
    let ops = &mut program["program"]["regions"][0]["blocks"][0]["ops"];
    for _ in 0..1 + below(&mut rng, 3) {
        change(ops, &mut rng);
    }
    program.to_string().into_bytes()
}

fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    usize::try_from(rng.next_u32()).unwrap() % bound.max(1)
}

/// Walks down to some value and changes it.
fn change(value: &mut Value, rng: &mut ChaCha8Rng) {
    let is_here = below(rng, 8) == 0;
    match value {
        Value::Array(items) if items.is_empty() => items.push(json!(NUMBERS[below(rng, 14)])),
        Value::Array(items) => {
            let position = below(rng, items.len());
            match (is_here, below(rng, 3)) {
                (false, _) => change(&mut items[position], rng),
                (true, 0) => drop(items.remove(position)),
                (true, 1) => items.push(items[position].clone()),
                (true, _) => {
                    let other = below(rng, items.len());
                    items.swap(position, other);
                }
            }
        }
        Value::Object(fields) => {
            let position = below(rng, fields.len());
            let Some(key) = fields.keys().nth(position).cloned() else {
                return;
            };
            if is_here {
                fields.remove(&key);
            } else {
                change(&mut fields[&key], rng);
            }
        }
        Value::Number(_) if is_here => *value = json!([0.5, f64::MAX, -1e-300][below(rng, 3)]),
        Value::Number(_) => *value = json!(NUMBERS[below(rng, NUMBERS.len())]),
        Value::String(_) if is_here => *value = json!(WORDS[below(rng, WORDS.len())]),
        Value::String(text) => *text = format!("1.{}", op_name(rng)),
        Value::Bool(flag) => *flag = !*flag,
        Value::Null => *value = json!(1),
    }
}

fn op_name(rng: &mut ChaCha8Rng) -> &'static str {
    let ops = paddle2onnx::Registry::standard().supported_ops();
    let names: Vec<&'static str> = ops.iter().flat_map(|op| &op.pir).copied().collect();
    names[below(rng, names.len())]
}
