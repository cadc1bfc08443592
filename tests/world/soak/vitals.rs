//! Whether the operator lives and answers, and how much memory it takes: looked at five times a second, from a thread that
//! does nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ground::processes::resident_bytes;
use ground::repository;
use serde_json::Value;

const EVERY: Duration = Duration::from_millis(200);

/// How the kubelet asks whether it lives.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// Later is no answer.
    timeout: Duration,
    period: Duration,
    /// After so many tries in a row without an answer, the pod is started again.
    failures: u32,
}

impl Probe {
    /// As the Deployment has it.
    fn shipped() -> Self {
        let text = std::fs::read_to_string(repository().join("deploy/deployment.yaml")).unwrap();
        let deployment: Value = serde_saphyr::from_str(&text).unwrap();
        let probe = &deployment["spec"]["template"]["spec"]["containers"][0]["livenessProbe"];
        let number = |field: &str| u32::try_from(probe[field].as_u64().unwrap()).unwrap();
        let seconds = |field: &str| Duration::from_secs(number(field).into());
        Self {
            timeout: seconds("timeoutSeconds"),
            period: seconds("periodSeconds"),
            failures: number("failureThreshold"),
        }
    }

    /// From the first of those tries to the last.
    fn patience(self) -> Duration {
        self.period * (self.failures - 1)
    }
}

/// Since when each try was in vain.
#[derive(Debug, Default)]
struct Silence(Option<Duration>);

impl Silence {
    /// A try that began at that time; whether the kubelet would start the pod again by now, whenever it had asked first.
    fn tried(&mut self, at: Duration, answered: bool, probe: Probe) -> bool {
        if answered {
            self.0 = None;
            return false;
        }
        at.saturating_sub(*self.0.get_or_insert(at)) >= probe.patience()
    }
}

/// A running operator: its process and the port of its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub process: u32,
    pub port: u16,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    pub samples: usize,
    /// The longest time to an answer of /healthz.
    pub slowest: Duration,
    /// The most memory, bytes.
    pub most: u64,
    /// Tries without an answer, which the kubelet forgives.
    pub unanswered: usize,
    /// What was wrong, and when.
    pub wrong: Vec<String>,
}

struct Shared {
    /// Nobody is looked at while there is nobody on purpose.
    target: Option<Target>,
    over: bool,
    vitals: Vitals,
}

pub struct Monitor {
    shared: Arc<Mutex<Shared>>,
    thread: JoinHandle<()>,
}

impl Monitor {
    pub fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared { target: None, over: false, vitals: Vitals::default() }));
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || watch(&shared)
        });
        Self { shared, thread }
    }

    /// Looks at that one from now on.
    pub fn look_at(&self, target: Option<Target>) {
        self.shared.lock().unwrap().target = target;
    }

    /// What was seen so far.
    pub fn so_far(&self) -> Vitals {
        self.shared.lock().unwrap().vitals.clone()
    }

    /// What was seen in all.
    pub fn end(self) -> Vitals {
        self.shared.lock().unwrap().over = true;
        self.thread.join().unwrap();
        self.shared.lock().unwrap().vitals.clone()
    }
}

fn watch(shared: &Mutex<Shared>) {
    let (probe, started) = (Probe::shipped(), Instant::now());
    let mut silence = Silence::default();
    loop {
        std::thread::sleep(EVERY);
        let (target, over) = {
            let shared = shared.lock().unwrap();
            (shared.target, shared.over)
        };
        if over {
            return;
        }
        let Some(target) = target else {
            silence = Silence::default();
            continue;
        };
        let at = started.elapsed();
        let (health, memory) = (health(target.port, probe.timeout), resident_bytes(target.process));
        let mut shared = shared.lock().unwrap();
        // Who was killed meanwhile did not die.
        if shared.target != Some(target) {
            silence = Silence::default();
            continue;
        }
        let vitals = &mut shared.vitals;
        vitals.samples += 1;
        let restarts = silence.tried(at, health.is_ok(), probe);
        match health {
            Ok(took) => vitals.slowest = vitals.slowest.max(took),
            Err(error) if restarts => {
                vitals.wrong.push(format!("{at:.1?}: /healthz, for {:?}: {error}", probe.patience()));
                silence = Silence::default();
            }
            Err(_) => vitals.unanswered += 1,
        }
        match memory {
            Ok(bytes) => vitals.most = vitals.most.max(bytes),
            Err(error) => vitals.wrong.push(format!("{at:.1?}: the process: {error:#}")),
        }
    }
}

/// How long /healthz took to say that all is well.
fn health(port: u16, timeout: Duration) -> std::io::Result<Duration> {
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let took = started.elapsed();
    if !answer.starts_with("HTTP/1.1 200") {
        return Err(std::io::Error::other(format!("answered {answer:?}")));
    }
    if took > timeout {
        return Err(std::io::Error::other(format!("took {took:?}")));
    }
    Ok(took)
}

#[test]
fn only_a_silence_at_which_the_kubelet_would_act_is_wrong() {
    let probe = Probe::shipped();
    let before = probe.patience() - Duration::from_millis(1);
    let after = |tries: &[(Duration, bool)]| {
        let mut silence = Silence::default();
        tries.iter().map(|(at, answered)| silence.tried(*at, *answered, probe)).collect::<Vec<_>>()
    };
    let start = Duration::from_secs(100);
    assert_eq!(after(&[(start, false), (start + before, false)]), [false, false], "the next try may be answered");
    assert_eq!(after(&[(start, false), (start + probe.patience(), false)]), [false, true]);
    let answered = [(start, false), (start + before, true), (start + probe.patience(), false)];
    assert_eq!(after(&answered), [false, false, false], "one answer is enough");
}
