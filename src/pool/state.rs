//! The pool's decisions. Pure logic: no I/O, no waiting, no channels, no Python. The caller holds the lock, and carries out the
//! [`Changes`] that an operation returns when it has let go of the lock.
//!
//! Rules:
//! 1. Each connection takes one slot ([`slots`]). Slots belong to the pool; waiters and shared connections belong to routes ([`routes`]).
//! 2. A request takes what its route has: a stream on an open shared connection, or else an idle connection of its origin. If a
//!    connection is being made that may turn out to be shared, the request waits for it. Otherwise it needs a slot: a free one, or that
//!    of the connection that has been idle longest, which is closed.
//! 3. Each waiter is in the wait queue of its route, or of the one connection that it may use. The slot queue refers to the waiters
//!    whose route has nothing for them and nothing being made; it is served in the order of arrival over all origins.
//! 4. Each operation that changes something ends with [`PoolState::serve`], under the same lock. So whenever the lock is free,
//!    [`PoolState::find`] would return nothing for any waiter.
//!
//! Each operation is O(1) in connections and origins and logarithmic in waiters, amortised over the connections that it closes and the
//! waiters that it serves; except `snapshot` and `clear`, which look at everything.
//!
//! [`slots`]: super::slots
//! [`routes`]: super::routes

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use foldhash::{HashMap, HashMapExt, HashSet};

use super::idle::IdleConnections;
use super::metrics::{CloseReason, Metrics};
use super::routes::{OriginKey, Origins};
use super::slots::{Availability, SharedSlot, Slot, SlotQueue, SlotStage};
use super::status::Status;
use super::types::{ANY_LOOP, Destination, Limits, LoopId, Poolable, Waiter, WaiterId};
use crate::origin::Origin;

/// The number of origins that are remembered for having chosen HTTP/1.1: requests to them need not wait for the protocol of a connection that is
/// being made.
const REMEMBERED: usize = 1024;

/// A slot for a request, and the connection in it if there is one already.
pub struct Grant<C> {
    pub status: Arc<Status>,
    pub connection: Option<C>,
    /// Other requests have, or may get, the same connection.
    pub shared: bool,
    /// An idle connection that is closed to make room. It is dropped without the lock.
    pub closing: Option<C>,
}

/// The answer to a request.
pub enum Decision<C> {
    Granted(Grant<C>),
    /// The request is in a wait queue.
    Wait(WaiterId),
    /// The one connection that it may use takes no more requests.
    Never,
}

/// The work that an operation leaves to its caller, to be done without the lock.
pub struct Changes<C, W: Waiter> {
    /// Waiters and what they get; `None` if the one connection that they may use takes no more requests.
    pub served: Vec<(W, Option<Grant<C>>)>,
    /// Connections to be closed.
    pub closing: Vec<C>,
    /// Tells waiters that there is another shared connection on their route.
    pub notices: Vec<W::Notice>,
}

impl<C, W: Waiter> Default for Changes<C, W> {
    fn default() -> Self {
        Self { served: Vec::new(), closing: Vec::new(), notices: Vec::new() }
    }
}

/// The connection or slot for a destination.
pub(super) enum Found<C> {
    Grant(Grant<C>),
    Nothing,
    /// Nothing, now or later.
    Never,
}

/// The connections and requests of a pool, all at the same moment.
pub struct Snapshot {
    /// In the order in which they were made.
    pub connections: Vec<ConnectionSnapshot>,
    /// Requests that have a connection, or wait for one that is being made.
    pub active: usize,
    /// Requests that wait for something else.
    pub queued: usize,
}

pub struct ConnectionSnapshot {
    pub status: Arc<Status>,
    pub is_idle: bool,
}

pub struct PoolState<C: Poolable, W: Waiter> {
    pub(super) limits: Limits,
    /// All slots that are taken, by the numbers of their connections.
    pub(super) slots: HashMap<u64, Slot<C, W>>,
    pub(super) idle: IdleConnections,
    pub(super) origins: Origins<W>,
    pub(super) slot_queue: SlotQueue,
    /// Origins that were offered HTTP/2 and chose HTTP/1.1.
    http1_only: HashSet<Arc<Origin>>,
    /// The number of the connection or waiter that came last.
    pub(super) last_id: u64,
    pub metrics: Metrics,
    /// The time of the last report of a request that waits for long.
    pub(super) last_report: Option<Instant>,
    /// The changes of the operation that is under way.
    pub(super) changes: Changes<C, W>,
}

// The operations, each for an event in the life of a request or a connection.

impl<C: Poolable, W: Waiter> PoolState<C, W> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: HashMap::new(),
            idle: IdleConnections::default(),
            origins: Origins::new(),
            slot_queue: SlotQueue::default(),
            http1_only: HashSet::default(),
            last_id: 0,
            metrics: Metrics::new(),
            last_report: None,
            changes: Changes::default(),
        }
    }

    /// Gives a connection or a slot at once, or enqueues the waiter that `waiter` makes.
    ///
    /// A new request overtakes no waiter: what is free now cannot serve any of them (rule 4).
    pub fn acquire(
        &mut self,
        destination: &Destination,
        now: Instant,
        waiter: impl FnOnce() -> W,
    ) -> (Decision<C>, Changes<C, W>) {
        self.expire(now);
        let decision = match self.find(destination) {
            Found::Grant(grant) => Decision::Granted(grant),
            Found::Nothing => Decision::Wait(self.enqueue(destination, waiter())),
            Found::Never => Decision::Never,
        };
        (decision, std::mem::take(&mut self.changes))
    }

    /// Ends a wait. A waiter that was served already is in no queue any more: then nothing changes.
    pub fn leave(&mut self, destination: &Destination, waiter: WaiterId) -> Changes<C, W> {
        if let Some(id) = destination.only {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.only.remove(&waiter);
            }
            self.serve_connection(id);
        } else if let Some(key) = self.origins.key(&destination.origin) {
            if let Some(entry) = self.origins.get_mut(key) {
                entry.take_waiter(destination.loop_id, waiter);
            }
            self.serve(key);
        }
        std::mem::take(&mut self.changes)
    }

    /// Takes a slot beyond the limits.
    pub fn place(&mut self, origin: &Arc<Origin>) -> Grant<C> {
        self.new_slot(origin, None)
    }

    /// Takes one certain connection, if it can take a request.
    pub fn take(&mut self, status: &Status, loop_id: LoopId) -> (Option<Grant<C>>, Changes<C, W>) {
        let grant = match self.contains(status).then(|| self.find_only(status.id, loop_id)) {
            Some(Found::Grant(grant)) => Some(grant),
            _ => None,
        };
        (grant, std::mem::take(&mut self.changes))
    }

    /// Takes back a connection that can serve another request.
    pub fn keep(&mut self, status: &Status, connection: C, now: Instant) -> Changes<C, W> {
        if self.contains(status) {
            self.become_idle(status.id, connection, now);
        } else {
            // The pool was closed since.
            self.changes.closing.push(connection);
        }
        std::mem::take(&mut self.changes)
    }

    /// Frees the slot of a connection that is gone, or was never made. If it could not be made, all waiters of its route are released:
    /// each makes a connection of its own, so that none waits for one failure after another.
    pub fn free(&mut self, status: &Status, has_failed: bool) -> Changes<C, W> {
        if self.contains(status) {
            self.resolve_connecting(status.id, has_failed);
            self.remove_slot(status.id);
        }
        std::mem::take(&mut self.changes)
    }

    /// Frees the slot of a connection that the program closes. If that was idle or shared, it is among those to be closed.
    pub fn remove(&mut self, status: &Status) -> Changes<C, W> {
        self.count_closed(status, CloseReason::Requested);
        self.free(status, false)
    }

    /// Counts a connection that is about to lose its slot, and the bytes that went over it.
    pub fn count_closed(&mut self, status: &Status, reason: CloseReason) {
        self.metrics.moved(&status.origin, status.take_moved());
        if status.is_connected() && self.contains(status) {
            self.metrics.closed(&status.origin, reason, status.lifetime());
        }
    }

    /// The connection in this slot can be shared, with as many requests at a time as its status says. If that is not known yet, the
    /// waiters for the connection go on waiting.
    pub fn share(&mut self, status: &Status, connection: C, loop_id: LoopId) -> Changes<C, W> {
        status.mark_multiplexed();
        if !self.contains(status) {
            // The pool was closed since.
            self.changes.closing.push(connection);
            return std::mem::take(&mut self.changes);
        }
        self.http1_only.remove(&status.origin);
        self.add_shared(status.id, connection, loop_id);
        if status.max_requests().is_some() {
            self.resolve_connecting(status.id, false);
        }
        self.serve_connection(status.id);
        std::mem::take(&mut self.changes)
    }

    /// The connection in this slot carries one request at a time, though it was offered HTTP/2: its waiters make their own.
    pub fn mark_exclusive(&mut self, status: &Status) -> Changes<C, W> {
        if self.http1_only.len() >= REMEMBERED {
            self.http1_only.clear();
        }
        self.http1_only.insert(Arc::clone(&status.origin));
        if self.contains(status) {
            self.resolve_connecting(status.id, true);
            self.serve_connection(status.id);
        }
        std::mem::take(&mut self.changes)
    }

    /// A shared connection takes more or fewer requests than before, as its status says.
    pub fn limit_changed(&mut self, status: &Status) -> Changes<C, W> {
        if self.contains(status) {
            self.resolve_connecting(status.id, false);
            self.set_limit(status.id, status.max_requests());
            self.serve_connection(status.id);
        }
        std::mem::take(&mut self.changes)
    }

    /// A connection takes no more requests and ends with its last one.
    pub fn mark_draining(&mut self, status: &Status) -> Changes<C, W> {
        if self.contains(status) {
            self.drain(status.id);
        }
        std::mem::take(&mut self.changes)
    }

    /// A request on a shared connection has ended.
    pub fn end_request(&mut self, status: &Status, now: Instant) -> Changes<C, W> {
        if self.contains(status) {
            self.release_share(status.id, now);
        } else {
            status.mark_closed();
        }
        std::mem::take(&mut self.changes)
    }

    /// Frees all slots. The connections that are idle or shared are among those to be closed.
    pub fn clear(&mut self) -> (Vec<Arc<Status>>, Changes<C, W>) {
        let mut statuses = Vec::with_capacity(self.slots.len());
        for (_, slot) in self.slots.drain() {
            self.metrics.moved(&slot.status.origin, slot.status.take_moved());
            if slot.status.is_connected() {
                self.metrics.closed(&slot.status.origin, CloseReason::PoolClosed, slot.status.lifetime());
            }
            statuses.push(slot.status);
            self.changes.served.extend(slot.only.into_values().map(|(_, waiter)| (waiter, None)));
            match slot.stage {
                SlotStage::Unique => {}
                SlotStage::Idle(connection) | SlotStage::SharedSlot(SharedSlot { connection, .. }) => {
                    self.changes.closing.push(connection);
                }
            }
        }
        statuses.sort_unstable_by_key(|status| status.id);
        self.idle.clear();
        self.origins.clear_connections();
        for key in self.origins.all_keys() {
            self.refresh(key);
        }
        self.serve_slot_queue();
        (statuses, std::mem::take(&mut self.changes))
    }

    /// Drops every connection and serves nothing: the state is not used any more.
    pub fn abandon(&mut self) {
        self.slots.clear();
    }

    /// Returns the shared connections that requests of a destination can join as soon as they have room.
    pub fn shared(&self, destination: &Destination) -> Vec<C> {
        let share = |id: &u64| match &self.slots.get(id)?.stage {
            SlotStage::SharedSlot(shared) if shared.loop_id == destination.loop_id || shared.loop_id == ANY_LOOP => {
                shared.connection.share()
            }
            _ => None,
        };
        if let Some(id) = destination.only {
            return share(&id).into_iter().collect();
        }
        let entry = self.origins.key(&destination.origin).and_then(|key| self.origins.get(key));
        let route = entry.and_then(|entry| entry.route(destination.loop_id));
        route.map(|route| route.shared.iter().filter_map(share).collect()).unwrap_or_default()
    }

    pub fn snapshot(&self) -> Snapshot {
        let mut connections: Vec<_> = self
            .slots
            .values()
            .map(|slot| ConnectionSnapshot {
                status: Arc::clone(&slot.status),
                is_idle: matches!(slot.stage, SlotStage::Idle(_)),
            })
            .collect();
        connections.sort_unstable_by_key(|connection| connection.status.id);
        let (mut active, mut queued) = (0, 0);
        for slot in self.slots.values() {
            queued += slot.only.len();
            active += match &slot.stage {
                SlotStage::Unique => 1,
                SlotStage::Idle(_) => 0,
                SlotStage::SharedSlot(shared) => shared.requests,
            };
        }
        for (_, route) in self.origins.iter().flat_map(|(_, entry)| entry.routes()) {
            let assigned = route.waiters.keys().filter(|waiter| route.awaits_connecting(**waiter)).count();
            active += assigned;
            queued += route.waiters.len() - assigned;
        }
        Snapshot { connections, active, queued }
    }
}

// Finding a connection or a slot for a request.

impl<C: Poolable, W: Waiter> PoolState<C, W> {
    /// Takes a stream on a shared connection with room, else an idle connection, else, unless there is a connection being made that may
    /// be shared, a slot.
    fn find(&mut self, destination: &Destination) -> Found<C> {
        let Destination { origin, loop_id, multiplexing, only } = destination;
        if let Some(id) = only {
            return self.find_only(*id, *loop_id);
        }
        let key = self.origins.key(origin);
        if let Some(entry) = key.and_then(|key| self.origins.get(key)) {
            let (open, idle) = (entry.open(*loop_id), entry.newest_idle());
            let is_connecting = *multiplexing && entry.route(*loop_id).is_some_and(|route| route.connecting > 0);
            if let Some(grant) = open.and_then(|id| self.join(id)) {
                return Found::Grant(grant);
            }
            if let Some(grant) = idle.and_then(|id| self.hand_out(id, *loop_id)) {
                return Found::Grant(grant);
            }
            if is_connecting {
                return Found::Nothing;
            }
        }
        let Some(closing) = self.make_room(key) else { return Found::Nothing };
        let grant = self.new_slot(origin, multiplexing.then_some(*loop_id));
        Found::Grant(Grant { closing, ..grant })
    }

    /// Takes one certain connection. It may have room later if it is being made, or is shared.
    pub(super) fn find_only(&mut self, id: u64, loop_id: LoopId) -> Found<C> {
        let Some(slot) = self.slots.get(&id) else { return Found::Never };
        let (grant, may_have_room) = match &slot.stage {
            SlotStage::Idle(_) => (self.hand_out(id, loop_id), false),
            SlotStage::Unique => (None, !slot.status.is_connected()),
            SlotStage::SharedSlot(shared) => {
                let is_for_loop = shared.loop_id == loop_id || shared.loop_id == ANY_LOOP;
                let availability = shared.availability;
                let is_open = availability == Availability::Open;
                (
                    if is_open && is_for_loop { self.join(id) } else { None },
                    is_for_loop && availability != Availability::Draining,
                )
            }
        };
        match grant {
            Some(grant) => Found::Grant(grant),
            None if may_have_room => Found::Nothing,
            None => Found::Never,
        }
    }

    /// Makes room for one more connection to an origin. Returns `None` if there is none, and otherwise the idle connection that has to be
    /// closed for it, if any.
    #[expect(
        clippy::option_option,
        reason = "no room, and room for which no connection is closed, are different answers"
    )]
    pub(super) fn make_room(&mut self, key: Option<OriginKey>) -> Option<Option<C>> {
        let entry = key.and_then(|key| self.origins.get(key));
        let limit = self.limits.max_connections_per_origin.unwrap_or(usize::MAX);
        if entry.map_or(0, |entry| entry.connections) >= limit {
            let id = entry?.saturated.front().copied()?;
            return self.close_idle(id, CloseReason::Evicted).map(Some);
        }
        if self.slots.len() < self.limits.max_connections {
            return Some(None);
        }
        let id = self.idle.oldest()?;
        self.close_idle(id, CloseReason::Evicted).map(Some)
    }

    /// Takes a slot. The connection may turn out to be shared if `route` names a loop and the origin is not known for HTTP/1.1.
    pub(super) fn new_slot(&mut self, origin: &Arc<Origin>, route: Option<LoopId>) -> Grant<C> {
        let (id, key) = (self.next_id(), self.origins.key_or_insert(origin));
        let pending = route.filter(|_| !self.http1_only.contains(origin));
        if let Some(entry) = self.origins.get_mut(key) {
            entry.connections += 1;
            if let Some(loop_id) = pending {
                entry.route_or_insert(loop_id).connecting += 1;
                entry.refresh(loop_id);
            }
        }
        let status = Arc::new(Status::new(id, Arc::clone(origin)));
        let slot =
            Slot { status: Arc::clone(&status), origin: key, stage: SlotStage::Unique, pending, only: BTreeMap::new() };
        self.slots.insert(id, slot);
        self.refresh(key);
        Grant { status, connection: None, shared: false, closing: None }
    }

    fn enqueue(&mut self, destination: &Destination, waiter: W) -> WaiterId {
        let id = self.next_id();
        if let Some(slot) = destination.only.and_then(|only| self.slots.get_mut(&only)) {
            slot.only.insert(id, (destination.loop_id, waiter));
            return id;
        }
        let key = self.origins.key_or_insert(&destination.origin);
        if let Some(entry) = self.origins.get_mut(key) {
            let route = entry.route_or_insert(destination.loop_id);
            route.multiplexing = destination.multiplexing;
            route.waiters.insert(id, waiter);
            entry.refresh(destination.loop_id);
        }
        self.refresh(key);
        id
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
