//! The pool's decisions. Pure logic: no I/O, no waiting, no Python; the caller holds the lock.
//!
//! Every operation is O(1) in the number of connections, amortised over the expired ones that it removes. Three invariants carry it:
//!
//! * idle connections are in order of the time they became idle, over all and per origin, so the one to evict is always first;
//! * while somebody waits there is no idle connection and no room: either would have been given to him;
//! * the queue is served strictly in order, whatever the origins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use foldhash::{HashMap, HashMapExt};
use hashlink::LinkedHashMap;
use tokio::sync::oneshot;

use super::status::{Phase, Status};
use super::{Acquired, Handover, Limits};
use crate::origin::Origin;

/// A place in the pool, and the connection in it if there is one already.
pub struct Grant<C> {
    pub status: Arc<Status>,
    pub connection: Option<C>,
    /// A connection that had to go to make room; the caller drops it outside the lock.
    pub closing: Option<C>,
}

pub enum Decision<C> {
    Granted(Grant<C>),
    /// The ticket of a place in line, and where the connection will be handed over.
    Wait(u64, oneshot::Receiver<Acquired<C>>),
}

struct Idle<C> {
    connection: C,
    status: Arc<Status>,
    since: Instant,
}

struct Waiter<C> {
    origin: Arc<Origin>,
    handover: Handover<C>,
}

pub struct State<C> {
    limits: Limits,
    /// Every connection, in use or idle.
    connections: HashMap<u64, Arc<Status>>,
    /// Least recently used first.
    idle: LinkedHashMap<u64, Idle<C>>,
    idle_by_origin: HashMap<Arc<Origin>, VecDeque<u64>>,
    waiters: LinkedHashMap<u64, Waiter<C>>,
    next_id: u64,
}

impl<C> State<C> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            connections: HashMap::new(),
            idle: LinkedHashMap::new(),
            idle_by_origin: HashMap::new(),
            waiters: LinkedHashMap::new(),
            next_id: 0,
        }
    }

    /// Gives a connection or a place at once, or a place in line. The connections returned beside it are to be closed.
    pub fn acquire(&mut self, origin: &Arc<Origin>, now: Instant) -> (Decision<C>, Vec<C>) {
        let expired = self.expire(now);
        // Nobody overtakes: while somebody waits, what is free is already his.
        let grant = if self.waiters.is_empty() { self.grant(origin) } else { None };
        let decision = grant.map_or_else(|| self.wait(origin), Decision::Granted);
        (decision, expired)
    }

    /// A place for a connection, whatever the limits.
    pub fn place(&mut self, origin: &Arc<Origin>) -> Grant<C> {
        let id = self.id();
        let status = Arc::new(Status::new(id, Arc::clone(origin)));
        self.connections.insert(id, Arc::clone(&status));
        Grant { status, connection: None, closing: None }
    }

    /// This very connection, if it is idle.
    pub fn take(&mut self, status: &Status) -> Option<Grant<C>> {
        let idle = self.forget(status)?;
        idle.status.set_phase(Phase::Active);
        Some(Grant { status: idle.status, connection: Some(idle.connection), closing: None })
    }

    /// Forgets this very connection; it is returned if it was idle. The queue is to be served.
    pub fn remove(&mut self, status: &Status) -> Option<C> {
        let connection = self.forget(status).map(|idle| idle.connection);
        if self.knows(status) {
            self.connections.remove(&status.id);
        }
        connection
    }

    /// Takes back a connection that can serve another request. Those returned are to be closed, and the queue to be served.
    pub fn keep(&mut self, status: &Arc<Status>, connection: C, now: Instant) -> Vec<C> {
        if !self.connections.contains_key(&status.id) {
            // The pool was closed meanwhile.
            return vec![connection];
        }
        status.set_phase(Phase::Idle);
        status.set_expiry(self.limits.keepalive_expiry.and_then(|expiry| now.checked_add(expiry)));
        self.idle.insert(status.id, Idle { connection, status: Arc::clone(status), since: now });
        self.idle_by_origin.entry(Arc::clone(&status.origin)).or_default().push_back(status.id);
        if self.waiters.is_empty() { self.surplus(now) } else { Vec::new() }
    }

    /// Forgets a connection that is gone; the queue is to be served.
    pub fn free(&mut self, status: &Status) {
        self.connections.remove(&status.id);
    }

    /// Idle connections that have expired or are too many.
    pub fn surplus(&mut self, now: Instant) -> Vec<C> {
        let mut closing = self.expire(now);
        while self.idle.len() > self.limits.max_keepalive_connections {
            closing.extend(self.evict());
        }
        closing
    }

    /// The first in line and what he gets, if there is anything to give.
    pub fn next_grant(&mut self) -> Option<(Handover<C>, Grant<C>)> {
        let origin = Arc::clone(&self.waiters.front()?.1.origin);
        let grant = self.grant(&origin)?;
        let (_, waiter) = self.waiters.pop_front()?;
        Some((waiter.handover, grant))
    }

    /// Gives up a place in line; nothing happens if it was served already.
    pub fn leave(&mut self, ticket: u64) {
        self.waiters.remove(&ticket);
    }

    /// Forgets every connection. The idle ones are returned to be closed.
    pub fn clear(&mut self) -> (Vec<Arc<Status>>, Vec<C>) {
        let statuses = self.statuses();
        self.connections.clear();
        self.idle_by_origin.clear();
        (statuses, self.idle.drain().map(|(_, idle)| idle.connection).collect())
    }

    pub fn statuses(&self) -> Vec<Arc<Status>> {
        let mut statuses: Vec<_> = self.connections.values().cloned().collect();
        statuses.sort_unstable_by_key(|status| status.id);
        statuses
    }

    pub fn queued(&self) -> usize {
        self.waiters.len()
    }

    fn wait(&mut self, origin: &Arc<Origin>) -> Decision<C> {
        let (handover, granted) = oneshot::channel();
        let ticket = self.id();
        self.waiters.insert(ticket, Waiter { origin: Arc::clone(origin), handover });
        Decision::Wait(ticket, granted)
    }

    /// An idle connection to the origin, else a place for a new one, else the place of the idle connection used longest ago.
    fn grant(&mut self, origin: &Arc<Origin>) -> Option<Grant<C>> {
        if let Some(idle) = self.take_idle(origin) {
            return Some(Grant { status: idle.status, connection: Some(idle.connection), closing: None });
        }
        let closing = if self.connections.len() < self.limits.max_connections { None } else { Some(self.evict()?) };
        Some(Grant { closing, ..self.place(origin) })
    }

    /// Whether it is a connection of this pool, and not one of a process that was forked.
    fn knows(&self, status: &Status) -> bool {
        self.connections.get(&status.id).is_some_and(|known| std::ptr::eq(&raw const **known, status))
    }

    /// Takes one connection out of the idle ones. Unlike the others this one has to look for it among those of its origin.
    fn forget(&mut self, status: &Status) -> Option<Idle<C>> {
        if !self.knows(status) {
            return None;
        }
        let idle = self.idle.remove(&status.id)?;
        if let Some(ids) = self.idle_by_origin.get_mut(&status.origin) {
            ids.retain(|id| *id != status.id);
            if ids.is_empty() {
                self.idle_by_origin.remove(&status.origin);
            }
        }
        Some(idle)
    }

    /// The connection to the origin that became idle last: the others may then expire.
    fn take_idle(&mut self, origin: &Arc<Origin>) -> Option<Idle<C>> {
        let ids = self.idle_by_origin.get_mut(origin)?;
        let id = ids.pop_back()?;
        if ids.is_empty() {
            self.idle_by_origin.remove(origin);
        }
        let idle = self.idle.remove(&id)?;
        idle.status.set_phase(Phase::Active);
        Some(idle)
    }

    /// Removes the connection that has been idle longest.
    fn evict(&mut self) -> Option<C> {
        let (id, idle) = self.idle.pop_front()?;
        if let Some(ids) = self.idle_by_origin.get_mut(&idle.status.origin) {
            debug_assert_eq!(ids.front(), Some(&id));
            ids.pop_front();
            if ids.is_empty() {
                self.idle_by_origin.remove(&idle.status.origin);
            }
        }
        self.connections.remove(&id);
        idle.status.set_phase(Phase::Closed);
        Some(idle.connection)
    }

    fn expire(&mut self, now: Instant) -> Vec<C> {
        let mut expired = Vec::new();
        let Some(expiry) = self.limits.keepalive_expiry else { return expired };
        while let Some((_, oldest)) = self.idle.front() {
            if now.saturating_duration_since(oldest.since) < expiry {
                break;
            }
            expired.extend(self.evict());
        }
        expired
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Scheme;
    use std::time::Duration;

    type Connection = &'static str;

    fn origin(host: &str) -> Arc<Origin> {
        Arc::new(Origin { scheme: Scheme::Http, host: host.to_owned(), port: 80, server_name: None })
    }

    fn state(max_connections: usize, max_keepalive_connections: usize) -> State<Connection> {
        State::new(Limits {
            max_connections,
            max_keepalive_connections,
            keepalive_expiry: Some(Duration::from_secs(5)),
        })
    }

    fn granted(state: &mut State<Connection>, origin: &Arc<Origin>, now: Instant) -> Grant<Connection> {
        match state.acquire(origin, now).0 {
            Decision::Granted(grant) => grant,
            Decision::Wait(..) => panic!("there should have been room"),
        }
    }

    fn ticket(state: &mut State<Connection>, origin: &Arc<Origin>, now: Instant) -> u64 {
        match state.acquire(origin, now).0 {
            Decision::Granted(_) => panic!("there should have been no room"),
            Decision::Wait(ticket, _) => ticket,
        }
    }

    #[test]
    fn reuses_the_connection_that_was_used_last() {
        let (mut state, a, now) = (state(10, 10), origin("a"), Instant::now());
        let (first, second) = (granted(&mut state, &a, now), granted(&mut state, &a, now));
        state.keep(&first.status, "first", now);
        state.keep(&second.status, "second", now);

        assert_eq!(granted(&mut state, &a, now).connection, Some("second"));
        assert_eq!(granted(&mut state, &a, now).connection, Some("first"));
        assert_eq!(granted(&mut state, &a, now).connection, None);
        assert_eq!(state.statuses().len(), 3);
    }

    #[test]
    fn evicts_the_connection_that_was_used_longest_ago_for_another_origin() {
        let (mut state, a, b, now) = (state(2, 2), origin("a"), origin("b"), Instant::now());
        let (first, second) = (granted(&mut state, &a, now), granted(&mut state, &a, now));
        state.keep(&second.status, "second", now);
        state.keep(&first.status, "first", now);

        let grant = granted(&mut state, &b, now);
        assert_eq!((grant.connection, grant.closing), (None, Some("second")));
        assert_eq!(state.statuses().len(), 2);
    }

    #[test]
    fn keeps_no_more_idle_connections_than_allowed() {
        let (mut state, a, now) = (state(10, 1), origin("a"), Instant::now());
        let (first, second) = (granted(&mut state, &a, now), granted(&mut state, &a, now));
        assert!(state.keep(&first.status, "first", now).is_empty());
        assert_eq!(state.keep(&second.status, "second", now), ["first"]);
        assert_eq!(state.statuses().len(), 1);
    }

    #[test]
    fn closes_what_has_been_idle_for_too_long() {
        let (mut state, a, now) = (state(10, 10), origin("a"), Instant::now());
        let grant = granted(&mut state, &a, now);
        state.keep(&grant.status, "old", now);
        let (decision, closing) = state.acquire(&a, now + Duration::from_secs(6));
        assert_eq!(closing, ["old"]);
        assert!(matches!(decision, Decision::Granted(Grant { connection: None, .. })));
    }

    #[test]
    fn serves_strictly_in_order() {
        let (mut state, a, b, now) = (state(1, 1), origin("a"), origin("b"), Instant::now());
        let grant = granted(&mut state, &a, now);
        let (_first, left, _third) =
            (ticket(&mut state, &b, now), ticket(&mut state, &a, now), ticket(&mut state, &a, now));
        state.leave(left);
        assert_eq!(state.queued(), 2);

        // The first in line asked for another origin: he gets the place, and the idle connection goes.
        state.keep(&grant.status, "to a", now);
        let (_, grant) = state.next_grant().expect("a place");
        assert_eq!((grant.status.origin.host.as_str(), grant.closing), ("b", Some("to a")));
        assert!(state.next_grant().is_none());

        state.free(&grant.status);
        let (_, grant) = state.next_grant().expect("a place");
        assert_eq!(grant.status.origin.host, "a");
        assert_eq!(state.queued(), 0);
    }

    #[test]
    fn a_connection_that_returns_after_close_is_not_kept() {
        let (mut state, a, now) = (state(1, 1), origin("a"), Instant::now());
        let grant = granted(&mut state, &a, now);
        let (statuses, idle) = state.clear();
        assert_eq!((statuses.len(), idle.len()), (1, 0));
        assert_eq!(state.keep(&grant.status, "late", now), ["late"]);
        assert!(state.statuses().is_empty());
        assert_eq!(granted(&mut state, &a, now).connection, None);
    }
}
