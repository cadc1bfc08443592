//! The floor: what the work costs at least, derived from AWS's and Kubernetes' rules and from what the operator promises,
//! not from what it does. Every figure stands beside it.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is done to all users at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// N S3AccessUsers are created at once, until all are Ready.
    Create,
    /// Labels of all are touched, every watch breaks and lists again, and then nothing happens for a while.
    Rest,
    /// The process ends and begins again.
    Restart,
    /// One whole resync interval, a short one.
    Sweep,
    /// A new key for all, until the old ones are gone.
    Rotate,
    /// One account does not answer, and users are made in the other.
    Dark,
    /// All are deleted at once, until all are gone.
    Delete,
}

impl Phase {
    /// All, in the order in which they are run.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::Rest, Self::Restart, Self::Sweep, Self::Rotate, Self::Dark, Self::Delete];

    /// Its name in files and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Rest => "rest",
            Self::Restart => "restart",
            Self::Sweep => "sweep",
            Self::Rotate => "rotate",
            Self::Dark => "dark",
            Self::Delete => "delete",
        }
    }
}

/// What kind of policy the users have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PolicyKind {
    /// In the user; the account's quota of managed policies (1,500, at most 5,000) is no limit.
    Inline,
    /// A customer managed policy for each user, as the console makes.
    Managed,
}

/// Whose quota a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// IAM: its rate is what an account has least of.
    Iam,
    /// STS.
    Sts,
    /// The Kubernetes API server.
    Kubernetes,
}

/// One line of the floor.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The phase.
    pub phase: Phase,
    /// Whose quota it is.
    pub service: Service,
    /// The operation, or the verb and resource.
    pub call: &'static str,
    /// How often.
    pub per: Per,
    /// Only with this kind of policy.
    pub policy: Option<PolicyKind>,
    /// Why not less often.
    pub why: &'static str,
}

/// How a cost grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Once for each user.
    User,
    /// Once for each thousand users of an account, begun ones too.
    ThousandOfAccount,
    /// Once for each account.
    Account,
    /// Once for each page of a list.
    Page,
}

impl Per {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "a user",
            Self::ThousandOfAccount => "1,000 users of an account",
            Self::Account => "an account",
            Self::Page => "500 users",
        }
    }
}

const fn line(phase: Phase, service: Service, call: &'static str, per: Per, why: &'static str) -> Line {
    Line { phase, service, call, per, policy: None, why }
}

const fn only(policy: PolicyKind, line: Line) -> Line {
    Line { policy: Some(policy), ..line }
}

use self::Per::{Account, Page, ThousandOfAccount, User};
use self::Phase::{Create, Dark, Delete, Restart, Rotate, Sweep};
use self::PolicyKind::{Inline, Managed};
use self::Service::{Iam, Kubernetes, Sts};

/// The floor. What is not in it is 0 at least: at rest nothing at all.
pub const FLOOR: &[Line] = &[
    line(Create, Iam, "CreateUser", User, "path, tags and boundary fit into this call"),
    only(Inline, line(Create, Iam, "PutUserPolicy", User, "no call makes a user with its policy")),
    only(Managed, line(Create, Iam, "CreatePolicy", User, "a managed policy is an object of its own")),
    only(Managed, line(Create, Iam, "AttachUserPolicy", User, "and does nothing until it is attached")),
    line(Create, Iam, "CreateAccessKey", User, "no call makes a user with its key"),
    line(Create, Sts, "GetCallerIdentity", User, "a new key takes seconds to work everywhere; Ready says that it does"),
    line(Create, Kubernetes, "get secrets", User, "a Secret of that name may be somebody else's; no cache may say"),
    line(
        Create,
        Kubernetes,
        "patch s3accessusers",
        User,
        "the finalizer, before anything is made that needs cleaning up",
    ),
    line(Create, Kubernetes, "create secrets", User, "the key's only home"),
    line(Create, Kubernetes, "patch s3accessusers/status", User, "Ready"),
    line(Restart, Kubernetes, "list s3accessusers", Page, "what there is to look after"),
    line(Restart, Kubernetes, "list secrets", Page, "the same of the Secrets' metadata"),
    line(
        Sweep,
        Iam,
        "GetAccountAuthorizationDetails",
        ThousandOfAccount,
        "users, tags, boundaries and policies of the whole account, a thousand a page",
    ),
    line(Sweep, Iam, "GenerateCredentialReport", Account, "the access keys of all users, in a table"),
    line(Sweep, Iam, "GetCredentialReport", Account, "and to read that"),
    line(Rotate, Iam, "CreateAccessKey", User, "the new key"),
    line(Rotate, Iam, "GetAccessKeyLastUsed", User, "a key that is still used is not taken away yet"),
    line(Rotate, Iam, "UpdateAccessKey", User, "the old key is deactivated first, which can be undone"),
    line(Rotate, Iam, "DeleteAccessKey", User, "and then deleted: a user has two keys at most"),
    line(Rotate, Sts, "GetCallerIdentity", User, "the new key is seen to work before it enters the Secret"),
    line(Rotate, Kubernetes, "get secrets", User, "the Secret is written with the version that was read"),
    line(Rotate, Kubernetes, "update secrets", User, "the new key"),
    line(Rotate, Kubernetes, "patch s3accessusers/status", User, "Ready with the new key"),
    line(Rotate, Kubernetes, "patch s3accessusers/status", User, "the old key is gone"),
    line(Dark, Iam, "CreateUser", User, "as in create, for the users of the account that answers"),
    only(Inline, line(Dark, Iam, "PutUserPolicy", User, "as in create")),
    only(Managed, line(Dark, Iam, "CreatePolicy", User, "as in create")),
    only(Managed, line(Dark, Iam, "AttachUserPolicy", User, "as in create")),
    line(Dark, Iam, "CreateAccessKey", User, "as in create"),
    line(Dark, Sts, "GetCallerIdentity", User, "as in create"),
    line(Dark, Kubernetes, "get secrets", User, "as in create"),
    line(Dark, Kubernetes, "patch s3accessusers", User, "as in create"),
    line(Dark, Kubernetes, "create secrets", User, "as in create"),
    line(Dark, Kubernetes, "patch s3accessusers/status", User, "as in create"),
    line(Delete, Iam, "GetUser", User, "the tags that prove ownership are read live before anything is deleted"),
    line(Delete, Iam, "DeleteAccessKey", User, "a user with a key cannot be deleted"),
    only(Inline, line(Delete, Iam, "DeleteUserPolicy", User, "nor can one with an inline policy")),
    only(Managed, line(Delete, Iam, "DetachUserPolicy", User, "nor can one with an attached policy")),
    only(Managed, line(Delete, Iam, "DeletePolicy", User, "the policy would be left behind")),
    line(Delete, Iam, "DeleteUser", User, "the user"),
    line(Delete, Kubernetes, "patch s3accessusers", User, "the finalizer goes; the garbage collector takes the Secret"),
];

/// How many there are of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<'a> {
    /// Users in all.
    pub users: usize,
    /// IAM users in each account, whoever made them.
    pub in_accounts: &'a [usize],
    /// Their policies.
    pub policy: PolicyKind,
}

/// What a phase costs at least, by call.
#[must_use]
pub fn floor(phase: Phase, service: Service, size: Size<'_>) -> BTreeMap<String, u64> {
    let mut floor = BTreeMap::new();
    let lines = FLOOR.iter().filter(|line| line.phase == phase && line.service == service);
    for line in lines.filter(|line| line.policy.is_none_or(|policy| policy == size.policy)) {
        let count = match line.per {
            Per::User => size.users,
            Per::ThousandOfAccount => size.in_accounts.iter().map(|users| users.div_ceil(1_000)).sum(),
            Per::Account => size.in_accounts.len(),
            Per::Page => size.users.div_ceil(500),
        };
        *floor.entry(line.call.to_owned()).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
    }
    floor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(phase: Phase, service: Service, policy: PolicyKind) -> u64 {
        let size = Size { users: 10_000, in_accounts: &[5_000, 5_001], policy };
        floor(phase, service, size)
            .iter()
            .filter(|(call, _)| service != Kubernetes || super::super::audit::is_write(call))
            .map(|(_, count)| count)
            .sum()
    }

    #[test]
    fn the_floor_is_the_one_that_was_derived() {
        assert_eq!(total(Create, Iam, Inline), 30_000);
        assert_eq!(total(Create, Iam, Managed), 40_000);
        assert_eq!(total(Create, Kubernetes, Inline), 30_000);
        assert_eq!(total(Sweep, Iam, Inline), 5 + 6 + 2 + 2);
        assert_eq!(total(Sweep, Kubernetes, Inline), 0);
        for service in [Iam, Sts, Kubernetes] {
            assert_eq!(total(Phase::Rest, service, Inline), 0);
            assert_eq!(total(Restart, service, Inline), 0);
        }
    }
}
