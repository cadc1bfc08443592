//! Container images in the OCI's layout (image-spec v1.1), written without a container engine: the same input gives the
//! same bytes, and so the same digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA256, digest};
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A file of an image: root's, and dated as the image is.
#[derive(Clone, Debug)]
pub struct Content {
    /// The absolute path, without its leading slash.
    pub path: String,
    /// The permission bits.
    pub mode: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// An image of one layer on nothing.
#[derive(Clone, Debug)]
pub struct Image {
    /// As Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// All that is in it; the folders above are made.
    pub files: Vec<Content>,
    /// What it runs.
    pub entrypoint: Vec<String>,
    /// `uid:gid`, in numbers: a kubelet that must see that it is not root cannot look up a name.
    pub user: String,
    /// Labels of the configuration, and annotations of the manifest.
    pub labels: BTreeMap<String, String>,
    /// The time of all files and of the image, in seconds since 1970.
    pub created: i64,
    /// Whether the layer is compressed: for what is shipped, not for what is unpacked on the spot.
    pub compressed: bool,
}

/// An image as it was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The architecture.
    pub architecture: String,
    /// The manifest's digest.
    pub digest: String,
    /// The bytes that a pull takes.
    pub download: u64,
    /// The bytes that it takes unpacked.
    pub unpacked: u64,
}

/// Writes an OCI layout of one index, for all architectures, into an empty folder; the index's digest, by which a
/// registry will know it, and what is behind it.
///
/// # Errors
/// Where the folder cannot be written.
pub fn write_layout(folder: &Path, name: &str, images: &[Image]) -> Result<(String, Vec<Written>)> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("creating {}", blobs.display()))?;
    let (mut manifests, mut written) = (Vec::new(), Vec::new());
    for image in images {
        let (descriptor, result) = image.write(&blobs)?;
        manifests.push(descriptor);
        written.push(result);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut descriptor = put(&blobs, INDEX, &serde_json::to_vec(&index)?)?;
    let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    // The first is the OCI's key, and holds a tag; the second is read by containerd and Docker.
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag, "io.containerd.image.name": name });
    let digest = descriptor["digest"].as_str().unwrap_or_default().to_owned();
    write_top(folder, descriptor)?;
    Ok((digest, written))
}

/// The layout as one file, for `docker load`, `ctr images import` and the like.
///
/// # Errors
/// Where a file cannot be read or written.
pub fn archive(layout: &Path, to: &Path) -> Result<()> {
    let mut contents = Vec::new();
    for path in ["oci-layout", "index.json"] {
        contents.push(Content { path: path.to_owned(), mode: 0o644, bytes: fs::read(layout.join(path))? });
    }
    for entry in fs::read_dir(layout.join("blobs/sha256"))? {
        let entry = entry?;
        let path = format!("blobs/sha256/{}", entry.file_name().to_string_lossy());
        contents.push(Content { path, mode: 0o644, bytes: fs::read(entry.path())? });
    }
    let mut file = File::create(to).with_context(|| format!("creating {}", to.display()))?;
    file.write_all(&tarball(&contents, 0)?)?;
    Ok(())
}

/// Writes an OCI layout of an artifact that is no image: one file, with the media types that its readers look for.
///
/// # Errors
/// Where the folder cannot be written.
pub fn write_artifact(folder: &Path, config: &str, layer: &str, bytes: &[u8]) -> Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("creating {}", blobs.display()))?;
    let (config, layer) = (put(&blobs, config, b"{}")?, put(&blobs, layer, bytes)?);
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let descriptor = put(&blobs, MANIFEST, &serde_json::to_vec(&manifest)?)?;
    write_top(folder, descriptor)
}

/// The digest of the one thing in a layout.
///
/// # Errors
/// Where it is no layout of one thing.
pub fn digest_of(layout: &Path) -> Result<String> {
    let top = fs::read(layout.join("index.json")).with_context(|| format!("{} is no layout", layout.display()))?;
    let top: Value = serde_json::from_slice(&top)?;
    let digest = top["manifests"][0]["digest"].as_str().filter(|_| top["manifests"][1].is_null());
    digest.map(ToOwned::to_owned).with_context(|| format!("{} does not hold one thing", layout.display()))
}

/// Files as a compressed archive, in which all are root's and of one time, in seconds since 1970.
///
/// # Errors
/// Where the time is before 1970.
pub fn packed(contents: &[Content], time: i64) -> Result<Vec<u8>> {
    gzip(&tarball(contents, time)?)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    // Neither a time nor a name in gzip's header.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

fn write_top(folder: &Path, descriptor: Value) -> Result<()> {
    let top = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
    fs::write(folder.join("index.json"), serde_json::to_vec(&top)?)?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

impl Image {
    fn write(&self, blobs: &Path) -> Result<(Value, Written)> {
        let tar = tarball(&self.files, self.created)?;
        let diff_id = sha256(&tar);
        let unpacked = self.files.iter().map(|file| file.bytes.len() as u64).sum();
        let layer = if self.compressed {
            put(blobs, &format!("{LAYER}+gzip"), &gzip(&tar)?)?
        } else {
            put(blobs, LAYER, &tar)?
        };
        let created = Timestamp::from_second(self.created).context("the image's time")?.to_string();
        let config = json!({
            "created": created,
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "User": self.user,
                "Entrypoint": self.entrypoint,
                // As containers have it where an image says nothing, and with the folder of the program: `kubectl exec` finds it by its name.
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"],
                "WorkingDir": "/",
                "Labels": self.labels,
            },
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
            "history": [{ "created": created, "created_by": "cargo xtask image" }],
        });
        let config = put(blobs, CONFIG, &serde_json::to_vec(&config)?)?;
        let size = |descriptor: &Value| descriptor["size"].as_u64().unwrap_or_default();
        let download = size(&config) + size(&layer);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
            "annotations": self.labels,
        });
        let mut descriptor = put(blobs, MANIFEST, &serde_json::to_vec(&manifest)?)?;
        descriptor["platform"] = json!({ "architecture": self.architecture, "os": "linux" });
        let digest = descriptor["digest"].as_str().unwrap_or_default().to_owned();
        let download = download + size(&descriptor);
        Ok((descriptor, Written { architecture: self.architecture.clone(), digest, download, unpacked }))
    }
}

/// Writes a blob under its digest; its descriptor.
fn put(blobs: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let digest = sha256(bytes);
    let path = blobs.join(digest.trim_start_matches("sha256:"));
    fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(digest(&SHA256, bytes)))
}

/// Sorted, root's, all of one time: nothing of the machine that packs it.
fn tarball(contents: &[Content], time: i64) -> Result<Vec<u8>> {
    let mut sorted: Vec<&Content> = contents.iter().collect();
    sorted.sort_by(|one, other| one.path.cmp(&other.path));
    let mut folders = BTreeSet::new();
    for content in &sorted {
        folders.extend(Path::new(&content.path).ancestors().skip(1).filter(|path| *path != Path::new("")));
    }
    let header = |kind, mode, size| -> Result<Header> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(time).context("a time before 1970")?);
        header.set_size(size);
        Ok(header)
    };
    let mut tar = Builder::new(Vec::new());
    for folder in folders {
        let mut header = header(EntryType::Directory, 0o755, 0)?;
        tar.append_data(&mut header, format!("{}/", folder.display()), std::io::empty())?;
    }
    for content in sorted {
        let mut header = header(EntryType::Regular, content.mode, content.bytes.len() as u64)?;
        tar.append_data(&mut header, &content.path, content.bytes.as_slice())?;
    }
    Ok(tar.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::{Content, Image, archive, write_layout};
    use crate::folders::Folder;
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    fn image(architecture: &str, files: &[(&str, &str)]) -> Image {
        Image {
            architecture: architecture.to_owned(),
            files: files
                .iter()
                .map(|(path, text)| Content { path: (*path).to_owned(), mode: 0o755, bytes: text.as_bytes().to_vec() })
                .collect(),
            entrypoint: vec!["/program".to_owned()],
            user: "65532:65532".to_owned(),
            labels: BTreeMap::from([("org.opencontainers.image.title".to_owned(), "program".to_owned())]),
            created: 1_700_000_000,
            compressed: true,
        }
    }

    fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap();
        let bytes = fs::read(layout.join("blobs").join(digest.replace(':', "/"))).unwrap();
        assert_eq!(super::sha256(&bytes), digest);
        assert_eq!(bytes.len() as u64, descriptor["size"].as_u64().unwrap());
        bytes
    }

    fn document(layout: &Path, descriptor: &Value) -> Value {
        serde_json::from_slice(&blob(layout, descriptor)).unwrap()
    }

    #[test]
    fn one_index_leads_to_the_files_of_every_architecture() {
        let folder = Folder::create("oci").unwrap();
        let images = [image("amd64", &[("bin/program", "x86")]), image("arm64", &[("bin/program", "arm")])];
        let (digest, written) = write_layout(folder.path(), "example.com/program:1.2", &images).unwrap();
        let top: Value = serde_json::from_slice(&fs::read(folder.path().join("index.json")).unwrap()).unwrap();
        assert_eq!(top["manifests"][0]["digest"], digest.as_str());
        assert_eq!(top["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1.2");
        let index = document(folder.path(), &top["manifests"][0]);
        for (number, (architecture, text)) in [("amd64", "x86"), ("arm64", "arm")].into_iter().enumerate() {
            let descriptor = &index["manifests"][number];
            assert_eq!(descriptor["platform"]["architecture"], architecture);
            assert_eq!(descriptor["digest"], written[number].digest.as_str());
            let manifest = document(folder.path(), descriptor);
            let config = document(folder.path(), &manifest["config"]);
            assert_eq!(config["architecture"], architecture);
            assert_eq!(config["config"]["User"], "65532:65532");
            let layer = blob(folder.path(), &manifest["layers"][0]);
            let mut tar = Vec::new();
            std::io::copy(&mut flate2::read::GzDecoder::new(layer.as_slice()), &mut tar).unwrap();
            assert_eq!(config["rootfs"]["diff_ids"][0], super::sha256(&tar));
            let mut seen = Vec::new();
            for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
                let mut entry = entry.unwrap();
                assert_eq!(entry.header().mtime().unwrap(), 1_700_000_000);
                let text = std::io::read_to_string(&mut entry).unwrap();
                seen.push((entry.path().unwrap().display().to_string(), text));
            }
            assert_eq!(seen, [("bin/".to_owned(), String::new()), ("bin/program".to_owned(), text.to_owned())]);
        }
    }

    #[test]
    fn the_digest_depends_on_what_is_inside_and_on_nothing_else() {
        let of = |files: &[(&str, &str)]| {
            let folder = Folder::create("oci").unwrap();
            let (digest, _) = write_layout(folder.path(), "program:1", &[image("amd64", files)]).unwrap();
            archive(folder.path(), &folder.path().join("image.tar")).unwrap();
            (digest, fs::read(folder.path().join("image.tar")).unwrap())
        };
        let one = of(&[("a", "1"), ("b", "2")]);
        assert_eq!(one, of(&[("b", "2"), ("a", "1")]));
        assert_ne!(one.0, of(&[("a", "1"), ("b", "3")]).0);
    }
}
