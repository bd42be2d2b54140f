//! The connections that the pool holds, of either protocol, and what ties them to it.

use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::replay::Replay;
use crate::connect::Connector;
use crate::http1::Http1;
use crate::http2::{ConnectionObserver, Http2};
use crate::io::stream::StreamLink;
use crate::operation::{ExternalHandle, StreamOwner, UserCallback};
use crate::pool::{Link, LoopId, MAX_REQUESTS, Pool, Poolable, SlotGuard, Status, StatusObserver};

/// A connection in a slot of the pool.
pub enum HttpConnection {
    /// Boxed: a connection is moved more often than it is made.
    Http1(Box<Http1>),
    Http2(Arc<Http2>),
}

impl Poolable for HttpConnection {
    fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(connection) => Some(Self::Http2(Arc::clone(connection))),
        }
    }

    fn rest(&mut self) {
        if let Self::Http1(connection) = self {
            connection.rest();
        }
    }
}

/// A pool, and what makes its connections.
pub struct Client {
    pub pool: Pool<HttpConnection>,
    pub connector: Connector,
    pub replay: Replay,
    /// Closes the external streams of threads.
    pub owner: Arc<StreamOwner>,
    pub wait_reports: WaitReports,
}

/// When and to what a request is reported that waits in the pool for long.
#[derive(Default)]
pub struct WaitReports {
    /// `None` reports none.
    pub after: Option<Duration>,
    pub callback: Option<UserCallback>,
}

/// Offers an HTTP/2 connection to the other requests of its route. From now on it reports its limit and its end to the pool.
pub fn share(connection: &Arc<Http2>, slot: &mut SlotGuard<HttpConnection>, loop_id: LoopId) {
    connection.observe(Box::new(PoolObserver { watch: slot.watch(), status: Arc::clone(slot.status()) }));
    slot.share(HttpConnection::Http2(Arc::clone(connection)), loop_id);
}

/// Reports the limit and the end of a shared connection to the pool.
struct PoolObserver {
    watch: Weak<dyn StatusObserver>,
    status: Arc<Status>,
}

impl ConnectionObserver for PoolObserver {
    fn limit_changed(&self, limit: Option<usize>) {
        self.status.set_max_requests(limit.unwrap_or(MAX_REQUESTS));
        if let Some(watch) = self.watch.upgrade() {
            watch.limit_changed(&self.status);
        }
    }

    fn retired(&self) {
        if let Some(watch) = self.watch.upgrade() {
            watch.retired(&self.status);
        }
    }
}

impl Link for StreamLink {
    fn shutdown(&self) {
        Self::shutdown(self);
    }

    fn is_readable(&self) -> bool {
        Self::is_readable(self)
    }

    fn moved(&self) -> (u64, u64) {
        Self::moved(self)
    }
}

/// Returns the external stream under an idle HTTP/1.1 connection. Only the stream can tell whether its peer has closed it.
pub fn idle_external_stream(status: &Status) -> Option<ExternalHandle> {
    let link = status.idle_link()?;
    let link: &dyn Any = &*link;
    match link.downcast_ref::<StreamLink>()? {
        StreamLink::External(stream) => Some(stream.clone()),
        StreamLink::Socket { .. } => None,
    }
}
