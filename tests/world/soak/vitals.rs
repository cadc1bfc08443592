//! Whether the operator lives and answers, and how much memory it takes: looked at five times a second, from a thread that
//! does nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ground::processes::resident_bytes;

const EVERY: Duration = Duration::from_millis(200);
/// Later is no answer.
const PATIENCE: Duration = Duration::from_secs(1);

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
    let started = Instant::now();
    loop {
        std::thread::sleep(EVERY);
        let (target, over) = {
            let shared = shared.lock().unwrap();
            (shared.target, shared.over)
        };
        if over {
            return;
        }
        let Some(target) = target else { continue };
        let (health, memory) = (health(target.port), resident_bytes(target.process));
        let mut shared = shared.lock().unwrap();
        // Who was killed meanwhile did not die.
        if shared.target != Some(target) {
            continue;
        }
        let vitals = &mut shared.vitals;
        vitals.samples += 1;
        let at = started.elapsed();
        match health {
            Ok(took) => vitals.slowest = vitals.slowest.max(took),
            Err(error) => vitals.wrong.push(format!("{at:.1?}: /healthz: {error}")),
        }
        match memory {
            Ok(bytes) => vitals.most = vitals.most.max(bytes),
            Err(error) => vitals.wrong.push(format!("{at:.1?}: the process: {error:#}")),
        }
    }
}

/// How long /healthz took to say that all is well.
fn health(port: u16) -> std::io::Result<Duration> {
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let took = started.elapsed();
    if !answer.starts_with("HTTP/1.1 200") {
        return Err(std::io::Error::other(format!("answered {answer:?}")));
    }
    if took > PATIENCE {
        return Err(std::io::Error::other(format!("took {took:?}")));
    }
    Ok(took)
}
