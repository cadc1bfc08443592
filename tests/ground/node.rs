//! A real node: containerd and a kubelet, with a network of pods. It runs inside [`crate::namespaces`].

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use serde_json::json;
use tokio::process::Command;

use crate::cache::Programs;
use crate::kubernetes::{Kubernetes, NODE, Options};
use crate::namespaces::{ADDRESS, cgroup_of};
use crate::oci::{Content, Image, archive, write_layout};
use crate::processes::{Process, Spec, which};
use crate::wait::eventually;

const START: Duration = Duration::from_secs(120);
/// The image of the container that holds a pod's namespaces.
const PAUSE: &str = "docker.io/local/pause:1";
/// The image of the program in `tests/node/workload`.
pub const WORKLOAD: &str = "docker.io/local/workload:1";
/// Where the node pulls from without TLS: a registry at its own address, HOST:PORT and a path.
pub const REGISTRY: &str = "10.0.0.1:5000/ground";

/// A running node; dropping it ends its programs, and the end of the namespaces ends its containers.
#[derive(Debug)]
pub struct Node {
    _kubelet: Process,
    _containerd: Process,
}

impl Node {
    /// Starts containerd and a kubelet, and waits until the node is Ready. `programs` is the folder of
    /// [`crate::cache::node`].
    ///
    /// # Errors
    /// Where one of them does not come up; with the end of its log.
    pub async fn start(kubernetes: &Kubernetes, cluster: &Programs, programs: &Path, folder: &Path) -> Result<Self> {
        let path = |name: &str| folder.join(name);
        for name in ["cni", "temp"] {
            fs::create_dir_all(path(name))?;
        }
        fs::write(path("cni/10-ground.conflist"), network(folder).to_string())?;
        fs::write(path("containerd.toml"), containerd(folder, programs)?)?;
        let host = REGISTRY.split('/').next().unwrap_or_default();
        fs::create_dir_all(path("registries").join(host))?;
        let plain = format!("[host.\"http://{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
        fs::write(path("registries").join(host).join("hosts.toml"), plain)?;
        fs::write(path("kubelet.json"), kubelet(folder).to_string())?;
        // Both start programs that they look for.
        let search = std::env::var("PATH").context("PATH is not set")?;
        let mut containerd = Spec::new("containerd", programs.join("containerd"), path("containerd.log"))
            .args(["--config".to_owned(), path("containerd.toml").display().to_string()])
            .env("PATH", &search)
            .env("TMPDIR", path("temp").display().to_string())
            .spawn()?;
        let client = |args: &[&str]| ctr(programs, folder, args);
        eventually("containerd", START, async || {
            containerd.ensure_running()?;
            run(client(&["version"])).await
        })
        .await?;
        let workload = fs::read(programs.join("workload"))?;
        for (name, argument) in [(PAUSE, Some("pause")), (WORKLOAD, None)] {
            let mut image = unpacked("workload", workload.clone());
            image.entrypoint.extend(argument.map(ToOwned::to_owned));
            run(client(&["images", "import", "--local", "--snapshotter", "native", &write(folder, name, image)?]))
                .await?;
        }
        let (binary, leading) = cluster.command("kubelet");
        let mut kubelet = Spec::new("kubelet", binary, path("kubelet.log"))
            .args(leading)
            .args([
                format!("--config={}", path("kubelet.json").display()),
                format!("--kubeconfig={}", kubernetes.kubelet_kubeconfig().display()),
                format!("--root-dir={}", path("kubelet").display()),
                format!("--hostname-override={NODE}"),
                format!("--node-ip={ADDRESS}"),
            ])
            .env("PATH", &search)
            .env("GOGC", Options::default().gogc.to_string())
            .spawn()?;
        let nodes: Api<NodeObject> = Api::all(kubernetes.access().client().await?);
        eventually("the node to be Ready", START, async || {
            containerd.ensure_running()?;
            kubelet.ensure_running()?;
            let node = nodes.get(NODE).await?;
            let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready").context("no condition yet")?;
            ensure!(ready.status == "True" && taints.is_empty(), "{ready:?}, taints {taints:?}");
            Ok(())
        })
        .await
        .with_context(|| format!("the kubelet's log ends:\n{}", kubelet.log_tail()))?;
        Ok(Self { _kubelet: kubelet, _containerd: containerd })
    }
}

/// An image of one program, for a node that unpacks it at once.
#[must_use]
pub fn unpacked(name: &str, program: Vec<u8>) -> Image {
    Image {
        architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
        files: vec![Content { path: name.to_owned(), mode: 0o755, bytes: program }],
        entrypoint: vec![format!("/{name}")],
        user: "65532:65532".to_owned(),
        labels: Default::default(),
        created: 0,
        compressed: false,
    }
}

fn write(folder: &Path, name: &str, image: Image) -> Result<String> {
    let layout = folder.join("temp/layout");
    let file = folder.join("temp/image.tar");
    write_layout(&layout, name, &[image])?;
    archive(&layout, &file)?;
    fs::remove_dir_all(&layout)?;
    Ok(file.display().to_string())
}

fn socket(folder: &Path) -> String {
    folder.join("containerd.sock").display().to_string()
}

fn ctr(programs: &Path, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(programs.join("ctr"));
    command.env_clear().args(["--address", &socket(folder), "--namespace", "k8s.io"]).args(args);
    command
}

async fn run(mut command: Command) -> Result<()> {
    let output = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?}: {errors}", command.as_std());
    Ok(())
}

/// A bridge with the node's end of every pod on it. Nothing is translated: pods reach the node and each other.
fn network(folder: &Path) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "ground",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipam": {
                "type": "host-local",
                "dataDir": folder.join("addresses"),
                "ranges": [[{ "subnet": "10.88.0.0/16" }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    })
}

/// Snapshots are copies, since not every file system has overlays.
fn containerd(folder: &Path, programs: &Path) -> Result<String> {
    let runc = which("runc")?;
    let (folder, socket, programs, runc) = (folder.display(), socket(folder), programs.display(), runc.display());
    Ok(format!(
        r#"version = 3
root = "{folder}/containerd"
state = "/run/containerd-state"
temp = "{folder}/temp"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  # Which also unpacks into that.
  use_local_image_pull = true
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "{folder}/registries"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
  # Not every root may say whom the kernel spares.
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{programs}"]
  conf_dir = "{folder}/cni"
[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  runtime_path = "{programs}/containerd-shim-runc-v2"
  snapshotter = "native"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
"#
    ))
}

fn kubelet(folder: &Path) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        // Nobody but the tests is in this network.
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "containerRuntimeEndpoint": format!("unix://{}", socket(folder)),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_of(folder),
        // The machine's own groups stay as they are.
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        // A full disk is the machine's business.
        "evictionHard": {
            "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        // How soon a pod sees a Secret's new data: as it changes, and looked at every second instead of every minute.
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "syncFrequency": "1s",
        "volumePluginDir": folder.join("volume-plugins"),
        "podLogsDir": folder.join("pod-logs"),
        "resolvConf": "",
        "healthzPort": 0,
    })
}
