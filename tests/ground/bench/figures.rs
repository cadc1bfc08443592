//! What a run has measured, as it stands in the JSON files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::Ceiling;
use super::audit::is_write;
use super::floor::{Phase, PolicyKind, Service, Size, floor};

/// A figure beside its floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Against {
    /// What was counted.
    pub measured: u64,
    /// What it costs at least.
    pub floor: u64,
}

impl Against {
    /// How many times the floor it is; `None` where the floor is 0 and the figure is not.
    #[must_use]
    pub fn ratio(self) -> Option<f64> {
        match (self.measured, self.floor) {
            (0, 0) => Some(1.0),
            (_, 0) => None,
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            (measured, floor) => Some(measured as f64 / floor as f64),
        }
    }
}

/// Counts by call, beside their floors.
pub type Table = BTreeMap<String, Against>;

/// The sum of a table.
#[must_use]
pub fn sum<'a>(table: impl IntoIterator<Item = &'a Against>) -> Against {
    let add =
        |all: Against, one: &Against| Against { measured: all.measured + one.measured, floor: all.floor + one.floor };
    table.into_iter().fold(Against::default(), add)
}

/// Seconds that users took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Half of them took less.
    pub p50: f64,
    /// All but a hundredth took less.
    pub p99: f64,
    /// All took less.
    pub total: f64,
}

impl Times {
    /// Of sorted seconds.
    #[must_use]
    pub fn of(sorted: &[f64]) -> Self {
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
            sorted.get(rank).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99), total: at(100) }
    }
}

/// What one phase took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseFigures {
    /// How many users it was about.
    pub users: usize,
    /// How long it took.
    pub seconds: f64,
    /// Resident memory at its end, MiB.
    pub rss_steady_mib: f64,
    /// The most resident memory in it, MiB.
    pub rss_peak_mib: f64,
    /// CPU time, user and system, seconds.
    pub cpu_seconds: f64,
    /// Calls of IAM by operation.
    pub iam_calls: Table,
    /// Calls of STS by operation.
    pub sts_calls: Table,
    /// Requests to Kubernetes by verb and resource, Events and the Lease apart.
    pub kubernetes_requests: Table,
    /// Looks at users, by how they ended.
    pub reconciles: BTreeMap<String, u64>,
    /// The highest queue depth that was seen, once a second.
    pub queue_depth_max: Option<u64>,
    /// How long users took to get where they should be.
    pub times: Option<Times>,
    /// CPU time of the API server, seconds; absent where it was started anew in between.
    pub api_server_cpu_seconds: Option<f64>,
}

impl PhaseFigures {
    /// All calls of IAM.
    #[must_use]
    pub fn iam(&self) -> Against {
        sum(self.iam_calls.values())
    }

    /// All writes to Kubernetes.
    #[must_use]
    pub fn writes(&self) -> Against {
        sum(self.kubernetes_requests.iter().filter(|(request, _)| is_write(request)).map(|(_, against)| against))
    }
}

/// One new user while all others wait to be rotated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overtaking {
    /// The limit of requests a second to each account, the operator's default.
    pub requests_per_second: u32,
    /// Rotations that waited when the user was created.
    pub waiting: usize,
    /// Seconds to Ready with nothing else to do: the median of three.
    pub idle_seconds: f64,
    /// Seconds to Ready among the waiting ones; `None` where it was given up.
    pub busy_seconds: Option<f64>,
    /// When it was given up, seconds.
    pub patience_seconds: f64,
}

/// One account in the dark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dark {
    /// Seconds until all of a batch in the other account were Ready, before.
    pub light_seconds: f64,
    /// The same in the dark.
    pub dark_seconds: f64,
}

/// What Secrets of others cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unrelated {
    /// How many there are.
    pub secrets: usize,
    /// The size of each, bytes.
    pub bytes: usize,
    /// Resident memory before, right after a start, MiB.
    pub before_mib: f64,
    /// The same with them there, right after a start, MiB.
    pub after_mib: f64,
}

/// How accounts were asked for AWS's alarm, and when their keys were used last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listening {
    /// How many accounts.
    pub accounts: usize,
    /// How many intervals that took.
    pub intervals: f64,
    /// Calls of IAM for the alarm, of all accounts.
    pub calls: u64,
    /// Those for the credential reports.
    pub reports: u64,
}

impl Listening {
    /// The calls of an account in an interval: for the alarm, and for the credential report.
    #[must_use]
    pub fn calls_each(&self) -> [f64; 2] {
        [self.calls, self.reports].map(|calls| each(calls, self.accounts, self.intervals))
    }
}

/// How sessions were renewed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Renewals {
    /// How many sessions.
    pub sessions: usize,
    /// How many times half of a session's life it took.
    pub half_lives: f64,
    /// Sessions that STS was asked for.
    pub sts_calls: u64,
    /// Lists of the users' keys.
    pub iam_calls: u64,
}

impl Renewals {
    /// The calls for a session in half of its life: of STS, and of IAM.
    #[must_use]
    pub fn calls_each(&self) -> [f64; 2] {
        [self.sts_calls, self.iam_calls].map(|calls| each(calls, self.sessions, self.half_lives))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn each(calls: u64, whose: usize, times: f64) -> f64 {
    calls as f64 / (whose as f64 * times)
}

/// All users of one account were given new keys at the rate that AWS gives an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Emergency {
    /// How many users.
    pub users: usize,
    /// Calls of IAM a second that the account took, and as many at once; the operator's own limit was its default.
    pub requests_per_second: u32,
    /// How long replaced keys worked on, seconds: longer than all new ones took, as by default.
    pub overlap_seconds: f64,
    /// Until every workload had its new key.
    pub new_keys: Stage,
    /// From then on until all old keys were gone.
    pub old_keys: Stage,
    /// The same through the operator's own limiter in simulated time: for as many users, and for a full account.
    pub simulated: Vec<Simulated>,
}

/// A part of an emergency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its end, seconds since the request.
    pub seconds: f64,
    /// Calls of IAM by operation.
    pub iam_calls: BTreeMap<String, u64>,
    /// Calls of STS by operation; the operator's limit counts them too, and AWS's of IAM does not.
    pub sts_calls: BTreeMap<String, u64>,
    /// Calls that were refused as throttled.
    pub refused: u64,
}

/// How long the calls of an emergency take, without whatever else is waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simulated {
    /// For how many users.
    pub users: usize,
    /// Those that lead to new keys, seconds.
    pub new_keys_seconds: f64,
    /// Those that end the old ones, seconds.
    pub old_keys_seconds: f64,
    /// Calls that were refused as throttled.
    pub refused: u64,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many cores.
    pub cores: usize,
    /// Memory, GiB.
    pub memory_gib: u64,
    /// Runnable processes on average over the minute before the run, others' included.
    pub load_before: f64,
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// S3AccessUsers.
    pub users: usize,
    /// AWS accounts that they are spread over.
    #[serde(default = "two")]
    pub accounts: usize,
    /// What was measured.
    pub subject: String,
    /// The users' policies.
    pub policy: PolicyKind,
    /// Resident memory at the end of the rest, MiB.
    pub rss_steady_mib: f64,
    /// The most resident memory in any phase, MiB.
    pub rss_peak_mib: f64,
    /// CPU time of all phases, seconds.
    pub cpu_seconds: f64,
    /// The share of a core that was used while nothing happened, percent.
    pub idle_cpu_percent: f64,
    /// Calls of IAM by phase.
    pub iam_calls: BTreeMap<Phase, Against>,
    /// Writes to Kubernetes by phase, Events and the Lease apart.
    pub kubernetes_writes: BTreeMap<Phase, Against>,
    /// Time to Ready in the create phase.
    pub ready_seconds: Times,
    /// The phases.
    pub phases: BTreeMap<Phase, PhaseFigures>,
    /// What the double could have answered.
    pub double: Option<Ceiling>,
    /// A new user among waiting ones.
    pub overtaking: Option<Overtaking>,
    /// An account in the dark.
    pub dark: Option<Dark>,
    /// Unrelated Secrets.
    pub unrelated_secrets: Option<Unrelated>,
    /// AWS's alarm, listened for.
    pub listening: Option<Listening>,
    /// Sessions, renewed.
    pub renewals: Option<Renewals>,
    /// All keys of an account, replaced as fast as AWS lets them.
    pub emergency: Option<Emergency>,
    /// What was run.
    pub versions: BTreeMap<String, String>,
    /// The SHA-256 of the binary that was measured.
    #[serde(default)]
    pub binary: String,
    /// Where.
    pub machine: Machine,
}

/// What there was before it could be chosen.
fn two() -> usize {
    2
}

impl Figures {
    /// Nothing yet, of users in two accounts.
    #[must_use]
    pub fn new(users: usize, subject: &str, policy: PolicyKind) -> Self {
        Self {
            users,
            accounts: two(),
            subject: subject.to_owned(),
            policy,
            rss_steady_mib: 0.0,
            rss_peak_mib: 0.0,
            cpu_seconds: 0.0,
            idle_cpu_percent: 0.0,
            iam_calls: BTreeMap::new(),
            kubernetes_writes: BTreeMap::new(),
            ready_seconds: Times::default(),
            phases: BTreeMap::new(),
            double: None,
            overtaking: None,
            dark: None,
            unrelated_secrets: None,
            listening: None,
            renewals: None,
            emergency: None,
            versions: BTreeMap::new(),
            binary: String::new(),
            machine: Machine::default(),
        }
    }

    /// Adds a phase.
    pub fn add(&mut self, phase: Phase, figures: PhaseFigures) {
        self.rss_peak_mib = self.rss_peak_mib.max(figures.rss_peak_mib);
        self.cpu_seconds += figures.cpu_seconds;
        self.iam_calls.insert(phase, figures.iam());
        self.kubernetes_writes.insert(phase, figures.writes());
        if phase == Phase::Create {
            self.ready_seconds = figures.times.unwrap_or_default();
        }
        if phase == Phase::Rest {
            self.rss_steady_mib = figures.rss_steady_mib;
        }
        self.phases.insert(phase, figures);
    }
}

/// Counts beside the floor of a phase: what is counted without a floor, and what has a floor and was not counted.
#[must_use]
pub fn beside(counts: &BTreeMap<String, u64>, phase: Phase, service: Service, size: Size<'_>) -> Table {
    let mut table: Table =
        floor(phase, service, size).into_iter().map(|(call, floor)| (call, Against { measured: 0, floor })).collect();
    for (call, count) in counts.iter().filter(|(_, count)| **count > 0) {
        table.entry(call.clone()).or_default().measured = *count;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_floor() {
        assert_eq!(Against { measured: 6, floor: 4 }.ratio(), Some(1.5));
        assert_eq!(Against { measured: 0, floor: 0 }.ratio(), Some(1.0));
        assert_eq!(Against { measured: 1, floor: 0 }.ratio(), None);
    }

    #[test]
    fn percentiles_are_of_those_that_were_measured() {
        let seconds: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(Times::of(&seconds), Times { p50: 100.0, p99: 198.0, total: 200.0 });
        assert_eq!(Times::of(&[3.0]), Times { p50: 3.0, p99: 3.0, total: 3.0 });
    }

    #[test]
    fn what_was_not_called_and_what_has_no_floor_stand_in_the_table() {
        let size = Size { users: 2, in_accounts: &[1, 1], policy: PolicyKind::Inline };
        let counts =
            BTreeMap::from([("CreateUser".to_owned(), 2), ("GetUser".to_owned(), 3), ("TagUser".to_owned(), 0)]);
        let table = beside(&counts, Phase::Create, Service::Iam, size);
        assert_eq!(table["CreateUser"], Against { measured: 2, floor: 2 });
        assert_eq!(table["GetUser"], Against { measured: 3, floor: 0 });
        assert_eq!(table["CreateAccessKey"], Against { measured: 0, floor: 2 });
        assert!(!table.contains_key("TagUser"));
    }
}
