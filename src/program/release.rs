//! The release of Paddle that wrote a program.

/// A release of Paddle, as far as a file says which. Some kernels compute something else from a release on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(i64);

impl Release {
    /// That of programs in the format of Paddle 3.
    pub const NEWEST: Self = Self(i64::MAX);
    /// Paddle up to 1.5, whose programs don't say which wrote them.
    pub(crate) const OLDEST: Self = Self(0);
    /// The last of Paddle 2. Programs of development builds say 0, and are read as its.
    pub(crate) const LAST_OF_2: Self = Self(2_999_999);

    /// The release that a `ProgramDesc` states: 1 000 000 · major + 1000 · minor + patch.
    pub(crate) fn stated(version: Option<i64>) -> Self {
        match version {
            None => Self::OLDEST,
            Some(0) => Self::LAST_OF_2,
            Some(version) => Self(version),
        }
    }

    /// Whether this is a release before `major.minor`.
    pub fn is_before(self, major: u16, minor: u16) -> bool {
        self.0 < 1_000_000 * i64::from(major) + 1000 * i64::from(minor)
    }
}

#[cfg(test)]
mod tests {
    use super::Release;

    #[test]
    fn releases_are_ordered() {
        let stated = |version| Release::stated(Some(version));
        assert!(stated(1_008_005).is_before(2, 0));
        assert!(!stated(2_000_000).is_before(2, 0));
        assert!(stated(2_004_002).is_before(2, 5));
        assert!(!stated(2_006_002).is_before(2, 6));
        assert!(Release::stated(None).is_before(1, 6));
        assert!(!stated(0).is_before(2, 6) && stated(0).is_before(3, 0));
        assert!(!Release::NEWEST.is_before(3, 3));
    }
}
