//! h2's state of a connection, which one thread polls at a time, behind one lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};

use super::keep_alive::{KeepAlive, Pinger};
use super::waker::ConnectionWaker;
use super::windows::{self, Windows};
use super::wire::Http2WireHandle;
use crate::error::{Error, Kind, Result};
use crate::io::parker::PostponedWakes;
use crate::lock::{Rank, RankedMutex};
use crate::origin::Origin;

/// The limit of a response's header list, in bytes: the same as for HTTP/1.1.
const MAX_HEADER_LIST: u32 = 100 * 1024;
/// h2's limit of concurrent streams until the peer has sent its own: a number that no peer can send.
const UNKNOWN_LIMIT: usize = usize::MAX - 1;
/// Streams that were reset and are remembered for a second: frames that still arrive for them are ignored. A frame for any other
/// closed stream is answered with one more reset.
const REMEMBERED_RESETS: usize = 1024;
/// Frames that an idle connection may receive in [`IDLE_PERIOD`]. The rest of a cancelled response is a few hundred.
const MAX_IDLE_FRAMES: u32 = 10_000;
const IDLE_PERIOD: Duration = Duration::from_secs(10);

pub type H2Connection = h2::client::Connection<Http2WireHandle, Bytes>;

/// h2's two handles on a connection.
pub struct Protocol {
    // Dropped first: it ends the streams.
    pub state: RankedMutex<ProtocolState>,
    pub sender: RankedMutex<SendRequest<Bytes>>,
}

pub struct ProtocolState {
    lifecycle: Lifecycle,
    pinger: Option<Pinger>,
    windows: Windows,
    idle_frames: IdleFrames,
    /// The limit of concurrent streams that was found last.
    limit: usize,
}

/// The life of a connection.
enum Lifecycle {
    /// It accepts requests.
    Open(H2Connection),
    /// It accepts no more requests. Those that it has may end.
    Draining(H2Connection),
    Closed,
}

impl Lifecycle {
    fn connection(&mut self) -> Option<&mut H2Connection> {
        match self {
            Self::Open(connection) | Self::Draining(connection) => Some(connection),
            Self::Closed => None,
        }
    }

    fn mark_draining(&mut self) {
        *self = match std::mem::replace(self, Self::Closed) {
            Self::Open(connection) => Self::Draining(connection),
            other => other,
        };
    }
}

/// The outcome of one poll of h2.
pub enum Polled {
    /// As much was read as one go allows; there may be more.
    ReadEnough,
    /// h2 waits for the wire, or for its waker.
    Waits,
    Closed,
}

/// The present use of the connection by its exchanges.
#[derive(Clone, Copy)]
pub struct Usage {
    /// Exchanges that are under way.
    pub exchanges: usize,
    /// Bytes of all response bodies that were read so far.
    pub bytes_read: u64,
}

/// Changes that the pool has to know.
#[derive(Default)]
pub struct ConnectionReport {
    /// The new limit of concurrent streams.
    pub limit: Option<usize>,
    /// The connection accepts no more requests.
    pub is_draining: bool,
}

impl Protocol {
    /// Opens a connection. Its first frames stay in the wire's preamble.
    pub fn open(wire: &Http2WireHandle, origin: &Origin, keep_alive: Option<KeepAlive>) -> Result<Self> {
        let mut builder = Builder::new();
        builder
            .initial_window_size(windows::SMALLEST)
            .initial_connection_window_size(windows::CONNECTION)
            .data_frame_budget(windows::SMALL_FRAMES)
            .max_header_list_size(MAX_HEADER_LIST)
            .initial_max_send_streams(UNKNOWN_LIMIT)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            // A peer may keep sending for a stream that was reset long ago: the reset has not reached it yet.
            .max_local_error_reset_streams(None)
            .enable_push(false);
        let mut handshake = std::pin::pin!(builder.handshake(wire.clone()));
        let (sender, mut connection) = match handshake.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(handshake)) => handshake,
            Poll::Ready(Err(error)) => return Err(Error::new(Kind::ConnectError, format!("{origin}: {error}"))),
            Poll::Pending => {
                return Err(Error::new(Kind::Internal, "h2 waits although its stream accepts every write"));
            }
        };
        let pinger = keep_alive.and_then(|keep_alive| Some(Pinger::new(keep_alive, connection.ping_pong()?)));
        let state = ProtocolState {
            lifecycle: Lifecycle::Open(connection),
            pinger,
            windows: Windows::new(),
            idle_frames: IdleFrames::default(),
            limit: UNKNOWN_LIMIT,
        };
        Ok(Self {
            state: RankedMutex::new(Rank::Http2Protocol, state),
            sender: RankedMutex::new(Rank::Http2Sender, sender),
        })
    }
}

impl ProtocolState {
    /// Returns whether the connection accepts requests.
    pub fn is_open(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Open(_))
    }

    /// Returns the limit of concurrent streams that was found last.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Polls h2 once.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Http2WireHandle,
        usage: Usage,
        waker: &ConnectionWaker,
    ) -> Polled {
        let Some(connection) = self.lifecycle.connection() else { return Polled::Closed };
        self.windows.adjust(connection, usage);
        let postponed = (!waker.has_reactor()).then(PostponedWakes::begin);
        let poll = Pin::new(connection).poll(cx);
        let is_alive = match &mut self.pinger {
            Some(pinger) => pinger.poll(cx, wire, waker.reactor().as_ref()),
            None => true,
        };
        // What is left then waits in the wire, which wakes the connection when the stream accepts more.
        let _: Poll<_> = wire.lock().poll_send(cx);
        drop(postponed);
        if poll.is_ready() || !is_alive {
            // Dropping h2's connection ends all streams: h2 does not tell them of every error.
            self.lifecycle = Lifecycle::Closed;
            return Polled::Closed;
        }
        let (frames, is_exhausted) = {
            let mut wire = wire.lock();
            (wire.take_frames(), wire.is_exhausted())
        };
        if usage.exchanges == 0 && frames > 0 && self.idle_frames.are_too_many(frames) {
            wire.lock().fail(Kind::RemoteProtocolError, |origin| format!("{origin} floods a connection that is idle"));
            self.lifecycle = Lifecycle::Closed;
            return Polled::Closed;
        }
        if is_exhausted { Polled::ReadEnough } else { Polled::Waits }
    }

    /// Looks for what the pool has to be told, on a connection that was open before it was polled.
    pub fn take_report(
        &mut self,
        sender: &RankedMutex<SendRequest<Bytes>>,
        goaway: &OnceLock<String>,
        wire: &Http2WireHandle,
    ) -> ConnectionReport {
        let mut sender = sender.lock();
        let poll = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(Err(error)) = &poll
            && !error.is_io()
        {
            // Set once: the first GOAWAY has the reason.
            let name = error.reason().map(|reason| format!("GOAWAY {reason:?}: ")).unwrap_or_default();
            let _ = goaway.set(format!("{name}{error}"));
        }
        let is_refused = matches!(poll, Poll::Ready(Err(_)));
        if is_refused || self.lifecycle.connection().is_none() || wire.lock().has_write_failed() {
            self.lifecycle.mark_draining();
        }
        let limit = sender.current_max_send_streams();
        let is_new = limit != self.limit;
        self.limit = limit;
        ConnectionReport { limit: is_new.then_some(limit), is_draining: !self.is_open() }
    }
}

/// Counts the frames that arrive while there is no exchange: few of them are of use, and each costs time.
#[derive(Default)]
struct IdleFrames {
    since: Option<Instant>,
    count: u32,
}

impl IdleFrames {
    /// Counts `frames` more, and returns whether they are too many for the time.
    fn are_too_many(&mut self, frames: u32) -> bool {
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since) > IDLE_PERIOD) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(frames);
        self.count > MAX_IDLE_FRAMES
    }
}
