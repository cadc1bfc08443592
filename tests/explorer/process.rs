//! An operator process: what it knows, the copy of the CR that its watch has brought, and what it is doing.

use std::collections::VecDeque;
use std::fmt;

use jiff::Timestamp;
use s3_access_operator::core::observed::{Observed, SecretState};
use s3_access_operator::core::plan::{Action, Plan};
use s3_access_operator::core::reads::Reads;
use s3_access_operator::core::reads::known::{Known, Reported};

use crate::resource::{Report, Resource};

/// A reconcile under way.
#[derive(Clone, Debug)]
pub struct Work {
    /// The CR as the process has it.
    pub resource: Resource,
    /// The Secret, as it was read.
    pub seen: SecretState,
    /// How much was read of the rest.
    pub reads: Reads,
    /// When.
    pub read_at: Timestamp,
    /// The world was not as it was read, and all was read anew.
    pub retried: bool,
    /// It has added the finalizer, which its copy does not show.
    pub finalizer_added: bool,
    /// Its picture.
    pub view: Observed,
    /// What it has planned.
    pub rest: VecDeque<Action>,
    /// What is left of the plan, which is to be reported.
    pub left: Option<Box<Plan>>,
}

/// An operator process.
#[derive(Clone)]
pub struct Process {
    /// Of the CR with that UID.
    pub uid: u8,
    pub known: Known,
    /// The CR as the watch has it.
    pub copy: Option<Resource>,
    /// A page of the bulk read has shown a difference, and the sweep has not come to its end.
    pub screened: bool,
    /// A sweep of its own has told it of the difference that there is: it needs no other to put that right.
    pub shown: bool,
    /// The last credential report, which it may read late.
    pub reported: Option<Reported>,
    pub work: Option<Box<Work>>,
    /// When it reconciles again, where nothing happens. A process may reconcile at any time, so that this tells no two
    /// states apart.
    pub due_at: Option<Timestamp>,
}

/// Less the time that tells no two apart; the secret half of a key is not shown.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, known, copy, screened, shown, reported, work, due_at: _ } = self;
        write!(f, "{uid} {known:?} {copy:?} {screened} {shown} {reported:?} {work:?}")
    }
}

impl Process {
    /// One that has just begun: it lists the CR, and remembers nothing.
    pub fn new(resource: Option<&Resource>) -> Self {
        Self {
            uid: resource.map_or(0, |resource| resource.uid),
            known: Known::default(),
            copy: resource.cloned(),
            screened: false,
            shown: false,
            reported: None,
            work: None,
            due_at: None,
        }
    }

    /// What is known of the CR with that UID.
    pub fn known_of(&self, uid: u8) -> Known {
        if self.uid == uid { self.known.clone() } else { Known::default() }
    }

    /// What is known is kept by UID.
    pub fn change(&mut self, uid: u8, change: impl FnOnce(&mut Known)) {
        if self.uid == uid {
            change(&mut self.known);
        }
    }

    /// Read your writes: the copy, with what this process has written since.
    pub fn newest(&self) -> Option<Resource> {
        let mut newest = self.copy.clone()?;
        let written = self.known.last_written.as_deref();
        if let Some((version, status)) = written.filter(|written| written.0 > newest.version.into()) {
            newest.version = u8::try_from(*version).unwrap();
            newest.report = Report::of(status);
            newest.finalizer |= newest.report.user_arn.is_some() && newest.deleted_at.is_none();
        }
        Some(newest)
    }

    /// The watch brings the newest.
    pub fn watch(&mut self, live: Option<&Resource>) {
        if self.copy.as_ref() == live {
            return;
        }
        let uid = live.map_or(0, |live| live.uid);
        if self.uid != uid {
            // Gone, and another one has its name.
            *self = Self { work: self.work.take(), ..Self::new(live) };
        }
        self.copy = live.cloned();
        if self.work.is_none() {
            self.drop_written();
        }
    }

    /// Reads the last credential report.
    pub fn compare(&mut self) {
        let reported = self.reported.take();
        reported.map(|reported| self.known.compared(&reported));
    }

    /// Our own word of the CR is kept until the watch has it, and the reconcile under way has ended.
    pub fn drop_written(&mut self) {
        if let Some(copy) = &self.copy {
            self.known.watched(copy.version.into());
        }
    }
}
