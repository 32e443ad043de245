//! A model so large that its conversion does not end before a test has interfered with it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// The rows and the columns of the only weight, which takes 4 GiB. No machine copies that before the
/// signal comes. The file is sparse and takes no room, but its copy does.
const EXTENT: u64 = 1 << 15;

/// Writes a program that multiplies its input with a weight, in the encoding of protobuf.
pub fn write_model(folder: &Path) {
    let extent = i64::try_from(EXTENT).unwrap();
    let tensor = |dims: [i64; 2]| [number(1, 5), number(2, dims[0]), number(2, dims[1])].concat();
    let variable = |name: &str, dims, persistable| {
        let dense = message(1, &tensor(dims));
        let kind = [number(1, 7), message(3, &dense)].concat();
        let body = [text(1, name), message(2, &kind), number(3, persistable)];
        message(3, &body.concat())
    };
    let slot = |field, name, variable| message(field, &[text(1, name), text(2, variable)].concat());
    let column = || message(4, &[text(1, "col"), number(2, 0), number(3, 0)].concat());
    let block = [
        number(1, 0),
        number(2, -1),
        variable("x", [-1, extent], 0),
        variable("w", [extent, extent], 1),
        variable("y", [-1, extent], 0),
        message(
            4,
            &[slot(2, "Out", "x"), text(3, "feed"), column()].concat(),
        ),
        message(
            4,
            &[
                slot(1, "X", "x"),
                slot(1, "Y", "w"),
                slot(2, "Out", "y"),
                text(3, "matmul_v2"),
            ]
            .concat(),
        ),
        message(4, &[slot(1, "X", "y"), text(3, "fetch"), column()].concat()),
    ];
    fs::write(folder.join("large.pdmodel"), message(1, &block.concat())).unwrap();

    let description = tensor([extent, extent]);
    let mut weights = File::create(folder.join("large.pdiparams")).unwrap();
    let size = i32::try_from(description.len()).unwrap().to_le_bytes();
    weights
        .write_all(&[&[0; 16], &size[..], &description].concat())
        .unwrap();
    let header = 20 + u64::try_from(description.len()).unwrap();
    weights.set_len(header + EXTENT * EXTENT * 4).unwrap();
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value as u64)].concat()
}

fn message(field: u64, body: &[u8]) -> Vec<u8> {
    [
        varint(field << 3 | 2),
        varint(body.len() as u64),
        body.to_vec(),
    ]
    .concat()
}

fn text(field: u64, text: &str) -> Vec<u8> {
    message(field, text.as_bytes())
}
