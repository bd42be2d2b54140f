//! Origins and routes: the connections to an origin, and the requests that wait for one.
//!
//! A route is an origin together with an event loop (or the threads). It has the shared connections of that loop, the connections
//! being made that may turn out to be shared, and its wait queue. Idle connections belong to the origin: a request of any loop may take
//! one.
//!
//! Each origin has two indexes over its routes: all by their first waiter, and those whose first waiter wants a slot. [`Entry::refresh`]
//! keeps them up to date and is called after each change of a route.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt, HashSet};
use hashlink::LinkedHashSet;
use slab::Slab;

use super::types::{LoopId, WaiterId};
use crate::origin::Origin;

/// The key of an origin's entry, valid as long as the entry exists.
pub type OriginKey = usize;

/// The shared connections of one loop to one origin, and its wait queue.
pub struct Route<W> {
    /// In the order of arrival.
    pub waiters: BTreeMap<WaiterId, W>,
    /// The shared connections that take requests, now or later.
    pub shared: HashSet<u64>,
    /// Those of them that can take one more request now.
    pub open: LinkedHashSet<u64>,
    /// The number of connections that are being made and may turn out to be shared.
    pub connecting: usize,
    /// Waiters up to this one do not wait for connections that are being made: one has failed, or carries one request at a time.
    pub released: WaiterId,
    /// New connections on this route may turn out to be shared.
    pub multiplexing: bool,
    /// The keys of the route in its origin's indexes.
    first: Option<WaiterId>,
    wanting: Option<WaiterId>,
}

impl<W> Default for Route<W> {
    fn default() -> Self {
        Self {
            waiters: BTreeMap::new(),
            shared: HashSet::default(),
            open: LinkedHashSet::new(),
            connecting: 0,
            released: 0,
            multiplexing: false,
            first: None,
            wanting: None,
        }
    }
}

impl<W> Route<W> {
    fn is_unused(&self) -> bool {
        self.waiters.is_empty() && self.shared.is_empty() && self.connecting == 0
    }

    fn first_waiter(&self) -> Option<WaiterId> {
        self.waiters.first_key_value().map(|(id, _)| *id)
    }

    /// Returns whether a waiter waits for a connection that is being made, and not for a slot.
    pub fn awaits_connecting(&self, waiter: WaiterId) -> bool {
        self.connecting > 0 && waiter > self.released
    }

    /// Returns the first waiter if it wants a slot.
    pub fn first_wanting(&self) -> Option<WaiterId> {
        self.first_waiter().filter(|first| !self.awaits_connecting(*first))
    }
}

/// The connections to one origin, and its routes.
pub struct Entry<W> {
    pub origin: Arc<Origin>,
    /// The number of slots that it has.
    pub connections: usize,
    /// The idle connections that take requests, the one that became idle last at the back.
    pub idle: LinkedHashSet<u64>,
    /// The idle connections whose peer takes no requests for now.
    pub saturated: LinkedHashSet<u64>,
    routes: HashMap<LoopId, Route<W>>,
    /// The routes that have waiters, by the first of these.
    waiting: BTreeMap<WaiterId, LoopId>,
    /// The routes whose first waiter wants a slot, by that waiter.
    wanting: BTreeMap<WaiterId, LoopId>,
    /// The waiter by which the origin is in the pool's slot queue.
    pub queued_as: Option<WaiterId>,
}

impl<W> Entry<W> {
    fn new(origin: Arc<Origin>) -> Self {
        Self {
            origin,
            connections: 0,
            idle: LinkedHashSet::new(),
            saturated: LinkedHashSet::new(),
            routes: HashMap::new(),
            waiting: BTreeMap::new(),
            wanting: BTreeMap::new(),
            queued_as: None,
        }
    }

    pub fn is_unused(&self) -> bool {
        self.connections == 0 && self.routes.is_empty()
    }

    pub fn routes(&self) -> impl Iterator<Item = (LoopId, &Route<W>)> {
        self.routes.iter().map(|(id, route)| (*id, route))
    }

    pub fn route(&self, loop_id: LoopId) -> Option<&Route<W>> {
        // Most origins are reached over HTTP/1.1 and have no waiters: they have no routes.
        if self.routes.is_empty() { None } else { self.routes.get(&loop_id) }
    }

    pub fn route_mut(&mut self, loop_id: LoopId) -> Option<&mut Route<W>> {
        self.routes.get_mut(&loop_id)
    }

    pub fn route_or_insert(&mut self, loop_id: LoopId) -> &mut Route<W> {
        self.routes.entry(loop_id).or_default()
    }

    /// Returns the waiter that has waited longest, over all routes.
    pub fn first_waiter(&self) -> Option<(WaiterId, LoopId)> {
        self.waiting.first_key_value().map(|(waiter, loop_id)| (*waiter, *loop_id))
    }

    /// Returns the waiter that has waited longest of those that want a slot.
    pub fn first_wanting(&self) -> Option<(WaiterId, LoopId)> {
        self.wanting.first_key_value().map(|(waiter, loop_id)| (*waiter, *loop_id))
    }

    /// Returns a shared connection of the loop that takes one more request.
    pub fn open(&self, loop_id: LoopId) -> Option<u64> {
        self.route(loop_id)?.open.front().copied()
    }

    /// Returns the idle connection that has been idle longest; first those whose peer takes no requests.
    pub fn oldest_idle(&self) -> Option<u64> {
        self.saturated.front().or_else(|| self.idle.front()).copied()
    }

    /// Returns the number of idle connections.
    pub fn idle_count(&self) -> usize {
        self.idle.len() + self.saturated.len()
    }

    /// Returns the idle connection that was used last, so that those that are not needed expire.
    pub fn newest_idle(&self) -> Option<u64> {
        self.idle.back().copied()
    }

    /// Takes a waiter out of its route.
    pub fn take_waiter(&mut self, loop_id: LoopId, waiter: WaiterId) -> Option<W> {
        let taken = self.routes.get_mut(&loop_id)?.waiters.remove(&waiter);
        self.refresh(loop_id);
        taken
    }

    /// Brings the indexes up to date with a route; removes a route without connections and waiters.
    pub fn refresh(&mut self, loop_id: LoopId) {
        let Some(route) = self.routes.get_mut(&loop_id) else { return };
        let (first, wanting) = (route.first_waiter(), route.first_wanting());
        move_key(&mut self.waiting, &mut route.first, first, loop_id);
        move_key(&mut self.wanting, &mut route.wanting, wanting, loop_id);
        if route.is_unused() {
            self.routes.remove(&loop_id);
        }
    }

    /// Removes all connections. The waiters stay.
    fn clear(&mut self) {
        self.connections = 0;
        self.idle.clear();
        self.saturated.clear();
        let loops: Vec<_> = self.routes.keys().copied().collect();
        for loop_id in loops {
            if let Some(route) = self.routes.get_mut(&loop_id) {
                route.shared.clear();
                route.open.clear();
                route.connecting = 0;
            }
            self.refresh(loop_id);
        }
    }
}

/// Moves a value of an index from its old key to the new one.
pub fn move_key<V>(index: &mut BTreeMap<WaiterId, V>, known: &mut Option<WaiterId>, key: Option<WaiterId>, value: V) {
    if *known == key {
        return;
    }
    if let Some(old) = known.take() {
        index.remove(&old);
    }
    if let Some(new) = key {
        index.insert(new, value);
    }
    *known = key;
}

/// The origins that have connections or waiters.
pub struct Origins<W> {
    keys: HashMap<Arc<Origin>, OriginKey>,
    entries: Slab<Entry<W>>,
}

impl<W> Origins<W> {
    pub fn new() -> Self {
        Self { keys: HashMap::new(), entries: Slab::new() }
    }

    pub fn key(&self, origin: &Arc<Origin>) -> Option<OriginKey> {
        self.keys.get(origin).copied()
    }

    pub fn key_or_insert(&mut self, origin: &Arc<Origin>) -> OriginKey {
        if let Some(key) = self.key(origin) {
            return key;
        }
        let key = self.entries.insert(Entry::new(Arc::clone(origin)));
        self.keys.insert(Arc::clone(origin), key);
        key
    }

    pub fn get(&self, key: OriginKey) -> Option<&Entry<W>> {
        self.entries.get(key)
    }

    pub fn get_mut(&mut self, key: OriginKey) -> Option<&mut Entry<W>> {
        self.entries.get_mut(key)
    }

    pub fn route_mut(&mut self, key: OriginKey, loop_id: LoopId) -> Option<&mut Route<W>> {
        self.entries.get_mut(key)?.route_mut(loop_id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (OriginKey, &Entry<W>)> {
        self.entries.iter()
    }

    /// Removes an origin.
    pub fn remove(&mut self, key: OriginKey) {
        if let Some(entry) = self.entries.try_remove(key) {
            self.keys.remove(&entry.origin);
        }
    }

    /// Removes all connections. The waiters stay.
    pub fn clear_connections(&mut self) {
        for (_, entry) in &mut self.entries {
            entry.clear();
        }
    }

    pub fn all_keys(&self) -> Vec<OriginKey> {
        self.entries.iter().map(|(key, _)| key).collect()
    }
}
