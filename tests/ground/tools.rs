//! Programs that make, publish and check what is shipped: helm and its kind, from their Go modules.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::{GoBuild, go_module, key};
use crate::repository;

/// How helm-docs makes the chart's README, in the chart's folder.
pub const HELM_DOCS: [&str; 2] = ["--sort-values-order=file", "--log-level=error"];

/// A program of `tests/tools/chart` or `tests/tools/release`, whose `go.mod` pins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Installs and renders charts.
    Helm,
    /// The version before, which many still use.
    Helm3,
    /// Runs the tests that lie in a chart.
    HelmUnittest,
    /// Writes a chart's README.
    HelmDocs,
    /// Holds objects against JSON schemas.
    Kubeconform,
    /// Ours: what kstatus, Argo CD and OLM make of what is shipped.
    Judge,
    /// Speaks with registries, and is one: `crane registry serve`.
    Crane,
    /// Reads workflows.
    Actionlint,
    /// Installs commands of kubectl.
    Krew,
    /// Ours: signs and verifies as cosign does, by its library.
    Signer,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Helm => "helm",
            Self::Helm3 => "helm3",
            Self::HelmUnittest => "helm-unittest",
            Self::HelmDocs => "helm-docs",
            Self::Kubeconform => "kubeconform",
            Self::Judge => "judge",
            Self::Crane => "crane",
            Self::Actionlint => "actionlint",
            Self::Krew => "krew",
            Self::Signer => "signer",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Helm3 => "helm.sh/helm/v3/cmd/helm",
            Self::HelmUnittest => "github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
            Self::HelmDocs => "github.com/norwoodj/helm-docs/cmd/helm-docs",
            Self::Kubeconform => "github.com/yannh/kubeconform/cmd/kubeconform",
            Self::Judge | Self::Signer => ".",
            Self::Crane => "github.com/google/go-containerregistry/cmd/crane",
            Self::Actionlint => "github.com/rhysd/actionlint/cmd/actionlint",
            Self::Krew => "sigs.k8s.io/krew/cmd/krew",
        }
    }

    fn module(self) -> &'static str {
        match self {
            Self::Crane | Self::Actionlint | Self::Krew | Self::Signer => "tests/tools/release",
            _ => "tests/tools/chart",
        }
    }
}

/// The binary of a tool, built where it is not there yet.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn tool(tool: Tool) -> Result<PathBuf> {
    let source = repository().join(tool.module());
    let files: &[&str] = if tool.package() == "." { &["go.mod", "go.sum", "main.go"] } else { &["go.mod", "go.sum"] };
    let key = key(&files.iter().map(|file| source.join(file)).collect::<Vec<_>>())?;
    let (what, name) = (format!("{} from its Go module", tool.name()), format!("{}-{key}", tool.name()));
    GoBuild { what: &what, package: tool.package(), ..GoBuild::of(&source, &name) }.run().await
}

/// promtool, as `tests/tools/promtool/go.mod` pins it.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn promtool() -> Result<PathBuf> {
    of_prometheus("promtool").await
}

/// Prometheus itself, of the same version. Only `cargo xtask pictures` builds it: two minutes of CPU time.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn prometheus() -> Result<PathBuf> {
    of_prometheus("prometheus").await
}

async fn of_prometheus(program: &str) -> Result<PathBuf> {
    let source = repository().join("tests/tools/promtool");
    let name = format!("{program}-{}", key(&["go.mod", "go.sum"].map(|file| source.join(file)))?);
    let build = GoBuild {
        what: &format!("{program} from its Go modules"),
        // Without service discovery, which would bring the SDKs of all clouds.
        tags: "remove_all_sd",
        package: &format!("github.com/prometheus/prometheus/cmd/{program}"),
        ..GoBuild::of(&source, &name)
    };
    build.run().await
}

/// Ours: what the resources and outputs of a Terraform module come to, evaluated by the libraries that
/// `tests/tools/terraform/go.mod` pins.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn terraform_reader() -> Result<PathBuf> {
    let source = repository().join("tests/tools/terraform");
    let files = ["go.mod", "go.sum", "main.go"].map(|file| source.join(file));
    let name = format!("terraform-reader-{}", key(&files)?);
    GoBuild { what: "a reader of Terraform modules", ..GoBuild::of(&source, &name) }.run().await
}

/// The CustomResourceDefinitions of the Prometheus operator that the chart makes objects of, from its Go module.
///
/// # Errors
/// Where Go is missing or the module cannot be had.
pub async fn prometheus_crds() -> Result<Vec<PathBuf>> {
    let module = "github.com/prometheus-operator/prometheus-operator";
    let folder = go_module(&repository().join("tests/tools/prometheus-crds"), module).await?;
    let folder = folder.join("example/prometheus-operator-crd");
    Ok(["prometheusrules", "servicemonitors"]
        .map(|kind| folder.join(format!("monitoring.coreos.com_{kind}.yaml")))
        .to_vec())
}
