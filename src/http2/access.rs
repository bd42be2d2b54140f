//! How exchanges get the connection polled: by a loop's reactor, or by themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::connection::Http2;
use super::leader_followers::WaitRegistration;
use crate::error::Error;
use crate::io::wait_set;
use crate::lock::lock;
use crate::operation::EffectChannel;

/// An exchange's way to the connection.
pub struct ExchangeIo {
    pub connection: Arc<Http2>,
    registration: WaitRegistration,
    /// A stream of the caller's gave nothing for as long as the exchange waits.
    pub timed_out: Option<Error>,
    /// The exchange has something to send that waits for room.
    pub waits_for_stream: bool,
    /// The exchange takes what was read before it reads more, which else would pile up.
    pub polls_before_io: bool,
}

/// The part in a connection of a thread that waits for room on it: it takes its turn at reading, for what makes room may be said
/// by the peer while nobody else reads.
pub struct StreamWaiter(ExchangeIo);

impl StreamWaiter {
    /// `None` if there is nothing to read for a thread: it is a loop's connection, or over a stream of the caller's, which only
    /// exchanges ask.
    pub fn new(connection: &Arc<Http2>) -> Option<Self> {
        let is_for_threads = !connection.is_external && !connection.is_job();
        is_for_threads.then(|| Self(ExchangeIo::new(connection)))
    }

    /// Returns whether it is on this connection.
    pub fn is_on(&self, connection: &Arc<Http2>) -> bool {
        Arc::ptr_eq(&self.0.connection, connection)
    }

    /// Moves the connection as far as it can be, and notes what the thread has to wait for. Returns whether there is anything
    /// left to wait for.
    pub fn poll(&mut self, cx: &mut Context<'_>, effects: &EffectChannel) -> bool {
        let Self(io) = self;
        let is_over = io.connection.is_over();
        if !is_over {
            let _: Poll<()> = io.poll(cx, effects, None, None, |_| Poll::Pending);
        }
        !is_over
    }
}

impl ExchangeIo {
    pub fn new(connection: &Arc<Http2>) -> Self {
        Self {
            connection: Arc::clone(connection),
            registration: WaitRegistration::default(),
            timed_out: None,
            waits_for_stream: false,
            polls_before_io: false,
        }
    }

    /// Polls with the connection moved as far as it can be.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        effects: &EffectChannel,
        read: Option<Duration>,
        write: Option<Duration>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.connection.is_job() {
            return step(cx);
        }
        let connection = Arc::clone(&self.connection);
        self.hear();
        let mut polls_before_io = self.polls_before_io && !connection.is_external;
        loop {
            if !polls_before_io {
                connection.drive();
                if self.writes_for_others(effects, write) {
                    return Poll::Pending;
                }
            }
            if let Poll::Ready(ready) = step(cx) {
                if connection.connection_waker.is_dirty.load(Ordering::Acquire) {
                    connection.drive();
                }
                self.leave();
                // What TLS holds back wakes nobody who sleeps on the socket.
                self.connection.wake_leader();
                return Poll::Ready(ready);
            }
            if !std::mem::take(&mut polls_before_io) && !connection.has_more() {
                break;
            }
        }
        self.wait(cx, effects, read, write);
        Poll::Pending
    }

    /// Sends what there is to send over a stream of the caller's, and reads nothing. Whether nothing is left, or somebody else
    /// writes.
    pub fn write_out(&mut self, effects: &EffectChannel, timeout: Duration) -> bool {
        let connection = Arc::clone(&self.connection);
        if !self.hear() {
            return false;
        }
        connection.drive();
        let mut wire = connection.wire.lock();
        if let Some(stream) = wire.stream().external()
            && stream.is_write_wanted()
        {
            stream.ask(effects, &mut self.registration.asked, None, Some(timeout));
            lock(&connection.leader_followers).set_busy(&mut self.registration);
            return false;
        }
        drop(wire);
        self.leave();
        true
    }

    /// Takes the answer to what it has asked of a stream of the caller's. Whether it waits for none any more.
    fn hear(&mut self) -> bool {
        if !self.registration.asked.is_nothing()
            && let Some(stream) = self.connection.wire.lock().stream().external()
        {
            self.timed_out = stream.hear(&mut self.registration.asked);
        }
        self.registration.asked.is_nothing()
    }

    /// Asks for a write that nobody else can ask for: the others are in the middle of something, and what is to go out may be
    /// theirs. The exchange may have what it came for, and leave for good.
    fn writes_for_others(&mut self, effects: &EffectChannel, write: Option<Duration>) -> bool {
        let connection = &self.connection;
        let is_alone = connection.exchanges.load(Ordering::Acquire) <= 1;
        if !connection.is_external || is_alone || !self.registration.asked.is_nothing() {
            return false;
        }
        let mut wire = connection.wire.lock();
        let Some(stream) = wire.stream().external() else { return false };
        let mut leader_followers = lock(&connection.leader_followers);
        if !stream.is_write_wanted() || leader_followers.has_followers() {
            return false;
        }
        stream.ask(effects, &mut self.registration.asked, None, write);
        leader_followers.set_busy(&mut self.registration);
        true
    }

    /// Sees to it that somebody reads what the exchange waits for.
    fn wait(&mut self, cx: &Context<'_>, effects: &EffectChannel, read: Option<Duration>, write: Option<Duration>) {
        let connection = &self.connection;
        let mut wire = connection.wire.lock();
        let Some(stream) = wire.stream().external() else {
            let leads = lock(&connection.leader_followers).sleep(&mut self.registration, cx.waker());
            match wire.stream().socket() {
                // Whatever the last poll came to: this is what the others rely on.
                Some(socket) if leads => socket.wait_to_read(cx),
                Some(socket) => socket.leave_reading_to_others(),
                None => {}
            }
            wait_set::waits_for_waker();
            return;
        };
        if self.registration.asked.is_nothing() && stream.is_used_here() {
            wait_set::waits_for_itself();
            return;
        }
        // What is being written may open its stream, and so give it room: in the middle of a read it would not hear of that.
        if !(self.waits_for_stream && stream.is_writing()) {
            stream.ask(effects, &mut self.registration.asked, read, write);
        }
        let is_more_wanted = stream.is_anything_wanted();
        drop(wire);
        let mut leader_followers = lock(&connection.leader_followers);
        if self.registration.asked.is_nothing() {
            leader_followers.follow(&mut self.registration, cx.waker());
            wait_set::waits_for_waker();
            return;
        }
        // Busy with the stream it hears of nothing else: whatever there is to do besides falls to those who wait.
        leader_followers.set_busy(&mut self.registration);
        let other = if is_more_wanted { leader_followers.pass_on() } else { None };
        drop(leader_followers);
        if let Some(other) = other {
            other.wake();
        }
    }

    /// The exchange waits no longer: what it did for the others falls to one of them.
    fn leave(&mut self) {
        let connection = &self.connection;
        if let Some(stream) = connection.wire.lock().stream().external() {
            stream.abandon(std::mem::take(&mut self.registration.asked));
        }
        let successor = {
            let mut leader_followers = lock(&connection.leader_followers);
            let successor = leader_followers.leave(&mut self.registration);
            if connection.is_external { successor.or_else(|| leader_followers.pass_on()) } else { successor }
        };
        if let Some(successor) = successor {
            successor.wake();
        }
    }
}

impl Drop for ExchangeIo {
    fn drop(&mut self) {
        if self.connection.generation.is_current() && !self.connection.is_job() {
            self.leave();
        }
    }
}
