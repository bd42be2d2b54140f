//! A model test of the pool's decisions: random operations, after each of which the invariants are checked from scratch.
//!
//! The model holds what requests and connections hold: the grants that they got and the waits that have not ended. What must be true
//! of the pool is computed from its lists of connections and waiters, without its indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::slots::{MAX_OVERTAKES, SlotStage};
use super::state::{Changes, Decision, Grant, PoolState};
use super::status::Status;
use super::types::{Destination, Limits, LoopId, Poolable, Waiter, WaiterId};
use crate::origin::{Origin, Scheme};

/// A connection; whether it can be shared.
#[derive(Clone, Copy, Debug)]
struct ModelConnection(bool);

impl Poolable for ModelConnection {
    fn share(&self) -> Option<Self> {
        self.0.then_some(*self)
    }
}

/// A waiter, by a number of the model's own.
#[derive(Debug)]
struct Ticket(u64);

impl Waiter for Ticket {
    type Notice = u64;

    fn notice(&self) -> Option<u64> {
        Some(self.0)
    }
}

type ModelPool = PoolState<ModelConnection, Ticket>;

/// xorshift64*: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).expect("31 bits") % bound
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// Takes an element out of a list.
    fn take<T>(&mut self, list: &mut Vec<T>) -> Option<T> {
        if list.is_empty() {
            return None;
        }
        let index = self.below(list.len());
        Some(list.swap_remove(index))
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        if list.is_empty() { None } else { Some(&list[self.below(list.len())]) }
    }
}

/// What a request holds.
struct HeldRequest {
    status: Arc<Status>,
    connection: Option<ModelConnection>,
    shared: bool,
}

struct ModelWaiter {
    destination: Destination,
    id: WaiterId,
}

struct Model {
    pool: ModelPool,
    limits: Limits,
    random: Random,
    origins: Vec<Destination>,
    now: Instant,
    held: Vec<HeldRequest>,
    /// By ticket.
    waits: BTreeMap<u64, ModelWaiter>,
    tickets: u64,
    /// Waiters for a slot that were first, and how many later requests of other origins got an idle connection meanwhile.
    overtaken: (WaiterId, usize),
    served: usize,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let max_connections = [1, 1, 2, 3, 5, 10][random.below(6)];
        let limits = Limits {
            max_connections,
            max_connections_per_origin: [None, None, Some(1), Some(2)][random.below(4)],
            max_keepalive_connections: random.below(max_connections + 1),
            keepalive_expiry: [None, Some(Duration::from_secs(5))][random.below(2)],
        };
        let count = 1 + random.below(4);
        let origins = (0..count)
            .map(|number| Destination {
                origin: Arc::new(Origin {
                    scheme: Scheme::Https,
                    host: format!("host{number}"),
                    port: 443,
                    server_name: None,
                }),
                loop_id: 0,
                multiplexing: !random.one_in(3),
                only: None,
            })
            .collect();
        Self {
            pool: ModelPool::new(limits),
            limits,
            random,
            origins,
            now: Instant::now(),
            held: Vec::new(),
            waits: BTreeMap::new(),
            tickets: 0,
            overtaken: (0, 0),
            served: 0,
        }
    }

    /// One random operation, and the checks.
    fn step(&mut self) {
        let first = self.first_for_a_slot();
        let changes = match self.random.below(100) {
            0..32 => Some(self.acquire()),
            32..52 => self.end_request(),
            52..64 => self.establish(),
            64..70 => self.fail(),
            70..80 => self.leave(),
            80..85 => self.change_limit(),
            85..88 => self.drain(),
            88..90 => self.close_one(),
            90..92 => self.take(),
            92..94 => self.acquire_only(),
            94..99 => {
                self.now += Duration::from_secs(self.random.below(3) as u64);
                None
            }
            _ if self.random.one_in(10) => Some(self.pool.clear().1),
            _ => None,
        };
        if let Some(changes) = changes {
            self.check_fairness(first, &changes);
            self.receive(changes);
        }
        self.check();
    }

    fn destination(&mut self) -> Destination {
        let loop_id = self.random.below(3) as LoopId;
        let origin = self.random.below(self.origins.len());
        Destination { loop_id, ..self.origins[origin].clone() }
    }

    fn request(&mut self, destination: Destination) -> Changes<ModelConnection, Ticket> {
        self.tickets += 1;
        let ticket = self.tickets;
        let (decision, changes) = self.pool.acquire(&destination, self.now, || Ticket(ticket));
        match decision {
            Decision::Granted(grant) => self.accept(grant),
            Decision::Wait(id) => drop(self.waits.insert(ticket, ModelWaiter { destination, id })),
            Decision::Never => assert!(destination.only.is_some()),
        }
        changes
    }

    fn acquire(&mut self) -> Changes<ModelConnection, Ticket> {
        let destination = self.destination();
        self.request(destination)
    }

    /// A request for one connection and no other.
    fn acquire_only(&mut self) -> Option<Changes<ModelConnection, Ticket>> {
        let connections = self.pool.snapshot().connections;
        let status = Arc::clone(&self.random.pick(&connections)?.status);
        let mut destination = self.destination();
        destination.origin = Arc::clone(&status.origin);
        destination.only = Some(status.id);
        Some(self.request(destination))
    }

    fn take(&mut self) -> Option<Changes<ModelConnection, Ticket>> {
        let connections = self.pool.snapshot().connections;
        let status = Arc::clone(&self.random.pick(&connections)?.status);
        let loop_id = self.random.below(3) as LoopId;
        let (grant, changes) = self.pool.take(&status, loop_id);
        if let Some(grant) = grant {
            self.accept(grant);
        }
        Some(changes)
    }

    fn accept(&mut self, grant: Grant<ModelConnection>) {
        let Grant { status, connection, shared, closing: _ } = grant;
        self.held.push(HeldRequest { status, connection, shared });
    }

    /// A connection is made: shared, with its limit known or not, or for one request.
    fn establish(&mut self) -> Option<Changes<ModelConnection, Ticket>> {
        let making: Vec<_> = (0..self.held.len()).filter(|index| self.held[*index].connection.is_none()).collect();
        let index = *self.random.pick(&making)?;
        let status = Arc::clone(&self.held[index].status);
        let origin = self.origins.iter().find(|destination| destination.origin == status.origin)?;
        status.mark_connected();
        if !origin.multiplexing || self.random.one_in(5) {
            self.held[index].connection = Some(ModelConnection(false));
            return origin.multiplexing.then(|| self.pool.mark_exclusive(&status));
        }
        // The loop that it was made for is the pool's to know.
        let pending = self.pool.slots.get(&status.id).and_then(|slot| slot.pending);
        let loop_id = pending.unwrap_or(self.random.below(3) as LoopId);
        if self.random.one_in(2) {
            status.set_max_requests(1 + self.random.below(4));
        }
        let held = &mut self.held[index];
        (held.connection, held.shared) = (Some(ModelConnection(true)), true);
        Some(self.pool.share(&status, ModelConnection(true), loop_id))
    }

    /// An attempt to connect fails or is cancelled.
    fn fail(&mut self) -> Option<Changes<ModelConnection, Ticket>> {
        let making: Vec<_> = (0..self.held.len()).filter(|index| self.held[*index].connection.is_none()).collect();
        let index = *self.random.pick(&making)?;
        let held = self.held.swap_remove(index);
        let has_failed = self.random.one_in(2);
        Some(self.pool.free(&held.status, has_failed))
    }

    /// A request ends: its connection can be used again, or not.
    fn end_request(&mut self) -> Option<Changes<ModelConnection, Ticket>> {
        let held = self.random.take(&mut self.held)?;
        let Some(connection) = held.connection else {
            self.held.push(held);
            return None;
        };
        if held.shared {
            return Some(self.pool.end_request(&held.status, self.now));
        }
        if self.random.one_in(4) {
            return Some(self.pool.free(&held.status, false));
        }
        Some(self.pool.keep(&held.status, connection, self.now))
    }

    fn leave(&mut self) -> Option<Changes<ModelConnection, Ticket>> {
        let tickets: Vec<_> = self.waits.keys().copied().collect();
        let ticket = *self.random.pick(&tickets)?;
        let ModelWaiter { destination, id } = self.waits.remove(&ticket)?;
        let changes = self.pool.leave(&destination, id);
        assert!(self.pool.leave(&destination, id).served.is_empty(), "it has left");
        Some(changes)
    }

    fn change_limit(&mut self) -> Option<Changes<ModelConnection, Ticket>> {
        let status = self.shared_status()?;
        status.set_max_requests(self.random.below(5));
        Some(self.pool.limit_changed(&status))
    }

    fn drain(&mut self) -> Option<Changes<ModelConnection, Ticket>> {
        let status = self.shared_status()?;
        Some(self.pool.mark_draining(&status))
    }

    fn close_one(&mut self) -> Option<Changes<ModelConnection, Ticket>> {
        let connections = self.pool.snapshot().connections;
        let status = Arc::clone(&self.random.pick(&connections)?.status);
        Some(self.pool.remove(&status))
    }

    /// A connection that can be shared, whether it is in use, idle or forgotten by the pool.
    fn shared_status(&mut self) -> Option<Arc<Status>> {
        let mut statuses: Vec<_> =
            self.held.iter().filter(|held| held.shared).map(|held| Arc::clone(&held.status)).collect();
        statuses.extend(self.pool.snapshot().connections.into_iter().map(|connection| connection.status));
        statuses.retain(|status| status.is_multiplexed());
        self.random.pick(&statuses).cloned()
    }

    /// Waiters receive what they were given.
    fn receive(&mut self, changes: Changes<ModelConnection, Ticket>) {
        for ticket in &changes.notices {
            assert!(*ticket <= self.tickets);
        }
        for (Ticket(ticket), grant) in changes.served {
            let waiting = self.waits.remove(&ticket).expect("each waiter is served once");
            self.served += 1;
            match grant {
                Some(grant) => {
                    assert_eq!(grant.status.origin, waiting.destination.origin);
                    self.accept(grant);
                }
                None => assert!(waiting.destination.only.is_some()),
            }
        }
    }

    /// The waiter that has waited longest of those that only a slot can serve, and whose origin may have one more connection.
    fn first_for_a_slot(&self) -> Option<WaiterId> {
        self.waiters().into_iter().filter(|(_, wants_slot, may_have)| *wants_slot && *may_have).map(|(id, ..)| id).min()
    }

    /// All waiters of routes: whether they want a slot, and whether their origin may have one more connection.
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
    fn check_fairness(&mut self, first: Option<WaiterId>, changes: &Changes<ModelConnection, Ticket>) {
        let Some(first) = first else { return };
        if self.overtaken.0 != first {
            self.overtaken = (first, 0);
        }
        for (Ticket(ticket), grant) in &changes.served {
            let waiting = &self.waits[ticket];
            let Some(grant) = grant else { continue };
            if waiting.destination.only.is_some() || waiting.id == first {
                // From here on another one is first.
                self.overtaken = (0, 0);
                return;
            }
            // One that came before waited for something else until now.
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

    fn check(&self) {
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
        if let Some(limit) = self.limits.max_connections_per_origin {
            for (key, _) in self.pool.origins.iter() {
                assert!(slots.values().filter(|slot| slot.origin == key).count() <= limit);
            }
        }
    }

    /// Every waiter is in one queue, and every wait that has not ended is that of one waiter.
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
                        let is_left = shared.loop_id == *loop_id && shared.has_room();
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

    /// The indexes say what the lists say.
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
                    SlotStage::SharedSlot(shared) if shared.loop_id == loop_id && !shared.is_draining => {
                        Some((**id, shared))
                    }
                    _ => None,
                });
                let mut open = 0;
                let mut all = 0;
                for (id, shared) in of_route {
                    all += 1;
                    open += usize::from(shared.has_room());
                    assert!(route.shared.contains(&id));
                    assert_eq!(route.open.contains(&id), shared.has_room());
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

/// Runs `steps` operations from `seed`.
fn run(seed: u64, steps: usize) -> usize {
    let mut model = Model::new(seed);
    for _ in 0..steps {
        model.step();
    }
    model.served
}

#[test]
fn a_million_random_operations_keep_the_invariants() {
    let threads = 4;
    let served: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || (0..500).map(|round| run(1 + worker + threads * round, 500)).sum::<usize>())
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a model that holds")).sum()
    });
    assert!(served > 50_000, "the model hardly waited: {served}");
}
