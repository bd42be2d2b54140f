//! The invariants, computed from the pool's lists of connections and waiters without its indexes.

use std::collections::BTreeSet;

use super::{HeldRequest, Model, ModelConnection, Ticket};
use crate::pool::slots::{Availability, MAX_OVERTAKES, SlotStage};
use crate::pool::state::Changes;
use crate::pool::types::{Destination, WaiterId};

impl Model {
    /// Returns the waiter that has waited longest of those that only a slot can serve and whose origin may have one more connection.
    pub(super) fn first_for_a_slot(&self) -> Option<WaiterId> {
        self.waiters().into_iter().filter(|(_, wants_slot, may_have)| *wants_slot && *may_have).map(|(id, ..)| id).min()
    }

    /// Returns the waiters of routes, with whether they want a slot and whether their origin may have one more connection.
    fn waiters(&self) -> Vec<(WaiterId, bool, bool)> {
        let mut waiters = Vec::new();
        for (key, entry) in self.pool.origins.iter() {
            let slots: Vec<_> = self.pool.slots.values().filter(|slot| slot.origin == key).collect();
            let saturated = slots
                .iter()
                .any(|slot| matches!(slot.stage, SlotStage::Idle(_)) && slot.status.max_requests() == Some(0));
            let may_have = slots.len() < self.limits.max_connections_per_origin.unwrap_or(usize::MAX) || saturated;
            for (loop_id, route) in entry.routes() {
                let connecting = slots.iter().any(|slot| slot.pending == Some(loop_id));
                for id in route.waiters.keys() {
                    waiters.push((*id, !connecting || *id <= route.released, may_have));
                }
            }
        }
        waiters
    }

    /// Slots go to the longest wait, and idle connections overtake it only so often.
    pub(super) fn check_fairness(&mut self, first: Option<WaiterId>, changes: &Changes<ModelConnection, Ticket>) {
        let Some(first) = first else { return };
        if self.overtaken.0 != first {
            self.overtaken = (first, 0);
        }
        for (Ticket(ticket), grant) in &changes.served {
            let waiting = &self.waits[ticket];
            let Some(grant) = grant else { continue };
            if waiting.destination.only.is_some() || waiting.id == first {
                // Another one is first from here on.
                self.overtaken = (0, 0);
                return;
            }
            // One that came earlier waited for something else until now.
            assert!(
                grant.connection.is_some() || waiting.id < first,
                "a slot for {}, which came after {first}",
                waiting.id
            );
            if grant.connection.is_none() {
                self.overtaken.1 = 0;
                continue;
            }
            let is_other = self
                .waits
                .values()
                .find(|waiting| waiting.id == first)
                .is_some_and(|waiting| waiting.destination.origin != grant.status.origin);
            if !grant.shared && is_other && waiting.id > first {
                self.overtaken.1 += 1;
                assert!(self.overtaken.1 <= MAX_OVERTAKES, "{first} starves");
            }
        }
    }

    pub(super) fn check(&self) {
        self.check_limits();
        self.check_waiters();
        self.check_nothing_is_left();
        self.check_indexes();
        self.check_snapshot();
    }

    fn check_limits(&self) {
        let slots = &self.pool.slots;
        assert!(slots.len() <= self.limits.max_connections);
        assert!(self.pool.idle.len() <= self.limits.max_keepalive_connections);
        if let Some(limit) = self.limits.max_keepalive_connections_per_origin {
            for (_, entry) in self.pool.origins.iter() {
                assert!(entry.idle.len() + entry.saturated.len() <= limit);
            }
        }
        if let Some(limit) = self.limits.max_connections_per_origin {
            for (key, _) in self.pool.origins.iter() {
                assert!(slots.values().filter(|slot| slot.origin == key).count() <= limit);
            }
        }
    }

    /// Each waiter is in one queue, and each wait that has not ended has one waiter.
    fn check_waiters(&self) {
        let mut queued: Vec<_> =
            self.pool.slots.values().flat_map(|slot| slot.only.values().map(|(_, ticket)| ticket.0)).collect();
        for (_, entry) in self.pool.origins.iter() {
            queued.extend(entry.routes().flat_map(|(_, route)| route.waiters.values().map(|ticket| ticket.0)));
        }
        queued.sort_unstable();
        assert!(queued.iter().eq(self.waits.keys()), "{queued:?}");
    }

    /// No waiter is left that could be served.
    fn check_nothing_is_left(&self) {
        let slots = &self.pool.slots;
        let has_free_slot = slots.len() < self.limits.max_connections || self.pool.idle.len() > 0;
        for waiting in self.waits.values() {
            let Destination { origin, loop_id, only, .. } = &waiting.destination;
            for (id, slot) in
                slots.iter().filter(|(id, slot)| slot.status.origin == *origin && only.is_none_or(|only| only == **id))
            {
                match &slot.stage {
                    SlotStage::Idle(_) => {
                        let is_saturated = slot.status.max_requests() == Some(0);
                        assert!(is_saturated && only.is_none(), "an idle connection is left for {}", waiting.id);
                    }
                    SlotStage::SharedSlot(shared) => {
                        let is_left = shared.loop_id == *loop_id && shared.availability() == Availability::Open;
                        assert!(!is_left, "a stream on {id} is left for {}", waiting.id);
                    }
                    SlotStage::Unique => {}
                }
            }
        }
        let mut has_only: BTreeSet<_> = self.waits.values().filter_map(|waiting| waiting.destination.only).collect();
        has_only.retain(|id| !slots.contains_key(id));
        assert!(has_only.is_empty(), "waiters for {has_only:?}, which are gone");
        if has_free_slot {
            assert_eq!(self.first_for_a_slot(), None, "a slot is left");
        }
    }

    /// The indexes agree with the lists.
    fn check_indexes(&self) {
        let first = self.pool.slot_queue.first().map(|(waiter, _)| waiter);
        assert_eq!(first, self.first_for_a_slot());
        for (key, entry) in self.pool.origins.iter() {
            let slots: Vec<_> = self.pool.slots.iter().filter(|(_, slot)| slot.origin == key).collect();
            assert_eq!(entry.connections, slots.len());
            assert!(!entry.is_unused());
            let idle = slots.iter().filter(|(_, slot)| matches!(slot.stage, SlotStage::Idle(_))).count();
            assert_eq!(entry.idle.len() + entry.saturated.len(), idle);
            let first = entry.routes().filter_map(|(_, route)| route.waiters.keys().next()).min().copied();
            assert_eq!(entry.first_waiter().map(|(waiter, _)| waiter), first);
            for (loop_id, route) in entry.routes() {
                let pending = slots.iter().filter(|(_, slot)| slot.pending == Some(loop_id)).count();
                assert_eq!(route.connecting, pending);
                let of_route = slots.iter().filter_map(|(id, slot)| match &slot.stage {
                    SlotStage::SharedSlot(shared)
                        if shared.loop_id == loop_id && shared.availability != Availability::Draining =>
                    {
                        Some((**id, shared))
                    }
                    _ => None,
                });
                let mut open = 0;
                let mut all = 0;
                for (id, shared) in of_route {
                    all += 1;
                    let is_open = shared.availability() == Availability::Open;
                    assert_eq!(shared.availability, shared.availability());
                    open += usize::from(is_open);
                    assert!(route.shared.contains(&id));
                    assert_eq!(route.open.contains(&id), is_open);
                    assert_eq!(shared.limit, self.pool.slots[&id].status.max_requests());
                }
                assert_eq!((route.shared.len(), route.open.len()), (all, open));
            }
        }
    }

    /// The numbers of a snapshot are those of one moment.
    fn check_snapshot(&self) {
        let snapshot = self.pool.snapshot();
        assert_eq!(snapshot.connections.len(), self.pool.slots.len());
        assert!(snapshot.connections.is_sorted_by_key(|connection| connection.status.id));
        let known = |held: &&HeldRequest| self.pool.slots.contains_key(&held.status.id);
        let held = self.held.iter().filter(known).count();
        assert_eq!(snapshot.active + snapshot.queued, held + self.waits.len());
        let busy: BTreeSet<_> = self.held.iter().filter(known).map(|held| held.status.id).collect();
        assert_eq!(snapshot.connections.iter().filter(|connection| !connection.is_idle).count(), busy.len());
    }
}
