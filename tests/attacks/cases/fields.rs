//! The other fields of a spec, each tried for more than the class gives.

use serde_json::{Value, json};

use crate::judge::tenant;

fn identity() -> Vec<(&'static str, Value)> {
    let boundary = |arn: &str| json!({ "permissionsBoundaryArn": arn });
    vec![
        ("the preset, on every bucket", json!({ "policy": { "preset": "ReadWriteNoDelete" } })),
        ("the preset, inline", json!({ "policy": { "preset": "ReadWriteNoDelete", "type": "Inline" } })),
        ("no boundary", boundary("arn:aws:iam::aws:policy/AdministratorAccess")),
        ("another boundary", boundary("arn:aws:iam::123456789012:policy/tenants2")),
        ("the boundary by case", boundary("arn:aws:iam::123456789012:policy/Tenants")),
        ("a boundary that does not exist", boundary("arn:aws:iam::123456789012:policy/nowhere")),
        ("a boundary that is a role", boundary("arn:aws:iam::123456789012:role/tenants")),
        ("a boundary in another partition", boundary("arn:aws-cn:iam::123456789012:policy/tenants")),
        ("another's policy name", json!({ "policy": { "name": "team-b-reports" } })),
        ("a policy name with a path", json!({ "policy": { "name": "../team-b" } })),
        ("the operator's policy", json!({ "policy": { "name": "s3-access-operator" } })),
        ("the boundary's name", json!({ "policy": { "name": "tenants" } })),
        ("a shared policy's name", json!({ "policy": { "name": "shared-x", "type": "Managed" } })),
        ("an inline policy of another's name", json!({ "policy": { "name": "team-b", "type": "Inline" } })),
        ("adoption of anybody", json!({ "adoption": "Force" })),
        ("adoption by case", json!({ "adoption": "force" })),
        ("adoption as a truth", json!({ "adoption": true })),
        ("what was made is kept for ever", json!({ "deletionPolicy": "Retain" })),
        ("kept, as a list", json!({ "deletionPolicy": ["Retain"] })),
        ("a class that is none", json!({ "className": { "name": "tenants" } })),
    ]
}

fn durations() -> Vec<(String, Value)> {
    let rotation = |rotation: Value| json!({ "accessKey": { "rotation": rotation } });
    let mut cases = vec![
        ("a key for ever".to_owned(), rotation(json!({ "interval": "87600h" }))),
        ("an overlap for ever".to_owned(), rotation(json!({ "interval": "2160h", "overlap": "87600h" }))),
        ("an overlap as long as the interval".to_owned(), rotation(json!({ "interval": "720h", "overlap": "720h" }))),
        (
            "an overlap beyond counting".to_owned(),
            rotation(json!({ "interval": "720h", "overlap": "99999999999999999999h" })),
        ),
        ("an interval that is a number".to_owned(), rotation(json!({ "interval": 3600 }))),
        ("no interval".to_owned(), rotation(json!({ "overlap": "1h" }))),
        ("a rotation each second".to_owned(), rotation(json!({ "interval": "1s", "overlap": "0s" }))),
        ("a rotation each millisecond".to_owned(), rotation(json!({ "interval": "1ms", "overlap": "0s" }))),
        ("a rotation just below the least".to_owned(), rotation(json!({ "interval": "59m59s", "overlap": "0s" }))),
    ];
    for text in [
        "2562047h",
        "99999999999999999999h",
        "9223372036854775807s",
        "9223372036854775808ms",
        "18446744073709551616s",
        "0s",
        "0h0m0s",
        "0.0000000001s",
        "-1h",
        "-720h",
        "",
        " ",
        "daily",
        "1",
        "h",
        "1d",
        "720h ",
        "1e9h",
        "0x1h",
        "NaNs",
        "infs",
        "１h",
        "720H",
        "1h\u{0}",
        "720h\n",
        "1..5h",
        "+720h",
    ] {
        cases.push((format!("interval {text:?}"), rotation(json!({ "interval": text, "overlap": "0s" }))));
    }
    cases.extend(windows().map(|(interval, window)| {
        let fields = json!({ "interval": interval, "overlap": "1h", "window": window });
        (format!("window {:?}", window.chars().take(40).collect::<String>()), rotation(fields))
    }));
    let long = "1h".repeat(100_000);
    cases.push(("an interval as long as a book".to_owned(), rotation(json!({ "interval": long }))));
    cases.push((
        "an interval of digits".to_owned(),
        rotation(json!({ "interval": format!("{}h", "9".repeat(100_000)) })),
    ));
    cases
}

/// Hours that would keep a key from ever being replaced, or cost much to be read.
fn windows() -> impl Iterator<Item = (&'static str, String)> {
    let texts = [
        "Sun 00:00-01:00 UTC",
        "Sun 02:00-03:00 Europe/Berlin",
        "Mon-Mon 09:00-10:00 Pacific/Apia",
        "Mon 09:00-09:00 UTC",
        "Mon 09:00-08:59 UTC",
        "Mon 24:00-24:00 UTC",
        "Mon 99:99-99:99 UTC",
        "Mon 09:00-16:00 Etc/Unknown",
        "Mon 09:00-16:00 ../../etc/passwd",
        "Mon 09:00-16:00 /etc/localtime",
        "Mon 09:00-16:00 UTC+99999999999",
        "-Mon 09:00-16:00 UTC",
        "Mon, 09:00-16:00 UTC",
        "Mon-Tue-Wed 09:00-16:00 UTC",
        "0 0 31 2 *",
        "",
        "Ｍon 09:00-16:00 UTC",
        "Mon 0９:00-16:00 UTC",
        "Mon\t09:00-16:00\nUTC",
        "Mon 09:00-16:00 UTC\u{0}",
    ];
    let long = ["Mon,".repeat(100_000), format!("Mon 09:00-16:00 {}", "x".repeat(1_000_000))];
    let each = texts.into_iter().map(str::to_owned).chain(long);
    each.flat_map(|text| ["2h", "100h", "87600h"].map(|interval| (interval, text.clone())))
}

fn grants() -> Vec<(&'static str, Value)> {
    let grant = |extra: Value| {
        let mut grant = json!({ "bucket": "team-a.data", "level": "ReadOnly" });
        extra.as_object().unwrap().iter().for_each(|(key, value)| grant[key] = value.clone());
        json!({ "access": [grant] })
    };
    vec![
        ("a level that there is not", grant(json!({ "level": "Root" }))),
        ("a level by case", grant(json!({ "level": "admin" }))),
        ("two levels", grant(json!({ "level": ["ReadOnly", "Admin"] }))),
        ("a level that is a number", grant(json!({ "level": 3 }))),
        ("a bucket that is a list", grant(json!({ "bucket": ["team-a.data", "team-b.data"] }))),
        ("a bucket that is a number", grant(json!({ "bucket": 1 }))),
        ("a bucket of nothing", grant(json!({ "bucket": null }))),
        ("prefixes that are a text", grant(json!({ "prefixes": "in/" }))),
        ("a prefix of a megabyte", grant(json!({ "prefixes": ["x".repeat(1_000_000)] }))),
        ("a thousand prefixes", grant(json!({ "prefixes": (0..1_000).map(|n| format!("{n}/")).collect::<Vec<_>>() }))),
        ("a bucket of a megabyte", grant(json!({ "bucket": format!("team-a.{}", "x".repeat(1_000_000)) }))),
        (
            "a thousand buckets",
            json!({ "access": (0..1_000).map(|n| json!({ "bucket": format!("team-a.{n}"), "level": "Admin" })).collect::<Vec<_>>() }),
        ),
        (
            "a second bucket of a stranger",
            json!({ "access": [
            { "bucket": "team-a.data", "level": "ReadOnly" }, { "bucket": "team-b.data", "level": "ReadOnly" },
        ] }),
        ),
        ("access that is an object", json!({ "access": { "bucket": "team-a.data", "level": "Admin" } })),
        ("access that is a text", json!({ "access": "everything" })),
    ]
}

fn secret(fields: Value) -> Value {
    json!({ "secret": fields })
}

/// What other controllers act upon.
fn secrets() -> Vec<(String, Value)> {
    let mut cases = Vec::new();
    for name in [
        "sh.helm.release.v1.myapp.v99",
        "sh.helm.release.v1.x",
        "default-token",
        "Team-a",
        "../x",
        "a/b",
        "",
        "team-b-s3",
        "istio-ca-secret",
        "x\u{0}",
        "registry",
        "te\u{430}m-a-x",
    ] {
        cases.push((format!("a Secret named {name:?}"), secret(json!({ "name": name }))));
    }
    cases.push(("a Secret of a name that is too long".to_owned(), secret(json!({ "name": "team-a-".repeat(1_000) }))));
    for label in [
        "owner",
        "status",
        "grafana_datasource",
        "grafana_dashboard",
        "argocd.argoproj.io/secret-type",
        "app.kubernetes.io/managed-by",
        "kubernetes.io/service-account.name",
        "sealedsecrets.bitnami.com/sealed-secrets-key",
        "clusterctl.cluster.x-k8s.io/move",
        "Grafana_datasource",
        "velero.io/backup-name",
        "bad key!",
        "",
        "a/b/c",
        "-x",
        "s3access.dev/x",
        "xlabel",
    ] {
        cases.push((format!("a label {label:?}"), secret(json!({ "labels": { label: "1" } }))));
    }
    for (what, value) in [
        ("a space", "x y".to_owned()),
        ("a line's end", "x\n".to_owned()),
        ("64 letters", "x".repeat(64)),
        ("a look-alike", "\u{430}".to_owned()),
    ] {
        cases.push((format!("a label's value with {what}"), secret(json!({ "labels": { "label-1": value } }))));
    }
    for annotation in [
        "replicator.v1.mittwald.de/replicate-to",
        "reflector.v1.k8s.emberstack.com/reflection-auto-enabled",
        "reflector.v1.k8s.emberstack.com/reflection-allowed",
        "kubed.appscode.com/sync",
        "meta.helm.sh/release-name",
        "kubectl.kubernetes.io/last-applied-configuration",
        "s3access.dev/access-key-id",
        "S3ACCESS.dev/account-id",
        "argocd.argoproj.io/sync-options",
        "helm.sh/resource-policy",
        "bad key!",
        "",
        "xnote",
    ] {
        cases.push((format!("an annotation {annotation:?}"), secret(json!({ "annotations": { annotation: "1" } }))));
    }
    let many = |prefix: &str, count: usize| {
        (0..count).map(|n| (format!("{prefix}-{n}"), json!("x"))).collect::<serde_json::Map<_, _>>()
    };
    cases.extend([
        ("annotations of a megabyte".to_owned(), secret(json!({ "annotations": { "note-1": "x".repeat(1_000_000) } }))),
        ("a thousand labels".to_owned(), secret(json!({ "labels": many("label", 1_000) }))),
        ("a thousand annotations".to_owned(), secret(json!({ "annotations": many("note", 1_000) }))),
        ("a thousand renamed keys".to_owned(), secret(json!({ "keys": many("AWS", 1_000) }))),
        ("a format that there is not".to_owned(), secret(json!({ "format": "helm" }))),
        ("a Secret's type".to_owned(), secret(json!({ "name": 1, "type": "kubernetes.io/service-account-token" }))),
        ("a key with a slash".to_owned(), secret(json!({ "keys": { "AWS_ACCESS_KEY_ID": "../id" } }))),
        ("a key that climbs".to_owned(), secret(json!({ "keys": { "AWS_ACCESS_KEY_ID": ".." } }))),
        (
            "a key that is hidden behind another".to_owned(),
            secret(json!({ "keys": { "AWS_ACCESS_KEY_ID": "credentials" } })),
        ),
        ("a key with a line's end".to_owned(), secret(json!({ "keys": { "AWS_ACCESS_KEY_ID": "a\nb" } }))),
        ("a key that is empty".to_owned(), secret(json!({ "keys": { "AWS_ACCESS_KEY_ID": "" } }))),
    ]);
    cases
}

/// Templates that cost, or that show more than credentials.
fn templates() -> Vec<(&'static str, String)> {
    let held = "{{ secret_access_key }}";
    let tag = |inner: &str| format!("{held}{inner}");
    vec![
        ("minuses", tag(&format!("{{{{ {}1 }}}}", "-".repeat(8_000)))),
        ("nots", tag(&format!("{{{{ {}true }}}}", "not ".repeat(4_000)))),
        ("sums", tag(&format!("{{{{ {}1 }}}}", "1+".repeat(8_000)))),
        ("products", tag(&format!("{{{{ {}1 }}}}", "2*".repeat(8_000)))),
        ("powers", tag(&format!("{{{{ {}2 }}}}", "2**".repeat(5_000)))),
        ("ands", tag(&format!("{{{{ {}1 }}}}", "1 and ".repeat(2_500)))),
        ("comparisons", tag(&format!("{{{{ {}1 }}}}", "1 < ".repeat(4_000)))),
        ("conditions in an expression", tag(&format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(1_300)))),
        ("parentheses", tag(&format!("{{{{ {}1{} }}}}", "(".repeat(8_000), ")".repeat(8_000)))),
        ("lists in lists", tag(&format!("{{{{ {}{} }}}}", "[".repeat(8_000), "]".repeat(8_000)))),
        ("maps in maps", tag(&format!("{{{{ {}1{} }}}}", "{1:".repeat(4_000), "}".repeat(4_000)))),
        ("filters upon filters", tag(&format!("{{{{ region{} }}}}", "|upper".repeat(2_600)))),
        ("filters that replace", tag(&format!("{{{{ region{} }}}}", "|replace('u','uu')".repeat(40)))),
        ("attributes upon attributes", tag(&format!("{{{{ region{} }}}}", ".x".repeat(8_000)))),
        ("indexes upon indexes", tag(&format!("{{{{ region{} }}}}", "[0]".repeat(5_000)))),
        ("calls upon calls", tag(&format!("{{{{ region{} }}}}", "()".repeat(8_000)))),
        ("texts joined", tag(&format!("{{{{ {}region }}}}", "region~".repeat(2_000)))),
        ("ifs in ifs", tag(&format!("{}{}", "{% if 1 %}".repeat(900), "{% endif %}".repeat(900)))),
        ("loops in loops", tag(&format!("{}x{}", "{% for b in buckets %}".repeat(400), "{% endfor %}".repeat(400)))),
        ("elifs", tag(&format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(1_200)))),
        ("a range", tag("{{ range(100000) }}")),
        (
            "a range that is doubled",
            tag(
                "{% set ns=namespace(a=range(100000)) %}{% for i in range(14) %}{% set ns.a=ns.a+ns.a %}{% endfor %}{{ ns.a }}",
            ),
        ),
        ("a range in ranges", tag("{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}")),
        (
            "a text that is doubled",
            tag(
                "{% set ns=namespace(a='xxxxxxxxxxxxxxxx') %}{% for i in range(40) %}{% set ns.a=ns.a~ns.a %}{% endfor %}{{ ns.a }}",
            ),
        ),
        ("a text times a million", tag("{{ 'x' * 100000000 }}")),
        ("an indentation of a gigabyte", tag("{{ region | indent(1000000000) }}")),
        ("an indentation below nothing", tag("{{ region | indent(-1) }}")),
        ("a width of a gigabyte", tag("{{ '%1000000000d' | format(1) }}")),
        ("a centre of a gigabyte", tag("{{ region | center(1000000000) }}")),
        ("batches", tag("{{ range(100000) | batch(1) | list }}")),
        ("a macro that calls itself", tag("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")),
        ("a recursive loop", tag("{% for b in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}")),
        ("an include", tag("{% include '/etc/passwd' %}")),
        ("an import", tag("{% import 'x' as x %}")),
        ("an extension", tag("{% extends 'x' %}")),
        ("all that there is", tag("{{ debug() }}")),
        ("what there is, in JSON", tag("{{ self | tojson }}")),
        ("an environment", tag("{{ env('AWS_SECRET_ACCESS_KEY') }}")),
        ("a stranger's name", tag("{{ operator }}")),
        ("the insides of an object", tag("{{ ''.__class__.__mro__ }}")),
        ("a tag that has no end", tag("{{ region")),
        ("a tag in a tag", tag("{{ {{ region }} }}")),
        ("a number without end", tag(&format!("{{{{ {} }}}}", "9".repeat(16_000)))),
        ("a name without end", tag(&format!("{{{{ {} }}}}", "a".repeat(16_000)))),
        ("nothing of the key", "{{ access_key_id }}".to_owned()),
        ("the key with a filter", "{{ secret_access_key | upper }}".to_owned()),
        ("the key reversed", "{{ secret_access_key | reverse }}".to_owned()),
        ("a template of a megabyte", tag(&"x".repeat(1_000_000))),
        ("a template of braces", tag(&"{".repeat(16_000))),
        ("comments without end", tag(&"{#".repeat(8_000))),
        ("a raw block without end", tag("{% raw %}{{ region }}")),
    ]
}

pub fn all() -> Vec<(String, Value)> {
    let named = |cases: Vec<(&'static str, Value)>| cases.into_iter().map(|(what, spec)| (what.to_owned(), spec));
    let mut cases: Vec<(String, Value)> =
        named(identity()).chain(durations()).chain(named(grants())).chain(secrets()).collect();
    cases.extend(templates().into_iter().map(|(what, text)| {
        (format!("a template of {what}"), secret(json!({ "format": "template", "template": { "a": text } })))
    }));
    let many: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("k{n}"), json!("{{ secret_access_key }}"))).collect();
    cases.push(("a thousand templates".to_owned(), secret(json!({ "format": "template", "template": many }))));
    let workloads: Vec<_> = (0..1_000).map(|n| json!({ "kind": "Deployment", "name": format!("n{n}") })).collect();
    cases.push(("a thousand restarts".to_owned(), secret(json!({ "rolloutRestart": workloads }))));
    let tags: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("cost-{n}"), json!("x"))).collect();
    cases.push(("a thousand tags".to_owned(), json!({ "tags": tags })));
    cases.push(("a tag of a megabyte".to_owned(), json!({ "tags": { "cost-x": "x".repeat(1_000_000) } })));
    cases.into_iter().map(|(what, fields)| (what, tenant(fields))).collect()
}
