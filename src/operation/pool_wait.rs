//! The report of a request that has waited in the pool for long.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::origin::Origin;

/// A callback of the user's, which only the drivers know how to call.
pub type UserCallback = Arc<dyn Any + Send + Sync>;

/// A request that has waited in the pool for long, and what it waits for.
#[derive(Debug)]
pub struct PoolWait {
    pub origin: Arc<Origin>,
    pub waited: Duration,
    /// `None` if there is no limit.
    pub max_connections: Option<usize>,
    /// The number of requests that wait, this one included.
    pub waiting: usize,
    /// The origins whose requests use the connections: the number of these requests, and for how long the oldest has had its
    /// connection.
    pub holders: Vec<(Arc<Origin>, usize, Duration)>,
}
