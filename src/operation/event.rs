//! Trace events: those of httpcore's `trace` extension and of its debug logs.
//!
//! They are reported through the [`EffectChannel`], when they happen and only for operations that are traced.

use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use socket2::{SockAddr, Socket};

use super::ExternalHandle;
use crate::error::Error;
use crate::message::ResponseHead;

/// The protocol of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    Http1,
    /// HTTP/1.1 with a proxy that is to make a tunnel.
    Connect,
    /// HTTP/2, with the number of the stream.
    Http2(u32),
}

/// The part of the path to an origin that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// To the origin itself.
    Direct,
    ToHttpProxy,
    ToSocksProxy,
    /// To the origin, through the tunnel of an HTTP proxy.
    ThroughTunnel,
    /// To the origin, through a SOCKS proxy.
    ThroughSocks,
}

/// The name of a trace event, with its arguments.
#[derive(Clone, Debug)]
pub enum Event {
    ConnectTcp {
        host: String,
        port: i64,
        local_address: Option<IpAddr>,
        timeout: Option<Duration>,
        hop: Hop,
    },
    ConnectUnixSocket {
        path: String,
        timeout: Option<Duration>,
    },
    /// `by_backend`: the user's backend does TLS, and not the engine.
    StartTls {
        server_hostname: String,
        timeout: Option<Duration>,
        by_backend: bool,
        hop: Hop,
    },
    /// A SOCKS proxy connects to an origin.
    SetupSocks5(Box<SocksRequest>),
    Retry,
    /// An idle connection is closed: it makes room, is too old, or was closed by the server. It is only logged, since it belongs to no
    /// request.
    Close,
    /// An HTTP/2 connection is opened.
    SendConnectionInit,
    /// A request waits in the pool. Reported on request only, as [`Event::ResolveName`] is: httpcore has no such event.
    PoolWait,
    /// The name of a host is resolved.
    ResolveName {
        host: String,
        port: u16,
    },
    SendRequestHeaders(ExchangeKind),
    SendRequestBody(ExchangeKind),
    ReceiveResponseHeaders(ExchangeKind),
    ResponseClosed(ExchangeKind),
}

/// A request to a SOCKS proxy, and the stream that it is sent on.
#[derive(Clone, Debug)]
pub struct SocksRequest {
    pub stream: Outcome,
    pub host: String,
    pub port: i64,
    pub username: Option<Bytes>,
}

impl Event {
    /// Returns the name of the logger, without that of the package.
    pub fn logger(&self) -> &'static str {
        match self {
            Self::ConnectTcp { hop, .. } | Self::StartTls { hop, .. } => match hop {
                Hop::Direct | Hop::ToHttpProxy => "connection",
                Hop::ThroughTunnel => "proxy",
                Hop::ToSocksProxy | Hop::ThroughSocks => "socks",
            },
            Self::PoolWait | Self::ResolveName { .. } => "httpcore_rs",
            Self::SetupSocks5(_) => "socks",
            Self::ConnectUnixSocket { .. } | Self::Retry | Self::Close => "connection",
            Self::SendConnectionInit => "http2",
            Self::SendRequestHeaders(protocol)
            | Self::SendRequestBody(protocol)
            | Self::ReceiveResponseHeaders(protocol)
            | Self::ResponseClosed(protocol) => match protocol {
                ExchangeKind::Http1 | ExchangeKind::Connect => "http11",
                ExchangeKind::Http2(_) => "http2",
            },
        }
    }

    /// Returns the name that the trace callback gets, without the logger and the stage.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConnectTcp { .. } => "connect_tcp",
            Self::ConnectUnixSocket { .. } => "connect_unix_socket",
            Self::StartTls { .. } => "start_tls",
            Self::SetupSocks5(_) => "setup_socks5_connection",
            Self::Retry => "retry",
            Self::Close => "close",
            Self::PoolWait => "pool_wait",
            Self::ResolveName { .. } => "resolve_name",
            Self::SendConnectionInit => "send_connection_init",
            Self::SendRequestHeaders(_) => "send_request_headers",
            Self::SendRequestBody(_) => "send_request_body",
            Self::ReceiveResponseHeaders(_) => "receive_response_headers",
            Self::ResponseClosed(_) => "response_closed",
        }
    }
}

/// The stage of a trace event.
#[derive(Debug)]
pub enum SpanStage {
    Started,
    Complete(Outcome),
    Failed(Error),
}

/// The return value of what is traced.
#[derive(Clone, Debug)]
pub enum Outcome {
    Nothing,
    Stream(Box<Endpoints>),
    /// An external stream.
    External(ExternalHandle),
    Head(ResponseHead),
}

/// The two ends of a connection.
#[derive(Clone)]
pub struct Endpoints {
    pub local: Option<SockAddr>,
    pub peer: Option<SockAddr>,
    /// The TLS session between them, for those who ask about it.
    pub session: Option<Arc<dyn Any + Send + Sync>>,
}

impl Endpoints {
    pub fn of(socket: &Socket, session: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { local: socket.local_addr().ok(), peer: socket.peer_addr().ok(), session }
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").field("local", &self.local).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// An event with its stage.
#[derive(Debug)]
pub struct TraceEvent {
    pub event: Event,
    pub stage: SpanStage,
}
