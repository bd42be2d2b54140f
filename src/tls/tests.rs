//! Handshakes of rustls with a server in a thread, over a pair of sockets.

use std::future::Future;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::name_hash::name_hash;
use super::{Identity, OwnOptions, PemSource, Rules, Tls, TlsConfig, TlsOptions, Trust, TrustSource, Versions};
use crate::error::{Kind, Result};
use crate::io::stream::Stream;
use crate::testing::{Answers, run, stream_pair};

const NAME: &str = "example.test";
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    run(&mut Answers::default(), future)
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = named(common_name);
    params.subject_alt_names.clear();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn authority() -> Authority {
    CertifiedIssuer::self_signed(authority_params("root"), key()).expect("an authority")
}

/// A server's certificates, its own first, and its key.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Shown {
    /// A certificate of `params` that `issuer` has signed.
    fn by(issuer: &Authority, params: &CertificateParams) -> Self {
        let key = key();
        Self { chain: vec![params.signed_by(&key, issuer).expect("a certificate").der().clone()], key }
    }

    fn with(mut self, intermediate: &Authority) -> Self {
        self.chain.push(intermediate.der().clone());
        self
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

fn server(shown: &Shown, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(shown.chain.clone(), shown.private_key())
        .expect("a certificate");
    config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// A server that sends back what it gets, in capitals, until the client is gone.
fn serve(mut stream: UnixStream, config: ServerConfig) -> JoinHandle<io::Result<()>> {
    std::thread::spawn(move || {
        let mut connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let mut buffer = [0; 1024];
        loop {
            let length = tls.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            tls.write_all(&buffer[..length].to_ascii_uppercase())?;
        }
    })
}

fn options(roots: &[&Authority]) -> TlsOptions {
    let pem: String = roots.iter().map(|root| root.pem()).collect();
    let trust = Trust::Roots(vec![TrustSource::Given(pem.into_bytes().into())]);
    TlsOptions::new(trust, Rules::default())
}

fn showing(chain: &Path, key: &Path) -> OwnOptions {
    let (chain, key) = (PemSource::File(chain.to_owned()), PemSource::File(key.to_owned()));
    OwnOptions { identity: Some(Identity { chain, key, password: None }), ..OwnOptions::default() }
}

fn config(roots: &[&Authority]) -> TlsConfig {
    TlsConfig::load(options(roots), OwnOptions::default()).expect("a configuration")
}

/// Connects to a server with this configuration and returns the stream, and how the server has ended once that is dropped.
fn connect(config: TlsConfig, server: ServerConfig, name: &str) -> (Result<Stream>, JoinHandle<io::Result<()>>) {
    let (stream, theirs) = stream_pair();
    let serving = serve(theirs, server);
    (block_on(Tls::Rustls(config).handshake(stream, name, PROTOCOLS, None, None)), serving)
}

/// Says `text` and returns as many bytes of the answer.
fn exchange(stream: &mut Stream, text: &str) -> io::Result<String> {
    block_on(std::future::poll_fn(|cx| pin!(&mut *stream).poll_write(cx, text.as_bytes())))?;
    block_on(std::future::poll_fn(|cx| pin!(&mut *stream).poll_flush(cx)))?;
    let mut answer = vec![0; text.len()];
    let mut filled = ReadBuf::new(&mut answer);
    while filled.remaining() > 0 {
        let before = filled.filled().len();
        block_on(std::future::poll_fn(|cx| pin!(&mut *stream).poll_read(cx, &mut filled)))?;
        if filled.filled().len() == before {
            break;
        }
    }
    Ok(String::from_utf8_lossy(filled.filled()).into_owned())
}

/// The text of the error of a handshake that has to fail.
fn refusal(config: TlsConfig, server: ServerConfig, name: &str) -> String {
    let (result, serving) = connect(config, server, name);
    let error = result.err().expect("a refusal");
    assert_eq!(error.kind(), Kind::ConnectError);
    assert!(serving.join().expect("a server that does not panic").is_err(), "the server learns of it");
    error.to_string()
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[test]
fn a_session_carries_bytes_and_has_chosen_a_protocol() -> Result<()> {
    let root = authority();
    let shown = Shown::by(&root, &named(NAME));
    for version in [&TLS13, &TLS12] {
        let (stream, serving) = connect(config(&[&root]), server(&shown, &[version]), NAME);
        let mut stream = stream?;
        assert!(stream.has_chosen_http2());
        assert_eq!(exchange(&mut stream, "hello").expect("an answer"), "HELLO");
        assert!(stream.moved() > 1000, "handshake and records are counted");
        assert!(stream.socket().is_some() && stream.external().is_none() && !stream.needs_driver());
        assert!(block_on(std::future::poll_fn(|cx| stream.poll_settled(cx).map(|()| true))));
        stream.link().shutdown();
        drop(stream);
        assert!(serving.join().expect("a server that does not panic").is_err(), "an end without close_notify");
    }
    Ok(())
}

#[test]
fn an_end_without_close_notify_is_the_end_of_the_stream() -> Result<()> {
    let root = authority();
    let shown = Shown::by(&root, &named(NAME));
    let (stream, theirs) = stream_pair();
    let closer = theirs.try_clone().expect("a descriptor");
    let serving = serve(theirs, server(&shown, &[&TLS13]));
    let mut stream = block_on(Tls::Rustls(config(&[&root])).handshake(stream, NAME, PROTOCOLS, None, None))?;
    assert_eq!(exchange(&mut stream, "a").expect("an answer"), "A");
    closer.shutdown(std::net::Shutdown::Write).expect("an end");
    assert_eq!(exchange(&mut stream, "b").expect("an end"), "");
    drop(stream);
    let _ = serving.join();
    Ok(())
}

#[test]
fn tls_runs_in_tls() -> Result<()> {
    let root = authority();
    let shown = Shown::by(&root, &named(NAME));
    let (stream, theirs) = stream_pair();
    let (inner, outer) = (server(&shown, &[&TLS13]), server(&shown, &[&TLS13]));
    let (mut relay, inner_end) = UnixStream::pair().expect("a pair of sockets");
    let serving = serve(inner_end, inner);
    // The outer session's server: a proxy that passes the bytes of its client on.
    let proxying = std::thread::spawn(move || -> io::Result<()> {
        let mut theirs = theirs;
        let mut connection = ServerConnection::new(Arc::new(outer)).map_err(io::Error::other)?;
        let mut tls = rustls::Stream::new(&mut connection, &mut theirs);
        relay.set_nonblocking(true)?;
        tls.sock.set_read_timeout(Some(std::time::Duration::from_millis(5)))?;
        let mut buffer = [0; 4096];
        loop {
            match tls.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => relay.write_all(&buffer[..length])?,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
            while let Ok(length @ 1..) = relay.read(&mut buffer) {
                tls.write_all(&buffer[..length])?;
            }
        }
    });
    let tls = Tls::Rustls(config(&[&root]));
    let stream = block_on(tls.handshake(stream, NAME, &[b"http/1.1"], None, None))?;
    assert!(!stream.has_chosen_http2());
    let mut stream = block_on(tls.handshake(stream, NAME, PROTOCOLS, None, None))?;
    assert!(stream.has_chosen_http2());
    assert_eq!(exchange(&mut stream, "nested").expect("an answer"), "NESTED");
    drop(stream);
    assert!(proxying.join().expect("a proxy that does not panic").is_err());
    let _ = serving.join();
    Ok(())
}

#[test]
fn names_are_checked() {
    let root = authority();
    let shown = Shown::by(&root, &named(NAME));
    let text = refusal(config(&[&root]), server(&shown, &[&TLS13]), "other.test");
    assert_says(&text, &["other.test", "CERTIFICATE_VERIFY_FAILED", "Hostname mismatch", NAME]);
    // These do not begin.
    for (name, part) in [("example.test.", "without a dot at the end"), ("", "neither"), ("a b", "neither")] {
        let (stream, _theirs) = stream_pair();
        let error = block_on(Tls::Rustls(config(&[&root])).handshake(stream, name, PROTOCOLS, None, None)).err();
        assert_says(&error.expect("a refusal").to_string(), &[part]);
    }
}

#[test]
fn chains_are_checked() {
    let (root, stranger) = (authority(), CertifiedIssuer::self_signed(authority_params("other"), key()).expect("root"));
    let intermediate =
        || CertifiedIssuer::signed_by(authority_params("between"), key(), &root).expect("an intermediate authority");
    let refused = |shown: &Shown, parts: &[&str]| {
        let text = refusal(config(&[&root]), server(shown, &[&TLS13]), NAME);
        assert_says(&text, &["CERTIFICATE_VERIFY_FAILED"]);
        assert_says(&text, parts);
    };
    refused(&Shown::by(&stranger, &named(NAME)), &["unable to get local issuer certificate"]);
    refused(&Shown::by(&intermediate(), &named(NAME)), &["unable to get local issuer certificate"]);

    let mut params = named(NAME);
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    refused(&Shown::by(&root, &params), &["certificate has expired", "2001-01-01"]);
    (params.not_before, params.not_after) = (date_time_ymd(3000, 1, 1), date_time_ymd(3001, 1, 1));
    refused(&Shown::by(&root, &params), &["certificate is not yet valid", "3000-01-01"]);

    let mut params = named(NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    refused(&Shown::by(&root, &params), &["unsuitable certificate purpose"]);

    // A server's certificate that has issued another one.
    let leaf = CertifiedIssuer::signed_by(named("no authority"), key(), &root).expect("a certificate");
    refused(&Shown::by(&leaf, &named(NAME)).with(&leaf), &["invalid CA certificate"]);

    let self_signed = CertifiedIssuer::self_signed(named("self"), key()).expect("a certificate");
    let shown = Shown {
        chain: vec![self_signed.der().clone()],
        key: KeyPair::try_from(self_signed.key().serialize_der()).expect("a key"),
    };
    refused(&shown, &["self-signed certificate"]);

    let mut short = authority_params("short");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = CertifiedIssuer::signed_by(short, key(), &root).expect("an authority");
    let below = CertifiedIssuer::signed_by(authority_params("below"), key(), &short).expect("an authority");
    refused(&Shown::by(&below, &named(NAME)).with(&below).with(&short), &["path length constraint exceeded"]);
}

#[test]
fn chains_lead_over_intermediate_authorities() -> Result<()> {
    let root = authority();
    let upper = CertifiedIssuer::signed_by(authority_params("upper"), key(), &root).expect("an authority");
    let lower = CertifiedIssuer::signed_by(authority_params("lower"), key(), &upper).expect("an authority");
    // In any order, with others among them.
    for shown in [
        Shown::by(&lower, &named(NAME)).with(&lower).with(&upper),
        Shown::by(&lower, &named(NAME)).with(&upper).with(&root).with(&lower),
    ] {
        connect(config(&[&root]), server(&shown, &[&TLS13]), NAME).0?;
    }
    let shown = Shown::by(&lower, &named(NAME)).with(&lower);
    let partial = |partial_chain| {
        let rules = Rules { partial_chain, strict: false };
        TlsConfig::load(TlsOptions { rules, ..options(&[&upper]) }, OwnOptions::default()).expect("a configuration")
    };
    assert!(connect(partial(true), server(&shown, &[&TLS13]), NAME).0.is_ok());
    assert_says(&refusal(partial(false), server(&shown, &[&TLS13]), NAME), &["unable to get issuer certificate"]);
    Ok(())
}

#[test]
fn strict_rules_are_those_of_rfc_5280() {
    let root = authority();
    let mut params = named(NAME);
    params.use_authority_key_identifier_extension = false;
    let shown = Shown::by(&root, &params);
    let with = |strict| {
        let rules = Rules { partial_chain: false, strict };
        TlsConfig::load(TlsOptions { rules, ..options(&[&root]) }, OwnOptions::default()).expect("a configuration")
    };
    assert!(connect(with(false), server(&shown, &[&TLS13]), NAME).0.is_ok());
    assert_says(&refusal(with(true), server(&shown, &[&TLS13]), NAME), &["Missing Authority Key Identifier"]);
}

#[test]
fn nothing_is_verified_without_trust() -> Result<()> {
    let shown = Shown::by(&authority(), &named("somewhere.test"));
    for version in [&TLS13, &TLS12] {
        let options = TlsOptions::new(Trust::Anything, Rules::default());
        let (stream, _serving) = connect(TlsConfig::lazy(options), server(&shown, &[version]), "10.0.0.1");
        assert_eq!(exchange(&mut stream?, "x").expect("an answer"), "X");
    }
    Ok(())
}

#[test]
fn old_versions_can_be_refused() {
    let root = authority();
    let shown = Shown::by(&root, &named(NAME));
    let options = TlsOptions { versions: Versions::Tls13, ..options(&[&root]) };
    let config = TlsConfig::load(options, OwnOptions::default()).expect("a configuration");
    let text = refusal(config, server(&shown, &[&TLS12]), NAME);
    assert_says(&text, &["protocol version"]);
}

#[test]
fn a_server_without_tls_is_named_as_such() {
    let root = authority();
    let (stream, mut theirs) = stream_pair();
    theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("an answer");
    let error = block_on(Tls::Rustls(config(&[&root])).handshake(stream, NAME, PROTOCOLS, None, None))
        .err()
        .expect("a failure");
    assert_says(&error.to_string(), &["WRONG_VERSION_NUMBER", NAME]);
    let (stream, theirs) = stream_pair();
    drop(theirs);
    let error = block_on(Tls::Rustls(config(&[&root])).handshake(stream, NAME, PROTOCOLS, None, None))
        .err()
        .expect("a failure");
    assert_says(&error.to_string(), &["the TLS handshake with example.test failed"]);
}

/// A folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("httpcore_rs-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn trusting(source: TrustSource) -> std::result::Result<TlsConfig, super::ConfigError> {
    TlsConfig::load(TlsOptions::new(Trust::Roots(vec![source]), Rules::default()), OwnOptions::default())
}

#[test]
fn clients_show_their_certificate() -> Result<()> {
    let root = authority();
    let shown = Shown::by(&root, &named(NAME));
    let mut params = named("client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = Shown::by(&root, &params);
    let folder = Folder::new("identity");
    let pem = |der: &CertificateDer<'_>| rcgen_pem("CERTIFICATE", der);
    let chain = folder.write("chain.pem", &pem(&client.chain[0]));
    let key = folder.write("key.pem", &client.key.serialize_pem());
    let mut store = RootCertStore::empty();
    store.add(root.der().clone()).expect("a root");
    let server = || {
        let verifier = WebPkiClientVerifier::builder(Arc::new(store.clone())).build().expect("a verifier");
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        builder
            .with_protocol_versions(&[&TLS12])
            .expect("a version")
            .with_client_cert_verifier(verifier)
            .with_single_cert(shown.chain.clone(), shown.private_key())
            .expect("a certificate")
    };
    let config_with = TlsConfig::load(options(&[&root]), showing(&chain, &key)).expect("a configuration");
    assert!(format!("{config_with:?}").contains("chain.pem"));
    let (stream, _serving) = connect(config_with, server(), NAME);
    assert_eq!(exchange(&mut stream?, "me").expect("an answer"), "ME");
    assert_says(&refusal(config(&[&root]), server(), NAME), &["certificate"]);

    let load = |chain: &PathBuf, key: &PathBuf| {
        TlsConfig::load(options(&[&root]), showing(chain, key)).expect_err("a failure").message
    };
    let missing = folder.0.join("missing.pem");
    assert_says(&load(&missing, &key), &["client certificate", "missing.pem"]);
    assert_says(&load(&chain, &missing), &["private key", "missing.pem"]);
    let other = folder.write("other.pem", &self::key().serialize_pem());
    assert_says(&load(&chain, &other), &["KEY_VALUES_MISMATCH"]);
    Ok(())
}

fn rcgen_pem(label: &str, der: &[u8]) -> String {
    let body: Vec<String> = super::base64::encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", body.join("\n"))
}

#[test]
fn authorities_come_from_files_and_folders() {
    let root = authority();
    let shown = Shown::by(&root, &named(NAME));
    let folder = Folder::new("roots");
    let certificate = super::certificate::Certificate::parse(root.der()).expect("a certificate");
    let mut subject = super::der::Reader::new(certificate.subject);
    let contents = subject.element().map_or(certificate.subject, |(_, contents)| contents);
    let hash = name_hash(contents).or_else(|| name_hash(certificate.subject)).expect("a hash");
    folder.write(&format!("{hash:08x}.0"), &root.pem());
    folder.write("unrelated.pem", "no certificate");
    let file = folder.write("roots.pem", &root.pem());
    for source in [
        TrustSource::Named(folder.0.clone()),
        TrustSource::Named(file.clone()),
        TrustSource::Bundle(file.clone()),
        TrustSource::Folders(vec![folder.0.join("missing"), folder.0.clone()]),
        TrustSource::Optional { file: Some(file.clone()), folders: Vec::new() },
        TrustSource::Given(root.der().as_ref().into()),
        TrustSource::System { file: Some(file.clone()), folder: Some(folder.0.clone()) },
    ] {
        let config = trusting(source.clone()).expect("a configuration");
        assert!(connect(config, server(&shown, &[&TLS13]), NAME).0.is_ok(), "{source:?}");
    }
    let missing = folder.0.join("missing");
    let empty = folder.write("empty.pem", "");
    for (source, part) in [
        (TrustSource::Named(missing.clone()), "missing"),
        (TrustSource::Bundle(empty.clone()), "empty.pem"),
        (TrustSource::Given((*b"neither").into()), ""),
    ] {
        assert_says(&trusting(source).expect_err("a failure").message, &[part]);
    }
}

#[test]
fn a_file_that_has_changed_is_read_again() {
    let (first, second) = (authority(), authority());
    let folder = Folder::new("changes");
    let file = folder.write("roots.pem", &first.pem());
    let shown = Shown::by(&second, &named(NAME));
    let before = trusting(TrustSource::Named(file.clone())).expect("a configuration");
    assert_says(&refusal(before, server(&shown, &[&TLS13]), NAME), &["CERTIFICATE_VERIFY_FAILED"]);
    folder.write("roots.pem", &format!("{}{}", second.pem(), first.pem()));
    let after = trusting(TrustSource::Named(file)).expect("a configuration");
    assert!(connect(after, server(&shown, &[&TLS13]), NAME).0.is_ok());
}
