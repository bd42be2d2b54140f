//! Attempts to connect: routes, trace events, retries and the timeout.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::*;
use crate::error::{Error, Kind, Result};
use crate::io::block_on::block_on;
use crate::io::stream::Stream;
use crate::operation::{Backend, Effect, EffectChannel, ExternalHandle, StreamOwner};
use crate::origin::{Origin, Scheme};
use crate::testing::{Answers, ExternalStub};
use crate::timings::Timings;
use crate::tls::{Rules, Tls, TlsConfig, TlsOptions, Trust};

pub(super) fn origin(scheme: Scheme, host: &str, port: i64) -> Origin {
    Origin { scheme, host: host.to_owned(), port, server_name: None, tunnel_headers: None }
}

pub(super) fn external() -> ExternalHandle {
    let stream = ExternalStub { is_async: false, has_chosen_http2: true };
    ExternalHandle::new(Arc::new(stream), &StreamOwner::pool())
}

/// Returns a configuration of TLS that trusts any certificate.
pub(super) fn tls() -> Tls {
    let options = TlsOptions::new(Trust::Anything, Rules::default());
    Tls::Rustls(TlsConfig::lazy(options))
}

fn connector() -> Connector {
    Connector {
        retries: 0,
        local_address: None,
        interface: None,
        uds: None,
        liveness: Liveness::default(),
        socket_options: Vec::new(),
        proxy: None,
        tls: tls(),
        resolver: None,
        policy: None,
        backend: ArcSwapOption::empty(),
        python_sockets: None,
        http1: true,
        http2: true,
        expect_continue_timeout: None,
        keep_alive: None,
    }
}

fn through(address: SocketAddr, protocol: ProxyProtocol) -> Connector {
    let scheme = if matches!(protocol, ProxyProtocol::Socks5(_)) { Scheme::Socks5 } else { Scheme::Http };
    let proxy = Proxy::new(local(scheme, address), protocol, tls()).expect("a legal proxy");
    Connector { proxy: Some(proxy), ..connector() }
}

fn local(scheme: Scheme, address: SocketAddr) -> Origin {
    origin(scheme, &address.ip().to_string(), address.port().into())
}

/// Starts a server that accepts one connection, receives `expected` and sends `reply`, one after the other.
fn serve(dialogue: &'static [(&'static [u8], &'static [u8])]) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        for (expected, reply) in dialogue {
            let mut received = vec![0; expected.len()];
            stream.read_exact(&mut received).expect("a message");
            assert_eq!(received.escape_ascii().to_string(), expected.escape_ascii().to_string());
            stream.write_all(reply).expect("an open stream");
        }
    });
    (address, server)
}

/// Returns an address that refuses connections.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}

/// Connects, resolves names to `addresses`, and returns the trace events as well, without those that only say that a span began.
fn connect_to(
    connector: &Connector,
    origin: &Origin,
    addresses: &[SocketAddr],
    timeout: Option<Duration>,
) -> (Result<Stream>, Vec<String>) {
    let mut answers = Answers::traced();
    let effects = answers.effects.clone();
    let attempt =
        Attempt { origin, timeout, reactor: None, effects: &effects, timings: &Timings::default(), early_data: None };
    let connected = block_on(connector.connect(&attempt), &effects, |effect| match effect {
        Effect::Resolve { reply, .. } => reply.set(Ok(addresses.to_vec())),
        effect => answers.answer(effect),
    });
    answers.events.retain(|event| !event.ends_with(".started"));
    (connected.expect("no error of the driver"), answers.events)
}

fn failed(connector: &Connector, origin: &Origin, timeout: Option<Duration>) -> (Error, Vec<String>) {
    let (connected, events) = connect_to(connector, origin, &[], timeout);
    (connected.err().expect("a failure"), events)
}

#[test]
fn addresses_are_not_resolved_and_names_are() {
    let (address, server) = serve(&[]);
    let (connected, events) = connect_to(&connector(), &local(Scheme::Http, address), &[], None);
    assert!(connected.is_ok());
    assert_eq!(events, ["connection.connect_tcp.complete"]);
    server.join().expect("the server ends");

    let (address, server) = serve(&[]);
    let (connected, _) =
        connect_to(&connector(), &origin(Scheme::Http, "example.com", 1), &[refusing(), address], None);
    assert!(connected.is_ok());
    server.join().expect("the server ends");
}

#[test]
fn a_failed_attempt_is_repeated() {
    let address = refusing();
    let target = local(Scheme::Http, address);
    for retries in [0, 1, 2] {
        let (error, events) = failed(&Connector { retries, ..connector() }, &target, None);
        assert_eq!(error.kind(), Kind::ConnectError);
        let expected = format!("connecting to {target} failed: [Errno {}] Connection refused", libc::ECONNREFUSED);
        assert_eq!(error.message(), expected);
        let mut expected = vec!["connection.connect_tcp.failed"];
        for _ in 0..retries {
            expected.extend(["connection.retry.complete", "connection.connect_tcp.failed"]);
        }
        assert_eq!(events, expected);
    }
}

#[test]
fn a_port_that_does_not_exist_is_an_error() {
    let (error, _) = failed(&connector(), &origin(Scheme::Http, "127.0.0.1", 65_536), None);
    assert_eq!(error.message(), "connecting to http://127.0.0.1:65536 failed: 65536 is not a port (0-65535)");
}

#[test]
fn the_timeout_covers_tls() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let target = local(Scheme::Https, address);
    let (error, events) = failed(&connector(), &target, Some(Duration::from_millis(50)));
    assert_eq!(error.kind(), Kind::ConnectTimeout);
    assert_eq!(error.message(), format!("the TLS handshake to {target} took longer than 0.05 s (connect timeout)"));
    assert_eq!(events, ["connection.connect_tcp.complete", "connection.start_tls.failed"]);
}

#[test]
fn the_timeout_covers_the_handshake_with_a_proxy() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    for protocol in [ProxyProtocol::Http(Vec::new()), ProxyProtocol::Socks5(None)] {
        let connector = through(address, protocol);
        let proxy = connector.proxy.as_ref().expect("a proxy").origin.to_string();
        let (error, _) =
            failed(&connector, &origin(Scheme::Https, "example.com", 443), Some(Duration::from_millis(50)));
        assert_eq!(error.kind(), Kind::ConnectTimeout);
        let expected = format!("the handshake with the proxy {proxy} took longer than 0.05 s (connect timeout)");
        assert_eq!(error.message(), expected);
    }
}

#[test]
fn requests_for_http_are_forwarded_by_an_http_proxy() {
    let (address, server) = serve(&[]);
    let connector = through(address, ProxyProtocol::Http(Vec::new()));
    let target = Arc::new(origin(Scheme::Http, "example.com", 80));
    assert_eq!(connector.route(&target), ProxyRoute::Forward);
    assert_eq!(**connector.end(&target), local(Scheme::Http, address));
    assert!(!connector.may_multiplex(&target));
    let (connected, events) = connect_to(&connector, &target, &[], None);
    assert!(!connector.speaks_http2(&target, &connected.expect("a connection")));
    assert_eq!(events, ["connection.connect_tcp.complete"]);
    server.join().expect("the server ends");
}

#[test]
fn other_requests_go_through_a_tunnel() {
    let (address, server) = serve(&[(
        b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    )]);
    let connector = through(address, ProxyProtocol::Http(Vec::new()));
    let target = Arc::new(origin(Scheme::Ws, "example.com", 80));
    assert_eq!((connector.route(&target), connector.end(&target)), (ProxyRoute::Tunnel, &target));
    let (connected, events) = connect_to(&connector, &target, &[], None);
    assert!(connected.is_ok());
    assert_eq!(
        events,
        [
            "connection.connect_tcp.complete",
            "http11.send_request_headers.complete",
            "http11.send_request_body.complete",
            "http11.receive_response_headers.complete",
        ]
    );
    server.join().expect("the server ends");
}

#[test]
fn a_socks_proxy_connects_to_every_origin() {
    let (address, server) = serve(&[
        (&[5, 1, 0], &[5, 0]),
        (b"\x05\x01\x00\x03\x0bexample.com\x00\x50", &[5, 0, 0, 1, 127, 0, 0, 1, 4, 56]),
    ]);
    let connector = through(address, ProxyProtocol::Socks5(None));
    let target = Arc::new(origin(Scheme::Http, "example.com", 80));
    assert_eq!((connector.route(&target), connector.end(&target)), (ProxyRoute::Socks5, &target));
    let (connected, events) = connect_to(&connector, &target, &[], None);
    assert!(connected.is_ok());
    assert_eq!(events, ["socks.connect_tcp.complete", "socks.setup_socks5_connection.complete"]);
    server.join().expect("the server ends");
}

#[test]
fn a_proxy_that_refuses_connections_is_named() {
    let connector = through(refusing(), ProxyProtocol::Http(Vec::new()));
    let (error, _) = failed(&connector, &origin(Scheme::Http, "example.com", 80), None);
    assert!(error.message().starts_with("connecting to the proxy http://127.0.0.1:"), "{error}");
}

#[test]
fn credentials_and_fields_for_a_proxy_are_checked() {
    let proxy = || origin(Scheme::Http, "proxy", 8080);
    for field in [("Content-Length", "5"), ("transfer-encoding", "chunked"), ("X", "a\nb"), ("Bad Name", "1")] {
        let protocol = ProxyProtocol::Http(vec![(field.0.into(), field.1.into())]);
        let error = Proxy::new(proxy(), protocol, tls()).err().expect("an illegal field");
        assert_eq!(error.kind(), Kind::LocalProtocolError, "{field:?}");
    }
    let credentials = Credentials { username: "".into(), password: "x".into() };
    assert!(Proxy::new(proxy(), ProxyProtocol::Socks5(Some(credentials)), tls()).is_err());
}

#[test]
fn the_protocols_of_a_pool_decide_whether_a_connection_is_shared() {
    let https = origin(Scheme::Https, "example.com", 443);
    let http = origin(Scheme::Http, "example.com", 80);
    for (http1, http2, tls_is_shared, plain_is_shared) in
        [(true, true, true, false), (true, false, false, false), (false, true, true, true)]
    {
        let connector = Connector { http1, http2, ..connector() };
        assert_eq!(connector.may_multiplex(&https), tls_is_shared);
        assert_eq!(connector.may_multiplex(&http), plain_is_shared);
        let (address, server) = serve(&[]);
        let (connected, _) = connect_to(&connector, &local(Scheme::Http, address), &[], None);
        assert_eq!(connector.speaks_http2(&http, &connected.expect("a connection")), plain_is_shared);
        server.join().expect("the server ends");
    }
}

#[test]
fn a_unix_socket_takes_the_place_of_the_origin() {
    let path = std::env::temp_dir().join(format!("httpcore_rs-{}-connect.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let uds = path.to_str().map(str::to_owned);
    let target = origin(Scheme::Http, "example.com", 80);
    let (error, events) = failed(&Connector { uds: uds.clone(), ..connector() }, &target, None);
    assert_eq!((error.kind(), events[0].as_str()), (Kind::ConnectError, "connection.connect_unix_socket.failed"));
    let _listener = std::os::unix::net::UnixListener::bind(&path).expect("a free path");
    let (connected, events) = connect_to(&Connector { uds, ..connector() }, &target, &[], None);
    assert!(connected.is_ok());
    assert_eq!(events, ["connection.connect_unix_socket.complete"]);
    std::fs::remove_file(&path).expect("the socket's file");
}

/// Connects through a `network_backend` of which the first `failures` connects fail. Returns the effects that it was asked for, too.
fn connect_by_backend(connector: Connector, origin: &Origin, failures: usize) -> (Result<Stream>, Vec<String>) {
    let connector = Connector { backend: ArcSwapOption::from_pointee(Arc::new(()) as Backend), ..connector };
    let effects = EffectChannel::default();
    let attempt = Attempt {
        origin,
        timeout: None,
        reactor: None,
        effects: &effects,
        timings: &Timings::default(),
        early_data: None,
    };
    let (mut log, mut failures) = (Vec::new(), failures);
    let connected = block_on(connector.connect(&attempt), &effects, |effect| match effect {
        Effect::Connect { stream, event, reply, .. } => {
            log.push(format!("{}{}", event.name(), if stream.is_some() { " on a stream" } else { "" }));
            let fails = failures > 0;
            failures = failures.saturating_sub(1);
            reply.set(if fails { Err(Error::new(Kind::ConnectError, "unreachable")) } else { Ok(external()) });
        }
        Effect::Sleep { delay, reply, .. } => {
            log.push(format!("sleep {delay:?}"));
            reply.set(Ok(()));
        }
        Effect::CloseDropped(reply) => reply.set(Ok(())),
        _ => panic!("a backend connects and sleeps"),
    });
    (connected.expect("no error of the driver"), log)
}

#[test]
fn a_backend_makes_streams_and_begins_tls_on_them() {
    let plain = origin(Scheme::Http, "example.com", 80);
    let (connected, log) = connect_by_backend(connector(), &plain, 0);
    assert!(matches!(connected, Ok(Stream::External(_))));
    assert_eq!(log, ["connect_tcp"]);
    let secure = origin(Scheme::Https, "example.com", 443);
    let (connected, log) = connect_by_backend(connector(), &secure, 0);
    assert!(connector().speaks_http2(&secure, &connected.expect("a connection")));
    assert_eq!(log, ["connect_tcp", "start_tls on a stream"]);
    let (_, log) = connect_by_backend(Connector { uds: Some("path".to_owned()), ..connector() }, &plain, 0);
    assert_eq!(log, ["connect_unix_socket"]);
}

#[test]
fn a_backend_makes_the_pauses_between_attempts() {
    let target = origin(Scheme::Http, "example.com", 80);
    let (connected, log) = connect_by_backend(Connector { retries: 3, ..connector() }, &target, 3);
    assert!(connected.is_ok());
    let connect = "connect_tcp";
    assert_eq!(log, [connect, "sleep 0ns", connect, "sleep 500ms", connect, "sleep 1s", connect]);
    let (connected, log) = connect_by_backend(Connector { retries: 1, ..connector() }, &target, 2);
    assert_eq!(connected.err().expect("a failure").message(), "unreachable");
    assert_eq!(log.len(), 3);
}
