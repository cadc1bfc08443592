//! `image`: the container image that is shipped, built without a container engine, and the same from any folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use ground::folders::Folder;
use ground::oci::{Content, Image, archive, write_layout};
use ground::{authorities, cache};
use tokio::process::Command;

use crate::release::{Architecture, build};

const NAME: &str = "s3-access-operator";
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only these architectures [default: those that this machine can build for, and it says which it cannot]
    #[arg(long, value_delimiter = ',')]
    architecture: Vec<Architecture>,
    /// Builds it twice, the second time in another folder, and fails where a bit differs.
    #[arg(long)]
    verify: bool,
}

/// Builds it; the archive.
pub(crate) async fn run(options: &Options) -> Result<PathBuf> {
    let architectures = options.architectures().await?;
    let root = ground::repository();
    let origin = Origin::of(&root).await?;
    let to = root.join("target/image");
    let file = to.join(archive_name());
    let digest = make(&architectures, &origin, &root, &root.join("target"), &to).await?;
    if options.verify {
        println!("building it again from another folder: that takes as long as a first build");
        let copy = Folder::create("image-of-a-copy")?;
        let sources = copy.path().join("a/longer/path/to/the/sources");
        copy_sources(&root, &sources).await?;
        let again =
            make(&architectures, &origin, &sources, &copy.path().join("built"), &copy.path().join("image")).await?;
        ensure!(digest == again, "two builds differ: {digest} here and {again} from a copy in another folder");
        println!("reproducible: both builds have the digest {digest}");
    }
    Ok(file)
}

fn archive_name() -> String {
    format!("{NAME}-{VERSION}.tar")
}

impl Options {
    async fn architectures(&self) -> Result<Vec<Architecture>> {
        let mut found = Vec::new();
        for architecture in Architecture::ALL {
            let asked = self.architecture.contains(&architecture);
            if !asked && !self.architecture.is_empty() {
                continue;
            }
            match architecture.missing().await? {
                None => found.push(architecture),
                Some(missing) if asked => bail!("{} needs {missing}", architecture.name()),
                Some(missing) => println!("left out: {}, which needs {missing}", architecture.name()),
            }
        }
        ensure!(!found.is_empty(), "this machine can build for none of the architectures");
        Ok(found)
    }
}

/// Where an image comes from: the same for every build of a commit.
struct Origin {
    /// The commit, or nothing where there is no git.
    revision: String,
    /// Seconds since 1970.
    time: i64,
}

impl Origin {
    /// The last commit's, but `SOURCE_DATE_EPOCH` is heeded (reproducible-builds.org's convention).
    async fn of(root: &Path) -> Result<Self> {
        let committed = git(root, &["log", "-1", "--format=%H %ct"]).await.unwrap_or_default();
        let (revision, time) = committed.trim().split_once(' ').unwrap_or(("", "0"));
        let changed = !revision.is_empty() && !git(root, &["status", "--porcelain"]).await?.is_empty();
        let time = std::env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| time.to_owned());
        let time = time.parse().with_context(|| format!("SOURCE_DATE_EPOCH {time:?} is not a number of seconds"))?;
        Ok(Self { revision: format!("{revision}{}", if changed { "-changed" } else { "" }), time })
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let labels = [
            ("title", NAME),
            (
                "description",
                "Kubernetes operator that gives workloads their own AWS IAM user, S3 policy and access key",
            ),
            ("licenses", env!("CARGO_PKG_LICENSE")),
            ("version", VERSION),
            ("revision", self.revision.as_str()),
        ];
        let filled = labels.into_iter().filter(|(_, value)| !value.is_empty());
        filled.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned())).collect()
    }
}

/// Builds the image from the sources in `root` into the folder `to`; its digest.
async fn make(
    architectures: &[Architecture],
    origin: &Origin,
    root: &Path,
    target_folder: &Path,
    to: &Path,
) -> Result<String> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    let mut images = Vec::new();
    for architecture in architectures {
        let bill = bill_of_materials(*architecture, origin, root).await?;
        fs::write(to.join(format!("{NAME}-{VERSION}-{}.cdx.json", architecture.name())), &bill)?;
        let binary = build(*architecture, root, target_folder).await?;
        let content = |path: &str, mode, bytes| Content { path: path.to_owned(), mode, bytes };
        images.push(Image {
            architecture: architecture.name().to_owned(),
            files: vec![
                content(NAME, 0o755, fs::read(binary)?),
                content(authorities::PATH, 0o644, authorities::pem().into_bytes()),
                content(&format!("usr/share/doc/{NAME}/LICENSE"), 0o644, fs::read(root.join("LICENSE"))?),
                content(&format!("usr/share/sbom/{NAME}.cdx.json"), 0o644, bill),
            ],
            entrypoint: vec![format!("/{NAME}")],
            user: "65532:65532".to_owned(),
            labels: origin.labels(),
            created: origin.time,
            compressed: true,
        });
    }
    let layout = to.join("layout");
    let (digest, written) = write_layout(&layout, &format!("docker.io/library/{NAME}:{VERSION}"), &images)?;
    let file = to.join(archive_name());
    archive(&layout, &file)?;
    println!("{}: {digest}", file.display());
    for one in written {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "  {:<6} {:.1} MiB to pull, {:.1} MiB unpacked, {}",
            one.architecture,
            mebibytes(one.download),
            mebibytes(one.unpacked),
            one.digest
        );
    }
    Ok(digest)
}

/// What is linked into the binary, as CycloneDX, from Cargo.lock.
async fn bill_of_materials(architecture: Architecture, origin: &Origin, root: &Path) -> Result<Vec<u8>> {
    let tool = cache::cargo_cyclonedx().await?;
    // The tool writes beside each Cargo.toml.
    let copy = Folder::create("bill")?;
    copy_sources(root, copy.path()).await?;
    let status = Command::new(tool.join("cargo-cyclonedx"))
        .current_dir(copy.path())
        .args(["cyclonedx", "--format", "json", "--no-build-deps", "--override-filename", "bill", "--target"])
        .arg(architecture.target())
        .env("SOURCE_DATE_EPOCH", origin.time.to_string())
        .stdin(std::process::Stdio::null())
        .stdout(std::io::stderr())
        .kill_on_drop(true)
        .status()
        .await?;
    ensure!(status.success(), "cargo-cyclonedx ended with {status}");
    let text = fs::read_to_string(copy.path().join("bill.json")).context("reading the bill of materials")?;
    let text = text.replace(&copy.path().display().to_string(), "/src");
    let bill: serde_json::Value = serde_json::from_str(&text)?;
    let parts = bill["components"].as_array().map_or(0, Vec::len);
    ensure!(parts > 100, "the bill of materials names {parts} parts, and Cargo.lock has hundreds");
    Ok(text.into_bytes())
}

/// All that git has, or would take, and that is what a build may depend on.
async fn copy_sources(root: &Path, to: &Path) -> Result<()> {
    let listed = match git(root, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).await {
        Ok(listed) => listed.split_terminator('\0').map(PathBuf::from).collect(),
        Err(_) => everything_below(root, Path::new(""))?,
    };
    for path in listed {
        let from = root.join(&path);
        // Deleted, and not yet committed so.
        if !from.is_file() {
            continue;
        }
        let target = to.join(&path);
        fs::create_dir_all(target.parent().context("a file has a folder")?)?;
        fs::copy(&from, &target).with_context(|| format!("copying {}", path.display()))?;
    }
    Ok(())
}

/// The files of a copy, which has no git and no build folder.
fn everything_below(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            found.extend(everything_below(root, &path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

async fn git(root: &Path, args: &[&str]) -> Result<String> {
    // Not one that lies around a copy.
    ensure!(root.join(".git").exists(), "{} is not a git checkout", root.display());
    let output = Command::new("git").current_dir(root).args(args).output().await.context("starting git")?;
    ensure!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
