//! Pinned public keys: SHA-256 of the `SubjectPublicKeyInfo` of a certificate (RFC 7469, 2.4).

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::base64;
use super::certificate::Certificate;
use super::der;
use super::refusal::{Reason, Refusal};

/// The hash of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// Parses `sha256/` (or curl's `sha256//`) and 32 bytes, in base64 or as 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("sha256/")?;
        // The alphabet of base64 has the slash as well: the length tells whether the first one is a digit.
        let has_two = matches!(rest.len(), 45 | 65) || rest.len() == 44 && !rest.ends_with('=');
        let digits = if has_two { rest.strip_prefix('/')? } else { rest };
        let bytes = if digits.len() == 64 { from_hex(digits)? } else { base64::decode(digits)? };
        Some(Self(bytes.try_into().ok()?))
    }

    fn of(key: &[u8]) -> Option<Self> {
        Some(Self(digest(&SHA256, key).as_ref().try_into().ok()?))
    }

    fn of_server(certificate: &CertificateDer<'_>) -> Option<Self> {
        Self::of(&EndEntityCert::try_from(certificate).ok()?.subject_public_key_info())
    }

    fn of_certificate(certificate: &Certificate<'_>) -> Option<Self> {
        let mut key = Vec::with_capacity(certificate.public_key.len() + 8);
        der::write(&mut key, der::SEQUENCE, certificate.public_key)?;
        Self::of(&key)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", base64::encode(&self.0))
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    digits.as_bytes().chunks(2).map(|pair| u8::try_from(value(pair[0])? << 4 | value(*pair.get(1)?)?).ok()).collect()
}

/// Checks that the key of the server, or of an authority in its chain, is pinned. Without pins every key is accepted.
pub fn check(pins: &[Pin], server: &CertificateDer<'_>, authorities: &[Certificate<'_>]) -> Result<(), Refusal> {
    if pins.is_empty() {
        return Ok(());
    }
    let seen: Vec<_> =
        Pin::of_server(server).into_iter().chain(authorities.iter().filter_map(Pin::of_certificate)).collect();
    if seen.iter().any(|pin| pins.contains(pin)) {
        return Ok(());
    }
    let seen = seen.iter().map(Pin::to_string).collect::<Vec<_>>().join(", ");
    Err(Refusal::of_server(Reason::NotPinned { seen }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn all_forms_are_the_same_pin() {
        let pin = Pin(std::array::from_fn(|index| u8::try_from(index).expect("a small index")));
        for form in [
            format!("sha256/{HEX}"),
            format!("sha256/{}", HEX.to_uppercase()),
            format!("sha256/{BASE64}"),
            format!("sha256//{BASE64}"),
            format!("sha256/{}", BASE64.trim_end_matches('=')),
        ] {
            assert_eq!(Pin::parse(&form), Some(pin), "{form}");
        }
        assert_eq!(pin.to_string(), format!("sha256/{BASE64}"));
        // A slash may be the first digit.
        let high = Pin([0xff; 32]);
        assert_eq!(high.to_string(), format!("sha256/{}8=", "/".repeat(42)));
        assert_eq!(Pin::parse(&high.to_string()), Some(high));
        assert_eq!(Pin::parse(&high.to_string().replacen('/', "//", 1)), Some(high));
    }

    #[test]
    fn other_text_is_no_pin() {
        for text in ["", "sha256/", "sha1/AAAA", BASE64, HEX, "sha256/AAAA"] {
            assert_eq!(Pin::parse(text), None, "{text}");
        }
        assert_eq!(Pin::parse(&format!("sha256/{}", &HEX[1..])), None);
        assert_eq!(Pin::parse(&format!("sha256/g{}", &HEX[1..])), None);
        assert_eq!(Pin::parse(&format!("sha256/{}9=", &BASE64[..42])), None, "bits are left over");
    }
}
