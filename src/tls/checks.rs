//! Checks of a chain besides signatures and names: OpenSSL's `check_extensions`, and validity periods.

use super::certificate::{Algorithm, CertificateExtensions};
use super::certificate::{CRL_SIGN, Certificate, DIGITAL_SIGNATURE, KEY_AGREEMENT, KEY_CERT_SIGN, KEY_ENCIPHERMENT};
use super::chain::Rules;
use super::refusal::{Reason, Refusal};

/// Checks a chain, the server's certificate first and the trusted one last.
pub fn check(chain: &[Certificate<'_>], rules: Rules, now: i64) -> Result<(), Refusal> {
    let mut authorities = 0;
    for (depth, certificate) in chain.iter().enumerate() {
        let is_last = depth + 1 == chain.len();
        let fault = of_any(certificate, now)
            .or_else(|| if depth == 0 { of_server(certificate) } else { of_authority(certificate, is_last) })
            .or_else(|| path_is_too_long(certificate, depth, authorities).then_some(Reason::PathTooLong))
            .or_else(|| rules.strict.then(|| strictly(certificate, depth, chain.len())).flatten());
        if let Some(reason) = fault {
            return Err(if depth == 0 { Refusal::of_server(reason) } else { Refusal::of_issuer(certificate, reason) });
        }
        if depth > 0 && !certificate.is_self_issued() {
            authorities += 1;
        }
    }
    match chain.iter().rposition(Certificate::constrains_email) {
        // webpki looks for e-mail addresses in `subjectAltName` only.
        Some(above) if chain[..above].iter().any(Certificate::has_email_in_subject) => {
            Err(Refusal::of_server(Reason::NameConstraints))
        }
        _ => Ok(()),
    }
}

fn of_any(certificate: &Certificate<'_>, now: i64) -> Option<Reason> {
    let extensions = &certificate.extensions;
    if extensions.has_unknown_critical {
        return Some(Reason::UnknownCritical);
    }
    if extensions.is_proxy {
        return Some(Reason::Proxy);
    }
    if extensions.is_for_servers == Some(false) {
        return Some(Reason::Purpose);
    }
    if now < certificate.not_before {
        return Some(Reason::NotYetValid { not_before: certificate.not_before });
    }
    (now > certificate.not_after).then_some(Reason::Expired { not_after: certificate.not_after })
}

fn of_server(certificate: &Certificate<'_>) -> Option<Reason> {
    const NETSCAPE_SERVER: u8 = 0x40;

    // In every supported key exchange the server signs. OpenSSL also accepts RSA keys with one of TLS's other key usages.
    let uses = match certificate.key {
        Algorithm::Rsa => DIGITAL_SIGNATURE | KEY_ENCIPHERMENT | KEY_AGREEMENT,
        Algorithm::EllipticCurve | Algorithm::Other => DIGITAL_SIGNATURE,
    };
    let is_servers =
        certificate.may(uses) && certificate.extensions.netscape_type.is_none_or(|types| types & NETSCAPE_SERVER != 0);
    (!is_servers).then_some(Reason::KeyUsage)
}

/// Checks one certificate. `is_last` is the trusted one: only there a root of version 1 counts as an authority's.
fn of_authority(certificate: &Certificate<'_>, is_last: bool) -> Option<Reason> {
    let is_authority = certificate.is_authority() && (is_last || certificate.is_ca());
    (!is_authority).then_some(Reason::NotAnAuthority)
}

/// Returns whether more authorities follow than a certificate allows. Self-issued ones do not count.
fn path_is_too_long(certificate: &Certificate<'_>, depth: usize, below: u64) -> bool {
    let limit = certificate.extensions.basic_constraints.and_then(|constraints| constraints.path_length);
    depth > 1 && limit.is_some_and(|limit| below > limit)
}

/// Checks the additional rules of `VERIFY_X509_STRICT`, with OpenSSL's texts.
fn strictly(certificate: &Certificate<'_>, depth: usize, length: usize) -> Option<Reason> {
    let CertificateExtensions {
        any,
        basic_constraints,
        key_usage,
        subject_alt_name,
        subject_key_id,
        authority_key_id,
        ..
    } = certificate.extensions;
    let is_ca = certificate.is_ca();
    let signs_certificates = key_usage.is_some_and(|usage| usage & KEY_CERT_SIGN != 0);
    let signs_lists = key_usage.is_some_and(|usage| usage & CRL_SIGN != 0);
    let is_last = depth + 1 == length;
    let is_unclear = match basic_constraints {
        Some(constraints) => depth > 0 && !constraints.is_ca,
        None => depth > 0 || signs_certificates || certificate.version == 1 && certificate.is_self_signed(),
    };
    if is_unclear {
        return Some(Reason::NotAnAuthority);
    }
    // As in OpenSSL, a chain of one is not held to the rules that follow.
    if length == 1 {
        return None;
    }
    let has_path_length = basic_constraints.is_some_and(|constraints| constraints.path_length.is_some());
    let rules: [(bool, &'static str); 13] = [
        (has_path_length && !is_ca, "Path length invalid for non-CA cert"),
        (has_path_length && !certificate.may(KEY_CERT_SIGN), "Path length given without key usage keyCertSign"),
        (
            is_ca && basic_constraints.is_some_and(|constraints| !constraints.is_critical),
            "Basic Constraints of CA cert not marked critical",
        ),
        (is_ca && key_usage.is_none(), "CA cert does not include key usage extension"),
        (!is_ca && signs_certificates, "Using cert signing key usage for non-CA cert"),
        (certificate.issuer.is_empty(), "Issuer name empty"),
        (certificate.subject.is_empty() && (is_ca || signs_lists || subject_alt_name.is_none()), "Subject empty"),
        (
            certificate.subject.is_empty() && subject_alt_name.is_some_and(|names| !names.is_critical),
            "Subject Alt Name of cert with empty subject not marked critical",
        ),
        (subject_alt_name.is_some_and(|names| names.is_empty), "Subject Alternative Name is empty"),
        (!certificate.has_one_algorithm, "Certificate signature algorithm is inconsistent"),
        (
            certificate.version == 3 && !is_last && authority_key_id.is_none_or(|key| key.id.is_none()),
            "Missing Authority Key Identifier",
        ),
        (certificate.version == 3 && is_ca && subject_key_id.is_none(), "Missing Subject Key Identifier"),
        (certificate.version < 3 && any, "Using cert extensions requires at least X509v3"),
    ];
    rules.iter().find(|(is_broken, _)| *is_broken).map(|(_, words)| Reason::Strict(words))
}
