//! A socket with its readiness: what its stream shares with the reactor, with a sleeping thread and with the pool.
//!
//! A flag is set when the kernel says that the socket is ready, and cleared when a call says that it is not. Only the stream clears
//! flags; the reactor and sleeping threads set them, and wake what waits for them. Dropping the last handle closes the descriptor.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;

pub use super::sys::Direction;
use super::sys::{self, Interests, RawDescriptor, Readiness};
use crate::fork::Generation;
use crate::lock::lock;

pub(super) const READABLE: u8 = 1;
pub(super) const WRITABLE: u8 = 2;
/// The peer has closed its side: reads never block again.
pub(super) const READ_CLOSED: u8 = 4;

/// A socket, its readiness, and the wakers of what waits for it: at most one for each direction.
pub struct Source {
    socket: socket2::Socket,
    flags: AtomicU8,
    wakers: Mutex<Wakers>,
    generation: Generation,
}

#[derive(Default)]
struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
}

impl Wakers {
    fn slot(&mut self, direction: Direction) -> &mut Option<Waker> {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl Source {
    /// Returns a source whose readiness is not known yet, of a socket that has been made non-blocking.
    pub(super) fn new(socket: socket2::Socket) -> Self {
        Self { socket, flags: AtomicU8::new(0), wakers: Mutex::default(), generation: Generation::current() }
    }

    pub(super) fn socket(&self) -> &socket2::Socket {
        &self.socket
    }

    /// Returns the number by which Python and the poller know the socket.
    pub fn descriptor(&self) -> RawDescriptor {
        sys::descriptor(&self.socket)
    }

    /// Records what the kernel said, and wakes what waits for it.
    pub fn set_ready(&self, readiness: Readiness) {
        let mut flags = 0;
        if readiness.readable {
            flags |= READABLE;
        }
        if readiness.writable {
            flags |= WRITABLE;
        }
        if readiness.read_closed {
            flags |= READABLE | READ_CLOSED;
        }
        self.set(flags);
        let (reader, writer) = {
            let mut wakers = lock(&self.wakers);
            (
                if flags & READABLE != 0 { wakers.read.take() } else { None },
                if flags & WRITABLE != 0 { wakers.write.take() } else { None },
            )
        };
        for waker in [reader, writer].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Wakes everything that waits: the socket is gone.
    pub(super) fn wake_all(&self) {
        let Wakers { read, write } = std::mem::take(&mut *lock(&self.wakers));
        for waker in [read, write].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Sets what is woken when the socket is ready, in place of what was set before for this direction. Returns the directions that
    /// something waits for now.
    pub(super) fn register(&self, direction: Direction, waker: &Waker) -> Interests {
        let mut wakers = lock(&self.wakers);
        let slot = wakers.slot(direction);
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
        Interests { read: wakers.read.is_some(), write: wakers.write.is_some() }
    }

    /// Takes that back.
    pub(super) fn unregister(&self, direction: Direction) {
        let waker = lock(&self.wakers).slot(direction).take();
        drop(waker);
    }

    /// Returns whether one of these flags is set.
    pub(super) fn is(&self, flags: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flags != 0
    }

    pub(super) fn set(&self, flags: u8) {
        self.flags.fetch_or(flags, Ordering::AcqRel);
    }

    pub(super) fn clear(&self, flags: u8) {
        self.flags.fetch_and(!flags, Ordering::AcqRel);
    }

    /// Returns whether this process made the socket, and not one that it was forked from.
    pub fn is_current(&self) -> bool {
        self.generation.is_current()
    }

    /// Makes the next read ask the kernel, even if the socket counts as drained.
    pub fn expect_readable(&self) {
        self.set(READABLE);
    }

    /// Ends both directions: everything that waits for this socket wakes up and finds it closed. A forked child does nothing: the
    /// stream is also its parent's.
    pub fn shutdown(&self) {
        if !self.generation.is_current() {
            return;
        }
        // The only error says that the socket is not connected: there is nothing to end.
        let _ = self.socket.shutdown(Shutdown::Both);
        if !sys::SHUTDOWN_ENDS_POLLS {
            self.set_ready(Readiness { readable: true, writable: true, read_closed: true });
        }
    }

    /// Asks the kernel, and returns whether a read would return at once: with data, end of stream or an error.
    pub fn is_readable(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match self.socket.peek(&mut byte) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}
