//! Heads as servers write them, and what hyper gets in their place.

use super::*;

fn parse(raw: &'static [u8]) -> Result<Http1Head> {
    Http1Head::parse(Bytes::from_static(raw))
}

#[test]
fn names_order_and_reason_are_kept() {
    let head = parse(b"HTTP/1.1 200 Tr\xe8s bien\r\nX-B: 1\r\nx-a:2\r\nX-B:\r\n\r\n").expect("well-formed");
    assert_eq!((head.status, head.version(), head.reason()), (200, VERSION, b"Tr\xe8s bien".as_slice()));
    let headers: Vec<_> = head.headers().collect();
    let expected: [(&[u8], &[u8]); 3] = [(b"X-B", b"1"), (b"x-a", b"2"), (b"X-B", b"")];
    assert_eq!(headers, expected);
}

#[test]
fn hundreds_of_headers_are_read() {
    let mut raw = b"HTTP/1.1 200 OK\r\n".to_vec();
    for number in 0..500 {
        raw.extend_from_slice(format!("X-{number}: {number}\r\n").as_bytes());
    }
    raw.extend_from_slice(b"\r\n");
    assert_eq!(Http1Head::parse(raw.into()).expect("well-formed").headers().len(), 500);
}

#[test]
fn the_end_is_found_wherever_the_bytes_are_split() {
    for raw in [b"HTTP/1.1 200 OK\r\na: b\r\n\r\n".as_slice(), b"HTTP/1.1 200 OK\na: b\n\n"] {
        for split in 0..raw.len() {
            assert_eq!(Http1Head::find_end(&raw[..split], 0), None);
            assert_eq!(Http1Head::find_end(raw, split), Some(raw.len()), "{split}");
        }
    }
}

#[test]
fn folded_lines_are_joined_by_one_space() {
    let head = parse(b"HTTP/1.1 200 OK\r\nX: one\r\n\t two\r\n  three\r\n\r\n").expect("well-formed");
    assert_eq!(head.headers().next(), Some((b"X".as_slice(), b"one two three".as_slice())));
}

#[test]
fn the_head_for_hyper_holds_only_what_frames_the_body() {
    let head =
        parse(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-LENGTH: 5\r\nConnection: close\r\nSet-Cookie: a\r\n\r\n")
            .expect("well-formed");
    let for_hyper = head.framing_head(0).expect("framed");
    assert_eq!(for_hyper, "HTTP/1.1 200 \r\nContent-LENGTH: 5\r\nconnection: close\r\n\r\n");
}

#[test]
fn lengths_that_are_not_written_alike_are_refused() {
    for (lengths, is_accepted) in [
        ("3\r\nContent-Length: 3", true),
        ("3, 3", true),
        ("3\r\nContent-Length: 03", false),
        ("3,003", false),
        ("3,", false),
        ("3, 4", false),
    ] {
        let raw = format!("HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\n");
        let head = Http1Head::parse(raw.into_bytes().into()).expect("well-formed");
        assert_eq!(head.check_lengths().is_ok(), is_accepted, "{lengths}");
    }
}

#[test]
fn ambiguous_lengths_and_other_versions_close_the_connection() {
    for raw in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: Identity\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: \xe9, close\r\nConnection: keep-alive\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
    ] {
        let head = parse(raw).and_then(|head| head.framing_head(0)).expect("framed");
        assert!(head.ends_with(b"\r\nconnection: close\r\n\r\n"), "{head:?}");
    }
    let head = parse(b"HTTP/1.2 200 OK\r\n\r\n").and_then(|head| head.framing_head(0)).expect("framed");
    assert_eq!(head, "HTTP/1.1 200 \r\n\r\n");
}

#[test]
fn other_transfer_codings_are_refused() {
    for coding in
        ["gzip, chunked", "chunked, gzip", "gzip", "", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked"]
    {
        let raw = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert!(Http1Head::parse(raw.into()).and_then(|head| head.framing_head(0)).is_err(), "{coding}");
    }
}

#[test]
fn control_characters_in_reason_and_values_are_kept() {
    let head = parse(b"HTTP/1.2 200 a\x01b\r\nX: \x1b[0m\r\nY: 1\x7f\r\n 2\r\n\r\n").expect("tolerated");
    assert_eq!((head.version(), head.reason()), (b"HTTP/1.2".as_slice(), b"a\x01b".as_slice()));
    let values: Vec<_> = head.headers().map(|(_, value)| value).collect();
    assert_eq!(values, [b"\x1b[0m".as_slice(), b"1\x7f 2"]);
    for raw in [b"HTTP/1.1 200 OK\r\nX\x01: 1\r\n\r\n".as_slice(), b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"] {
        assert!(parse(raw).is_err(), "{raw:?}");
    }
}

#[test]
fn the_error_names_the_field_and_hides_its_value() {
    let error = |fields: &str| {
        let raw = format!("HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n{fields}\r\n\r\n");
        Http1Head::parse(raw.into()).expect_err("malformed").message().to_owned()
    };
    assert!(error("Bad Name: secret").ends_with("invalid header name in the line that begins with b'Bad Name'"));
    assert!(error("no colon\r\nY: 1").ends_with("in the line that begins with b'no colon'"));
    assert!(error(": 1").ends_with("in the line that begins with b''"));
    assert!(error("Cookie: a\0secret").ends_with("invalid header value in the line that begins with b'Cookie'"));
}

#[test]
fn bytes_that_are_no_response_are_refused() {
    for raw in [b"220 smtp ready\r\n\r\n".as_slice(), b"HTTP/2 200 OK\r\n\r\n", b"HTTP/1.1 099 X\r\n\r\n", b"\r\n\r\n"]
    {
        assert!(parse(raw).is_err(), "{raw:?}");
    }
}

#[test]
fn the_declared_length_and_coding_are_found() {
    let head =
        parse(b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  7 \r\ntransfer-Encoding: Chunked\t\r\n\r\n").expect("well-formed");
    assert_eq!((head.content_length(), head.is_chunked(), head.is_informational()), (Some(7), true, false));
    let head =
        parse(b"HTTP/1.1 103 Early\r\nContent-Length: x\r\nX-Transfer-Encoding: chunked\r\n\r\n").expect("well-formed");
    assert_eq!((head.content_length(), head.is_chunked(), head.is_informational()), (None, false, true));
}

#[test]
fn the_beginning_of_another_protocol_is_refused() {
    for beginning in ["", "H", "HTTP", "HTTP/", "HTTP/3", "HTTP/1.", "HTTP/1.1 what follows", "\r"] {
        assert!(Http1Head::check_start(beginning.as_bytes()).is_ok(), "{beginning:?}");
    }
    for beginning in ["h", "220 ", "HTTP/x", "HTTP/1x1", "\rH", "\r\r", " HTTP/1.1"] {
        assert!(Http1Head::check_start(beginning.as_bytes()).is_err(), "{beginning:?}");
    }
}

#[test]
fn messages_are_short_and_escaped() {
    let error = Http1Head::cut_short(&b"\x1b[31m".repeat(1000));
    assert!(error.message().len() < 500 && error.message().contains(r"\x1b[31m"), "{error}");
    let long = format!("HTTP/1.1 200 OK\r\n{} : 1\r\n\r\n", "a".repeat(1000));
    let error = Http1Head::parse(long.into()).expect_err("malformed");
    assert!(error.message().len() < 500 && error.message().ends_with("...'"), "{error}");
}

#[test]
fn a_changed_byte_does_no_harm() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    for position in 0..HEAD.len() {
        for byte in 0..=u8::MAX {
            let mut raw = HEAD.to_vec();
            raw[position] = byte;
            let Ok(head) = Http1Head::parse(raw.into()) else { continue };
            assert!((100..1000).contains(&head.status));
            for (name, value) in head.headers() {
                assert!(!name.is_empty() && name.iter().copied().all(is_token));
                assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')), "{}", value.escape_ascii());
            }
            // hyper gets one complete head.
            if let Ok(for_hyper) = head.framing_head(0) {
                assert_eq!(Http1Head::find_end(&for_hyper, 0), Some(for_hyper.len()));
                assert!(Http1Head::parse(for_hyper.freeze()).is_ok());
            }
        }
    }
}

#[test]
fn a_plain_length_frames_the_body_alone() {
    for (fields, expected) in [
        ("Content-Length: 5", Some(5)),
        ("content-LENGTH: 005\r\nConnection: Keep-Alive\r\nX: 1", Some(5)),
        ("X: 1", None),
        ("Content-Length: ", None),
        ("Content-Length: +5", None),
        ("Content-Length: 5, 5", None),
        ("Content-Length: 5\r\n 5", None),
        ("Content-Length: 99999999999", None),
        ("Content-Length: 5\r\nContent-Length: 5", None),
        ("Content-Length: 5\r\nTransfer-Encoding: identity", None),
        ("Content-Length: 5\r\nConnection: close", None),
        ("Content-Length: 5\r\nConnection: keep-alive, x", None),
    ] {
        let length = |version: &str| {
            let raw = format!("HTTP/{version} 200 OK\r\n{fields}\r\n\r\n");
            Http1Head::parse(raw.into_bytes().into()).expect("well-formed").plain_length()
        };
        assert_eq!(length("1.1"), expected, "{fields}");
        assert_eq!(length("1.0"), None, "the connection is closed");
    }
}
