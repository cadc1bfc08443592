//! Properties of any sequence of calls.

use proptest::prelude::*;

use super::*;
use crate::double::{Lag, State, Status, limits};

/// A step of a run: a call of a few users and policies, and the seconds after it.
#[derive(Debug, Clone)]
struct Step {
    request: Request,
    seconds: i64,
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "A", "b", "c"]).prop_map(str::to_owned)
}

fn arn() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["p", "q"]).prop_map(|name| format!("arn:aws:iam::{ACCOUNT}:policy/{name}"))
}

fn request() -> impl Strategy<Value = Request> {
    let document = || ALL_OF_S3.to_owned();
    prop_oneof![
        name().prop_map(|name| create_user(&name)),
        name().prop_map(|user_name| Request::DeleteUser { user_name }),
        (name(), name()).prop_map(|(user_name, new)| Request::UpdateUser {
            user_name,
            new_user_name: Some(new),
            new_path: None
        }),
        name().prop_map(|user_name| Request::CreateAccessKey { user_name }),
        name().prop_map(|user_name| Request::CreateAccessKey { user_name }),
        // The key is filled in from the world when the step is run.
        name().prop_map(|user_name| Request::DeleteAccessKey { user_name, access_key_id: String::new() }),
        name().prop_map(|user_name| Request::UpdateAccessKey {
            user_name,
            access_key_id: String::new(),
            status: Status::Inactive
        }),
        prop::sample::select(vec!["p", "q"]).prop_map(|name| create_policy(name, ALL_OF_S3)),
        arn().prop_map(|policy_arn| Request::DeletePolicy { policy_arn }),
        (arn(), any::<bool>()).prop_map(move |(policy_arn, set_as_default)| Request::CreatePolicyVersion {
            policy_arn,
            policy_document: document(),
            set_as_default
        }),
        (arn(), 1..8u32).prop_map(|(policy_arn, number)| Request::DeletePolicyVersion {
            policy_arn,
            version_id: format!("v{number}")
        }),
        (name(), arn()).prop_map(|(user_name, policy_arn)| Request::AttachUserPolicy { user_name, policy_arn }),
        (name(), arn()).prop_map(|(user_name, policy_arn)| Request::DetachUserPolicy { user_name, policy_arn }),
        (name(), arn()).prop_map(|(user_name, permissions_boundary)| Request::PutUserPermissionsBoundary {
            user_name,
            permissions_boundary
        }),
        name().prop_map(|user_name| Request::DeleteUserPermissionsBoundary { user_name }),
        name().prop_map(|group_name| Request::CreateGroup { group_name, path: None }),
        name().prop_map(|group_name| Request::DeleteGroup { group_name }),
        (name(), name()).prop_map(|(user_name, group_name)| Request::AddUserToGroup { user_name, group_name }),
        (name(), name()).prop_map(|(user_name, group_name)| Request::RemoveUserFromGroup { user_name, group_name }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (request(), 0..20i64).prop_map(|(request, seconds)| Step { request, seconds });
    prop::collection::vec(step, 1..60)
}

/// Fills in the newest key of the user, for calls that name one.
fn with_key(mut request: Request, state: &State) -> Request {
    if let Request::DeleteAccessKey { user_name, access_key_id }
    | Request::UpdateAccessKey { user_name, access_key_id, .. } = &mut request
        && let Some(key) = state.user(user_name).ok().and_then(|user| user.keys.last())
    {
        *access_key_id = key.id.clone();
    }
    request
}

/// What holds in every state: quotas, and that the maps agree with each other.
fn check(state: &State) {
    let mut keys = 0;
    for user in state.users() {
        let name = user.name.to_lowercase();
        assert!(user.keys.len() <= limits::ACCESS_KEYS_PER_USER);
        assert!(user.attached.len() <= limits::ATTACHED_POLICIES_PER_USER);
        keys += user.keys.len();
        for key in &user.keys {
            assert_eq!(state.key(&key.id).map(|(owner, _)| &owner.id), Some(&user.id));
        }
        for arn in &user.attached {
            assert!(state.policy(arn).unwrap().attached_to.contains(&name));
        }
        if let Some(arn) = &user.boundary {
            assert!(state.policy(arn).unwrap().bounds.contains(&name));
        }
        for group in &user.groups {
            assert!(state.group(group).unwrap().members.contains(&name));
        }
    }
    assert_eq!(state.keys.size(), keys);
    for policy in state.local_policies() {
        assert!(policy.versions.len() <= limits::VERSIONS_PER_POLICY);
        assert!(policy.document().is_some());
        for name in policy.attached_to.iter().chain(policy.bounds.iter()) {
            let user = state.user(name).unwrap();
            assert!(user.attached.contains(&policy.arn) || user.boundary.as_ref() == Some(&policy.arn));
        }
    }
    for group in state.groups.values() {
        assert!(group.members.iter().all(|name| state.user(name).unwrap().groups.contains(&group.name)));
    }
}

proptest! {
    #[test]
    fn quotas_hold_and_the_maps_agree(steps in steps()) {
        let mut bench = Bench::new();
        for Step { request, seconds } in steps {
            let request = with_key(request, bench.iam().state());
            let before = bench.iam().state().clone();
            let result = bench.call(request.clone());
            let after = bench.iam().state();
            check(after);
            if result.is_err() {
                prop_assert_eq!(&before, after, "a call that fails changes nothing");
            }
            if let (Request::DeleteUser { user_name }, Ok(_)) = (&request, &result) {
                let user = before.user(user_name).unwrap();
                prop_assert!(user.keys.is_empty() && user.attached.is_empty() && user.groups.is_empty());
            }
            bench.pass(seconds);
        }
    }

    #[test]
    fn every_read_sees_a_state_of_the_recent_past(steps in steps(), seed in any::<u64>(), longest in 1..60i64) {
        let lag = Lag { longest: SignedDuration::from_secs(longest), stale_percent: 70 };
        let mut bench = Bench::with(Settings { seed, reads: lag, ..Settings::default() });
        let mut past = vec![(bench.now, bench.iam().state().clone())];
        for Step { request, seconds } in steps {
            let request = with_key(request, bench.iam().state());
            let _ = bench.call(request);
            past.push((bench.now, bench.iam().state().clone()));
            bench.pass(seconds);
            let (now, oldest) = (bench.now, bench.now - lag.longest);
            let view = bench.iam_mut().view(now, lag);
            // A state is in reach if it was the latest one at some time that is not too long ago.
            let in_reach = past.iter().enumerate().any(|(index, (_, state))| {
                let until = past.get(index + 1).map_or(now, |(next, _)| *next);
                *state == view && until >= oldest
            });
            prop_assert!(in_reach);
        }
    }

    #[test]
    fn deleting_keys_always_makes_room(creations in 1..20usize, window in 0..5i64) {
        let race = Some(SignedDuration::from_secs(window));
        let mut bench = Bench::with(Settings { key_quota_race: race, ..Settings::default() });
        bench.user("a");
        for _ in 0..creations {
            let _ = bench.call(Request::CreateAccessKey { user_name: "a".into() });
        }
        bench.pass(window);
        while let Some(key) = bench.iam().state().user("a").unwrap().keys.first().map(|key| key.id.clone()) {
            bench.must(Request::DeleteAccessKey { user_name: "a".into(), access_key_id: key });
        }
        bench.key("a");
        bench.key("a");
        bench.pass(window);
        prop_assert_eq!(bench.refusal(Request::CreateAccessKey { user_name: "a".into() }), Code::LimitExceeded);
    }
}
