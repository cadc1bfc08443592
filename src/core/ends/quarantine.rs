//! AWS's own alarm: it attaches a policy to an IAM user whose access key it has found in public, mostly without another word
//! (IAM user guide, "AWS managed policies", AWSCompromisedKeyQuarantine). The policy is AWS's to attach and a person's to detach:
//! it is no drift.

use super::revocation::Request;
use crate::api::OnCompromise;
use crate::core::iam::Account;

/// What the names of all such policies begin with; there have been several versions.
const PREFIX: &str = "AWSCompromisedKeyQuarantine";
/// Those that there are. Others of the prefix are found by the sweep.
const KNOWN: [&str; 3] = [PREFIX, "AWSCompromisedKeyQuarantineV2", "AWSCompromisedKeyQuarantineV3"];

/// The ARNs of the policies that AWS attaches, in an account's partition.
pub fn known_policies(account: &Account) -> [String; 3] {
    KNOWN.map(|name| format!("arn:{}:iam::aws:policy/{name}", account.partition))
}

/// Of the policies that are attached to a user, the names of those that say that AWS has found a key of it; sorted. A policy of
/// that name in an account of somebody's own says nothing.
pub fn policies<'a>(attached: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    let name = |arn: &'a String| {
        let (owner, name) = arn.rsplit_once(":policy/")?;
        (owner.ends_with(":iam::aws") && name.starts_with(PREFIX)).then_some(name)
    };
    let mut names: Vec<_> = attached.into_iter().filter_map(name).collect();
    names.sort_unstable();
    names
}

/// What is to be revoked, where AWS has found a key and the class says so.
pub fn request<'a>(response: OnCompromise, attached: impl IntoIterator<Item = &'a String>) -> Option<Request> {
    let policies = policies(attached);
    (response == OnCompromise::Revoke && !policies.is_empty()).then(|| Request::of_quarantine(&policies))
}

/// What AWS has found, and what to do, for people.
pub fn told(user_name: &str, policies: &[&str], response: OnCompromise) -> String {
    let done = match response {
        OnCompromise::Report => "its key works on, as the class's onCompromise says: revoke it",
        OnCompromise::Revoke => "its key was revoked, as the class's onCompromise says",
        OnCompromise::Suspend => "no key of it works, as the class's onCompromise says",
    };
    format!(
        "AWS has found an access key of IAM user {user_name} in public, and attached {}: {done}; see \"A key has leaked\" in deploy/docs/incident.md, also for when to detach the policy",
        policies.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_policy_of_aws_itself_is_an_alarm() {
        let attached = [
            "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3",
            "arn:aws-cn:iam::aws:policy/AWSCompromisedKeyQuarantine",
            "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV17",
            "arn:aws:iam::123456789012:policy/AWSCompromisedKeyQuarantineV3",
            "arn:aws:iam::123456789012:policy/aws:policy/AWSCompromisedKeyQuarantineV3",
            "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
            "AWSCompromisedKeyQuarantineV3",
        ]
        .map(ToOwned::to_owned);
        let found = policies(&attached);
        assert_eq!(found, [KNOWN[0], "AWSCompromisedKeyQuarantineV17", KNOWN[2]]);
        let account = Account { id: "123456789012".to_owned(), partition: "aws-cn".to_owned() };
        assert_eq!(policies(&known_policies(&account)), KNOWN);
    }

    #[test]
    fn what_is_told_says_who_what_and_what_to_do() {
        for (response, word) in [
            (OnCompromise::Report, "revoke it"),
            (OnCompromise::Revoke, "was revoked"),
            (OnCompromise::Suspend, "no key"),
        ] {
            let told = told("reports-app", &[KNOWN[2]], response);
            assert!(["reports-app", KNOWN[2], word, "incident.md"].iter().all(|part| told.contains(part)), "{told}");
        }
    }
}
