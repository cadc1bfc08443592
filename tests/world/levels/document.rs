//! `deploy/docs/access-levels.md`, made from the table.

use std::fmt::Write as _;
use std::fs;

use ground::repository;
use kube::CustomResourceExt;
use s3_access_operator::api::{AccessGrant, AccessLevel, S3AccessUser, S3AccessUserSpec};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::policy::{self, INLINE_LIMIT, MANAGED_LIMIT};

use super::gaps::{Gap, OF_MOTO, OF_VERSITYGW};
use super::table::{LEVELS, PREFIX, ROWS, Row};

const FILE: &str = "deploy/docs/access-levels.md";
/// Set to anything, it has the test write the file.
const UPDATE: &str = "UPDATE_DOCS";
const ACCOUNT: &str = "123456789012";

const HEAD: &str = "\
# Access levels

<!-- Made from the tests' table: UPDATE_DOCS=1 cargo test --test world the_page_of_the_access_levels -->

What a grant of `spec.access` allows. Each cell is tried: with the key that the operator made, by a standard AWS client, on
the servers of the last column; and all of them, by IAM's rules, on the strict double. **yes**: allowed. **whole bucket**:
allowed by a grant without `prefixes`, denied by one with them. **no**: denied.

";

const TRAPS: &str = "
What follows from it:

- With `prefixes`, **HeadBucket is denied**, and so is a list without a prefix: S3 asks for `s3:ListBucket` in both cases, and
  nothing in the request tells them apart. `WriteOnly` may not list at all. Clients that look whether the bucket is there
  must be told not to (rclone: `no_check_bucket`).
- With `prefixes`, a HEAD or GET of an object that is not there is answered with 403 instead of 404: S3 says \"not found\"
  only to those who may list the whole bucket.
- `ListMultipartUploads` is for whole buckets, since S3 does not tell IAM the prefix that was asked for. To clear away
  uploads that were given up, set a lifecycle rule on the bucket.
- `WriteOnly` may overwrite: S3 has no action for \"put, but do not replace\".
- Copying an object that has tags takes `s3:GetObjectTagging` and `s3:PutObjectTagging`, which only `Admin` has.
- No level may put a bucket policy, an ACL (of the bucket or of an object), ownership controls, a public access block, a
  website or a replication, create or delete a bucket. Who needs one of them writes it into `spec.policy.statements`.

## One bucket, several entries

A bucket may stand more than once, and what each entry allows is allowed: to read a whole bucket and write below one prefix of
it, write both. In the Secret it stands once.

```yaml
access:
  - bucket: team-a-reports
    level: ReadOnly
  - bucket: team-a-reports
    prefixes: [\"out/\"]
    level: ReadWrite
```

## Objects under a KMS key

Where objects are encrypted with a KMS key (SSE-KMS), S3 asks KMS for the key in the user's name. `kmsKeyArns` of a grant names
the keys, at most eight:

| | `ReadOnly` | `WriteOnly` | `ReadWrite` | `Admin` |
|---|---|---|---|---|
| `kms:Decrypt` | yes | yes | yes | yes |
| `kms:GenerateDataKey` | no | yes | yes | yes |

- `WriteOnly` decrypts, too: S3 reads the parts of a multipart upload again when it puts them together.
- Only through S3: the condition `kms:ViaService` keeps the key from every other use.
- An alias is refused, since IAM allows a key by its own ARN only: `aws kms describe-key --key-id alias/data` tells it. A
  replica of a multi-Region key (`key/mrk-…`) has an ARN for each Region.
- A class allows keys by `allowedKmsKeyArns`; without it, none. With `accountId` the key has to be of that account or of one of
  `allowedResourceAccounts`, like the buckets.
- The key's own policy has to let IAM decide, as the default one does; for a key of another account it has to name the user's
  account.
- An S3-compatible system has none: `kmsKeyArns` is refused there.

## Where a server answers otherwise

The table is what AWS documents. The servers of the tests do as it says, but for this:

";

const SIZES: &str = "
## How many buckets fit

All grants of an S3AccessUser become one policy. Grants of the same level share statements, and so do grants of the same
prefixes. A spec that is over the limit is refused with reason `PolicyTooLarge` and both numbers.

";

/// What a reader sees of two marks.
fn cell(marks: &str) -> &'static str {
    match marks {
        "yy" => "yes",
        "yn" => "whole bucket",
        "nn" => "no",
        other => panic!("a prefix allows what the whole bucket does not: {other}"),
    }
}

fn actions(row: &Row) -> String {
    let mut actions: Vec<String> = row.needs.iter().map(|(action, _)| format!("`{action}`")).collect();
    actions.dedup();
    actions.join(", ")
}

fn has_gap(gaps: &[Gap], row: &Row) -> bool {
    gaps.iter().flat_map(|gap| gap.rows).any(|(name, _)| *name == row.name)
}

const SERVERS: [(&str, &[Gap]); 2] = [("moto", OF_MOTO), ("versitygw", OF_VERSITYGW)];

fn tried_on(row: &Row) -> String {
    let names: Vec<&str> = SERVERS.iter().filter(|(_, gaps)| !has_gap(gaps, row)).map(|(name, _)| *name).collect();
    if names.is_empty() { "–".to_owned() } else { names.join(", ") }
}

fn gaps(text: &mut String) {
    for (server, gaps) in SERVERS {
        for gap in gaps {
            let rows = gap.rows.iter().map(|(name, _)| ROWS.iter().find(|row| row.name == *name).unwrap().words);
            writeln!(text, "- {server}: {} ({})", gap.why, rows.collect::<Vec<_>>().join("; ")).unwrap();
        }
    }
}

/// The number of grants that the CRD takes.
fn most_grants() -> usize {
    let crd = serde_json::to_value(S3AccessUser::crd()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"]["access"]["maxItems"].as_u64().unwrap().try_into().unwrap()
}

/// Which prefixes the grants have, and how to say so.
type Scope = (&'static str, fn(usize) -> Vec<String>);

const SCOPES: [Scope; 3] = [
    ("", |_| Vec::new()),
    (", all with `prefixes: [\"2026/\"]`", |_| vec![PREFIX.to_owned()]),
    (", each with a prefix of its own, of five characters", |index| vec![format!("{index:04}/")]),
];

/// The number of buckets of that level with names of that length that fit into a policy, and into a spec.
fn fits(level: AccessLevel, prefixes: fn(usize) -> Vec<String>, length: usize, partition: &str, limit: usize) -> usize {
    let grant = |index| AccessGrant {
        bucket: format!("{index:0length$}"),
        prefixes: prefixes(index),
        level,
        kms_key_arns: Vec::new(),
    };
    let fits = |count: &usize| {
        let spec = S3AccessUserSpec { access: (0..*count).map(grant).collect(), ..S3AccessUserSpec::default() };
        let account = Account { id: ACCOUNT.to_owned(), partition: partition.to_owned() };
        let document =
            policy::compile(&spec, &account, &Class::none(), &s3_access_operator::core::policy::Terms::default())
                .unwrap()
                .0
                .unwrap();
        policy::check_size(&document, limit).is_ok()
    };
    (1..=most_grants()).take_while(fits).count()
}

fn sizes(text: &mut String) {
    let columns = [(MANAGED_LIMIT, 20), (MANAGED_LIMIT, 63), (INLINE_LIMIT, 20), (INLINE_LIMIT, 63)];
    let heads = columns.map(|(limit, length)| format!("{limit} characters, names of {length}"));
    writeln!(text, "| | {} |\n|---|---:|---:|---:|---:|", heads.join(" | ")).unwrap();
    let (mut lost, most) = (0, most_grants());
    for level in LEVELS {
        for (words, prefixes) in SCOPES {
            let count = |partition, (limit, length)| fits(level, prefixes, length, partition, limit);
            let counts = columns.map(|column| count("aws", column));
            let china = columns.map(|column| count("aws-cn", column));
            lost = counts.iter().zip(china).map(|(aws, china)| aws - china).fold(lost, usize::max);
            let counts = counts.map(|count| count.to_string());
            writeln!(text, "| `{level:?}`{words} | {} |", counts.join(" | ")).unwrap();
        }
    }
    writeln!(
        text,
        "\nA managed policy, which is the default, has {MANAGED_LIMIT} characters, all inline policies of a user together \
         {INLINE_LIMIT}.\nA spec has at most {most} grants. In China's partition, whose ARNs are longer, up to {lost} fewer fit."
    )
    .unwrap();
}

fn page() -> String {
    let mut text = HEAD.to_owned();
    let levels = LEVELS.map(|level| format!("`{level:?}`"));
    writeln!(
        text,
        "| Operation | S3 asks IAM for | {} | Tried on |\n|---|---|---|---|---|---|---|",
        levels.join(" | ")
    )
    .unwrap();
    for row in ROWS {
        let cells: Vec<&str> = row.answers.split(' ').map(cell).collect();
        writeln!(text, "| {} | {} | {} | {} |", row.words, actions(row), cells.join(" | "), tried_on(row)).unwrap();
    }
    text.push_str(TRAPS);
    gaps(&mut text);
    text.push_str(SIZES);
    sizes(&mut text);
    text
}

#[test]
fn the_page_of_the_access_levels_is_what_the_table_says() {
    let (path, page) = (repository().join(FILE), page());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "{FILE} is not what the table gives: run with {UPDATE}=1, and look at the difference");
}
