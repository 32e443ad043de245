//! Programs that decode but make no sense: an existing one with a few fields changed.

use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::framework::op_desc::{Attr, Slot};
use super::framework::{OpDesc, ProgramDesc, VarDesc};

/// Numbers at which arithmetic on extents and axes goes wrong first.
const NUMBERS: [i64; 17] = [
    0,
    1,
    -1,
    2,
    3,
    -2,
    5,
    100,
    -1000,
    1 << 31,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 40,
    1 << 62,
    i64::MAX,
    i64::MIN,
    i64::MIN + 1,
];

/// Codes of element types, supported and not.
const TYPES: [i32; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 20, 21, 22, 99];

/// The program in these bytes with one to three changes that the seed decides.
pub fn mutated(program: &[u8], seed: u64) -> Vec<u8> {
    let rng = ChaCha8Rng::seed_from_u64(seed);
    Mutator { rng }.mutated(program)
}

struct Mutator {
    rng: ChaCha8Rng,
}

impl Mutator {
    fn mutated(&mut self, program: &[u8]) -> Vec<u8> {
        let mut program = ProgramDesc::decode(program).unwrap();
        for _ in 0..1 + self.below(3) {
            let block = &mut program.blocks[0];
            let names: Vec<String> = block.vars.iter().map(|v| v.name.clone()).collect();
            let (variable, op) = (self.below(names.len()), self.below(block.ops.len()));
            match self.below(12) {
                0..=3 => self.change_variable(&mut block.vars[variable]),
                4..=6 => self.change_attribute(&mut block.ops[op].attrs),
                7 | 8 => self.change_slots(&mut block.ops[op].inputs, &names),
                9 => self.change_slots(&mut block.ops[op].outputs, &names),
                10 => self.change_type(&mut block.ops[op]),
                _ if block.ops.len() > 1 => drop(block.ops.remove(op)),
                _ => drop(block.vars.remove(variable)),
            }
        }
        program.encode_to_vec()
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.next_u32()).unwrap() % bound.max(1)
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// Changes, adds or removes an element.
    fn change_list<T: Clone>(&mut self, list: &mut Vec<T>, choices: &[T]) {
        let element = self.one_of(choices);
        let position = self.below(list.len());
        match (self.below(4), list.get_mut(position)) {
            (0, _) | (_, None) => list.push(element),
            (1, _) => drop(list.pop()),
            (_, Some(old)) => *old = element,
        }
    }

    fn change_variable(&mut self, variable: &mut VarDesc) {
        let Some(tensor) = &mut variable.r#type.lod_tensor else {
            return;
        };
        match self.below(4) {
            0 => tensor.tensor.data_type = self.one_of(&TYPES),
            _ => self.change_list(&mut tensor.tensor.dims, &NUMBERS),
        }
    }

    fn change_attribute(&mut self, attrs: &mut Vec<Attr>) {
        // The others are bookkeeping, which is never read.
        let is_read = |a: &Attr| !a.name.starts_with("op_") && !a.name.contains("mkldnn");
        let read: Vec<usize> = (0..attrs.len()).filter(|i| is_read(&attrs[*i])).collect();
        if read.is_empty() {
            return;
        }
        let position = self.one_of(&read);
        let numbers = NUMBERS.map(|number| number as i32);
        let attr = &mut attrs[position];
        match self.below(6) {
            0 => drop(attrs.remove(position)),
            1 => attr.r#type = self.below(19) as i32,
            2 => {
                attr.f = Some(self.one_of(&[f32::NAN, f32::INFINITY, 0.0, -1.0, 1e38]));
                attr.b = attr.b.map(|value| !value);
                attr.s = Some(
                    self.one_of(&["", "NHWC", "SAME", "1e400", "nan"])
                        .to_owned(),
                );
            }
            _ => {
                attr.i = Some(self.one_of(&numbers));
                attr.l = Some(self.one_of(&NUMBERS));
                self.change_list(&mut attr.ints, &numbers);
                self.change_list(&mut attr.longs, &NUMBERS);
            }
        }
    }

    fn change_slots(&mut self, slots: &mut [Slot], names: &[String]) {
        let position = self.below(slots.len());
        if let Some(slot) = slots.get_mut(position) {
            self.change_list(&mut slot.arguments, names);
        }
    }

    fn change_type(&mut self, op: &mut OpDesc) {
        let ops = paddle2onnx::Registry::standard().supported_ops();
        let types: Vec<&str> = ops.iter().flat_map(|op| &op.legacy).copied().collect();
        op.r#type = self.one_of(&types).to_owned();
    }
}
