//! An S3 server with a bucket, an operator on it, and one S3AccessUser for each format under test.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ground::folders::Folder;
use ground::stand::Stand;
use ground::versitygw::VersityGw;
use serde_json::json;
use tokio::process::Command;

use crate::consumer::create_bucket;
use crate::scene::{Scene, data};

/// What an own format may look like.
const PROPERTIES: &str = "\
access={{ access_key_id }}
secret={{ secret_access_key }}
region={{ region }}
bucket={{ bucket }}
";

pub struct Shop {
    pub server: VersityGw,
    pub bucket: String,
    pub folder: Folder,
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    _scene: Scene,
}

impl Shop {
    pub async fn new(name: &str, formats: &[&str]) -> Self {
        let folder = Folder::create("consumers").unwrap();
        let server = VersityGw::start(&crate::variable("VERSITYGW"), folder.path()).await.unwrap();
        let stand = Stand::attach().unwrap().on_versitygw(&server).await.unwrap();
        let mut scene = Scene::on(stand, name).await;
        scene.start(&[("S3ACCESS_PROVIDER", "s3-compatible"), ("AWS_ENDPOINT_URL_S3", server.s3())]).await;
        let bucket = format!("{}-data", scene.namespace);
        create_bucket(&scene.stand, server.account(), server.s3(), &bucket).await;
        for format in formats {
            let mut secret = json!({ "format": format });
            if *format == "template" {
                secret["template"] = json!({ "s3.properties": PROPERTIES });
            }
            let spec = json!({
                "access": [{ "bucket": bucket, "level": "ReadWrite" }], "policy": { "type": "Inline" }, "secret": secret,
            });
            scene.create(format, spec).await;
        }
        let mut secrets = BTreeMap::new();
        for format in formats {
            scene.ready(format).await;
            let secret = data(&scene.secrets().get(&format!("{format}-s3")).await.unwrap());
            let mount = folder.path().join("mounts").join(format);
            fs::create_dir_all(&mount).unwrap();
            for (key, value) in &secret {
                fs::write(mount.join(key), value).unwrap();
            }
            secrets.insert((*format).to_owned(), secret);
        }
        Self { server, bucket, folder, secrets, _scene: scene }
    }

    /// The folder in which the Secret of that format is mounted.
    pub fn mount(&self, format: &str) -> PathBuf {
        self.folder.path().join("mounts").join(format)
    }

    /// A file of that Secret that only its owner may read.
    pub fn private(&self, format: &str, key: &str) -> String {
        let path = self.mount(format).join(key);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// What that Secret holds.
    pub fn data(&self, format: &str) -> BTreeMap<String, String> {
        self.secrets[format].clone()
    }

    /// Runs a consumer with nothing of our own environment; its standard output, or all that it said.
    pub async fn run(&self, program: &Path, args: &[&str], env: BTreeMap<String, String>) -> Result<String, String> {
        self.output(program, args, env, Stdio::null()).await
    }

    /// The same, with a file as its standard input.
    pub async fn run_with(&self, program: &Path, args: &[&str], input: &Path) -> String {
        self.output(program, args, BTreeMap::new(), File::open(input).unwrap().into()).await.unwrap()
    }

    async fn output(
        &self,
        program: &Path,
        args: &[&str],
        env: BTreeMap<String, String>,
        input: Stdio,
    ) -> Result<String, String> {
        let output = Command::new(program)
            .args(args)
            .env_clear()
            .envs(env)
            .env("HOME", self.folder.path())
            .env("PATH", "/usr/bin:/bin")
            .stdin(input)
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, errors) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() { Ok(out) } else { Err(format!("{}: {out}{errors}", output.status)) }
    }
}
