//! What values come to, and which are refused.

use ground::tools::Tool;

use crate::helm::{Helm, chart, run, variants};

#[tokio::test]
async fn helm_finds_nothing_to_say_about_the_chart() {
    let helm = Helm::new().await;
    let chart = chart().display().to_string();
    for (name, values) in variants() {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let said = helm.run(&[&["lint", "--strict", &chart], &values[..]].concat()).await;
        let said = said.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{name}: {said}");
        let complaints: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with('[') && *line != "[INFO] Chart.yaml: icon is recommended")
            .collect();
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
    }
}

/// The tests that lie in the chart, in deploy/chart/tests.
#[tokio::test]
async fn the_unit_tests_of_the_chart_pass() {
    let said = run(Tool::HelmUnittest, &["--strict", "deploy/chart"], "").await;
    let said = said.unwrap_or_else(|error| panic!("{error}"));
    let count = said.lines().find_map(|line| line.trim().strip_prefix("Tests:")).unwrap_or_else(|| panic!("{said}"));
    let passed: usize = count.split_whitespace().next().unwrap().parse().unwrap();
    assert!(passed >= 20 && count.contains(&format!("{passed} total")), "{count}");
}

/// Values that the schema refuses, and what the refusal names.
const REFUSED: &[(&str, &str)] = &[
    ("replica=1", "replica"),
    ("replicas=two", "replicas"),
    ("replicas=-1", "replicas"),
    ("image.tga=1", "tga"),
    ("image.digest=sha256:1", "digest"),
    ("image.pullPolicy=Sometimes", "pullPolicy"),
    ("aws.region=", "region"),
    ("aws.provider=minio", "provider"),
    ("aws.endpoints.iam=iam.example.com", "iam"),
    ("aws.path=k8s", "path"),
    ("operator.minRotationInterval=daily", "minRotationInterval"),
    ("aws.requestsPerSecond=0", "requestsPerSecond"),
    ("cluster.name=a-name-that-is-longer-than-twenty", "name"),
    ("watchNamespaces={Team_A}", "watchNamespaces"),
    ("defaultClass.spec.allowedBuckets=null", "allowedBuckets"),
    ("operator.resyncInterval=ten", "resyncInterval"),
    ("aws.credentials.rotateInterval=monthly", "rotateInterval"),
    ("operator.logFormat=xml", "logFormat"),
    ("operator.concurrency=0", "concurrency"),
    ("extraEnv[0].value=1", "name"),
    ("port=0", "port"),
    ("podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),
    ("metrics.prometheusRule.overrides.X.fro=1m", "fro"),
    ("userRoles.aggregateToEdit=yes please", "aggregateToEdit"),
    ("admissionPolicy.failurePolicy=Maybe", "failurePolicy"),
    ("dnsPolicy=Other", "dnsPolicy"),
    ("global.imageRegistry=https://mirror.example.com", "imageRegistry"),
    ("global.imageRegistry=mirror.example.com/", "imageRegistry"),
    ("global.imagePullSecrets[0]=mirror", "imagePullSecrets"),
    ("namespaceOverride=Elsewhere", "namespaceOverride"),
    ("commonAnnotations.owner=1", "commonAnnotations"),
    ("strategy.type=Sometimes", "strategy"),
    ("strategy.rollingUpdate.maxSurge=101%", "maxSurge"),
    ("strategy.maxSurge=1", "maxSurge"),
    ("livenessProbe.periodSeconds=0", "periodSeconds"),
    ("livenessProbe.path=/", "path"),
    ("readinessProbe.timeoutSeconds=1s", "timeoutSeconds"),
    ("startupProbe.failureThreshold=0", "failureThreshold"),
    ("lifecycle.preStart.sleep.seconds=1", "preStart"),
    ("initContainers[0].name=wait", "image"),
    ("extraContainers[0].image=proxy", "name"),
    ("extraVolumes[0].emptyDir.medium=Memory", "name"),
    ("extraVolumeMounts[0].name=ca,extraVolumeMounts[0].mountPath=etc", "mountPath"),
    ("runtimeClassName=g_visor", "runtimeClassName"),
    ("schedulerName=-", "schedulerName"),
    ("serviceAccount.automountServiceAccountToken=maybe", "automountServiceAccountToken"),
    ("automountServiceAccountToken=maybe", "automountServiceAccountToken"),
    ("metrics.service.ipFamilies={IPv5}", "ipFamilies"),
    ("metrics.service.ipFamilyPolicy=DualStack", "ipFamilyPolicy"),
    ("listenAddress=localhost", "listenAddress"),
    ("leaderElection.leaseDuration=1m", "leaseDuration"),
    ("metrics.secure=true", "secure"),
    ("metrics.secure.port=https", "port"),
    ("metrics.secure.existingSecret=../tls", "existingSecret"),
    ("metrics.serviceMonitor.authorization.token=secret", "authorization"),
    ("metrics.serviceMonitor.authorization.credentials.name=prometheus", "key"),
    ("leaderElection.renewBefore=0s", "renewBefore"),
];

#[tokio::test]
async fn values_that_mean_nothing_are_refused_by_name() {
    let helm = Helm::new().await;
    for (set, named) in REFUSED {
        let refused = helm.template(&["--set", set]).await.expect_err(set);
        assert!(refused.contains("values don't meet the specifications of the schema"), "{set}: {refused}");
        assert!(refused.contains(named), "{set}: {refused}");
    }
}

#[tokio::test]
async fn values_that_do_not_go_together_are_refused_with_the_way_out() {
    let helm = Helm::new().await;
    let cases = [
        ("aws.credentials.rotate=true", "needs aws.credentials.existingSecret"),
        (
            "aws.credentials.rotate=true,aws.credentials.existingSecret=own,aws.provider=s3-compatible,aws.endpoints.all=http://s3",
            "needs aws.provider: aws",
        ),
        ("aws.provider=s3-compatible,aws.endpoints.s3=http://s3", "needs aws.endpoints.iam"),
        ("serviceAccount.create=false", "needs serviceAccount.name"),
        ("classes.enabled=false", "set requireClass to false"),
        ("leaderElection.enabled=false", "needs leaderElection.enabled"),
        ("leaderElection.enabled=false,replicas=1,strategy.type=RollingUpdate", "only Recreate"),
        ("leaderElection.leaseDuration=4s", "from 5s to 300s"),
        ("leaderElection.renewBefore=14s", "two seconds less than leaderElection.leaseDuration"),
        ("strategy.type=Recreate,strategy.rollingUpdate.maxSurge=1", "needs strategy.type: RollingUpdate"),
        ("extraContainers[0].name=operator,extraContainers[0].image=proxy", "the name operator is the operator's own"),
        (
            "automountServiceAccountToken=false,extraVolumes[0].name=kube-api-access",
            "the name kube-api-access is the chart's own",
        ),
        ("metrics.secure.enabled=true,port=8443", "needs another value than port"),
        ("metrics.service.ipFamilies={IPv6}", "needs listenAddress"),
        ("metrics.serviceMonitor.enabled=true,metrics.service.enabled=false", "needs metrics.service.enabled"),
        ("metrics.prometheusRule.disabled={S3AccessNoSuchAlert}", "S3AccessNoSuchAlert"),
        ("metrics.prometheusRule.overrides.S3AccessNoSuchAlert.for=1m", "S3AccessNoSuchAlert"),
    ];
    for (set, says) in cases {
        let refused =
            helm.template(&["--set", "metrics.prometheusRule.enabled=true", "--set", set]).await.expect_err(set);
        assert!(refused.contains(says), "{set}: {refused}");
    }
}

/// Every key of values.yaml is in the schema, and the other way round; both are strict all the way down.
#[test]
fn the_schema_knows_the_values_and_no_others() {
    let schema: serde_json::Value =
        serde_json::from_str(&crate::helm::read("deploy/chart/values.schema.json")).unwrap();
    let values = &crate::helm::documents(&crate::helm::read("deploy/chart/values.yaml"))[0];
    compare(&schema, values, "");
}

fn compare(schema: &serde_json::Value, values: &serde_json::Value, at: &str) {
    let Some(properties) = schema["properties"].as_object() else { return };
    // Kubernetes' own, or a class's, whose schema the CRD has.
    if schema["additionalProperties"] != false {
        return;
    }
    // One that is empty is Kubernetes' own, too, with some names that are known.
    let Some(values) = values.as_object().filter(|values| !values.is_empty()) else { return };
    for (name, value) in values {
        let property = properties.get(name).unwrap_or_else(|| panic!("the schema lacks {at}{name}"));
        compare(property, value, &format!("{at}{name}."));
    }
    for name in properties.keys().filter(|name| !["global", "claims"].contains(&name.as_str())) {
        assert!(values.contains_key(name), "values.yaml lacks {at}{name}");
    }
}
