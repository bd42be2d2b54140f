//! Deferred closing of external streams.
//!
//! A stream of a user's `network_backend` may be dropped anywhere, but closing it takes Python, and may have to be awaited.
//! Dropped streams are therefore queued with their owner. Both drivers close them at the end of an operation, the loop closes
//! those that are dropped outside of operations.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::callbacks::RequestCallbacks;
use super::calls::call;
use super::execution::{NewOperation, NextEffect};
use super::external;
use super::helpers::{helper, partial};
use super::namespace::Namespace;
use super::operation::Operation;
use super::operations::transfer::WriteUpgraded;
use super::performer::Performer;
use crate::operation::{DeferredWork, Dropped, EffectChannel, StreamOwner};

/// Returns the effect that sends deferred resets and closes the streams that were dropped; `None` if there are none.
pub fn closing<'py>(
    py: Python<'py>,
    performer: Performer<'_>,
    namespace: &'static Namespace,
    owner: &Arc<StreamOwner>,
) -> NextEffect<'py> {
    let mut dropped = owner.take(performer.is_task());
    if let Performer::Task(host) = performer {
        dropped.append(host.get().shared.owner.take(true));
    }
    if dropped.is_empty() {
        return Ok(None);
    }
    let Dropped { resets, streams, .. } = dropped;
    let (operations, objects) = (PyList::empty(py), PyList::empty(py));
    for reset in resets {
        operations.append(sending(py, reset, performer, namespace, owner))?;
    }
    for stream in &streams {
        objects.append(external::object(py, &**stream)?)?;
    }
    let close = helper(py, if performer.is_task() { "aclose_streams" } else { "close_streams" })?;
    let effect = partial(py, (close, operations, objects), None)?;
    Ok(Some(if performer.is_task() { call(&effect, ())? } else { effect }))
}

/// Returns the operation that sends a deferred reset.
fn sending(
    py: Python<'_>,
    reset: Arc<dyn DeferredWork>,
    performer: Performer<'_>,
    namespace: &'static Namespace,
    owner: &Arc<StreamOwner>,
) -> Operation {
    let effects = EffectChannel::default();
    let new = NewOperation {
        operation: Box::new(WriteUpgraded::new(reset.send(effects.clone()))),
        effects,
        namespace,
        callbacks: RequestCallbacks::default(),
        owner,
    };
    match performer {
        Performer::Thread => Operation::in_thread(new),
        Performer::Task(host) => Operation::in_task(host.clone_ref(py), new),
    }
}
