//! Running a future of the engine on the calling thread.
//!
//! [`advance`] is one poll and what it has come to; each driver of a thread repeats it and decides how to wait in between. The
//! driver in Python releases the interpreter, looks for signals, and leaves the waiting to greenlets where sockets are patched.
//! [`block_on`] is the driver without Python: it sleeps until there is something to do, and has a callback answer effects.

use std::task::Poll;

use super::parker::Parker;
use super::wait_set::{self, WaitSet};
use crate::error::Error;
use crate::operation::{Effect, EffectChannel};

/// The text for a wait that would never end.
const WAITS_FOR_ITSELF: &str = "the connection cannot be used now: this thread is in the middle of using it, and was interrupted by \
    a signal handler or a finalizer";

/// The outcome of one poll.
pub enum Progress<T> {
    Ready(T),
    /// A traced operation was interrupted where nothing reports it.
    Interrupted(Error),
    /// There is work of the driver's own to be done before another poll.
    Due,
    Effect(Effect),
    /// The future can never become ready.
    Stuck(Error),
    /// There is nothing to do until one of these has happened.
    Waits(WaitSet),
}

/// Polls once. `parker` is the waker that `poll` uses, and nothing that an earlier poll waited for is left. `is_due` says whether
/// the poll has left work to the driver.
pub fn advance<T>(
    parker: &Parker,
    effects: &EffectChannel,
    poll: impl FnOnce() -> Poll<T>,
    is_due: impl FnOnce() -> bool,
) -> Progress<T> {
    wait_set::clear();
    parker.reset();
    if let Poll::Ready(output) = poll() {
        return Progress::Ready(output);
    }
    if let Some(interruption) = effects.take_interruption() {
        return Progress::Interrupted(interruption);
    }
    // First: what a body's iterator waits for may depend on what was sent before.
    if is_due() {
        return Progress::Due;
    }
    if let Some(effect) = effects.take() {
        return Progress::Effect(effect);
    }
    // Taken before any handler runs: a handler may send requests of its own.
    let wait_set = wait_set::take();
    if wait_set.waits_for_itself { Progress::Stuck(Error::local(WAITS_FOR_ITSELF)) } else { Progress::Waits(wait_set) }
}

#[cfg(test)]
pub use self::without_python::block_on;
#[cfg(any(test, fuzzing))]
pub use self::without_python::drive;

#[cfg(any(test, fuzzing))]
mod without_python {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use super::*;
    use crate::error::Result;

    /// Runs `future` to its end on the calling thread. `answer` carries out its effects.
    ///
    /// The error of the outer result is one of the driver: `poll(2)` failed, the future waits for itself.
    #[cfg(test)]
    pub fn block_on<F: Future>(future: F, effects: &EffectChannel, answer: impl FnMut(Effect)) -> Result<F::Output> {
        drive(future, effects, answer, |parker, wait_set| parker.sleep(wait_set, false).map(drop))
    }

    /// Runs `future` as [`block_on`] does, with `wait` in the place of the sleep between two polls. It may play the peer there.
    pub fn drive<F: Future>(
        future: F,
        effects: &EffectChannel,
        mut answer: impl FnMut(Effect),
        mut wait: impl FnMut(&Parker, WaitSet) -> Result<()>,
    ) -> Result<F::Output> {
        let mut future = pin!(future);
        let parker = Arc::<Parker>::default();
        let waker = Waker::from(Arc::clone(&parker));
        let mut cx = Context::from_waker(&waker);
        loop {
            match advance(&parker, effects, || future.as_mut().poll(&mut cx), || false) {
                Progress::Ready(output) => {
                    wait_set::clear();
                    return Ok(output);
                }
                Progress::Effect(effect) => answer(effect),
                Progress::Waits(wait_set) => wait(&parker, wait_set)?,
                Progress::Interrupted(error) | Progress::Stuck(error) => return Err(error),
                Progress::Due => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::Waker;
    use std::thread;
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncRead, ReadBuf};

    use super::*;
    use crate::io::socket::Socket;
    use crate::io::source::Direction;
    use crate::io::wait_set::{sleep_until, timeout_at};
    use crate::lock::lock;

    fn no_effects(_: Effect) {
        panic!("there is nothing to ask");
    }

    fn pair() -> (Socket, UnixStream) {
        let (ours, peer) = UnixStream::pair().expect("a socket pair");
        ours.set_nonblocking(true).expect("a non-blocking socket");
        (Socket::new(socket2::Socket::from(std::os::fd::OwnedFd::from(ours)), None).expect("a socket"), peer)
    }

    async fn read(socket: &mut Socket) -> Vec<u8> {
        let mut bytes = [0; 64];
        let mut buf = ReadBuf::new(&mut bytes);
        std::future::poll_fn(|cx| Pin::new(&mut *socket).poll_read(cx, &mut buf)).await.expect("a read");
        buf.filled().to_vec()
    }

    #[test]
    fn the_thread_sleeps_until_its_socket_is_readable() {
        let (mut socket, mut peer) = pair();
        let peer = thread::spawn(move || {
            for message in [b"one", b"two"] {
                thread::sleep(Duration::from_millis(10));
                peer.write_all(message).expect("a write");
            }
            let mut rest = Vec::new();
            peer.read_to_end(&mut rest).expect("the end of the stream");
        });
        let effects = EffectChannel::default();
        let mut waits = 0;
        let reading = async { [read(&mut socket).await, read(&mut socket).await] };
        let received = drive(reading, &effects, no_effects, |parker, wait_set| {
            waits += 1;
            parker.sleep(wait_set, false).map(drop)
        });
        assert_eq!(received.expect("both messages"), [b"one", b"two"]);
        assert!((1..=4).contains(&waits), "a sleep for each message, not a busy loop: {waits}");
        drop(socket);
        peer.join().expect("the peer ends");
    }

    #[test]
    fn a_deadline_ends_the_wait_for_a_socket() {
        let (mut socket, _peer) = pair();
        let deadline = Instant::now() + Duration::from_millis(20);
        let reading = timeout_at(Some(deadline), read(&mut socket));
        let result = block_on(reading, &EffectChannel::default(), no_effects).expect("no error of the driver");
        assert!(result.is_err() && Instant::now() >= deadline);
        block_on(sleep_until(Instant::now()), &EffectChannel::default(), no_effects).expect("no error of the driver");
    }

    #[test]
    fn another_thread_wakes_the_future() {
        let shared = Arc::<Mutex<(bool, Option<Waker>)>>::default();
        let other = Arc::clone(&shared);
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            let waker = {
                let mut shared = lock(&other);
                shared.0 = true;
                shared.1.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        let (socket, _peer) = pair();
        for with_socket in [true, false] {
            let waiting = std::future::poll_fn(|cx| {
                let mut shared = lock(&shared);
                shared.1 = Some(cx.waker().clone());
                if with_socket {
                    wait_set::wait_for(socket.source(), Direction::Read);
                    wait_set::waits_for_waker();
                }
                if shared.0 { Poll::Ready(()) } else { Poll::Pending }
            });
            block_on(waiting, &EffectChannel::default(), no_effects).expect("no error of the driver");
        }
        other.join().expect("the other thread ends");
    }

    #[test]
    fn effects_are_answered_between_two_polls() {
        let effects = EffectChannel::default();
        let asking = async {
            let addresses = effects.resolve("example.com", 80, None).await?;
            effects.yield_now().await?;
            Ok::<_, Error>(addresses)
        };
        let mut asked = Vec::new();
        let result = block_on(asking, &effects, |effect| match effect {
            Effect::Resolve { host, port, reply, .. } => {
                asked.push(format!("{host}:{port}"));
                reply.set(Ok(vec![([127, 0, 0, 1], port).into()]));
            }
            Effect::Yield(reply) => {
                asked.push("yield".to_owned());
                reply.set(Ok(()));
            }
            _ => panic!("nothing else was asked for"),
        });
        assert_eq!(result.expect("no error of the driver").expect("an address"), [([127, 0, 0, 1], 80).into()]);
        assert_eq!(asked, ["example.com:80", "yield"]);
    }

    #[test]
    fn a_future_that_waits_for_itself_ends_with_an_error() {
        let waiting = std::future::poll_fn(|_| {
            wait_set::waits_for_itself();
            Poll::<()>::Pending
        });
        let error = block_on(waiting, &EffectChannel::default(), no_effects).expect_err("it would wait for ever");
        assert!(error.message().contains("cannot be used now"), "{}", error.message());
    }
}
