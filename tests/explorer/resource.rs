//! The CR, as the API server has it, and the copies of it that the processes have.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use s3_access_operator::api::{FINALIZER, RetiringKey, S3AccessUser, S3AccessUserStatus, annotations};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::conditions::{Conditions, says_settled};
use s3_access_operator::core::desired::{Desired, Owner};
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::names::Cluster;
use s3_access_operator::core::plan::{Parts, Progress};
use serde_json::json;

/// The CR, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    pub uid: u8,
    pub version: u8,
    pub generation: u8,
    pub deleted_at: Option<Timestamp>,
    pub suspended: bool,
    pub rotation: Option<u8>,
    pub finalizer: bool,
    pub report: Report,
}

/// Of the status, what anything rests upon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    pub generation: Option<i64>,
    pub settled: bool,
    pub user_arn: Option<String>,
    pub key: Option<String>,
    pub retiring: Option<String>,
}

impl Report {
    pub fn of(status: &S3AccessUserStatus) -> Self {
        Self {
            generation: status.observed_generation,
            settled: says_settled(status, status.observed_generation),
            user_arn: status.user_arn.clone(),
            key: status.access_key_id.clone(),
            retiring: status.retiring_key.as_ref().map(|key| key.id.clone()),
        }
    }

    pub fn status(&self) -> S3AccessUserStatus {
        let mut parts = Parts::pending();
        if self.settled {
            let synced = || Progress::Synced;
            parts = Parts { user: synced(), policy: synced(), key: synced(), secret: synced() };
        }
        let conditions = Conditions { earlier: &[], generation: self.generation, now: Timestamp::UNIX_EPOCH };
        let retiring =
            |id: &String| RetiringKey { id: id.clone(), retire_at: Time(Timestamp::UNIX_EPOCH), message: None };
        S3AccessUserStatus {
            observed_generation: self.generation,
            conditions: if *self == Self::default() { Vec::new() } else { conditions.of_parts(&parts) },
            user_arn: self.user_arn.clone(),
            access_key_id: self.key.clone(),
            retiring_key: self.retiring.as_ref().map(retiring),
            ..S3AccessUserStatus::default()
        }
    }
}

/// What a process makes of its copy.
pub struct Read {
    pub user: S3AccessUser,
    /// What it wants; `None` while it is being deleted.
    pub desired: Option<Desired>,
    pub owner: Owner,
}

impl Resource {
    /// That is the same for the same copy, and the dearest thing of all here.
    pub fn read(&self) -> Rc<Read> {
        thread_local! {
            static READ: RefCell<HashMap<Resource, Rc<Read>>> = RefCell::default();
        }
        READ.with_borrow_mut(|read| read.entry(self.clone()).or_insert_with(|| Rc::new(self.parse())).clone())
    }

    fn parse(&self) -> Read {
        let spec = json!({
            "userName": "reports",
            "access": [{ "bucket": "reports", "level": "ReadOnly" }],
            "accessKey": { "rotation": { "interval": "720h", "overlap": "6s" } },
            "suspend": self.suspended,
        });
        let mut user = S3AccessUser::new("reports", serde_json::from_value(spec).unwrap());
        user.metadata.namespace = Some("team-a".to_owned());
        user.metadata.uid = Some(self.uid());
        user.metadata.generation = Some(self.generation.into());
        user.metadata.deletion_timestamp = self.deleted_at.map(Time);
        user.metadata.finalizers = Some(self.finalizer.then(|| FINALIZER.to_owned()).into_iter().collect());
        let requested = self.rotation.map(|number| (annotations::ROTATE.to_owned(), number.to_string()));
        user.metadata.annotations = Some(requested.into_iter().collect());
        user.status = Some(self.report.status());
        let of = |user: &S3AccessUser| Desired::of(user, &account(), &cluster(), &Class::none()).unwrap();
        let desired = self.deleted_at.is_none().then(|| of(&user));
        let owner = Owner::of(&user, &account(), &cluster(), &Class::none());
        Read { user, desired, owner }
    }

    pub fn uid(&self) -> String {
        format!("uid-{}", self.uid)
    }
}

pub fn account() -> Account {
    Account { id: "123456789012".to_owned(), partition: "aws".to_owned() }
}

fn cluster() -> Cluster {
    Cluster { id: "cluster".to_owned(), name: "prod".to_owned() }
}
