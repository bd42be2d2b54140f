//! The life of a connection's status.

use std::sync::atomic::AtomicBool;
use std::task::Wake;
use std::time::Duration;

use super::*;
use crate::origin::Scheme;

/// A stream that can be made readable and remembers that it was shut down.
#[derive(Default)]
struct TestLink {
    is_readable: AtomicBool,
    is_shut_down: AtomicBool,
}

impl Link for TestLink {
    fn shutdown(&self) {
        self.is_shut_down.store(true, Ordering::SeqCst);
    }

    fn is_readable(&self) -> bool {
        self.is_readable.load(Ordering::SeqCst)
    }

    fn moved(&self) -> (u64, u64) {
        (0, 0)
    }
}

struct WokenFlag(AtomicBool);

impl Wake for WokenFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn origin(host: &str) -> Arc<Origin> {
    Arc::new(Origin {
        scheme: Scheme::Https,
        host: host.to_owned(),
        port: 443,
        server_name: None,
        tunnel_headers: None,
    })
}

fn status() -> Status {
    Status::new(1, origin("a"))
}

fn established() -> (Status, Arc<TestLink>) {
    let (status, link) = (status(), Arc::<TestLink>::default());
    status.mark_connecting();
    let shared: Arc<dyn Link> = Arc::<TestLink>::clone(&link);
    status.set_link(shared, &status.origin);
    status.mark_connected();
    (status, link)
}

#[test]
fn the_life_of_a_connection_for_one_request_at_a_time() {
    let (status, _) = established();
    assert_eq!(status.state(), ConnectionState::New);
    assert_eq!(status.to_string(), "'https://a:443', HTTP/1.1, NEW, Request Count: 0");
    for count in 1..3 {
        status.begin_request();
        assert_eq!(status.state(), ConnectionState::Active { has_room: false });
        assert_eq!(status.to_string(), format!("'https://a:443', HTTP/1.1, ACTIVE, Request Count: {count}"));
        assert!(!status.is_available());
        status.mark_idle(None);
        assert!(status.is_idle() && status.is_available());
    }
    assert_eq!(status.without_protocol(), "'https://a:443', IDLE, Request Count: 2");
    status.mark_closed();
    assert!(status.is_closed() && status.is_connected() && !status.has_failed() && !status.has_expired());
    assert_eq!(status.to_string(), "'https://a:443', HTTP/1.1, CLOSED, Request Count: 2");
}

#[test]
fn a_connection_that_was_never_established_has_failed() {
    let status = status();
    assert!(status.is_connecting() && !status.is_connected());
    assert_eq!(status.to_string(), "CONNECTING");
    for _ in 0..2 {
        status.mark_closed();
        assert!(status.has_failed() && status.is_closed() && !status.is_connected() && status.has_expired());
        assert_eq!(status.to_string(), "CONNECTION FAILED");
    }
}

#[test]
fn another_attempt_in_the_same_slot_begins_anew() {
    let (status, _) = established();
    status.mark_multiplexed();
    status.set_room(true);
    status.begin_request();
    status.mark_closed();
    status.mark_connecting();
    assert!(status.is_connecting() && !status.is_multiplexed() && status.requests() == 0);
    status.mark_connected();
    status.begin_request();
    assert_eq!(status.state(), ConnectionState::Active { has_room: false });
}

#[test]
fn a_shared_connection_is_available_while_it_has_room() {
    let (status, _) = established();
    status.mark_multiplexed();
    status.begin_request();
    assert!(!status.is_available());
    status.set_room(true);
    assert!(status.is_available());
    assert!(status.to_string().contains("HTTP/2"));
    status.set_room(false);
    assert!(!status.is_available());
}

#[test]
fn a_request_may_begin_on_a_shared_connection_before_its_maker_marks_it() {
    let status = status();
    status.mark_multiplexed();
    status.begin_request();
    status.mark_connected();
    assert_eq!(status.state(), ConnectionState::Active { has_room: false });
}

#[test]
fn a_closed_connection_stays_closed() {
    let (status, link) = established();
    status.close();
    assert!(link.is_shut_down.load(Ordering::SeqCst));
    status.begin_request();
    assert!(status.is_closed() && status.is_closed_by_pool());
    status.mark_connecting();
    assert!(status.is_closed_by_pool(), "an attempt after that ends at once");
}

#[test]
fn closing_an_attempt_wakes_the_task_that_makes_it() {
    let status = status();
    let flag = Arc::new(WokenFlag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    assert!(!status.poll_closed_by_pool(&Context::from_waker(&waker)));
    status.close();
    assert!(flag.0.load(Ordering::SeqCst));
    assert!(status.poll_closed_by_pool(&Context::from_waker(&waker)));
    status.mark_connected();
    assert!(status.is_closed() && !status.has_failed(), "the stream was there when the pool closed it");
}

#[test]
fn an_idle_connection_expires() {
    let (status, link) = established();
    let now = Instant::now();
    status.mark_idle(Some(now + Duration::from_secs(3600)));
    assert!(!status.has_expired());
    link.is_readable.store(true, Ordering::SeqCst);
    assert!(status.has_expired(), "its peer has closed it, or sent what was not asked for");
    status.mark_multiplexed();
    assert!(!status.has_expired(), "a PING of the peer says nothing against it");
    status.mark_idle(now.checked_sub(Duration::from_secs(1)));
    assert!(status.has_expired());
    status.begin_request();
    assert!(!status.has_expired());
}

#[test]
fn the_stream_is_shown_while_the_connection_is_idle() {
    let (status, _) = established();
    assert!(status.idle_link().is_none());
    status.mark_idle(None);
    assert!(status.idle_link().is_some());
    status.mark_multiplexed();
    assert!(status.idle_link().is_none());
}

#[test]
fn the_limit_is_that_of_the_peer_and_at_most_a_hundred() {
    let status = status();
    assert_eq!((status.max_requests(), status.peer_limit()), (None, None));
    for (limit, expected) in [(0, 0), (1, 1), (100, 100), (1000, 100)] {
        status.set_max_requests(limit);
        assert_eq!((status.max_requests(), status.peer_limit()), (Some(expected), Some(limit)));
    }
}

#[test]
fn a_connection_through_a_forwarding_proxy_ends_there() {
    let status = status();
    status.set_link(Arc::<TestLink>::default(), &origin("proxy"));
    status.mark_connected();
    assert_eq!(status.without_protocol(), "'https://proxy:443', NEW, Request Count: 0");
}
