//! What each access level allows, by use: every operation, tried with the key that the operator made.

mod document;
mod gaps;
mod table;

use std::collections::BTreeMap;

use ground::double::{Access, Account, Caller, Context, Credentials, Request, Response, Settings, World};
use s3_access_operator::api::{AccessGrant, AccessLevel, S3AccessUserSpec};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::{iam, policy};
use serde_json::{Value, json};

use crate::consumer::python;
use crate::rotation::Compatible;
use crate::scene::Scene;
use gaps::Gap;
use table::{LEVELS, On, PREFIX, ROWS, Row};

/// The administrator's name among the subjects.
const ADMIN: &str = "admin";

/// A level, without prefixes or with them, in the order of the answers.
fn columns() -> impl Iterator<Item = (AccessLevel, &'static [&'static str])> {
    LEVELS.into_iter().flat_map(|level| [(level, &[][..]), (level, &[PREFIX][..])])
}

fn name(level: AccessLevel, prefixes: &[&str]) -> String {
    let scope = if prefixes.is_empty() { "whole" } else { "prefix" };
    format!("{level:?}-{scope}").to_lowercase()
}

/// The marks of a row, one for each column.
fn marks(answers: &str) -> String {
    answers.replace(' ', "")
}

/// What a server answered, by row: a mark for each column, and one for the administrator.
type Answers = BTreeMap<&'static str, String>;

/// Makes an S3AccessUser for each column and tries all rows with its key.
async fn tried(scene: &Scene, endpoint: &str, policy: &str) -> Answers {
    let bucket = |name: &str| format!("{}-{name}", scene.namespace);
    for (level, prefixes) in columns() {
        let name = name(level, prefixes);
        let grant = json!({ "bucket": bucket(&name), "level": level, "prefixes": prefixes });
        scene.create(&name, json!({ "access": [grant], "policy": { "type": policy } })).await;
    }
    let mut subjects = Vec::new();
    for (level, prefixes) in columns() {
        let name = name(level, prefixes);
        scene.ready(&name).await;
        let secret = scene.secret(&format!("{name}-s3")).await;
        subjects.push(json!({ "name": name, "bucket": bucket(&name), "secret": secret }));
    }
    let admin = scene.stand.aws.env();
    subjects.push(json!({ "name": ADMIN, "bucket": bucket(ADMIN), "secret": admin }));
    let operations: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    let task = json!({
        "endpoint": endpoint, "region": scene.stand.aws.partition.region(), "other": bucket("other"),
        "admin": admin, "subjects": subjects, "operations": operations,
    });
    let answers: Value = serde_json::from_str(&python(&scene.stand, "s3_levels.py", &task).await).unwrap();
    let mark = |subject: &str, row: &Row| match answers[subject][row.name].as_str().unwrap() {
        "allowed" => 'y',
        "denied" => 'n',
        other => {
            println!("{}: {subject}: {}: {other}", scene.namespace, row.name);
            '!'
        }
    };
    ROWS.iter()
        .map(|row| {
            let marks = columns().map(|(level, prefixes)| mark(&name(level, prefixes), row));
            (row.name, marks.chain([mark(ADMIN, row)]).collect())
        })
        .collect()
}

/// Holds the answers against the table and the gaps; the number of marks that are as in the table.
fn judge(answers: &Answers, gaps: &[Gap]) -> usize {
    let mut known = BTreeMap::new();
    for (row, found) in gaps.iter().flat_map(|gap| gap.rows) {
        assert!(known.insert(*row, marks(found)).is_none(), "{row} stands twice among the gaps");
    }
    let (mut agreed, mut wrong) = (0, Vec::new());
    for row in ROWS {
        // Who may do everything shows that a denial is one, and not a mistake of the attempt.
        let wanted = marks(row.answers) + "y";
        let expected = known.remove(row.name).unwrap_or_else(|| wanted.clone());
        let found = &answers[row.name];
        if *found != expected {
            wrong.push(format!("{}: {found}, not {expected}", row.name));
        }
        let same = found.chars().zip(wanted.chars()).filter(|(found, wanted)| found == wanted).count();
        if same == wanted.len() && expected != wanted {
            wrong.push(format!("{}: the gap has closed", row.name));
        }
        agreed += same;
    }
    assert!(known.is_empty(), "gaps without a row: {known:?}");
    assert!(wrong.is_empty(), "other answers than in the table and the list of gaps:\n{}", wrong.join("\n"));
    agreed
}

#[tokio::test]
async fn each_level_allows_on_moto_what_the_table_says() {
    let scene = Scene::new("levels-moto").await;
    let endpoint = scene.stand.aws.endpoint.clone();
    let answers = tried(&scene, &endpoint, "Managed").await;
    assert_eq!(judge(&answers, gaps::OF_MOTO), 448, "marks as in the table, of {}", 9 * ROWS.len());
}

#[tokio::test]
async fn each_level_allows_on_versitygw_what_the_table_says() {
    let Compatible { scene, server, _folder } = Compatible::new("levels-gw").await;
    let answers = tried(&scene, server.s3(), "Inline").await;
    assert_eq!(judge(&answers, gaps::OF_VERSITYGW), 458, "marks as in the table, of {}", 9 * ROWS.len());
}

/// The spec of a column, on a bucket of that name.
fn spec(level: AccessLevel, prefixes: &[&str], bucket: &str) -> S3AccessUserSpec {
    let prefixes = prefixes.iter().map(ToString::to_string).collect();
    let grant = AccessGrant { bucket: bucket.to_owned(), prefixes, level, kms_key_arns: Vec::new() };
    S3AccessUserSpec { access: vec![grant], ..S3AccessUserSpec::default() }
}

/// The double decides as IAM documents it, and has no gaps: whatever the servers above leave out is held here against
/// the actions, resources and condition keys of AWS.
#[test]
fn each_level_allows_by_iams_rules_what_the_table_says() {
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut cells = 0;
    for (column, (level, prefixes)) in columns().enumerate() {
        let mut world = World::new(account.clone(), Settings::default());
        let mut call = |request: Request| world.call(now, Caller::root(&account.id), &request).result.unwrap();
        let by = iam::Account { id: account.id.clone(), partition: account.partition.clone() };
        let document = policy::compile(
            &spec(level, prefixes, "team-a"),
            &by,
            &Class::none(),
            &s3_access_operator::core::policy::Terms::default(),
        )
        .unwrap()
        .0
        .unwrap();
        let (user_name, policy_name) = ("reports".to_owned(), "reports".to_owned());
        call(Request::CreateUser {
            user_name: user_name.clone(),
            path: None,
            tags: Vec::new(),
            permissions_boundary: None,
        });
        call(Request::PutUserPolicy { user_name: user_name.clone(), policy_name, policy_document: document.text() });
        let Response::NewAccessKey(made) = call(Request::CreateAccessKey { user_name }) else { panic!("no key") };
        let key = Credentials { access_key_id: made.key.id, secret_access_key: made.key.secret, session_token: None };
        for row in ROWS {
            let allowed = row.needs.iter().all(|(action, on)| {
                let (resource, context) = asked(*on);
                world.authorize(now, &key, action, &resource, &context) == Access::Allowed
            });
            let wanted = marks(row.answers).as_bytes()[column] == b'y';
            assert_eq!(allowed, wanted, "{level:?} {prefixes:?}: {}", row.name);
            cells += 1;
        }
    }
    assert_eq!(cells, 8 * ROWS.len());
}

/// The resource and the condition keys that S3 gives to IAM.
fn asked(on: On) -> (String, Context) {
    let resource = match on {
        On::Account => "*",
        On::Bucket | On::Listing(_) => "arn:aws:s3:::team-a",
        On::Inside => "arn:aws:s3:::team-a/2026/report.txt",
        On::Outside => "arn:aws:s3:::team-a/private/report.txt",
        On::OtherBucket => "arn:aws:s3:::other",
        On::OtherObject => "arn:aws:s3:::other/2026/report.txt",
        On::NewBucket => "arn:aws:s3:::team-a-new",
    };
    let context = match on {
        On::Listing(prefix) => Context::new().with("s3:prefix", prefix),
        _ => Context::new(),
    };
    (resource.to_owned(), context)
}
