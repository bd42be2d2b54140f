//! Finding out that a peer is gone: a PING when nothing has come for a while (RFC 9113, 6.7).

use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use h2::{Ping, PingPong};

use super::wire::Http2WireHandle;
use crate::error::Kind;
use crate::io::reactor::Reactor;
use crate::io::wait_set;
use crate::timeout::Seconds;

/// When to ask, and how long to wait for the answer.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    pub interval: Duration,
    pub timeout: Duration,
}

pub struct Pinger {
    keep_alive: KeepAlive,
    ping_pong: PingPong,
    received: u64,
    /// When the last byte came.
    since: Instant,
    /// When the ping that is under way was sent.
    asked: Option<Instant>,
    /// The deadline that the reactor knows of.
    armed: Option<Instant>,
}

impl Pinger {
    pub fn new(keep_alive: KeepAlive, ping_pong: PingPong) -> Self {
        let since = Instant::now();
        Self { keep_alive, ping_pong, received: 0, since, asked: None, armed: None }
    }

    /// Asks if it is time to, and looks for the answer; whether the peer is there, for all we know. If not, the wire has the error.
    pub fn poll(&mut self, cx: &mut Context<'_>, wire: &Http2WireHandle, reactor: Option<&Arc<Reactor>>) -> bool {
        let now = Instant::now();
        let received = wire.lock().received();
        if received != self.received {
            self.received = received;
            self.since = now;
        }
        if self.asked.is_some() && self.ping_pong.poll_pong(cx).is_ready() {
            self.asked = None;
        }
        let deadline = match self.asked {
            None => {
                let due = self.since + self.keep_alive.interval;
                if now < due {
                    due
                } else {
                    if self.ping_pong.send_ping(Ping::opaque()).is_ok() {
                        self.asked = Some(now);
                        cx.waker().wake_by_ref();
                    }
                    now + self.keep_alive.timeout
                }
            }
            Some(asked) if now >= asked + self.keep_alive.timeout => {
                let limit = Seconds(self.keep_alive.timeout);
                wire.lock().fail(Kind::ReadError, |origin| {
                    format!("{origin} did not answer a PING within {limit}: the connection is dead")
                });
                return false;
            }
            Some(asked) => asked + self.keep_alive.timeout,
        };
        self.wake_at(deadline, cx, reactor);
        true
    }

    fn wake_at(&mut self, deadline: Instant, cx: &Context<'_>, reactor: Option<&Arc<Reactor>>) {
        let Some(reactor) = reactor else {
            wait_set::wake_at(deadline);
            return;
        };
        // A timer that comes too early only looks at the time: a new one for every byte would cost more.
        let now = Instant::now();
        if self.armed.is_none_or(|armed| armed <= now || armed > deadline) {
            self.armed = Some(deadline);
            reactor.add_job_timer(deadline, cx.waker().clone());
        }
    }
}
