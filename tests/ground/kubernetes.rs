//! A real control plane: etcd, kube-apiserver and kube-controller-manager, on ports of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cache::Programs;
use crate::ports::Port;
use crate::processes::{Process, Spec};
use crate::repository;
use crate::wait::eventually;

const START: Duration = Duration::from_secs(60);
/// Long enough for any test; the API server takes no less than ten minutes.
const TOKEN_SECONDS: i64 = 6 * 3600;

/// What it takes to talk to a control plane, from any process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Access {
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The API server's audit log.
    pub audit_log: PathBuf,
    /// The API server's address.
    pub server: String,
    /// kubectl's binary and leading arguments.
    pub kubectl: (PathBuf, Vec<String>),
}

/// From where a control plane is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From this machine, at a port that is free.
    Loopback,
    /// From pods too, at the address of the Service `kubernetes`, which the network namespace must have: so no proxy is
    /// needed. With a scheduler, and the controllers that pods on a node need.
    Pods,
}

/// The address of the Service `kubernetes`.
pub const SERVICE: &str = "10.96.0.1";
/// The node that may register where pods are to run.
pub const NODE: &str = "node";

/// A running control plane; dropping it ends it.
#[derive(Debug)]
pub struct Kubernetes {
    access: Access,
    apiserver_spec: Spec,
    kubelet_kubeconfig: PathBuf,
    // Ended in this order: clients before servers.
    _scheduler: Option<Process>,
    _manager: Process,
    apiserver: Process,
    _etcd: Process,
    _ports: Vec<Port>,
}

/// What a control plane is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The group of users whose reads are in the audit log beside everybody's writes.
    pub audited_reads: Option<String>,
    /// The size that etcd's database may reach.
    pub etcd_bytes: u64,
    /// How many requests a second kube-controller-manager may make.
    pub manager_requests_per_second: u32,
    /// How far the memory in use may grow before Go collects garbage, percent.
    pub gogc: u32,
    /// From where it is reached.
    pub reach: Reach,
}

impl Default for Options {
    /// For this machine alone. A quarter of an API server's CPU time goes into collecting garbage, and tests rather have the
    /// memory; all else is as the programs have it.
    fn default() -> Self {
        Self {
            audited_reads: None,
            etcd_bytes: 2 << 30,
            manager_requests_per_second: 20,
            gogc: 400,
            reach: Reach::Loopback,
        }
    }
}

/// A write that the API server has recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// The plural, with the subresource behind a slash.
    pub resource: String,
    /// The object's name.
    pub name: String,
    /// The HTTP status.
    pub code: u64,
}

impl Kubernetes {
    /// Starts a control plane whose files lie in `folder`.
    ///
    /// # Errors
    /// Where one of the programs does not come up; with the end of its log.
    pub async fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        Self::start_with(programs, folder, &Options::default()).await
    }

    /// The same, for more than tests ask of it.
    ///
    /// # Errors
    /// Where one of the programs does not come up; with the end of its log.
    pub async fn start_with(programs: &Programs, folder: &Path, options: &Options) -> Result<Self> {
        let (client, peer, secure) = (Port::free()?, Port::free()?, Port::free()?);
        let for_pods = options.reach == Reach::Pods;
        let path = |name: &str| folder.join(name);
        let text = |name: &str| path(name).display().to_string();
        let (token, kubelet_token) = (random_token()?, random_token()?);
        let tokens = format!(
            "{token},admin,admin,\"system:masters\"\n{kubelet_token},system:node:{NODE},node,\"system:nodes\"\n"
        );
        fs::write(path("tokens.csv"), tokens)?;
        let (private, public) = signing_key()?;
        fs::write(path("service-accounts.key"), private)?;
        fs::write(path("service-accounts.pub"), public)?;
        let reads = options.audited_reads.iter().map(|group| format!("{AUDIT_READS}  userGroups: [\"{group}\"]\n"));
        fs::write(path("audit-policy.yaml"), AUDIT_POLICY.to_owned() + &reads.collect::<String>())?;
        fs::write(path("audit.log"), "")?;
        let spec = |program: &str, args: Vec<String>| {
            let (binary, leading) = programs.command(program);
            let spec = Spec::new(program, binary, path(&format!("{program}.log"))).dir(folder).args(leading).args(args);
            spec.env("GOGC", options.gogc.to_string())
        };
        let mut etcd = spec(
            "etcd",
            vec![
                format!("--data-dir={}", text("etcd")),
                format!("--listen-client-urls={}", client.http()),
                format!("--advertise-client-urls={}", client.http()),
                format!("--listen-peer-urls={}", peer.http()),
                "--unsafe-no-fsync".to_owned(),
                format!("--quota-backend-bytes={}", options.etcd_bytes),
            ],
        )
        .spawn()?;
        let (server, addresses) = if for_pods {
            let addresses = vec![
                "--bind-address=0.0.0.0".to_owned(),
                format!("--advertise-address={SERVICE}"),
                "--secure-port=443".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                // There is no name server.
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
            ];
            (format!("https://{SERVICE}"), addresses)
        } else {
            let addresses = vec!["--bind-address=127.0.0.1".to_owned(), format!("--secure-port={}", secure.number())];
            (format!("https://127.0.0.1:{}", secure.number()), addresses)
        };
        let apiserver_spec = spec(
            "kube-apiserver",
            vec![
                format!("--etcd-servers={}", client.http()),
                format!("--cert-dir={}", text("certificates")),
                format!("--service-account-key-file={}", text("service-accounts.pub")),
                format!("--service-account-signing-key-file={}", text("service-accounts.key")),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--token-auth-file={}", text("tokens.csv")),
                format!("--authorization-mode={}", if for_pods { "Node,RBAC" } else { "RBAC" }),
                "--service-cluster-ip-range=10.96.0.0/24".to_owned(),
                format!("--audit-policy-file={}", text("audit-policy.yaml")),
                format!("--audit-log-path={}", text("audit.log")),
                // In MiB: a log that is put aside half-way would be counted by halves.
                "--audit-log-maxsize=100000".to_owned(),
            ],
        )
        .args(addresses);
        let mut apiserver = apiserver_spec.spawn()?;
        let (certificate, key) = (path("certificates/apiserver.crt"), path("certificates/apiserver.key"));
        eventually("the API server's certificate", START, async || {
            etcd.ensure_running()?;
            apiserver.ensure_running()?;
            // It writes the certificate first: one that is there without the key may have been begun only.
            ensure!(key.is_file(), "{} is missing", key.display());
            Ok(())
        })
        .await?;
        let kubeconfig = path("admin.kubeconfig");
        write_kubeconfig(&kubeconfig, &server, &fs::read(&certificate)?, &token)?;
        let kubelet_kubeconfig = path("kubelet.kubeconfig");
        write_kubeconfig(&kubelet_kubeconfig, &server, &fs::read(&certificate)?, &kubelet_token)?;
        let access = Access { kubeconfig, audit_log: path("audit.log"), server, kubectl: programs.command("kubectl") };
        let admin = access.client().await?;
        eventually("the API server", START, async || {
            etcd.ensure_running()?;
            apiserver.ensure_running()?;
            let ready = admin.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
            ensure!(ready == "ok", "/readyz says {ready}");
            Ok(())
        })
        .await?;
        let mut manager = spec(
            "kube-controller-manager",
            vec![
                format!("--kubeconfig={}", access.kubeconfig.display()),
                format!("--service-account-private-key-file={}", text("service-accounts.key")),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
                format!("--root-ca-file={}", certificate.display()),
                format!("--controllers={CONTROLLERS}{}", if for_pods { CONTROLLERS_FOR_PODS } else { "" }),
                format!("--kube-api-qps={}", options.manager_requests_per_second),
                format!("--kube-api-burst={}", options.manager_requests_per_second * 2),
            ],
        )
        .spawn()?;
        let scheduler = for_pods.then(|| {
            let args = vec![
                format!("--kubeconfig={}", access.kubeconfig.display()),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
            ];
            spec("kube-scheduler", args).spawn()
        });
        eventually("the default service account", START, async || {
            manager.ensure_running()?;
            Api::<ServiceAccount>::namespaced(admin.clone(), "default").get("default").await?;
            Ok(())
        })
        .await?;
        Ok(Self {
            access,
            apiserver_spec,
            kubelet_kubeconfig,
            _scheduler: scheduler.transpose()?,
            _manager: manager,
            apiserver,
            _etcd: etcd,
            _ports: vec![client, peer, secure],
        })
    }

    /// Kills the API server: every watch breaks.
    ///
    /// # Errors
    /// Where it had ended before.
    pub async fn stop_apiserver(&mut self) -> Result<()> {
        self.apiserver.kill9().await.map(drop)
    }

    /// Starts it again, at the same address, with an empty cache of changes.
    ///
    /// # Errors
    /// Where it does not come up.
    pub async fn start_apiserver(&mut self) -> Result<()> {
        self.apiserver = self.apiserver_spec.spawn()?;
        let admin = self.access.client().await?;
        eventually("the API server", START, async || {
            self.apiserver.ensure_running()?;
            let ready = admin.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
            ensure!(ready == "ok", "/readyz says {ready}");
            Ok(())
        })
        .await
    }

    /// The API server's process id, until it is started again.
    #[must_use]
    pub fn apiserver_id(&self) -> u32 {
        self.apiserver.id()
    }

    /// The kubeconfig of the kubelet of [`NODE`].
    #[must_use]
    pub fn kubelet_kubeconfig(&self) -> &Path {
        &self.kubelet_kubeconfig
    }

    /// How to talk to it.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }
}

impl Access {
    /// The administrator's client.
    ///
    /// # Errors
    /// Where the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<kube::Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // A test waits for conditions itself, and wants to see each refusal.
        config.default_retry = false;
        Ok(kube::Client::try_from(config)?)
    }

    /// Runs kubectl as the administrator; its standard output.
    ///
    /// # Errors
    /// Where kubectl fails: with its standard error.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let (binary, leading) = &self.kubectl;
        let output = tokio::process::Command::new(binary)
            .args(leading)
            .args(args)
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.kubeconfig.parent().unwrap_or(Path::new("/")))
            // It ends before garbage is worth collecting, which takes a third of its time otherwise.
            .env("GOGC", "off")
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {errors}", args.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Installs the operator's objects as the README says, and waits until the API server takes an S3AccessUser.
    ///
    /// # Errors
    /// Where they cannot be applied, or are not served in time.
    pub async fn install(&self) -> Result<()> {
        self.kubectl(&["apply", "-k", &repository().join("deploy").display().to_string()]).await?;
        let crds = ["crd/s3accessusers.s3access.dev", "crd/s3accessclasses.s3access.dev"];
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", crds[0], crds[1]]).await?;
        self.takes_users().await
    }

    /// Waits until the API server takes an S3AccessUser: after its start, and after an installation, the admission
    /// policy refuses all of them until the kind of its parameter is discovered.
    ///
    /// # Errors
    /// Where it does not in time.
    pub async fn takes_users(&self) -> Result<()> {
        let user = repository().join("deploy/samples/walk-through.yaml").display().to_string();
        eventually("the API server to take an S3AccessUser", START, async || {
            self.kubectl(&["create", "--dry-run=server", "-f", &user]).await.map(drop)
        })
        .await
    }

    /// Writes a kubeconfig for a service account, by the TokenRequest API: what a pod of it would have.
    ///
    /// # Errors
    /// Where there is no such service account.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = answer.status.and_then(|status| status.token).context("the answer has no token")?;
        let folder = self.kubeconfig.parent().context("the kubeconfig has no folder")?;
        let path = folder.join(format!("{namespace}-{name}-{}.kubeconfig", random_token()?));
        write_kubeconfig(&path, &self.server, &fs::read(folder.join("certificates/apiserver.crt"))?, &token)?;
        Ok(path)
    }

    /// The writes that a user has made in a namespace, Events and Leases apart.
    ///
    /// # Errors
    /// Where the audit log cannot be read.
    pub fn writes(&self, user: &str, namespace: &str) -> Result<Vec<Write>> {
        let log = fs::read_to_string(&self.audit_log)?;
        let entries = log.lines().filter_map(|line| serde_json::from_str::<AuditEvent>(line).ok());
        Ok(entries
            .filter(|event| event.user.username == user && event.object.namespace == namespace)
            .filter(|event| !["get", "list", "watch"].contains(&event.verb.as_str()))
            .filter(|event| !event.request_uri.contains("dryRun=All"))
            .filter(|event| !["events", "leases"].contains(&event.object.resource.as_str()))
            .map(|event| Write {
                verb: event.verb,
                resource: match event.object.subresource {
                    Some(subresource) => format!("{}/{subresource}", event.object.resource),
                    None => event.object.resource,
                },
                name: event.object.name,
                code: event.status.code,
            })
            .collect())
    }
}

#[derive(Deserialize)]
struct AuditEvent {
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: AuditUser,
    #[serde(rename = "objectRef")]
    object: AuditObject,
    #[serde(rename = "responseStatus")]
    status: AuditStatus,
}

#[derive(Deserialize)]
struct AuditUser {
    username: String,
}

#[derive(Deserialize)]
struct AuditObject {
    resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    subresource: Option<String>,
}

#[derive(Deserialize)]
struct AuditStatus {
    code: u64,
}

const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete]
";

const AUDIT_READS: &str = "\
- level: Metadata
  verbs: [get, list, watch]
";

/// Those that the operator's users meet: without the garbage collector, owner references would be untested.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller,\
serviceaccount-token-controller,deployment-controller,replicaset-controller,validatingadmissionpolicy-status-controller";

/// Beside those: a node gets rid of its taint, and pods get the API server's certificate, only by theirs.
const CONTROLLERS_FOR_PODS: &str = ",node-lifecycle-controller,root-ca-certificate-publisher-controller,\
pod-garbage-collector-controller,disruption-controller,clusterrole-aggregation-controller";

fn write_kubeconfig(path: &Path, server: &str, certificate: &[u8], token: &str) -> Result<()> {
    let cluster = BTreeMap::from([
        ("server", json!(server)),
        ("certificate-authority-data", json!(STANDARD.encode(certificate))),
    ]);
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "ground", "cluster": cluster }],
        "users": [{ "name": "user", "user": { "token": token } }],
        "contexts": [{ "name": "ground", "context": { "cluster": "ground", "user": "user" } }],
        "current-context": "ground",
    });
    // JSON is YAML; the folder is private.
    fs::write(path, kubeconfig.to_string()).with_context(|| format!("writing {}", path.display()))
}

fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A key pair for service account tokens, in PEM: the private half, then the public one.
fn signing_key() -> Result<(String, String)> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).ok().context("no key")?;
    let private = key.to_pkcs8v1().ok().context("no key")?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).ok().context("no key")?;
    Ok((pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref())))
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = (0..body.len()).step_by(64).filter_map(|at| body.get(at..body.len().min(at + 64))).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
