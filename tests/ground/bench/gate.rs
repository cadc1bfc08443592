//! The gate: what a smaller run may cost at most. Call counts and memory do not depend on the machine; seconds do, and are
//! not judged.

use super::figures::{Against, Figures};
use super::floor::Phase;

/// What a phase may cost each user at most.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The phase.
    pub phase: Phase,
    /// Calls of IAM.
    pub iam: f64,
    /// Writes to Kubernetes, Events and the Lease apart.
    pub writes: f64,
}

/// What the operator costs today, and no more. A change that makes it cheaper lowers them.
pub const BUDGETS: &[Budget] = &[
    Budget { phase: Phase::Create, iam: 3.0, writes: 3.0 },
    Budget { phase: Phase::Rest, iam: 0.0, writes: 0.0 },
    Budget { phase: Phase::Restart, iam: 0.0, writes: 0.0 },
    Budget { phase: Phase::Sweep, iam: 0.0, writes: 0.0 },
    Budget { phase: Phase::Rotate, iam: 9.0, writes: 4.0 },
    Budget { phase: Phase::Delete, iam: 4.0, writes: 1.0 },
];

/// What AWS's alarm costs an account in an interval: the users of three policies.
const LISTENING: f64 = 3.0;
/// What an account's credential report costs: to have it made, and to read it.
const REPORT: f64 = 2.0;
/// What a session costs in half of its life, in calls of STS and of IAM.
const RENEWAL: f64 = 1.0;

/// Half a call for each user: what comes once an account, or once more for a few, is no growth; one call for each is.
const SLACK: f64 = 0.5;
/// Of the floor: a count below it was not counted, or the work was not done.
const AT_LEAST: f64 = 0.95;

/// What a user may cost of resident memory at most, KiB, by the operator's build.
#[must_use]
pub fn slope_kib(optimized: bool) -> f64 {
    if optimized { 10.0 } else { 16.0 }
}

/// Where a run costs more than it may.
#[must_use]
pub fn judge(figures: &Figures) -> Vec<String> {
    let mut failures = Vec::new();
    for budget in BUDGETS {
        let Some(phase) = figures.phases.get(&budget.phase) else {
            failures.push(format!("the phase {} was not run", budget.phase.name()));
            continue;
        };
        for (what, counted, at_most) in
            [("calls of IAM", phase.iam(), budget.iam), ("writes to Kubernetes", phase.writes(), budget.writes)]
        {
            #[expect(clippy::cast_precision_loss, reason = "a gate is small")]
            let (Against { measured, floor }, users) = (counted, phase.users as f64);
            #[expect(clippy::cast_precision_loss, reason = "a gate is small")]
            let (measured, floor) = (measured as f64, floor as f64);
            if measured > (at_most + SLACK) * users {
                let calls = if what.contains("IAM") { &phase.iam_calls } else { &phase.kubernetes_requests };
                failures.push(format!(
                    "{}: {measured} {what} for {users} users, {:.2} each; the budget is {at_most} each: {calls:?}",
                    budget.phase.name(),
                    measured / users,
                ));
            }
            if measured < floor * AT_LEAST {
                failures.push(format!(
                    "{}: {measured} {what} for {users} users is less than the floor of {floor}: not all was done or counted",
                    budget.phase.name(),
                ));
            }
        }
    }
    failures.extend(judge_unasked(figures));
    failures
}

/// Where what nobody asks for costs more than it may, or is not done once.
fn judge_unasked(figures: &Figures) -> Vec<String> {
    let listening = figures.listening.as_ref().map(|found| (found.intervals, found.calls_each()));
    let renewals = figures.renewals.as_ref().map(|found| (found.half_lives, found.calls_each()));
    let budgets = [
        ("calls of IAM for an account in an interval of listening", listening, 0, LISTENING),
        ("calls of IAM for an account's credential report", listening, 1, REPORT),
        ("calls of STS for a session in half of its life", renewals, 0, RENEWAL),
        ("calls of IAM for a session in half of its life", renewals, 1, RENEWAL),
    ];
    let judged = budgets.into_iter().filter_map(|(what, measured, which, budget)| {
        let Some((times, each)) = measured.map(|(times, each)| (times, each[which])) else {
            return Some(format!("{what} were not measured"));
        };
        if each > budget + SLACK {
            Some(format!("{each:.2} {what}; the budget is {budget}"))
        } else if each * times < budget * AT_LEAST {
            // A slow machine skips intervals, but not all of them.
            Some(format!("{each:.2} {what}, {times:.1} times: it was not done once, or not counted"))
        } else {
            None
        }
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Listening, PhaseFigures, Renewals, beside};
    use crate::bench::floor::{PolicyKind, Service, Size, floor};

    const USERS: usize = 500;

    /// A run that costs exactly the floor.
    fn cheapest() -> Figures {
        let mut figures = Figures::new(USERS, "operator", PolicyKind::Inline);
        let size = Size { users: USERS, in_accounts: &[250, 250], policy: PolicyKind::Inline };
        for phase in Phase::ALL {
            let table = |service| beside(&floor(phase, service, size), phase, service, size);
            let (iam_calls, kubernetes_requests) = (table(Service::Iam), table(Service::Kubernetes));
            figures
                .add(phase, PhaseFigures { users: USERS, iam_calls, kubernetes_requests, ..PhaseFigures::default() });
        }
        figures.listening = Some(Listening { accounts: 2, intervals: 20.0, calls: 120, reports: 80 });
        figures.renewals = Some(Renewals { sessions: 20, half_lives: 3.0, sts_calls: 60, iam_calls: 60 });
        figures
    }

    /// The same with more calls, or fewer.
    fn doctored(phase: Phase, call: &str, each: i64) -> Vec<String> {
        let mut figures = cheapest();
        let counts = figures.phases.get_mut(&phase).unwrap();
        let table = if call.contains(' ') { &mut counts.kubernetes_requests } else { &mut counts.iam_calls };
        let count = &mut table.entry(call.to_owned()).or_default().measured;
        *count = count.checked_add_signed(each * i64::try_from(USERS).unwrap()).unwrap();
        judge(&figures)
    }

    #[test]
    fn what_costs_the_floor_passes() {
        assert_eq!(judge(&cheapest()), Vec::<String>::new());
    }

    #[test]
    fn one_call_more_for_each_user_fails_in_every_phase() {
        for budget in BUDGETS {
            // To where today's budget is, and one more.
            for (call, at_most) in [("GetUser", budget.iam), ("patch secrets", budget.writes)] {
                #[expect(clippy::cast_possible_truncation, reason = "a budget is small")]
                let room = at_most.ceil() as i64;
                let failures = doctored(budget.phase, call, room + 1);
                assert!(failures.iter().any(|failure| failure.contains(call)), "{}: {failures:?}", budget.phase.name());
            }
        }
    }

    #[test]
    fn work_that_was_not_done_or_not_counted_fails() {
        assert!(!doctored(Phase::Create, "CreateAccessKey", -1).is_empty());
        assert!(!doctored(Phase::Rotate, "DeleteAccessKey", -1).is_empty());
        assert!(!doctored(Phase::Delete, "patch s3accessusers", -1).is_empty());
        let mut figures = cheapest();
        figures.phases.remove(&Phase::Restart);
        assert!(!judge(&figures).is_empty());
    }

    #[test]
    fn what_nobody_asks_for_costs_no_call_more_and_is_done() {
        let listening = |calls| Figures { listening: calls, ..cheapest() };
        for [calls, reports] in [[160, 80], [5, 80], [120, 120], [120, 3]] {
            let counted = Some(Listening { accounts: 2, intervals: 20.0, calls, reports });
            assert_eq!(judge(&listening(counted)).len(), 1, "{calls} {reports}");
        }
        assert_eq!(judge(&listening(None)).len(), 2);
        for [sts_calls, iam_calls] in [[120, 60], [60, 120], [18, 60], [60, 18]] {
            let counted = Renewals { sessions: 20, half_lives: 3.0, sts_calls, iam_calls };
            assert_eq!(judge(&Figures { renewals: Some(counted), ..cheapest() }).len(), 1, "{sts_calls} {iam_calls}");
        }
        assert_eq!(judge(&Figures { renewals: None, ..cheapest() }).len(), 2);
    }
}
