//! One request to a collector, and what is made of its answer.
//!
//! OTLP/HTTP with protobuf bodies. An answer is read up to [`limits::ANSWER_BYTES`]; redirects are not followed, since
//! what is pushed is for the host that was named.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use ureq::http::{HeaderMap, Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::limits;

const PROTOBUF: &str = "application/x-protobuf";

/// Characters that are told of what a collector says.
const SAID: usize = 200;

/// Where to push.
pub(super) struct Collector {
    agent: Agent,
    url: String,
    headers: HeaderMap,
}

/// Why a push failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// For people.
    pub(super) said: String,
    /// How long the collector wants to be left alone.
    pub(super) pause: Option<Duration>,
}

impl Failure {
    pub(super) fn new(said: impl Into<String>) -> Self {
        Self {
            said: said.into(),
            pause: None,
        }
    }
}

/// `google.rpc.Status`, which tells in the body of a refusal what is wrong (OTLP/HTTP, "Failures").
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

impl Collector {
    /// The collector at a URL, which gets these headers with every request.
    pub(super) fn new(url: String, headers: HeaderMap) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("tcpkit/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self {
            agent,
            url,
            headers,
        }
    }

    /// Sends a compressed request; takes no longer than `within`.
    pub(super) fn post(&self, request: &[u8], within: Duration) -> Result<(), Failure> {
        let mut post = self.agent.post(&self.url);
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let answer = post
            .header(header::CONTENT_TYPE, PROTOBUF)
            .header(header::CONTENT_ENCODING, "gzip")
            .config()
            .timeout_global(Some(within))
            .build()
            .send(request);
        read(answer.map_err(|error| Failure::new(error.to_string()))?)
    }
}

fn read(answer: Response<Body>) -> Result<(), Failure> {
    let (head, mut body) = answer.into_parts();
    let is_protobuf = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(PROTOBUF.as_bytes()));
    let body = body.with_config().limit(limits::ANSWER_BYTES).read_to_vec();
    if !head.status.is_success() {
        let words = words(&body.unwrap_or_default(), is_protobuf);
        return Err(Failure {
            said: format!("it answers {}{words}", head.status),
            pause: pause(&head.headers),
        });
    }
    let body = body.map_err(|error| Failure::new(format!("its answer breaks off: {error}")))?;
    match ExportMetricsServiceResponse::decode(body.as_slice()) {
        Ok(answer) if is_protobuf || body.is_empty() => whole(answer),
        _ => Err(Failure::new(format!(
            "it answers {} without the {PROTOBUF} of a collector",
            head.status
        ))),
    }
}

/// A collector may take a part.
fn whole(answer: ExportMetricsServiceResponse) -> Result<(), Failure> {
    match answer.partial_success {
        Some(part) if part.rejected_data_points != 0 => Err(Failure::new(format!(
            "it does not take {} of the values{}",
            part.rejected_data_points,
            quoted(&part.error_message)
        ))),
        _ => Ok(()),
    }
}

/// What the body of a refusal says.
fn words(body: &[u8], is_protobuf: bool) -> String {
    match is_protobuf {
        true => quoted(&Status::decode(body).unwrap_or_default().message),
        false => quoted(&String::from_utf8_lossy(body)),
    }
}

/// Words of somebody else: one line, and nothing that a terminal would act on.
fn quoted(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(SAID).collect();
    match line.is_empty() {
        true => String::new(),
        false => format!(": {}", line.escape_debug()),
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => until(text)?,
    };
    Some(pause.min(limits::PUSH_PAUSE))
}

fn until(date: &str) -> Option<Duration> {
    let then = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let then = Duration::from_secs(u64::try_from(then.as_second()).ok()?);
    Some(then.saturating_sub(now))
}
