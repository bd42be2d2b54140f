//! A model test of the pool's decisions: random operations, after each of which the invariants are checked from scratch.
//!
//! The model holds what requests hold: the grants that they got and the waits that have not ended. [`checks`] has the invariants.

mod checks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{Changes, Decision, Grant, PoolState};
use super::status::Status;
use super::types::{Destination, Limits, LoopId, Poolable, Waiter, WaiterId};
use crate::origin::{Origin, Scheme};

/// A connection, and whether it can be shared.
#[derive(Clone, Copy, Debug)]
struct ModelConnection(bool);

impl Poolable for ModelConnection {
    fn share(&self) -> Option<Self> {
        self.0.then_some(*self)
    }

    fn rest(&mut self) {}
}

/// A waiter, with a number by which the model knows it.
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

/// A request with a slot, and with a connection if there is one already.
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
    /// The first waiter for a slot, and how many later requests of other origins got an idle connection since it was first.
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
            max_keepalive_connections_per_origin: [None, None, Some(0), Some(1), Some(2)][random.below(5)],
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
                    tunnel_headers: None,
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

    /// A connection is made: one that is shared, with its limit known or not, or one for a request at a time.
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
        // The pool knows the loop that it was made for.
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
