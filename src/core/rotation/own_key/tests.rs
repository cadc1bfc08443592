//! Every crash, lost answer and second leader at every step of a rotation, by twos, on a small model of IAM and of the Secret.

use super::*;

const START: Timestamp = Timestamp::constant(1_800_000_000, 0);
const INTERVAL: SignedDuration = SignedDuration::from_hours(24);

fn id(text: &str) -> AccessKeyId {
    AccessKeyId::of_iam(text)
}

fn key(id: &str, created_at: Timestamp) -> AccessKey {
    AccessKey { id: id.to_owned(), active: true, created_at }
}

fn after(hours: i64) -> Timestamp {
    later(START, SignedDuration::from_hours(hours))
}

fn credentials(id: &str, secret: &str) -> Credentials {
    Credentials { access_key_id: self::id(id), secret_access_key: secret.to_owned().into(), token: None }
}

/// IAM and the Secret, and the time.
#[derive(Clone, Debug)]
struct World {
    now: Timestamp,
    version: u32,
    held: Held,
    keys: Vec<AccessKey>,
    made: u32,
}

/// A process that leads, or did.
#[derive(Clone, Debug, Default)]
struct Process {
    mint: Option<Mint>,
    last_used: Option<Option<Timestamp>>,
}

/// What a process has decided, on what it has read.
#[derive(Clone, Debug)]
struct Decided {
    step: Step,
    version: u32,
    held: Held,
    at: Timestamp,
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    CrashBefore,
    CrashAfter,
    LostAnswer,
    /// Another process takes over; this one's step is carried out after so many of the other's.
    Overtaken(u32),
}

const FATES: [Fate; 6] =
    [Fate::CrashBefore, Fate::CrashAfter, Fate::LostAnswer, Fate::Overtaken(0), Fate::Overtaken(1), Fate::Overtaken(3)];

impl World {
    /// A Secret whose key is older than the interval, as an administrator has made it.
    fn new() -> Self {
        let held = Held { key_id: id("K0"), record: Record::default(), requested: None, immutable: false };
        let keys = vec![key("K0", later(START, -INTERVAL))];
        Self { now: START, version: 0, held, keys, made: 0 }
    }

    fn view<'a>(&'a self, process: &'a Process) -> View<'a> {
        View {
            held: &self.held,
            keys: &self.keys,
            mint: process.mint.as_ref(),
            last_used: process.last_used,
            interval: INTERVAL,
            waits: Waits::default(),
            now: self.now,
        }
    }

    fn decide(&self, process: &Process) -> Decided {
        Decided { step: self.view(process).next(), version: self.version, held: self.held.clone(), at: self.now }
    }

    /// As the shell does it. Without an answer, nothing of it is remembered.
    fn act(&mut self, process: &mut Process, decided: Decided, answered: bool) {
        let Decided { step, version, held, at } = decided;
        // IAM is not asked by who has lost the Lease; the Secret has its resource version.
        let leads = later(at, Waits::default().takeover) > self.now;
        let mut put = |key_id: AccessKeyId, record: Record| {
            let fresh = self.version == version;
            if fresh {
                self.version += 1;
                self.held = Held { key_id, record, ..held.clone() };
            }
            fresh
        };
        match step {
            Step::Rest(until) => self.now = until.max(later(self.now, SignedDuration::from_millis(1))),
            Step::Blocked(_) => self.now = later(self.now, RESYNC_INTERVAL),
            Step::Begin => {
                let record = Record { begun_at: Some(at), orphan_to_delete: None, ..held.record.clone() };
                if put(held.key_id.clone(), record) && answered {
                    process.mint = Some(Mint { begun_at: at, key: None });
                }
            }
            Step::Withdraw => {
                process.mint = None;
                put(held.key_id.clone(), Record { begun_at: None, ..held.record.clone() });
            }
            Step::Make if leads && self.keys.len() < 2 => {
                let begun_at = process.mint.take().map(|mint| mint.begun_at).filter(|_| answered);
                let key = self.make();
                process.mint = begun_at.map(|begun_at| Mint { begun_at, key: Some(key) });
            }
            // Refused, by which it is known that none was made.
            Step::Make if leads => {
                process.mint = None;
                put(held.key_id.clone(), Record { begun_at: None, ..held.record.clone() });
            }
            Step::Probe => {
                let Some(Mint { key: Some((minted, probes)), .. }) = &mut process.mint else { return };
                let works = self.keys.iter().any(|key| key.id == minted.id && key.active);
                probes.successes = if works && answered { probes.successes + 1 } else { 0 };
                probes.last = self.now;
            }
            Step::Swap => {
                let Some(Mint { key: Some((minted, _)), .. }) = process.mint.clone() else { return };
                let record = Record {
                    previous: Some(held.key_id.clone()),
                    rotated_at: Some(at),
                    rotate_handled: held.requested.clone(),
                    ..Record::default()
                };
                if put(id(&minted.id), record) && answered {
                    process.mint = None;
                }
            }
            Step::ReadLastUsed(_) => process.last_used = Some(None),
            Step::Deactivate(id) if leads => {
                self.keys.iter_mut().filter(|key| key.id == id).for_each(|key| key.active = false);
            }
            Step::NoteOrphan(id) => {
                put(held.key_id.clone(), Record { orphan_to_delete: Some(id), ..held.record.clone() });
            }
            Step::Delete(id, _) if leads => self.keys.retain(|key| key.id != id),
            Step::Make | Step::Deactivate(_) | Step::Delete(..) => {}
        }
    }

    fn make(&mut self) -> (Minted, Probes) {
        self.made += 1;
        let made = key(&format!("K{}", self.made), self.now);
        self.keys.push(made.clone());
        let probes = Probes { successes: 0, since: self.now, last: Timestamp::MIN };
        (Minted { id: made.id, created_at: made.created_at }, probes)
    }

    fn holds_a_key_that_works(&self) -> bool {
        self.keys.iter().any(|key| self.held.key_id == key.id && key.active)
    }
}

/// A run from a key that is due to the rest that follows, with these fates of its steps.
struct Run {
    world: World,
    leader: Process,
    steps: usize,
}

impl Run {
    fn new(world: World) -> Self {
        Self { world, leader: Process::default(), steps: 0 }
    }

    /// One step of whoever leads, whose memory of a use is that of one reading.
    fn step(&mut self, answered: bool) {
        let decided = self.world.decide(&self.leader);
        if matches!(decided.step, Step::Rest(_)) {
            self.leader.last_used = None;
        }
        self.world.act(&mut self.leader, decided, answered);
        self.steps += 1;
    }

    fn suffer(&mut self, fate: Fate) {
        match fate {
            Fate::CrashBefore => self.leader = Process::default(),
            Fate::CrashAfter => {
                self.step(false);
                self.leader = Process::default();
            }
            Fate::LostAnswer => self.step(false),
            Fate::Overtaken(steps) => {
                let mut old = std::mem::take(&mut self.leader);
                let late = self.world.decide(&old);
                (0..steps).for_each(|_| self.step(true));
                self.world.act(&mut old, late, true);
            }
        }
    }

    /// Goes on until the first key is gone and the next is not due, and holds what must hold at every moment.
    fn end(mut self, fates: &[(usize, Fate)]) -> World {
        let strangers: Vec<AccessKey> = self.world.keys.iter().filter(|key| key.id.starts_with('S')).cloned().collect();
        while self.world.now < after(23) {
            match fates.iter().find(|(at, _)| *at == self.steps) {
                Some((_, fate)) if *fate == Fate::CrashBefore => {
                    self.suffer(*fate);
                    self.step(true);
                }
                Some((_, fate)) => {
                    let before = self.steps;
                    self.suffer(*fate);
                    self.steps = self.steps.max(before + 1);
                }
                None => self.step(true),
            }
            assert!(self.world.holds_a_key_that_works(), "{fates:?} at {}: {:?}", self.steps, self.world);
            let kept = |key: &AccessKey| self.world.keys.contains(key);
            assert!(strangers.iter().all(kept), "{fates:?} at {}: {:?}", self.steps, self.world);
            assert!(self.steps < 5_000, "{fates:?} does not end: {:?}", self.world);
        }
        self.world
    }
}

#[test]
fn invariant_5_whatever_becomes_of_two_steps_one_key_is_left_and_it_is_a_new_one() {
    let whole = Run::new(World::new()).end(&[]);
    assert_eq!((whole.keys.len(), whole.made), (1, 1), "{whole:?}");
    // All steps of a life: to make a key, to try it, to swap it, and what becomes of the old one.
    let steps = 24;
    let fates = |from| (from..from + steps).flat_map(|at| FATES.map(|fate| (at, fate)));
    for first in fates(0) {
        for second in fates(first.0 + 1) {
            let world = Run::new(World::new()).end(&[first, second]);
            let [left] = world.keys.as_slice() else { panic!("{first:?} {second:?}: {world:?}") };
            assert!(world.held.key_id == left.id && left.id != "K0", "{first:?} {second:?}: {world:?}");
        }
    }
}

#[test]
fn a_key_of_somebody_else_is_left_alone_and_named() {
    for created_at in [after(-1_000), after(-1), START] {
        let mut world = World::new();
        world.keys.push(key("S1", created_at));
        for fate in FATES {
            let end = Run::new(world.clone()).end(&[(0, fate), (1, fate)]);
            assert_eq!(end.keys, world.keys, "{fate:?}");
        }
        let Step::Blocked(message) = world.view(&Process::default()).next() else { panic!("{world:?}") };
        assert!(message.contains("access key S1 "), "{message}");
    }
}

#[test]
fn a_key_that_somebody_makes_just_before_ours_is_not_taken_for_ours() {
    for seen in [true, false] {
        let mut run = Run::new(World::new());
        run.step(true);
        assert_eq!(run.world.held.record.begun_at, Some(START));
        let decided = run.world.decide(&run.leader);
        assert_eq!(decided.step, Step::Make);
        run.world.keys.push(key("S1", START));
        if !seen {
            // IAM refuses a third key, by which it is known that none was made.
            run.world.act(&mut run.leader, decided, true);
        }
        let end = run.end(&[]);
        assert_eq!(end.keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["K0", "S1"]);
        assert_eq!(end.held.record.begun_at, None);
    }
}

/// What a record can name at worst, and what a process can remember.
fn records() -> impl Iterator<Item = (Record, Option<Mint>)> {
    let ids = || [None, Some("K0"), Some("S1"), Some("gone")].map(|name| name.map(id));
    let times = || [None, Some(Timestamp::MIN), Some(after(-1)), Some(START), Some(Timestamp::MAX)];
    let mints = || {
        let probes = Probes { successes: PROBES, since: START, last: Timestamp::MIN };
        let minted = Minted { id: "K7".to_owned(), created_at: START };
        [None, Some(Mint { begun_at: START, key: None }), Some(Mint { begun_at: START, key: Some((minted, probes)) })]
    };
    ids().into_iter().flat_map(move |previous| {
        let of_times = move |rotated_at| {
            let previous = previous.clone();
            times().into_iter().flat_map(move |begun_at| {
                let previous = previous.clone();
                ids().into_iter().flat_map(move |orphan_to_delete| {
                    let record = Record {
                        previous: previous.clone(),
                        rotated_at,
                        begun_at,
                        orphan_to_delete,
                        ..Record::default()
                    };
                    mints().map(|mint| (record.clone(), mint))
                })
            })
        };
        times().into_iter().flat_map(of_times)
    })
}

#[test]
fn without_a_key_that_works_in_the_secret_nothing_is_touched() {
    let idle = |step: &Step| matches!(step, Step::Blocked(_) | Step::Rest(_));
    for (record, mint) in records() {
        let mut world = World::new();
        world.held.record = record;
        let process = Process { mint, last_used: Some(None) };
        for keys in
            [vec![], vec![key("S1", START)], vec![AccessKey { active: false, ..key("K0", START) }, key("S1", START)]]
        {
            world.keys = keys;
            let step = world.view(&process).next();
            assert!(idle(&step), "{step:?} of {world:?}");
        }
        world.keys = vec![key("K0", after(-30)), key("S1", START)];
        world.held.immutable = true;
        let step = world.view(&process).next();
        assert!(idle(&step), "{step:?} of {world:?}");
    }
}

/// The seal keeps others from the record; what is in it may be old all the same, or of a clock that was wrong.
#[test]
fn the_key_of_the_secret_is_never_taken_away_and_no_newer_one_is_its_previous() {
    for (record, mint) in records() {
        let mut world = World::new();
        world.held.record = record;
        world.keys.push(key("S1", after(5)));
        let process = Process { mint, last_used: Some(None) };
        let taken = match world.view(&process).next() {
            Step::Deactivate(id) | Step::Delete(id, _) => id,
            Step::NoteOrphan(id) => id.to_string(),
            _ => continue,
        };
        // By a begin that could have led to it, and by nothing else.
        let begun = world.held.record.begun_at.is_some_and(|at| at == START);
        assert!(taken == "S1" && begun, "{taken} of {world:?}");
    }
}

#[test]
fn only_a_key_of_the_time_of_a_begin_is_of_it() {
    let owner = |begun_at: Timestamp, created_at, orphan_to_delete| {
        let mut world = World::new();
        world.held.record = Record { begun_at: Some(begun_at), orphan_to_delete, ..Record::default() };
        world.keys.push(key("N1", created_at));
        world.view(&Process::default()).owner(&world.keys[1], &world.keys[0])
    };
    let seconds = |seconds| later(START, SignedDuration::from_secs(seconds));
    for (created_at, noted, expected) in [
        (seconds(0), None, Owner::Stranded),
        (seconds(-60), None, Owner::Stranded),
        (seconds(-61), None, Owner::Stranger),
        (seconds(900), None, Owner::Stranded),
        (seconds(901), None, Owner::Stranger),
        (seconds(0), Some(id("N1")), Owner::Stranded),
        (seconds(0), Some(id("another")), Owner::Stranger),
    ] {
        assert_eq!(owner(START, created_at, noted.clone()), expected, "{created_at} {noted:?}");
    }
}

#[test]
fn a_key_is_replaced_at_its_age_or_when_somebody_asks() {
    let mut world = World::new();
    world.keys[0].created_at = START;
    assert_eq!(world.view(&Process::default()).next(), Step::Rest(after(1)), "it resyncs every hour");
    world.now = after(24);
    assert_eq!(world.view(&Process::default()).next(), Step::Begin);
    world.now = START;
    world.held.requested = Some("now".to_owned());
    assert_eq!(world.view(&Process::default()).next(), Step::Begin);
    world.held.record.rotate_handled = Some("now".to_owned());
    assert_eq!(world.view(&Process::default()).next(), Step::Rest(after(1)));
}

#[test]
fn a_replaced_key_works_through_the_overlap_and_longer_where_it_is_used() {
    let mut world = World::new();
    world.keys = vec![key("K0", after(-30)), key("K1", START)];
    world.held.key_id = id("K1");
    world.held.record = Record { previous: Some(id("K0")), rotated_at: Some(START), ..Record::default() };
    let next = |now, active, last_used: Option<Option<Timestamp>>| {
        let mut world = world.clone();
        (world.now, world.keys[0].active) = (now, active);
        world.view(&Process { mint: None, last_used }).next()
    };
    assert_eq!(next(after(5), true, None), Step::Rest(after(6)));
    assert_eq!(next(after(6), true, None), Step::ReadLastUsed("K0".to_owned()));
    assert_eq!(next(after(6), true, Some(None)), Step::Deactivate("K0".to_owned()));
    assert_eq!(next(after(6), true, Some(Some(after(5)))), Step::Rest(after(7)), "it resyncs every hour");
    assert_eq!(next(after(11), true, Some(Some(after(5)))), Step::Deactivate("K0".to_owned()));
    assert_eq!(next(after(12), true, Some(Some(after(12)))), Step::Deactivate("K0".to_owned()));
    assert_eq!(next(after(6), false, Some(None)), Step::Rest(after(7)));
    assert_eq!(next(after(7), false, Some(None)), Step::Delete("K0".to_owned(), WhyDelete::Retired));
}

#[test]
fn a_new_key_that_never_works_is_given_up_and_another_one_made() {
    let mut run = Run::new(World::new());
    (0..2).for_each(|_| run.step(true));
    run.world.keys[1].active = false;
    let end = run.end(&[]);
    assert_eq!((end.keys.len(), end.held.key_id), (1, id("K2")));
}

#[test]
fn the_seal_is_of_the_key_and_of_each_word_of_the_record() {
    let record = Record {
        previous: Some(id("K0")),
        rotated_at: Some(START),
        begun_at: Some(after(1)),
        orphan_to_delete: Some(id("K2")),
        rotate_handled: Some("now".to_owned()),
    };
    let seal = record.seal(&credentials("K1", "secret"));
    assert_eq!(seal, record.clone().seal(&credentials("K1", "secret")));
    assert!(!seal.contains("secret"));
    let others = [
        Record { previous: None, ..record.clone() },
        Record { rotated_at: Some(after(1)), ..record.clone() },
        Record { begun_at: None, ..record.clone() },
        Record { orphan_to_delete: Some(id("K0")), ..record.clone() },
        Record { rotate_handled: None, ..record.clone() },
    ];
    for other in others {
        assert_ne!(other.seal(&credentials("K1", "secret")), seal, "{other:?}");
    }
    assert_ne!(record.seal(&credentials("K1", "guess")), seal);
    assert_ne!(record.seal(&credentials("K3", "secret")), seal);
}

#[test]
fn two_keys_at_a_time_do_whatever_the_interval_is() {
    for hours in [1, 24, 96, 720, 8_760] {
        let interval = SignedDuration::from_hours(hours);
        let longest = overlap(interval) * 2;
        assert!(longest * 2 <= interval && overlap(interval) <= DEFAULT_OVERLAP, "{hours}");
        assert!(life_of_credentials(interval) * 3 <= overlap(interval), "{hours}");
    }
    assert_eq!(life_of_credentials(SignedDuration::from_hours(1)), LONGEST_LIFE);
}
