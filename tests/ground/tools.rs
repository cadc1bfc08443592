//! Programs that make, publish and check what is shipped: helm and its kind, from their Go modules.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::{go_build, go_build_tagged, go_module, key};
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
    let (module, sums, main) = (source.join("go.mod"), source.join("go.sum"), source.join("main.go"));
    let key = if tool.package() == "." { key(&[&module, &sums, &main])? } else { key(&[&module, &sums])? };
    let what = format!("{} from its Go module", tool.name());
    go_build(&what, &format!("{}-{key}", tool.name()), &source, "-s -w", tool.package()).await
}

/// promtool, as `tests/tools/promtool/go.mod` pins it.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn promtool() -> Result<PathBuf> {
    let source = repository().join("tests/tools/promtool");
    let name = format!("promtool-{}", key(&[&source.join("go.mod"), &source.join("go.sum")])?);
    let package = "github.com/prometheus/prometheus/cmd/promtool";
    // Without service discovery, which would bring the SDKs of all clouds.
    go_build_tagged("promtool from its Go modules", &name, &source, "-s -w", "remove_all_sd", package).await
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
