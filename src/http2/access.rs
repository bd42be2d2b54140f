//! An exchange's access to its connection, which is polled by a loop's reactor or by the exchange itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::connection::Http2;
use super::leader_followers::WaitRegistration;
use crate::error::Error;
use crate::io::wait_set;
use crate::operation::EffectChannel;

/// An exchange's access to its connection. Dropping it hands what the exchange did for the others to one of them.
pub struct ExchangeIo {
    pub connection: Arc<Http2>,
    registration: WaitRegistration,
    /// A read of the external stream has timed out: the error of this exchange, and of no other.
    pub timed_out: Option<Error>,
}

/// The terms of one poll of an exchange.
#[derive(Clone, Copy)]
pub struct IoRequest<'a> {
    pub effects: &'a EffectChannel,
    pub activity: Activity,
    /// The timeouts for an external stream, whose driver measures them.
    pub read_timeout: Option<Duration>,
    pub write_timeout: Option<Duration>,
}

/// The present activity of an exchange. It decides what is polled first, and what the exchange may wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It has parts of its request to send, and may wait for the peer's window.
    Sending,
    /// It waits for the peer.
    Waiting,
    /// It reads its response: what has arrived is taken before more is read, so that it does not pile up.
    Receiving,
}

/// The part of a thread that waits for a free stream in the reading of a connection: the frame that frees one (`SETTINGS`,
/// `END_STREAM`) may arrive while no other thread is reading.
pub struct StreamWaiter(ExchangeIo);

impl StreamWaiter {
    /// Returns `None` for a connection that threads do not read: that of a loop, or one over an external stream, which only its
    /// exchanges read.
    pub fn new(connection: &Arc<Http2>) -> Option<Self> {
        let is_for_threads = !connection.is_external && !connection.is_job();
        is_for_threads.then(|| Self(ExchangeIo::new(connection)))
    }

    /// Returns whether it waits for a stream of this connection.
    pub fn is_on(&self, connection: &Arc<Http2>) -> bool {
        Arc::ptr_eq(&self.0.connection, connection)
    }

    /// Polls the connection, and registers what the thread has to wait for. Returns whether the connection may have a free stream later.
    pub fn poll(&mut self, cx: &mut Context<'_>, effects: &EffectChannel) -> bool {
        let Self(io) = self;
        if !io.connection.is_open() {
            io.connection.report_draining();
            return false;
        }
        let request = IoRequest { effects, activity: Activity::Waiting, read_timeout: None, write_timeout: None };
        let _: Poll<()> = io.poll(cx, request, |_| Poll::Pending);
        true
    }
}

impl ExchangeIo {
    pub fn new(connection: &Arc<Http2>) -> Self {
        Self { connection: Arc::clone(connection), registration: WaitRegistration::default(), timed_out: None }
    }

    /// Polls `step`. Unless the connection is a job, it is polled too, and if `step` is not ready, what the exchange waits for is
    /// registered.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        request: IoRequest<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.connection.is_job() {
            return step(cx);
        }
        let connection = Arc::clone(&self.connection);
        self.take_reply();
        // A follower is woken when what it waits for has been read.
        let is_read = request.activity == Activity::Receiving || self.registration.is_follower();
        let mut steps_first = is_read && !connection.is_external;
        // An exchange that sends gives h2 more to do in `step`.
        let may_delegate = connection.may_delegate && request.activity != Activity::Sending;
        loop {
            let mut is_delegated = false;
            if !steps_first {
                // The leader reads itself: its socket was reported readable.
                if may_delegate && !self.registration.is_leader() {
                    is_delegated = connection.drive_or_delegate();
                } else {
                    connection.drive();
                }
                if self.writes_for_others(request) {
                    return Poll::Pending;
                }
            }
            if let Poll::Ready(ready) = step(cx) {
                self.end_wait(&connection);
                return Poll::Ready(ready);
            }
            if std::mem::take(&mut steps_first) || (!is_delegated && connection.has_more()) {
                continue;
            }
            // A leader looks again after its registration: until then, others found none to leave anything to.
            let leads = self.wait(cx, request);
            if !(leads && (is_delegated || connection.has_more())) {
                return Poll::Pending;
            }
        }
    }

    /// Ends the wait of an exchange whose step is ready, and sends what it may have left to send.
    fn end_wait(&mut self, connection: &Http2) {
        if connection.connection_waker.is_dirty() {
            if connection.may_delegate {
                connection.drive_or_delegate();
            } else {
                connection.drive();
            }
        }
        self.leave();
        // The leader, which sleeps on the socket, is not told of what TLS holds back, nor of what was left to this thread.
        connection.wake_leader();
    }

    /// Sends what there is to send over an external stream, and reads nothing. Returns whether nothing is left to do, or another
    /// exchange does it.
    pub fn write_out(&mut self, effects: &EffectChannel, timeout: Duration) -> bool {
        let connection = Arc::clone(&self.connection);
        if !self.take_reply() {
            return false;
        }
        connection.drive();
        let mut wire = connection.wire.lock();
        if let Some(stream) = wire.stream().external()
            && stream.is_write_wanted()
        {
            stream.request(effects, &mut self.registration.pending_io, None, Some(timeout));
            connection.leader_followers.lock().set_busy(&mut self.registration);
            return false;
        }
        drop(wire);
        self.leave();
        true
    }

    /// Passes the reply to a read or write on to the external stream. Returns whether none is pending any more.
    fn take_reply(&mut self) -> bool {
        if !self.registration.pending_io.is_nothing()
            && let Some(stream) = self.connection.wire.lock().stream().external()
        {
            self.timed_out = stream.take_reply(&mut self.registration.pending_io);
        }
        self.registration.pending_io.is_nothing()
    }

    /// Requests a write that no other exchange can request, because all of them are busy. The bytes may be theirs, and this exchange may
    /// end with this poll. Returns whether it has requested one.
    fn writes_for_others(&mut self, request: IoRequest<'_>) -> bool {
        let connection = &self.connection;
        let is_alone = connection.exchanges.load(Ordering::Acquire) <= 1;
        if !connection.is_external || is_alone || !self.registration.pending_io.is_nothing() {
            return false;
        }
        let mut wire = connection.wire.lock();
        let Some(stream) = wire.stream().external() else { return false };
        if !stream.is_write_wanted() || connection.leader_followers.lock().has_followers() {
            return false;
        }
        stream.request(request.effects, &mut self.registration.pending_io, None, request.write_timeout);
        connection.leader_followers.lock().set_busy(&mut self.registration);
        true
    }

    /// Registers what the exchange waits for, such that the connection is read meanwhile. Returns whether the exchange leads.
    fn wait(&mut self, cx: &Context<'_>, request: IoRequest<'_>) -> bool {
        if self.connection.is_external {
            self.wait_for_external(cx, request);
            return false;
        }
        let connection = &self.connection;
        let leads = connection.leader_followers.lock().sleep(&mut self.registration, cx.waker());
        connection.wait_for_socket(leads);
        wait_set::waits_for_waker();
        leads
    }

    fn wait_for_external(&mut self, cx: &Context<'_>, request: IoRequest<'_>) {
        let connection = &self.connection;
        let mut wire = connection.wire.lock();
        let Some(stream) = wire.stream().external() else { return };
        let pending_io = &mut self.registration.pending_io;
        if pending_io.is_nothing() && stream.is_used_here() {
            wait_set::waits_for_itself();
            return;
        }
        // The write that is under way may open this exchange's stream, which can send from then on. An exchange in the middle of a read
        // would not be woken by that.
        if !(request.activity == Activity::Sending && stream.is_writing()) {
            stream.request(request.effects, pending_io, request.read_timeout, request.write_timeout);
        }
        let is_more_wanted = stream.is_anything_wanted();
        drop(wire);
        let mut leader_followers = connection.leader_followers.lock();
        if pending_io.is_nothing() {
            leader_followers.follow(&mut self.registration, cx.waker());
            wait_set::waits_for_waker();
            return;
        }
        // This exchange is busy now: what else there is to read or write is left to a follower.
        leader_followers.set_busy(&mut self.registration);
        let follower = if is_more_wanted { leader_followers.take_follower() } else { None };
        drop(leader_followers);
        if let Some(follower) = follower {
            follower.wake();
        }
    }

    /// Ends the wait of the exchange: what it did for the others is left to one of them.
    fn leave(&mut self) {
        let connection = &self.connection;
        if connection.is_external
            && let Some(stream) = connection.wire.lock().stream().external()
        {
            stream.abandon(std::mem::take(&mut self.registration.pending_io));
        }
        let successor = {
            let mut leader_followers = connection.leader_followers.lock();
            let successor = leader_followers.leave(&mut self.registration);
            if connection.is_external { successor.or_else(|| leader_followers.take_follower()) } else { successor }
        };
        if let Some(successor) = successor {
            successor.wake();
        }
    }
}

impl Drop for ExchangeIo {
    fn drop(&mut self) {
        if self.connection.protocol.is_current() && !self.connection.is_job() {
            self.leave();
        }
    }
}
