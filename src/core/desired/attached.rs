//! The managed policies that a spec or a class names: of the account or of AWS, and such as the class allows.

use std::collections::BTreeSet;

use crate::api::{Reason, S3AccessUserSpec};
use crate::core::class::Class;
use crate::core::iam::Account;
use crate::core::policy::Terms;
use crate::core::refusal::Refusal;

/// The existing managed policies to attach, and what of them the class does not allow.
pub(super) fn attached_of(
    spec: &S3AccessUserSpec,
    account: &Account,
    class: &Class,
    terms: &Terms,
) -> Result<(BTreeSet<String>, Vec<String>), Refusal> {
    for (index, arn) in spec.managed_policy_arns.iter().enumerate() {
        check_policy_arn(arn, &format!("spec.managedPolicyArns[{index}]"), account)?;
    }
    let (attached, refused): (BTreeSet<String>, BTreeSet<String>) =
        spec.managed_policy_arns.iter().cloned().partition(|arn| class.allows_policy(arn));
    let why = |arn: &String| Some(format!("spec.managedPolicyArns {arn:?}: {}", class.refuses_policy(arn)?));
    let violations = refused.iter().filter_map(why).collect();
    if terms.bind() && !attached.is_empty() {
        return Err(Refusal::invalid_spec(
            "spec.managedPolicyArns: nobody can put a managed policy under spec.conditions and spec.expiresAt: use spec.access or spec.policy, or leave the conditions out",
        ));
    }
    Ok((attached, violations))
}

/// Whether an ARN is that of a policy which can be attached in the account.
pub(super) fn check_policy_arn(arn: &str, at: &str, account: &Account) -> Result<(), Refusal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let &["arn", partition, "iam", "", owner, resource] = parts.as_slice() else {
        return Err(Refusal {
            reason: Reason::InvalidPolicy,
            message: format!(
                "{at}: {arn:?} is not the ARN of a policy, such as arn:{}:iam::aws:policy/AmazonS3ReadOnlyAccess",
                account.partition
            ),
        });
    };
    if partition != account.partition {
        return Err(Refusal {
            reason: Reason::PartitionMismatch,
            message: format!(
                "{at}: {arn:?} is of partition {partition:?}, and account {} is of {}: write {:?}",
                account.id,
                account.partition,
                format!("arn:{}:iam::{owner}:{resource}", account.partition),
            ),
        });
    }
    if owner != "aws" && owner != account.id {
        return Err(Refusal {
            reason: Reason::AccountMismatch,
            message: format!(
                "{at}: {arn:?} belongs to account {owner}, and the user to {}: IAM attaches only policies of its own account and of AWS",
                account.id
            ),
        });
    }
    Ok(())
}
