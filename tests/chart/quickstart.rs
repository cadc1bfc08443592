//! `deploy/docs/quickstart.md`, block by block as it stands, in an API server of its own. No node: the programs of its pods are started
//! here, with the arguments and the environment that the pods have.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ground::cache;
use ground::double::{Config, DoubleServer, Settings};
use ground::kubernetes::{Access, Kubernetes};
use ground::moto::{Account, Partition};
use ground::operator::Operator;
use ground::ports::Port;
use ground::processes::{Process, Spec};
use ground::stand::Stand;
use ground::wait::eventually;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use crate::helm::{NAMESPACE, RELEASE, documents, named, text};
use crate::shell::{Shell, blocks};

const PAGE: &str = "deploy/docs/quickstart.md";
/// What no pod does here, and how the client's pod of `kubectl run` is run.
const WITHOUT_A_NODE: &str = r#"case " $* " in *" rollout status "* | *" wait job/"* | *" logs job/"*) exit 0 ;; esac
if [ "$3" = run ]; then
  while [ "$1" != -- ]; do case $1 in --env=*) export "${1#--env=}" ;; esac; shift; done
  shift
  exec aws "$@"
fi"#;

struct Cluster {
    access: Access,
    shell: Shell,
    _kubernetes: Kubernetes,
}

impl Cluster {
    async fn start(shell: Shell) -> Self {
        let programs = cache::kubernetes().await.unwrap();
        let kubernetes = Kubernetes::start(&programs, shell.path()).await.unwrap();
        let access = kubernetes.access().clone();
        let shell = shell.on(&access);
        shell.kubectl(WITHOUT_A_NODE, "").await;
        shell.helm("install").await;
        Self { access, shell, _kubernetes: kubernetes }
    }

    async fn get(&self, what: &[&str]) -> Value {
        let found = self.access.kubectl(&[&["get", "-o", "json"], what].concat()).await.unwrap();
        serde_json::from_str(&found).unwrap()
    }

    async fn secret(&self, namespace: &str, name: &str) -> BTreeMap<String, String> {
        let secret: Secret = serde_json::from_value(self.get(&["-n", namespace, "secret", name]).await).unwrap();
        let data = secret.data.unwrap().into_iter();
        data.map(|(name, value)| (name, String::from_utf8(value.0).unwrap())).collect()
    }

    /// The operator that was installed, as its pod would run it, but for what `env` says.
    async fn operator(&self, env: BTreeMap<String, String>) -> Operator {
        let kubectl = ["wait", "--for=condition=Established", "--timeout=60s", "--all", "crd"];
        self.access.kubectl(&kubectl).await.unwrap();
        let deployment = self.get(&["-n", NAMESPACE, "deployment", RELEASE]).await;
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let mut all = self.secret(NAMESPACE, text(&container["envFrom"][0]["secretRef"]["name"])).await;
        for variable in container["env"].as_array().unwrap() {
            if let Some(value) = variable["value"].as_str() {
                all.insert(text(&variable["name"]).to_owned(), value.to_owned());
            }
        }
        let kubeconfig = self.access.service_account_kubeconfig(NAMESPACE, RELEASE).await.unwrap();
        all.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
        all.insert("S3ACCESS_NAMESPACE".to_owned(), NAMESPACE.to_owned());
        all.insert("S3ACCESS_CONSISTENCY_WINDOW".to_owned(), "2s".to_owned());
        all.extend(env);
        let binary = Stand::attach().unwrap().operator;
        Operator::start(&binary, all, self.shell.path().join("operator.log")).await.unwrap()
    }
}

/// The S3 of the first part: its containers, as processes.
struct S3 {
    ports: [Port; 2],
    _processes: Vec<Process>,
}

impl S3 {
    async fn start(block: &str, folder: &Path) -> Self {
        let yaml = block.split("<<'EOF'\n").nth(1).unwrap().split("\nEOF\n").next().unwrap();
        let objects = documents(yaml);
        let pod = &named(&objects, "Deployment", "s3")["spec"]["template"]["spec"];
        let [folders, iam] = pod["initContainers"].as_array().unwrap().as_slice() else { panic!("{pod}") };
        for made in folders["command"].as_array().unwrap().iter().skip(2) {
            std::fs::create_dir_all(text(made).replace("/data", &folder.display().to_string())).unwrap();
        }
        let ports = [Port::free().unwrap(), Port::free().unwrap()];
        let program = std::env::var_os("VERSITYGW").unwrap();
        let mut processes = Vec::new();
        for container in [iam, &pod["containers"][0]] {
            let args = container["args"].as_array().unwrap().iter().map(|arg| {
                let arg = text(arg).replace("/data", &folder.display().to_string());
                [(":7070", 0), (":7071", 1)].into_iter().fold(arg, |arg, (port, index)| {
                    if arg == port { format!("127.0.0.1:{}", ports[index].number()) } else { arg }
                })
            });
            let name = text(&container["name"]);
            let mut process = Spec::new(name, &program, folder.join(format!("{name}.log"))).args(args).spawn().unwrap();
            let port = ports[usize::from(name == "iam")].number();
            eventually(name, Duration::from_secs(60), async || {
                process.ensure_running()?;
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(())
            })
            .await
            .unwrap();
            processes.push(process);
        }
        Self { ports, _processes: processes }
    }

    /// A block with the addresses that this S3 has here.
    fn at_home(&self, block: &str) -> String {
        let [s3, iam] = &self.ports;
        block.replace("http://s3.s3:7070", &s3.http()).replace("http://s3.s3:7071", &iam.http())
    }
}

#[tokio::test]
async fn the_quickstart_without_an_account_ends_with_a_key_that_works_where_it_may_and_nowhere_else() {
    let found = blocks(PAGE, "kind or k3d, without an AWS account");
    let [_kind, system, install, user, used] = &found[..] else { panic!("{found:?}") };
    let cluster = Cluster::start(Shell::new().await).await;
    let s3 = S3::start(system, cluster.shell.path()).await;
    for block in [system, install] {
        cluster.shell.run(&s3.at_home(block)).await;
    }
    let _operator = cluster.operator(BTreeMap::new()).await;
    let printed = cluster.shell.run(user).await;
    assert!(printed.contains("aws_access_key_id = "), "{printed}");
    // The safeguards for such a system are at work, since the class is of it.
    let class = cluster.get(&["s3accessclass", "default"]).await;
    assert!(class["status"]["capabilities"]["trials"][0]["works"].is_boolean(), "{class}");
    cluster.shell.run(used).await;
    let job = cluster.get(&["-n", "team-a", "job", "try"]).await;
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let [shell, option, script] = container["command"].as_array().unwrap().as_slice() else { panic!("{container}") };
    assert_eq!((text(shell), text(option)), ("sh", "-c"));
    let env = cluster.secret("team-a", text(&container["envFrom"][0]["secretRef"]["name"])).await;
    let listed = cluster.shell.run_with(&format!("{} 2>&1", text(script)), &env).await;
    assert!(listed.contains(" hello\n"), "{listed}");
}

/// From the stack to the first key; the operator has the policies that the stack has made, in an account that holds it to each word.
#[tokio::test]
async fn the_quickstart_in_china_ends_with_a_key() {
    let found = blocks(PAGE, "A cluster in China");
    let [mirror, install] = &found[..] else { panic!("{found:?}") };
    let cluster = Cluster::start(Shell::on_moto(Partition::AwsCn).await).await;
    cluster.shell.program("crane", "[ \"$1\" != auth ] || cat > /dev/null");
    cluster.shell.run(mirror).await;
    cluster.shell.run(install).await;
    let key = cluster.secret(NAMESPACE, "s3-access-operator-aws").await;
    assert!(key["AWS_ACCESS_KEY_ID"].starts_with("AKIA"), "{:?}", key.keys());

    let (double, identity) = same_on_the_double(&cluster.shell).await;
    let _operator = cluster.operator(identity.env()).await;
    let [user] = &blocks(PAGE, "The first key on AWS")[..] else { panic!("one block") };
    let printed = cluster.shell.run(user).await;
    assert!(printed.contains("aws_access_key_id = "), "{printed}");
    let status = cluster.get(&["-n", "team-a", "s3u", "reports"]).await;
    let name = text(&status["status"]["userName"]).to_owned();
    let iam = account_of(&double).iam();
    let made = iam.get_user().user_name(name).send().await.unwrap().user.unwrap();
    let boundary = made.permissions_boundary.unwrap().permissions_boundary_arn.unwrap();
    assert_eq!(boundary, "arn:aws-cn:iam::123456789012:policy/s3access-boundary");
}

fn account_of(double: &DoubleServer) -> Account {
    let admin = double.admin();
    Account {
        endpoint: double.endpoint(),
        partition: Partition::AwsCn,
        access_key_id: admin.access_key_id,
        secret_access_key: admin.secret_access_key,
    }
}

/// The user and the boundary that the stack has made in moto, made again on the strict double: moto takes the resource of every IAM
/// call for `*`.
async fn same_on_the_double(shell: &Shell) -> (DoubleServer, Account) {
    let account = ground::double::Account { id: "123456789012".to_owned(), partition: "aws-cn".to_owned() };
    let config = Config { account, settings: Settings::default(), ..Config::default() };
    let double = DoubleServer::start(config).await.unwrap();
    let admin = account_of(&double);
    let details = shell.json("aws iam get-account-authorization-details --filter LocalManagedPolicy").await;
    let document = |name: &str| {
        let policies = details["Policies"].as_array().unwrap();
        let policy = policies.iter().find(|policy| text(&policy["Arn"]).ends_with(&format!("policy/{name}"))).unwrap();
        policy["PolicyVersionList"][0]["Document"].to_string()
    };
    let boundary = admin.iam().create_policy().policy_name("s3access-boundary");
    boundary.policy_document(document("s3access-boundary")).send().await.unwrap();
    let identity = admin.create_identity("s3-access-operator", &document("s3-access-operator")).await.unwrap();
    (double, identity)
}

#[tokio::test]
async fn the_quickstart_on_eks_installs_what_its_stack_tells() {
    let found = blocks(PAGE, "EKS");
    let [pod_identity, irsa, install] = &found[..] else { panic!("{found:?}") };
    for (deploy, role) in [(pod_identity, None), (irsa, Some("arn:aws:iam::123456789012:role/s3-access-operator"))] {
        let shell = Shell::on_moto(Partition::Aws).await;
        shell.helm("template").await;
        // moto takes no signature of EKS's calls.
        let eks = "aws() { if [ \"$1\" = eks ]; then echo https://oidc.eks.example.com/id/0123; else command aws \"$@\"; fi; }";
        let printed = shell.run(&format!("{eks}\n{deploy}{install}")).await;
        let objects = documents(printed.split_once("---").unwrap().1);
        let account = named(&objects, "ServiceAccount", "s3-access-operator");
        let annotation = &account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"];
        assert_eq!(annotation.as_str(), role);
    }
}

#[tokio::test]
async fn image_and_chart_are_pushed_by_the_names_that_the_quickstart_says() {
    let [push] = &blocks(PAGE, "Before the first release")[..] else { panic!("one block") };
    let shell = Shell::new().await;
    shell.helm("template").await;
    shell.program("cargo", "exit 0");
    shell.program("crane", "exit 0");
    let (packed, _) = push.split_once("helm push s3-access-operator-").unwrap();
    shell.run(packed).await;
    let version = push.split("helm push ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(shell.path().join(version).is_file(), "{version}");
}
