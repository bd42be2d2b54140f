//! A connection: its state, what polls it, and how it fares.

use std::io;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};

use super::keep_alive::{KeepAlive, Pinger};
use super::leader_followers::LeaderFollowers;
use super::windows::{self, Windows};
use super::wire::Http2WireHandle;
use crate::error::{Error, Kind, Result};
use crate::fork::Generation;
use crate::io::reactor::{Job, Reactor};
use crate::io::stream::Stream;
use crate::io::wait_set;
use crate::lock::{Rank, RankedMutex, lock};
use crate::origin::Origin;

/// As for HTTP/1.1, in bytes.
const MAX_HEADER_LIST: u32 = 100 * 1024;
/// What h2 believes until the peer has said how many requests it takes: nothing that a peer can say.
const UNKNOWN_LIMIT: usize = usize::MAX - 1;
/// Frames that may come in this time while there is no exchange. The rest of a response that was given up is a few hundred.
const MAX_IDLE_FRAMES: u32 = 10_000;
const IDLE_PERIOD: Duration = Duration::from_secs(10);

/// Streams that were reset and are remembered for a second: what still comes for them is ignored. What comes for others is answered
/// with one more reset.
const REMEMBERED_RESETS: usize = 1024;

/// A connection that speaks HTTP/2.
pub struct Http2 {
    pub(super) origin: Arc<Origin>,
    pub(super) wire: Http2WireHandle,
    /// Whether it is over a stream of the caller's.
    pub(super) is_external: bool,
    // Both are left as they are in a forked child: h2 has locks that a thread of the parent may have held at the fork.
    pub(super) sender: ManuallyDrop<RankedMutex<SendRequest<Bytes>>>,
    protocol: ManuallyDrop<RankedMutex<ProtocolState>>,
    pub(super) connection_waker: Arc<ConnectionWaker>,
    waker: Waker,
    pub(super) leader_followers: Mutex<LeaderFollowers>,
    /// Exchanges that are under way.
    pub(super) exchanges: AtomicUsize,
    /// Bytes of all responses that were read.
    read: AtomicU64,
    /// Whether it has been reported that it was opened.
    pub(super) is_reported: AtomicBool,
    /// Whether the owner of an external stream has been left a reset to send.
    pub(super) has_deferred_reset: AtomicBool,
    observer: OnceLock<Box<dyn ConnectionObserver>>,
    /// Why the peer takes no more requests, in its words.
    goaway: OnceLock<String>,
    pub(super) generation: Generation,
}

/// h2's side of the connection.
struct ProtocolState {
    /// `None` once it has ended.
    connection: Option<h2::client::Connection<Http2WireHandle, Bytes>>,
    pinger: Option<Pinger>,
    windows: Windows,
    flood: Flood,
    limit: usize,
    is_retired: bool,
}

/// What is told how a connection fares. No lock of the connection is held then.
pub trait ConnectionObserver: Send + Sync {
    /// The peer takes `limit` requests at a time; `None` if it sets no limit.
    fn limit_changed(&self, limit: Option<usize>);

    /// The connection takes no more requests.
    fn retired(&self);
}

impl Http2 {
    /// Speaks HTTP/2 on a stream. Takes no I/O: what opens the connection goes out with the first request.
    pub fn new(stream: Stream, origin: Arc<Origin>, keep_alive: Option<KeepAlive>) -> Result<Arc<Self>> {
        let is_external = matches!(stream, Stream::External(_));
        let wire = Http2WireHandle::new(stream, Arc::clone(&origin));
        let mut builder = Builder::new();
        builder
            .initial_window_size(windows::SMALLEST)
            .initial_connection_window_size(windows::CONNECTION)
            .data_frame_budget(windows::SMALL_FRAMES)
            .max_header_list_size(MAX_HEADER_LIST)
            .initial_max_send_streams(UNKNOWN_LIMIT)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            // A peer may go on sending for a stream that was reset long ago: it has not heard of it yet.
            .max_local_error_reset_streams(None)
            .enable_push(false);
        let mut handshake = std::pin::pin!(builder.handshake(wire.clone()));
        let handshake = handshake.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let (sender, mut connection) = match handshake {
            Poll::Ready(Ok(handshake)) => handshake,
            Poll::Ready(Err(error)) => return Err(Error::new(Kind::ConnectError, format!("{origin}: {error}"))),
            Poll::Pending => return Err(Error::new(Kind::Internal, "h2 waited for a stream that never lets wait")),
        };
        wire.lock().open();
        let pinger = keep_alive.and_then(|keep_alive| Some(Pinger::new(keep_alive, connection.ping_pong()?)));
        let protocol = ProtocolState {
            connection: Some(connection),
            pinger,
            windows: Windows::new(),
            flood: Flood::default(),
            limit: UNKNOWN_LIMIT,
            is_retired: false,
        };
        Ok(Arc::new_cyclic(|me: &Weak<Self>| {
            let connection_waker = Arc::new(ConnectionWaker { connection: me.clone(), ..ConnectionWaker::default() });
            let owner: Weak<dyn Job> = me.clone();
            wire.lock().stream().set_owner(&owner);
            Self {
                origin,
                wire,
                is_external,
                sender: ManuallyDrop::new(RankedMutex::new(Rank::Http2Sender, sender)),
                protocol: ManuallyDrop::new(RankedMutex::new(Rank::Http2Protocol, protocol)),
                waker: Waker::from(Arc::clone(&connection_waker)),
                connection_waker,
                leader_followers: Mutex::default(),
                exchanges: AtomicUsize::new(0),
                read: AtomicU64::new(0),
                is_reported: AtomicBool::new(false),
                has_deferred_reset: AtomicBool::new(false),
                observer: OnceLock::new(),
                goaway: OnceLock::new(),
                generation: Generation::current(),
            }
        }))
    }

    /// Sets what is told from now on how the connection fares.
    pub fn observe(&self, observer: Box<dyn ConnectionObserver>) {
        // Set once, when the connection is put into its place.
        let _ = self.observer.set(observer);
    }

    pub fn wire(&self) -> &Http2WireHandle {
        &self.wire
    }

    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Moves an idle connection to the loop that is going to use it.
    pub fn attach(&self, reactor: Option<&Arc<Reactor>>) -> io::Result<()> {
        let mut wire = self.wire.lock();
        wire.stream().attach(reactor)?;
        let has_job = reactor.is_some() && wire.stream().external().is_none();
        drop(wire);
        self.connection_waker.set_reactor(reactor.filter(|_| has_job));
        // h2 wakes nobody before it was polled.
        ConnectionWaker::wake(&self.connection_waker);
        Ok(())
    }

    /// Whether operations of a loop (0: of threads) can use the connection: its stream is ours, or an external one of theirs.
    pub fn is_usable_by(&self, id: u64) -> bool {
        !self.is_external
            || self.wire.lock().stream().external().is_none_or(|stream| stream.handle().owner().serves(id))
    }

    /// Whether it can take requests, for all that has arrived until now.
    pub async fn is_usable(&self) -> bool {
        let is_read = if self.is_job() {
            self.exchanges.load(Ordering::Acquire) > 0
        } else {
            lock(&self.leader_followers).leader().is_some()
        };
        if is_read {
            // The exchange that reads the connection has seen all that has arrived.
            return !self.is_over();
        }
        {
            let mut wire = self.wire.lock();
            if let Some(socket) = wire.stream().socket() {
                socket.expect_readable();
            }
        }
        // Pings, settings and goodbyes that came while nothing was read. Nothing is asked of a stream of the caller's.
        std::future::poll_fn(|cx| {
            self.drive();
            wait_set::clear();
            self.wire.lock().stream().poll_settled(cx)
        })
        .await;
        !self.is_over()
    }

    /// Whether it takes no more requests. Then the pool knows, too: whoever learned it first may not have told it yet.
    pub fn is_over(&self) -> bool {
        let is_over = {
            let protocol = self.protocol.lock();
            protocol.connection.is_none() || protocol.is_retired
        };
        if is_over {
            self.report(None, true);
        }
        is_over
    }

    /// So many bytes of a response were read: windows may grow.
    pub(super) fn note_read(&self, length: usize) {
        self.read.fetch_add(length as u64, Ordering::Relaxed);
    }

    /// Whether a loop's reactor polls it.
    pub(super) fn is_job(&self) -> bool {
        self.connection_waker.has_reactor.load(Ordering::Acquire)
    }

    /// How far an exchange has come that has sent so many bytes: grows as long as it moves. What moves for others on the same
    /// connection is no sign of that.
    pub(super) fn progress(&self, sent: u64) -> u64 {
        let is_alone = self.exchanges.load(Ordering::Acquire) <= 1;
        sent + if is_alone { self.wire.lock().moved() } else { 0 }
    }

    /// Polls the connection until there is nothing left to do, or it has read for long enough.
    pub(super) fn drive(&self) {
        let mut cx = Context::from_waker(&self.waker);
        let (limit, is_retired) = {
            let mut protocol = self.protocol.lock();
            let protocol = &mut *protocol;
            self.wire.lock().refill();
            loop {
                self.connection_waker.is_dirty.store(false, Ordering::Release);
                let Some(connection) = &mut protocol.connection else { break };
                let exchanges = self.exchanges.load(Ordering::Acquire);
                protocol.windows.adjust(connection, exchanges, self.read.load(Ordering::Relaxed));
                let poll = Pin::new(connection).poll(&mut cx);
                let alive = match &mut protocol.pinger {
                    Some(pinger) => pinger.poll(&mut cx, &self.wire, self.connection_waker.reactor().as_ref()),
                    None => true,
                };
                if poll.is_ready() || !alive {
                    // Dropping it ends all streams: h2 does not tell them of every error.
                    protocol.connection = None;
                    break;
                }
                let mut wire = self.wire.lock();
                let frames = wire.take_frames();
                if exchanges == 0 && frames > 0 && protocol.flood.is_too_much(frames) {
                    wire.fail(Kind::RemoteProtocolError, |origin| format!("{origin} floods a connection that is idle"));
                    protocol.connection = None;
                    break;
                }
                let is_exhausted = wire.is_exhausted();
                drop(wire);
                if is_exhausted || !self.connection_waker.is_dirty.load(Ordering::Acquire) {
                    // Threads see for themselves that there is more to read.
                    if is_exhausted && self.is_job() {
                        ConnectionWaker::wake(&self.connection_waker);
                    }
                    break;
                }
            }
            protocol.changes(&self.sender, &self.goaway, &self.wire)
        };
        self.report(limit, is_retired);
    }

    /// Whether another poll would find something to do at once.
    pub(super) fn has_more(&self) -> bool {
        self.connection_waker.is_dirty.load(Ordering::Acquire) || self.wire.lock().is_exhausted()
    }

    /// Wakes whoever sleeps on the socket, if there may be something to do that the socket does not tell.
    pub(super) fn wake_leader(&self) {
        if self.has_more() || self.wire.lock().is_write_blocked() {
            let leader = lock(&self.leader_followers).leader();
            if let Some(leader) = leader {
                leader.wake();
            }
        }
    }

    /// Tells the pool, which may act on it at once: no lock of the connection is held.
    fn report(&self, limit: Option<usize>, is_retired: bool) {
        let Some(observer) = self.observer.get() else { return };
        if let Some(limit) = limit {
            observer.limit_changed((limit != usize::MAX).then_some(limit));
        }
        if is_retired {
            observer.retired();
        }
    }

    /// What a stream's error means. `None` from h2: the stream ended without one.
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

impl ProtocolState {
    /// What there is to tell the pool: a new limit, and that there will be no more requests.
    fn changes(
        &mut self,
        sender: &RankedMutex<SendRequest<Bytes>>,
        goaway: &OnceLock<String>,
        wire: &Http2WireHandle,
    ) -> (Option<usize>, bool) {
        if self.is_retired {
            return (None, false);
        }
        let mut sender = sender.lock();
        if let Poll::Ready(Err(error)) = sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            if !error.is_io() {
                // Set by the first goodbye, which says why.
                let name = error.reason().map(|reason| format!("GOAWAY {reason:?}: ")).unwrap_or_default();
                let _ = goaway.set(format!("{name}{error}"));
            }
            self.is_retired = true;
        }
        self.is_retired |= self.connection.is_none() || wire.lock().has_write_failed();
        let limit = sender.current_max_send_streams();
        let new_limit = (limit != self.limit).then_some(limit);
        self.limit = limit;
        (new_limit, self.is_retired)
    }
}

/// Frames that come while there is no exchange. None of them is of much use, and each costs time.
#[derive(Default)]
struct Flood {
    since: Option<Instant>,
    frames: u32,
}

impl Flood {
    fn is_too_much(&mut self, frames: u32) -> bool {
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since) > IDLE_PERIOD) {
            *self = Self { since: Some(now), frames: 0 };
        }
        self.frames = self.frames.saturating_add(frames);
        self.frames > MAX_IDLE_FRAMES
    }
}

impl Job for Http2 {
    fn run(self: Arc<Self>) {
        self.connection_waker.is_scheduled.store(false, Ordering::Release);
        if self.generation.is_current() {
            self.drive();
            if !self.is_job() {
                // After a step of TLS that a thread has taken for the others, too.
                self.wake_leader();
            }
        }
    }

    /// With several exchanges at a time, what they have to send goes out together.
    fn is_urgent(&self) -> bool {
        self.exchanges.load(Ordering::Acquire) <= 1
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        if !self.generation.is_current() {
            return;
        }
        // SAFETY: neither is used after this, `drop` runs once, and `self` is not used any more by anybody else.
        unsafe {
            ManuallyDrop::drop(&mut self.protocol);
            ManuallyDrop::drop(&mut self.sender);
        }
    }
}

/// h2's waker: what it wakes is the connection, whoever polls it.
#[derive(Default)]
pub(super) struct ConnectionWaker {
    connection: Weak<Http2>,
    pub(super) is_dirty: AtomicBool,
    is_scheduled: AtomicBool,
    has_reactor: AtomicBool,
    reactor: Mutex<Weak<Reactor>>,
}

impl ConnectionWaker {
    fn set_reactor(&self, reactor: Option<&Arc<Reactor>>) {
        *lock(&self.reactor) = reactor.map(Arc::downgrade).unwrap_or_default();
        self.has_reactor.store(reactor.is_some(), Ordering::Release);
        // Where it was scheduled nobody may be left to run it.
        self.is_scheduled.store(false, Ordering::Release);
    }

    fn reactor(&self) -> Option<Arc<Reactor>> {
        if self.has_reactor.load(Ordering::Acquire) { lock(&self.reactor).upgrade() } else { None }
    }

    fn wake(&self) {
        self.is_dirty.store(true, Ordering::Release);
        if !self.has_reactor.load(Ordering::Acquire) || self.is_scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        if let (Some(reactor), Some(connection)) = (self.reactor(), self.connection.upgrade()) {
            reactor.schedule(connection);
        }
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        Self::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Self::wake(self);
    }
}
