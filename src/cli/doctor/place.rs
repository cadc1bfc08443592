//! One account, as the operator would work in it.

use std::sync::Arc;

use jiff::Timestamp;

use super::identity::{Principal, judge_region, partition_of};
use super::permissions::{Asked, Missing, NOBODY, SWEEP, Scope, needed, optional};
use super::{Check, clock};
use crate::api::S3AccessClass;
use crate::aws::{AwsError, ErrorKind, Identity, Session};
use crate::controller::check_account;
use crate::core::iam::Account;

const POLICY: &str = "give the identity the policy of deploy/iam";
/// The simulator knows an organization's policies in part, and denies what they allow under a condition
/// (openshift/enhancements#324): so what it denies is a warning, and no failure.
const ADVISORY: &str = "IAM's simulator says so, which is advisory: it knows an organization's policies in part";

/// An account, and who works in it.
pub(super) struct Place<'a> {
    /// How its checks begin.
    pub(super) who: String,
    pub(super) session: Arc<Session>,
    /// None for the operator's own account.
    pub(super) class: Option<&'a S3AccessClass>,
    /// The path of its users and policies.
    pub(super) path: &'a str,
    pub(super) cluster_id: &'a str,
}

impl Place<'_> {
    pub(super) async fn check(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let mut caller = String::new();
        if let Some(identity) = &self.session.identity {
            let (found, time) = identity.caller().await;
            checks.extend(time.map(|theirs| clock::judge(self.what("clock"), "AWS's", Timestamp::now(), theirs)));
            match found {
                Ok(arn) => caller = arn,
                Err(error) => {
                    checks.push(self.no_credentials(&error));
                    return checks;
                }
            }
        }
        let account = match self.session.account().await {
            Ok(account) => account,
            Err(error) => {
                checks.push(self.no_credentials(&error));
                return checks;
            }
        };
        let who = if caller.is_empty() { "an identity".to_owned() } else { caller.clone() };
        let found = format!("{who}, account {}, partition {}", account.id, account.partition);
        checks.push(Check::ok(self.what("credentials"), found));
        if let Some(Err(error)) = self.class.map(|class| check_account(class, account)) {
            checks.push(Check::failure(self.what("account"), error, "users are made nowhere until then"));
            return checks;
        }
        let scope = Scope {
            account,
            path: self.path,
            cluster_id: self.cluster_id,
            boundary: self.class.and_then(|class| class.spec.permissions_boundary_arn.as_deref()),
        };
        checks.extend(self.permissions(scope, &caller).await);
        checks
    }

    fn what(&self, thing: &str) -> String {
        format!("{} {thing}", self.who)
    }

    fn no_credentials(&self, error: &AwsError) -> Check {
        let region = &self.session.region;
        let advice = match self.class {
            None => "see README, \"Install\"",
            Some(_) => "correct the class's credentialsSecretRef, its roleArn, the role's trust policy or the endpoint",
        };
        // A partition does not know the credentials of another.
        let hint = match error.kind {
            ErrorKind::InvalidCredentials => {
                format!(" (region {region} is of partition {}: are the credentials, too?)", partition_of(region))
            }
            _ => String::new(),
        };
        Check::failure(self.what("credentials"), format!("{error}{hint}"), advice)
    }

    async fn permissions(&self, scope: Scope<'_>, caller: &str) -> Vec<Check> {
        let mut checks = Vec::new();
        let Some(identity) = &self.session.identity else {
            checks.push(self.reads(&mut needed(scope, true), scope.account).await);
            let found = "not checked: an S3-compatible system has no simulator, and nothing is changed to try";
            checks.push(Check::ok(self.what("permissions"), found));
            return checks;
        };
        let region = judge_region(&self.session.region, &scope.account.partition);
        checks.push(match region {
            Ok(found) => Check::ok(self.what("region"), found),
            Err(error) => Check::failure(self.what("region"), error, "policies and Secrets would name the wrong one"),
        });
        let mut asked = needed(scope, false);
        checks.push(self.reads(&mut asked, scope.account).await);
        checks.push(self.sweep(identity).await);
        checks.extend(self.simulated(identity, caller, &asked, scope).await);
        checks
    }

    /// Reads of nobody: AWS asks for the right before it reads. What was tried is taken out of the questions.
    async fn reads(&self, asked: &mut Vec<Asked>, account: &Account) -> Check {
        let (mut allowed, mut missing, mut failed) = (0, Missing::default(), None);
        'tried: for Asked { sid, question, .. } in asked.iter_mut().filter(|asked| asked.reads_anything) {
            let mut untried = Vec::new();
            for action in std::mem::take(&mut question.actions) {
                match self.read(&action, account).await {
                    None if action == SWEEP => {}
                    None => untried.push(action),
                    Some(Ok(())) => allowed += 1,
                    Some(Err(error)) if error.kind == ErrorKind::NotFound => allowed += 1,
                    Some(Err(error)) if error.kind == ErrorKind::AccessDenied => missing.add(sid, vec![action]),
                    Some(Err(error)) => {
                        failed = Some(error);
                        break 'tried;
                    }
                }
            }
            question.actions = untried;
        }
        asked.retain(|asked| !asked.question.actions.is_empty());
        if let Some(error) = failed {
            return Check::failure(self.what("reads"), error, "see whether the endpoint is right, and IAM well");
        }
        if missing.is_empty() {
            return Check::ok(self.what("reads"), format!("the {allowed} reads that were tried are allowed"));
        }
        Check::failure(self.what("reads"), format!("not allowed: {missing}"), POLICY)
    }

    /// None of a call that tells nothing where there is nobody: AWS answers GetAccessKeyLastUsed of a key that it does not
    /// know as if it were not allowed.
    async fn read(&self, action: &str, account: &Account) -> Option<Result<(), AwsError>> {
        let iam = &self.session.iam;
        let arn = format!("arn:{}:iam::{}:policy{}{NOBODY}", account.partition, account.id, self.path);
        Some(match action {
            "iam:GetUser" => iam.get_user(NOBODY).await.map(drop),
            "iam:ListAccessKeys" => iam.list_access_keys(NOBODY).await.map(drop),
            "iam:ListAttachedUserPolicies" => iam.list_attached_user_policies(NOBODY).await.map(drop),
            // Its second call is never made: there is no user.
            "iam:ListUserPolicies" => iam.list_what_else_grants(NOBODY).await.map(drop),
            "iam:GetUserPolicy" => iam.get_user_policy(NOBODY, NOBODY).await.map(drop),
            "iam:GetPolicy" => iam.get_policy(&arn).await.map(drop),
            "iam:GetPolicyVersion" => iam.get_policy_version(&arn, "v1").await.map(drop),
            "iam:ListPolicyVersions" => iam.list_policy_versions(&arn).await.map(drop),
            "iam:ListEntitiesForPolicy" => iam.list_entities_for_policy(&arn).await.map(drop),
            _ => return None,
        })
    }

    async fn sweep(&self, identity: &Identity) -> Check {
        let what = self.what("sweep");
        let problem = match identity.account_details().await {
            Ok(()) => return Check::ok(what, "the account can be read in bulk"),
            Err(error) if error.kind == ErrorKind::AccessDenied => "not allowed".to_owned(),
            Err(error) => error.to_string(),
        };
        Check::warning(what, format!("{problem}: drift is found only at each user's own resync: grant {SWEEP}"))
    }

    /// What cannot be tried without a change.
    async fn simulated(&self, identity: &Identity, caller: &str, asked: &[Asked], scope: Scope<'_>) -> Vec<Check> {
        let what = self.what("permissions");
        let principal = match principal(identity, caller, scope.account).await {
            Ok(principal) => principal,
            Err(check) => return vec![Check { what, ..check }],
        };
        let missing = match simulate(identity, &principal, asked).await {
            Ok(missing) => missing,
            Err(error) => return vec![Check { what, ..unasked(&error) }],
        };
        let number: usize = asked.iter().map(|asked| asked.question.actions.len()).sum();
        let mut checks = vec![if missing.is_empty() {
            Check::ok(what, format!("the {number} others are allowed ({ADVISORY})"))
        } else {
            Check::warning(what, format!("not allowed: {missing}: {POLICY} ({ADVISORY})"))
        }];
        let mut found = Vec::new();
        for (name, asked) in optional(scope) {
            match simulate(identity, &principal, &asked).await {
                Ok(missing) if missing.is_empty() => found.push(format!("{name} granted")),
                Ok(_) => found.push(format!("{name} not granted")),
                Err(error) => found.push(format!("{name} not checked: {error}")),
            }
        }
        checks.push(Check::ok(self.what("optional policies"), found.join(", ")));
        checks
    }
}

async fn simulate(identity: &Identity, principal: &str, asked: &[Asked]) -> Result<Missing, AwsError> {
    let mut missing = Missing::default();
    for Asked { sid, question, .. } in asked {
        missing.add(sid, identity.simulate(principal, question).await?);
    }
    Ok(missing)
}

/// Whom to ask the simulator about.
async fn principal(identity: &Identity, caller: &str, account: &Account) -> Result<String, Check> {
    match Principal::of(caller) {
        Principal::User(arn) => Ok(arn.to_owned()),
        Principal::Role(name) => match identity.role_arn(name).await {
            Ok(Some(arn)) => Ok(arn),
            // Most roles have no path; of those that have one, the simulator does not know this ARN.
            _ => Ok(format!("arn:{}:iam::{}:role/{name}", account.partition, account.id)),
        },
        Principal::Root => Err(Check::warning(
            "",
            "the credentials are of the account's root, which may do everything: use an IAM role or user with the policy of deploy/iam",
        )),
        Principal::Other => {
            Err(Check::ok("", format!("not checked: the simulator knows users and roles, and this is {caller}")))
        }
    }
}

/// Why the simulator did not answer. It is a help that may be missing.
fn unasked(error: &AwsError) -> Check {
    match error.kind {
        ErrorKind::AccessDenied => Check::ok(
            "",
            "not checked: grant iam:SimulatePrincipalPolicy to have them checked (deploy/iam/operator-policy.doctor)",
        ),
        ErrorKind::NotFound => Check::ok(
            "",
            "not checked: the role has a path, which only iam:GetRole tells: grant it to have them checked (deploy/iam/operator-policy.doctor)",
        ),
        _ => Check::warning("", format!("not checked: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn a_simulator_that_may_not_be_asked_is_no_fault() {
        for (kind, level, word) in [
            (ErrorKind::AccessDenied, Level::Ok, "grant iam:SimulatePrincipalPolicy"),
            (ErrorKind::NotFound, Level::Ok, "only iam:GetRole tells"),
            (ErrorKind::Throttled, Level::Warning, "not checked: SimulatePrincipalPolicy role/op: Code"),
        ] {
            let (object, code, message) = ("role/op".to_owned(), "Code".to_owned(), String::new());
            let found = unasked(&AwsError { operation: "SimulatePrincipalPolicy", object, kind, code, message });
            assert!(found.level == level && found.found.contains(word), "{found:?}");
        }
    }
}
