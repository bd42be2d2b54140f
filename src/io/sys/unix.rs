//! Linux, macOS and the BSDs.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use std::path::Path;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{SockAddr, Socket};

use super::{Direction, EVENTS_PER_TURN, Interests, NOTIFY, OptionValue, Readiness, WakePair};
use crate::error::OsError;
use crate::lock::{Rank, RankedMutex};

pub const MUST_ARM: bool = false;
pub const SHUTDOWN_ENDS_POLLS: bool = true;
pub const POLLS_REPORT_FAILED_CONNECTS: bool = true;

pub type RawDescriptor = RawFd;

/// A write to a socket that the peer has closed must not raise `SIGPIPE` in the user's process.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;
/// On these systems socket2 sets `SO_NOSIGPIPE` when it makes the socket.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub const SEND_FLAGS: i32 = 0;

pub fn descriptor(socket: &Socket) -> RawDescriptor {
    socket.as_raw_fd()
}

pub fn into_descriptor(socket: Socket) -> RawDescriptor {
    socket.into_raw_fd()
}

pub fn path_of(address: &SockAddr) -> Option<&Path> {
    address.as_pathname()
}

/// Writes the numbers of signals to the descriptor that a program has set for them.
pub fn write_signals(descriptor: i64, signals: &[u8]) {
    let Ok(descriptor) = RawFd::try_from(descriptor) else { return };
    // SAFETY: the pointer and the length are those of a slice. A descriptor that the program has closed is an error.
    let _ = unsafe { libc::write(descriptor, signals.as_ptr().cast(), signals.len()) };
}

/// Returns whether a non-blocking connect that ended with this error goes on in the background.
pub fn is_connecting(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
        || error.kind() == io::ErrorKind::WouldBlock
        || error.kind() == io::ErrorKind::Interrupted
}

pub const HAS_INTERFACES: bool = cfg!(any(target_os = "linux", target_os = "macos"));

/// Binds a socket to a network interface. The error says what failed: that of a connect follows without this.
pub fn bind_to_interface(socket: &Socket, interface: &str, is_ipv4: bool) -> io::Result<()> {
    bind_by_name(socket, interface, is_ipv4).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => ": this needs the capability CAP_NET_RAW, or Linux 5.7",
            _ => "",
        };
        let text = format!("binding to the interface {interface:?} failed: {}{hint}", OsError(&error));
        io::Error::new(error.kind(), text)
    })
}

#[cfg(target_os = "linux")]
fn bind_by_name(socket: &Socket, interface: &str, _: bool) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(target_os = "macos")]
fn bind_by_name(socket: &Socket, interface: &str, is_ipv4: bool) -> io::Result<()> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: the name ends with a NUL and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let index = std::num::NonZeroU32::new(index).ok_or_else(io::Error::last_os_error)?;
    if is_ipv4 { socket.bind_device_by_index_v4(Some(index)) } else { socket.bind_device_by_index_v6(Some(index)) }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn bind_by_name(_: &Socket, _: &str, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn set_option(socket: &Socket, level: i32, name: i32, value: &OptionValue) -> io::Result<()> {
    let (value, length) = match value {
        OptionValue::Integer(value) => (std::ptr::from_ref(value).cast(), size_of::<i32>()),
        OptionValue::Bytes(value) => (value.as_ptr().cast(), value.len()),
        OptionValue::Null(length) => (std::ptr::null(), *length as usize),
    };
    let length = libc::socklen_t::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `value` points to `length` readable bytes that outlive the call, or is null, which the kernel refuses with
    // EFAULT where an option needs a value. The descriptor is open: `socket` is borrowed.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub const HAS_USER_TIMEOUT: bool = cfg!(any(target_os = "linux", target_os = "android", target_vendor = "apple"));

/// Ends the connection if data that was sent is not acknowledged within a time (RFC 5482).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn set_user_timeout(socket: &Socket, limit: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(limit))
}

/// Ends the connection if data that was sent is not acknowledged within a time, in whole seconds.
#[cfg(target_vendor = "apple")]
pub fn set_user_timeout(socket: &Socket, limit: Duration) -> io::Result<()> {
    /// `TCP_RXT_CONNDROPTIME` of `netinet/tcp.h`.
    const LIMIT: i32 = 0x80;

    let seconds = i32::try_from(limit.as_secs()).unwrap_or(i32::MAX).max(1);
    set_option(socket, libc::IPPROTO_TCP, LIMIT, &OptionValue::Integer(seconds))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub fn set_user_timeout(_: &Socket, _: Duration) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The ends of a [`WakePair`]: those of a pipe.
pub type WakeReader = PipeReader;
pub type WakeWriter = PipeWriter;

pub fn wake_ends() -> io::Result<(WakeReader, WakeWriter)> {
    let (reader, writer) = io::pipe()?;
    // Signal handlers write to it as well: a full pipe must not block them.
    rustix::io::ioctl_fionbio(&writer, true)?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer))
}

pub fn reader_descriptor(reader: &WakeReader) -> RawDescriptor {
    reader.as_raw_fd()
}

pub fn writer_number(writer: &WakeWriter) -> i64 {
    writer.as_raw_fd().into()
}

/// The sockets of one event loop (`epoll`, `kqueue`), and the wake-up of the loop by other threads.
pub struct Poller {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    state: PollerState,
    // A forked child does not inherit a kqueue. The number of its descriptor may be that of another file there, which a drop would
    // close.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    state: crate::fork::DropIfCurrent<PollerState>,
    descriptor: RawDescriptor,
}

struct PollerState {
    poll: RankedMutex<(Poll, Events)>,
    registry: Registry,
    notify: mio::Waker,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let descriptor = poll.as_raw_fd();
        let registry = poll.registry().try_clone()?;
        let notify = mio::Waker::new(&registry, NOTIFY)?;
        let poll = RankedMutex::new(Rank::Poller, (poll, Events::with_capacity(EVENTS_PER_TURN)));
        let state = PollerState { poll, registry, notify };
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let state = crate::fork::DropIfCurrent::new(state);
        Ok(Self { state, descriptor })
    }

    /// Returns the descriptor that is readable while there is something to collect.
    pub fn descriptor(&self) -> RawDescriptor {
        self.descriptor
    }

    /// Collects what has happened to the sockets, without blocking. `set_ready` gets the key of each of them.
    pub fn collect(&self, mut set_ready: impl FnMut(usize, Readiness)) -> io::Result<()> {
        let mut guard = self.state.poll.lock();
        let (poll, events) = &mut *guard;
        match poll.poll(events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in events.iter().filter(|event| event.token() != NOTIFY) {
            set_ready(event.token().0, Readiness::of(event));
        }
        Ok(())
    }

    /// Makes the descriptor readable, from any thread.
    pub fn notify(&self) {
        // It fails only if the poller is gone, and with it the loop that watched it.
        let _ = self.state.notify.wake();
    }
}

/// A socket that a poller watches in both directions, edge-triggered.
pub struct Watch(RawDescriptor);

impl Watch {
    pub fn new(poller: &Poller, socket: &Socket, key: usize) -> io::Result<Self> {
        let descriptor = socket.as_raw_fd();
        poller.state.registry.register(
            &mut SourceFd(&descriptor),
            Token(key),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(Self(descriptor))
    }

    /// Does nothing: see [`MUST_ARM`].
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "on Windows it does something")]
    pub fn arm(&self, _: &Poller, _: usize, _: Interests) -> io::Result<()> {
        Ok(())
    }

    /// Takes a socket that is still open out of the poller.
    pub fn end(&self, poller: &Poller) {
        // It fails only for a socket that the poller does not know.
        let _ = poller.state.registry.deregister(&mut SourceFd(&self.0));
    }
}

/// The descriptors of one sleep in `poll(2)`.
pub struct PollSet<'a>(Vec<PollFd<'a>>);

impl<'a> PollSet<'a> {
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub fn add_socket(&mut self, socket: &'a Socket, direction: Direction) {
        let flags = match direction {
            Direction::Read => PollFlags::IN,
            Direction::Write => PollFlags::OUT,
        };
        self.0.push(PollFd::from_borrowed_fd(socket.as_fd(), flags));
    }

    pub fn add_wake_pair(&mut self, wake_pair: &'a WakePair) {
        self.0.push(PollFd::from_borrowed_fd(wake_pair.reader.as_fd(), PollFlags::IN));
    }

    /// Sleeps until one of them is ready or `timeout` has passed. Returns `false` if a signal ended the sleep.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        match poll(&mut self.0, timeout.map(timespec).as_ref()) {
            Ok(_) => Ok(true),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what the last sleep found, in the order in which they were added.
    pub fn readiness(&self, index: usize) -> Readiness {
        let events = self.0.get(index).map_or(PollFlags::empty(), PollFd::revents);
        let closed = events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        Readiness {
            readable: events.contains(PollFlags::IN) || closed,
            writable: events.contains(PollFlags::OUT) || closed,
            read_closed: closed,
        }
    }
}

/// Rounds up to the next millisecond, the resolution of `poll(2)` where there is no `ppoll`: a sleep never ends early, which would
/// make its caller spin. There, more than `i32::MAX` milliseconds (24 days) are an error; the sleep may end earlier than asked.
fn timespec(duration: Duration) -> Timespec {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
    Timespec { tv_sec: (millis / 1000).into(), tv_nsec: ((millis % 1000) * 1_000_000).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Option<Duration> = Some(Duration::ZERO);

    fn pair() -> (Socket, Socket) {
        Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a pair of sockets")
    }

    fn polled(socket: &Socket, direction: Direction) -> Readiness {
        let mut set = PollSet::with_capacity(1);
        set.add_socket(socket, direction);
        assert!(set.wait(ZERO).expect("poll(2) works"));
        set.readiness(0)
    }

    #[test]
    fn each_direction_is_polled_for_itself() {
        let (here, peer) = pair();
        assert_eq!(polled(&here, Direction::Read), Readiness::default());
        assert_eq!(polled(&here, Direction::Write), Readiness { writable: true, ..Readiness::default() });
        peer.send(b"x").expect("room for a byte");
        assert_eq!(polled(&here, Direction::Read), Readiness { readable: true, ..Readiness::default() });
    }

    #[test]
    fn a_closed_peer_makes_both_directions_ready() {
        let (here, peer) = pair();
        drop(peer);
        let all = Readiness { readable: true, writable: true, read_closed: true };
        assert_eq!(polled(&here, Direction::Read), all);
        assert_eq!(polled(&here, Direction::Write), all);
    }

    #[test]
    fn an_index_without_a_descriptor_is_not_ready() {
        assert_eq!(PollSet::with_capacity(0).readiness(0), Readiness::default());
    }

    #[test]
    fn a_full_wake_pair_does_not_block() {
        let pair = WakePair::new().expect("a pipe");
        // More than a pipe holds.
        for _ in 0..100_000 {
            pair.wake();
        }
        let mut buffer = [1; 64];
        assert_eq!(pair.read(&mut buffer), 64);
        assert_eq!(buffer, [0; 64]);
    }

    #[test]
    fn timeouts_are_rounded_up_to_a_millisecond() {
        let rounded = |duration| {
            let Timespec { tv_sec, tv_nsec } = timespec(duration);
            (tv_sec, tv_nsec)
        };
        assert_eq!(rounded(Duration::ZERO), (0, 0));
        assert_eq!(rounded(Duration::from_nanos(1)), (0, 1_000_000));
        assert_eq!(rounded(Duration::from_micros(1_500_250)), (1, 501_000_000));
        assert_eq!(rounded(Duration::MAX), (2_147_483, 647_000_000));
    }

    #[test]
    fn an_option_that_the_kernel_does_not_know_is_an_error() {
        let (socket, _peer) = pair();
        let set = |name, value| set_option(&socket, libc::SOL_SOCKET, name, &value);
        set(libc::SO_KEEPALIVE, OptionValue::Integer(1)).expect("an integer");
        set(libc::SO_KEEPALIVE, OptionValue::Bytes(0_i32.to_ne_bytes().to_vec())).expect("the bytes of an integer");
        assert!(!socket.keepalive().expect("an option of sockets"));
        assert!(set(libc::SO_KEEPALIVE, OptionValue::Null(4)).is_err());
        assert!(set(-1, OptionValue::Integer(1)).is_err());
    }
}
