//! A connection: what its exchanges share, and what it reports to the pool.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Waker};

use super::keep_alive::KeepAlive;
use super::leader_followers::LeaderFollowers;
use super::protocol::{ConnectionReport, Polled, Protocol, ProtocolState, Usage};
use super::waker::ConnectionWaker;
use super::wire::Http2WireHandle;
use crate::error::{Error, Result};
use crate::fork::DropIfCurrent;
use crate::io::reactor::{Job, Reactor};
use crate::io::source::{Direction, Source};
use crate::io::stream::Stream;
use crate::io::wait_set;
use crate::lock::{Guard, Rank, RankedMutex};
use crate::operation::ExternalHandle;
use crate::origin::Origin;

/// A connection that speaks HTTP/2.
pub struct Http2 {
    // Dropped first, while the wire is still there.
    pub(super) protocol: DropIfCurrent<Protocol>,
    pub(super) origin: Arc<Origin>,
    pub(super) wire: Http2WireHandle,
    /// The socket under the stream, and the uppermost TLS session.
    source: Option<Arc<Source>>,
    session: Option<Arc<dyn Any + Send + Sync>>,
    /// The stream is an external one.
    pub(super) is_external: bool,
    /// A thread may leave a poll to the one that is polling: no driver is needed besides.
    pub(super) may_delegate: bool,
    /// No reactor polls the connection.
    is_of_threads: AtomicBool,
    pub(super) connection_waker: Arc<ConnectionWaker>,
    /// The same, as h2 takes it.
    waker: Waker,
    pub(super) leader_followers: RankedMutex<LeaderFollowers>,
    /// Exchanges that are under way.
    pub(super) exchanges: AtomicUsize,
    /// Bytes of all response bodies that were read so far.
    bytes_read: AtomicU64,
    /// The opening of the connection was traced.
    pub(super) is_traced: AtomicBool,
    /// The owner of the external stream has been left a reset to send.
    pub(super) has_deferred_reset: AtomicBool,
    observer: OnceLock<Box<dyn ConnectionObserver>>,
    /// Polls that have found a new limit of streams and may not have reported it yet.
    limit_reports: AtomicUsize,
    /// The observer knows the first limit of streams.
    has_reported_limit: AtomicBool,
    /// The connection accepts no more requests, as its last poll has found.
    is_draining: AtomicBool,
    /// Why the peer accepts no more requests, in its words.
    goaway: OnceLock<String>,
}

/// Receives what a connection reports. It is called without a lock of the connection.
pub trait ConnectionObserver: Send + Sync {
    /// The peer accepts `limit` concurrent requests; `None` if it sets no limit.
    fn limit_changed(&self, limit: Option<usize>);

    /// The connection accepts no more requests.
    fn retired(&self);
}

impl Http2 {
    /// Makes a connection on a stream, without I/O: the frames that open it are sent with the first request.
    pub fn new(stream: Stream, origin: Arc<Origin>, keep_alive: Option<KeepAlive>) -> Result<Arc<Self>> {
        let is_external = matches!(stream, Stream::External(_));
        let wire = Http2WireHandle::new(stream, Arc::clone(&origin));
        let protocol = Protocol::open(&wire, &origin, keep_alive)?;
        let (source, session, may_delegate) = {
            let mut wire = wire.lock();
            wire.open();
            let stream = wire.stream();
            let source = stream.socket().map(|socket| Arc::clone(socket.source()));
            (source, stream.session(), !stream.needs_driver())
        };
        Ok(Arc::new_cyclic(|me: &Weak<Self>| {
            let connection_waker = ConnectionWaker::new(me.clone());
            let owner: Weak<dyn Job> = me.clone();
            wire.lock().stream().set_owner(&owner);
            Self {
                protocol: DropIfCurrent::new(protocol),
                origin,
                wire,
                source,
                session,
                is_external,
                may_delegate,
                is_of_threads: AtomicBool::new(false),
                waker: Waker::from(Arc::clone(&connection_waker)),
                connection_waker,
                leader_followers: RankedMutex::new(Rank::LeaderFollowers, LeaderFollowers::default()),
                exchanges: AtomicUsize::new(0),
                bytes_read: AtomicU64::new(0),
                is_traced: AtomicBool::new(false),
                has_deferred_reset: AtomicBool::new(false),
                observer: OnceLock::new(),
                limit_reports: AtomicUsize::new(0),
                has_reported_limit: AtomicBool::new(false),
                is_draining: AtomicBool::new(false),
                goaway: OnceLock::new(),
            }
        }))
    }

    /// Sets the observer. It can be set once, when the pool gets the connection.
    pub fn observe(&self, observer: Box<dyn ConnectionObserver>) {
        let _ = self.observer.set(observer);
    }

    pub fn wire(&self) -> &Http2WireHandle {
        &self.wire
    }

    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Returns the uppermost TLS session, for those who ask about it.
    pub fn session(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.session.clone()
    }

    /// Returns the external stream, if the connection is on one.
    pub fn external(&self) -> Option<ExternalHandle> {
        if !self.is_external {
            return None;
        }
        self.wire.lock().stream().external().map(|stream| stream.handle().clone())
    }

    /// Moves an idle connection to the loop that is going to use it; `None` moves it to the threads.
    pub fn attach(&self, reactor: Option<&Arc<Reactor>>) -> io::Result<()> {
        if reactor.is_none() && self.is_of_threads.load(Ordering::Acquire) {
            return Ok(());
        }
        self.is_of_threads.store(false, Ordering::Release);
        let mut wire = self.wire.lock();
        wire.stream().attach(reactor)?;
        let is_job = reactor.is_some() && wire.stream().external().is_none();
        drop(wire);
        self.connection_waker.set_reactor(reactor.filter(|_| is_job));
        self.is_of_threads.store(reactor.is_none(), Ordering::Release);
        // h2 wakes nothing before its first poll.
        self.connection_waker.wake();
        Ok(())
    }

    /// Returns whether operations of a loop (0: of threads) can use the stream. An external stream belongs to its owner.
    pub fn is_usable_by(&self, id: u64) -> bool {
        !self.is_external
            || self.wire.lock().stream().external().is_none_or(|stream| stream.handle().owner().serves(id))
    }

    /// Returns whether the connection accepts requests, as far as its frames have been processed. Waits for a poll that is under way.
    pub fn is_open(&self) -> bool {
        self.look(ProtocolState::is_open)
    }

    /// Returns whether the connection accepts requests, as far as the last poll has found. Does not wait for a poll that is under way.
    pub fn was_open(&self) -> bool {
        self.is_steady() || self.is_open()
    }

    /// Returns whether the observer knows the limit of streams, and the connection was open at the end of the last poll.
    pub(super) fn is_steady(&self) -> bool {
        self.has_reported_limit.load(Ordering::Acquire) && !self.is_draining.load(Ordering::Acquire)
    }

    /// Looks at the protocol's state, and passes on what was meanwhile left to the owner of its lock.
    fn look<T>(&self, view: impl FnOnce(&ProtocolState) -> T) -> T {
        let seen = view(&self.protocol.state.lock());
        self.wake_leader();
        seen
    }

    /// Reports that the connection accepts no more requests.
    ///
    /// The poll that finds this out reports it too, but perhaps later. A request that the connection has refused must not ask the pool
    /// for another one before the pool knows; otherwise it is given the same connection again (`docs/decisions/0005-polling-http2-connections.md`).
    pub fn report_draining(&self) {
        self.report(&ConnectionReport { limit: None, is_draining: true });
    }

    /// Processes PING, SETTINGS and GOAWAY frames that arrived while the connection was idle. An external stream is not read.
    pub async fn process_idle_frames(&self) {
        let is_read = if self.is_job() {
            self.exchanges.load(Ordering::Acquire) > 0
        } else {
            self.leader_followers.lock().leader().is_some()
        };
        if is_read {
            // The exchange that reads the connection has processed all that has arrived.
            return;
        }
        if self.may_delegate {
            // A poll that is under way reads as well.
            if let Some(protocol) = self.protocol.state.lock_if_free() {
                self.expect_readable();
                self.drive_locked(protocol);
                self.wake_leader();
                wait_set::clear();
            }
            return;
        }
        self.expect_readable();
        std::future::poll_fn(|cx| {
            self.drive();
            self.wake_leader();
            wait_set::clear();
            self.wire.lock().stream().poll_settled(cx)
        })
        .await;
    }

    /// Makes the next poll read the socket, even if nothing has reported it readable.
    pub(super) fn expect_readable(&self) {
        if let Some(source) = &self.source {
            source.expect_readable();
        }
    }

    /// Counts bytes of a response body that were read: windows may grow.
    pub(super) fn note_read(&self, length: usize) {
        self.bytes_read.fetch_add(length as u64, Ordering::Relaxed);
    }

    /// Returns whether the connection is a job of a loop's reactor, which polls it.
    pub(super) fn is_job(&self) -> bool {
        self.connection_waker.has_reactor()
    }

    /// Returns a number that grows as long as an exchange that has sent `sent` bytes makes progress. Bytes of the connection count
    /// only if it is the only exchange: otherwise they may belong to others.
    pub(super) fn progress(&self, sent: u64) -> u64 {
        let is_alone = self.exchanges.load(Ordering::Acquire) <= 1;
        sent + if is_alone { self.wire.lock().moved() } else { 0 }
    }

    /// Polls h2 until there is nothing left to do or enough has been read, and reports what has changed.
    ///
    /// What other threads have left to this poll may be left to do after it: the caller repeats it as long as there is more
    /// ([`has_more`](Self::has_more)), or wakes the leader ([`wake_leader`](Self::wake_leader)).
    pub(super) fn drive(&self) {
        self.drive_locked(self.protocol.state.lock());
    }

    /// Does the same, unless another thread has locked the protocol. Then what there is to do is left to that thread. Returns
    /// whether it was left.
    pub(super) fn drive_or_delegate(&self) -> bool {
        // Either the lock is found free here, or the other thread finds the waker dirty when it has released the lock.
        fence(Ordering::SeqCst);
        match self.protocol.state.lock_if_free() {
            Some(protocol) => {
                self.drive_locked(protocol);
                false
            }
            None => true,
        }
    }

    fn drive_locked(&self, mut protocol: Guard<'_, ProtocolState>) {
        let mut cx = Context::from_waker(&self.waker);
        let was_open = protocol.is_open();
        self.wire.lock().refill();
        loop {
            self.connection_waker.mark_polled();
            let usage = Usage {
                exchanges: self.exchanges.load(Ordering::Acquire),
                bytes_read: self.bytes_read.load(Ordering::Relaxed),
            };
            match protocol.poll(&mut cx, &self.wire, usage, &self.connection_waker) {
                Polled::Waits if self.connection_waker.is_dirty() => {}
                // Threads look for themselves whether there is more to read.
                Polled::ReadEnough if self.is_job() => {
                    self.connection_waker.wake();
                    break;
                }
                Polled::Waits | Polled::ReadEnough | Polled::Closed => break,
            }
        }
        if was_open {
            let report = protocol.take_report(&self.protocol.sender, &self.goaway, &self.wire);
            let is_limit_new = report.limit.is_some();
            if report.is_draining {
                self.is_draining.store(true, Ordering::Release);
            }
            if is_limit_new {
                self.limit_reports.fetch_add(1, Ordering::AcqRel);
            }
            drop(protocol);
            self.report(&report);
            if is_limit_new {
                self.limit_reports.fetch_sub(1, Ordering::AcqRel);
            }
            if is_limit_new {
                self.has_reported_limit.store(true, Ordering::Release);
            }
        }
    }

    /// Reports the limit of streams that another thread has found, if it may not have reported it yet.
    ///
    /// An exchange calls this at its end: a pool that does not know the limit by then assumes that the connection has failed.
    pub(super) fn complete_reports(&self) {
        if self.limit_reports.load(Ordering::Acquire) > 0 {
            let limit = Some(self.look(ProtocolState::limit));
            self.report(&ConnectionReport { limit, is_draining: false });
        }
    }

    /// Registers what a thread waits for, whose wake-ups are left to its waker and, if it leads, to the socket.
    pub(super) fn wait_for_socket(&self, leads: bool) {
        let Some(source) = &self.source else { return };
        if !leads {
            wait_set::leave_reading_to_others(source);
            return;
        }
        // In any case: the followers rely on it, whatever the last poll of this thread has registered.
        wait_set::wait_for(source, Direction::Read);
        if self.may_delegate && self.wire.is_write_blocked() {
            // By the poll of another thread, perhaps, which has left.
            wait_set::wait_for(source, Direction::Write);
        }
    }

    /// Returns whether another poll would find something to do at once.
    pub(super) fn has_more(&self) -> bool {
        // After the protocol's lock was released: see `drive_or_delegate`.
        fence(Ordering::SeqCst);
        self.connection_waker.is_dirty() || self.wire.is_exhausted()
    }

    /// Wakes the leader, if there may be something to do that its socket does not tell.
    pub(super) fn wake_leader(&self) {
        if self.has_more() || self.wire.is_write_blocked() {
            let leader = self.leader_followers.lock().leader();
            if let Some(leader) = leader {
                leader.wake();
            }
        }
    }

    /// Tells the observer, which may act at once: no lock of the connection is held.
    fn report(&self, report: &ConnectionReport) {
        let Some(observer) = self.observer.get() else { return };
        if let Some(limit) = report.limit {
            observer.limit_changed((limit != usize::MAX).then_some(limit));
        }
        if report.is_draining {
            observer.retired();
        }
    }

    /// Returns the error of an exchange whose stream has failed with `error`.
    pub(super) fn explain(&self, error: &h2::Error) -> Error {
        let origin = &self.origin;
        let reason = error.reason().map(|reason| format!("{reason:?} ({reason})")).unwrap_or_default();
        if error.is_io() {
            let fault = self.wire.lock().fault();
            return match (fault, self.goaway.get()) {
                (Some(fault), _) => fault,
                (None, Some(goaway)) => Error::remote(format!("{origin} closed the connection: {goaway}")),
                (None, None) => Error::disconnected(),
            };
        }
        let message = match (error.is_reset(), error.is_remote()) {
            (true, true) => format!("{origin} reset the stream: {reason}"),
            (true, false) => format!("{origin} violated HTTP/2 on a stream: {reason}"),
            _ if error.is_go_away() && error.is_remote() => {
                let goaway = self.goaway.get().map_or(&reason, |goaway| goaway);
                format!("{origin} closed the connection: {goaway}")
            }
            _ if error.is_go_away() => format!("{origin} violated HTTP/2: {reason}"),
            _ => return Error::local(format!("HTTP/2 to {origin}: {error}")),
        };
        Error::remote(message)
    }
}

impl Job for Http2 {
    fn run(self: Arc<Self>) {
        self.connection_waker.mark_running();
        if self.protocol.is_current() {
            self.drive();
            if !self.is_job() {
                // A thread has taken a step of TLS for the others too.
                self.wake_leader();
            }
        }
    }

    /// With several exchanges, what they have to send goes out together.
    fn is_urgent(&self) -> bool {
        self.exchanges.load(Ordering::Acquire) <= 1
    }
}
