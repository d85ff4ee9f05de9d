//! Which path is answered with what.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::health::Health;
use super::page;
use super::pages::{Form, Pages};

/// What answers are made of.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) pages: Pages,
    pub(super) health: Health,
}

type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub(super) async fn answer(
    routes: Arc<Routes>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = said(
            StatusCode::METHOD_NOT_ALLOWED,
            "accepted are GET and HEAD\n",
        );
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return Ok(answer);
    }
    Ok(match request.uri().path() {
        "/" => of_type(
            "text/html; charset=utf-8",
            Bytes::from_static(page::page().as_bytes()),
        ),
        "/healthz" if routes.health.is_good() => said(StatusCode::OK, "ok\n"),
        "/healthz" => said(
            StatusCode::SERVICE_UNAVAILABLE,
            "the capture's loop does not turn\n",
        ),
        "/stats" => form(&routes, classic_form(&request)).await,
        "/api/v1/snapshot" => form(&routes, Form::Snapshot).await,
        "/metrics" => form(&routes, metrics_form(&request)).await,
        _ => said(
            StatusCode::NOT_FOUND,
            "there are /, /stats, /api/v1/snapshot, /metrics and /healthz\n",
        ),
    })
}

fn classic_form(request: &Request<Incoming>) -> Form {
    let query = request.uri().query().unwrap_or_default();
    match query.split('&').any(|part| part == "form=object") {
        true => Form::ClassicObject,
        false => Form::Classic,
    }
}

fn metrics_form(request: &Request<Incoming>) -> Form {
    let mut accepted = request.headers().get_all(ACCEPT).iter();
    let open = accepted.any(|value| {
        let text = value.to_str().unwrap_or_default();
        text.contains("application/openmetrics-text")
    });
    match open {
        true => Form::OpenMetrics,
        false => Form::Metrics,
    }
}

async fn form(routes: &Routes, form: Form) -> Answer {
    match routes.pages.get(form).await {
        Some(bytes) => of_type(form.content_type(), bytes),
        None => said(
            StatusCode::SERVICE_UNAVAILABLE,
            "the counts cannot be had\n",
        ),
    }
}

fn said(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = of_type(
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    );
    *answer.status_mut() = status;
    answer
}

fn of_type(content_type: &'static str, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, page::policy()),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ] {
        headers.insert(name, value);
    }
    answer
}
