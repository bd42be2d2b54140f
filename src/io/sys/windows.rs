//! Windows: WSAPoll for threads, and for event loops mio, which polls sockets by way of the driver AFD and a completion port.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::windows::io::{AsRawSocket, AsSocket, FromRawSocket, IntoRawSocket, RawSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockAddr, Socket};
use windows_sys::Win32::Networking::WinSock::{IPPROTO_TCP, SOCKET_ERROR, TCP_MAXRT, send, setsockopt};

use super::{Direction, EVENTS_PER_TURN, Interests, NOTIFY, OptionValue, Readiness, WakePair};
use crate::lock::{Rank, RankedMutex, lock};

pub type RawDescriptor = RawSocket;

pub const MUST_ARM: bool = true;
pub const SHUTDOWN_ENDS_POLLS: bool = false;
/// WSAPoll does it since Windows 10, version 2004. Windows Server 2019 is older.
pub const POLLS_REPORT_FAILED_CONNECTS: bool = false;

/// The longest sleep that waits for a connect, whose failure may not be reported.
const LONGEST_CONNECT_POLL: Duration = Duration::from_millis(250);

/// Windows has no signal for a closed peer.
pub const SEND_FLAGS: i32 = 0;

pub fn descriptor(socket: &Socket) -> RawDescriptor {
    socket.as_raw_socket()
}

pub fn into_descriptor(socket: Socket) -> RawDescriptor {
    socket.into_raw_socket()
}

/// Python has no Unix sockets on Windows.
pub fn path_of(_: &SockAddr) -> Option<&Path> {
    None
}

/// Returns whether a non-blocking connect that ended with this error goes on in the background.
pub fn is_connecting(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

pub const HAS_INTERFACES: bool = false;

pub fn bind_to_interface(_: &Socket, _: &str, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn set_option(socket: &Socket, level: i32, name: i32, value: &OptionValue) -> io::Result<()> {
    let (value, length) = match value {
        OptionValue::Integer(value) => (std::ptr::from_ref(value).cast(), size_of::<i32>()),
        OptionValue::Bytes(value) => (value.as_ptr(), value.len()),
        OptionValue::Null(length) => (std::ptr::null(), *length as usize),
    };
    let length = i32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `value` points to `length` readable bytes that outlive the call, or is null, which Winsock refuses with WSAEFAULT where
    // an option needs a value. The socket is open: it is borrowed.
    let result = unsafe { setsockopt(native(socket.as_raw_socket()), level, name, value, length) };
    if result == SOCKET_ERROR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub const HAS_USER_TIMEOUT: bool = true;

/// Ends the connection if data that was sent is not acknowledged within a time, in whole seconds.
pub fn set_user_timeout(socket: &Socket, limit: Duration) -> io::Result<()> {
    let seconds = i32::try_from(limit.as_secs()).unwrap_or(i32::MAX).max(1);
    set_option(socket, IPPROTO_TCP, TCP_MAXRT, &OptionValue::Integer(seconds))
}

/// Writes the numbers of signals to the socket that a program has set for them.
pub fn write_signals(descriptor: i64, signals: &[u8]) {
    let length = i32::try_from(signals.len()).unwrap_or(i32::MAX);
    // SAFETY: the pointer and the length are those of a slice. A socket that the program has closed is an error, as is the descriptor
    // of a file.
    let _ = unsafe { send(native(descriptor.cast_unsigned()), signals.as_ptr(), length, 0) };
}

#[expect(clippy::cast_possible_truncation, reason = "a handle that was widened to 64 bits")]
fn native(socket: RawSocket) -> usize {
    socket as usize
}

/// The ends of a [`WakePair`]: two connected sockets, since WSAPoll takes nothing else.
pub type WakeReader = TcpStream;
pub type WakeWriter = TcpStream;

pub fn wake_ends() -> io::Result<(WakeReader, WakeWriter)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let writer = TcpStream::connect(listener.local_addr()?)?;
    let address = writer.local_addr()?;
    // Any program on this machine may have connected before.
    let reader = loop {
        let (reader, peer) = listener.accept()?;
        if peer == address {
            break reader;
        }
    };
    writer.set_nodelay(true)?;
    // Signal handlers write to it as well: a full buffer must not block them.
    writer.set_nonblocking(true)?;
    reader.set_nonblocking(true)?;
    Ok((reader, writer))
}

pub fn reader_descriptor(reader: &WakeReader) -> RawDescriptor {
    reader.as_raw_socket()
}

pub fn writer_number(writer: &WakeWriter) -> i64 {
    writer.as_raw_socket().cast_signed()
}

/// The sockets of one event loop, and the wake-up of the loop by other threads.
///
/// What the poller reports is collected by a thread of its own, by way of a [`PollerWaiter`], until the event loop takes it. The wait of
/// that thread ends with [`Poller::end_wait`].
pub struct Poller {
    state: Arc<PollerState>,
    registry: Registry,
}

/// The part of a poller that its thread holds.
struct PollerState {
    poll: RankedMutex<(Poll, Events)>,
    notify: mio::Waker,
    collected: Mutex<Vec<(usize, Readiness)>>,
    /// The loop has been told to take a turn, and has not begun it.
    is_turn_due: AtomicBool,
    has_ended: AtomicBool,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let state = PollerState {
            notify: mio::Waker::new(&registry, NOTIFY)?,
            poll: RankedMutex::new(Rank::Poller, (poll, Events::with_capacity(EVENTS_PER_TURN))),
            collected: Mutex::default(),
            is_turn_due: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        };
        Ok(Self { state: Arc::new(state), registry })
    }

    /// Returns the wait for the poller, for a thread.
    pub fn waiter(&self) -> PollerWaiter {
        PollerWaiter(Arc::clone(&self.state))
    }

    /// Takes what the thread has collected. `set_ready` gets the key of each socket, which may be that of a socket that has left the
    /// poller since.
    #[expect(clippy::unnecessary_wraps, reason = "it can fail on Unix")]
    pub fn collect(&self, mut set_ready: impl FnMut(usize, Readiness)) -> io::Result<()> {
        // Before what is collected is taken: what comes later needs another turn.
        self.state.is_turn_due.store(false, Ordering::SeqCst);
        let collected = std::mem::take(&mut *lock(&self.state.collected));
        for (key, readiness) in collected {
            set_ready(key, readiness);
        }
        Ok(())
    }

    /// Has the loop take a turn, from any thread.
    pub fn notify(&self) {
        // It fails only if the system is out of memory.
        let _ = self.state.notify.wake();
    }

    /// Ends the thread's wait for good, from any thread.
    pub fn end_wait(&self) {
        self.state.has_ended.store(true, Ordering::SeqCst);
        self.notify();
    }
}

/// The wait for a poller. Used by one thread, which has the event loop take a turn after each wait.
pub struct PollerWaiter(Arc<PollerState>);

impl PollerWaiter {
    /// Sleeps until the loop is to take a turn. Returns `false` once the wait has been ended.
    pub fn wait(&self) -> io::Result<bool> {
        let mut guard = self.0.poll.lock();
        let (poll, events) = &mut *guard;
        loop {
            if self.0.has_ended.load(Ordering::SeqCst) {
                return Ok(false);
            }
            match poll.poll(events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let of_sockets = events.iter().filter(|event| event.token() != NOTIFY);
            lock(&self.0.collected).extend(of_sockets.map(|event| (event.token().0, Readiness::of(event))));
            if !events.is_empty() && !self.0.is_turn_due.swap(true, Ordering::SeqCst) {
                return Ok(!self.0.has_ended.load(Ordering::SeqCst));
            }
        }
    }
}

/// A socket that a poller watches. Dropping it leaves the socket open.
pub struct Watch(Mutex<Option<mio::net::TcpStream>>);

impl Watch {
    pub fn new(poller: &Poller, socket: &Socket, key: usize) -> io::Result<Self> {
        // SAFETY: the socket is open, and stays so for longer than its watch, which gives it back with `into_raw_socket`. mio does
        // nothing with it but poll it.
        let stream = unsafe { mio::net::TcpStream::from_raw_socket(socket.as_raw_socket()) };
        let watch = Self(Mutex::new(Some(stream)));
        if let Some(stream) = &mut *lock(&watch.0) {
            poller.registry.register(stream, Token(key), Interest::READABLE)?;
        }
        Ok(watch)
    }

    /// Has the poller report the next readiness in these directions, at once if the socket is ready now.
    pub fn arm(&self, poller: &Poller, key: usize, interests: Interests) -> io::Result<()> {
        let interest = match interests {
            Interests { read: true, write: true } => Interest::READABLE | Interest::WRITABLE,
            Interests { write: true, .. } => Interest::WRITABLE,
            Interests { .. } => Interest::READABLE,
        };
        match &mut *lock(&self.0) {
            Some(stream) => stream.reregister(&poller.registry, Token(key), interest),
            None => Ok(()),
        }
    }

    /// Takes a socket that is still open out of the poller.
    #[expect(clippy::unused_self, reason = "on Unix it does something: here the drop does it")]
    pub fn end(&self, _: &Poller) {}
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(stream) = lock(&self.0).take() {
            // Ends the watch, and does not close the socket.
            let _ = stream.into_raw_socket();
        }
    }
}

/// The sockets of one sleep in WSAPoll.
pub struct PollSet<'a> {
    sockets: Vec<PollFd<'a>>,
    waits_to_write: bool,
}

impl<'a> PollSet<'a> {
    pub fn with_capacity(capacity: usize) -> Self {
        Self { sockets: Vec::with_capacity(capacity), waits_to_write: false }
    }

    pub fn add_socket(&mut self, socket: &'a Socket, direction: Direction) {
        let flags = match direction {
            Direction::Read => PollFlags::IN,
            Direction::Write => PollFlags::OUT,
        };
        self.waits_to_write |= direction == Direction::Write;
        self.sockets.push(PollFd::from_borrowed_fd(socket.as_socket(), flags));
    }

    pub fn add_wake_pair(&mut self, wake_pair: &'a WakePair) {
        self.sockets.push(PollFd::from_borrowed_fd(wake_pair.reader.as_socket(), PollFlags::IN));
    }

    /// Sleeps until one of them is ready or `timeout` has passed; ends early where a connect may have failed without a report.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = match timeout {
            Some(timeout) if !self.waits_to_write => Some(timeout),
            Some(timeout) => Some(timeout.min(LONGEST_CONNECT_POLL)),
            None => self.waits_to_write.then_some(LONGEST_CONNECT_POLL),
        };
        if self.sockets.is_empty() {
            // An error of WSAPoll.
            std::thread::sleep(timeout.unwrap_or(LONGEST_CONNECT_POLL));
        } else {
            poll(&mut self.sockets, timeout.map(timespec).as_ref())?;
        }
        Ok(true)
    }

    /// Returns what the last sleep found, in the order in which they were added.
    pub fn readiness(&self, index: usize) -> Readiness {
        let events = self.sockets.get(index).map_or(PollFlags::empty(), PollFd::revents);
        let closed = events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        // `IN` has two bits here, of which one is set.
        Readiness {
            readable: events.intersects(PollFlags::IN) || closed,
            writable: events.intersects(PollFlags::OUT) || closed,
            read_closed: closed,
        }
    }
}

/// Rounds up to the next millisecond, the resolution of WSAPoll: a sleep never ends early, which would make its caller spin. It may
/// end earlier than asked after `i32::MAX` milliseconds, the longest that WSAPoll takes.
fn timespec(duration: Duration) -> Timespec {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
    Timespec { tv_sec: (millis / 1000).into(), tv_nsec: ((millis % 1000) * 1_000_000).into() }
}
