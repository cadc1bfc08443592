//! The operator's side of AWS: the CloudFormation template, made into stacks by moto with the commands of `deploy/iam/README.md`, and
//! the Terraform module. Both make what the shipped policies say, and the chart takes what they tell.

use std::collections::BTreeMap;
use std::path::Path;

use ground::cache;
use ground::folders::Folder;
use ground::moto::Partition;
use ground::tools::terraform_reader;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::helm::{Helm, NAMESPACE, documents, finish, named, read, root, text};
use crate::shell::{Shell, blocks};

const TEMPLATE: &str = "deploy/iam/cloudformation.yaml";
const ACCOUNT: &str = "123456789012";
const ISSUER: &str = "oidc.eks.example.com/id/0123456789ABCDEF";

/// One way to be the operator: what the template and the module are told of it, and what has to come of it.
struct Way {
    identity: &'static str,
    name: &'static str,
    boundary: &'static str,
    path: &'static str,
    cluster_id: &'static str,
    options: &'static [&'static str],
    more: &'static [(&'static str, &'static str, &'static str)],
}

/// In this order: the first makes the boundary, and the second has it already.
const WAYS: [Way; 3] = [
    Way {
        identity: "PodIdentity",
        name: "s3-access-operator",
        boundary: "Create",
        path: "/s3access/",
        cluster_id: "*",
        options: &[],
        more: &[("ClusterName", "cluster_name", "prod")],
    },
    Way {
        identity: "IRSA",
        name: "s3-access-operator-irsa",
        boundary: "Exists",
        path: "/s3access/one/",
        cluster_id: "0123",
        options: &["doctor", "leftovers"],
        more: &[("OidcIssuer", "oidc_issuer", ISSUER), ("ServiceAccount", "service_account", "operator")],
    },
    Way {
        identity: "User",
        name: "s3-access-operator-user",
        boundary: "None",
        path: "/s3access/",
        cluster_id: "*",
        options: &["doctor", "leftovers", "migration", "own-key"],
        more: &[],
    },
];

impl Way {
    fn is_user(&self) -> bool {
        self.identity == "User"
    }

    /// What the boundary allows: in China narrowed, elsewhere as shipped.
    fn buckets(&self, partition: Partition) -> Option<[&'static str; 2]> {
        let is_narrow = self.boundary == "Create" && partition == Partition::AwsCn;
        is_narrow.then_some(["arn:aws-cn:s3:::team-*", "arn:aws-cn:s3:::shared/*"])
    }

    fn bounding(&self, partition: Partition) -> Value {
        let mut policy = self.shipped("bounded/users-boundary", partition);
        if let Some(buckets) = self.buckets(partition) {
            policy["Statement"][0]["Resource"] = json!(buckets);
        }
        policy
    }

    fn parameters(&self, partition: Partition) -> Vec<String> {
        let mut all = vec![
            format!("Identity={}", self.identity),
            format!("Name={}", self.name),
            format!("Boundary={}", self.boundary),
            format!("Path={}", self.path),
            format!("ClusterId={}", self.cluster_id),
        ];
        let flags =
            [("doctor", "Doctor"), ("leftovers", "Leftovers"), ("migration", "Migration"), ("own-key", "OwnKey")];
        all.extend(flags.iter().map(|(option, flag)| format!("{flag}={}", self.options.contains(option))));
        all.extend(self.more.iter().map(|(name, _, value)| format!("{name}={value}")));
        all.extend(self.buckets(partition).map(|buckets| format!("BoundaryBuckets={}", buckets.join(","))));
        all
    }

    fn variables(&self, partition: Partition) -> Value {
        let mut all = json!({
            "identity": self.identity, "name": self.name, "boundary": self.boundary, "path": self.path,
            "cluster_id": self.cluster_id, "options": self.options,
        });
        for (_, name, value) in self.more {
            all[*name] = json!(value);
        }
        if let Some(buckets) = self.buckets(partition) {
            all["boundary_buckets"] = json!(buckets);
        }
        all
    }

    /// The policies that the identity has to have, by name: the shipped files, with the path and the cluster of this way.
    fn policies(&self, partition: Partition) -> BTreeMap<String, Value> {
        let own = if self.boundary == "None" { "operator-policy" } else { "bounded/operator-policy" };
        let mut files = vec![(self.name.to_owned(), own.to_owned())];
        files.extend(
            self.options.iter().map(|option| (format!("{}-{option}", self.name), format!("operator-policy.{option}"))),
        );
        files.into_iter().map(|(name, file)| (name, self.shipped(&file, partition))).collect()
    }

    fn shipped(&self, file: &str, partition: Partition) -> Value {
        let text = read(format!("deploy/iam/{file}.{}.json", partition.name()));
        let tag = format!("s3access.dev/cluster\": \"{}\"", self.cluster_id);
        let text =
            text.replace("/s3access/*", &format!("{}*", self.path)).replace("s3access.dev/cluster\": \"*\"", &tag);
        serde_json::from_str(&text).unwrap()
    }

    fn service_account(&self) -> &str {
        self.more.iter().find(|more| more.0 == "ServiceAccount").map_or("s3-access-operator", |more| more.2)
    }

    /// Who may become the operator's role.
    fn trust(&self, partition: Partition) -> Value {
        let (sub, aud) = (format!("{ISSUER}:sub"), format!("{ISSUER}:aud"));
        let statement = if self.identity == "IRSA" {
            let audiences = match partition {
                Partition::Aws => json!(["sts.amazonaws.com"]),
                Partition::AwsCn => json!(["sts.amazonaws.com", "sts.amazonaws.com.cn"]),
            };
            json!({
                "Effect": "Allow", "Action": ["sts:AssumeRoleWithWebIdentity"],
                "Principal": { "Federated": format!("arn:{}:iam::{ACCOUNT}:oidc-provider/{ISSUER}", partition.name()) },
                "Condition": { "StringEquals": {
                    sub: format!("system:serviceaccount:{NAMESPACE}:{}", self.service_account()), aud: audiences,
                } },
            })
        } else {
            json!({
                "Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"],
                "Principal": { "Service": "pods.eks.amazonaws.com" },
                "Condition": { "StringEquals": {
                    "aws:RequestTag/kubernetes-namespace": NAMESPACE,
                    "aws:RequestTag/kubernetes-service-account": self.service_account(),
                } },
            })
        };
        json!({ "Version": "2012-10-17", "Statement": [statement] })
    }

    fn arn(&self, partition: Partition) -> String {
        let kind = if self.is_user() { "user" } else { "role" };
        format!("arn:{}:iam::{ACCOUNT}:{kind}/{}", partition.name(), self.name)
    }

    /// What the chart makes of the arguments that the stack or the module tells.
    async fn is_taken_by_the_chart(&self, partition: Partition, helm: &Helm, set: &[String]) {
        let args: Vec<&str> = set.iter().map(String::as_str).collect();
        let objects = helm.objects(&args).await;
        let class = named(&objects, "S3AccessClass", "default");
        let bound = format!("arn:{}:iam::{ACCOUNT}:policy/s3access-boundary", partition.name());
        let bound = if self.boundary == "None" { Value::Null } else { json!(bound) };
        assert_eq!(class["spec"]["permissionsBoundaryArn"], bound, "{}", self.identity);
        let pod = &named(&objects, "Deployment", "s3-access-operator")["spec"]["template"]["spec"];
        assert_eq!(text(&pod["serviceAccountName"]), self.service_account());
        let account = named(&objects, "ServiceAccount", self.service_account());
        let annotation = &account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"];
        let role = if self.identity == "IRSA" { json!(self.arn(partition)) } else { Value::Null };
        assert_eq!(*annotation, role);
        let container = &pod["containers"][0];
        let env: BTreeMap<&str, &Value> =
            container["env"].as_array().unwrap().iter().map(|one| (text(&one["name"]), &one["value"])).collect();
        assert_eq!(env["AWS_REGION"], partition.region());
        let own_path = (self.path != "/s3access/").then(|| json!(self.path));
        assert_eq!(env.get("S3ACCESS_PATH").copied().cloned(), own_path);
        assert_eq!(env.get("S3ACCESS_CLUSTER_ID").is_some_and(|id| *id == self.cluster_id), self.cluster_id != "*");
        assert_eq!(env.contains_key("S3ACCESS_ROTATE_OWN_KEY"), self.options.contains(&"own-key"));
        let secret = self.is_user().then(|| json!("s3-access-operator-aws"));
        assert_eq!(
            container.pointer("/envFrom/0/secretRef/name").cloned(),
            secret.filter(|_| !self.options.contains(&"own-key"))
        );
    }
}

/// What the module comes to, for that way.
async fn module(way: &Way, partition: Partition) -> Value {
    let suffix = if partition == Partition::AwsCn { "amazonaws.com.cn" } else { "amazonaws.com" };
    evaluated(
        &way.variables(partition),
        &json!({
            "aws_partition.current": { "partition": partition.name(), "dns_suffix": suffix },
            "aws_caller_identity.current": { "account_id": ACCOUNT },
            "aws_region.current": { "id": partition.region() },
        }),
    )
    .await
}

async fn evaluated(variables: &Value, data: &Value) -> Value {
    let task = json!({ "module": root().join("deploy/iam/terraform"), "variables": variables, "data": data });
    let answer = finish(Command::new(terraform_reader().await.unwrap()), &task.to_string()).await.unwrap();
    serde_json::from_str(&answer).unwrap()
}

/// The entities of a kind in what GetAccountAuthorizationDetails tells, by name.
fn by_name<'a>(details: &'a Value, list: &str, name: &str) -> BTreeMap<&'a str, &'a Value> {
    details[list].as_array().unwrap().iter().map(|one| (text(&one[name]), one)).collect()
}

async fn every_way(partition: Partition) {
    let shell = Shell::on_moto(partition).await;
    let helm = Helm::new().await;
    for way in &WAYS {
        shell
            .run(&format!(
                "aws cloudformation deploy --stack-name {} --template-file deploy/iam/cloudformation.yaml \
                 --capabilities CAPABILITY_NAMED_IAM --parameter-overrides {}",
                way.name,
                way.parameters(partition).iter().map(|one| format!("'{one}'")).collect::<Vec<_>>().join(" "),
            ))
            .await;
    }
    let details = shell.json("aws iam get-account-authorization-details --filter Role User LocalManagedPolicy").await;
    // moto tells no name of a policy here.
    let policies = by_name(&details, "Policies", "Arn");
    let document = |name: &str| {
        let arn = format!("arn:{}:iam::{ACCOUNT}:policy/{name}", partition.name());
        policies[arn.as_str()]["PolicyVersionList"][0]["Document"].clone()
    };
    let mut boundary = document("s3access-boundary");
    // moto takes the default of a list for a text.
    if boundary["Statement"][0]["Resource"] == "*" {
        boundary["Statement"][0]["Resource"] = json!(["*"]);
    }
    assert_eq!(boundary, WAYS[0].bounding(partition));
    for way in &WAYS {
        let (list, name) = if way.is_user() { ("UserDetailList", "UserName") } else { ("RoleDetailList", "RoleName") };
        let identity = by_name(&details, list, name)[way.name];
        assert_eq!(identity["Arn"], way.arn(partition));
        let attached =
            identity["AttachedManagedPolicies"].as_array().unwrap().iter().map(|one| text(&one["PolicyName"]));
        let attached: BTreeMap<String, Value> = attached.map(|name| (name.to_owned(), document(name))).collect();
        assert_eq!(attached, way.policies(partition), "{}", way.identity);
        if !way.is_user() {
            assert_eq!(identity["AssumeRolePolicyDocument"], way.trust(partition));
        }

        let outputs = shell.outputs(way.name).await;
        assert_eq!(outputs["IdentityArn"], way.arn(partition));
        assert_eq!(outputs.contains_key("BoundaryArn"), way.boundary != "None");
        assert_eq!(outputs.contains_key("MakeTheKey"), way.is_user());
        let set = shell.words(&outputs["HelmSet"]).await;
        way.is_taken_by_the_chart(partition, &helm, &set).await;

        let module = module(way, partition).await;
        assert_eq!(module["refused"], json!([]));
        assert_eq!(shell.words(text(&module["outputs"]["helm_set"])).await, set, "{}", way.identity);
        assert_eq!(module["outputs"]["identity_arn"], way.arn(partition));
        assert_eq!(module["outputs"]["make_the_key"].as_str(), outputs.get("MakeTheKey").map(String::as_str));
        same_entities(way, partition, &module["resources"]);
    }
}

/// The module's resources are what the stack has made.
fn same_entities(way: &Way, partition: Partition, resources: &Value) {
    let parsed = |value: &Value| -> Value { serde_json::from_str(text(value)).unwrap() };
    let of = |address: &str| resources[address].as_object().unwrap().values().collect::<Vec<_>>();
    let policies = of("aws_iam_policy.operator").into_iter();
    let policies: BTreeMap<String, Value> =
        policies.map(|one| (text(&one["name"]).to_owned(), parsed(&one["policy"]))).collect();
    assert_eq!(policies, way.policies(partition));
    let kind = if way.is_user() { "user" } else { "role" };
    let attached = of(&format!("aws_iam_{kind}_policy_attachment.operator"));
    assert_eq!(attached.len(), policies.len());
    assert!(attached.iter().all(|one| one[kind] == way.name), "{attached:?}");
    let trusts: Vec<Value> = of("aws_iam_role.operator").iter().map(|one| parsed(&one["assume_role_policy"])).collect();
    assert_eq!(trusts, if way.is_user() { Vec::new() } else { vec![way.trust(partition)] });
    let boundaries: Vec<Value> = of("aws_iam_policy.boundary").iter().map(|one| parsed(&one["policy"])).collect();
    let made = (way.boundary == "Create").then(|| way.bounding(partition));
    assert_eq!(boundaries, made.into_iter().collect::<Vec<_>>());
    assert_eq!(of("aws_eks_pod_identity_association.operator").len(), usize::from(way.identity == "PodIdentity"));
}

#[tokio::test]
async fn the_template_and_the_module_make_what_the_shipped_policies_say() {
    every_way(Partition::Aws).await;
}

#[tokio::test]
async fn the_template_and_the_module_make_the_same_in_china() {
    every_way(Partition::AwsCn).await;
}

/// What cfn-lint finds in a template.
async fn linted(template: &Path) -> Result<String, String> {
    let mut command = Command::new(cache::python().await.unwrap().join("cfn-lint"));
    command.args(["--include-checks", "I", "--regions", "eu-central-1", "cn-north-1", "--template"]);
    command.arg(template).current_dir(root());
    finish(command, "").await
}

#[tokio::test]
async fn the_template_has_no_finding_of_cfn_lint() {
    assert_eq!(linted(Path::new(TEMPLATE)).await.unwrap().trim(), "");
}

/// cfn-lint holds a parameter's default against its pattern, as CloudFormation does with what it is given.
#[tokio::test]
async fn the_template_refuses_what_cannot_work() {
    let folder = Folder::create("template").unwrap();
    let copy = folder.path().join("template.yaml");
    for (default, wrong) in [
        ("Default: /s3access/", "Default: /s3-access-operator/"),
        ("Default: /s3access/", "Default: /"),
        ("Default: \"*\"\n    AllowedPattern: \\*|arn", "Default: team-a-reports\n    AllowedPattern: \\*|arn"),
    ] {
        let template = read(TEMPLATE);
        assert_eq!(template.matches(default).count(), 1, "{default}");
        std::fs::write(&copy, template.replace(default, wrong)).unwrap();
        let found = linted(&copy).await.expect_err(wrong);
        assert!(found.contains("E2015"), "{wrong}: {found}");
    }
}

/// What cannot work is refused before anything is made.
#[tokio::test]
async fn the_module_refuses_what_cannot_work() {
    let data = json!({
        "aws_partition.current": { "partition": "aws", "dns_suffix": "amazonaws.com" },
        "aws_caller_identity.current": { "account_id": ACCOUNT }, "aws_region.current": { "id": "eu-central-1" },
    });
    for (variables, message) in [
        (json!({ "identity": "IRSA" }), "IRSA takes oidc_issuer."),
        (json!({ "options": ["own-key"] }), "own-key is for identity User, since roles have no key."),
        (json!({ "name": "operator" }), "It begins with s3-access-operator, since the policies name the identity so."),
        (json!({ "path": "/" }), "It begins and ends with a slash, and is not the root."),
        (
            json!({ "path": "/s3-access-operator-users/" }),
            "It does not begin with /s3-access-operator: what is called so, the operator may not change, since it is called so itself.",
        ),
        (json!({ "boundary_buckets": ["team-a-reports"] }), "ARNs of buckets and of objects, or an asterisk."),
        (json!({ "boundary_buckets": [] }), "ARNs of buckets and of objects, or an asterisk."),
        (json!({ "options": ["everything"] }), "Only doctor, leftovers, migration and own-key."),
    ] {
        assert_eq!(evaluated(&variables, &data).await["refused"], json!([message]));
    }
    // With the scheme, as `aws eks describe-cluster` tells it.
    let variables = json!({ "identity": "IRSA", "oidc_issuer": format!("https://{ISSUER}") });
    let trust =
        evaluated(&variables, &data).await["resources"]["aws_iam_role.operator"]["0"]["assume_role_policy"].clone();
    assert!(text(&trust).contains(&format!("oidc-provider/{ISSUER}\"")), "{trust}");
}

#[tokio::test]
async fn a_key_is_made_only_where_its_secret_can_be_and_a_secret_only_where_there_is_a_key() {
    let shell = Shell::on_moto(Partition::Aws).await;
    let deploy = format!(
        "aws cloudformation deploy --stack-name s3 --template-file {TEMPLATE} --capabilities CAPABILITY_NAMED_IAM"
    );
    shell.run(&format!("{deploy} --parameter-overrides Identity=User")).await;
    let make = shell.outputs("s3").await["MakeTheKey"].clone();
    std::fs::write(shell.path().join("make"), &make).unwrap();
    // What is asked of kubectl is written down; the server refuses the rehearsal.
    shell.program("kubectl", "echo \"$*\" >> \"$HOME/asked\"; [ -e \"$HOME/there\" ] && cat > \"$HOME/given\"");
    let keys = "aws iam list-access-keys --user-name s3-access-operator --query 'length(AccessKeyMetadata)'";
    shell.run("! sh \"$HOME/make\"").await;
    assert_eq!(shell.run(keys).await.trim(), "0");
    let asked = || std::fs::read_to_string(shell.path().join("asked")).unwrap();
    assert!(asked().lines().count() == 1 && asked().contains("--dry-run=server"), "{}", asked());

    shell.run("touch \"$HOME/there\"; sh \"$HOME/make\" < /dev/null").await;
    let given = std::fs::read_to_string(shell.path().join("given")).unwrap();
    let names: Vec<&str> = given.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    let secret = given.lines().nth(1).unwrap().split_once('=').unwrap().1;
    assert!(!asked().contains(secret), "a key among the arguments");

    // IAM has no room for a third one.
    shell.run("aws iam create-access-key --user-name s3-access-operator; : > \"$HOME/asked\"").await;
    shell.run("! sh \"$HOME/make\" < /dev/null").await;
    assert!(asked().lines().count() == 1 && asked().contains("--dry-run=server"), "{}", asked());
}

/// The blocks of the README, in their order, as they stand: the stack, the key, and the chart.
#[tokio::test]
async fn the_readmes_commands_lead_from_nothing_to_an_install() {
    let shell = Shell::on_moto(Partition::Aws).await;
    // Without a cluster: what would be applied, and what helm would install.
    let rehearsal = "case \" $* \" in *' --dry-run=server '*) exit 0 ;; esac\necho ---";
    shell.kubectl(rehearsal, "--dry-run=client --output=yaml").await;
    shell.helm("template").await;
    let blocks = blocks("deploy/iam/README.md", "One command");
    let [deploy, key, install] = &blocks[..] else { panic!("{blocks:?}") };
    assert!(deploy.contains("Identity=PodIdentity"), "{deploy}");
    shell.run(&deploy.replace("Identity=PodIdentity ClusterName=prod", "Identity=User")).await;
    let made = documents(&shell.run(key).await);
    named(&made, "Namespace", NAMESPACE);
    let secret = named(&made, "Secret", "s3-access-operator-aws");
    assert_eq!(secret["metadata"]["namespace"], NAMESPACE);
    let keys: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    let objects = documents(&shell.run(install).await);
    assert!(named(&objects, "S3AccessClass", "default")["spec"]["permissionsBoundaryArn"].is_string());
    let image =
        &named(&objects, "Deployment", "s3-access-operator")["spec"]["template"]["spec"]["containers"][0]["image"];
    assert!(text(image).starts_with("ghcr.io/s3-access-operator/s3-access-operator:"), "{image}");
}
