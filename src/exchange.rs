//! One request from the pool to its response.
//!
//! [`start`] waits for a connection, makes it if need be, and sends the request. What it returns owns the connection and its
//! place in the pool until the response is closed: dropping it, or the future, at any point gives both back.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;

use crate::ask::Asker;
use crate::connection::establish::{Attempt, Connector};
use crate::connection::http1::{self, BodyFault, Failure, Http1, ResponseHead, Stall, Tap};
use crate::error::{Error, Kind, Result};
use crate::io::park;
use crate::io::reactor::Reactor;
use crate::pool::{Acquired, Lease, Pool};
use crate::request::{Content, Request};
use crate::timeout::Seconds;
use crate::trace::{Event, Outcome};

/// Whoever reads a body that never has to wait lets others run after so many bytes.
pub const YIELD_AFTER: usize = 1024 * 1024;

/// A connection is moved about more often than it is made.
pub type Connection = Box<Http1>;

/// What all requests of one pool share.
pub struct Client {
    pub pool: Pool<Connection>,
    pub connector: Connector,
}

/// Where a request goes.
pub enum Place {
    /// Over any connection that can take it.
    Any,
    /// Over this one and no other.
    This(Acquired<Connection>),
}

/// A response whose body is still to be read.
pub struct Response {
    pub head: ResponseHead,
    pub body: ResponseBody,
    pub tap: Tap,
}

/// Sends a request and waits for the head of its response.
///
/// Dropping the future closes the connection that the request was on and serves the next one in line.
pub async fn start(
    client: Arc<Client>,
    request: Request,
    place: Place,
    reactor: Option<Arc<Reactor>>,
    asker: Asker,
) -> Result<Response> {
    let (acquired, is_free) = match place {
        Place::Any => (client.pool.acquire(&request.origin, request.timeouts.pool).await?, true),
        Place::This(acquired) => (acquired, false),
    };
    let Some((lease, idle)) = acquired.take() else {
        return Err(Error::new(Kind::Internal, "the pool gave a connection without a place"));
    };
    if asker.is_traced() {
        report_closed(&asker, client.pool.take_discarded()).await?;
    }
    let mut idle = match idle {
        Some(connection) => {
            let usable = usable(connection, reactor.as_ref(), &asker).await?;
            if usable.is_none() {
                report_closed(&asker, 1).await?;
            }
            if usable.is_none() && !is_free {
                return Err(http1::disconnected());
            }
            usable
        }
        None => None,
    };
    loop {
        let reused = idle.is_some();
        let mut connection = match idle.take() {
            Some(connection) => connection,
            // Boxed: it is large, and most requests do without.
            None => Box::pin(connect(&client.connector, &request, reactor.as_ref(), &asker, &lease)).await?,
        };
        lease.status().begin_request();
        match connection.send(&request, &asker).await {
            Ok(response) => {
                let body = ResponseBody {
                    incoming: response.body,
                    reader: None,
                    expected: response.head.content_length(),
                    received: 0,
                    stall: Stall::default(),
                    timeout: request.timeouts.read,
                    asker,
                    in_use: Some(InUse { connection, lease }),
                };
                return Ok(Response { head: response.head, body, tap: response.tap });
            }
            Err(failure) => {
                if let Some(error) = closed_by_pool(&lease) {
                    return Err(error);
                }
                if !(is_free && reused && is_replaceable(&request, &failure)) {
                    return Err(failure.error);
                }
            }
        }
    }
}

/// The idle connection, if it still can be used.
async fn usable(connection: Connection, reactor: Option<&Arc<Reactor>>, asker: &Asker) -> Result<Option<Connection>> {
    let usable = !connection.is_stale(asker).await? && connection.attach(reactor).is_ok();
    Ok(usable.then_some(connection))
}

async fn report_closed(asker: &Asker, connections: usize) -> Result<()> {
    for _ in 0..connections {
        asker.span(|| Event::Close, |()| Outcome::Nothing, async { Ok(()) }).await?;
    }
    Ok(())
}

/// A response with its whole body.
pub struct Fetched {
    pub head: ResponseHead,
    pub content: Vec<Bytes>,
    /// Closed; for those who look at the stream nevertheless.
    pub body: ResponseBody,
    pub tap: Tap,
}

/// Sends a request and reads its response to the end.
///
/// Dropping the future closes the connection that the request was on and serves the next one in line.
pub async fn fetch(
    client: Arc<Client>,
    request: Request,
    reactor: Option<Arc<Reactor>>,
    asker: Asker,
) -> Result<Fetched> {
    let Response { head, mut body, tap } = start(client, request, Place::Any, reactor, asker.clone()).await?;
    let mut content = Vec::new();
    let mut budget = YIELD_AFTER;
    while let Some(chunk) = std::future::poll_fn(|cx| body.poll_chunk(cx)).await? {
        budget = budget.saturating_sub(chunk.len());
        content.push(chunk);
        if budget == 0 {
            budget = YIELD_AFTER;
            asker.yield_now().await;
        }
    }
    body.close();
    Ok(Fetched { head, content, body, tap })
}

/// A connection on a new place. If the idle one in this place was dead, the new one takes it over.
async fn connect(
    connector: &Connector,
    request: &Request,
    reactor: Option<&Arc<Reactor>>,
    asker: &Asker,
    lease: &Lease<Connection>,
) -> Result<Connection> {
    let attempt = Attempt { origin: &request.origin, timeout: request.timeouts.connect, reactor, asker };
    let status = lease.status();
    let closed = || {
        let message = format!("the connection pool was closed while connecting to {}", request.origin);
        Error::new(Kind::ConnectError, message)
    };
    status.connecting();
    let stream = status.unless_closed(connector.connect(&attempt)).await.ok_or_else(closed)??;
    status.connected(stream.link());
    if status.is_closed_by_pool() {
        return Err(closed());
    }
    Ok(Box::new(Http1::new(stream, Arc::clone(&request.origin)).await?))
}

/// Whether a request that failed on a reused connection is sent once more on another one (RFC 9112, 9.3.1): the server closed it
/// before it answered, and either cannot have seen the request or may see it twice.
fn is_replaceable(request: &Request, failure: &Failure) -> bool {
    let closed = matches!(failure.error.kind(), Kind::ReadError | Kind::WriteError | Kind::RemoteProtocolError);
    let unseen = failure.written == 0;
    let repeatable = matches!(request.content, Content::Inline(_));
    closed && failure.received == 0 && repeatable && (unseen || request.head.method.is_idempotent())
}

fn closed_by_pool(lease: &Lease<Connection>) -> Option<Error> {
    let status = lease.status();
    status
        .is_closed_by_pool()
        .then(|| Error::new(Kind::ReadError, format!("the connection to {} was closed by its pool", status.origin)))
}

struct InUse {
    // Dropped in this order: the descriptor is closed before the place is given to somebody else.
    connection: Connection,
    lease: Lease<Connection>,
}

/// The body of a response, and the connection it comes on.
///
/// Closing it, or dropping it, returns the connection to the pool if the body was read to its end; else closes the connection.
pub struct ResponseBody {
    in_use: Option<InUse>,
    /// `None` when the body is complete.
    incoming: Option<Incoming>,
    /// Whoever waits for the next chunk at the moment, to be told when the response is closed meanwhile.
    reader: Option<Waker>,
    expected: Option<u64>,
    received: u64,
    stall: Stall,
    timeout: Option<Duration>,
    asker: Asker,
}

impl ResponseBody {
    /// By what the body asks for what it needs.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Polls for the next chunk, `None` at the end. A failed body stays failed: it is closed.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(Ok(None)) };
        let Some(in_use) = &mut self.in_use else {
            let message = "the response was closed before its body was read to the end";
            return Poll::Ready(Err(Error::new(Kind::ReadError, message)));
        };
        if !in_use.lease.is_current() {
            // A forked child: what comes on this connection is for its parent.
            let message = "the response belongs to the process that sent its request";
            return Poll::Ready(Err(Error::new(Kind::ReadError, message)));
        }
        let poll = in_use.connection.poll_body(cx, incoming, &mut self.stall, self.timeout, Some(&self.asker));
        if poll.is_ready() {
            self.reader = None;
        }
        match poll {
            Poll::Pending => {
                if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                    self.reader = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            Poll::Ready(Ok(Some(chunk))) => {
                self.received += chunk.len() as u64;
                Poll::Ready(Ok(Some(chunk)))
            }
            Poll::Ready(Ok(None)) => {
                self.incoming = None;
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(fault)) => {
                let error = self.explain(fault);
                self.in_use = None;
                Poll::Ready(Err(error))
            }
        }
    }

    /// Gives the connection back. Idempotent. Whoever waits for a chunk wakes up to a `ReadError`.
    pub fn close(&mut self) {
        let Some(in_use) = self.in_use.take() else { return };
        if let Some(reader) = self.reader.take() {
            // A thread may be asleep on the socket.
            in_use.lease.status().close();
            reader.wake();
        }
        self.give_back(in_use);
    }

    fn give_back(&mut self, mut in_use: InUse) {
        if !in_use.lease.is_current() {
            // A forked child: closing its copy of the descriptor leaves the parent's alone.
            return;
        }
        if let Some(incoming) = &mut self.incoming {
            // The last bytes may be read while the end has not been noticed yet.
            let mut cx = Context::from_waker(Waker::noop());
            let poll = in_use.connection.poll_body(&mut cx, incoming, &mut Stall::default(), None, None);
            park::clear();
            if !matches!(poll, Poll::Ready(Ok(None))) {
                return;
            }
            self.incoming = None;
        }
        let InUse { mut connection, lease } = in_use;
        if connection.is_upgraded() {
            // A thread may be asleep on the stream that the caller took over.
            lease.status().close();
        }
        if !lease.status().is_closed_by_pool() && connection.finish() {
            lease.keep(connection);
        } else {
            drop(connection);
        }
    }

    fn explain(&self, fault: BodyFault) -> Error {
        let Some(InUse { connection, lease }) = &self.in_use else {
            return Error::new(Kind::ReadError, "the response was closed");
        };
        let origin = &lease.status().origin;
        if let Some(error) = closed_by_pool(lease) {
            return error;
        }
        match fault {
            BodyFault::TimedOut => {
                let limit = Seconds(self.timeout.unwrap_or_default());
                let message = format!("no more of the response body from {origin} within {limit} (read timeout)");
                Error::new(Kind::ReadTimeout, message)
            }
            BodyFault::Broken(error) => {
                let at_end = connection.is_at_end();
                let error = connection.fault(Some(&error));
                if !at_end || error.kind() != Kind::RemoteProtocolError {
                    return error;
                }
                // h11's texts.
                let part = match self.expected {
                    Some(expected) => format!("received {} bytes, expected {expected}", self.received),
                    None => "incomplete chunked read".to_owned(),
                };
                Error::remote(format!("peer closed connection without sending complete message body ({part})"))
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.close();
    }
}
