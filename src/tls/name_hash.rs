//! The hash of a certificate's subject, which OpenSSL names the files in a folder of authorities by (`X509_NAME_hash`).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::der::{self, Reader};

/// Returns the hash of a name, given the contents of its sequence. `None` if it is malformed.
pub fn name_hash(name: &[u8]) -> Option<u32> {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &canonical(name)?);
    let first = digest.as_ref().first_chunk::<4>()?;
    Some(u32::from_le_bytes(*first))
}

/// Returns a name in the form that OpenSSL compares: text as UTF-8, in small letters, without needless spaces.
fn canonical(name: &[u8]) -> Option<Vec<u8>> {
    let mut canonical = Vec::with_capacity(name.len());
    let mut parts = Reader::new(name);
    while !parts.is_empty() {
        let mut attributes = Reader::new(parts.read(der::SET)?);
        let mut encoded = Vec::new();
        while !attributes.is_empty() {
            encoded.push(attribute(attributes.read(der::SEQUENCE)?)?);
        }
        // As DER wants it of a set.
        encoded.sort_unstable();
        write(&mut canonical, der::SET, &encoded.concat());
    }
    Some(canonical)
}

fn attribute(attribute: &[u8]) -> Option<Vec<u8>> {
    let mut parts = Reader::new(attribute);
    let kind = parts.read(der::OBJECT_IDENTIFIER)?;
    let (tag, value) = parts.element()?;
    let mut contents = Vec::with_capacity(attribute.len());
    write(&mut contents, der::OBJECT_IDENTIFIER, kind);
    match text(tag, value) {
        Some(text) => write(&mut contents, der::UTF8_STRING, folded(&text).as_bytes()),
        None => write(&mut contents, tag, value),
    }
    let mut element = Vec::with_capacity(contents.len() + 4);
    write(&mut element, der::SEQUENCE, &contents);
    Some(element)
}

/// Decodes a string. `None` for other kinds of elements.
fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        der::UTF8_STRING => String::from_utf8(value.to_vec()).ok(),
        // As in OpenSSL, all of them are Latin-1.
        der::PRINTABLE_STRING | der::T61_STRING | der::IA5_STRING | der::VISIBLE_STRING => {
            Some(value.iter().map(|byte| char::from(*byte)).collect())
        }
        der::BMP_STRING => {
            let units = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

/// Small letters, one space for several and none at the ends; ASCII only.
fn folded(text: &str) -> String {
    let is_space = |character: char| matches!(character, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    let words: Vec<_> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase()
}

fn write(to: &mut Vec<u8>, tag: u8, contents: &[u8]) {
    to.push(tag);
    let length = contents.len().to_be_bytes();
    let start = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
    if contents.len() >= 0x80 {
        to.push(0x80 | u8::try_from(length.len() - start).unwrap_or_default());
    }
    to.extend_from_slice(&length[start..]);
    to.extend_from_slice(contents);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(parts: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
        let mut name = Vec::new();
        for (kind, tag, value) in parts {
            let (mut attribute, mut set) = (Vec::new(), Vec::new());
            write(&mut attribute, der::OBJECT_IDENTIFIER, kind);
            write(&mut attribute, *tag, value);
            write(&mut set, der::SEQUENCE, &attribute);
            write(&mut name, der::SET, &set);
        }
        name
    }

    const COUNTRY: &[u8] = &[0x55, 4, 6];
    const ORGANIZATION: &[u8] = &[0x55, 4, 10];
    const COMMON_NAME: &[u8] = &[0x55, 4, 3];

    #[test]
    fn a_name_has_the_hash_that_openssl_gives_it() {
        // ISRG Root X1 and GTS Root R1, as they lie in /etc/ssl/certs.
        let isrg: &[(&[u8], u8, &[u8])] = &[
            (COUNTRY, der::PRINTABLE_STRING, b"US"),
            (ORGANIZATION, der::PRINTABLE_STRING, b"Internet Security Research Group"),
            (COMMON_NAME, der::PRINTABLE_STRING, b"ISRG Root X1"),
        ];
        let google: &[(&[u8], u8, &[u8])] = &[
            (COUNTRY, der::PRINTABLE_STRING, b"US"),
            (ORGANIZATION, der::PRINTABLE_STRING, b"Google Trust Services LLC"),
            (COMMON_NAME, der::PRINTABLE_STRING, b"GTS Root R1"),
        ];
        assert_eq!(name_hash(&name(isrg)), Some(0x4042_bcee));
        assert_eq!(name_hash(&name(google)), Some(0x1001_acf7));
    }

    #[test]
    fn encodings_capitals_and_spaces_make_no_difference() {
        let of = |tag, value: &[u8]| name_hash(&name(&[(COMMON_NAME, tag, value)]));
        let expected = of(der::UTF8_STRING, "die gute ca \u{e9}".as_bytes());
        assert!(expected.is_some());
        assert_eq!(of(der::T61_STRING, b" Die  gute\tCA \xe9 "), expected);
        assert_eq!(of(der::BMP_STRING, b"\0D\0i\0e\0 \0g\0u\0t\0e\0 \0C\0A\0 \0\xe9"), expected);
        assert_ne!(of(der::UTF8_STRING, b"die gute ca"), expected);
    }
}
