//! Frames of HTTP/2 servers: whatever they are, they take bounded memory and time, and every exchange ends.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::input::FuzzInput;
use super::peer::{TurnPeer, origin, request};
use crate::http2::Http2;
use crate::operation::EffectChannel;
use crate::origin::Scheme;

/// The most that a connection may hold, in bytes: heads, windows, frames that were not read yet.
const MAX_MEMORY: usize = 4 * 1024 * 1024;
/// An input is sent again until it has this length, in bytes.
const MAX_LENGTH: usize = 256 * 1024;
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// Control bytes: the number of requests and whether they have bodies; whether the rest is taken as it is, or as frames (type,
/// flags, stream, and length, a byte each, before each payload); how often it is sent; then the lengths of the pieces. The rest: what
/// the server sends behind its first SETTINGS. `allocated` returns the bytes that are allocated.
pub fn http2_frames(data: &[u8], allocated: &dyn Fn() -> usize) {
    let mut input = FuzzInput::new(data);
    let (kind, repetitions) = (input.choice(), input.choice());
    let frames = if kind & 8 == 0 { encode(input.raw()) } else { input.raw().to_vec() };
    let mut bytes = SETTINGS.to_vec();
    for _ in 0..=repetitions {
        if bytes.len() + frames.len() <= MAX_LENGTH {
            bytes.extend_from_slice(&frames);
        }
    }
    let (stream, mut peer) = TurnPeer::new(input.cut(&bytes));
    peer.received.reserve(MAX_LENGTH);
    let before = allocated();
    let connection = Http2::new(stream, origin(Scheme::Http), None).expect("no I/O takes place");
    let exchanges: Vec<_> = (0..=kind & 3)
        .map(|number| exchange(&connection, if kind & 4 == 0 { 0 } else { usize::from(number) * 40_000 }))
        .collect();
    let watched = async {
        let mut all = pin!(join_all(exchanges));
        poll_fn(|cx| {
            let poll = all.as_mut().poll(cx);
            let grown = allocated().saturating_sub(before);
            assert!(grown <= MAX_MEMORY, "{grown} bytes are held for {} that were sent", bytes.len());
            poll
        })
        .await;
    };
    peer.run(&EffectChannel::default(), watched);
}

/// Frames from their short form.
fn encode(mut short: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while let [kind, flags, stream, length, rest @ ..] = short {
        let (payload, after) = rest.split_at(usize::from(*length).min(rest.len()));
        let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
        frames.extend_from_slice(&[0, 0, length, kind % 12, *flags, 0, 0, 0, *stream]);
        frames.extend_from_slice(payload);
        short = after;
    }
    frames
}

/// One exchange, to the end of its response or to its error.
async fn exchange(connection: &Arc<Http2>, length: usize) {
    let request = request(if length == 0 { "GET" } else { "POST" }, length);
    let effects = EffectChannel::default();
    let Ok(mut response) = connection.send(&request, &effects).await else { return };
    while let Ok(Some(_)) = poll_fn(|cx| response.body.poll_chunk(cx, None, &effects)).await {}
}

/// Runs futures beside each other.
async fn join_all(futures: Vec<impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    poll_fn(|cx| {
        for slot in &mut futures {
            if let Some(future) = slot
                && future.as_mut().poll(cx).is_ready()
            {
                *slot = None;
            }
        }
        if futures.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Runs two futures beside each other.
pub async fn join<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    let (mut first, mut second) = (Joined::new(first), Joined::new(second));
    poll_fn(|cx| {
        let is_done = [first.poll(cx), second.poll(cx)];
        if is_done == [true, true] { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (first.output(), second.output())
}

/// A future and then its output.
enum Joined<'a, T> {
    Future(Pin<Box<dyn Future<Output = T> + 'a>>),
    Done(T),
}

impl<'a, T> Joined<'a, T> {
    fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self::Future(Box::pin(future))
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        if let Self::Future(future) = self
            && let Poll::Ready(output) = future.as_mut().poll(cx)
        {
            *self = Self::Done(output);
        }
        matches!(self, Self::Done(_))
    }

    fn output(self) -> T {
        match self {
            Self::Done(output) => output,
            Self::Future(_) => panic!("it is done"),
        }
    }
}
