//! Publishes Events through kube's recorder, which keeps each for minutes, so that one that is told again is counted.

use std::sync::{Mutex, PoisonError};

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

/// A recorder goes through all that it keeps at each Event, and never gives the memory back: of ten thousand users at once
/// that were 24 MiB. Events that are told again come close to each other.
const EVENTS: usize = 256;

/// One recorder after the other.
pub(super) struct Recorders {
    client: Client,
    reporter: Reporter,
    /// With the number of Events that it has been used for.
    current: Mutex<(Recorder, usize)>,
}

impl Recorders {
    pub(super) fn new(client: Client, reporter: Reporter) -> Self {
        let first = Recorder::new(client.clone(), reporter.clone());
        Self { client, reporter, current: Mutex::new((first, 0)) }
    }

    /// The one for the next Event.
    pub(super) fn next(&self) -> Recorder {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1 == EVENTS {
            *current = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        current.1 += 1;
        current.0.clone()
    }
}
