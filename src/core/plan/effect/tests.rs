#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;
use crate::api::{Reason, S3AccessUser};
use crate::core::class::Class;
use crate::core::iam::Account;
use crate::core::names::Cluster;
use crate::core::observed::{Place, PolicyVersion};
use crate::core::plan::WhyDelete;
use crate::core::policy::Document;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const ARN: &str = "arn:aws:iam::123456789012:policy/reports";

fn owner() -> Owner {
    let mut user = S3AccessUser::new("reports", crate::api::S3AccessUserSpec::default());
    (user.metadata.namespace, user.metadata.uid) = (Some("team-a".to_owned()), Some("uid".to_owned()));
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    Owner::of(&user, &account, &Cluster { id: "id".to_owned(), name: "prod".to_owned() }, &Class::none())
}

fn document(action: &str) -> Document {
    Document::new(vec![json!({ "Effect": "Allow", "Action": action, "Resource": "*" })])
}

fn minted(id: &str) -> Minted {
    Minted { id: id.to_owned(), created_at: NOW }
}

/// A user as CreateUser makes it, and what these actions leave of the picture.
fn after(actions: &[(Action, Effect)]) -> Observed {
    let mut observed = Observed::nothing();
    let made = Action::CreateUser { tags: BTreeMap::new(), boundary: None };
    let arn = "arn:aws:iam::123456789012:user/reports".to_owned();
    observed.record(&owner(), &made, &Effect::UserCreated(arn), NOW);
    for (action, effect) in actions {
        observed.record(&owner(), action, effect, NOW);
    }
    observed
}

fn done(actions: impl IntoIterator<Item = Action>) -> Observed {
    after(&actions.into_iter().map(|action| (action, Effect::Done)).collect::<Vec<_>>())
}

fn policy_of(observed: &Observed) -> &ManagedPolicy {
    match &observed.policies[ARN] {
        PolicyState::Present(policy) => policy,
        PolicyState::Missing | PolicyState::Deleted => panic!("no policy"),
    }
}

#[test]
fn what_is_recorded_of_a_user_is_what_a_read_would_show() {
    let tags = |value: &str| BTreeMap::from([("team".to_owned(), value.to_owned()), ("x".to_owned(), "y".to_owned())]);
    let user = |actions: Vec<Action>| done(actions).user().unwrap().clone();
    assert_eq!(user(vec![Action::TagUser(tags("a"))]).tags, tags("a"));
    let untagged = user(vec![Action::TagUser(tags("a")), Action::UntagUser(vec!["x".to_owned()])]);
    assert_eq!(untagged.tags.keys().collect::<Vec<_>>(), ["team"]);
    let moved = user(vec![Action::MoveUser { path: "/k8s/".to_owned() }]);
    assert_eq!((moved.path.as_str(), moved.arn.as_str()), ("/k8s/", "arn:aws:iam::123456789012:user/k8s/reports"));
    let bounded = || Action::PutBoundary(ARN.to_owned());
    assert_eq!(user(vec![bounded()]).boundary.as_deref(), Some(ARN));
    assert_eq!(user(vec![bounded(), Action::DeleteBoundary]).boundary, None);
    let attach = || Action::AttachPolicy(ARN.to_owned());
    assert!(user(vec![attach()]).attached.contains(ARN));
    assert!(user(vec![attach(), Action::DetachPolicy(ARN.to_owned())]).attached.is_empty());
    let put = || Action::PutInlinePolicy { name: "own".to_owned(), document: document("s3:GetObject") };
    assert_eq!(user(vec![put()]).inline["own"], document("s3:GetObject"));
    assert!(user(vec![put(), Action::DeleteInlinePolicy { name: "own".to_owned() }]).inline.is_empty());
    assert_eq!(done([Action::DeleteUser]).user, UserState::Deleted);
    let unknown = after(&[(Action::DeleteUser, Effect::NoSuchUser)]);
    assert_eq!(unknown.user, UserState::Missing, "a replica that knows nothing of the user proves nothing");
}

#[test]
fn what_is_recorded_of_a_policy_is_what_a_read_would_show() {
    let arn = || ARN.to_owned();
    let create = || Action::CreatePolicy { arn: arn(), document: document("s3:GetObject") };
    let made = done([create()]);
    assert_eq!(
        (&policy_of(&made).document, &policy_of(&made).tags),
        (&document("s3:GetObject"), &owner().identity.tags())
    );
    let tags = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    assert_eq!(policy_of(&done([create(), Action::TagPolicy { arn: arn(), tags }])).tags["team"], "a");
    let updated = done([create(), Action::CreatePolicyVersion { arn: arn(), document: document("s3:*") }]);
    assert_eq!(policy_of(&updated).document, document("s3:*"));
    assert_eq!(done([create(), Action::DeletePolicy { arn: arn() }]).policies[ARN], PolicyState::Deleted);
    let mut versions = made;
    let version = |id: &str| PolicyVersion { id: id.to_owned(), is_default: false, created_at: NOW };
    if let Some(PolicyState::Present(policy)) = versions.policies.get_mut(ARN) {
        policy.versions = vec![version("v1"), version("v2")];
    }
    let delete = Action::DeletePolicyVersion { arn: arn(), version: "v1".to_owned() };
    versions.record(&owner(), &delete, &Effect::Done, NOW);
    assert_eq!(policy_of(&versions).versions.iter().map(|version| version.id.as_str()).collect::<Vec<_>>(), ["v2"]);
}

#[test]
fn what_is_recorded_of_a_key_is_what_a_read_would_show() {
    let create = |id: &str| (Action::CreateAccessKey, Effect::KeyCreated(minted(id)));
    let status = |id: &str, active| (Action::SetKeyStatus { id: id.to_owned(), active }, Effect::Done);
    let made = after(&[create("A"), create("B"), status("B", false)]);
    let keys: Vec<_> = made.user().unwrap().keys.iter().map(|key| (key.id.as_str(), key.active)).collect();
    assert_eq!(keys, [("A", true), ("B", false)]);
    assert_eq!(made.minted, Some(minted("B")));
    let delete = |id: &str| (Action::DeleteKey { id: id.to_owned(), why: WhyDelete::Orphan }, Effect::Done);
    let left = after(&[create("A"), create("B"), delete("A")]);
    let keys: Vec<_> = left.user().unwrap().keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!((keys, left.minted.clone()), (vec!["B"], Some(minted("B"))));
    assert!(left.probes.contains_key("B") && !left.probes.contains_key("A"));
    assert_eq!(after(&[create("A"), delete("A")]).minted, None);
}

#[test]
fn what_is_recorded_of_the_rest_is_what_a_read_would_show() {
    assert!(done([Action::AddFinalizer]).finalizer);
    assert!(!done([Action::AddFinalizer, Action::RemoveFinalizer]).finalizer);
    let mut settled = Observed { announced_settled: true, ..Observed::nothing() };
    settled.record(&owner(), &Action::Announce(Reason::Creating), &Effect::Done, NOW);
    assert!(!settled.announced_settled);
    let stuck = after(&[(Action::DeleteUser, Effect::DeleteConflict)]);
    assert!(stuck.leftovers && stuck.user().is_some(), "a conflict leaves the user");
    let cleared = after(&[(Action::DeleteUser, Effect::DeleteConflict), (Action::ClearLeftovers, Effect::Done)]);
    assert!(!cleared.leftovers && cleared.cleared);
}

#[test]
fn a_key_that_the_secret_holds_is_no_new_one_on_its_way() {
    let written = |id: &str| {
        let mut observed = Observed::nothing();
        let record = SecretRecord::default();
        let effect = Effect::SecretWritten { uid: "secret".to_owned(), resource_version: "1".to_owned() };
        observed.record(&owner(), &Action::WriteSecret { key_id: id.to_owned(), record }, &effect, NOW);
        observed.minted = Some(minted("A"));
        observed.forget_delivered();
        observed.minted
    };
    assert_eq!(written("A"), None);
    assert_eq!(written("B"), Some(minted("A")));
}

#[test]
fn what_is_recorded_of_probes_counts_successes_in_a_row() {
    let probe = |usable| (Action::ProbeKey { id: "NEW".to_owned() }, Effect::Probed(usable));
    let successes = |probes: &[bool]| {
        let probes: Vec<_> = probes.iter().map(|usable| probe(*usable)).collect();
        after(&probes).probes["NEW"].successes
    };
    assert_eq!(successes(&[true]), 1);
    assert_eq!(successes(&[true, true, true]), 3);
    assert_eq!(successes(&[true, true, false]), 0);
    assert_eq!(successes(&[false, true]), 1);
    let used = after(&[(Action::ReadLastUsed { id: "OLD".to_owned() }, Effect::LastUsed(Some(NOW)))]);
    assert_eq!(used.last_used, Some(("OLD".to_owned(), Some(NOW))));
}

#[test]
fn what_is_recorded_of_workloads_and_secrets_is_what_a_read_would_show() {
    let workload = crate::api::Workload { kind: crate::api::WorkloadKind::Deployment, name: "app".to_owned() };
    let mark = Action::MarkWorkload { workload: workload.clone(), key_id: "NEW".to_owned(), restart: true };
    let marked = after(&[(mark, Effect::Workload(WorkloadState::Missing))]);
    assert_eq!(marked.workloads[&workload], WorkloadState::Missing);

    let place = |name: &str| Place::Workload(name.to_owned());
    let mut renamed =
        Observed { renamed: [(place("old"), OurSecret::intact("1".to_owned(), None))].into(), ..Observed::nothing() };
    let delete = |name: &str| Action::DeleteSecret { place: place(name), uid: "secret".to_owned() };
    renamed.record(&owner(), &delete("another"), &Effect::Done, NOW);
    assert!(renamed.renamed.contains_key(&place("old")));
    renamed.record(&owner(), &delete("old"), &Effect::Done, NOW);
    assert!(renamed.renamed.is_empty());

    let create = (Action::CreateAccessKey, Effect::KeyCreated(minted("NEW")));
    let written = |id: &str| {
        let write = Action::WriteSecret { key_id: id.to_owned(), record: SecretRecord::default() };
        let effect = Effect::SecretWritten { uid: "secret".to_owned(), resource_version: "2".to_owned() };
        after(&[create.clone(), (write, effect)]).minted
    };
    assert_eq!(written("NEW"), None, "it has been delivered");
    assert_eq!(written("CURRENT"), Some(minted("NEW")));
}
