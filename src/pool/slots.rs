//! Slots: the connections that the pool has, and the order in which waiters get the right to make a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::routes::{OriginKey, move_key};
use super::status::Status;
use super::types::{LoopId, WaiterId};

/// How many requests in a row may take an idle connection of their own origin before a request that has waited longer, for a slot.
///
/// Reuse saves a handshake, but the waiter for the slot must not starve: after so many it gets the slot of the next connection that
/// becomes idle. So of the connections that become idle at least one in `MAX_OVERTAKES + 1` goes to the slot queue.
pub const MAX_OVERTAKES: usize = 8;

/// One connection of the pool, in use or idle, or the right to make it.
pub struct Slot<C, W> {
    pub status: Arc<Status>,
    pub origin: OriginKey,
    pub stage: SlotStage<C>,
    /// The loop whose route waits for the connection: it is being made and may turn out to be shared, or it is shared and its limit is
    /// not known yet.
    pub pending: Option<LoopId>,
    /// The waiters for this connection and no other.
    pub only: BTreeMap<WaiterId, (LoopId, W)>,
}

/// Where the connection of a slot is.
pub enum SlotStage<C> {
    /// With the one request that makes it or uses it.
    Unique,
    Idle(C),
    /// Used by several requests, each with a share of it (HTTP/2).
    SharedSlot(SharedSlot<C>),
}

/// A connection that carries requests, and may carry more.
pub struct SharedSlot<C> {
    pub connection: C,
    pub loop_id: LoopId,
    pub requests: usize,
    /// How many requests at a time, once that is known.
    pub limit: Option<usize>,
    /// It takes no more requests and ends with the last one.
    pub is_draining: bool,
    /// Whether the route has it among the open ones.
    pub is_open: bool,
}

impl<C> SharedSlot<C> {
    pub fn has_room(&self) -> bool {
        !self.is_draining && self.requests < self.limit.unwrap_or(1)
    }
}

/// The order of the waiters that want a slot.
///
/// It has one entry per origin, for its first such waiter, and only for origins that may have one more connection.
#[derive(Default)]
pub struct SlotQueue {
    queue: BTreeMap<WaiterId, OriginKey>,
    /// How many requests have overtaken the first waiter.
    overtaken: usize,
}

impl SlotQueue {
    pub fn first(&self) -> Option<(WaiterId, OriginKey)> {
        self.queue.first_key_value().map(|(waiter, origin)| (*waiter, *origin))
    }

    /// Moves an origin to the place of the waiter `first`, or out of the queue.
    pub fn update(&mut self, queued_as: &mut Option<WaiterId>, first: Option<WaiterId>, origin: OriginKey) {
        move_key(&mut self.queue, queued_as, first, origin);
        if self.queue.is_empty() {
            self.overtaken = 0;
        }
    }

    /// Returns whether `waiter` may take an idle connection now, and counts it if it overtakes a waiter for a slot.
    pub fn admit(&mut self, waiter: WaiterId) -> bool {
        match self.first() {
            Some((first, _)) if first < waiter => {
                let may_overtake = self.overtaken < MAX_OVERTAKES;
                self.overtaken += usize::from(may_overtake);
                may_overtake
            }
            _ => true,
        }
    }

    /// The first waiter got a slot.
    pub fn served(&mut self) {
        self.overtaken = 0;
    }
}
