//! The closed set of things that the operator does.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::api::{ConditionType, Reason, Workload};
use crate::core::ends::revocation::Measures;
use crate::core::iam::AccessKeyId;
use crate::core::observed::Place;
use crate::core::policy::Document;

/// The part of the spec that an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The IAM user.
    User,
    /// Its policies.
    Policy,
    /// Its access key.
    AccessKey,
    /// The Secret.
    Secret,
}

impl Part {
    /// In the order in which they are planned.
    pub const ALL: [Self; 4] = [Self::User, Self::Policy, Self::AccessKey, Self::Secret];

    /// The part's condition.
    pub fn condition(self) -> ConditionType {
        match self {
            Self::User => ConditionType::UserSynced,
            Self::Policy => ConditionType::PolicySynced,
            Self::AccessKey => ConditionType::AccessKeySynced,
            Self::Secret => ConditionType::SecretSynced,
        }
    }
}

/// Why an access key is deleted; the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhyDelete {
    /// No Secret holds it: a crash, a lost response, or a Secret that was lost.
    Orphan,
    /// Its successor has taken over.
    Retired,
    /// It was revoked, and kept inactive for long enough, or its slot is needed.
    Revoked,
    /// AWS never came to accept it, or it could not go into the Secret in time.
    Unusable,
    /// The CR is being deleted.
    Teardown,
}

/// What the Secret's annotations record beside the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretRecord {
    /// IAM's CreateDate of the key.
    pub created_at: Option<Timestamp>,
    /// The key that it replaced.
    pub previous: Option<AccessKeyId>,
    /// When it replaced it.
    pub rotated_at: Option<Timestamp>,
    /// The rotate annotation that it answers to.
    pub rotate_handled: Option<String>,
    /// The orphan key that is about to be deleted: noted first, so that another leader's write of that key conflicts.
    pub orphan_to_delete: Option<AccessKeyId>,
}

/// One effect on the world, or one question to AWS that a decision needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Puts the finalizer on the CR, before anything is made in IAM.
    AddFinalizer,
    /// Lets the CR go.
    RemoveFinalizer,
    /// Says in the status that the CR is not Ready, before a new key is made: should the operator die in between,
    /// the next one does not take the CR for settled.
    Announce(Reason),
    /// Creates the user with path, tags and boundary in one call, so that there is never an untagged user.
    CreateUser {
        /// All its tags.
        tags: BTreeMap<String, String>,
        /// The ARN of its permissions boundary.
        boundary: Option<String>,
    },
    /// Changes the user's path.
    MoveUser {
        /// The new path.
        path: String,
    },
    /// Adds or changes tags of the user.
    TagUser(BTreeMap<String, String>),
    /// Removes tags of the user.
    UntagUser(Vec<String>),
    /// Sets the user's permissions boundary.
    PutBoundary(String),
    /// Removes it.
    DeleteBoundary,
    /// Creates the managed policy with its ownership tags.
    CreatePolicy {
        /// Its ARN.
        arn: String,
        /// What it says.
        document: Document,
    },
    /// Takes over a managed policy of the S3AccessUser's predecessor.
    TagPolicy {
        /// The policy.
        arn: String,
        /// The ownership tags.
        tags: BTreeMap<String, String>,
    },
    /// Makes room: a managed policy has at most five versions.
    DeletePolicyVersion {
        /// The policy.
        arn: String,
        /// The version.
        version: String,
    },
    /// Changes what a managed policy says.
    CreatePolicyVersion {
        /// The policy.
        arn: String,
        /// What it says.
        document: Document,
    },
    /// Deletes a managed policy of ours, versions first.
    DeletePolicy {
        /// The policy.
        arn: String,
    },
    /// Attaches a managed policy to the user.
    AttachPolicy(String),
    /// Detaches one.
    DetachPolicy(String),
    /// Writes an inline policy.
    PutInlinePolicy {
        /// Its name.
        name: String,
        /// What it says.
        document: Document,
    },
    /// Deletes an inline policy.
    DeleteInlinePolicy {
        /// Its name.
        name: String,
    },
    /// Asks the API server whether it would take the Secret, by a dry run: no key is made for one that it would not.
    DryRunSecret,
    /// Makes an access key; never retried blindly, since each success makes one more.
    CreateAccessKey,
    /// Activates or deactivates a key.
    SetKeyStatus {
        /// The key.
        id: String,
        /// The wanted status.
        active: bool,
    },
    /// Deletes a key.
    DeleteKey {
        /// The key.
        id: String,
        /// Why.
        why: WhyDelete,
    },
    /// Tries a key at AWS.
    ProbeKey {
        /// The key.
        id: String,
    },
    /// Asks when a key was last used.
    ReadLastUsed {
        /// The key.
        id: String,
    },
    /// Creates or updates the Secret, under a precondition.
    WriteSecret {
        /// The key to put in.
        key_id: String,
        /// What to record beside it.
        record: SecretRecord,
    },
    /// Notes on a workload which key its pods were started with.
    MarkWorkload {
        /// The workload.
        workload: Workload,
        /// The Secret's key.
        key_id: String,
        /// Notes it on the pod template, too, which replaces the pods.
        restart: bool,
    },
    /// Asks STS for a session of the key, and writes it into the workload's Secret, under a precondition.
    RenewSession {
        /// The key.
        key_id: String,
    },
    /// Deletes a Secret of ours in another place.
    DeleteSecret {
        /// Where it is.
        place: Place,
        /// Its UID, the precondition.
        uid: String,
    },
    /// Deletes the user.
    DeleteUser,
    /// Removes what keeps the user from being deleted: login profile, MFA devices, certificates, SSH keys,
    /// service-specific credentials, groups, inline policies.
    ClearLeftovers,
}

impl From<Measures> for Vec<Action> {
    fn from(Measures { deactivate, record }: Measures) -> Self {
        let off = deactivate.into_iter().map(|id| Action::SetKeyStatus { id, active: false });
        off.chain(record.map(|record| Action::TagUser(BTreeMap::from([record])))).collect()
    }
}

impl Action {
    /// The part of the spec that it is about.
    pub fn part(&self) -> Part {
        match self {
            Self::AddFinalizer
            | Self::RemoveFinalizer
            | Self::CreateUser { .. }
            | Self::MoveUser { .. }
            | Self::TagUser(_)
            | Self::UntagUser(_)
            | Self::PutBoundary(_)
            | Self::DeleteBoundary
            | Self::DeleteUser
            | Self::ClearLeftovers => Part::User,
            Self::CreatePolicy { .. }
            | Self::TagPolicy { .. }
            | Self::DeletePolicyVersion { .. }
            | Self::CreatePolicyVersion { .. }
            | Self::DeletePolicy { .. }
            | Self::AttachPolicy(_)
            | Self::DetachPolicy(_)
            | Self::PutInlinePolicy { .. }
            | Self::DeleteInlinePolicy { .. } => Part::Policy,
            Self::Announce(_)
            | Self::CreateAccessKey
            | Self::SetKeyStatus { .. }
            | Self::DeleteKey { .. }
            | Self::ProbeKey { .. }
            | Self::ReadLastUsed { .. } => Part::AccessKey,
            Self::DryRunSecret
            | Self::WriteSecret { .. }
            | Self::RenewSession { .. }
            | Self::MarkWorkload { .. }
            | Self::DeleteSecret { .. } => Part::Secret,
        }
    }

    /// One word: IAM's own, where it is a call to IAM.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "AddFinalizer",
            Self::RemoveFinalizer => "RemoveFinalizer",
            Self::Announce(_) => "WriteStatus",
            Self::CreateUser { .. } => "CreateUser",
            Self::MoveUser { .. } => "UpdateUser",
            Self::TagUser(_) => "TagUser",
            Self::UntagUser(_) => "UntagUser",
            Self::PutBoundary(_) => "PutUserPermissionsBoundary",
            Self::DeleteBoundary => "DeleteUserPermissionsBoundary",
            Self::CreatePolicy { .. } => "CreatePolicy",
            Self::TagPolicy { .. } => "TagPolicy",
            Self::DeletePolicyVersion { .. } => "DeletePolicyVersion",
            Self::CreatePolicyVersion { .. } => "CreatePolicyVersion",
            Self::DeletePolicy { .. } => "DeletePolicy",
            Self::AttachPolicy(_) => "AttachPolicy",
            Self::DetachPolicy(_) => "DetachPolicy",
            Self::PutInlinePolicy { .. } => "PutUserPolicy",
            Self::DeleteInlinePolicy { .. } => "DeleteUserPolicy",
            Self::DryRunSecret => "DryRunSecret",
            Self::CreateAccessKey => "CreateAccessKey",
            Self::SetKeyStatus { .. } => "UpdateAccessKey",
            Self::DeleteKey { .. } => "DeleteAccessKey",
            Self::ProbeKey { .. } => "ProbeKey",
            Self::ReadLastUsed { .. } => "GetAccessKeyLastUsed",
            Self::WriteSecret { .. } => "WriteSecret",
            Self::RenewSession { .. } => "GetSessionToken",
            Self::MarkWorkload { restart: true, .. } => "RestartWorkload",
            Self::MarkWorkload { restart: false, .. } => "MarkWorkload",
            Self::DeleteSecret { .. } => "DeleteSecret",
            Self::DeleteUser => "DeleteUser",
            Self::ClearLeftovers => "ClearLeftovers",
        }
    }

    /// Whether it changes IAM or Kubernetes; the others only ask.
    pub fn writes(&self) -> bool {
        !matches!(self, Self::DryRunSecret | Self::ProbeKey { .. } | Self::ReadLastUsed { .. })
    }

    /// Whether somebody's hand must have made it necessary where all was settled: a session ends by itself, and a replaced key is
    /// taken out of use and deleted by the clock.
    pub fn corrects(&self) -> bool {
        let by_itself = matches!(
            self,
            Self::Announce(_)
                | Self::RenewSession { .. }
                | Self::SetKeyStatus { active: false, .. }
                | Self::DeleteKey { why: WhyDelete::Retired | WhyDelete::Revoked, .. }
        );
        self.writes() && !by_itself
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddFinalizer => write!(f, "add the finalizer"),
            Self::RemoveFinalizer => write!(f, "remove the finalizer"),
            Self::Announce(reason) => write!(f, "report {}", reason.as_str()),
            Self::CreateUser { .. } => write!(f, "create the IAM user"),
            Self::MoveUser { path } => write!(f, "move the IAM user to path {path}"),
            Self::TagUser(tags) => {
                write!(f, "tag the IAM user: {}", tags.keys().cloned().collect::<Vec<_>>().join(", "))
            }
            Self::UntagUser(keys) => write!(f, "remove tags of the IAM user: {}", keys.join(", ")),
            Self::PutBoundary(arn) => write!(f, "set the permissions boundary {arn}"),
            Self::DeleteBoundary => write!(f, "remove the permissions boundary"),
            Self::CreatePolicy { arn, .. } => write!(f, "create policy {arn}"),
            Self::TagPolicy { arn, .. } => write!(f, "take over policy {arn}"),
            Self::DeletePolicyVersion { arn, version } => write!(f, "delete version {version} of policy {arn}"),
            Self::CreatePolicyVersion { arn, .. } => write!(f, "update policy {arn}"),
            Self::DeletePolicy { arn } => write!(f, "delete policy {arn}"),
            Self::AttachPolicy(arn) => write!(f, "attach policy {arn}"),
            Self::DetachPolicy(arn) => write!(f, "detach policy {arn}"),
            Self::PutInlinePolicy { name, .. } => write!(f, "write inline policy {name}"),
            Self::DeleteInlinePolicy { name } => write!(f, "delete inline policy {name}"),
            Self::DryRunSecret => write!(f, "ask whether the Secret would be taken, by a dry run"),
            Self::CreateAccessKey => write!(f, "create an access key"),
            Self::SetKeyStatus { id, active: true } => write!(f, "activate access key {id}"),
            Self::SetKeyStatus { id, active: false } => write!(f, "deactivate access key {id}"),
            Self::DeleteKey { id, why } => write!(f, "delete access key {id} ({why})"),
            Self::ProbeKey { id } => write!(f, "try access key {id}"),
            Self::ReadLastUsed { id } => write!(f, "ask when access key {id} was last used"),
            Self::WriteSecret { key_id, .. } => write!(f, "write the Secret with access key {key_id}"),
            Self::MarkWorkload { workload, key_id, restart: true } => {
                write!(f, "restart {workload} for access key {key_id}")
            }
            Self::MarkWorkload { workload, key_id, restart: false } => {
                write!(f, "note on {workload} that it has access key {key_id}, without a restart")
            }
            Self::RenewSession { key_id } => write!(f, "write the Secret with a session of access key {key_id}"),
            Self::DeleteSecret { place: Place::Workload(name), .. } => {
                write!(f, "delete the Secret's earlier name {name}")
            }
            Self::DeleteSecret { place: Place::Keys, .. } => {
                write!(f, "delete the key's Secret in the operator's namespace")
            }
            Self::DeleteUser => write!(f, "delete the IAM user"),
            Self::ClearLeftovers => write!(f, "remove what keeps the IAM user from being deleted"),
        }
    }
}

impl WhyDelete {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Orphan, Self::Retired, Self::Revoked, Self::Unusable, Self::Teardown];

    /// One word, for logs and the metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
            Self::Unusable => "unusable",
            Self::Teardown => "teardown",
        }
    }
}

impl fmt::Display for WhyDelete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_are_no_writes() {
        let id = || "AKIA".to_owned();
        assert!(!Action::ProbeKey { id: id() }.writes() && !Action::ReadLastUsed { id: id() }.writes());
        assert!(!Action::DryRunSecret.writes());
        assert!(Action::CreateAccessKey.writes() && Action::DeleteUser.writes());
        assert!(Action::SetKeyStatus { id: id(), active: false }.writes());
    }

    #[test]
    fn the_end_of_a_replaced_key_corrects_nothing() {
        let delete = |why| Action::DeleteKey { id: "AKIA".to_owned(), why };
        assert!(!delete(WhyDelete::Retired).corrects() && !delete(WhyDelete::Revoked).corrects());
        let status = |active| Action::SetKeyStatus { id: "AKIA".to_owned(), active };
        assert!(status(true).corrects() && !status(false).corrects());
        assert!(delete(WhyDelete::Orphan).corrects() && Action::CreateAccessKey.corrects());
        assert!(!Action::DryRunSecret.corrects() && !Action::Announce(Reason::Rotating).corrects());
    }

    #[test]
    fn reasons_of_deletions_are_the_words_of_the_metric() {
        assert_eq!(WhyDelete::ALL.map(WhyDelete::as_str), ["orphan", "retired", "revoked", "unusable", "teardown"]);
    }
}
