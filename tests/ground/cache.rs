//! What is built or installed once: the Kubernetes programs, versitygw, Ceph and Python's packages, outside `target/`,
//! keyed by what they are made from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::processes::which;
use crate::repository;

/// The version that the API server reports; the module versions are in `tests/cluster/go.mod`.
const KUBERNETES: &str = "v1.36.3";
/// What of Ceph is run; `tests/rgw/lock.py` pins what these load.
const CEPH: [&str; 6] = ["ceph-mon", "ceph-osd", "monmaptool", "osdmaptool", "radosgw", "radosgw-admin"];
const CARGO_MUTANTS: &str = "27.1.0";

/// Etcd, kube-apiserver, kube-controller-manager and kubectl.
#[derive(Clone, Debug)]
pub enum Programs {
    /// One binary of our own, which takes the program's name as its first argument.
    Combined(PathBuf),
    /// A folder of binaries, by `KUBEBUILDER_ASSETS`.
    Folder(PathBuf),
}

impl Programs {
    /// The binary of a program, and the arguments that come before its own.
    #[must_use]
    pub fn command(&self, program: &str) -> (PathBuf, Vec<String>) {
        match self {
            Self::Combined(binary) => (binary.clone(), vec![program.to_owned()]),
            Self::Folder(folder) => (folder.join(program), Vec::new()),
        }
    }
}

/// The Kubernetes programs, built where they are not there yet; that takes minutes, once.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn kubernetes() -> Result<Programs> {
    if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS") {
        return Ok(Programs::Folder(PathBuf::from(folder)));
    }
    let source = repository().join("tests/cluster");
    let key = key(&[&source.join("go.mod"), &source.join("go.sum"), &source.join("main.go")])?;
    let package = "k8s.io/component-base/version";
    let flags = format!("-s -w -X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor=1 -X {package}.gitMinor=36");
    let what = format!("Kubernetes {KUBERNETES} from its Go modules: about five minutes on two cores");
    let name = format!("kubernetes-{KUBERNETES}-{key}");
    Ok(Programs::Combined(go_build(&what, &name, &source, &flags, ".").await?))
}

/// versitygw: an S3 server with an IAM of its own, as `tests/gateway/go.mod` pins it.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn versitygw() -> Result<PathBuf> {
    let source = repository().join("tests/gateway");
    let name = format!("versitygw-{}", key(&[&source.join("go.mod"), &source.join("go.sum")])?);
    let package = "github.com/versity/versitygw/cmd/versitygw";
    go_build("versitygw from its Go modules: about a minute on two cores", &name, &source, "-s -w", package).await
}

/// Ceph's programs in `bin` and all libraries that they load in `lib`, from the packages of Debian that
/// `tests/rgw/packages.lock` pins by hash: no package manager of this machine knows of them, and none needs root.
///
/// # Errors
/// Where this machine cannot get or run them; in words that say why.
pub async fn ceph() -> Result<PathBuf> {
    ensure!(cfg!(target_arch = "x86_64"), "tests/rgw/packages.lock is of packages for x86-64");
    let helper = Path::new("/usr/lib/apt/apt-helper");
    ensure!(helper.is_file() && which("dpkg-deb").is_ok(), "apt is not installed: this is no Debian");
    let lock_file = repository().join("tests/rgw/packages.lock");
    let folder = root()?.join(format!("ceph-{}", key(&[&lock_file])?));
    let _lock = lock(&folder).await?;
    if !folder.is_dir() {
        eprintln!("installing Ceph's gateway from Debian's packages, by hash: 98 MB, once");
        let part = folder.with_extension("part");
        if part.is_dir() {
            fs::remove_dir_all(&part)?;
        }
        fs::create_dir_all(&part)?;
        let archives = debian_packages(helper, &lock_file, &part).await?;
        for archive in &archives {
            run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(part.join("all"))).await?;
        }
        fs::create_dir(part.join("bin"))?;
        fs::rename(part.join("all/usr/lib/x86_64-linux-gnu"), part.join("lib"))?;
        for program in CEPH {
            fs::rename(part.join("all/usr/bin").join(program), part.join("bin").join(program))?;
        }
        fs::remove_dir_all(part.join("all"))?;
        fs::remove_dir_all(part.join("archives"))?;
        fs::rename(&part, &folder)?;
    }
    Ok(folder)
}

/// Downloads what a file of hashes and paths names, from the mirror that this machine's apt uses.
async fn debian_packages(helper: &Path, lock_file: &Path, part: &Path) -> Result<Vec<PathBuf>> {
    let told = Command::new("apt-get").args(["update", "--print-uris"]).stdin(Stdio::null()).output().await?;
    let told = String::from_utf8_lossy(&told.stdout);
    let mirror = told.split('\'').find_map(|uri| uri.split_once("/debian/dists/")).map(|(mirror, _)| mirror);
    let mirror = mirror.context("this machine's apt knows no mirror of Debian")?;
    let folder = part.join("archives");
    fs::create_dir(&folder)?;
    // As root, apt would hand the download to a user who may not write here.
    let mut download = Command::new(helper);
    download.args(["-qq", "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=2", "download-file"]);
    let mut archives = Vec::new();
    for line in fs::read_to_string(lock_file)?.lines().filter(|line| !line.starts_with('#')) {
        let (hash, path) = line.split_once(' ').context("a line of packages.lock is a hash and a path")?;
        let archive = folder.join(path.rsplit('/').next().unwrap_or(path));
        download.arg(format!("{mirror}/debian/{path}")).arg(&archive).arg(format!("SHA256:{hash}"));
        archives.push(archive);
    }
    let renew = "Debian's mirror does not serve all that tests/rgw/packages.lock pins: run tests/rgw/lock.py";
    run(&mut download).await.context(renew)?;
    Ok(archives)
}

/// What a node runs beside the kubelet: containerd with its shim and client, plugins for the pods' network, and the
/// program in the test's own pods, as `tests/node/go.mod` pins them; the folder of the binaries.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn node() -> Result<PathBuf> {
    let source = repository().join("tests/node");
    let files = ["go.mod", "go.sum", "workload/main.go"].map(|file| source.join(file));
    let folder = root()?.join(format!("node-{}", key(&files.each_ref().map(PathBuf::as_path))?));
    let _lock = lock(&folder).await?;
    if !folder.is_dir() {
        eprintln!(
            "building containerd and the pods' network from their Go modules: about two minutes on two cores, once"
        );
        let part = folder.with_extension("part");
        run(Command::new(which("go")?)
            .current_dir(&source)
            .env("CGO_ENABLED", "0")
            // Snapshotters that no test uses, and that need C libraries or big dependencies.
            .args(["build", "-mod=readonly", "-tags", "no_btrfs no_devmapper no_zfs", "-ldflags", "-s -w", "-o"])
            // The slash has Go make a folder of them.
            .arg(format!("{}/", part.display()))
            .args(["tool", "./workload"]))
        .await
        .context("building tests/node")?;
        fs::rename(&part, &folder)?;
    }
    Ok(folder)
}

/// The consumers of S3 credentials that are Go modules, in one program, as `tests/consumers/go.mod` pins them.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn consumers() -> Result<PathBuf> {
    let source = repository().join("tests/consumers");
    let name =
        format!("consumers-{}", key(&[&source.join("go.mod"), &source.join("go.sum"), &source.join("main.go")])?);
    let what = "the consumers' own code from its Go modules: about a minute on two cores";
    go_build(what, &name, &source, "-s -w", ".").await
}

/// A virtual environment with the AWS CLI, as `tests/consumers/requirements.txt` pins it by hash; the path of its `bin`.
///
/// # Errors
/// Where Python is missing or the installation fails.
pub async fn consumers_python() -> Result<PathBuf> {
    venv("the AWS CLI", "tests/consumers/requirements.txt").await
}

/// A virtual environment with as much of Airflow as its hook for S3 needs, as `tests/consumers/airflow/requirements.txt` pins it
/// by hash; the path of its `bin`.
///
/// # Errors
/// Where Python is missing or the installation fails.
pub async fn consumers_airflow() -> Result<PathBuf> {
    venv("Airflow's hook for S3", "tests/consumers/airflow/requirements.txt").await
}

/// A package of the Go module in `source`, built where it is not there yet; the binary.
pub(crate) async fn go_build(what: &str, name: &str, source: &Path, flags: &str, package: &str) -> Result<PathBuf> {
    go_build_tagged(what, name, source, flags, "", package).await
}

/// The same, with build tags.
pub(crate) async fn go_build_tagged(
    what: &str,
    name: &str,
    source: &Path,
    flags: &str,
    tags: &str,
    package: &str,
) -> Result<PathBuf> {
    let binary = root()?.join(name);
    let _lock = lock(&binary).await?;
    if !binary.is_file() {
        eprintln!("building {what}, once");
        let part = binary.with_extension("part");
        run(Command::new(which("go")?)
            .current_dir(source)
            .env("CGO_ENABLED", "0")
            .args(["build", "-mod=readonly", "-tags", tags, "-ldflags", flags, "-o"])
            .arg(&part)
            .arg(package))
        .await
        .with_context(|| format!("building {package} in {}", source.display()))?;
        fs::rename(&part, &binary)?;
    }
    Ok(binary)
}

/// The folder of a module that the Go module in `source` requires, by its checksum.
pub(crate) async fn go_module(source: &Path, module: &str) -> Result<PathBuf> {
    let output = Command::new(which("go")?)
        .current_dir(source)
        .args(["mod", "download", "-json", module])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "go mod download {module}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    answer["Dir"].as_str().map(PathBuf::from).with_context(|| format!("go knows no folder of {module}: {text}"))
}

/// cargo-mutants, in the version that `cargo xtask mutants` is made for; the folder of its binary.
///
/// # Errors
/// Where the build fails.
pub async fn cargo_mutants() -> Result<PathBuf> {
    cargo_install("cargo-mutants", CARGO_MUTANTS).await
}

async fn cargo_install(name: &str, version: &str) -> Result<PathBuf> {
    let folder = root()?.join(format!("tools/{name}-{version}"));
    let _lock = lock(&folder).await?;
    if !folder.join("bin").join(name).is_file() {
        let package = format!("{name}@{version}");
        run(Command::new(which("cargo")?).args(["install", "--locked", "--debug", &package, "--root"]).arg(&folder))
            .await
            .with_context(|| format!("installing {name}"))?;
    }
    Ok(folder.join("bin"))
}

/// A virtual environment with moto and boto3, as `tests/aws/requirements.txt` pins them by hash; the path of its
/// `bin`.
///
/// # Errors
/// Where Python is missing or the installation fails.
pub async fn python() -> Result<PathBuf> {
    venv("moto and boto3", "tests/aws/requirements.txt").await
}

/// A virtual environment with the service authorization reference and a second policy linter, as
/// `tests/lint/requirements.txt` pins them by hash; the path of its `bin`.
///
/// # Errors
/// Where Python is missing or the installation fails.
pub async fn lint_python() -> Result<PathBuf> {
    venv("policy_sentry and parliament", "tests/lint/requirements.txt").await
}

async fn venv(what: &str, requirements: &str) -> Result<PathBuf> {
    let file = repository().join(requirements);
    let python = which("python3")?;
    let version = Command::new(&python).arg("--version").output().await.context("asking Python's version")?;
    let version = String::from_utf8_lossy(&version.stdout).trim().replace(' ', "-").to_lowercase();
    let venv = root()?.join(format!("{version}-{}", key(&[&file])?));
    let _lock = lock(&venv).await?;
    let done = venv.join("installed");
    if !done.is_file() {
        eprintln!("installing {what} for {version}, by hash");
        if venv.is_dir() {
            fs::remove_dir_all(&venv)?;
        }
        run(Command::new(&python).args(["-m", "venv"]).arg(&venv)).await.context("making a virtual environment")?;
        run(Command::new(venv.join("bin/python"))
            .env_remove("PIP_FIND_LINKS")
            // A file of requirements is complete, and of Airflow it is no more than what is used.
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--require-hashes",
                "-r",
            ])
            .arg(&file))
        .await
        .with_context(|| format!("installing {requirements}"))?;
        File::create(&done)?;
    }
    Ok(venv.join("bin"))
}

/// Runs a build command: its output is ours, on standard error.
async fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).kill_on_drop(true).status().await?;
    ensure!(status.success(), "{:?} ended with {status}", command.as_std());
    Ok(())
}

fn root() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let root = base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("s3-access-operator");
    fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
    Ok(root)
}

/// Two grounds must not build the same thing at once.
async fn lock(target: &Path) -> Result<File> {
    let mut path = target.as_os_str().to_owned();
    path.push(".lock");
    let file = File::options().create(true).append(true).open(&path)?;
    tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await?.context("locking the cache")
}

pub(crate) fn key(files: &[&Path]) -> Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(std::env::consts::ARCH);
    for file in files {
        hasher.update(fs::read(file).with_context(|| format!("reading {}", file.display()))?);
    }
    let digest = hasher.finalize();
    Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}
