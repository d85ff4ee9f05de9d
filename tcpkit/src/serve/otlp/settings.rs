//! Where to push, how often, and as whom: from `--otlp` and the variables that OpenTelemetry names for it.

use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits;

/// Where the metrics of a collector's OTLP/HTTP receiver go.
const PATH: &str = "/v1/metrics";

const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// How pushes are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The whole address.
    pub(super) url: String,
    /// Sent with every request; they may hold secrets and are never told.
    pub(super) headers: HeaderMap,
    /// From one push to the next.
    pub(super) interval: Duration,
    /// A request takes no longer.
    pub(super) timeout: Duration,
    /// Who counts: attributes of the resource.
    pub(super) resource: Vec<(String, String)>,
}

impl Settings {
    /// As `--otlp` and the variables say; `variable` gives the value of one.
    ///
    /// # Errors
    /// A sentence for the user that names the variable and what it may hold.
    pub fn new(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        // Set to nothing is as good as not set (OpenTelemetry's specification, "Parsing empty value").
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let time = |name, default| match variable(name) {
            None => Ok(default),
            Some(text) => milliseconds(&text).ok_or_else(|| {
                format!("{name} is `{text}`: accepted are milliseconds, whole and above 0")
            }),
        };
        Ok(Self {
            url: metrics_url(url),
            headers: headers(&variable(HEADERS).unwrap_or_default())?,
            interval: time(INTERVAL, limits::PUSH_INTERVAL)?,
            timeout: time(TIMEOUT, limits::PUSH_TIME)?,
            resource: resource(variable(SERVICE), &variable(RESOURCE).unwrap_or_default())?,
        })
    }
}

/// A collector's address may be given with its path or without.
fn metrics_url(url: &str) -> String {
    let base = url.trim_end_matches('/');
    match base.ends_with(PATH) {
        true => base.to_owned(),
        false => format!("{base}{PATH}"),
    }
}

fn milliseconds(text: &str) -> Option<Duration> {
    let number = text.trim().parse().ok().filter(|number| *number > 0)?;
    Some(Duration::from_millis(number))
}

fn headers(list: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(HEADERS, list)? {
        let name = name.parse::<HeaderName>();
        let value = value.parse::<HeaderValue>();
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(format!("{HEADERS} holds what is no HTTP header; {PAIRS}"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// Later ones replace earlier ones of the same key.
fn resource(service: Option<String>, list: &str) -> Result<Vec<(String, String)>, String> {
    let host = host();
    let mut resource = vec![
        ("service.name".to_owned(), env!("CARGO_PKG_NAME").to_owned()),
        (
            "service.version".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        ("service.instance.id".to_owned(), host.clone()),
        ("host.name".to_owned(), host),
    ];
    let service = service.map(|name| ("service.name".to_owned(), name));
    for (key, value) in pairs(RESOURCE, list)?.into_iter().chain(service) {
        resource.retain(|(other, _)| *other != key);
        resource.push((key, value));
    }
    Ok(resource)
}

fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

const PAIRS: &str = "accepted is KEY=VALUE,KEY=VALUE, other characters as %XX";

/// `key=value,key=value`, percent-encoded (W3C Baggage, as OpenTelemetry's specification asks). The list may hold
/// secrets: no error shows it.
fn pairs(name: &str, list: &str) -> Result<Vec<(String, String)>, String> {
    let entries = list
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (key, value) = entry.split_once('=')?;
        let (key, value) = (decoded(key.trim())?, decoded(value.trim())?);
        (!key.is_empty()).then_some((key, value))
    };
    entries
        .map(|entry| pair(entry).ok_or_else(|| format!("{name} cannot be read; {PAIRS}")))
        .collect()
}

/// Text without its percent-encoding (RFC 3986, section 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => (hexadecimal(*high, *low)?, after),
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::new("http://collector:4318", |name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn attribute<'a>(settings: &'a Settings, key: &str) -> &'a str {
        let mut found = settings.resource.iter().filter(|(other, _)| other == key);
        let (_, value) = found.next().unwrap();
        assert_eq!(found.next(), None);
        value
    }

    #[test]
    fn the_path_is_added_where_it_is_not_given() {
        for (given, whole) in [
            ("http://a", "http://a/v1/metrics"),
            ("http://a:4318/", "http://a:4318/v1/metrics"),
            ("https://a/v1/metrics", "https://a/v1/metrics"),
            ("http://a/api/v1/otlp", "http://a/api/v1/otlp/v1/metrics"),
        ] {
            assert_eq!(metrics_url(given), whole);
        }
    }

    #[test]
    fn variables_are_followed() {
        let told = settings(&[
            (HEADERS, "Authorization=Bearer%20a%3Db, x-tenant = 7"),
            (INTERVAL, "2500"),
            (TIMEOUT, ""),
            (SERVICE, "edge"),
            (
                RESOURCE,
                "service.name=other,host.name=db%2C1,deployment.environment.name=lab",
            ),
        ])
        .unwrap();
        assert_eq!(told.headers["authorization"], "Bearer a=b");
        assert_eq!(told.headers["x-tenant"], "7");
        assert_eq!(told.interval, Duration::from_millis(2500));
        assert_eq!(told.timeout, limits::PUSH_TIME);
        assert_eq!(attribute(&told, "service.name"), "edge");
        assert_eq!(attribute(&told, "host.name"), "db,1");
        assert_eq!(attribute(&told, "deployment.environment.name"), "lab");
        assert_eq!(
            attribute(&told, "service.version"),
            env!("CARGO_PKG_VERSION")
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_without_its_secrets() {
        for (name, value) in [
            (HEADERS, "secret"),
            (HEADERS, "bad name=secret"),
            (HEADERS, "a=secret%0d%0a"),
            (RESOURCE, "=secret"),
            (RESOURCE, "a=secret%ff"),
            (INTERVAL, "0"),
            (TIMEOUT, "10s"),
        ] {
            let said = settings(&[(name, value)]).unwrap_err();
            assert!(said.contains(name) && said.contains("accepted"), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
