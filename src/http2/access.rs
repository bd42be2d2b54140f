//! How exchanges get the connection polled: by a loop's reactor, or by themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::connection::Http2;
use super::leader_followers::Turn;
use crate::error::Error;
use crate::io::wait_set;
use crate::lock::lock;
use crate::operation::Asker;

/// An exchange's way to the connection.
pub struct Io {
    pub connection: Arc<Http2>,
    turn: Turn,
    /// A stream of the caller's gave nothing for as long as the exchange waits.
    pub timed_out: Option<Error>,
    /// The exchange has something to send that waits for room.
    pub awaits_room: bool,
    /// The exchange takes what was read before it reads more, which else would pile up.
    pub takes_first: bool,
}

/// The part in a connection of a thread that waits for room on it: it takes its turn at reading, for what makes room may be said
/// by the peer while nobody else reads.
pub struct Attendance(Io);

impl Attendance {
    /// `None` if there is nothing to read for a thread: it is a loop's connection, or over a stream of the caller's, which only
    /// exchanges ask.
    pub fn new(connection: &Arc<Http2>) -> Option<Self> {
        let is_for_threads = !connection.is_carried && !connection.is_job();
        is_for_threads.then(|| Self(Io::new(connection)))
    }

    /// Returns whether it is on this connection.
    pub fn is_on(&self, connection: &Arc<Http2>) -> bool {
        Arc::ptr_eq(&self.0.connection, connection)
    }

    /// Moves the connection as far as it can be, and notes what the thread has to wait for. Returns whether there is anything
    /// left to wait for.
    pub fn poll(&mut self, cx: &mut Context<'_>, asker: &Asker) -> bool {
        let Self(io) = self;
        let is_over = io.connection.is_over();
        if !is_over {
            let _: Poll<()> = io.poll(cx, asker, None, None, |_| Poll::Pending);
        }
        !is_over
    }
}

impl Io {
    pub fn new(connection: &Arc<Http2>) -> Self {
        Self {
            connection: Arc::clone(connection),
            turn: Turn::default(),
            timed_out: None,
            awaits_room: false,
            takes_first: false,
        }
    }

    /// Polls with the connection moved as far as it can be.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        asker: &Asker,
        read: Option<Duration>,
        write: Option<Duration>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.connection.is_job() {
            return step(cx);
        }
        let connection = Arc::clone(&self.connection);
        self.hear();
        let mut takes_first = self.takes_first && !connection.is_carried;
        loop {
            if !takes_first {
                connection.drive();
                if self.writes_for_others(asker, write) {
                    return Poll::Pending;
                }
            }
            if let Poll::Ready(ready) = step(cx) {
                if connection.pulse.is_dirty.load(Ordering::Acquire) {
                    connection.drive();
                }
                self.leave();
                // What TLS holds back wakes nobody who sleeps on the socket.
                self.connection.rouse();
                return Poll::Ready(ready);
            }
            if !std::mem::take(&mut takes_first) && !connection.has_more() {
                break;
            }
        }
        self.wait(cx, asker, read, write);
        Poll::Pending
    }

    /// Sends what there is to send over a stream of the caller's, and reads nothing. Whether nothing is left, or somebody else
    /// writes.
    pub fn write_out(&mut self, asker: &Asker, timeout: Duration) -> bool {
        let connection = Arc::clone(&self.connection);
        if !self.hear() {
            return false;
        }
        connection.drive();
        let mut wire = connection.wire.lock();
        if let Some(stream) = wire.stream().carried()
            && stream.is_write_wanted()
        {
            stream.ask(asker, &mut self.turn.asked, None, Some(timeout));
            lock(&connection.turns).set_busy(&mut self.turn);
            return false;
        }
        drop(wire);
        self.leave();
        true
    }

    /// Takes the answer to what it has asked of a stream of the caller's. Whether it waits for none any more.
    fn hear(&mut self) -> bool {
        if !self.turn.asked.is_nothing()
            && let Some(stream) = self.connection.wire.lock().stream().carried()
        {
            self.timed_out = stream.hear(&mut self.turn.asked);
        }
        self.turn.asked.is_nothing()
    }

    /// Asks for a write that nobody else can ask for: the others are in the middle of something, and what is to go out may be
    /// theirs. The exchange may have what it came for, and leave for good.
    fn writes_for_others(&mut self, asker: &Asker, write: Option<Duration>) -> bool {
        let connection = &self.connection;
        let is_alone = connection.exchanges.load(Ordering::Acquire) <= 1;
        if !connection.is_carried || is_alone || !self.turn.asked.is_nothing() {
            return false;
        }
        let mut wire = connection.wire.lock();
        let Some(stream) = wire.stream().carried() else { return false };
        let mut turns = lock(&connection.turns);
        if !stream.is_write_wanted() || turns.has_followers() {
            return false;
        }
        stream.ask(asker, &mut self.turn.asked, None, write);
        turns.set_busy(&mut self.turn);
        true
    }

    /// Sees to it that somebody reads what the exchange waits for.
    fn wait(&mut self, cx: &Context<'_>, asker: &Asker, read: Option<Duration>, write: Option<Duration>) {
        let connection = &self.connection;
        let mut wire = connection.wire.lock();
        let Some(stream) = wire.stream().carried() else {
            let leads = lock(&connection.turns).sleep(&mut self.turn, cx.waker());
            match wire.stream().socket() {
                // Whatever the last poll came to: this is what the others rely on.
                Some(socket) if leads => socket.wait_to_read(cx),
                Some(socket) => socket.leave_reading_to_others(),
                None => {}
            }
            wait_set::needs_alarm();
            return;
        };
        if self.turn.asked.is_nothing() && stream.is_used_here() {
            wait_set::waits_for_itself();
            return;
        }
        // What is being written may open its stream, and so give it room: in the middle of a read it would not hear of that.
        if !(self.awaits_room && stream.is_writing()) {
            stream.ask(asker, &mut self.turn.asked, read, write);
        }
        let is_more_wanted = stream.is_anything_wanted();
        drop(wire);
        let mut turns = lock(&connection.turns);
        if self.turn.asked.is_nothing() {
            turns.follow(&mut self.turn, cx.waker());
            wait_set::needs_alarm();
            return;
        }
        // Busy with the stream it hears of nothing else: whatever there is to do besides falls to those who wait.
        turns.set_busy(&mut self.turn);
        let other = if is_more_wanted { turns.pass_on() } else { None };
        drop(turns);
        if let Some(other) = other {
            other.wake();
        }
    }

    /// The exchange waits no longer: what it did for the others falls to one of them.
    fn leave(&mut self) {
        let connection = &self.connection;
        if let Some(stream) = connection.wire.lock().stream().carried() {
            stream.abandon(std::mem::take(&mut self.turn.asked));
        }
        let successor = {
            let mut turns = lock(&connection.turns);
            let successor = turns.leave(&mut self.turn);
            if connection.is_carried { successor.or_else(|| turns.pass_on()) } else { successor }
        };
        if let Some(successor) = successor {
            successor.wake();
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if self.connection.generation.is_current() && !self.connection.is_job() {
            self.leave();
        }
    }
}
