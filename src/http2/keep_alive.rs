//! Detecting that the peer is gone: a PING after a time without received bytes (RFC 9113, 6.7).

use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use h2::{Ping, PingPong};

use super::wire::Http2WireHandle;
use crate::error::Kind;
use crate::io::reactor::Reactor;
use crate::io::wait_set;
use crate::timeout::Seconds;

/// The time without received bytes after which a PING is sent, and the time limit for its ACK.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    pub interval: Duration,
    pub timeout: Duration,
}

pub struct Pinger {
    keep_alive: KeepAlive,
    ping_pong: PingPong,
    /// The bytes that had been received when it was polled last.
    received: u64,
    /// When that number last grew.
    since: Instant,
    /// When the PING was sent that has no ACK yet.
    sent_at: Option<Instant>,
    /// The deadline that the reactor has a timer for.
    timer: Option<Instant>,
}

impl Pinger {
    pub fn new(keep_alive: KeepAlive, ping_pong: PingPong) -> Self {
        Self { keep_alive, ping_pong, received: 0, since: Instant::now(), sent_at: None, timer: None }
    }

    /// Sends a PING when one is due, and checks for its ACK. Returns false if the ACK is overdue; the wire has the error then.
    pub fn poll(&mut self, cx: &mut Context<'_>, wire: &Http2WireHandle, reactor: Option<&Arc<Reactor>>) -> bool {
        let now = Instant::now();
        let received = wire.lock().received();
        if received != self.received {
            self.received = received;
            self.since = now;
        }
        if self.sent_at.is_some() && self.ping_pong.poll_pong(cx).is_ready() {
            self.sent_at = None;
        }
        let deadline = match self.sent_at {
            None => {
                let due = self.since + self.keep_alive.interval;
                if now < due {
                    due
                } else {
                    if self.ping_pong.send_ping(Ping::opaque()).is_ok() {
                        self.sent_at = Some(now);
                        cx.waker().wake_by_ref();
                    }
                    now + self.keep_alive.timeout
                }
            }
            Some(sent_at) if now >= sent_at + self.keep_alive.timeout => {
                let limit = Seconds(self.keep_alive.timeout);
                wire.lock().fail(Kind::ReadError, |origin| {
                    format!("{origin} did not answer a PING within {limit}: the connection is dead")
                });
                return false;
            }
            Some(sent_at) => sent_at + self.keep_alive.timeout,
        };
        self.wake_at(deadline, cx, reactor);
        true
    }

    fn wake_at(&mut self, deadline: Instant, cx: &Context<'_>, reactor: Option<&Arc<Reactor>>) {
        let Some(reactor) = reactor else {
            wait_set::wake_at(deadline);
            return;
        };
        // A timer that fires too early costs one look at the clock; a new timer for every received byte would cost more.
        let now = Instant::now();
        if self.timer.is_none_or(|timer| timer <= now || timer > deadline) {
            self.timer = Some(deadline);
            reactor.add_job_timer(deadline, cx.waker().clone());
        }
    }
}
