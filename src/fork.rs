//! Forks: how state that a parent and its forked child must not share is told apart.
//!
//! Python calls [`forked`] in every child of `os.fork`. Each fork begins a new [`Generation`]. An object that holds descriptors or
//! locks remembers the generation that made it; in a later one it is not used, and dropping it tells the peer nothing.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};

static CURRENT: AtomicU64 = AtomicU64::new(0);

/// The number of forks that led to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    pub fn current() -> Self {
        Self(CURRENT.load(Ordering::Relaxed))
    }

    pub fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Returns a generation that is not current, as one of a parent is not in its child.
    #[cfg(test)]
    pub fn of_parent() -> Self {
        Self(CURRENT.load(Ordering::Relaxed).wrapping_sub(1))
    }
}

/// Begins a new generation. Called in a forked child before any other function of the engine.
pub fn forked() {
    CURRENT.fetch_add(1, Ordering::Relaxed);
}

/// A value that is dropped only in the process that made it. In a forked child it is leaked as it is.
///
/// h2 needs this: its values share locks, and a thread of the parent may have held one of them during the fork. That thread does
/// not exist in the child, so that a drop which takes the lock would wait for ever.
pub struct DropIfCurrent<T> {
    value: ManuallyDrop<T>,
    generation: Generation,
}

impl<T> DropIfCurrent<T> {
    pub fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), generation: Generation::current() }
    }

    /// Returns whether this process made the value.
    pub fn is_current(&self) -> bool {
        self.generation.is_current()
    }
}

impl<T> Deref for DropIfCurrent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for DropIfCurrent<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for DropIfCurrent<T> {
    fn drop(&mut self) {
        if self.is_current() {
            // SAFETY: the value is dropped nowhere else, `drop` runs once, and the field cannot be reached after it.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_value_is_dropped_in_the_process_that_made_it() {
        let shared = Arc::new(());
        let value = DropIfCurrent::new(Arc::clone(&shared));
        assert!(value.is_current());
        drop(value);
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    fn a_value_of_another_generation_is_leaked() {
        let shared = Arc::new(());
        let generation = Generation(Generation::current().0.wrapping_sub(1));
        let value = DropIfCurrent { value: ManuallyDrop::new(Arc::clone(&shared)), generation };
        assert!(!value.is_current());
        drop(value);
        assert_eq!(Arc::strong_count(&shared), 2);
    }

    #[test]
    fn a_value_that_is_replaced_is_dropped_at_once() {
        let shared = Arc::new(());
        let mut value = DropIfCurrent::new(Some(Arc::clone(&shared)));
        *value = None;
        assert_eq!(Arc::strong_count(&shared), 1);
        assert!(value.is_none());
    }
}
