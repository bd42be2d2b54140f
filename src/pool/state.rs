//! The pool's decisions. Pure logic: no I/O, no waiting, no Python; the caller holds the lock.
//!
//! A connection is in one of three places: with the one request that uses it, `idle`, or, if it carries several requests at a
//! time (HTTP/2), `shared` while it has any. Every operation is O(1) in the number of connections, amortised over the expired
//! ones that it removes, and logarithmic in the number of waiters. Four invariants carry it:
//!
//! * idle connections are in order of the time they became idle, over all and per origin, so the one to evict is always first;
//! * `open` lists exactly the shared connections that can take one more request;
//! * while somebody waits in line there is nothing that the first one could be given;
//! * the line is served strictly in order, whatever the origins.
//!
//! Whoever wants a connection that is being made and may turn out to be shared does not stand in line: he is its guest until
//! its protocol is known.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use foldhash::{HashMap, HashMapExt, HashSet};
use hashlink::LinkedHashMap;
use tokio::sync::oneshot;

use super::status::{Phase, Status};
use super::{ANYBODY, Acquired, Destination, Handover, Limits, Share};
use crate::origin::Origin;

/// Origins that are remembered for having chosen HTTP/1.1. It only saves time to know them.
const REMEMBERED: usize = 1024;

/// A place in the pool, and the connection in it if there is one already.
pub struct Grant<C> {
    pub status: Arc<Status>,
    pub connection: Option<C>,
    /// Whether others have, or may get, the same connection.
    pub shared: bool,
    /// A connection that had to go to make room; the caller drops it outside the lock.
    pub closing: Option<C>,
}

pub enum Decision<C: Share> {
    Granted(Grant<C>),
    /// The ticket of a place in line, and where the connection will be handed over.
    Wait(u64, oneshot::Receiver<Acquired<C>>),
    /// There is nothing, now and later.
    Never,
}

/// What there is for a destination.
enum Found<C> {
    Grant(Grant<C>),
    /// A connection that is being made.
    Host,
    Nothing,
    /// Nothing, now and later.
    Never,
}

struct Idle<C> {
    connection: C,
    status: Arc<Status>,
    since: Instant,
}

/// A connection that carries requests, and may carry more.
struct Shared<C> {
    connection: C,
    status: Arc<Status>,
    route: Route,
    requests: usize,
    /// No more requests: the peer said so, or the pool does.
    retired: bool,
}

impl<C> Shared<C> {
    /// Whether requests of this owner can join.
    fn is_for(&self, owner: u64) -> bool {
        self.route.owner == owner || self.route.owner == ANYBODY
    }
}

/// Between which ends a shared connection carries requests.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Route {
    origin: Arc<Origin>,
    owner: u64,
}

/// A connection whose protocol is not known yet, and who waits for that. By ticket, so in the order of their coming.
struct Connecting<C: Share> {
    id: u64,
    guests: BTreeMap<u64, Waiter<C>>,
}

struct Waiter<C: Share> {
    destination: Destination,
    handover: Handover<C>,
}

pub struct State<C: Share> {
    limits: Limits,
    /// Every connection, in use or idle.
    connections: HashMap<u64, Arc<Status>>,
    /// Least recently used first.
    idle: LinkedHashMap<u64, Idle<C>>,
    idle_by_origin: HashMap<Arc<Origin>, VecDeque<u64>>,
    shared: HashMap<u64, Shared<C>>,
    open: HashMap<Route, VecDeque<u64>>,
    connecting: HashMap<Route, Connecting<C>>,
    /// Origins that could have chosen HTTP/2 and did not.
    unshared: HashSet<Arc<Origin>>,
    /// The line, by ticket.
    waiters: BTreeMap<u64, Waiter<C>>,
    next_id: u64,
}

impl<C: Share> State<C> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            connections: HashMap::new(),
            idle: LinkedHashMap::new(),
            idle_by_origin: HashMap::new(),
            shared: HashMap::new(),
            open: HashMap::new(),
            connecting: HashMap::new(),
            unshared: HashSet::default(),
            waiters: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Gives a connection or a place at once, or a place in line. The connections returned beside it are to be closed.
    pub fn acquire(&mut self, destination: &Destination, now: Instant) -> (Decision<C>, Vec<C>) {
        let expired = self.expire(now);
        // Nobody overtakes: while somebody waits, what is free is already his.
        let found = if self.waiters.is_empty() { self.seek(destination) } else { Found::Nothing };
        let decision = match found {
            Found::Grant(grant) => Decision::Granted(grant),
            Found::Host => self.wait(destination, true),
            Found::Nothing => self.wait(destination, false),
            Found::Never => Decision::Never,
        };
        (decision, expired)
    }

    /// A place for a connection, whatever the limits.
    pub fn place(&mut self, origin: &Arc<Origin>) -> Grant<C> {
        let id = self.id();
        let status = Arc::new(Status::new(id, Arc::clone(origin)));
        self.connections.insert(id, Arc::clone(&status));
        Grant { status, connection: None, shared: false, closing: None }
    }

    /// This very connection, if it can take a request.
    pub fn take(&mut self, status: &Status, owner: u64) -> Option<Grant<C>> {
        if let Some(idle) = self.forget(status) {
            idle.status.set_phase(Phase::Active);
            return Some(self.hand_out(idle, owner));
        }
        let shared = self.shared.get(&status.id)?;
        let is_open = self.open.get(&shared.route).is_some_and(|ids| ids.contains(&status.id));
        if is_open && shared.is_for(owner) { self.join(status.id) } else { None }
    }

    /// Forgets this very connection; it is returned if it was idle. The queue is to be served.
    pub fn remove(&mut self, status: &Status) -> Option<C> {
        if !self.knows(status) {
            return None;
        }
        let connection = self.forget(status).map(|idle| idle.connection);
        self.connections.remove(&status.id);
        self.settle(status.id);
        self.withdraw(status.id);
        connection
    }

    /// The connection in this place can be shared, from now on with as many requests at a time as its status says. If that is not
    /// known yet, those who wait for it go on waiting. The queue is to be served.
    pub fn share(&mut self, status: &Arc<Status>, connection: C, owner: u64) {
        status.set_multiplexed();
        let is_known = self.connections.contains_key(&status.id);
        self.unshared.remove(&status.origin);
        let route = Route { origin: Arc::clone(&status.origin), owner };
        self.shared.insert(
            status.id,
            Shared { connection, status: Arc::clone(status), route, requests: 1, retired: !is_known },
        );
        if status.max_requests().is_some() {
            self.settle(status.id);
        }
        self.sort(status.id);
    }

    /// The connection in this place carries one request at a time, though it might have been otherwise. The queue is to be served.
    pub fn keep_to_one(&mut self, status: &Status) {
        if self.unshared.len() >= REMEMBERED {
            self.unshared.clear();
        }
        self.unshared.insert(Arc::clone(&status.origin));
        self.settle(status.id);
    }

    /// A shared connection takes more or fewer requests than before, as its status says. The queue is to be served.
    pub fn limit_changed(&mut self, status: &Status) {
        self.settle(status.id);
        self.sort(status.id);
    }

    /// A shared connection takes no more requests; it is returned if it has none. The queue is to be served.
    pub fn retire(&mut self, status: &Status) -> Option<C> {
        if let Some(idle) = self.forget(status) {
            self.connections.remove(&status.id);
            idle.status.set_phase(Phase::Closed);
            return Some(idle.connection);
        }
        self.settle(status.id);
        self.withdraw(status.id);
        None
    }

    /// One request less on a shared connection. Those returned are to be closed, and the queue to be served.
    pub fn end_request(&mut self, status: &Arc<Status>, now: Instant) -> Vec<C> {
        self.settle(status.id);
        let Some(shared) = self.shared.get_mut(&status.id) else { return Vec::new() };
        shared.requests -= 1;
        if shared.requests > 0 {
            self.sort(status.id);
            return Vec::new();
        }
        let is_retired = shared.retired;
        self.withdraw(status.id);
        let Some(shared) = self.shared.remove(&status.id) else { return Vec::new() };
        if is_retired {
            status.set_phase(Phase::Closed);
            self.connections.remove(&status.id);
            return vec![shared.connection];
        }
        self.keep(status, shared.connection, now)
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
        self.settle(status.id);
    }

    /// Idle connections that have expired or are too many.
    pub fn surplus(&mut self, now: Instant) -> Vec<C> {
        let mut closing = self.expire(now);
        while self.idle.len() > self.limits.max_keepalive_connections {
            closing.extend(self.evict());
        }
        closing
    }

    /// The first in line and what he gets, if there is anything to give; `None` for him if there never will be.
    pub fn next_grant(&mut self) -> Option<(Handover<C>, Option<Grant<C>>)> {
        loop {
            let (ticket, waiter) = self.waiters.pop_first()?;
            match self.seek(&waiter.destination) {
                Found::Grant(grant) => return Some((waiter.handover, Some(grant))),
                Found::Never => return Some((waiter.handover, None)),
                Found::Host => self.receive(ticket, waiter),
                Found::Nothing => {
                    self.waiters.insert(ticket, waiter);
                    return None;
                }
            }
        }
    }

    /// Gives up a place in line; nothing happens if it was served already.
    pub fn leave(&mut self, ticket: u64) {
        if self.waiters.remove(&ticket).is_none() {
            for connecting in self.connecting.values_mut() {
                connecting.guests.remove(&ticket);
            }
        }
    }

    /// Forgets every connection. Those that nobody uses, and our share in the others, are returned to be closed. The queue is to
    /// be served.
    pub fn clear(&mut self) -> (Vec<Arc<Status>>, Vec<C>) {
        let statuses = self.statuses();
        self.connections.clear();
        self.idle_by_origin.clear();
        self.open.clear();
        for connecting in std::mem::take(&mut self.connecting).into_values() {
            self.waiters.extend(connecting.guests);
        }
        let shared = std::mem::take(&mut self.shared).into_values().map(|shared| shared.connection);
        (statuses, self.idle.drain().map(|(_, idle)| idle.connection).chain(shared).collect())
    }

    /// The shared connections that requests of a destination could join, had they room.
    pub fn shared(&self, destination: &Destination) -> Vec<C> {
        let Destination { origin, owner, .. } = destination;
        let joinable = |shared: &&Shared<C>| shared.is_for(*owner) && shared.route.origin == *origin;
        self.shared.values().filter(joinable).filter_map(|shared| shared.connection.share()).collect()
    }

    pub fn statuses(&self) -> Vec<Arc<Status>> {
        let mut statuses: Vec<_> = self.connections.values().cloned().collect();
        statuses.sort_unstable_by_key(|status| status.id);
        statuses
    }

    pub fn queued(&self) -> usize {
        self.waiters.len()
    }

    /// Requests that have a connection, or one that is being made for them.
    pub fn active(&self) -> usize {
        let shared: usize = self.shared.values().map(|shared| shared.requests).sum();
        let guests: usize = self.connecting.values().map(|connecting| connecting.guests.len()).sum();
        let single = self
            .connections
            .values()
            .filter(|status| status.phase() != Phase::Idle && !self.shared.contains_key(&status.id));
        shared + guests + single.count()
    }

    fn wait(&mut self, destination: &Destination, as_guest: bool) -> Decision<C> {
        let (handover, granted) = oneshot::channel();
        let ticket = self.id();
        let waiter = Waiter { destination: destination.clone(), handover };
        if as_guest {
            self.receive(ticket, waiter);
        } else {
            self.waiters.insert(ticket, waiter);
        }
        Decision::Wait(ticket, granted)
    }

    /// A shared connection with room, else an idle one, else one that is being made and may be shared, else a place for a new one,
    /// else the place of the idle connection used longest ago.
    fn seek(&mut self, destination: &Destination) -> Found<C> {
        let Destination { origin, owner, multiplexing, only } = destination;
        if let Some(id) = only {
            return self.seek_one(*id, *owner);
        }
        let route = || Route { origin: Arc::clone(origin), owner: *owner };
        if !self.open.is_empty()
            && let Some(id) = self.open.get(&route()).and_then(|ids| ids.front().copied())
            && let Some(grant) = self.join(id)
        {
            return Found::Grant(grant);
        }
        if let Some(idle) = self.take_idle(origin) {
            return Found::Grant(self.hand_out(idle, *owner));
        }
        let may_share = *multiplexing && !self.unshared.contains(origin);
        if may_share && self.connecting.contains_key(&route()) {
            return Found::Host;
        }
        let closing = if self.connections.len() < self.limits.max_connections {
            None
        } else {
            match self.evict() {
                None => return Found::Nothing,
                evicted => evicted,
            }
        };
        let grant = self.place(origin);
        if may_share {
            self.connecting.insert(route(), Connecting { id: grant.status.id, guests: BTreeMap::new() });
        }
        Found::Grant(Grant { closing, ..grant })
    }

    /// This very connection. It may have room later if it is being made, or is shared.
    fn seek_one(&mut self, id: u64, owner: u64) -> Found<C> {
        let Some(status) = self.connections.get(&id).map(Arc::clone) else { return Found::Never };
        if let Some(grant) = self.take(&status, owner) {
            return Found::Grant(grant);
        }
        let may_have_room = match self.shared.get(&id) {
            Some(shared) => !shared.retired && shared.is_for(owner),
            None => !status.is_connected(),
        };
        if may_have_room { Found::Nothing } else { Found::Never }
    }

    /// An idle connection for a request, and for others if it can be shared.
    fn hand_out(&mut self, idle: Idle<C>, owner: u64) -> Grant<C> {
        let Idle { connection, status, .. } = idle;
        let Some(copy) = connection.share() else {
            return Grant { status, connection: Some(connection), shared: false, closing: None };
        };
        let route = Route { origin: Arc::clone(&status.origin), owner };
        let shared = Shared { connection, status: Arc::clone(&status), route, requests: 1, retired: false };
        self.shared.insert(status.id, shared);
        self.sort(status.id);
        Grant { status, connection: Some(copy), shared: true, closing: None }
    }

    /// One more request on a shared connection.
    fn join(&mut self, id: u64) -> Option<Grant<C>> {
        let shared = self.shared.get_mut(&id)?;
        let connection = shared.connection.share()?;
        shared.requests += 1;
        let status = Arc::clone(&shared.status);
        self.sort(id);
        Some(Grant { status, connection: Some(connection), shared: true, closing: None })
    }

    /// Sees to it that a shared connection is among the open ones exactly if it has room.
    fn sort(&mut self, id: u64) {
        let Some(shared) = self.shared.get(&id) else { return };
        let has_room = !shared.retired && shared.requests < shared.status.max_requests().unwrap_or(1);
        shared.status.set_open(has_room);
        let is_open = self.open.get(&shared.route).is_some_and(|ids| ids.contains(&id));
        if has_room && !is_open {
            self.open.entry(shared.route.clone()).or_default().push_back(id);
        } else if is_open && !has_room {
            let route = shared.route.clone();
            if let Some(ids) = self.open.get_mut(&route) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.open.remove(&route);
                }
            }
        }
    }

    /// A shared connection gets no more requests.
    fn withdraw(&mut self, id: u64) {
        if let Some(shared) = self.shared.get_mut(&id) {
            shared.retired = true;
            self.sort(id);
        }
    }

    fn receive(&mut self, ticket: u64, waiter: Waiter<C>) {
        let Destination { origin, owner, .. } = &waiter.destination;
        let route = Route { origin: Arc::clone(origin), owner: *owner };
        match self.connecting.get_mut(&route) {
            Some(connecting) => drop(connecting.guests.insert(ticket, waiter)),
            None => drop(self.waiters.insert(ticket, waiter)),
        }
    }

    /// What there was to know about a connection that was being made is known: whoever waited for it gets in line where he belongs.
    fn settle(&mut self, id: u64) {
        if self.connecting.is_empty() {
            return;
        }
        let route = self.connecting.iter().find(|(_, connecting)| connecting.id == id).map(|(route, _)| route.clone());
        if let Some(connecting) = route.and_then(|route| self.connecting.remove(&route)) {
            self.waiters.extend(connecting.guests);
        }
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
        // A peer may say that it takes nothing, for now.
        let takes = |id: &u64| self.idle.get(id).is_some_and(|idle| idle.status.max_requests() != Some(0));
        let id = ids.iter().rposition(takes).and_then(|position| ids.remove(position))?;
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

    /// Connections whose name says so can be shared.
    impl Share for Connection {
        fn share(&self) -> Option<Self> {
            self.starts_with("h2").then_some(*self)
        }
    }

    impl State<Connection> {
        fn served(&mut self) -> Option<(Handover<Connection>, Grant<Connection>)> {
            let (handover, grant) = self.next_grant()?;
            Some((handover, grant.expect("what one connection only can give was not asked for")))
        }
    }

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

    fn to(origin: &Arc<Origin>) -> Destination {
        Destination { origin: Arc::clone(origin), owner: 0, multiplexing: false, only: None }
    }

    fn to_shared(origin: &Arc<Origin>, owner: u64) -> Destination {
        Destination { origin: Arc::clone(origin), owner, multiplexing: true, only: None }
    }

    fn granted(state: &mut State<Connection>, origin: &Arc<Origin>, now: Instant) -> Grant<Connection> {
        granted_to(state, &to(origin), now)
    }

    fn granted_to(state: &mut State<Connection>, destination: &Destination, now: Instant) -> Grant<Connection> {
        match state.acquire(destination, now).0 {
            Decision::Granted(grant) => grant,
            Decision::Wait(..) | Decision::Never => panic!("there should have been room"),
        }
    }

    fn ticket(state: &mut State<Connection>, origin: &Arc<Origin>, now: Instant) -> u64 {
        ticket_to(state, &to(origin), now)
    }

    fn ticket_to(state: &mut State<Connection>, destination: &Destination, now: Instant) -> u64 {
        match state.acquire(destination, now).0 {
            Decision::Granted(_) | Decision::Never => panic!("there should have been no room"),
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
        let (decision, closing) = state.acquire(&to(&a), now + Duration::from_secs(6));
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
        let (_, grant) = state.served().expect("a place");
        assert_eq!((grant.status.origin.host.as_str(), grant.closing), ("b", Some("to a")));
        assert!(state.served().is_none());

        state.free(&grant.status);
        let (_, grant) = state.served().expect("a place");
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

    #[test]
    fn one_connection_serves_as_many_as_its_peer_allows() {
        let (mut state, a, now) = (state(10, 10), origin("a"), Instant::now());
        let first = granted_to(&mut state, &to_shared(&a, 0), now);
        // Its protocol is not known yet: whoever comes now waits for it and makes none of his own.
        let guests: Vec<_> = (0..3).map(|_| ticket_to(&mut state, &to_shared(&a, 0), now)).collect();
        assert_eq!((state.statuses().len(), state.queued(), state.active()), (1, 0, 4));
        state.leave(guests[1]);

        // The limit is not known: still nobody joins.
        state.share(&first.status, "h2", 0);
        assert!(state.served().is_none());

        first.status.set_max_requests(2);
        state.limit_changed(&first.status);
        let (_, second) = state.served().expect("room on the first connection");
        assert_eq!((second.connection, second.status.id), (Some("h2"), first.status.id));
        let (_, third) = state.served().expect("a place for a second connection");
        assert_eq!((third.connection, state.statuses().len()), (None, 2));

        assert!(state.end_request(&first.status, now).is_empty());
        assert_eq!(granted_to(&mut state, &to_shared(&a, 0), now).status.id, first.status.id);
    }

    #[test]
    fn guests_of_a_connection_that_is_not_shared_make_their_own() {
        let (mut state, a, now) = (state(10, 10), origin("a"), Instant::now());
        let first = granted_to(&mut state, &to_shared(&a, 0), now);
        ticket_to(&mut state, &to_shared(&a, 0), now);
        ticket_to(&mut state, &to_shared(&a, 0), now);
        state.keep_to_one(&first.status);
        for _ in 0..2 {
            let (_, grant) = state.served().expect("a place");
            assert_eq!(grant.connection, None);
        }
        assert_eq!(state.statuses().len(), 3);
    }

    #[test]
    fn a_failed_connection_leaves_its_guests_to_the_next() {
        let (mut state, a, now) = (state(10, 10), origin("a"), Instant::now());
        let first = granted_to(&mut state, &to_shared(&a, 0), now);
        ticket_to(&mut state, &to_shared(&a, 0), now);
        ticket_to(&mut state, &to_shared(&a, 0), now);
        state.free(&first.status);
        let (_, second) = state.served().expect("a place");
        assert!(state.served().is_none());
        assert_eq!((state.queued(), state.active()), (0, 2));
        assert_ne!(second.status.id, first.status.id);
    }

    #[test]
    fn loops_do_not_share_but_inherit() {
        let (mut state, a, now) = (state(10, 10), origin("a"), Instant::now());
        let first = granted_to(&mut state, &to_shared(&a, 1), now);
        first.status.set_max_requests(100);
        state.share(&first.status, "h2", 1);
        assert_eq!(granted_to(&mut state, &to_shared(&a, 2), now).connection, None);
        assert!(state.end_request(&first.status, now).is_empty());
        assert_eq!(first.status.phase(), Phase::Idle);
        assert_eq!(granted_to(&mut state, &to_shared(&a, 2), now).status.id, first.status.id);
    }

    #[test]
    fn a_retired_connection_ends_with_its_last_request() {
        let (mut state, a, now) = (state(1, 1), origin("a"), Instant::now());
        let first = granted_to(&mut state, &to_shared(&a, 0), now);
        first.status.set_max_requests(100);
        state.share(&first.status, "h2", 0);
        let second = granted_to(&mut state, &to_shared(&a, 0), now);
        assert_eq!(second.status.id, first.status.id);
        assert!(state.retire(&first.status).is_none());
        ticket_to(&mut state, &to_shared(&a, 0), now);
        assert!(state.end_request(&first.status, now).is_empty());
        assert!(state.served().is_none());
        assert_eq!(state.end_request(&first.status, now), ["h2"]);
        assert!(state.served().is_some());
    }

    #[test]
    fn shared_connections_are_evicted_when_idle() {
        let (mut state, a, b, now) = (state(1, 1), origin("a"), origin("b"), Instant::now());
        let first = granted_to(&mut state, &to_shared(&a, 0), now);
        first.status.set_max_requests(100);
        state.share(&first.status, "h2", 0);
        ticket_to(&mut state, &to_shared(&b, 0), now);
        // Nobody overtakes, not even where there would be room: the one in line needs the connection to end.
        ticket_to(&mut state, &to_shared(&a, 0), now);
        state.end_request(&first.status, now);
        let (_, grant) = state.served().expect("the place");
        assert_eq!((grant.status.origin.host.as_str(), grant.closing), ("b", Some("h2")));
    }
}
