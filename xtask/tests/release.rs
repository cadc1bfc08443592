//! A release, from its files to those who read them, but for the place: a registry of this machine, a key of the tests' own,
//! and binaries that only say whose they are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and clippy's own exception for tests does not reach their helpers"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ground::folders::Folder;
use ground::ports::Port;
use ground::processes::{Process, Spec};
use ground::repository;
use ground::tools::{Tool, tool};
use ground::wait::eventually;
use serde_json::Value;
use tokio::process::Command;

const NAME: &str = "s3-access-operator";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const PLATFORMS: [&str; 4] = ["darwin-amd64", "darwin-arm64", "linux-amd64", "linux-arm64"];

/// Runs a program in a folder, with that environment beside its own; what it says, or why it failed.
async fn run(program: &Path, args: &[&str], folder: &Path, env: &[(&str, &str)]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).envs(env.iter().copied()).stdin(std::process::Stdio::null());
    let output = command.kill_on_drop(true).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

async fn xtask(args: &[&str], env: &[(&str, &str)]) -> Result<String, String> {
    run(Path::new(env!("CARGO_BIN_EXE_xtask")), args, &repository(), env).await
}

async fn with(which: Tool, args: &[&str], folder: &Path) -> Result<String, String> {
    run(&tool(which).await.unwrap(), args, folder, &[("COSIGN_PASSWORD", "of the tests")]).await
}

/// The files of a release that goes to that registry.
struct Release {
    registry: String,
    folder: Folder,
}

impl Release {
    async fn make(registry: &str) -> Self {
        let folder = Folder::create("release").unwrap();
        let release = Self { registry: registry.to_owned(), folder };
        let binaries = release.path("binaries");
        fs::create_dir(&binaries).unwrap();
        for platform in PLATFORMS {
            fs::write(binaries.join(format!("{NAME}-{platform}")), format!("for {platform}")).unwrap();
        }
        release.assets(&[]).await.unwrap();
        release
    }

    async fn assets(&self, more: &[&str]) -> Result<String, String> {
        let (binaries, to) = (self.text("binaries"), self.text("release"));
        let args = ["release", "assets", "--binaries", &binaries, "--to", &to, "--registry", &self.registry];
        xtask(&[args.as_slice(), &["--repository", "Someone/Thing"], more].concat(), &[]).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The sum of each file that users download.
    fn sums(&self) -> BTreeMap<String, String> {
        let sums = self.read("release/files/SHA256SUMS");
        let pairs = sums.lines().map(|line| line.split_once("  ").unwrap());
        pairs.map(|(sum, name)| (name.to_owned(), sum.to_owned())).collect()
    }
}

/// A registry of this machine, with nothing in it.
struct Registry {
    place: String,
    _process: Process,
    _port: Port,
}

impl Registry {
    async fn start(folder: &Path) -> Self {
        let port = Port::free().unwrap();
        let host = format!("127.0.0.1:{}", port.number());
        let process = Spec::new("registry", tool(Tool::Crane).await.unwrap(), folder.join("registry.log"))
            .args(["registry", "serve", "--address", &host])
            .spawn()
            .unwrap();
        let listens = async || Ok(tokio::net::TcpStream::connect(&host).await?);
        drop(eventually("the registry", Duration::from_secs(30), listens).await.unwrap());
        Self { place: format!("{host}/someone"), _process: process, _port: port }
    }
}

#[tokio::test]
async fn the_files_of_a_release_are_the_same_each_time_and_vouch_for_each_other() {
    let release = Release::make("ghcr.io/Someone").await;
    let (sums, image) = (release.sums(), release.read("release/image/layout/index.json"));
    release.assets(&[]).await.unwrap();
    assert_eq!((release.sums(), release.read("release/image/layout/index.json")), (sums.clone(), image));

    let files = release.path("release/files");
    run(Path::new("sha256sum"), &["--check", "--strict", "SHA256SUMS"], &files, &[]).await.unwrap();
    for platform in PLATFORMS {
        let bill: Value =
            serde_json::from_str(&release.read(&format!("release/files/{NAME}-{VERSION}-{platform}.cdx.json")))
                .unwrap();
        let parts: Vec<&str> =
            bill["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert!(parts.contains(&"kube") && !parts.contains(&"stateright"), "{platform}: {parts:?}");
    }
    let statement: Value = serde_json::from_str(&release.read("release/files/provenance.json")).unwrap();
    let subjects = statement["subject"].as_array().unwrap();
    for (name, sum) in sums.iter().filter(|(name, _)| *name != "provenance.json") {
        let subject = subjects.iter().find(|subject| subject["name"] == name.as_str());
        assert_eq!(subject.unwrap_or_else(|| panic!("{name}"))["digest"]["sha256"], sum.as_str());
    }
    assert_eq!(subjects.len(), sums.len(), "one of them is the image");
    let notes = release.read("release/notes.md");
    assert!(notes.contains(&format!("ghcr.io/someone/{NAME}:{VERSION}")) && notes.contains("sha256:"), "{notes}");
    let bundle = release.read(&format!("release/olm/manifests/{NAME}.clusterserviceversion.yaml"));
    assert_eq!(bundle.matches(&format!("ghcr.io/someone/{NAME}@sha256:")).count(), 2, "{bundle}");
}

/// By krew itself, from the archive that the manifest's address will lead to.
#[tokio::test]
async fn krew_installs_the_command_from_the_manifest() {
    let release = Release::make("ghcr.io/someone").await;
    let manifest = release.text("release/files/s3access.yaml");
    let own = if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-amd64" };
    let archive = release.text(&format!("release/files/{NAME}-{VERSION}-{own}.tar.gz"));
    let root = release.text("krew");
    let krew = tool(Tool::Krew).await.unwrap();
    // It wants a clone of an index, and looks into none.
    fs::create_dir_all(release.path("krew/index/default/.git")).unwrap();
    let env = [("KREW_ROOT", root.as_str()), ("KREW_NO_UPGRADE_CHECK", "1")];
    let args = ["install", "--manifest", &manifest, "--archive", &archive];
    run(&krew, &args, release.folder.path(), &env).await.unwrap();
    assert_eq!(release.read("krew/bin/kubectl-s3access"), format!("for {own}"));
    let text = release.read("release/files/s3access.yaml");
    for platform in PLATFORMS {
        let name = format!("{NAME}-{VERSION}-{platform}.tar.gz");
        assert!(text.contains(&format!("/Someone/Thing/releases/download/v{VERSION}/{name}\n")), "{text}");
        assert!(text.contains(&release.sums()[&name]), "{text}");
    }

    // Another archive than the one that was released is refused.
    fs::write(&archive, "something else").unwrap();
    run(&krew, &["uninstall", "s3access"], release.folder.path(), &env).await.unwrap();
    let refused = run(&krew, &args, release.folder.path(), &env).await.unwrap_err();
    assert!(refused.contains("checksum"), "{refused}");
}

#[tokio::test]
async fn a_published_release_is_pulled_and_its_signatures_hold() {
    let folder = Folder::create("registry").unwrap();
    let registry = Registry::start(folder.path()).await;
    let release = Release::make(&registry.place).await;
    let (place, from) = (registry.place.as_str(), release.text("release"));
    let publish = ["release", "publish", "--from", &from, "--registry", place, "--plain-http"];
    xtask(&publish, &[]).await.unwrap();
    let published = release.read("release/published.txt");
    xtask(&publish, &[]).await.unwrap();
    assert_eq!(release.read("release/published.txt"), published, "a second try pushed something else");

    // The image, for each of its architectures.
    for architecture in ["amd64", "arm64"] {
        let (platform, image) = (format!("linux/{architecture}"), format!("{place}/{NAME}:{VERSION}"));
        let tar = release.text(&format!("{architecture}.tar"));
        let here = release.folder.path();
        with(Tool::Crane, &["export", "--insecure", "--platform", &platform, &image, &tar], here).await.unwrap();
        run(Path::new("tar"), &["-xf", &tar, NAME, "usr/share/sbom"], here, &[]).await.unwrap();
        assert_eq!(release.read(NAME), format!("for linux-{architecture}"));
    }
    // The chart, which names that image.
    let chart = format!("oci://{place}/charts/{NAME}");
    let here = release.folder.path();
    with(Tool::Helm, &["pull", &chart, "--plain-http", "--untar", "--untardir", "pulled"], here).await.unwrap();
    assert!(release.read(&format!("pulled/{NAME}/values.yaml")).contains(&format!("  repository: {place}/{NAME}\n")));
    let shown = with(Tool::Helm, &["show", "chart", &chart, "--plain-http"], here).await.unwrap();
    assert!(shown.contains(&format!("version: {VERSION}\n")) && shown.contains("artifacthub.io/images"), "{shown}");
    let rendered = with(Tool::Helm, &["template", &chart, "--plain-http"], here).await.unwrap();
    assert!(rendered.contains(&format!("{place}/{NAME}:{VERSION}")), "{rendered}");
    // What Artifact Hub asks for.
    let hub =
        with(Tool::Crane, &["manifest", "--insecure", &format!("{place}/charts/{NAME}:artifacthub.io")], here).await;
    let hub: Value = serde_json::from_str(&hub.unwrap()).unwrap();
    let layer = "application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml";
    assert_eq!(hub["layers"][0]["mediaType"], layer);

    signatures_hold(&release, published.lines()).await;
}

/// The verifier is cosign's library.
async fn signatures_hold(release: &Release, published: impl Iterator<Item = &str>) {
    let here = release.folder.path();
    with(Tool::Signer, &["generate-key-pair"], here).await.unwrap();
    let (from, key) = (release.text("release"), release.text("cosign.key"));
    let signer = tool(Tool::Signer).await.unwrap().display().to_string();
    let sign = ["release", "sign", "--from", &from, "--key", &key, "--plain-http"];
    xtask(&sign, &[("COSIGN", &signer), ("COSIGN_PASSWORD", "of the tests")]).await.unwrap();
    let (sums, bundle) =
        (release.text("release/files/SHA256SUMS"), release.text("release/files/SHA256SUMS.cosign.bundle"));
    let image = async |name: &str| {
        with(Tool::Signer, &["verify", "--key", "cosign.pub", "--allow-http-registry", name], here).await
    };
    let blob =
        async || with(Tool::Signer, &["verify-blob", "--key", "cosign.pub", "--bundle", &bundle, &sums], here).await;
    let mut seen = 0;
    for name in published {
        image(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        seen += 1;
    }
    assert_eq!(seen, 2, "the image and the chart");
    blob().await.unwrap();

    // What was not signed, and whoever else has signed it, is not taken.
    let unsigned = format!("{}/charts/{NAME}", release.registry);
    let tag = format!("{unsigned}:artifacthub.io");
    let digest = with(Tool::Crane, &["digest", "--insecure", &tag], here).await.unwrap();
    image(&format!("{unsigned}@{}", digest.trim())).await.unwrap_err();
    fs::write(&sums, release.read("release/files/SHA256SUMS") + "00  another\n").unwrap();
    blob().await.unwrap_err();
    with(Tool::Signer, &["generate-key-pair"], here).await.unwrap();
    image(release.read("release/published.txt").lines().next().unwrap()).await.unwrap_err();
}

#[tokio::test]
async fn what_is_not_the_version_of_every_file_is_not_released() {
    let folder = Folder::create("release").unwrap();
    fs::create_dir(folder.path().join("binaries")).unwrap();
    let release = Release { registry: "ghcr.io/someone".to_owned(), folder };
    let refused = release.assets(&["--tag", "v9.9.9"]).await.unwrap_err();
    assert!(refused.contains("the tag is v9.9.9"), "{refused}");
    // Of a tag's release, nothing may be missing.
    let refused = release.assets(&["--tag", &format!("v{VERSION}")]).await.unwrap_err();
    assert!(["is no release", "a tag is a commit", "is missing"].iter().any(|why| refused.contains(why)), "{refused}");
    let refused = release.assets(&[]).await.unwrap_err();
    assert!(refused.contains("no binary for Linux"), "{refused}");
    // What the folder held would be gone.
    fs::remove_dir_all(release.path("release")).unwrap();
    fs::create_dir(release.path("release")).unwrap();
    fs::write(release.path("release/notes"), "of somebody").unwrap();
    let refused = release.assets(&[]).await.unwrap_err();
    assert!(refused.contains("holds something else"), "{refused}");
}

/// Each verb that the workflows call, with each of its flags.
#[tokio::test]
async fn the_workflows_are_whole_and_call_verbs_that_there_are() {
    let workflows = repository().join(".github/workflows");
    let mut verbs = 0;
    for entry in fs::read_dir(&workflows).unwrap() {
        let path = entry.unwrap().path();
        let file = path.display().to_string();
        with(Tool::Actionlint, &["-shellcheck=", "-pyflakes=", &file], &repository()).await.unwrap_or_else(|error| {
            panic!("{file}: {error}");
        });
        let workflow: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let jobs = workflow["jobs"].as_object().unwrap().values();
        for script in jobs.flat_map(|job| job["steps"].as_array().unwrap()).filter_map(|step| step["run"].as_str()) {
            let Some((_, command)) = script.split_once("xtask ").filter(|_| !script.starts_with("cargo build")) else {
                continue;
            };
            let words: Vec<&str> = command.split_whitespace().collect();
            let verb: Vec<&str> = words.iter().take_while(|word| !word.starts_with("--")).copied().collect();
            let help = xtask(&[verb.as_slice(), &["--help"]].concat(), &[]).await;
            let help = help.unwrap_or_else(|error| panic!("{script}: {error}"));
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{script}: {flag}");
            }
            verbs += 1;
        }
    }
    assert!(verbs >= 6, "{verbs}");
}
