//! Runs of a scenario under faults, each held against the run without any.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use ground::double::{Operation, Settings};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use s3_access_operator::api::S3AccessUser;

use crate::boundary::{Fault, Plan};
use crate::judge::{is_evidence, is_in_operators_namespace};
use crate::mistakes::Mistake;
use crate::outside::{ACCOUNT, Outside, State};
use crate::scenarios::{End, SECRET, Scenario, USER};
use crate::simulation::{RESYNC, Simulation};
use crate::snapshot::Snapshot;

/// Long enough for every pause of the operator, for a rotation that a fault has put off, and for the next turn in the
/// sweep, by which what was done by hand is found at the latest.
const RECOVERY: SignedDuration = SignedDuration::from_hours(12);
const START: &str = "2026-01-01T00:00:00Z";

/// What a scenario comes to without a fault.
pub struct Reference {
    pub scenario: &'static Scenario,
    /// The world before it.
    before: Outside,
    /// The end.
    pub end: Snapshot,
    /// Its effects by name, in order.
    pub effects: Vec<String>,
    /// What the CRs say in words.
    messages: Vec<String>,
}

/// How a run under faults went.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Secrets that hold no working key at the end.
    pub lost: usize,
    /// Keys at the end that no Secret holds.
    pub stranded: usize,
    /// Why it is no good run.
    pub problems: Vec<String>,
}

impl Verdict {
    /// Holds an end against the wanted one.
    pub fn of(wanted: &Snapshot, end: &Snapshot, mut problems: Vec<String>) -> Self {
        if end.text != wanted.text {
            problems.push(format!("another end:\n{}", differences(&wanted.text, &end.text)));
        }
        Self { lost: end.lost, stranded: end.stranded, problems }
    }

    pub fn converged(&self) -> bool {
        self.problems.is_empty()
    }

    pub fn is_good(&self) -> bool {
        self.converged() && self.lost + self.stranded == 0
    }
}

impl Reference {
    /// Runs the scenario without a fault.
    pub fn of(scenario: &'static Scenario) -> Self {
        let start: Timestamp = START.parse().unwrap();
        let mut simulation = Simulation::new(Outside::new(Settings::default(), start));
        (scenario.before)(&mut simulation);
        let before = simulation.outside.fork();
        let mut simulation = Simulation::new(before.fork());
        simulation.boundary.arm(Plan::default());
        (scenario.act)(&mut simulation);
        let effects = simulation.boundary.disarm();
        let (end, problems) = finish(&mut simulation);
        assert!(problems.is_empty(), "{} without a fault: {problems:?}", scenario.name);
        assert_eq!((end.lost, end.stranded), (0, 0), "{} without a fault: {}", scenario.name, end.text);
        check(scenario, &before, &simulation.outside);
        let messages = simulation.outside.with(|state| {
            let ready = |user: &S3AccessUser| {
                let conditions = user.status.iter().flat_map(|status| &status.conditions);
                conditions
                    .filter(|found| found.status == "False" && found.type_ == "Ready")
                    .map(|found| found.message.clone())
                    .collect::<Vec<_>>()
            };
            state.cluster.users.values().flat_map(ready).collect()
        });
        Self { scenario, before, end, effects, messages }
    }

    /// Where the scenario leads, for people to read: the world at its end, and how many effects it took.
    pub fn told(&self) -> String {
        let Self { scenario, end, effects, messages, .. } = self;
        format!("# {}: {} effects\n{}{}\n", scenario.name, effects.len(), end.text, messages.join("\n"))
    }

    /// The same, for an operator that makes a mistake.
    pub fn with(self, mistake: Mistake) -> Self {
        self.before.with(|state| state.mistake = Some(mistake));
        self
    }

    /// Every single fault.
    pub fn singles(&self) -> impl Iterator<Item = (Fault, Plan)> {
        singles(self.effects.len())
    }

    /// A pair of faults, by seed. The second may strike what the first has led to.
    pub fn pair(&self, seed: u64) -> Plan {
        let mut random = Rng::with_seed(seed);
        let count = self.effects.len().max(2);
        let first = random.usize(..count);
        let second = first + 1 + random.usize(..count);
        let fault = |random: &mut Rng| Fault::ALL[random.usize(..Fault::ALL.len())];
        Plan::of([(first, fault(&mut random)), (second, fault(&mut random))])
    }

    /// Runs it under these faults.
    pub fn run(&self, plan: &Plan) -> Verdict {
        self.judged(|| {
            let mut simulation = Simulation::new(self.before.fork());
            simulation.boundary.arm(plan.clone());
            (self.scenario.act)(&mut simulation);
            simulation.boundary.disarm();
            simulation
        })
    }

    /// Runs it with two operators that both take themselves for the leader.
    pub fn race(&self, seed: u64) -> Verdict {
        self.judged(|| {
            let mut simulation = Simulation::with_two_leaders(self.before.fork(), seed);
            (self.scenario.act)(&mut simulation);
            simulation.end_race();
            if simulation.lease_was_lost() {
                // IAM has no preconditions: between a live read of the Secret and the deletion of a key that is not in
                // it, a leader that was frozen meanwhile can put it there. It is put right, which is what counts here.
                simulation.outside.with(|state| state.violations.retain(|found| !found.starts_with("invariant 3")));
            }
            simulation
        })
    }

    /// Runs it in an account where everything happens that AWS warns of: replicas behind, racing quotas, short pages; and
    /// with a clock that is right, ten minutes fast, or ten minutes slow.
    pub fn hostile(&self, seed: u64) -> Verdict {
        self.judged(|| {
            let before = self.before.fork();
            before.with(|state| {
                let iam = state.aws.account_mut(ACCOUNT).unwrap();
                *iam.settings_mut() = Settings { reorder_documents: true, ..Settings::hostile(seed) };
                state.skew = SignedDuration::from_mins([0, 10, -10][usize::try_from(seed % 3).unwrap()]);
            });
            let mut simulation = Simulation::new(before);
            (self.scenario.act)(&mut simulation);
            // The end is reconciled by one who sees all.
            simulation.run(SignedDuration::from_mins(10));
            simulation.outside.with(|state| {
                *state.aws.account_mut(ACCOUNT).unwrap().settings_mut() = Settings::default();
            });
            simulation
        })
    }

    fn judged(&self, run: impl FnOnce() -> Simulation) -> Verdict {
        let whole = || {
            let mut simulation = run();
            let (end, problems) = finish(&mut simulation);
            Verdict::of(&self.end, &end, problems)
        };
        catch_unwind(AssertUnwindSafe(whole)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Verdict { problems: vec![format!("panicked: {}", text.unwrap_or_default())], ..Verdict::default() }
        })
    }
}

/// What a world comes to, in short.
struct Seen {
    /// Ids and secret halves of the keys, less those that are only kept as evidence.
    keys: Vec<(String, String)>,
    /// Whether AWS accepts each.
    works: Vec<bool>,
    users: usize,
    policies: usize,
    /// Those of workloads.
    secrets: usize,
    custom_resources: usize,
    /// Statuses and reasons, by kind.
    conditions: BTreeMap<String, (String, String)>,
}

impl Seen {
    fn of(outside: &Outside) -> Self {
        outside.with(|state| {
            let ours: Vec<_> = state.users().filter(|user| user.name == USER).cloned().collect();
            let used = ours.iter().flat_map(|user| user.keys.iter().filter(|key| !is_evidence(user, key)));
            let keys: Vec<_> = used.map(|key| (key.id.clone(), key.secret.clone())).collect();
            let works = keys.iter().map(|(id, secret)| state.accepts(id, secret)).collect();
            let cluster = &state.cluster;
            let status = cluster.users.values().next().and_then(|user| user.status.clone()).unwrap_or_default();
            let condition =
                |found: &Condition| (found.type_.to_string(), (found.status.to_string(), found.reason.to_string()));
            Self {
                works,
                users: ours.len(),
                policies: state.aws.account(ACCOUNT).unwrap().state().local_policies().count(),
                secrets: cluster.secrets.values().filter(|secret| !is_in_operators_namespace(secret)).count(),
                custom_resources: cluster.users.len(),
                conditions: status.conditions.iter().map(condition).collect(),
                keys,
            }
        })
    }
}

/// Holds the end of a run without a fault to what its scenario says: by it all the others are judged.
fn check(scenario: &Scenario, before: &Outside, after: &Outside) {
    let old_keys = Seen::of(before).keys;
    let Seen { keys, works, users, policies, secrets, custom_resources, conditions } = Seen::of(after);
    let name = scenario.name;
    let is = |kind: &str, status: &str, reason: &str| {
        assert_eq!(conditions.get(kind), Some(&(status.to_owned(), reason.to_owned())), "{name}: {kind}");
    };
    let parts = ["UserSynced", "PolicySynced", "AccessKeySynced", "SecretSynced"];
    match scenario.end {
        End::Ready | End::Replaced => {
            assert_eq!((works.as_slice(), users, secrets, custom_resources), ([true].as_slice(), 1, 1, 1), "{name}");
            is("Ready", "True", "Synced");
            is("Reconciling", "False", "Synced");
            is("Stalled", "False", "Synced");
            parts.iter().for_each(|part| is(part, "True", "Synced"));
            after.with(|state| check_status(state));
            let replaced = matches!(scenario.end, End::Replaced);
            assert!(!replaced || !old_keys.contains(&keys[0]), "{name}: it is the old key");
        }
        End::Sessions => {
            assert_eq!((works.as_slice(), users, secrets, custom_resources), ([true].as_slice(), 1, 1, 1), "{name}");
            is("Ready", "True", "Synced");
            parts.iter().for_each(|part| is(part, "True", "Synced"));
            after.with(|state| {
                let secret = state.cluster.secrets[SECRET].clone();
                assert!(state.accepts_session(&secret), "{name}");
            });
        }
        End::Beside => {
            assert_eq!((works.as_slice(), users, secrets), ([true, true].as_slice(), 1, 1), "{name}");
            is("Ready", "True", "Synced");
        }
        End::Suspended | End::Expired | End::Compromised | End::Unused => {
            let reason = format!("{:?}", scenario.end);
            let reason = reason.as_str();
            assert_eq!((works.as_slice(), users, secrets, custom_resources), ([false].as_slice(), 1, 1, 1), "{name}");
            is("Ready", "False", reason);
            is("Reconciling", "False", "Synced");
            is("Stalled", "True", reason);
            is("AccessKeySynced", "False", reason);
            is("SecretSynced", "True", "Synced");
        }
        End::Gone => {
            assert_eq!((users, policies, secrets, custom_resources), (0, 0, 0, 0), "{name}");
            assert_eq!(after.with(|state| state.cluster.secrets.len()), 0, "{name}");
        }
        End::Refused(reason) => {
            is("Ready", "False", reason);
            is("Stalled", "True", reason);
            is("Reconciling", "False", "Synced");
            assert_eq!(keys, old_keys, "{name}");
        }
        End::Expelled(reason) => {
            is("Ready", "False", reason);
            is("Stalled", "True", reason);
            assert_eq!((works.as_slice(), policies, secrets), ([false].as_slice(), 0, 1), "{name}");
        }
    }
}

/// Holds what the status of a Ready user says to what there is.
fn check_status(state: &State) {
    let resource = state.cluster.users.values().next().unwrap();
    let status = resource.status.clone().unwrap();
    let user = state.user(USER).unwrap();
    let key = user.keys.iter().find(|key| !is_evidence(user, key)).unwrap();
    let own = |arn: &&String| arn.starts_with(&format!("arn:aws:iam::{ACCOUNT}:"));
    assert_eq!(status.user_arn.as_ref(), Some(&user.arn));
    assert_eq!(status.policy_arn.as_ref(), user.attached.iter().find(own));
    assert_eq!((status.user_name.as_deref(), status.account_id.as_deref()), (Some(USER), Some(ACCOUNT)));
    assert_eq!(status.partition.as_deref(), Some("aws"));
    assert_eq!(status.access_key_id.as_ref(), Some(&key.id));
    // Kubernetes keeps whole seconds.
    assert_eq!(status.access_key_created_at.map(|time| time.0.as_second()), Some(key.created.as_second()));
    assert_eq!((&status.retiring_key, status.last_used_at.is_some()), (&None, false));
    assert_eq!(status.observed_generation, resource.metadata.generation);
    let binding = status.binding.unwrap().name;
    assert!(state.cluster.secrets.contains_key(&binding), "{binding}");
    let rotation = resource.spec.access_key.rotation.as_ref().unwrap();
    let (oldest, next) = (key.created + rotation.interval.signed(), status.next_rotation_at.unwrap().0);
    assert!(next.as_second() == oldest.as_second() || (rotation.window.is_some() && next < oldest), "{next}");
}

/// Every single fault at so many effects.
pub fn singles(effects: usize) -> impl Iterator<Item = (Fault, Plan)> {
    let at = move |fault| (0..effects).map(move |number| (fault, Plan::of([(number, fault)])));
    Fault::ALL.into_iter().flat_map(at)
}

/// Lets the operator come to rest, and sees that it does rest.
fn finish(simulation: &mut Simulation) -> (Snapshot, Vec<String>) {
    simulation.run(RECOVERY);
    let end = Snapshot::of(&simulation.outside);
    let writes = |simulation: &Simulation| {
        simulation.outside.with(|state| {
            // Each renewal of a session writes the Secret and the status.
            let renewals = usize::try_from(state.aws.history().count(Operation::GetSessionToken)).unwrap();
            (state.cluster.writes.saturating_sub(renewals * 2), state.aws.history().writes())
        })
    };
    let before = writes(simulation);
    simulation.run(RESYNC * 2);
    let after = writes(simulation);
    let mut problems = simulation.outside.with(|state| {
        let revoked = std::mem::take(&mut state.revoked);
        let alive = revoked.into_iter().filter(|(id, half)| state.accepts(id, half)).map(|(id, _)| id);
        let alive: Vec<String> = alive.map(|id| format!("invariant 12: revoked key {id} works")).collect();
        std::mem::take(&mut state.violations).into_iter().chain(alive).collect::<Vec<_>>()
    });
    if before != after {
        problems.push(format!("invariant 6: at rest, writes to Kubernetes and IAM went from {before:?} to {after:?}"));
    }
    (end, problems)
}

fn differences(wanted: &str, found: &str) -> String {
    let only = |a: &str, b: &str, sign: char| -> Vec<String> {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(|line| format!("{sign} {line}")).collect()
    };
    [only(wanted, found, '-'), only(found, wanted, '+')].concat().join("\n")
}
