//! Before a key is gone, when it was used last is recorded where that is asked for: nothing else would tell.

use std::collections::BTreeMap;

use super::{Action, Plan, View, WhyDelete};

/// Puts the question, or the record, before the deletion.
pub(super) fn keep_uses(view: &View<'_>, plan: &mut Plan) {
    // Where two leaders have rotated, a key that was in use may be in no Secret's record.
    let was_in_use = |why: &WhyDelete| matches!(why, WhyDelete::Retired | WhyDelete::Revoked | WhyDelete::Orphan);
    let deleted = plan.actions.iter().enumerate().find_map(|(number, action)| match action {
        Action::DeleteKey { id, why } if was_in_use(why) => Some((number, view.listed(id)?)),
        _ => None,
    });
    let Some((number, key)) = deleted.filter(|_| view.desired.unused.are_asked()) else { return };
    let used = view.observed.last_used.as_ref().filter(|(id, _)| *id == key.id);
    let first = match used {
        None => Some(Action::ReadLastUsed { id: key.id.clone() }),
        Some((_, used)) => {
            let record = view.desired.unused.kept(&view.user.tags, key, *used);
            record.map(|record| Action::TagUser(BTreeMap::from([record])))
        }
    };
    if let Some(first) = first {
        // What was planned to follow is planned again.
        plan.actions.truncate(number);
        plan.actions.push(first);
    }
}
