//! A server that reads and writes single frames (RFC 9113, 4 and 6), also illegal ones.

use super::ScriptedPeer;

/// Types of frames.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
}

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
pub const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Identifiers of settings.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// Error codes.
pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

#[derive(Debug, PartialEq, Eq)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// Returns the settings in the frame.
    pub fn settings(&self) -> Vec<(u16, u32)> {
        self.payload
            .chunks_exact(6)
            .map(|setting| (u16::from_be_bytes([setting[0], setting[1]]), number(&setting[2..])))
            .collect()
    }

    /// Returns the number that is the payload of a `WINDOW_UPDATE` or `RST_STREAM` frame.
    pub fn number(&self) -> u32 {
        number(&self.payload)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes[..4].iter().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

pub struct FramePeer<'a> {
    pub peer: &'a mut ScriptedPeer,
}

impl<'a> FramePeer<'a> {
    pub fn new(peer: &'a mut ScriptedPeer) -> Self {
        Self { peer }
    }

    /// Receives the client's preface and its `SETTINGS`, acknowledges them, and sends settings of its own.
    pub fn open(&mut self, settings: &[(u16, u32)]) {
        self.peer.expect(PREFACE);
        assert_eq!(self.frame().kind, kind::SETTINGS);
        self.settings(settings);
        self.send(kind::SETTINGS, ACK, 0, &[]);
    }

    /// Receives a frame.
    pub fn frame(&mut self) -> RawFrame {
        let header = self.peer.receive(9);
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        RawFrame { kind: header[3], flags: header[4], stream: number(&header[5..]), payload: self.peer.receive(length) }
    }

    /// Receives the next frame of a stream, or the next `PING` or `GOAWAY`.
    pub fn next(&mut self) -> RawFrame {
        loop {
            let frame = self.frame();
            if !matches!(frame.kind, kind::SETTINGS | kind::WINDOW_UPDATE) {
                return frame;
            }
        }
    }

    /// Receives the head of a request. Returns its stream.
    pub fn expect_request(&mut self) -> u32 {
        let frame = self.next();
        assert_eq!((frame.kind, frame.flags & END_STREAM), (kind::HEADERS, END_STREAM), "{frame:?}");
        frame.stream
    }

    /// Receives the head of a request that has a body. Returns its stream.
    pub fn expect_head(&mut self) -> u32 {
        let frame = self.next();
        assert_eq!((frame.kind, frame.flags & END_STREAM), (kind::HEADERS, 0), "{frame:?}");
        frame.stream
    }

    /// Receives a body until it has this length, or ends.
    pub fn receive_body(&mut self, stream: u32, length: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < length {
            let frame = self.next();
            assert_eq!((frame.kind, frame.stream), (kind::DATA, stream), "{frame:?}");
            body.extend_from_slice(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        body
    }

    /// Receives the end of a request, in an empty frame.
    pub fn expect_end(&mut self, stream: u32) {
        let end = RawFrame { kind: kind::DATA, flags: END_STREAM, stream, payload: Vec::new() };
        assert_eq!(self.next(), end);
    }

    pub fn expect_reset(&mut self, stream: u32, code: u32) {
        let frame = self.next();
        assert_eq!((frame.kind, frame.stream), (kind::RST_STREAM, stream), "{frame:?}");
        assert_eq!(frame.number(), code);
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short payload");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.peer.send(frame);
    }

    pub fn settings(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (identifier, value) in settings {
            payload.extend_from_slice(&identifier.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.send(kind::SETTINGS, 0, 0, &payload);
    }

    /// Sends the head of a response: its status and no fields. The body follows.
    pub fn head(&mut self, stream: u32, status: u16) {
        self.send(kind::HEADERS, END_HEADERS, stream, &status_field(status));
    }

    /// Sends a response without a body.
    pub fn empty_response(&mut self, stream: u32, status: u16) {
        self.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &status_field(status));
    }

    pub fn data(&mut self, stream: u32, content: impl AsRef<[u8]>) {
        self.send(kind::DATA, 0, stream, content.as_ref());
    }

    pub fn last_data(&mut self, stream: u32, content: impl AsRef<[u8]>) {
        self.send(kind::DATA, END_STREAM, stream, content.as_ref());
    }

    /// Sends a response with a body.
    pub fn respond(&mut self, stream: u32, content: impl AsRef<[u8]>) {
        self.head(stream, 200);
        self.last_data(stream, content);
    }

    /// Sends one field as the trailers of a response.
    pub fn trailer(&mut self, stream: u32, name: &str, value: &str) {
        let mut block = vec![0];
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend_from_slice(text.as_bytes());
        }
        self.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &block);
    }

    pub fn reset(&mut self, stream: u32, code: u32) {
        self.send(kind::RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    pub fn goaway(&mut self, last_stream: u32, code: u32, reason: &str) {
        let mut payload = last_stream.to_be_bytes().to_vec();
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
        self.send(kind::GOAWAY, 0, 0, &payload);
    }

    /// Adds to the window of a stream; 0 is the connection.
    pub fn window_update(&mut self, stream: u32, increment: u32) {
        self.send(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
    }

    /// Receives frames until the client closes the stream, and returns those that [`Self::next`] does.
    pub fn rest(&mut self) -> Vec<RawFrame> {
        let bytes = self.peer.receive_rest();
        let mut rest = bytes.as_slice();
        let mut frames = Vec::new();
        while rest.len() >= 9 {
            let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            let (kind, flags, stream) = (rest[3], rest[4], number(&rest[5..]));
            if !matches!(kind, kind::SETTINGS | kind::WINDOW_UPDATE) {
                frames.push(RawFrame { kind, flags, stream, payload: rest[9..9 + length].to_vec() });
            }
            rest = &rest[9 + length..];
        }
        frames
    }
}

/// Returns the block of fields that has a status alone: by its index in the static table of HPACK, or as a literal.
fn status_field(status: u16) -> Vec<u8> {
    match status {
        200 => vec![0x88],
        204 => vec![0x89],
        304 => vec![0x8b],
        _ => [&[0x08, 3], status.to_string().as_bytes()].concat(),
    }
}
