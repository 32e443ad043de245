//! A part of a manifest's models, for a machine that runs no more than that.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of several parts of the same size, more or less. Which part a model belongs to depends on its name alone: it stays
/// there when others come and go, and all of its opsets are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Numbers")]
pub struct Shard {
    number: NonZeroU32,
    count: NonZeroU32,
}

/// The numbers of a shard, as JSON has them.
#[derive(Deserialize)]
struct Numbers {
    number: NonZeroU32,
    count: NonZeroU32,
}

impl TryFrom<Numbers> for Shard {
    type Error = String;

    fn try_from(numbers: Numbers) -> Result<Self, String> {
        Self::new(numbers.number, numbers.count)
    }
}

impl Shard {
    /// The part of this number, of which the first is 1, of `count` parts.
    ///
    /// # Errors
    /// When there is no part of this number.
    pub fn new(number: NonZeroU32, count: NonZeroU32) -> Result<Self, String> {
        if number > count {
            return Err(format!(
                "there is no shard {number} of {count}; they are numbered from 1"
            ));
        }
        Ok(Self { number, count })
    }

    /// The number of the part; that of the first is 1.
    pub fn number(self) -> u32 {
        self.number.get()
    }

    /// How many parts there are.
    pub fn count(self) -> u32 {
        self.count.get()
    }

    /// All parts of which this is one, in their order.
    pub(super) fn siblings(self) -> impl Iterator<Item = Self> {
        let numbers = (1..=self.count.get()).filter_map(NonZeroU32::new);
        numbers.map(move |number| Self { number, ..self })
    }

    /// Whether the model of this name belongs to this part.
    pub fn has(self, name: &str) -> bool {
        hash(name) % u64::from(self.count.get()) == u64::from(self.number.get() - 1)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/');
        let numbers =
            numbers.and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        let (number, count) = numbers
            .ok_or("two numbers from 1 on are needed, as in 2/8: the second part of eight")?;
        Self::new(number, count)
    }
}

/// The FNV-1a hash of a name, whose bits are then mixed as splitmix64 does: the remainder of the former alone would depend
/// on little more than the last letters.
fn hash(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_in_one_shard() {
        let shards: Vec<Shard> = (1..=8).map(|n| format!("{n}/8").parse().unwrap()).collect();
        let mut sizes = [0; 8];
        for number in 0..5000 {
            let name = format!("family/model_{number:04}");
            let mut owners = (0..8).filter(|shard| shards[*shard].has(&name));
            let owner = owners.next().unwrap();
            assert_eq!(owners.next(), None, "{name}");
            sizes[owner] += 1;
        }
        assert!(
            sizes.iter().all(|size| (550..=700).contains(size)),
            "{sizes:?}"
        );
    }

    /// The parts of runs on different machines, and of this year's and last year's program, must be the same.
    #[test]
    fn a_name_has_the_same_hash_forever() {
        assert_eq!(hash("ViT_base_patch16_224"), 0xff81_09df_b26e_80f7);
        assert_eq!(hash(""), 0xf52a_15e9_a9b5_e89b);
    }

    #[test]
    fn shards_are_written_as_a_fraction() {
        let shard: Shard = "2/8".parse().unwrap();
        assert_eq!(
            (shard.number(), shard.count(), shard.to_string()),
            (2, 8, "2/8".into())
        );
        for text in [
            "", "2", "0/8", "9/8", "2/0", "-1/8", "2/8/9", "a/b", "2 / 8",
        ] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        let json = serde_json::to_string(&shard).unwrap();
        assert_eq!(json, r#"{"number":2,"count":8}"#);
        assert_eq!(serde_json::from_str::<Shard>(&json).unwrap(), shard);
        assert!(serde_json::from_str::<Shard>(r#"{"number":9,"count":8}"#).is_err());
    }
}
