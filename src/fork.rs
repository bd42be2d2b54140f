//! Which process this is, for state that must not be shared between a parent and its forked child.
//!
//! Python calls [`forked`] in every child that `os.fork` makes. Whatever holds descriptors or locks remembers the generation it
//! was made in, and is abandoned, not closed, when that is no longer the current one.

use std::sync::atomic::{AtomicU64, Ordering};

static CURRENT: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    pub fn current() -> Self {
        Self(CURRENT.load(Ordering::Relaxed))
    }

    pub fn is_current(self) -> bool {
        self == Self::current()
    }
}

/// Called in a forked child before anything else runs there.
pub fn forked() {
    CURRENT.fetch_add(1, Ordering::Relaxed);
}
