//! Connections of event loops: jobs of a reactor, with uploads in tasks of their own.

use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

use super::peer::{ACK, CANCEL};
use super::*;
use crate::error::Error;
use crate::io::reactor::Reactor;
use crate::operation::{Background, Effect};

/// An event loop with one task, and the tasks that this one spawns.
struct EventLoop {
    reactor: Arc<Reactor>,
    uploads: Vec<SpawnedTask>,
    /// The next chunk of the request body; no reply as long as it is pending.
    chunk: Box<dyn FnMut() -> Poll<Result<Option<Bytes>>>>,
}

struct SpawnedTask {
    task: Arc<dyn Background>,
    future: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
    effects: EffectChannel,
    pending: Option<Effect>,
}

impl EventLoop {
    fn new(chunk: impl FnMut() -> Poll<Result<Option<Bytes>>> + 'static) -> Self {
        let reactor = Arc::new(Reactor::new().expect("a poller"));
        Self { reactor, uploads: Vec::new(), chunk: Box::new(chunk) }
    }

    /// Returns a loop whose requests have no bodies.
    fn without_bodies() -> Self {
        Self::new(|| panic!("there is no body"))
    }

    /// Moves a connection to the loop.
    fn attach(&self, connection: &Arc<Http2>) {
        connection.attach(Some(&self.reactor)).expect("the socket is watched");
    }

    /// Runs a future to its end.
    fn run<F: Future>(&mut self, effects: &EffectChannel, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            match effects.take() {
                Some(effect) => self.carry_out(effect),
                None => self.turn(),
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { task, reply } => {
                let effects = EffectChannel::default();
                let future = Arc::clone(&task).run(effects.clone());
                task.cancel_with(Waker::noop().clone());
                self.uploads.push(SpawnedTask { task, future, effects, pending: None });
                reply.set(Ok(()));
            }
            Effect::NextChunk(reply) => {
                let Poll::Ready(chunk) = (self.chunk)() else { panic!("only a task can wait for its chunk") };
                reply.set(chunk);
            }
            Effect::Yield(reply) => reply.set(Ok(())),
            _ => panic!("an effect that the test has no answer to"),
        }
    }

    /// Polls the other tasks, and handles what has happened meanwhile.
    fn turn(&mut self) {
        self.reactor.run_jobs(true);
        let chunk = &mut self.chunk;
        self.uploads.retain_mut(|upload| !upload.poll(chunk));
        thread::sleep(MILLISECONDS / 2);
        self.reactor.turn().expect("the poller works");
        self.reactor.expire(std::time::Instant::now());
    }

    /// Closes a connection whose exchanges have ended, after it has sent what they left.
    fn finish(mut self, connection: Arc<Http2>, peer: Played<()>) {
        self.turn_until(|| Arc::strong_count(&connection) == 1);
        finish(connection, peer);
    }

    /// Handles what has happened, until the condition holds.
    fn turn_until(&mut self, condition: impl Fn() -> bool) {
        let begin = std::time::Instant::now();
        while !condition() {
            assert!(begin.elapsed() < Duration::from_secs(20), "the condition holds in time");
            self.turn();
        }
    }
}

impl SpawnedTask {
    /// Polls the task; returns whether it has ended.
    fn poll(&mut self, chunk: &mut dyn FnMut() -> Poll<Result<Option<Bytes>>>) -> bool {
        loop {
            if let Some(effect) = self.pending.take() {
                let Effect::NextChunk(reply) = effect else { panic!("uploads need chunks alone") };
                match chunk() {
                    Poll::Ready(Ok(chunk)) => reply.set(Ok(chunk)),
                    Poll::Ready(Err(error)) => {
                        self.task.fail(error);
                        return true;
                    }
                    Poll::Pending => {
                        self.pending = Some(Effect::NextChunk(reply));
                        return false;
                    }
                }
            }
            if self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                return true;
            }
            self.pending = self.effects.take();
            if self.pending.is_none() {
                return false;
            }
        }
    }
}

fn streamed() -> Request {
    request("POST", "/", &[("Transfer-Encoding", "chunked")], Content::Streamed)
}

async fn read_body(body: &mut Http2Body, effects: &EffectChannel) -> Result<Bytes> {
    let mut content = BytesMut::new();
    while let Some(chunk) = poll_fn(|cx| body.poll_chunk(cx, None, effects)).await? {
        content.extend_from_slice(&chunk);
    }
    Ok(content.freeze())
}

async fn exchange_of_task(connection: &Arc<Http2>, effects: &EffectChannel) -> Result<Bytes> {
    let Http2Response { mut body, .. } = connection.send(&get(), effects).await.map_err(|failure| failure.error)?;
    read_body(&mut body, effects).await
}

#[test]
fn a_loop_polls_its_connection() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let first = peer.expect_request();
        let second = peer.expect_request();
        peer.respond(second, "second");
        peer.respond(first, vec![b'x'; 16_000]);
    });
    let mut event_loop = EventLoop::without_bodies();
    event_loop.attach(&connection);
    let effects = EffectChannel::default();
    let mut tasks =
        [Box::pin(exchange_of_task(&connection, &effects)), Box::pin(exchange_of_task(&connection, &effects))];
    let mut outputs = [None, None];
    let all = poll_fn(|cx| {
        for (task, output) in tasks.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(result) = task.as_mut().poll(cx) {
                *output = Some(result.expect("a response"));
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    });
    event_loop.run(&effects, all);
    drop(tasks);
    let [first, second] = outputs.map(Option::unwrap_or_default);
    assert_eq!((first.len(), second), (16_000, "second".into()));
    event_loop.finish(connection, peer);
}

#[test]
fn a_loop_answers_while_no_exchange_waits() {
    let (answered, is_answered) = mpsc::channel();
    let (connection, peer) = connect(move |peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.respond(stream, "first");
        peer.send(kind::PING, 0, 0, b"whatever");
        assert_eq!(peer.next().flags, ACK);
        answered.send(()).expect("the loop turns");
        peer.goaway(stream, super::peer::NO_ERROR, "");
    });
    let mut event_loop = EventLoop::without_bodies();
    event_loop.attach(&connection);
    let reports = Reports::of(&connection);
    let effects = EffectChannel::default();
    drop(event_loop.run(&effects, connection.send(&get(), &effects)).expect("a head"));
    let is_answered = std::cell::RefCell::new(is_answered);
    event_loop.turn_until(|| is_answered.borrow().try_recv().is_ok());
    event_loop.turn_until(|| !connection.is_open());
    assert!(reports.all().contains(&"retired".to_owned()));
    event_loop.run(&effects, connection.process_idle_frames());
    event_loop.finish(connection, peer);
}

/// The iterator waits for the response; the exchange reads it meanwhile.
#[test]
fn an_upload_task_sends_while_the_exchange_receives() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_head();
        assert_eq!(peer.receive_body(stream, 3), b"one");
        peer.head(stream, 200);
        peer.data(stream, "to one");
        assert_eq!(peer.receive_body(stream, 3), b"two");
        peer.expect_end(stream);
        peer.last_data(stream, "to two");
    });
    let is_answered = Arc::new(Mutex::new(false));
    let answered = Arc::clone(&is_answered);
    let mut chunks = ["one", "two"].into_iter();
    let mut event_loop = EventLoop::new(move || {
        if chunks.len() == 1 && !*lock(&answered) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(chunks.next().map(Bytes::from)))
    });
    event_loop.attach(&connection);
    let effects = EffectChannel::default();
    let request = streamed();
    let response = event_loop.run(&effects, connection.send(&request, &effects));
    let mut body = response.expect("a head").body;
    assert!(body.stream().has_upload_task() && !body.stream().is_uploading());
    let first = event_loop.run(&effects, poll_fn(|cx| body.poll_chunk(cx, None, &effects)));
    assert_eq!(first.expect("no error"), Some("to one".into()));
    *lock(&is_answered) = true;
    assert_eq!(event_loop.run(&effects, read_body(&mut body, &effects)).expect("the rest"), "to two");
    event_loop.turn();
    assert!(event_loop.uploads.is_empty(), "the task has ended");
    drop(body);
    event_loop.finish(connection, peer);
}

#[test]
fn an_error_of_the_iterator_fails_the_exchange() {
    let (opened, is_opened) = std::sync::mpsc::channel();
    let (connection, peer) = connect(move |peer| {
        peer.open(&[]);
        opened.send(()).expect("a test that waits");
        let stream = peer.expect_head();
        peer.receive_body(stream, 3);
        peer.expect_reset(stream, CANCEL);
    });
    let mut chunks = [Ok(Some("one".into())), Err(Error::new(Kind::Raised, "of the iterator"))].into_iter();
    let mut event_loop = EventLoop::new(move || chunks.next().map_or(Poll::Pending, Poll::Ready));
    event_loop.attach(&connection);
    // The connection is closed as soon as the iterator has failed: the peer must have sent what it sends by then.
    event_loop.turn_until(|| is_opened.try_recv().is_ok());
    let effects = EffectChannel::default();
    let request = streamed();
    let failure = event_loop.run(&effects, connection.send(&request, &effects)).err().expect("the iterator's error");
    assert_eq!((failure.error.kind(), failure.error.message()), (Kind::Raised, "of the iterator"));
    assert!(failure.has_begun_body);
    event_loop.turn();
    event_loop.uploads.clear();
    event_loop.finish(connection, peer);
}

#[test]
fn the_end_of_an_exchange_cancels_its_upload_task() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        let stream = peer.expect_head();
        peer.head(stream, 200);
        peer.expect_reset(stream, CANCEL);
    });
    let mut event_loop = EventLoop::new(|| Poll::Pending);
    event_loop.attach(&connection);
    let effects = EffectChannel::default();
    let request = streamed();
    let response = event_loop.run(&effects, connection.send(&request, &effects)).expect("a head");
    assert_eq!(event_loop.uploads.len(), 1);
    drop(response);
    let upload = event_loop.uploads.pop().expect("the task");
    // Where the iterator still raises, there is no exchange to fail.
    upload.task.fail(Error::new(Kind::Raised, "too late"));
    upload.task.cancel_with(Waker::noop().clone());
    drop(upload);
    event_loop.finish(connection, peer);
}

#[test]
fn an_upload_task_fails_the_exchange_if_the_server_takes_nothing() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[(super::peer::INITIAL_WINDOW_SIZE, 0)]);
        let stream = peer.expect_request();
        peer.respond(stream, "ready");
        peer.rest();
    });
    let mut event_loop = EventLoop::new(|| Poll::Ready(Ok(Some(Bytes::from(vec![0; 100_000])))));
    event_loop.attach(&connection);
    let effects = EffectChannel::default();
    // The server has read the preface before the limit begins.
    let content = event_loop.run(&effects, exchange_of_task(&connection, &effects));
    assert_eq!(content.expect("a response"), "ready");
    let mut request = streamed();
    request.timeouts.write = Some(30 * MILLISECONDS);
    let failure = event_loop.run(&effects, connection.send(&request, &effects)).err().expect("the window is full");
    assert_eq!(failure.error.kind(), Kind::WriteTimeout, "{}", failure.error);
    event_loop.turn();
    event_loop.uploads.clear();
    event_loop.finish(connection, peer);
}

/// A connection that is idle moves from the loop to threads and back.
#[test]
fn a_connection_moves_between_loops_and_threads() {
    let (connection, peer) = connect(|peer| {
        peer.open(&[]);
        for _ in 0..3 {
            let stream = peer.expect_request();
            peer.respond(stream, "content");
        }
    });
    let effects = EffectChannel::default();
    for _ in 0..2 {
        let mut event_loop = EventLoop::without_bodies();
        event_loop.attach(&connection);
        let content = event_loop.run(&effects, exchange_of_task(&connection, &effects));
        assert_eq!(content.expect("a response"), "content");
        event_loop.turn_until(|| Arc::strong_count(&connection) == 1);
    }
    connection.attach(None).expect("threads use the connection");
    assert_eq!(exchange(&connection, &get()).expect("a response"), (200, "content".into()));
    finish(connection, peer);
}

#[test]
fn a_loop_sends_pings_of_an_idle_connection() {
    let keep_alive = KeepAlive { interval: 5 * MILLISECONDS, timeout: 500 * MILLISECONDS };
    let (connection, peer) = connect_with(Some(keep_alive), |peer| {
        peer.open(&[]);
        let stream = peer.expect_request();
        peer.respond(stream, "content");
        let ping = peer.next();
        assert_eq!(ping.kind, kind::PING);
    });
    let mut event_loop = EventLoop::without_bodies();
    event_loop.attach(&connection);
    let effects = EffectChannel::default();
    let content = event_loop.run(&effects, exchange_of_task(&connection, &effects));
    assert_eq!(content.expect("a response"), "content");
    event_loop.turn_until(|| !connection.is_open());
    event_loop.finish(connection, peer);
}
