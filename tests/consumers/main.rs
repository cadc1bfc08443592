//! Each format of `spec.secret.format` against the consumer that it is made for: a real S3 server, the key of a real run,
//! and, where it can be had, the consumer's own code. deploy/docs/secret-formats.md says which is which.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it tried"
)]

#[allow(dead_code, reason = "it serves the world-state tests")]
#[path = "../world/consumer.rs"]
mod consumer;
mod formats;
#[allow(dead_code, reason = "it serves the world-state tests")]
#[path = "../world/scene.rs"]
mod scene;
mod shop;

use std::collections::BTreeMap;
use std::path::PathBuf;

use shop::Shop;

/// By code of Go modules: the AWS SDK, Thanos, the registry of Harbor, and minio-go for those that use that.
const GO: [&str; 12] = [
    "aws-env",
    "velero",
    "thanos",
    "harbor",
    "longhorn",
    "csi-s3",
    "mountpoint-csi",
    "argo-workflows",
    "kubeflow",
    "loki-operator",
    "tempo-operator",
    "cosi",
];

/// The program of a Debian package that `.ci/run` installs. Elsewhere it may not be there.
fn debian(program: &str) -> Option<PathBuf> {
    let found = ground::processes::which(program).ok();
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed: .ci/run does that");
        println!("NOT TRIED: {program} is not installed (apt-get install {program})");
    }
    found
}

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test`")).into()
}

#[tokio::test]
async fn rival_16_consumers_in_go_put_and_get_an_object_with_nothing_but_the_secret() {
    let shop = Shop::new("go", &[GO.as_slice(), &["rclone"]].concat()).await;
    let program = variable("CONSUMERS");
    let mut failures = BTreeMap::new();
    for format in GO {
        let mount = shop.mount(format).display().to_string();
        let args = [format, &mount, &shop.bucket, shop.server.s3()];
        match shop.run(&program, &args, BTreeMap::new()).await {
            Ok(said) => assert!(said.contains("works"), "{format}: {said}"),
            Err(error) => drop(failures.insert(format, error)),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");

    let config = shop.mount("rclone").join("rclone.conf").display().to_string();
    let remote = format!("s3:{}", shop.bucket);
    let object = format!("{remote}/by-rclone");
    let options = ["rclone", "--config", &config];
    let rclone = async |args: &[&str]| shop.run(&program, &[&options, args].concat(), BTreeMap::new()).await.unwrap();
    assert_eq!(rclone(&["lsf", &remote, "--include", "by-rclone"]).await, "");
    let local = shop.folder.path().join("by-rclone");
    std::fs::write(&local, "by rclone").unwrap();
    shop.run_with(&program, &[options.as_slice(), &["rcat", &object]].concat(), &local).await;
    assert_eq!(rclone(&["cat", &object]).await, "by rclone");
    assert_eq!(rclone(&["lsf", &remote, "--include", "by-rclone"]).await, "by-rclone\n");
}

#[tokio::test]
async fn rival_16_the_aws_cli_takes_environment_and_file_and_the_key_as_others_hand_it_on() {
    let all = ["aws-env", "velero", "cnpg", "hadoop", "trino", "flink", "template"];
    let shop = Shop::new("cli", &all).await;
    let aws = variable("CONSUMERS_PYTHON").join("aws");
    let put = async |name: &str, env: BTreeMap<String, String>, endpoint: Option<&str>| {
        let local = shop.folder.path().join(name).display().to_string();
        std::fs::write(&local, name).unwrap();
        let remote = format!("s3://{}/by-{name}", shop.bucket);
        let endpoint = endpoint.map(|endpoint| vec!["--endpoint-url", endpoint]).unwrap_or_default();
        for copy in [["s3", "cp", local.as_str(), remote.as_str()], ["s3", "cp", remote.as_str(), "-"]] {
            let args = [endpoint.as_slice(), &copy].concat();
            let said = shop.run(&aws, &args, env.clone()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(copy[3] != "-" || said == name, "{name}: {said}");
        }
    };
    let s3 = Some(shop.server.s3());

    // The default: as an environment, with an endpoint of its own; and as a file.
    put("environment", shop.data("aws-env"), None).await;
    let file = |format: &str, key: &str| {
        let path = shop.mount(format).join(key).display().to_string();
        BTreeMap::from([("AWS_SHARED_CREDENTIALS_FILE".to_owned(), path)])
    };
    put("file", file("aws-env", "credentials"), s3).await;
    put("velero", file("velero", "cloud"), s3).await;

    // Those that are read by another's parser, and whose values come to an SDK of AWS in the end.
    let keys = |id: &str, secret: &str, region: &str| {
        let entries = [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_DEFAULT_REGION", region)];
        BTreeMap::from(entries.map(|(name, value)| (name.to_owned(), value.to_owned())))
    };
    let cnpg = shop.data("cnpg");
    put("cnpg", keys(&cnpg["ACCESS_KEY_ID"], &cnpg["ACCESS_SECRET_KEY"], &cnpg["ACCESS_REGION"]), s3).await;
    let hadoop = shop.data("hadoop");
    put("hadoop", keys(&hadoop["fs.s3a.access.key"], &hadoop["fs.s3a.secret.key"], "us-east-1"), s3).await;
    let trino = shop.data("trino");
    let of_trino = keys(&trino["s3.aws-access-key"], &trino["s3.aws-secret-key"], &trino["s3.region"]);
    put("trino", of_trino, Some(&trino["s3.endpoint"])).await;
    let flink = shop.data("flink");
    assert!(["true", "false"].contains(&flink["s3.path.style.access"].as_str()));
    let of_flink = keys(&flink["s3.access-key"], &flink["s3.secret-key"], "us-east-1");
    put("flink", of_flink, Some(&flink["s3.endpoint"])).await;
    let own = formats::properties(&shop.data("template")["s3.properties"]);
    assert_eq!(own["bucket"], shop.bucket);
    put("template", keys(&own["access"], &own["secret"], &own["region"]), s3).await;
}

#[tokio::test]
async fn rival_16_airflow_finds_key_region_and_endpoint_in_its_connection() {
    let shop = Shop::new("airflow", &["airflow"]).await;
    let (python, home) = (variable("CONSUMERS_AIRFLOW").join("python"), shop.folder.path().display().to_string());
    let script = ground::repository().join("tests/consumers/airflow/put_and_get.py").display().to_string();
    let env = [("AIRFLOW_HOME".to_owned(), home)].into_iter().chain(shop.data("airflow")).collect();
    let said = shop.run(&python, &[&script, &shop.bucket, "by-airflow"], env).await.unwrap();
    let found = said.lines().last().unwrap();
    assert_eq!(found, format!("{} by Airflow", shop.server.s3()), "{said}");
}

#[tokio::test]
async fn rival_16_debians_s3fs_and_restic_take_the_file_and_the_environment() {
    let shop = Shop::new("debian", &["s3fs", "aws-env"]).await;
    if let Some(s3fs) = debian("s3fs") {
        // As a volume with defaultMode 0600: it refuses a file that others may read.
        let passwd = shop.private("s3fs", "passwd-s3fs");
        let options = format!("passwd_file={passwd},url={},use_path_request_style", shop.server.s3());
        // A signed request that needs no /dev/fuse.
        let args = ["--incomplete-mpu-list", &shop.bucket, "-o", &options];
        shop.run(&s3fs, &args, BTreeMap::new()).await.unwrap();
        std::fs::write(&passwd, "AKIAWRONG:wrong").unwrap();
        let refused = shop.run(&s3fs, &args, BTreeMap::new()).await;
        assert!(refused.is_err(), "a wrong key is seen to be wrong: {refused:?}");
    }
    if let Some(restic) = debian("restic") {
        let mut env = shop.data("aws-env");
        env.insert("RESTIC_PASSWORD".to_owned(), "of-a-test".to_owned());
        env.insert("RESTIC_REPOSITORY".to_owned(), format!("s3:{}/{}/restic", shop.server.s3(), shop.bucket));
        let restic = async |args: &[&str]| shop.run(&restic, args, env.clone()).await.unwrap();
        restic(&["init"]).await;
        let file = shop.folder.path().join("kept").display().to_string();
        std::fs::write(&file, "kept").unwrap();
        restic(&["backup", &file]).await;
        assert_eq!(restic(&["dump", "latest", &file]).await, "kept");
    }
}
