//! The sessions whose next step this thread has to take.
//!
//! A step stays due until it is taken, by this operation or by a later one of the thread.

use std::cell::RefCell;
use std::sync::Arc;

use super::SslSession;

thread_local! {
    static STEPS: RefCell<Vec<Arc<SslSession>>> = const { RefCell::new(Vec::new()) };
}

/// Notes that a driver has to take a step of a TLS session.
pub fn needs_step(session: &Arc<SslSession>) {
    STEPS.with_borrow_mut(|steps| {
        if !steps.iter().any(|known| Arc::ptr_eq(known, session)) {
            steps.push(Arc::clone(session));
        }
    });
}

/// Returns whether there are steps for this thread to take.
pub fn has_steps() -> bool {
    STEPS.with_borrow(|steps| !steps.is_empty())
}

/// Takes the session that has needed a step for longest.
pub fn take_step() -> Option<Arc<SslSession>> {
    STEPS.with_borrow_mut(|steps| if steps.is_empty() { None } else { Some(steps.remove(0)) })
}
