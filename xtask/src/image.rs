//! `image`: the container image that is shipped, built without a container engine, and the same from any folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use ground::authorities;
use ground::folders::Folder;
use ground::oci::{Content, Image, archive, write_layout};
use tokio::process::Command;

use crate::release::{Architecture, NAME, Platform, VERSION, bill, build, buildable, empty};

/// Behind the commit, where there are changes that are not committed.
pub(crate) const CHANGED: &str = "-changed";

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only these architectures [default: those that this machine can build for, and it says which it cannot]
    #[arg(long, value_delimiter = ',')]
    architecture: Vec<Architecture>,
    /// Builds it twice, the second time in another folder, and fails where a bit differs.
    #[arg(long)]
    verify: bool,
}

/// Builds it into the folder `to`.
pub(crate) async fn run(options: &Options, to: &Path) -> Result<()> {
    let architectures = options.architectures().await?;
    let root = ground::repository();
    let origin = Origin::of(&root).await?;
    let digest = make(&architectures, &origin, &root, &root.join("target"), to).await?;
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
    Ok(())
}

impl Options {
    async fn architectures(&self) -> Result<Vec<Architecture>> {
        let asked = |architecture| self.architecture.contains(&architecture);
        let wanted = Architecture::ALL.into_iter().filter(|one| self.architecture.is_empty() || asked(*one));
        let wanted: Vec<Platform> = wanted.map(Platform::linux).collect();
        let found = buildable(&wanted, |platform| asked(platform.architecture)).await?;
        Ok(found.into_iter().map(|platform| platform.architecture).collect())
    }
}

/// Where an image comes from: the same for every build of a commit.
pub(crate) struct Origin {
    /// The commit, or nothing where there is no git.
    pub(crate) revision: String,
    /// Seconds since 1970.
    pub(crate) time: i64,
}

impl Origin {
    /// The last commit's, but `SOURCE_DATE_EPOCH` is heeded (reproducible-builds.org's convention).
    pub(crate) async fn of(root: &Path) -> Result<Self> {
        let committed = git(root, &["log", "-1", "--format=%H %ct"]).await.unwrap_or_default();
        let (revision, time) = committed.trim().split_once(' ').unwrap_or(("", "0"));
        let changed = !revision.is_empty() && !git(root, &["status", "--porcelain"]).await?.is_empty();
        let time = std::env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| time.to_owned());
        let time = time.parse().with_context(|| format!("SOURCE_DATE_EPOCH {time:?} is not a number of seconds"))?;
        Ok(Self { revision: format!("{revision}{}", if changed { CHANGED } else { "" }), time })
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

/// What an image is made of, for one architecture.
pub(crate) struct Part {
    pub(crate) architecture: Architecture,
    pub(crate) binary: PathBuf,
    /// The bill of materials.
    pub(crate) bill: Vec<u8>,
}

/// Builds the image from the sources in `root` into the folder `to`; its digest.
async fn make(
    architectures: &[Architecture],
    origin: &Origin,
    root: &Path,
    target_folder: &Path,
    to: &Path,
) -> Result<String> {
    let mut parts = Vec::new();
    for architecture in architectures {
        let platform = Platform::linux(*architecture);
        let bill = bill::of_materials(platform, origin.time, root).await?;
        let binary = build(platform, root, target_folder).await?;
        parts.push(Part { architecture: *architecture, binary, bill });
    }
    assemble(&parts, origin, root, to)
}

/// Puts the image together in the folder `to`, with the bills of materials beside it; its digest.
pub(crate) fn assemble(parts: &[Part], origin: &Origin, root: &Path, to: &Path) -> Result<String> {
    empty(to)?;
    let mut images = Vec::new();
    for part in parts {
        let architecture = part.architecture.name();
        fs::write(to.join(format!("{NAME}-{VERSION}-{architecture}.cdx.json")), &part.bill)?;
        let content = |path: &str, mode, bytes| Content { path: path.to_owned(), mode, bytes };
        images.push(Image {
            architecture: architecture.to_owned(),
            files: vec![
                content(NAME, 0o755, fs::read(&part.binary)?),
                content(authorities::PATH, 0o644, authorities::pem().into_bytes()),
                content(&format!("usr/share/doc/{NAME}/LICENSE"), 0o644, fs::read(root.join("LICENSE"))?),
                content(&format!("usr/share/sbom/{NAME}.cdx.json"), 0o644, part.bill.clone()),
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
    let file = to.join(format!("{NAME}-{VERSION}.tar"));
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
