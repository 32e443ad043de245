//! Names that are given only once.

use std::collections::HashMap;

/// The names that are taken, each with the last number that was put behind it.
#[derive(Debug, Default)]
pub(crate) struct UniqueNames {
    taken: HashMap<String, usize>,
}

impl UniqueNames {
    /// The name itself if it is free, else the name with the first free number behind it.
    pub fn claim(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        while self.taken.contains_key(&candidate) {
            // Going on from the last number keeps this fast for thousands of equal names.
            let number = self.taken.entry(name.to_owned()).or_default();
            *number += 1;
            candidate = format!("{name}_{number}");
        }
        self.taken.insert(candidate.clone(), 0);
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::UniqueNames;

    #[test]
    fn a_name_is_given_once() {
        let mut names = UniqueNames::default();
        let given = ["a", "a_1", "a", "a", "a_1", "b"].map(|name| names.claim(name));
        assert_eq!(given, ["a", "a_1", "a_2", "a_3", "a_1_1", "b"]);
    }
}
