//! Traces, as a collector gets them.

use std::sync::{Arc, Mutex};

use anyhow::ensure;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;

use crate::scene::{Scene, spec};
use crate::secrecy::shows;

#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    /// A collector at a port of its own, and its address.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let router = Router::new().route("/v1/traces", post(collect)).with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }
}

async fn collect(State(collector): State<Collector>, body: Bytes) {
    collector.bodies.lock().unwrap().extend_from_slice(&body);
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for of_resource in request.resource_spans {
        for attribute in of_resource.resource.into_iter().flat_map(|resource| resource.attributes) {
            if let (true, Some(Value::StringValue(name))) =
                (attribute.key == "service.name", attribute.value.and_then(|value| value.value))
            {
                collector.services.lock().unwrap().push(name);
            }
        }
        let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        collector.spans.lock().unwrap().extend(spans);
    }
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tokio::test]
async fn a_reconcile_is_a_trace_with_each_call_to_aws_and_no_secret() {
    let (collector, address) = Collector::start().await;
    let mut scene = Scene::without_operator("traces").await;
    scene.start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &address), ("OTEL_BSP_SCHEDULE_DELAY", "200")]).await;
    scene.create("reports", spec()).await;
    scene.ready("reports").await;
    scene
        .see("the trace of the reconcile that made the key", async || {
            let spans = collector.spans.lock().unwrap();
            let key = spans.iter().find(|span| span.name == "CreateAccessKey");
            ensure!(key.is_some(), "{:?}", spans.iter().map(|span| span.name.clone()).collect::<Vec<_>>());
            let key = key.unwrap();
            let reconcile = spans.iter().find(|span| span.span_id == key.parent_span_id);
            ensure!(reconcile.is_some(), "the reconcile has not ended yet");
            let reconcile = reconcile.unwrap();
            assert_eq!((reconcile.name.as_str(), &reconcile.trace_id), ("reconcile", &key.trace_id));
            assert_eq!(attribute(reconcile, "name"), Some("reports"));
            assert_eq!(attribute(reconcile, "priority"), Some("new"));
            let children = spans.iter().filter(|span| span.parent_span_id == reconcile.span_id);
            let children: Vec<_> = children.map(|span| span.name.as_str()).collect();
            for operation in ["CreateUser", "CreatePolicy", "AttachUserPolicy", "CreateAccessKey", "GetCallerIdentity"]
            {
                assert!(children.contains(&operation), "{operation}: {children:?}");
            }
            Ok(())
        })
        .await;
    assert_eq!(collector.services.lock().unwrap().first().map(String::as_str), Some("s3-access-operator"));
    // What is still to be sent is sent before the process ends.
    scene.terminate().await;
    let secret = scene.secret("reports-s3").await["AWS_SECRET_ACCESS_KEY"].clone();
    let bodies = collector.bodies.lock().unwrap();
    assert!(bodies.len() > 1_000, "there was something to search");
    assert!(!shows(bodies.as_slice(), &secret), "the secret key is in a trace");
}
