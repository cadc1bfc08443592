//! What is built or installed once: the Kubernetes programs, versitygw, Ceph and Python's packages, outside `target/`,
//! keyed by what they are made from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::processes::which;
use crate::progress::Progress;
use crate::repository;

/// The version that the API server reports; the module versions are in `tests/cluster/go.mod`.
const KUBERNETES: &str = "v1.36.3";
/// What of Ceph is run; `tests/rgw/lock.py` pins what these load.
const CEPH: [&str; 6] = ["ceph-mon", "ceph-osd", "monmaptool", "osdmaptool", "radosgw", "radosgw-admin"];
/// For Go's compiler. What the linker strips need not be written, and Kubernetes' packages for its own types, which are
/// most of the build and little of what runs, need no inlining: measured together, a quarter of the build's CPU time.
const GO_FLAGS: [&str; 5] = [
    "-gcflags=all=-dwarf=false",
    "-gcflags=k8s.io/api/...=-dwarf=false -l",
    "-gcflags=k8s.io/client-go/...=-dwarf=false -l",
    "-gcflags=k8s.io/kubectl/...=-dwarf=false -l",
    "-gcflags=k8s.io/kubernetes/...=-dwarf=false -l",
];
const CARGO_MUTANTS: &str = "27.1.0";
const MDBOOK: &str = "0.5.4";

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
    kubernetes_with("", "about five minutes on two cores").await
}

/// The same, with what pods on a node need: kube-scheduler and kubelet.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn kubernetes_with_node() -> Result<Programs> {
    kubernetes_with("node", "seven minutes on two cores, or one where the rest is built already").await
}

async fn kubernetes_with(tags: &str, usual: &str) -> Result<Programs> {
    if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS") {
        return Ok(Programs::Folder(PathBuf::from(folder)));
    }
    let source = repository().join("tests/cluster");
    let key = key(&["go.mod", "go.sum", "main.go", "node.go"].map(|file| source.join(file)))?;
    let package = "k8s.io/component-base/version";
    let flags = format!("-s -w -X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor=1 -X {package}.gitMinor=36");
    let build = GoBuild {
        what: &format!("Kubernetes {KUBERNETES} from its Go modules ({usual})"),
        name: &format!("kubernetes-{KUBERNETES}-{tags}{key}"),
        source: &source,
        flags: &flags,
        tags,
        package: ".",
    };
    Ok(Programs::Combined(build.run().await?))
}

/// versitygw: an S3 server with an IAM of its own, as `tests/gateway/go.mod` pins it.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn versitygw() -> Result<PathBuf> {
    let source = repository().join("tests/gateway");
    let name = format!("versitygw-{}", key(&["go.mod", "go.sum"].map(|file| source.join(file)))?);
    let what = "versitygw from its Go modules (about a minute on two cores)";
    GoBuild { what, package: "github.com/versity/versitygw/cmd/versitygw", ..GoBuild::of(&source, &name) }.run().await
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
    let folder = root()?.join(format!("ceph-{}", key(std::slice::from_ref(&lock_file))?));
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
    let name = format!("node-{}", key(&["go.mod", "go.sum", "workload/main.go"].map(|file| source.join(file)))?);
    let build = GoBuild {
        what: "containerd and the pods' network from their Go modules (about two minutes on two cores)",
        // Snapshotters that no test uses, and that need C libraries or big dependencies.
        tags: "no_btrfs no_devmapper no_zfs",
        package: "tool ./workload",
        ..GoBuild::of(&source, &name)
    };
    build.run().await
}

/// The consumers of S3 credentials that are Go modules, in one program, as `tests/consumers/go.mod` pins them.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn consumers() -> Result<PathBuf> {
    let source = repository().join("tests/consumers");
    let name = format!("consumers-{}", key(&["go.mod", "go.sum", "main.go"].map(|file| source.join(file)))?);
    let what = "the consumers' own code from its Go modules (about a minute on two cores)";
    GoBuild { what, ..GoBuild::of(&source, &name) }.run().await
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

/// A build of a Go module's package, whose outcome is kept by name.
pub(crate) struct GoBuild<'a> {
    /// What is told of it: a name, and how long it usually takes.
    pub(crate) what: &'a str,
    /// What it is kept as.
    pub(crate) name: &'a str,
    /// The module's folder.
    pub(crate) source: &'a Path,
    /// For the linker.
    pub(crate) flags: &'a str,
    /// Build tags.
    pub(crate) tags: &'a str,
    /// One package makes a binary, several, by spaces between them, make a folder of binaries.
    pub(crate) package: &'a str,
}

impl<'a> GoBuild<'a> {
    /// The module's own package, without symbols.
    pub(crate) fn of(source: &'a Path, name: &'a str) -> Self {
        Self { what: name, name, source, flags: "-s -w", tags: "", package: "." }
    }

    /// Builds it where it is not there yet; the binary, or the folder.
    pub(crate) async fn run(&self) -> Result<PathBuf> {
        let binary = root()?.join(self.name);
        let _lock = lock(&binary).await?;
        if !binary.exists() {
            let part = binary.with_extension("part");
            self.build(&part)
                .await
                .with_context(|| format!("building {} in {}", self.package, self.source.display()))?;
            fs::rename(&part, &binary)?;
        }
        Ok(binary)
    }

    async fn build(&self, to: &Path) -> Result<()> {
        let packages: Vec<&str> = self.package.split(' ').collect();
        eprintln!("building {}, once: its modules first", self.what);
        let listed = self.go("list", &["-deps"]).args(&packages).stdout(Stdio::piped()).output().await?;
        ensure!(listed.status.success(), "go list ended with {}", listed.status);
        let total = listed.stdout.iter().filter(|byte| **byte == b'\n').count();
        let mut command = self.go("build", &GO_FLAGS);
        command.args(["-v", "-ldflags", self.flags, "-o"]);
        // The slash has Go make a folder of them.
        command.arg(if packages.len() > 1 { format!("{}/", to.display()) } else { to.display().to_string() });
        let mut child = command.args(&packages).stderr(Stdio::piped()).spawn()?;
        let mut progress = Progress::new(self.what, total);
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr).lines();
            while let Some(line) = lines.next_line().await? {
                // A line is the path of a package, or else something to be read.
                if line.contains(' ') { eprintln!("{line}") } else { progress.step() }
            }
        }
        progress.finish();
        let status = child.wait().await?;
        ensure!(status.success(), "go build ended with {status}");
        Ok(())
    }

    fn go(&self, verb: &str, args: &[&str]) -> Command {
        let mut command = Command::new("go");
        command.current_dir(self.source).env("CGO_ENABLED", "0").stdin(Stdio::null()).stdout(std::io::stderr());
        // Go's compiler spends a fifth of its CPU time on memory that it would give back a moment later by ending.
        command.env("GOGC", "off").env("GOMEMLIMIT", "2GiB");
        command.args([verb, "-mod=readonly", "-tags", self.tags]).args(args).kill_on_drop(true);
        command
    }
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
    cargo_install("cargo-mutants", CARGO_MUTANTS, &[]).await
}

/// mdBook, which makes the documentation's site; the folder of its binary. Without the server that shows it while one writes.
///
/// # Errors
/// Where the build fails.
pub async fn mdbook() -> Result<PathBuf> {
    cargo_install("mdbook", MDBOOK, &["--no-default-features", "--features", "search"]).await
}

async fn cargo_install(name: &str, version: &str, features: &[&str]) -> Result<PathBuf> {
    let folder = root()?.join(format!("tools/{name}-{version}"));
    let _lock = lock(&folder).await?;
    if !folder.join("bin").join(name).is_file() {
        let package = format!("{name}@{version}");
        run(Command::new(which("cargo")?)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .args(["install", "--locked", "--debug", &package])
            .args(features)
            .arg("--root")
            .arg(&folder))
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
    let venv = root()?.join(format!("{version}-{}", key(std::slice::from_ref(&file))?));
    let _lock = lock(&venv).await?;
    let done = venv.join("installed");
    if !done.is_file() {
        eprintln!("installing {what} for {version}, by hash (up to a minute), once");
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

pub(crate) fn key(files: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(std::env::consts::ARCH);
    for file in files {
        hasher.update(fs::read(file).with_context(|| format!("reading {}", file.display()))?);
    }
    let digest = hasher.finalize();
    Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}
