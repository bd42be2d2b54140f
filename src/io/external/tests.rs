//! External streams without a stream: the tests reply to the effects in its place.

use std::sync::Arc;
use std::task::Waker;

use super::*;
use crate::operation::StreamOwner;
use crate::testing::ExternalStub;

struct Fixture {
    owner: Arc<StreamOwner>,
    io: ExternalIo,
    effects: EffectChannel,
    pending: PendingIo,
}

impl Fixture {
    fn new(is_for_threads: bool) -> Self {
        let owner = StreamOwner::pool();
        let stream = ExternalStub { is_async: !is_for_threads, ..ExternalStub::default() };
        let handle = ExternalHandle::new(Arc::new(stream), &owner);
        let (io, effects, pending) = (ExternalIo::new(handle), EffectChannel::default(), PendingIo::Nothing);
        Self { owner, io, effects, pending }
    }

    fn read(&mut self) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = [0; 4];
        let mut buf = ReadBuf::new(&mut bytes);
        let poll = Pin::new(&mut self.io).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        poll.map_ok(|()| buf.filled().to_vec())
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
    }

    fn request(&mut self) -> Option<Effect> {
        self.io.request(&self.effects, &mut self.pending, None, None);
        self.effects.take()
    }

    fn asked_read(&mut self) -> Reply<Bytes> {
        assert!(self.read().is_pending());
        match self.request() {
            Some(Effect::Read { max_bytes: READ, reply, .. }) => reply,
            _ => panic!("a read is wanted"),
        }
    }

    fn asked_write(&mut self, expected: &[u8]) -> Reply<()> {
        assert!(self.write(expected).is_pending());
        match self.request() {
            Some(Effect::Write { bytes, reply, .. }) if bytes == expected => reply,
            _ => panic!("a write is wanted"),
        }
    }

    fn take_reply(&mut self) -> Option<Error> {
        self.io.take_reply(&mut self.pending)
    }

    fn abandon(&mut self) {
        self.io.abandon(std::mem::take(&mut self.pending));
    }
}

fn error_of<T: std::fmt::Debug>(poll: Poll<io::Result<T>>) -> String {
    match poll {
        Poll::Ready(Err(error)) => error.to_string(),
        other => panic!("an error, not {other:?}"),
    }
}

fn bytes(poll: Poll<io::Result<Vec<u8>>>) -> Vec<u8> {
    match poll {
        Poll::Ready(Ok(bytes)) => bytes,
        other => panic!("bytes, not {other:?}"),
    }
}

#[test]
fn a_read_is_requested_when_the_protocol_wants_it() {
    let mut fixture = Fixture::new(false);
    assert!(fixture.request().is_none(), "nothing is wanted yet");
    let reply = fixture.asked_read();
    assert!(fixture.read().is_pending());
    assert!(!fixture.io.is_anything_wanted() && fixture.request().is_none(), "one read at a time");
    assert!(fixture.take_reply().is_none() && !fixture.pending.is_nothing());

    reply.set(Ok(Bytes::from_static(b"abcdef")));
    assert!(fixture.take_reply().is_none() && fixture.pending.is_nothing());
    assert_eq!(bytes(fixture.read()), b"abcd");
    assert_eq!(bytes(fixture.read()), b"ef", "the rest needs no other read");
    assert_eq!(fixture.io.moved(), 6);
    assert!(fixture.read().is_pending() && fixture.io.is_anything_wanted());
}

#[test]
fn an_empty_read_is_the_end_of_the_stream() {
    let mut fixture = Fixture::new(false);
    fixture.asked_read().set(Ok(Bytes::new()));
    assert!(fixture.take_reply().is_none());
    for _ in 0..2 {
        assert_eq!(bytes(fixture.read()), b"");
    }
    assert!(fixture.request().is_none());
}

#[test]
fn bytes_that_are_put_back_come_first() {
    let mut fixture = Fixture::new(false);
    fixture.io.unread(Bytes::from_static(b"ab"));
    assert_eq!(bytes(fixture.read()), b"ab");
    assert!(fixture.read().is_pending());
}

#[test]
fn a_read_that_fails_fails_one_poll() {
    let mut fixture = Fixture::new(false);
    fixture.asked_read().set(Err(Error::new(Kind::ReadError, "reset")));
    assert!(fixture.take_reply().is_none());
    assert_eq!(error_of(fixture.read()), "reset");
    assert!(fixture.read().is_pending());
}

#[test]
fn a_read_that_took_too_long_concerns_its_exchange_alone() {
    let mut fixture = Fixture::new(false);
    fixture.asked_read().set(Err(Error::new(Kind::ReadTimeout, "too long")));
    assert_eq!(fixture.take_reply().map(|error| error.kind()), Some(Kind::ReadTimeout));
    fixture.asked_read().set(Ok(Bytes::from_static(b"late")));
    assert!(fixture.take_reply().is_none());
    assert_eq!(bytes(fixture.read()), b"late");
}

#[test]
fn a_write_is_sent_as_it_was_when_it_was_wanted() {
    let mut fixture = Fixture::new(false);
    let reply = fixture.asked_write(b"abc");
    assert!(fixture.io.is_writing() && !fixture.io.is_write_wanted());
    assert!(fixture.write(b"abcdef").is_pending(), "more has come behind the same bytes");
    reply.set(Ok(()));
    assert!(fixture.take_reply().is_none() && !fixture.io.is_writing());
    assert!(matches!(fixture.write(b"abcdef"), Poll::Ready(Ok(3))));
    assert_eq!(fixture.io.moved(), 3);
    drop(fixture.asked_write(b"def"));
}

#[test]
fn a_write_is_requested_before_a_read() {
    let mut fixture = Fixture::new(false);
    assert!(fixture.read().is_pending());
    fixture.asked_write(b"abc").set(Ok(()));
    assert!(fixture.io.is_anything_wanted(), "another exchange may request the read");
    assert!(fixture.take_reply().is_none());
    assert!(matches!(fixture.request(), Some(Effect::Read { .. })));
}

#[test]
fn a_cancelled_read_has_read_nothing() {
    for (is_for_threads, begins, fails) in
        [(false, false, false), (false, true, false), (true, false, false), (true, true, true)]
    {
        let mut fixture = Fixture::new(is_for_threads);
        let reply = fixture.asked_read();
        if begins {
            reply.begin();
        }
        fixture.abandon();
        if fails {
            assert_eq!(error_of(fixture.read()), "a request was interrupted while it read");
        } else {
            drop(fixture.asked_read());
        }
    }
}

#[test]
fn nothing_follows_a_cancelled_write() {
    let mut fixture = Fixture::new(false);
    drop(fixture.asked_write(b"abc"));
    fixture.abandon();
    assert!(!fixture.io.is_writing());
    assert_eq!(error_of(fixture.write(b"abc")), "a request was cancelled while its bytes were being written");
}

#[test]
fn only_the_stream_of_a_thread_can_be_used_further_down_the_stack() {
    for is_for_threads in [true, false] {
        let mut fixture = Fixture::new(is_for_threads);
        assert!(!fixture.io.is_used_here());
        drop(fixture.asked_write(b"abc"));
        assert_eq!(fixture.io.is_used_here(), is_for_threads);
        let io = &fixture.io;
        std::thread::scope(|scope| scope.spawn(|| assert!(!io.is_used_here(), "by another thread")).join())
            .expect("the assertion of the thread");
    }
}

#[test]
fn dropping_leaves_the_stream_to_its_owner() {
    let Fixture { owner, io, .. } = Fixture::new(false);
    drop(io);
    assert_eq!(owner.take(true).streams.len(), 1);
}

#[test]
fn a_stream_that_has_become_part_of_another_is_not_closed() {
    let Fixture { owner, io, .. } = Fixture::new(false);
    io.release();
    assert!(owner.take(true).is_empty());
}
