//! How little a deletion reads.

use super::*;
use crate::core::conditions::Conditions;

#[test]
fn a_deletion_goes_by_what_is_recorded_and_reads_everything_where_that_failed_or_does_not_suffice() {
    for facts in within().filter(|facts| facts.deleting) {
        let by_record = facts.made && facts.named && !facts.failing && !facts.drift_suspected;
        assert_eq!(least(&facts), if by_record { Reads::Recorded } else { Reads::Everything }, "{facts:?}");
        assert_eq!(needed(&facts, NOW, Some(Reads::Recorded)), Reads::Everything);
    }
    for facts in within().filter(|facts| !facts.deleting) {
        assert_ne!(least(&facts), Reads::Recorded, "{facts:?}");
    }
    assert!(Reads::Recorded.is_belied_by(&Effect::DeleteConflict) && !Reads::Recorded.is_belied_by(&Effect::Done));
    assert!(!Reads::Everything.is_belied_by(&Effect::DeleteConflict), "what is in the way is cleared");
}

#[test]
fn the_keys_of_what_is_deleted_are_named_by_a_status_that_is_settled_unless_the_user_stays() {
    let told = |key: Progress, named: bool| {
        let synced = || Progress::Synced;
        let parts = Parts { user: synced(), policy: synced(), key, secret: synced() };
        let conditions = json!(Conditions { earlier: &[], generation: Some(1), now: NOW }.of_parts(&parts));
        json!({ "observedGeneration": 1, "conditions": conditions, "accessKeyId": named.then_some("AKIA") })
    };
    let named = |status: serde_json::Value, deleted: bool, retain| {
        let mut user = user(json!({ "status": status }));
        user.metadata.generation = Some(2);
        user.metadata.deletion_timestamp = deleted.then_some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW));
        names_its_keys(&user, retain)
    };
    assert!(named(told(Progress::Synced, true), true, false));
    assert!(!named(told(Progress::Synced, true), true, true), "nobody says that there is another one");
    assert!(!named(told(Progress::Synced, true), false, false));
    assert!(!named(told(Progress::Synced, false), true, false));
    let rotating = Progress::Waiting(crate::api::Reason::Rotating, String::new());
    assert!(!named(told(rotating, true), true, false), "another key is on its way");
}
