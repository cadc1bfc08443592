//! Metrics by TLS: who may read them, and by which certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use aws_smithy_types::base64;
use ground::operator::Operator;
use ground::ports::Port;
use ground::stand::Stand;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::scene::Scene;

const AUTH: &str = "s3-access-operator-metrics-auth";
const READER: &str = "s3-access-operator-metrics-reader";

/// Who signs certificates, and whom a client trusts.
struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a certificate of `localhost` and its key, as a Secret is mounted.
    fn sign(&self, folder: &Path) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("tls.crt"), pem("CERTIFICATE", certificate.der())).unwrap();
        std::fs::write(folder.join("tls.key"), pem("PRIVATE KEY", &key.serialize_der())).unwrap();
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = base64::encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

/// Asks for metrics by TLS, with that header; the status and the body.
async fn ask(port: u16, trusted: &Authority, authorization: Option<&str>) -> Result<(u16, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certificate())?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream).await?;
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    Ok((head.split(' ').nth(1).context("no status")?.parse()?, body.to_owned()))
}

/// What comes back where TLS is spoken and a client speaks plain HTTP.
async fn plain(port: u16) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// An operator that serves metrics by TLS, and what its certificate lies in.
struct Guarded {
    scene: Scene,
    operator: Operator,
    port: Port,
    folder: PathBuf,
}

impl Guarded {
    async fn start(name: &str, authority: Option<&Authority>) -> Self {
        let scene = Scene::on(Stand::attach().unwrap(), name).await;
        let (port, folder) = (Port::free().unwrap(), scene.stand.folder.join(format!("{name}-certificates")));
        let address = format!("127.0.0.1:{}", port.number());
        let path = folder.display().to_string();
        if let Some(authority) = authority {
            authority.sign(&folder);
        }
        let certificates = authority.map_or("", |_| path.as_str());
        let settings = [
            ("S3ACCESS_METRICS_SECURE", "true"),
            ("S3ACCESS_METRICS_LISTEN", address.as_str()),
            ("S3ACCESS_METRICS_CERTIFICATES", certificates),
        ];
        let operator = scene.launch("guarded", &settings).await;
        Self { scene, operator, port, folder }
    }

    /// A token of a new service account; for the API server, unless another audience is named.
    async fn token(&self, account: &str, audience: Option<&str>) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let object = serde_json::from_value(json!({ "metadata": { "name": account } })).unwrap();
        accounts.create(&PostParams::default(), &object).await.unwrap();
        let spec =
            TokenRequestSpec { audiences: audience.map(|one| vec![one.to_owned()]), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
        format!("Bearer {}", answer.status.unwrap().token.unwrap())
    }

    /// Lets that service account read metrics, as the documentation says it is done.
    async fn let_read(&self, account: &str) {
        let namespace = &self.scene.namespace;
        let (role, bearer) = (format!("--clusterrole={READER}"), format!("--serviceaccount={namespace}:{account}"));
        let name = format!("{namespace}-{account}");
        let kubectl = &self.scene.stand.kubernetes;
        kubectl.kubectl(&["create", "clusterrolebinding", &name, &role, &bearer]).await.unwrap();
    }

    /// Waits until that is the answer to whoever trusts that authority.
    async fn answers(&self, status: u16, trusted: &Authority, authorization: &str) {
        self.scene
            .see(&format!("metrics to be answered with {status}"), async || {
                let (found, _) = ask(self.port.number(), trusted, Some(authorization)).await?;
                ensure!(found == status, "{found}");
                Ok(())
            })
            .await;
    }
}

#[tokio::test]
async fn metrics_by_tls_are_for_whoever_may_read_them_and_their_certificate_is_followed() {
    let rights = ground::repository().join("deploy/optional/secure-metrics/rbac.yaml").display().to_string();
    let (authority, next) = (Authority::new(), Authority::new());
    let guarded = Guarded::start("metrics", Some(&authority)).await;
    let (port, kubernetes) = (guarded.port.number(), guarded.scene.stand.kubernetes.clone());

    // While the operator cannot ask who somebody is, it lets nobody in.
    kubernetes.kubectl(&["delete", "clusterrolebinding", AUTH, "--ignore-not-found"]).await.unwrap();
    let reader = guarded.token("reader", None).await;
    guarded.answers(503, &authority, &reader).await;

    kubernetes.kubectl(&["apply", "-f", &rights]).await.unwrap();
    guarded.answers(403, &authority, &reader).await;
    guarded.let_read("reader").await;
    guarded.answers(200, &authority, &reader).await;
    let (_, body) = ask(port, &authority, Some(&reader)).await.unwrap();
    assert!(body.contains("s3access_leader"), "{body}");

    let stranger = guarded.token("stranger", None).await;
    let elsewhere = guarded.token("elsewhere", Some("elsewhere")).await;
    guarded.let_read("elsewhere").await;
    let bare = reader.trim_start_matches("Bearer ");
    for (status, authorization) in [
        (401, None),
        (401, Some("Bearer ")),
        (401, Some("Bearer made-up")),
        (401, Some(bare)),
        (401, Some(&*format!("Basic {bare}"))),
        (401, Some(&*elsewhere)),
        (403, Some(&*stranger)),
        (200, Some(&*format!("bearer {bare}"))),
    ] {
        let (found, body) = ask(port, &authority, authorization).await.unwrap();
        assert_eq!(found, status, "{authorization:?}");
        assert!(status == 200 || body.is_empty(), "{body}");
    }

    // Neither at that port by plain HTTP, nor at the probes' at all.
    let answer = plain(port).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(guarded.operator.get("/healthz").await.unwrap(), "ok");
    assert!(guarded.operator.get("/metrics").await.unwrap_err().to_string().contains("404"));

    // Another certificate takes its place, and one that is none does not.
    assert!(ask(port, &next, Some(&reader)).await.is_err(), "nobody has signed it");
    next.sign(&guarded.folder);
    guarded.answers(200, &next, &reader).await;
    assert!(ask(port, &authority, Some(&reader)).await.is_err(), "the old one is still shown");
    std::fs::write(guarded.folder.join("tls.crt"), "renewed by halves").unwrap();
    guarded
        .scene
        .see("the operator to say so", async || {
            ask(port, &next, Some(&reader)).await.context("with the certificate before")?;
            ensure!(guarded.operator.log()?.contains("the certificate of the metrics is not renewed"), "it has not");
            Ok(())
        })
        .await;
    assert!(!guarded.operator.log().unwrap().contains(bare), "a token is in the log");
}

#[tokio::test]
async fn without_a_certificate_the_operator_makes_one_that_nobody_vouches_for() {
    let guarded = Guarded::start("selfsigned", None).await;
    guarded
        .scene
        .see("a certificate that nobody has signed", async || {
            let error =
                ask(guarded.port.number(), &Authority::new(), None).await.map(|(status, _)| status).unwrap_err();
            ensure!(format!("{error:#}").contains("invalid peer certificate"), "{error:#}");
            Ok(())
        })
        .await;
}
