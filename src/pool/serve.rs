//! The serving step, and the steps of a slot from one stage to the next: the private half of [`PoolState`].

use std::sync::Arc;
use std::time::Instant;

use super::metrics::CloseReason;
use super::routes::OriginKey;
use super::slots::{Availability, SharedSlot, Slot, SlotStage};
use super::state::{Found, Grant, PoolState};
use super::status::Status;
use super::types::{LoopId, Poolable, Waiter};

// Serving: after each change, waiters get the connections and slots that have become free.

impl<C: Poolable, W: Waiter> PoolState<C, W> {
    /// Serves the waiters that a connection can serve, and then the slot queue.
    pub(super) fn serve_connection(&mut self, id: u64) {
        let Some(key) = self.slots.get(&id).map(|slot| slot.origin) else { return };
        self.serve_only(id);
        self.serve_streams(id);
        self.serve(key);
    }

    /// The serving step: idle connections of an origin go to its waiters, slots to the slot queue.
    pub(super) fn serve(&mut self, key: OriginKey) {
        self.refresh(key);
        loop {
            self.serve_idle(key);
            if !self.serve_slot() {
                break;
            }
        }
    }

    /// Serves the waiters that may use this connection and no other, before those of its route.
    fn serve_only(&mut self, id: u64) {
        while let Some(slot) = self.slots.get(&id) {
            let Some((waiter, loop_id)) = slot.only.first_key_value().map(|(waiter, (loop_id, _))| (*waiter, *loop_id))
            else {
                return;
            };
            let grant = match self.find_only(id, loop_id) {
                Found::Grant(grant) => Some(grant),
                Found::Never => None,
                Found::Nothing => return,
            };
            let waiter = self.slots.get_mut(&id).and_then(|slot| slot.only.remove(&waiter));
            self.changes.served.extend(waiter.map(|(_, waiter)| (waiter, grant)));
        }
    }

    /// Gives the streams of a shared connection to the waiters of its route.
    fn serve_streams(&mut self, id: u64) {
        while let Some(Slot { origin, stage: SlotStage::SharedSlot(shared), .. }) = self.slots.get(&id)
            && shared.availability == Availability::Open
        {
            let (key, loop_id) = (*origin, shared.loop_id);
            let waiters = self.origins.get(key).and_then(|entry| entry.route(loop_id)).map(|route| &route.waiters);
            let Some(waiter) = waiters.and_then(|waiters| waiters.first_key_value()).map(|(waiter, _)| *waiter) else {
                return;
            };
            let Some(grant) = self.join(id) else { return };
            let waiter = self.origins.get_mut(key).and_then(|entry| entry.take_waiter(loop_id, waiter));
            self.changes.served.extend(waiter.map(|waiter| (waiter, Some(grant))));
        }
    }

    /// Gives the idle connections of an origin to its waiters, as long as the slot queue lets them overtake.
    fn serve_idle(&mut self, key: OriginKey) {
        while let Some(entry) = self.origins.get(key)
            && let Some(id) = entry.newest_idle()
            && let Some((waiter, loop_id)) = entry.first_waiter()
            && self.slot_queue.admit(waiter)
        {
            let Some(grant) = self.hand_out(id, loop_id) else { return };
            let waiter = self.origins.get_mut(key).and_then(|entry| entry.take_waiter(loop_id, waiter));
            self.changes.served.extend(waiter.map(|waiter| (waiter, Some(grant))));
            self.serve_streams(id);
            self.refresh(key);
        }
    }

    /// Gives a slot to the first waiter of the slot queue. Returns whether there was a slot and a waiter.
    fn serve_slot(&mut self) -> bool {
        let Some((waiter, key)) = self.slot_queue.first() else { return false };
        let Some(closing) = self.make_room(Some(key)) else { return false };
        let Some(entry) = self.origins.get_mut(key) else { return false };
        let Some((_, loop_id)) = entry.first_wanting() else { return false };
        let origin = Arc::clone(&entry.origin);
        let multiplexing = entry.route(loop_id).is_some_and(|route| route.multiplexing);
        let waiter = entry.take_waiter(loop_id, waiter);
        let grant = self.new_slot(&origin, multiplexing.then_some(loop_id));
        self.changes.served.extend(waiter.map(|waiter| (waiter, Some(Grant { closing, ..grant }))));
        self.slot_queue.served();
        true
    }

    /// Serves the slot queue where no waiter can use a connection instead.
    pub(super) fn serve_slot_queue(&mut self) {
        while self.serve_slot() {}
    }

    /// Brings an origin's position in the slot queue up to date; removes an origin without connections and waiters.
    pub(super) fn refresh(&mut self, key: OriginKey) {
        let limit = self.limits.max_connections_per_origin.unwrap_or(usize::MAX);
        let Some(entry) = self.origins.get_mut(key) else { return };
        let may_have_more = entry.connections < limit || !entry.saturated.is_empty();
        let first = entry.first_wanting().filter(|_| may_have_more).map(|(waiter, _)| waiter);
        self.slot_queue.update(&mut entry.queued_as, first, key);
        if entry.is_unused() {
            self.origins.remove(key);
        }
    }
}

// The stages of a slot.

impl<C: Poolable, W: Waiter> PoolState<C, W> {
    /// Returns whether the connection has a slot: not if it is older than the last `clear`.
    pub(super) fn contains(&self, status: &Status) -> bool {
        self.slots.get(&status.id).is_some_and(|slot| std::ptr::eq(&raw const *slot.status, status))
    }

    /// Adds a request to a shared connection.
    pub(super) fn join(&mut self, id: u64) -> Option<Grant<C>> {
        let slot = self.slots.get_mut(&id)?;
        let SlotStage::SharedSlot(shared) = &mut slot.stage else { return None };
        let connection = shared.connection.share()?;
        shared.requests += 1;
        let grant = Grant { status: slot.status.clone(), connection: Some(connection), shared: true, closing: None };
        self.update_open(id);
        Some(grant)
    }

    /// Takes an idle connection for a request. It becomes shared if it can be.
    pub(super) fn hand_out(&mut self, id: u64, loop_id: LoopId) -> Option<Grant<C>> {
        let (status, connection) = self.take_idle(id)?;
        status.mark_active();
        let copy = connection.share();
        let shared = copy.is_some();
        let connection = match copy {
            Some(copy) => {
                self.add_shared(id, connection, loop_id);
                copy
            }
            None => connection,
        };
        Some(Grant { status, connection: Some(connection), shared, closing: None })
    }

    /// Makes a slot shared: its connection carries one request, and may carry more at the same time.
    pub(super) fn add_shared(&mut self, id: u64, connection: C, loop_id: LoopId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let limit = slot.status.max_requests();
        let shared = SharedSlot { connection, loop_id, requests: 1, limit, availability: Availability::Full };
        slot.stage = SlotStage::SharedSlot(shared);
        self.changes.notices.extend(slot.only.values().filter_map(|(_, waiter)| waiter.notice()));
        if let Some(entry) = self.origins.get_mut(slot.origin) {
            let route = entry.route_or_insert(loop_id);
            route.shared.insert(id);
            self.changes.notices.extend(route.waiters.values().filter_map(Waiter::notice));
        }
        self.update_open(id);
    }

    /// Takes a connection out of the idle ones. Its slot is unique until the caller changes that.
    fn take_idle(&mut self, id: u64) -> Option<(Arc<Status>, C)> {
        let slot = self.slots.get_mut(&id)?;
        let connection = match std::mem::replace(&mut slot.stage, SlotStage::Unique) {
            SlotStage::Idle(connection) => connection,
            stage => {
                slot.stage = stage;
                return None;
            }
        };
        let (key, status) = (slot.origin, slot.status.clone());
        self.idle.remove(id);
        if let Some(entry) = self.origins.get_mut(key)
            && !entry.idle.remove(&id)
        {
            entry.saturated.remove(&id);
            self.refresh(key);
        }
        Some((status, connection))
    }

    /// Makes a slot idle: the connection goes to a waiter of its origin, is kept, or is closed for another origin.
    pub(super) fn become_idle(&mut self, id: u64, connection: C, now: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.status.mark_idle(self.limits.keepalive_expiry.and_then(|expiry| now.checked_add(expiry)));
        slot.stage = SlotStage::Idle(connection);
        let is_saturated = slot.status.max_requests() == Some(0);
        let has_only = !slot.only.is_empty();
        let key = slot.origin;
        let resting = self.idle.push(id, now);
        if let Some(entry) = self.origins.get_mut(key) {
            if is_saturated {
                entry.saturated.insert(id)
            } else {
                entry.idle.insert(id)
            };
        }
        if has_only {
            self.serve_only(id);
        }
        self.serve(key);
        if let Some(slot) = resting.and_then(|id| self.slots.get_mut(&id))
            && let SlotStage::Idle(connection) = &mut slot.stage
        {
            connection.rest();
        }
        self.close_surplus(key, now);
    }

    /// Sets how many requests at a time a connection takes.
    pub(super) fn set_limit(&mut self, id: u64, limit: Option<usize>) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        match &mut slot.stage {
            SlotStage::Unique => {}
            SlotStage::SharedSlot(shared) => {
                shared.limit = limit;
                self.update_open(id);
            }
            SlotStage::Idle(_) => {
                let Some(entry) = self.origins.get_mut(slot.origin) else { return };
                if limit == Some(0) {
                    entry.idle.remove(&id);
                    entry.saturated.insert(id);
                } else if entry.saturated.remove(&id) {
                    entry.idle.insert(id);
                }
            }
        }
    }

    /// A connection takes no more requests: it is closed at once if it carries none, or else with the last one.
    pub(super) fn drain(&mut self, id: u64) {
        // Waiters that still wait for its limit make their own connections: this one has failed.
        self.resolve_connecting(id, true);
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let key = slot.origin;
        match &mut slot.stage {
            SlotStage::Unique => {}
            SlotStage::Idle(_) => {
                let idle = self.close_idle(id, CloseReason::Draining);
                self.changes.closing.extend(idle);
            }
            SlotStage::SharedSlot(shared) => {
                shared.availability = Availability::Draining;
                slot.status.set_room(false);
                let loop_id = shared.loop_id;
                self.leave_route(key, loop_id, id);
                self.serve_only(id);
            }
        }
        self.serve(key);
    }

    /// Removes a request from a shared connection.
    pub(super) fn release_share(&mut self, id: u64, now: Instant) {
        // If its limit is not known by now, the request had no response: the waiters make their own connections.
        self.resolve_connecting(id, true);
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let SlotStage::SharedSlot(shared) = &mut slot.stage else { return };
        shared.requests -= 1;
        if shared.requests > 0 {
            self.update_open(id);
            self.serve_connection(id);
        } else if shared.availability == Availability::Draining {
            slot.status.mark_closed();
            let status = Arc::clone(&slot.status);
            self.count_closed(&status, CloseReason::Draining);
            self.remove_slot(id);
        } else {
            let (key, loop_id) = (slot.origin, shared.loop_id);
            let SlotStage::SharedSlot(shared) = std::mem::replace(&mut slot.stage, SlotStage::Unique) else { return };
            self.leave_route(key, loop_id, id);
            self.become_idle(id, shared.connection, now);
        }
    }

    /// Ends the wait of a route for a connection that was being made: its limit is known, it carries one request at a time, or it has
    /// failed. With `release` the waiters of the route do not wait for other such connections either: each gets a slot or waits for one.
    pub(super) fn resolve_connecting(&mut self, id: u64, release: bool) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(loop_id) = slot.pending.take() else { return };
        if let Some(entry) = self.origins.get_mut(slot.origin) {
            if let Some(route) = entry.route_mut(loop_id) {
                route.connecting -= 1;
                if release {
                    route.released = self.last_id;
                }
            }
            entry.refresh(loop_id);
        }
    }

    /// Frees a slot. A connection that the pool has is closed.
    pub(super) fn remove_slot(&mut self, id: u64) {
        self.resolve_connecting(id, false);
        let Some(key) = self.slots.get(&id).map(|slot| slot.origin) else { return };
        if let Some((_, idle)) = self.take_idle_slot(id) {
            self.changes.closing.push(idle);
            self.serve(key);
            return;
        }
        let Some(slot) = self.slots.remove(&id) else { return };
        if let SlotStage::SharedSlot(shared) = slot.stage {
            self.leave_route(key, shared.loop_id, id);
            self.changes.closing.push(shared.connection);
        }
        self.changes.served.extend(slot.only.into_values().map(|(_, waiter)| (waiter, None)));
        self.forget_connection(key);
        self.serve(key);
    }

    /// Frees the slot of an idle connection, and returns the connection, to be closed for this reason.
    pub(super) fn close_idle(&mut self, id: u64, reason: CloseReason) -> Option<C> {
        let (status, connection) = self.take_idle_slot(id)?;
        self.metrics.moved(&status.origin, status.take_moved());
        self.metrics.closed(&status.origin, reason, status.lifetime());
        Some(connection)
    }

    fn take_idle_slot(&mut self, id: u64) -> Option<(Arc<Status>, C)> {
        let (status, connection) = self.take_idle(id)?;
        status.mark_closed();
        let slot = self.slots.remove(&id)?;
        // A waiter for this connection is left only if the connection cannot serve it: an idle one has served all others.
        self.changes.served.extend(slot.only.into_values().map(|(_, waiter)| (waiter, None)));
        self.forget_connection(slot.origin);
        self.refresh(slot.origin);
        Some((status, connection))
    }

    /// Closes the connections that have been idle for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let Some(expiry) = self.limits.keepalive_expiry else { return };
        while let Some(id) = self.idle.expired(expiry, now) {
            let idle = self.close_idle(id, CloseReason::Expired);
            self.changes.closing.extend(idle);
        }
    }

    /// Closes idle connections that have expired or are too many, after one of an origin has become idle.
    fn close_surplus(&mut self, key: OriginKey, now: Instant) {
        self.expire(now);
        while self.idle.len() > self.limits.max_keepalive_connections {
            let idle = self.idle.oldest().and_then(|id| self.close_idle(id, CloseReason::Surplus));
            self.changes.closing.extend(idle);
        }
        let Some(limit) = self.limits.max_keepalive_connections_per_origin else { return };
        while let Some(entry) = self.origins.get(key)
            && entry.idle_count() > limit
            && let Some(id) = entry.oldest_idle()
        {
            let idle = self.close_idle(id, CloseReason::Surplus);
            self.changes.closing.extend(idle);
        }
    }

    /// Brings the availability of a shared connection up to date, in its slot, its route and its status.
    fn update_open(&mut self, id: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let SlotStage::SharedSlot(shared) = &mut slot.stage else { return };
        let availability = shared.availability();
        let is_open = availability == Availability::Open;
        slot.status.set_room(is_open);
        if availability == shared.availability {
            return;
        }
        shared.availability = availability;
        if let Some(route) = self.origins.route_mut(slot.origin, shared.loop_id) {
            if is_open {
                route.open.insert(id)
            } else {
                route.open.remove(&id)
            };
        }
    }

    /// Removes a shared connection from its route.
    fn leave_route(&mut self, key: OriginKey, loop_id: LoopId, id: u64) {
        let Some(entry) = self.origins.get_mut(key) else { return };
        if let Some(route) = entry.route_mut(loop_id) {
            route.open.remove(&id);
            route.shared.remove(&id);
        }
        entry.refresh(loop_id);
    }

    fn forget_connection(&mut self, key: OriginKey) {
        if let Some(entry) = self.origins.get_mut(key) {
            entry.connections -= 1;
        }
    }
}
