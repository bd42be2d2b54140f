//! A connection, and one exchange on it at a time.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRAILER, TRANSFER_ENCODING};
use hyper::body::Incoming;
use hyper::client::conn::http1;

use super::polling::{Flag, Http1Exchange, Http1Step, HyperDriver};
use super::upload::{OutgoingBody, Uploader};
use super::wire::Http1WireHandle;
use crate::error::{Error, Kind, Result};
use crate::io::progress::ProgressTimer;
use crate::io::reactor::Reactor;
use crate::io::stream::Stream;
use crate::io::wait_set;
use crate::message::{Content, Framing, Http1Head, Method, Request, RequestHead, ResponseHead};
use crate::operation::{EffectChannel, ExchangeKind, Outcome, Phase, PhaseTracer, YieldBudget};
use crate::origin::Origin;

/// A connection that speaks HTTP/1.1.
pub struct Http1 {
    origin: Arc<Origin>,
    sender: http1::SendRequest<OutgoingBody>,
    hyper: http1::Connection<Http1WireHandle, OutgoingBody>,
    hyper_ended: bool,
    wire: Http1WireHandle,
    /// The last poll of a body gave content.
    got_content: bool,
    flag: Arc<Flag>,
    /// The fields that came behind the body.
    trailers: Vec<(Bytes, Bytes)>,
    /// The waker of both of hyper's halves: it sets `flag`.
    hyper_waker: Waker,
    /// What listeners are told.
    protocol: ExchangeKind,
}

/// How an exchange failed, and whether that leaves it open to send the request again elsewhere.
#[derive(Debug)]
pub struct Http1Failure {
    pub error: Error,
    /// Bytes of the request that may have reached the server.
    pub written: u64,
    /// Bytes of the response that arrived.
    pub received: u64,
}

/// The parts of a response, its body still on the wire.
pub struct Http1Response {
    pub head: Http1Head,
    /// `None` after `101 Switching Protocols` and `2xx` to CONNECT.
    pub body: Option<Incoming>,
}

impl Http1 {
    pub async fn new(stream: Stream, origin: Arc<Origin>) -> Result<Self> {
        let wire = Http1WireHandle::new(stream, Arc::clone(&origin));
        let (sender, hyper) = http1::handshake(wire.clone())
            .await
            .map_err(|error| Error::new(Kind::ConnectError, format!("{origin}: {error}")))?;
        let flag = Arc::new(Flag::default());
        let hyper_waker = Waker::from(Arc::clone(&flag));
        Ok(Self {
            origin,
            sender,
            hyper,
            hyper_ended: false,
            wire,
            got_content: false,
            flag,
            trailers: Vec::new(),
            hyper_waker,
            protocol: ExchangeKind::Http1,
        })
    }

    /// Tells listeners that its exchange is of another kind.
    pub fn reporting_as(self, protocol: ExchangeKind) -> Self {
        Self { protocol, ..self }
    }

    pub fn wire(&self) -> &Http1WireHandle {
        &self.wire
    }

    /// The stream of a connection that has left HTTP, and what came on it behind the response.
    pub fn into_stream(self) -> Option<(Stream, BytesMut)> {
        let Self { wire, hyper, sender, .. } = self;
        drop((hyper, sender));
        wire.into_stream()
    }

    /// Moves an idle connection to the loop that is going to use it.
    pub fn attach(&self, reactor: Option<&Arc<Reactor>>) -> io::Result<()> {
        self.wire.lock().stream().attach(reactor)
    }

    /// Whether operations of a loop (0: of threads) can use the connection: its stream is ours, or an external one of theirs.
    pub fn is_usable_by(&self, id: u64) -> bool {
        self.wire.lock().stream().external().is_none_or(|stream| stream.handle().owner().serves(id))
    }

    /// Whether an idle connection can no longer be used: the server closed it, or sent bytes that nobody asked for.
    pub async fn is_stale(&self, effects: &EffectChannel) -> Result<bool> {
        let handle = self.wire.lock().stream().external().map(|stream| stream.handle().clone());
        match handle {
            Some(handle) => effects.is_readable(handle).await,
            None => Ok(std::future::poll_fn(|cx| self.wire.lock().poll_stale(cx)).await),
        }
    }

    /// Sends a request and waits for the head of its response.
    pub async fn send(
        &mut self,
        request: &Request,
        effects: &EffectChannel,
    ) -> std::result::Result<Http1Response, Http1Failure> {
        let exchanged = pin!(self.exchange(request, effects)).await;
        exchanged.map_err(|error| {
            let (written, received) = self.wire.lock().progress();
            Http1Failure { error, written, received }
        })
    }

    async fn exchange(&mut self, request: &Request, effects: &EffectChannel) -> Result<Http1Response> {
        let mut tracer = PhaseTracer::new(effects, self.protocol);
        let result = effects.interruptible(pin!(self.exchange_in_phases(request, effects, &mut tracer))).await;
        tracer.close(result).await
    }

    /// Sends the request and waits for the head of the response.
    async fn exchange_in_phases(
        &mut self,
        request: &Request,
        effects: &EffectChannel,
        tracer: &mut PhaseTracer<'_>,
    ) -> Result<Http1Response> {
        tracer.enter(Phase::RequestHeaders).await?;
        let head = &request.head;
        let mut uploader = Uploader::new(head.framing);
        let announced = announced_trailers(request, effects).await?;
        if let Content::Inline(content) = &request.content {
            uploader.push(content.clone())?;
            add_trailers(&uploader, announced.as_ref(), effects).await?;
            uploader.end()?;
        } else if matches!(head.framing, Framing::None | Framing::Length(0)) {
            // There can be no body, but only the caller's iterator knows that there is none.
            while let Some(chunk) = effects.chunk().await? {
                uploader.push(chunk)?;
            }
            uploader.end()?;
        }
        self.wire.lock().begin(head.bytes.clone(), head.method == Method::Connect);
        let mut response = pin!(self.sender.send_request(for_hyper(head, uploader.body(), announced.as_ref())));
        let mut exchange = Http1Exchange {
            sent: false,
            pause: effects.is_traced(),
            progress_timer: ProgressTimer::default(),
            write_timeout: request.timeouts.write,
            read_timeout: request.timeouts.read,
        };
        let mut driver = HyperDriver {
            hyper: &mut self.hyper,
            ended: &mut self.hyper_ended,
            wire: &self.wire,
            flag: &self.flag,
            waker: &self.hyper_waker,
            trailers: &mut self.trailers,
        };
        let mut yield_budget = YieldBudget::default();
        let step = loop {
            let polling = |cx: &mut Context<'_>| exchange.poll(cx, &mut driver, &uploader, response.as_mut(), effects);
            let step = std::future::poll_fn(polling).await;
            match step {
                Http1Step::WantsChunk => {
                    tracer.enter(Phase::RequestBody).await?;
                    if let Some(chunk) = effects.chunk().await? {
                        let length = chunk.len();
                        uploader.push(chunk)?;
                        yield_budget.spend(length, effects).await?;
                    } else {
                        add_trailers(&uploader, announced.as_ref(), effects).await?;
                        uploader.end()?;
                    }
                    exchange.progress_timer = ProgressTimer::default();
                }
                Http1Step::Sent => {
                    tracer.enter(Phase::RequestBody).await?;
                    let failure = self.wire.lock().take_write_error();
                    if let Some(error) = failure {
                        // Reported, and then suppressed: the server may have answered before it closed.
                        drop(tracer.fail(error).await);
                    }
                    tracer.enter(Phase::ResponseHeaders).await?;
                }
                step => break step,
            }
        };
        let body = match step {
            Http1Step::Response(response) => Some(response.into_body()),
            Http1Step::Upgraded => None,
            Http1Step::Failed(error) => return Err(self.fault(error.as_ref())),
            Http1Step::TimedOut | Http1Step::WantsChunk | Http1Step::Sent => {
                return Err(exchange.timed_out(&self.origin));
            }
        };
        let Some(head) = self.wire.lock().take_head() else {
            return Err(Error::new(Kind::Internal, "hyper answered before the response head was read"));
        };
        if head.status == 101 && !request.head.upgrade {
            let message = format!("{} switched protocols (101) without having been asked to", self.origin);
            return Err(Error::remote(message));
        }
        if effects.is_traced() {
            tracer.complete(Outcome::Head(ResponseHead::Http1(head.clone()))).await?;
        }
        Ok(Http1Response { head, body })
    }

    /// Polls for the next chunk of the response body; `None` at its end. Without an asker nothing more is asked of a stream of
    /// the caller's.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
        progress_timer: &mut ProgressTimer,
        timeout: Option<Duration>,
        effects: Option<&EffectChannel>,
    ) -> Poll<std::result::Result<Option<Bytes>, BodyFault>> {
        {
            let mut wire = self.wire.lock();
            wire.set_waker(cx.waker());
            if std::mem::take(&mut self.got_content) {
                wire.note_content();
            }
            wire.hear();
        }
        let mut driver = self.driver();
        loop {
            match driver.poll_body(body) {
                Poll::Ready(Some(Ok(chunk))) => {
                    *progress_timer = ProgressTimer::default();
                    self.got_content = true;
                    return Poll::Ready(Ok(Some(chunk)));
                }
                Poll::Ready(None) if driver.wire.lock().has_malformed_trailers() => {
                    return Poll::Ready(Err(BodyFault::MalformedTrailers));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(BodyFault::Broken(error))),
                Poll::Pending => {}
            }
            if !driver.poll_hyper() {
                break;
            }
        }
        let mut wire = self.wire.lock();
        if progress_timer.is_over(wire.moved(), timeout) {
            return Poll::Ready(Err(BodyFault::TimedOut));
        }
        if let Some(effects) = effects {
            wire.ask(effects, timeout, None);
        }
        Poll::Pending
    }

    /// The fields that came behind the body that was read last.
    pub fn take_trailers(&mut self) -> Vec<(Bytes, Bytes)> {
        std::mem::take(&mut self.trailers)
    }

    /// Whether the connection has left HTTP.
    pub fn is_upgraded(&self) -> bool {
        self.wire.lock().is_upgraded()
    }

    /// Ends a complete exchange; whether the connection can serve another one.
    pub fn finish(&mut self) -> bool {
        self.wire.lock().stop_reads();
        let mut driver = self.driver();
        while driver.poll_hyper() {}
        // Nobody waits for this connection now.
        wait_set::clear();
        !self.hyper_ended && self.sender.is_ready() && self.wire.lock().is_reusable()
    }

    /// What was wrong, when hyper could not go on.
    pub fn fault(&self, error: Option<&hyper::Error>) -> Error {
        let origin = &self.origin;
        let mut wire = self.wire.lock();
        if let Some(fault) = wire.take_fault() {
            return fault;
        }
        if wire.is_at_end() {
            let fault = Error::disconnected();
            return match wire.take_write_error() {
                Some(error) => fault.with_source(error),
                None => fault,
            };
        }
        if let Some(error) = wire.take_write_error() {
            return error;
        }
        let Some(error) = error else { return Error::new(Kind::Internal, "an exchange failed for no reason") };
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Error::remote(format!("invalid response from {origin}: {error}{cause}"))
    }

    /// Whether the server ended the stream, for messages.
    pub fn is_at_end(&self) -> bool {
        self.wire.lock().is_at_end()
    }

    fn driver(&mut self) -> HyperDriver<'_> {
        HyperDriver {
            hyper: &mut self.hyper,
            ended: &mut self.hyper_ended,
            wire: &self.wire,
            flag: &self.flag,
            waker: &self.hyper_waker,
            trailers: &mut self.trailers,
        }
    }
}

/// Why a response body could not be read on.
pub enum BodyFault {
    Broken(hyper::Error),
    /// hyper has not read all that came behind the last chunk.
    MalformedTrailers,
    TimedOut,
}

/// The names of the fields that may follow the body: those that there are now, and those that `Trailer` announces for later.
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

async fn add_trailers(uploader: &Uploader, announced: Option<&Bytes>, effects: &EffectChannel) -> Result<()> {
    if announced.is_some() {
        let fields = effects.trailers().await?;
        uploader.set_trailers(&fields, announced)?;
    }
    Ok(())
}

/// The request as hyper needs it: nothing but what frames it. What goes on the wire is the caller's head.
fn for_hyper(head: &RequestHead, body: OutgoingBody, trailers: Option<&Bytes>) -> http::Request<OutgoingBody> {
    let mut request = http::Request::new(body);
    *request.method_mut() = match head.method {
        Method::Head => http::Method::HEAD,
        Method::Connect => http::Method::CONNECT,
        // All others are framed alike.
        Method::Idempotent | Method::Other => http::Method::POST,
    };
    let headers = request.headers_mut();
    match head.framing {
        Framing::None => {}
        Framing::Length(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::Chunked => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    // hyper sends those only that it has read of.
    if let Some(names) =
        trailers.filter(|names| !names.is_empty()).and_then(|names| HeaderValue::from_bytes(names).ok())
    {
        headers.insert(TRAILER, names);
    }
    if head.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if head.method == Method::Connect {
        // hyper writes a CONNECT target as an authority; ours replaces it.
        *request.uri_mut() = http::Uri::from_static("authority:1");
    }
    request
}
