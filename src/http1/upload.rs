//! The request body on its way into hyper.
//!
//! [`Uploader`] takes the chunks from the caller and holds them to the declared length; hyper polls [`OutgoingBody`] for them, one
//! chunk at a time. The body ends when the caller has confirmed that no chunk follows, so that a body that is too long never reaches the
//! server as a complete one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};

use crate::error::{Error, Result};
use crate::lock::{Guard, lock};
use crate::message::{Content, Framing, Request};
use crate::operation::EffectChannel;

/// Bytes of chunks at hand that are passed on together: as many as TLS encrypts before it writes.
const AT_ONCE: usize = 256 * 1024;

#[derive(Default)]
struct Queue {
    chunks: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    has_ended: bool,
    /// hyper has polled for a chunk and got none.
    is_wanted: bool,
    is_chunked: bool,
}

/// hyper's side: a body that notes when hyper needs the next chunk. Without a queue it is empty and has ended.
#[derive(Clone)]
pub struct OutgoingBody(Option<Arc<Mutex<Queue>>>);

impl OutgoingBody {
    fn queue(&self) -> Option<Guard<'_, Queue>> {
        self.0.as_deref().map(lock)
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let Some(mut queue) = self.queue() else { return Poll::Ready(None) };
        if let Some(chunk) = queue.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if queue.has_ended {
            return Poll::Ready(queue.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        queue.is_wanted = true;
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        // The last chunk of a chunked body has to be written, even if the body is empty.
        self.queue().is_none_or(|queue| queue.has_ended && queue.chunks.is_empty() && !queue.is_chunked)
    }
}

/// The exchange's side: passes chunks on and holds the caller to the declared length.
pub struct Uploader {
    body: OutgoingBody,
    /// The number of bytes that may still come, if the length was declared.
    remaining: Option<u64>,
    /// The chunk that completes the declared length. It is sent when the caller has confirmed that nothing follows.
    last: Option<Bytes>,
    /// The names of the trailers that may be sent, if the request may have any.
    announced: Option<Bytes>,
}

impl Uploader {
    fn new(framing: Framing, announced: Option<Bytes>) -> Self {
        let queue = Queue { is_chunked: framing == Framing::Chunked, ..Queue::default() };
        let remaining = match framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        Self { body: OutgoingBody(Some(Arc::new(Mutex::new(queue)))), remaining, last: None, announced }
    }

    /// Returns the uploader of a request without a body.
    pub fn empty() -> Self {
        Self { body: OutgoingBody(None), remaining: Some(0), last: None, announced: None }
    }

    /// Prepares the upload of a request. A body that is here in full is handed over; one that must be empty is checked.
    pub async fn begin(request: &Request, effects: &EffectChannel) -> Result<Self> {
        let framing = request.head.framing;
        if let Content::Inline(content) = &request.content
            && content.is_empty()
            && framing == Framing::None
            && !request.has_trailers
        {
            return Ok(Self::empty());
        }
        let mut uploader = Self::new(framing, announced_trailers(request, effects).await?);
        if let Content::Inline(content) = &request.content {
            uploader.push(content.clone())?;
            uploader.end(effects).await?;
        } else if matches!(framing, Framing::None | Framing::Length(0)) {
            // Only the caller's iterator knows that no chunk comes.
            while let Some(chunk) = effects.chunk().await? {
                uploader.push(chunk)?;
            }
            uploader.finish()?;
        }
        Ok(uploader)
    }

    /// Requests the next chunk of the caller's body and passes it on, or ends the body. Returns the length of the chunk.
    pub async fn supply(&mut self, effects: &EffectChannel) -> Result<usize> {
        let Some(chunk) = effects.chunk().await? else {
            self.end(effects).await?;
            return Ok(0);
        };
        let length = chunk.len();
        self.push(chunk)?;
        Ok(length)
    }

    /// Passes chunks on that were at hand together. Returns their length.
    pub fn supply_ready(&mut self, chunks: Vec<Bytes>) -> Result<usize> {
        let mut length = 0;
        for chunk in chunks {
            length += chunk.len();
            self.push(chunk)?;
        }
        Ok(length)
    }

    /// Returns how many bytes are asked for at once. Those behind the declared length are not: a body that is too long fails at once.
    pub fn limit_at_once(&self) -> usize {
        let remaining = self.remaining.and_then(|remaining| usize::try_from(remaining).ok());
        remaining.map_or(AT_ONCE, |remaining| remaining.clamp(1, AT_ONCE))
    }

    pub fn body(&self) -> OutgoingBody {
        self.body.clone()
    }

    /// The names of the trailers that may be sent, separated by commas.
    pub fn announced(&self) -> Option<&Bytes> {
        self.announced.as_ref()
    }

    /// Returns whether the request has no body.
    pub fn is_empty(&self) -> bool {
        self.body.0.is_none()
    }

    /// Returns whether hyper needs a chunk that it has not got.
    pub fn is_wanted(&self) -> bool {
        self.body.queue().is_some_and(|queue| queue.is_wanted)
    }

    /// Returns whether hyper has taken everything.
    pub fn is_finished(&self) -> bool {
        self.body.queue().is_none_or(|queue| queue.has_ended && queue.chunks.is_empty() && queue.trailers.is_none())
    }

    /// Ends the body, with its trailers.
    pub async fn end(&mut self, effects: &EffectChannel) -> Result<()> {
        if let Some(announced) = &self.announced {
            let fields = effects.trailers().await?;
            let trailers = self.checked_trailers(&fields, announced)?;
            if let Some(mut queue) = self.body.queue() {
                queue.trailers = trailers;
            }
        }
        self.finish()
    }

    /// Converts the fields that follow the body. Only a chunked body can have any, and each must be announced: hyper sends no others.
    fn checked_trailers(&self, fields: &[(Bytes, Bytes)], announced: &Bytes) -> Result<Option<HeaderMap>> {
        let is_chunked = self.body.queue().is_some_and(|queue| queue.is_chunked);
        let mut trailers = HeaderMap::with_capacity(fields.len());
        for (name, value) in fields {
            let is_announced =
                announced.split(|&byte| byte == b',').any(|known| known.trim_ascii().eq_ignore_ascii_case(name));
            if !is_chunked || !is_announced {
                return Err(Error::local(format!(
                    "the trailer {} cannot be sent: the body must be chunked, and the trailer known when the body begins, or named by a \
                     Trailer header",
                    name.escape_ascii()
                )));
            }
            let name = HeaderName::from_bytes(name).map_err(|_| Error::local("Illegal trailer name"))?;
            let value = HeaderValue::from_bytes(value).map_err(|_| Error::local("Illegal trailer value"))?;
            trailers.append(name, value);
        }
        Ok((!trailers.is_empty()).then_some(trailers))
    }

    fn push(&mut self, chunk: Bytes) -> Result<()> {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining
                .checked_sub(chunk.len() as u64)
                .ok_or_else(|| Error::local("Too much data for declared Content-Length"))?;
        }
        if chunk.is_empty() {
            return Ok(());
        }
        if self.remaining == Some(0) {
            self.last = Some(chunk);
            return Ok(());
        }
        if let Some(mut queue) = self.body.queue() {
            queue.is_wanted = false;
            queue.chunks.push_back(chunk);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if self.remaining.is_some_and(|remaining| remaining > 0) {
            return Err(Error::local("Too little data for declared Content-Length"));
        }
        let Some(mut queue) = self.body.queue() else { return Ok(()) };
        queue.is_wanted = false;
        // A chunk that hyper has not taken yet stays: all of a chunked body may have come at once.
        queue.chunks.extend(self.last.take());
        queue.has_ended = true;
        Ok(())
    }
}

/// Returns the names of the trailers that may be sent: those that are known already, and those that `Trailer` announces for later.
async fn announced_trailers(request: &Request, effects: &EffectChannel) -> Result<Option<Bytes>> {
    if !request.has_trailers {
        return Ok(None);
    }
    let mut names = request.head.trailer.as_deref().unwrap_or_default().to_vec();
    for (name, _) in effects.trailers().await? {
        names.extend_from_slice(b",");
        names.extend_from_slice(&name);
    }
    Ok(Some(names.trim_ascii_start().strip_prefix(b",").unwrap_or(&names).to_vec().into()))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::message::HeadWriter;
    use crate::operation::{Effect, Fields};
    use crate::origin::{Origin, Scheme};
    use crate::timeout::Timeouts;

    /// The caller's side of an upload: its chunks, and the trailers that it names before and after the body.
    #[derive(Default)]
    struct Caller {
        headers: Vec<(&'static str, &'static str)>,
        inline: Option<&'static str>,
        chunks: Vec<&'static str>,
        trailers: Option<Vec<Fields>>,
    }

    fn field(name: &'static str, value: &'static str) -> (Bytes, Bytes) {
        (name.into(), value.into())
    }

    impl Caller {
        fn request(&self) -> Request {
            let mut writer = HeadWriter::new(b"POST", b"/").expect("legal");
            writer.header(b"Host", b"h").expect("legal");
            for (name, value) in &self.headers {
                writer.header(name.as_bytes(), value.as_bytes()).expect("legal");
            }
            let origin = Origin {
                scheme: Scheme::Http,
                host: "h".to_owned(),
                port: 80,
                server_name: None,
                tunnel_headers: None,
            };
            Request {
                origin: Arc::new(origin),
                head: writer.finish().expect("legal"),
                content: self.inline.map_or(Content::Streamed, |content| Content::Inline(content.into())),
                timeouts: Timeouts::default(),
                has_trailers: self.trailers.is_some(),
                timings: Arc::default(),
                has_informational: false,
                expect_continue: None,
            }
        }

        /// Uploads as an exchange does, and returns what hyper gets: its chunks, then its trailers, each with its kind in front.
        fn upload(mut self) -> Result<Vec<String>> {
            let request = self.request();
            let effects = EffectChannel::new(false);
            let mut work = pin!(async {
                let mut got = Vec::new();
                let mut uploader = Uploader::begin(&request, &effects).await?;
                let mut body = uploader.body();
                loop {
                    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(None) => return Ok(got),
                        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                            Ok(chunk) => got.push(String::from_utf8_lossy(&chunk).into_owned()),
                            Err(frame) => got.push(format!("{:?}", frame.into_trailers().expect("trailers"))),
                        },
                        Poll::Ready(Some(Err(error))) => match error {},
                        Poll::Pending => {
                            assert!(uploader.is_wanted() && !uploader.is_finished());
                            uploader.supply(&effects).await?;
                            assert!(!uploader.is_wanted() || !uploader.is_finished());
                        }
                    }
                }
            });
            self.chunks.reverse();
            loop {
                if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return result;
                }
                match effects.take() {
                    Some(Effect::NextChunk(reply)) => reply.set(Ok(self.chunks.pop().map(Bytes::from))),
                    Some(Effect::Trailers(reply)) => {
                        reply.set(Ok(self.trailers.as_mut().expect("trailers").remove(0)));
                    }
                    _ => panic!("an upload needs chunks and trailers only"),
                }
            }
        }
    }

    fn message(caller: Caller) -> String {
        caller.upload().expect_err("refused").message().to_owned()
    }

    const CHUNKED: (&str, &str) = ("Transfer-Encoding", "chunked");

    #[test]
    fn content_that_is_here_in_full_is_sent_with_either_framing() {
        for headers in [vec![("Content-Length", "5")], vec![CHUNKED]] {
            let caller = Caller { headers, inline: Some("hello"), ..Caller::default() };
            assert_eq!(caller.upload().expect("legal"), ["hello"]);
        }
        let empty = Caller { headers: vec![CHUNKED], inline: Some(""), ..Caller::default() };
        assert!(empty.upload().expect("legal").is_empty());
    }

    #[test]
    fn chunks_are_passed_on_one_by_one() {
        for headers in [vec![("Content-Length", "6")], vec![CHUNKED]] {
            let caller = Caller { headers, chunks: vec!["ab", "", "c", "def", ""], ..Caller::default() };
            assert_eq!(caller.upload().expect("legal"), ["ab", "c", "def"]);
        }
    }

    #[test]
    fn a_body_that_is_too_long_is_never_complete() {
        let declared =
            |length, chunks| Caller { headers: vec![("Content-Length", length)], chunks, ..Caller::default() };
        for (length, chunks) in [("3", vec!["abcd"]), ("3", vec!["abc", "d"]), ("0", vec!["a"])] {
            assert_eq!(message(declared(length, chunks)), "Too much data for declared Content-Length");
        }
        let undeclared = Caller { chunks: vec!["a"], ..Caller::default() };
        assert_eq!(message(undeclared), "Too much data for declared Content-Length");
        assert_eq!(message(declared("3", vec!["ab"])), "Too little data for declared Content-Length");
        let inline = Caller { headers: vec![("Content-Length", "3")], inline: Some("abcd"), ..Caller::default() };
        assert_eq!(message(inline), "Too much data for declared Content-Length");
    }

    #[test]
    fn the_last_chunk_of_a_declared_length_waits_for_the_end() {
        let mut uploader = Uploader::new(Framing::Length(3), None);
        uploader.push("abc".into()).expect("legal");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut uploader.body()).poll_frame(&mut cx).is_pending());
        uploader.finish().expect("legal");
        assert!(Pin::new(&mut uploader.body()).poll_frame(&mut cx).is_ready());
        assert!(uploader.is_finished() && uploader.body().is_end_stream());
    }

    #[test]
    fn a_chunked_body_has_a_last_chunk_to_write() {
        let mut uploader = Uploader::new(Framing::Chunked, None);
        uploader.finish().expect("legal");
        assert!(!uploader.body().is_end_stream());
    }

    #[test]
    fn trailers_that_are_known_or_named_are_sent() {
        for (names, before) in [(None, vec![field("X-Sum", "")]), (Some("A, x-sum"), vec![])] {
            let mut headers = vec![CHUNKED];
            headers.extend(names.map(|names| ("Trailer", names)));
            let trailers = Some(vec![before, vec![field("X-Sum", "1")]]);
            let caller = Caller { headers, chunks: vec!["abc"], trailers, ..Caller::default() };
            assert_eq!(caller.upload().expect("legal"), ["abc", r#"{"x-sum": "1"}"#]);
        }
        let none = Caller {
            headers: vec![CHUNKED],
            chunks: vec!["abc"],
            trailers: Some(vec![vec![], vec![]]),
            ..Caller::default()
        };
        assert_eq!(none.upload().expect("legal"), ["abc"]);
    }

    #[test]
    fn other_trailers_are_refused() {
        for headers in [
            vec![CHUNKED],
            vec![CHUNKED, ("Trailer", "X-Summary")],
            vec![("Content-Length", "3"), ("Trailer", "X-Sum")],
        ] {
            let trailers = Some(vec![vec![], vec![field("X-Sum", "1")]]);
            let caller = Caller { headers, inline: Some("abc"), trailers, ..Caller::default() };
            assert!(message(caller).starts_with("the trailer X-Sum cannot be sent"));
        }
    }
}
