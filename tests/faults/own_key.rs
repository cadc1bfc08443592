//! The operator's own key, by the operator's own code over the strict double: with a fault at every effect of its rotation, with
//! pairs of them, with two leaders, and in an account in which everything happens that AWS warns of.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use ground::double::{Request, Response, Settings};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use s3_access_operator::aws::{Result, Session, Sts};
use s3_access_operator::controller::{OwnSecret, Rotator};
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::plan::Waits;
use s3_access_operator::core::secret_data::Credentials;
use s3_access_operator::leadership::Leadership;
use s3_access_operator::metrics::Metrics;
use secrecy::SecretString;
use serde_json::json;

use crate::boundary::{Boundary, Fault, Plan};
use crate::cloud::Cloud;
use crate::cluster::{InProcess, OPERATORS_NAMESPACE};
use crate::outside::Outside;

const START: &str = "2026-01-01T00:00:00Z";
const USER: &str = "s3-access-operator";
const SECRET: &str = "s3-access-operator-aws";
const INTERVAL: SignedDuration = SignedDuration::from_hours(2);
/// From a key that is due to the rest after its rotation: the next one is not due yet, whatever the faults have put off.
const LIFE: SignedDuration = SignedDuration::from_mins(110);

/// The same, as the IAM user that the operator is.
struct AsUser(Cloud);

#[async_trait]
impl Sts for AsUser {
    async fn caller(&self) -> Result<Account> {
        self.0.caller().await
    }

    async fn user(&self) -> Result<Option<String>> {
        self.0.caller().await.map(|_| Some(USER.to_owned()))
    }

    async fn accepts(&self, id: &str, secret: &SecretString) -> Result<bool> {
        self.0.accepts(id, secret).await
    }

    async fn session_token(&self, id: &str, secret: &SecretString, seconds: i32) -> Result<Credentials> {
        self.0.session_token(id, secret, seconds).await
    }
}

/// An account with the operator's user, whose key is in the Secret and due.
fn before(settings: Settings) -> Outside {
    let outside = Outside::new(settings, START.parse().unwrap());
    outside.with(|state| {
        let user_name = || USER.to_owned();
        state.by_hand(&Request::CreateUser {
            user_name: user_name(),
            path: None,
            permissions_boundary: None,
            tags: Vec::new(),
        });
        let Response::NewAccessKey(made) = state.by_hand(&Request::CreateAccessKey { user_name: user_name() }) else {
            panic!("no key")
        };
        let secret = json!({
            "metadata": { "name": SECRET, "namespace": OPERATORS_NAMESPACE, "labels": { "kept": "yes" } },
        });
        let mut secret: Secret = serde_json::from_value(secret).unwrap();
        let entries = [("AWS_ACCESS_KEY_ID", &made.key.id), ("AWS_SECRET_ACCESS_KEY", &made.key.secret)];
        let bytes = |text: &String| k8s_openapi::ByteString(text.as_bytes().to_vec());
        secret.data = Some(entries.map(|(name, text)| (name.to_owned(), bytes(text))).into());
        state.cluster.put_secret(secret);
    });
    outside.pass(INTERVAL);
    outside
}

type Turn = Pin<Box<dyn Future<Output = (Box<Rotator>, Duration)>>>;

/// One operator process.
struct Process {
    outside: Outside,
    boundary: Boundary,
    turn: Turn,
    /// When it goes on.
    at: Timestamp,
}

fn turn(mut rotator: Box<Rotator>) -> Turn {
    Box::pin(async move {
        let pause = rotator.step().await;
        (rotator, pause)
    })
}

impl Process {
    fn start(outside: &Outside, boundary: Boundary) -> Self {
        boundary.restart();
        let cloud = Cloud { outside: outside.clone(), boundary: boundary.clone() };
        let kubernetes = InProcess { outside: outside.clone(), boundary: boundary.clone() };
        let session = Session::new(Arc::new(cloud.clone()), Arc::new(AsUser(cloud)), "us-east-1".to_owned(), None);
        let secret = OwnSecret::over(Arc::new(kubernetes), OPERATORS_NAMESPACE, SECRET, INTERVAL);
        let clock = outside.clone();
        let rotator = Rotator {
            session: Arc::new(session),
            secret,
            waits: Waits::default(),
            leadership: Leadership::unopposed(),
            metrics: Arc::new(Metrics::default()),
            clock: Arc::new(move || clock.now()),
            memory: Default::default(),
        };
        let turn = turn(Box::new(rotator));
        Self { outside: outside.clone(), boundary, turn, at: outside.now() }
    }

    /// Goes on to the end of its turn, or to the next effect where effects are stepped through.
    fn poll(&mut self) {
        match self.turn.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
            Poll::Ready((rotator, pause)) => {
                self.at = self.outside.now() + SignedDuration::try_from(pause).unwrap();
                self.turn = turn(rotator);
            }
            Poll::Pending if self.boundary.has_crashed() => *self = Self::start(&self.outside, self.boundary.clone()),
            Poll::Pending => {}
        }
    }
}

/// Lets the processes work until that time; of several that may go on, chance chooses.
fn run(processes: &mut [Process], until: Timestamp, random: &mut Rng) {
    let outside = processes[0].outside.clone();
    for _ in 0..20_000 {
        let now = outside.now();
        let due: Vec<usize> = (0..processes.len()).filter(|index| processes[*index].at <= now).collect();
        match due.as_slice() {
            [] if now >= until => return,
            [] => outside.set_now(processes.iter().map(|process| process.at).min().unwrap()),
            due => processes[due[random.usize(..due.len())]].poll(),
        }
        assert!(holds_a_key_that_works(&outside), "the operator is locked out at {now}");
    }
    panic!("a hot loop");
}

fn held(outside: &Outside) -> (String, String) {
    let secret = outside.with(|state| state.cluster.secrets[SECRET].clone());
    let text = |name: &str| String::from_utf8(secret.data.as_ref().unwrap()[name].0.clone()).unwrap();
    assert_eq!(secret.metadata.labels.as_ref().unwrap()["kept"], "yes");
    (text("AWS_ACCESS_KEY_ID"), text("AWS_SECRET_ACCESS_KEY"))
}

/// By what is, and not by what a replica of IAM shows.
fn holds_a_key_that_works(outside: &Outside) -> bool {
    let (id, half) = held(outside);
    outside.with(|state| {
        let key = state.user(USER).unwrap().keys.iter().find(|key| key.id == id).cloned();
        key.is_some_and(|key| key.status == ground::double::Status::Active && key.secret == half)
    })
}

/// One key is left, another one than at first, and it is the Secret's.
fn check(outside: &Outside, first: &str) {
    let ids: BTreeSet<String> =
        outside.with(|state| state.user(USER).unwrap().keys.iter().map(|key| key.id.clone()).collect());
    let (id, _) = held(outside);
    assert_eq!(ids, BTreeSet::from([id.clone()]), "another key than the Secret's is left");
    assert_ne!(id, first, "nothing was rotated");
    assert!(outside.with(|state| state.accepted.contains(&id)), "{id} was not seen to work");
    // The judge knows owners and Secrets of S3AccessUsers only, so its third and fourth do not hold here.
    let violations = outside.with(|state| state.violations.clone());
    let of_keys = ["invariant 2", "invariant 9"];
    assert!(!violations.iter().any(|one| of_keys.iter().any(|kind| one.starts_with(kind))), "{violations:?}");
}

/// A whole life under these faults; the effects, by name.
fn live(before: &Outside, plan: Plan) -> Vec<String> {
    let outside = before.fork();
    let (first, _) = held(&outside);
    let boundary = Boundary::default();
    let mut processes = [Process::start(&outside, boundary.clone())];
    boundary.arm(plan);
    run(&mut processes, outside.now() + LIFE, &mut Rng::with_seed(1));
    let effects = boundary.disarm();
    check(&outside, &first);
    effects
}

/// Whatever is tried is told where it fails.
fn told<T>(what: &str, work: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| panic!("in {what}"))
}

#[test]
fn invariant_5_a_fault_at_any_effect_of_its_own_rotation_leaves_one_key_that_works() {
    let before = before(Settings::default());
    let effects = live(&before, Plan::default());
    let last = effects.iter().rposition(|effect| effect.starts_with("DeleteAccessKey")).unwrap();
    // At rest it reads the Secret again and again: a fault of the first such read is one of all.
    let of_rotation: Vec<usize> = (0..=last).filter(|at| *at == 0 || effects[*at] != effects[at - 1]).collect();
    assert!(of_rotation.len() > 20, "{effects:?}");
    for &at in &of_rotation {
        for fault in Fault::ALL {
            let plan = Plan::of([(at, fault)]);
            told(&plan.to_string(), || live(&before, plan.clone()));
        }
    }
    for seed in 0..crate::number("FAULTS_PAIRS", 100) {
        let random = &mut Rng::with_seed(seed);
        let first = of_rotation[random.usize(..of_rotation.len())];
        let second = first + 1 + random.usize(..of_rotation.len());
        let mut fault = || Fault::ALL[random.usize(..Fault::ALL.len())];
        let plan = Plan::of([(first, fault()), (second, fault())]);
        told(&plan.to_string(), || live(&before, plan.clone()));
    }
}

#[test]
fn invariant_5_two_leaders_of_its_own_rotation_leave_one_key_that_works() {
    let before = before(Settings::default());
    for seed in 0..crate::number("FAULTS_RACES", 50) {
        told(&format!("race {seed}"), || {
            let outside = before.fork();
            let (first, _) = held(&outside);
            let boundary = Boundary::default();
            boundary.set_stepping(true);
            let mut processes = [0, 1].map(|process| Process::start(&outside, boundary.of_process(process)));
            let end = outside.now() + LIFE;
            run(&mut processes, outside.now() + SignedDuration::from_mins(10), &mut Rng::with_seed(seed));
            // The one that has lost the Lease ends.
            run(&mut processes[..1], end, &mut Rng::with_seed(seed));
            check(&outside, &first);
        });
    }
}

#[test]
fn invariant_5_replicas_of_iam_that_lag_leave_one_key_that_works() {
    for seed in 0..crate::number("FAULTS_HOSTILE", 50) {
        told(&format!("hostile {seed}"), || live(&before(Settings::hostile(seed)), Plan::default()));
    }
}
