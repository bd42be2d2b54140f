//! Reads a bundle of certificates in PEM quickly. Decoding it is most of the first request over TLS.
//!
//! Only the plain form is read: sections `CERTIFICATE` in strict base64, with lines of whole quads, and other text between them. For all
//! else the answer is `None`, and the decoder of rustls decides what the text means.

use rustls::pki_types::CertificateDer;

const DASHES: &[u8] = b"-----";
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----\n";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// In place of the value of a byte that is not in the alphabet.
const INVALID: u8 = 0xff;

/// The values of the bytes of base64.
const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [INVALID; 256];
    let mut value = 0;
    while value < 64 {
        values[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Returns the certificates of a text in the plain form.
pub fn certificates(text: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let sections = memchr::memmem::Finder::new(DASHES);
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = sections.find(rest) {
        let begins_line = start == 0 || rest[start - 1] == b'\n';
        let body = rest[start..].strip_prefix(BEGIN).filter(|_| begins_line)?;
        let length = sections.find(body)?;
        found.push(CertificateDer::from(decode(&body[..length])?));
        // A newline stays, for the next section to begin after it.
        rest = body[length..].strip_prefix(END)?;
        if !matches!(rest.first(), None | Some(b'\n')) {
            return None;
        }
    }
    Some(found)
}

/// Decodes lines of base64, each with its end.
fn decode(mut lines: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(lines.len() / 4 * 3);
    loop {
        let (line, rest) = lines.split_at(memchr::memchr(b'\n', lines)?);
        lines = &rest[1..];
        let (quads, []) = line.as_chunks::<4>() else { return None };
        let (last, quads) = quads.split_last()?;
        decode_quads(quads, &mut bytes)?;
        if decode_quads(&[*last], &mut bytes).is_none() {
            return if lines.is_empty() { decode_padded(*last, bytes) } else { None };
        }
        if lines.is_empty() {
            return Some(bytes);
        }
    }
}

/// Decodes bytes of the alphabet. Adds nothing if there are others.
fn decode_quads(quads: &[[u8; 4]], bytes: &mut Vec<u8>) -> Option<()> {
    let start = bytes.len();
    bytes.resize(start + quads.len() * 3, 0);
    let mut all = 0;
    for (quad, decoded) in quads.iter().zip(bytes[start..].as_chunks_mut::<3>().0) {
        let [a, b, c, d] = quad.map(|byte| VALUES[usize::from(byte)]);
        all |= a | b | c | d;
        *decoded = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
    }
    if all == INVALID {
        bytes.truncate(start);
        return None;
    }
    Some(())
}

/// Decodes the end of a section: one or two bytes, the unused bits of which are zero.
fn decode_padded(quad: [u8; 4], mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let length = match quad {
        [.., b'=', b'='] => 1,
        [.., b'='] => 2,
        _ => return None,
    };
    if quad[..=length].contains(&b'=') {
        return None;
    }
    let used = bytes.len() + length;
    decode_quads(&[quad.map(|byte| if byte == b'=' { b'A' } else { byte })], &mut bytes)?;
    if bytes[used..].iter().any(|byte| *byte != 0) {
        return None;
    }
    bytes.truncate(used);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// Returns what the decoder of rustls says.
    fn reference(text: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
        CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().ok()
    }

    /// Returns pseudo-random numbers below a bound (xorshift).
    fn numbers(mut state: u64) -> impl FnMut(usize) -> usize {
        move |bound| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % bound as u64).expect("a number below the bound")
        }
    }

    fn encode(bytes: &[u8], width: usize) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for part in bytes.chunks(3) {
            let word = (0..3).fold(0_usize, |word, at| word << 8 | usize::from(*part.get(at).unwrap_or(&0)));
            for at in 0..4 {
                let byte = if at > part.len() { b'=' } else { alphabet[word >> (18 - 6 * at) & 63] };
                text.push(char::from(byte));
            }
        }
        let lines: Vec<_> = text.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line)).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    #[test]
    fn bundles_in_the_plain_form_are_read() {
        let mut random = numbers(7);
        for length in 1..200 {
            let certificates: Vec<Vec<u8>> = (0..3)
                .map(|more| (0..length + more).map(|_| u8::try_from(random(256)).expect("a byte")).collect())
                .collect();
            let sections: Vec<_> = certificates.iter().map(|bytes| encode(bytes, 64)).collect();
            let text = format!("# Issuer: CN=A\n# Serial: 1\n{}", sections.join("\n# Issuer: CN=B\n"));
            let read = super::certificates(text.as_bytes()).expect("the plain form");
            assert_eq!(read.iter().map(|read| read.to_vec()).collect::<Vec<_>>(), certificates);
            assert_eq!(Some(read), reference(text.as_bytes()));
        }
    }

    #[test]
    fn other_forms_are_left_to_the_decoder_of_rustls() {
        let plain = encode(b"some bytes", 64);
        for text in [
            plain.replace('\n', "\r\n"),
            plain.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            plain.replace("-----END", " -----END"),
            plain.replace("\n-----END", "-----END"),
            plain.replace("=\n", "\n"),
            plain.replace("==", "=A"),
            plain.replace("\nc", "\n\nc"),
            format!("text {plain}"),
            format!("{} text", plain.trim_end()),
            encode(b"some bytes", 3),
            plain.replace("-----END CERTIFICATE-----", ""),
        ] {
            assert_ne!(text, plain);
            assert_eq!(super::certificates(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_read_is_what_the_decoder_of_rustls_reads() {
        let mut random = numbers(11);
        let pieces = [
            "-----BEGIN CERTIFICATE-----\n",
            "-----END CERTIFICATE-----\n",
            "-----END CERTIFICATE-----",
            "-----",
            "-",
            "\n",
            "\r\n",
            "AAAA",
            "QUJD",
            "QQ==",
            "QUI=",
            "QR==",
            "=",
            "A",
            "# text\n",
            " ",
            "-----BEGIN PRIVATE KEY-----\n",
            "\0",
            "\u{e9}",
        ];
        let mut read = 0;
        for _ in 0..50_000 {
            let mut text: Vec<u8> = Vec::new();
            for _ in 0..=random(4) {
                text.extend_from_slice(encode(&b"bytes of a certificate"[..=random(22)], 4 + 4 * random(8)).as_bytes());
            }
            for _ in 0..random(3) {
                let at = random(text.len());
                let end = (at + random(3)).min(text.len());
                text.splice(at..end, pieces[random(pieces.len())].bytes());
            }
            if let Some(certificates) = super::certificates(&text) {
                read += 1;
                assert_eq!(Some(certificates), reference(&text), "{:?}", String::from_utf8_lossy(&text));
            }
        }
        assert!(read > 12_500, "{read}");
    }
}
