//! One request from the pool to its response.
//!
//! [`start`] reserves a slot of the pool, makes a connection if the slot has none, and sends the request. The response owns the slot
//! until it is closed. Dropping the response, or the future at any point, gives the slot back: HTTP/1.1 closes the connection, HTTP/2
//! resets the stream.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::body::{BodySource, ResponseBody};
use super::connection::{Client, HttpConnection, share};
use super::http1_body::Http1Body;
use super::stream_view::StreamView;
use super::waiting::StreamWaiters;
use crate::connect::{Attempt, ProxyRoute};
use crate::error::{Error, Kind, Result};
use crate::http1::{self, Http1};
use crate::http2::{self, FailureCause, Http2};
use crate::io::reactor::Reactor;
use crate::io::wait_set;
use crate::message::{Request, ResponseHead};
use crate::operation::{EffectChannel, Event, Outcome, YieldBudget};
use crate::pool::{Checkout, CloseReason, Destination, LoopId, RequestGuard, Reservation, SlotGuard, Status, THREADS};
use crate::timings::{Mark, Timings};

/// The number of times that a request is sent again which the server refused unprocessed (`GOAWAY`, `REFUSED_STREAM`). After that the
/// error is raised.
const MAX_RESENDS: usize = 5;

/// The connections that a request may use.
pub enum ConnectionChoice {
    /// Any connection of its route.
    Any,
    /// This connection only.
    This(Reservation<HttpConnection>),
    /// The connection of this number only, when it has a free stream.
    QueueFor(u64),
}

/// A response whose body is still to be read.
pub struct Response {
    pub head: ResponseHead,
    /// Boxed, because a response is moved often on its way to Python.
    pub body: Box<ResponseBody>,
    pub stream_view: StreamView,
    pub timings: Arc<Timings>,
    /// The number of an HTTP/2 stream.
    pub stream_id: Option<u32>,
}

/// Sends a request and waits for the head of its response.
///
/// Dropping the future ends the exchange: over HTTP/1.1 it closes the connection that the request was on, over HTTP/2 it resets
/// the stream. The pool then serves the next waiter.
pub fn start(
    client: Arc<Client>,
    mut request: Box<Request>,
    place: ConnectionChoice,
    reactor: Option<Arc<Reactor>>,
    effects: EffectChannel,
) -> impl Future<Output = Result<Response>> + Send {
    if let Some(proxy) = &client.connector.proxy {
        *request = proxy.forwarded(*request);
    }
    if request.origin.tunnel_headers.is_some() && client.connector.route(&request.origin) != ProxyRoute::Tunnel {
        // They are for tunnels only, and must not keep requests from sharing connections.
        Arc::make_mut(&mut request.origin).tunnel_headers = None;
    }
    if request.head.expects_continue {
        request.expect_continue = client.connector.expect_continue_timeout;
    }
    // A block, because the future of a function has its arguments twice.
    async move {
        if let Some(deadline) = effects.passed_deadline() {
            let what = format_args!("the request to {} was not begun", request.origin);
            return Err(deadline.error(Kind::PoolTimeout, what));
        }
        let (given, only) = match place {
            ConnectionChoice::Any => (None, None),
            ConnectionChoice::This(reservation) => (Some(owned(reservation)?), None),
            ConnectionChoice::QueueFor(connection) => (None, Some(connection)),
        };
        let exchange = Exchange {
            client: &client,
            request: &request,
            only,
            reactor: reactor.as_ref(),
            effects: &effects,
            // A request for one certain connection is no early data.
            early_data_tried: AtomicBool::new(given.is_some() || only.is_some()),
        };
        pin!(exchange.run(given)).await
    }
}

/// A request on its way to a response.
pub(super) struct Exchange<'a> {
    pub(super) client: &'a Arc<Client>,
    pub(super) request: &'a Request,
    only: Option<u64>,
    reactor: Option<&'a Arc<Reactor>>,
    pub(super) effects: &'a EffectChannel,
    /// The request was sent as early data once, or is not to be.
    pub(super) early_data_tried: AtomicBool,
}

/// An attempt that failed.
struct Failed {
    error: Error,
    again: Again,
}

/// The connection that a failed request may be sent on once more.
enum Again {
    Never,
    /// On a new connection in the same slot.
    Here(SlotGuard<HttpConnection>),
    /// On another connection.
    IfFree,
    /// On another connection: this one takes no more requests.
    Elsewhere,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, again: Again::Never }
    }
}

type Attempted<T> = std::result::Result<T, Failed>;

fn owned(reservation: Reservation<HttpConnection>) -> Result<Place> {
    reservation.take().ok_or_else(|| Error::new(Kind::Internal, "the pool gave a connection without a place"))
}

/// The request as the pool counts it; `None` when its response has taken it over, and before the first attempt.
type Counted = Option<RequestGuard<HttpConnection>>;

type Place = (SlotGuard<HttpConnection>, Option<HttpConnection>);

impl Exchange<'_> {
    /// Attempts the exchange until it succeeds or may not be attempted again.
    async fn run(&self, mut given: Option<Place>) -> Result<Response> {
        // A request for one certain connection is not moved to another one: its error is raised.
        let is_free = given.is_none() && self.only.is_none();
        // Dropped with this future, it counts the request as cancelled.
        let mut counted = given.is_some().then(|| self.client.pool.begin(&self.request.origin, &self.request.timings));
        let mut resends = 0;
        let error = loop {
            let place = match given.take() {
                Some(place) => place,
                None => match pin!(self.acquire(&mut counted)).await {
                    Ok(place) => place,
                    Err(error) => break error,
                },
            };
            let (error, again) = match pin!(self.attempt(place, &mut counted)).await {
                Ok(response) => return Ok(response),
                Err(Failed { error, again }) => (error, again),
            };
            match again {
                Again::Elsewhere if !is_free => break Error::not_available(&self.request.origin),
                Again::IfFree | Again::Elsewhere if !is_free || resends == MAX_RESENDS => break error,
                Again::Here(slot) if is_free => given = Some((slot, None)),
                Again::Never | Again::Here(_) => break error,
                Again::IfFree | Again::Elsewhere => resends += 1,
            }
        };
        if let Some(counted) = &mut counted {
            counted.fail(&error);
        }
        Err(error)
    }

    async fn acquire(&self, counted: &mut Counted) -> Result<Place> {
        let destination = Destination {
            origin: Arc::clone(&self.request.origin),
            loop_id: self.loop_id(),
            multiplexing: self.client.connector.may_multiplex(&self.request.origin),
            only: self.only,
        };
        let reservation = match self.client.pool.checkout(&destination, counted, &self.request.timings)? {
            Checkout::Ready(reservation) => reservation,
            Checkout::QueuedRequest(waiting) => {
                let mut stream_waiters = StreamWaiters::default();
                let attend = |cx: &mut Context<'_>, is_changed| {
                    // On a loop the reactor reads the connections.
                    if self.reactor.is_none() {
                        stream_waiters.poll(cx, is_changed, self.effects, || self.client.pool.shared(&destination));
                    }
                };
                // Boxed: most requests do not wait.
                let waiting = Box::pin(self.wait(waiting, attend));
                if self.effects.traces_all() {
                    Box::pin(self.effects.span(|| Event::PoolWait, |_| Outcome::Nothing, waiting)).await?
                } else {
                    waiting.await?
                }
            }
        };
        let place = owned(reservation)?;
        if self.effects.is_traced() {
            self.report_closed(self.client.pool.take_discarded()).await?;
        }
        Ok(place)
    }

    /// Returns the loop whose reactor polls the shared connections of this request.
    fn loop_id(&self) -> LoopId {
        self.reactor.map_or(THREADS, |reactor| reactor.id())
    }

    async fn report_closed(&self, connections: usize) -> Result<()> {
        if self.effects.is_traced() {
            for _ in 0..connections {
                Box::pin(self.effects.span(|| Event::Close, |()| Outcome::Nothing, async { Ok(()) })).await?;
            }
        }
        Ok(())
    }

    /// Sends the request over the connection that is in the slot, else over a new one.
    ///
    /// Futures are pinned before they are awaited: otherwise the compiler keeps space for each of them twice.
    async fn attempt(&self, (mut slot, found): Place, counted: &mut Counted) -> Attempted<Response> {
        let reused = found.is_some();
        let connection = match found {
            // Boxed: the future is large, and most requests do not connect.
            None => match Box::pin(self.connect(&mut slot)).await {
                Ok(connection) => connection,
                Err(error) => {
                    slot.mark_failed();
                    slot.count_connect(&self.request.timings, false);
                    return Err(error.into());
                }
            },
            Some(HttpConnection::Http1(connection)) => {
                let Some(connection) = self.usable(connection).await? else {
                    slot.count_closed(CloseReason::PeerClosed);
                    self.report_closed(1).await?;
                    // The slot stays, for a new connection.
                    return Err(Failed { error: Error::disconnected(), again: Again::Here(slot) });
                };
                HttpConnection::Http1(connection)
            }
            Some(shared) => shared,
        };
        match connection {
            HttpConnection::Http1(connection) => pin!(self.over_http1(connection, slot, reused, counted)).await,
            HttpConnection::Http2(connection) => pin!(self.over_http2(connection, slot, counted)).await,
        }
    }

    /// Returns the idle connection, if it can still be used.
    async fn usable(&self, connection: Box<Http1>) -> Result<Option<Box<Http1>>> {
        // An external stream of another event loop cannot be used here.
        let usable = connection.is_usable_by(self.loop_id())
            && !connection.is_stale(self.effects).await?
            && connection.attach(self.reactor).is_ok();
        Ok(usable.then_some(connection))
    }

    /// Makes a connection in an empty slot. An HTTP/2 connection is offered to the other requests of the route.
    async fn connect(&self, slot: &mut SlotGuard<HttpConnection>) -> Result<HttpConnection> {
        let Self { request, reactor, effects, .. } = *self;
        let connector = &self.client.connector;
        let Request { origin, timeouts, timings, .. } = request;
        let attempt =
            Attempt { origin, timeout: timeouts.connect, reactor, effects, timings, early_data: self.early_data() };
        let status = Arc::clone(slot.status());
        let closed = || {
            let message = format!("the connection pool was closed while connecting to {}", request.origin);
            Error::new(Kind::ConnectError, message)
        };
        status.mark_connecting();
        let stream = unless_closed(&status, pin!(connector.connect(&attempt))).await.ok_or_else(closed)??;
        let end = connector.end(&request.origin);
        status.set_link(Arc::new(stream.link()), end);
        if status.is_closed_by_pool() {
            return Err(closed());
        }
        let origin = Arc::clone(end);
        if connector.speaks_http2(&request.origin, &stream) {
            let connection = Http2::new(stream, origin, connector.keep_alive)?;
            self.attach(&connection)?;
            share(&connection, slot, self.loop_id());
            status.mark_connected();
            slot.count_connect(timings, true);
            return Ok(HttpConnection::Http2(connection));
        }
        status.mark_connected();
        slot.count_connect(timings, true);
        if connector.may_multiplex(&request.origin) {
            slot.mark_exclusive();
        }
        Ok(HttpConnection::Http1(Box::new(Http1::new(stream, origin))))
    }

    fn attach(&self, connection: &Http2) -> Result<()> {
        connection.attach(self.reactor).map_err(|error| {
            Error::new(Kind::ConnectError, format!("the connection cannot be watched: {error}")).with_source(error)
        })
    }

    async fn over_http1(
        &self,
        mut connection: Box<Http1>,
        mut slot: SlotGuard<HttpConnection>,
        reused: bool,
        counted: &mut Counted,
    ) -> Attempted<Response> {
        slot.status().begin_request();
        self.request.timings.begin_attempt(reused);
        let was_early = connection.has_early_data();
        let sent = pin!(connection.send(self.request, self.effects)).await;
        match sent {
            Ok(http1::Http1Response { head, .. }) if self.is_too_early(was_early, &head) => {
                drop(connection);
                slot.count_closed(CloseReason::NotReusable);
                Err(Failed { error: Error::disconnected(), again: Again::Here(slot) })
            }
            Ok(http1::Http1Response { head, body }) => {
                self.request.timings.mark_now(Mark::FirstByte);
                slot.carry(counted.take());
                let stream_view = StreamView::http1(connection.wire());
                let expected = head.content_length();
                let body = Http1Body::new(body, expected, self.request.timeouts.read, connection, slot);
                Ok(Response {
                    head: ResponseHead::Http1(head),
                    body: Box::new(ResponseBody::new(BodySource::Http1(body), self.effects.clone())),
                    stream_view,
                    timings: Arc::clone(&self.request.timings),
                    stream_id: None,
                })
            }
            Err(failure) => {
                drop(connection);
                slot.mark_broken();
                if let Some(error) = closed_by_pool(&slot) {
                    return Err(error.into());
                }
                let again = if reused && self.is_replaceable(&failure) {
                    slot.count_closed(CloseReason::PeerClosed);
                    Again::Here(slot)
                } else {
                    Again::Never
                };
                Err(Failed { error: failure.error, again })
            }
        }
    }

    async fn over_http2(
        &self,
        connection: Arc<Http2>,
        mut slot: SlotGuard<HttpConnection>,
        counted: &mut Counted,
    ) -> Attempted<Response> {
        let reused = slot.status().requests() > 0;
        // A connection that was idle may have been closed, or used on another loop.
        if reused {
            self.attach(&connection)?;
            let is_usable = connection.is_usable_by(self.loop_id()) && pin!(is_open_after_idling(&connection)).await;
            if !is_usable {
                return Err(Failed { error: Error::disconnected(), again: Again::Elsewhere });
            }
        }
        slot.status().begin_request();
        self.request.timings.begin_attempt(reused);
        let sent = pin!(connection.send(self.request, self.effects)).await;
        match sent {
            Ok(http2::Http2Response { head, body, stream_id }) => {
                self.request.timings.mark_now(Mark::FirstByte);
                slot.carry(counted.take());
                Ok(Response {
                    head: ResponseHead::Http2(head),
                    body: Box::new(ResponseBody::new(
                        BodySource::Http2 { body: Box::new(body), slot, timeout: self.request.timeouts.read },
                        self.effects.clone(),
                    )),
                    stream_view: StreamView::http2(&connection),
                    timings: Arc::clone(&self.request.timings),
                    stream_id: Some(stream_id),
                })
            }
            Err(failure) => {
                if let Some(error) = closed_by_pool(&slot) {
                    return Err(error.into());
                }
                if !connection.is_open() {
                    connection.report_draining();
                }
                let http2::Http2Failure { error, cause, has_begun_body } = failure;
                let again = match cause {
                    FailureCause::Unprocessed if self.may_replay(true) && !has_begun_body => Again::Elsewhere,
                    FailureCause::CutOff if reused && self.may_replay(false) && !has_begun_body => Again::IfFree,
                    _ => Again::Never,
                };
                Err(Failed { error, again })
            }
        }
    }
}

/// Returns whether an HTTP/2 connection still accepts requests after what it received while it was idle.
async fn is_open_after_idling(connection: &Http2) -> bool {
    connection.process_idle_frames().await;
    let is_open = connection.was_open();
    if !is_open {
        connection.report_draining();
    }
    is_open
}

/// A response with its whole body.
pub struct Fetched<C> {
    pub response: Response,
    pub content: C,
}

/// Collects the pieces of a body.
pub trait Collect: Default {
    fn push(&mut self, piece: Bytes) -> Result<()>;
}

/// Sends a request and reads its response to the end.
///
/// Dropping the future ends the exchange, as for [`start`].
pub async fn fetch<C: Collect>(
    client: Arc<Client>,
    request: Box<Request>,
    reactor: Option<Arc<Reactor>>,
    effects: EffectChannel,
) -> Result<Fetched<C>> {
    let mut response = pin!(start(client, request, ConnectionChoice::Any, reactor, effects.clone())).await?;
    let body = &mut response.body;
    let mut content = C::default();
    let mut yield_budget = YieldBudget::default();
    while let Some(chunk) = std::future::poll_fn(|cx| body.poll_chunk(cx)).await? {
        let length = chunk.len();
        content.push(chunk)?;
        yield_budget.spend(length, &effects).await?;
    }
    body.close();
    drop(body.take_ended());
    Ok(Fetched { response, content })
}

/// Runs `connecting` until the pool is closed: then returns `None`.
async fn unless_closed<T>(status: &Status, mut connecting: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|cx| {
        if status.poll_closed_by_pool(cx) {
            return Poll::Ready(None);
        }
        let poll = connecting.as_mut().poll(cx).map(Some);
        if poll.is_pending() {
            wait_set::waits_for_waker();
        }
        poll
    })
    .await
}

pub(super) fn closed_by_pool(slot: &SlotGuard<HttpConnection>) -> Option<Error> {
    let status = slot.status();
    status
        .is_closed_by_pool()
        .then(|| Error::new(Kind::ReadError, format!("the connection to {} was closed by its pool", status.origin)))
}

pub(super) fn closed() -> Error {
    Error::new(Kind::ReadError, "the response was closed before its body was read to the end")
}

/// Returns the error in a forked child: what arrives on the connection is for its parent.
pub(super) fn foreign() -> Error {
    Error::new(Kind::ReadError, "the response belongs to the process that sent its request")
}
