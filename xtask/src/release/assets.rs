//! `release assets`: all that a release has, made from its binaries in one folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use ground::oci::{Content, packed};
use ground::repository;
use ground::tools::{Tool, tool};
use sha2::{Digest, Sha256};

use super::provenance::{Build, statement};
use super::versions::agree;
use super::{FILES, IMAGE, NAME, NOTES, Platform, SUMS, VERSION, bill, binary_name, build::System, chart, empty, tell};
use crate::image::{self, CHANGED, Origin, Part};

#[derive(Args)]
pub(crate) struct Options {
    /// The folder of the binaries, of as many platforms as there are
    #[arg(long)]
    binaries: PathBuf,
    /// Where image and chart will be: HOST/PATH
    #[arg(long)]
    registry: String,
    /// On GitHub: OWNER/NAME
    #[arg(long)]
    repository: String,
    /// The tag that is released; without one it is a rehearsal, for which a platform may be missing
    #[arg(long)]
    tag: Option<String>,
    /// The folder to fill
    #[arg(long)]
    to: PathBuf,
}

/// A binary that is shipped.
struct Shipped {
    platform: Platform,
    path: PathBuf,
    bill: Vec<u8>,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let root = repository();
    let changes = agree(&root, options.tag.as_deref())?;
    let origin = Origin::of(&root).await?;
    // Names of images have no capitals; those of people do.
    let (registry, repository) =
        (options.registry.to_lowercase(), format!("https://github.com/{}", options.repository));
    let (image, files) = (options.to.join(IMAGE), options.to.join(FILES));
    let is_free = !options.to.exists() || image.is_dir() || fs::read_dir(&options.to)?.next().is_none();
    ensure!(is_free, "{} holds something else than a release", options.to.display());
    let is_whole = !origin.revision.is_empty() && !origin.revision.ends_with(CHANGED);
    ensure!(is_whole || options.tag.is_none(), "a tag is a commit, and there are changes that are in none");
    empty(&options.to)?;
    fs::create_dir_all(&files)?;

    let shipped = binaries(options, &origin, &root).await?;
    for one in &shipped {
        fs::write(files.join(archive_name(one.platform)), archive(one, &origin, &root)?)?;
        fs::write(files.join(format!("{}.cdx.json", stem(one.platform))), &one.bill)?;
    }
    let linux = shipped.iter().filter(|one| one.platform.system == System::Linux);
    let parts: Vec<Part> = linux
        .map(|one| Part { architecture: one.platform.architecture, binary: one.path.clone(), bill: one.bill.clone() })
        .collect();
    ensure!(!parts.is_empty(), "{} has no binary for Linux, and so there is no image", options.binaries.display());
    let digest = image::assemble(&parts, &origin, &root, &image)?;

    chart::package(&registry, &repository, &files, origin.time).await?;
    bundle(&format!("{registry}/{NAME}@{digest}"), &repository, &options.to, &origin).await?;
    let archives: Vec<Platform> = shipped.iter().map(|one| one.platform).collect();
    fs::write(files.join("s3access.yaml"), krew(&archives, &repository, &files)?)?;
    let mut subjects = sums(&files)?;
    subjects.push((format!("{registry}/{NAME}"), digest.trim_start_matches("sha256:").to_owned()));
    let lock = sha256(&root.join("Cargo.lock"))?;
    let (revision, lock) = (origin.revision.as_str(), lock.as_str());
    let build = Build { repository: &repository, registry: &registry, revision, subjects: &subjects, lock };
    fs::write(files.join("provenance.json"), serde_json::to_vec_pretty(&statement(&build).await?)?)?;
    let lines: String = sums(&files)?.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    fs::write(files.join(SUMS), lines)?;
    fs::write(options.to.join(NOTES), notes(&changes, &registry, &repository, &digest))?;
    println!("{}: a release of {NAME} {VERSION}", options.to.display());
    Ok(())
}

/// The binaries that are there; of a tag's release, all.
async fn binaries(options: &Options, origin: &Origin, root: &Path) -> Result<Vec<Shipped>> {
    let mut shipped = Vec::new();
    for platform in Platform::ALL {
        let path = options.binaries.join(binary_name(platform));
        if !path.is_file() {
            ensure!(options.tag.is_none(), "{} is missing", path.display());
            println!("left out: {}, since there is no {}", platform.name(), path.display());
            continue;
        }
        let bill = bill::of_materials(platform, origin.time, root).await?;
        shipped.push(Shipped { platform, path, bill });
    }
    Ok(shipped)
}

fn stem(platform: Platform) -> String {
    format!("{NAME}-{VERSION}-{}", platform.name())
}

fn archive_name(platform: Platform) -> String {
    format!("{}.tar.gz", stem(platform))
}

fn archive(shipped: &Shipped, origin: &Origin, root: &Path) -> Result<Vec<u8>> {
    let binary = Content { path: NAME.to_owned(), mode: 0o755, bytes: fs::read(&shipped.path)? };
    let licence = Content { path: "LICENSE".to_owned(), mode: 0o644, bytes: fs::read(root.join("LICENSE"))? };
    packed(&[binary, licence], origin.time)
}

/// The bundle for OLM, with the image by its digest and held against OLM's rules, and an archive of it.
async fn bundle(image: &str, repository: &str, to: &Path, origin: &Origin) -> Result<()> {
    let folder = to.join("olm");
    let mut contents = Vec::new();
    for part in ["manifests", "metadata"] {
        fs::create_dir_all(folder.join(part))?;
        for entry in fs::read_dir(ground::repository().join("deploy/olm").join(part))? {
            let entry = entry?;
            let path = format!("{part}/{}", entry.file_name().to_string_lossy());
            let text = fs::read_to_string(entry.path())?.replace(&format!("{NAME}:{VERSION}"), image);
            // Who looks at a bundle in a catalogue asks where it comes from.
            let text =
                text.replace("    containerImage:", &format!("    repository: {repository}\n    containerImage:"));
            fs::write(folder.join(&path), &text)?;
            contents.push(Content { path, mode: 0o644, bytes: text.into_bytes() });
        }
    }
    let said = tell(&tool(Tool::Judge).await?, &["bundle", &folder.display().to_string()]).await?;
    let found: Vec<serde_json::Value> = serde_json::from_str(&said)?;
    let errors: Vec<_> = found.iter().filter(|one| one["status"] != "Warning").collect();
    ensure!(errors.is_empty(), "OLM refuses the bundle: {errors:?}");
    let archive = to.join(FILES).join(format!("{NAME}-{VERSION}-olm.tar.gz"));
    fs::write(&archive, packed(&contents, origin.time)?).with_context(|| format!("writing {}", archive.display()))
}

/// The manifest by which krew installs the command as `kubectl s3access`.
fn krew(platforms: &[Platform], repository: &str, files: &Path) -> Result<String> {
    let mut text = format!(
        "apiVersion: krew.googlecontainertools.github.com/v1alpha2\nkind: Plugin\nmetadata:\n  name: s3access\nspec:\n  \
         version: v{VERSION}\n  homepage: {repository}\n  shortDescription: Show, plan and rotate workloads' keys for S3\n  \
         description: |\n    For the resources of s3-access-operator: what each S3AccessUser has and waits for, what a change of one\n    \
         would do, a new key now, and what keeps the operator from working.\n  platforms:\n"
    );
    for platform in platforms {
        let name = archive_name(*platform);
        let sum = sha256(&files.join(&name))?;
        let (system, architecture) = (platform.system.name(), platform.architecture.name());
        text.push_str(&format!(
            "  - selector:\n      matchLabels:\n        os: {system}\n        arch: {architecture}\n    \
             uri: {repository}/releases/download/v{VERSION}/{name}\n    sha256: {sum}\n    bin: {NAME}\n"
        ));
    }
    Ok(text)
}

/// The changelog's section, whose links lead into the repository from wherever it is read, and what the image is.
fn notes(changes: &str, registry: &str, repository: &str, digest: &str) -> String {
    let pages = format!("{repository}/blob/v{VERSION}/deploy");
    let changes = changes.replace("](../", &format!("]({pages}/\u{0}"));
    let mut parts = changes.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let absolute = part.starts_with("http") || part.starts_with('#');
        text.push_str(&if absolute { format!("]({part}") } else { format!("]({pages}/docs/{part}") });
    }
    let text = text.replace('\u{0}', "");
    format!(
        "{text}\n\n## What this release has\n\n- The image `{registry}/{NAME}:{VERSION}`, digest `{digest}`\n- The chart \
         `oci://{registry}/charts/{NAME}`, version {VERSION}\n- The command for Linux and macOS; `SHA256SUMS` has the sums of \
         all files, and is signed\n\n[How to verify them]({pages}/docs/release.md#verify)\n"
    )
}

/// The name and the SHA-256 of each file of a folder, in order.
fn sums(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        found.push((entry.file_name().to_string_lossy().into_owned(), sha256(&entry.path())?));
    }
    found.sort();
    Ok(found)
}

fn sha256(file: &Path) -> Result<String> {
    let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(hex::encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::notes;

    #[test]
    fn the_links_of_the_notes_lead_into_the_repository() {
        let text = "- [one](alerts.md#x), [two](../iam/README.md), [three](https://example.com/)";
        let notes = notes(text, "ghcr.io/someone", "https://github.com/someone/thing", "sha256:00");
        let pages = format!("https://github.com/someone/thing/blob/v{}/deploy", super::VERSION);
        let first = notes.lines().next().unwrap();
        assert_eq!(
            first,
            format!("- [one]({pages}/docs/alerts.md#x), [two]({pages}/iam/README.md), [three](https://example.com/)")
        );
    }
}
