//! The steps of a run: each is seen in the account, the Secret and the object before it is told.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_iam::types::StatusType;
use futures::future::join_all;
use ground::recorder::{ADMIN, Exchange};
use ground::wait::eventually;
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::objects::SOON;
use super::run::{Run, admin};
use super::tools::Workload;

const MANAGED: (&str, &str) = ("managed", "managed-s3");
const INLINE: (&str, &str) = ("inline", "inline-s3");
const LATIN: &str = "latin";
const QUOTA: (&str, &str) = ("quota", "quota-s3");
/// Two bytes each in UTF-8, and one in Latin-1.
const LETTERS: &str = "été/ÿ/";
/// What somebody writes into a policy by hand.
const BY_HAND: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Sid":"ByHand","Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
const SWEEP: (&str, &str) = ("S3ACCESS_RESYNC_INTERVAL", "4s");
/// How many calls a burst has, and how many bursts there are at most.
const BURST: (usize, usize) = (40, 3);
impl Run<'_> {
    /// Everything, in order.
    pub(crate) async fn all(&mut self) -> Result<()> {
        /// Tells what was seen, and what it took.
        macro_rules! steps {
            ($($name:literal => $step:ident,)*) => {$(
                let (from, calls) = (Instant::now(), self.recorder.calls());
                self.recorder.step($name);
                let seen = self.$step().await.with_context(|| format!("step {}", $name))?;
                let (took, calls) = (from.elapsed().as_secs_f32(), self.recorder.calls() - calls);
                println!("  {:<9} {seen} ({took:.1} s, {calls} calls)", $name);
            )*};
        }
        steps! {
            "identity" => create_identity,
            "create" => create,
            "use" => use_it,
            "formats" => formats,
            "letters" => letters,
            "rotation" => rotation,
            "lost" => lost,
            "crash" => crash,
            "drift" => drift,
            "quota" => quota,
            "throttle" => throttle,
            "delete" => delete,
        }
        Ok(())
    }

    async fn user_name(&self, name: &str) -> Result<String> {
        let status = self.objects.is_ready(name).await?;
        status["userName"].as_str().map(ToOwned::to_owned).context("the status names no user")
    }

    /// Managed and inline, with a boundary where there are any; and one with letters beyond ASCII.
    async fn create(&mut self) -> Result<String> {
        let probe = json!([{ "operation": "CreateBucket", "bucket": self.bucket }]);
        let made = self.tools.probe(&self.tools.admin(), &probe).await?;
        ensure!(made.iter().all(|answer| answer["allowed"] == true), "the bucket cannot be made: {made:?}");
        let boundary = self.site.has_boundaries().then(|| self.boundary());
        let managed = if self.site.has_managed() { "Managed" } else { "Inline" };
        let [mut read_write, mut read_only, mut latin] =
            [("ReadWrite", managed), ("ReadOnly", "Inline"), ("ReadOnly", managed)]
                .map(|(level, kind)| self.spec(level, kind));
        if let Some(arn) = &boundary {
            read_write["permissionsBoundaryArn"] = json!(arn);
            read_only["permissionsBoundaryArn"] = json!(arn);
        }
        latin["access"][0]["prefixes"] = json!([LETTERS]);
        let specs = [(MANAGED.0, read_write), (INLINE.0, read_only), (LATIN, latin)];
        for (name, spec) in specs {
            self.objects.create_user(name, spec).await?;
        }
        for (name, secret) in [MANAGED, INLINE] {
            let user = self.user_name(name).await?;
            self.only_key(&user, secret, &[]).await?;
            self.look("the user to be as its spec says", async || {
                let found = self.iam.get_user().user_name(&user).send().await?;
                let found = found.user().context("no user in the answer")?;
                ensure!(found.path() == self.scope.users_path(), "{user} is at {}", found.path());
                ensure!(self.scope.holds(found.path(), &user), "{user} is not of this run");
                let fence = found.permissions_boundary().and_then(|fence| fence.permissions_boundary_arn());
                ensure!(fence == boundary.as_deref(), "the boundary of {user} is {fence:?}");
                Ok(())
            })
            .await?;
        }
        let fenced = if boundary.is_some() { "each in its boundary" } else { "there are no boundaries here" };
        Ok(format!("three S3AccessUsers are Ready, with one key each ({} and Inline; {fenced})", managed))
    }

    async fn use_it(&mut self) -> Result<String> {
        let (read_write, read) = (self.objects.secret(MANAGED.1).await?, self.objects.secret(INLINE.1).await?);
        let writer = [("PutObject", true), ("GetObject", true), ("ListBucket", true)];
        self.tools.claims(&read_write, &self.bucket, &writer).await?;
        let reader = [("GetObject", true), ("PutObject", false), ("DeleteObject", false)];
        self.tools.claims(&read, &self.bucket, &reader).await?;
        Ok("boto3 with the Secret may do what the policy says, and is denied the rest".to_owned())
    }

    async fn formats(&mut self) -> Result<String> {
        let formats = self.site.formats();
        for format in &formats {
            self.objects.patch(MANAGED.0, &json!({ "spec": { "secret": { "format": format } } })).await?;
            self.objects.is_ready(MANAGED.0).await?;
            let data = self.objects.secret(MANAGED.1).await?;
            self.tools.consume(format, &data, &self.bucket).await?;
        }
        Ok(format!("in their consumers' own code: {}", formats.join(", ")))
    }

    /// Whether a policy with letters from U+0080 to U+00FF is taken, and how it comes back.
    async fn letters(&mut self) -> Result<String> {
        let status = self.objects.is_ready(LATIN).await?;
        let user = status["userName"].as_str().context("the status names no user")?;
        let action = match status["policyArn"].as_str() {
            Some(arn) => {
                self.document_of(arn).await?;
                "GetPolicyVersion"
            }
            None => {
                let names = self.iam.list_user_policies().user_name(user).send().await?;
                let name = names.policy_names().first().context("no inline policy")?;
                self.iam.get_user_policy().user_name(user).policy_name(name).send().await?;
                "GetUserPolicy"
            }
        };
        let exchanges = self.recorder.exchanges();
        let asked = exchanges.iter().rev().find(|one| one.caller == ADMIN && one.action == action);
        let elements = &asked.context("nothing was asked")?.said.elements;
        let (_, document) = elements.iter().find(|(path, _)| path.ends_with("Document")).context("no document")?;
        let (how, text) = document.split_once(": ").context("no document")?;
        ensure!(text.contains(LETTERS), "{LETTERS} came back as {text}");
        let told = format!("a policy with {LETTERS} comes back {how}");
        self.notes.push(told.clone());
        Ok(told)
    }

    /// The default version's document, decoded.
    async fn document_of(&self, arn: &str) -> Result<String> {
        let policy = self.iam.get_policy().policy_arn(arn).send().await?;
        let version = policy.policy().and_then(|policy| policy.default_version_id()).context("no default version")?;
        let found = self.iam.get_policy_version().policy_arn(arn).version_id(version).send().await?;
        let document = found.policy_version().and_then(|version| version.document()).context("no document")?;
        Ok(percent_decode_str(document).decode_utf8_lossy().into_owned())
    }

    async fn rotation(&mut self) -> Result<String> {
        let user = self.user_name(MANAGED.0).await?;
        let old = self.only_key(&user, MANAGED.1, &[]).await?;
        let mut workload = Workload::start(self.tools, &self.objects, MANAGED.1, &self.bucket).await?;
        workload.uses(&old, 20).await?;
        self.objects.annotate(MANAGED.0, "s3access.dev/rotate", "acceptance").await?;
        let new = self.objects.other_key(MANAGED.1, &[&old]).await?;
        workload.uses(&new, 20).await?;
        self.only_key(&user, MANAGED.1, &[&old]).await?;
        workload.uses(&new, 20).await?;
        let report = workload.stop().await?;
        ensure!(report.failures.is_empty(), "requests failed: {:?}", report.failures);
        Ok(format!("{} requests over a rotation, none failed; the old key is gone", report.requests))
    }

    async fn lost(&mut self) -> Result<String> {
        let user = self.user_name(MANAGED.0).await?;
        let old = self.only_key(&user, MANAGED.1, &[]).await?;
        self.objects.delete_secret(MANAGED.1).await?;
        self.objects.other_key(MANAGED.1, &[&old]).await?;
        self.only_key(&user, MANAGED.1, &[&old]).await?;
        Ok("a lost Secret is there again with another key; the lost one is gone".to_owned())
    }

    /// Killed between the making of a key and its Secret.
    async fn crash(&mut self) -> Result<String> {
        let user = self.user_name(MANAGED.0).await?;
        let old = self.only_key(&user, MANAGED.1, &[]).await?;
        self.recorder.hold("CreateAccessKey");
        self.objects.annotate(MANAGED.0, "s3access.dev/rotate", "crash").await?;
        self.recorder.held(super::objects::SOON).await?;
        self.kill9().await?;
        let keys = self.look("the key that nobody knows", async || {
            let keys = self.keys(&user).await?;
            if keys.len() == 2 { Ok(keys) } else { bail!("{} keys", keys.len()) }
        });
        let keys = keys.await?;
        let mut ids = keys.iter().filter_map(|key| key.access_key_id());
        let stranded = ids.find(|id| *id != old).context("no other key")?.to_owned();
        // Also has the next step's sweep.
        self.start(&[SWEEP]).await?;
        self.objects.other_key(MANAGED.1, &[&old, &stranded]).await?;
        self.only_key(&user, MANAGED.1, &[&old, &stranded]).await?;
        Ok("killed (SIGKILL) with a key that was in no Secret yet: one key is left, the Secret's".to_owned())
    }

    async fn drift(&mut self) -> Result<String> {
        let status = self.objects.is_ready(MANAGED.0).await?;
        let user = status["userName"].as_str().context("the status names no user")?.to_owned();
        let key = self.only_key(&user, MANAGED.1, &[]).await?;
        let mut mended = vec!["a policy's document", "a deactivated key"];
        let inline = self.user_name(INLINE.0).await?;
        let names = self.iam.list_user_policies().user_name(&inline).send().await?;
        let name = names.policy_names().first().context("no inline policy")?.clone();
        let put = self.iam.put_user_policy().user_name(&inline).policy_name(&name).policy_document(BY_HAND);
        put.send().await?;
        let off = self.iam.update_access_key().user_name(&user).access_key_id(&key).status(StatusType::Inactive);
        off.send().await?;
        if let Some(arn) = status["policyArn"].as_str() {
            let version = self.iam.create_policy_version().policy_arn(arn).policy_document(BY_HAND);
            version.set_as_default(true).send().await?;
            self.iam.detach_user_policy().user_name(&user).policy_arn(arn).send().await?;
            mended.extend(["another version", "a detached policy"]);
            self.operator_calls(&["AttachUserPolicy"]).await?;
            self.look("the policy to be put right", async || {
                let attached = self.iam.list_attached_user_policies().user_name(&user).send().await?;
                let there = attached.attached_policies().iter().any(|policy| policy.policy_arn() == Some(arn));
                ensure!(there, "it is not attached");
                ensure!(!self.document_of(arn).await?.contains("ByHand"), "the document is as by hand");
                Ok(())
            })
            .await?;
        }
        self.operator_calls(&["PutUserPolicy", "UpdateAccessKey"]).await?;
        self.look("the inline policy to be put right", async || {
            let found = self.iam.get_user_policy().user_name(&inline).policy_name(&name).send().await?;
            ensure!(!found.policy_document().contains("ByHand"), "the document is as by hand");
            Ok(())
        })
        .await?;
        let after = self.only_key(&user, MANAGED.1, &[]).await?;
        ensure!(after == key, "another key was made");
        self.latin_is_at_rest().await?;
        self.start(&[]).await?;
        Ok(format!("put right within a sweep: {}; the key is the same", mended.join(", ")))
    }

    /// Waits until the operator has made those calls in this step. A replica that is behind shows what was changed by hand as
    /// if it never had been, so that a look at the account alone would not tell.
    async fn operator_calls(&self, actions: &[&str]) -> Result<()> {
        eventually(&format!("the operator to call {}", actions.join(" and ")), SOON, async || {
            let exchanges = self.recorder.exchanges();
            let made = |action: &str| {
                let of_it = |one: &&Exchange| one.step == "drift" && one.caller != ADMIN && one.action == action;
                exchanges.iter().find(of_it).is_some_and(|one| one.said.status == 200)
            };
            let missing = actions.iter().find(|action| !made(action));
            ensure!(missing.is_none(), "{missing:?} was not made");
            Ok(())
        })
        .await
    }

    /// The sweeps that went by found nothing to put right in the policy with letters.
    async fn latin_is_at_rest(&self) -> Result<()> {
        let user = self.user_name(LATIN).await?;
        let exchanges = self.recorder.exchanges();
        let is_ours = |value: &String| value.ends_with(&user);
        let writes = exchanges.iter().filter(|one| {
            ["CreatePolicyVersion", "PutUserPolicy"].contains(&one.action.as_str())
                && one.parameters.values().any(is_ours)
        });
        let (writes, expected) = (writes.count(), usize::from(!self.site.has_managed()));
        ensure!(writes == expected, "the policy with {LETTERS} was written {writes} times");
        Ok(())
    }

    async fn quota(&mut self) -> Result<String> {
        let user = format!("{}-{}", self.scope.prefix, QUOTA.0);
        let owner = format!("{}/{}", self.objects.namespace, QUOTA.0);
        let mut theirs = self.strangers_user(&user, &owner).await?;
        theirs.sort_unstable();
        let mut spec = self.spec("ReadOnly", "Inline");
        spec["userName"] = user.clone().into();
        self.objects.create_user(QUOTA.0, spec).await?;
        self.objects.is(QUOTA.0, "False", "ForeignAccessKeys").await?;
        self.look("the two keys of others to be there, and no third", async || {
            let keys = self.keys(&user).await?;
            let mut found: Vec<&str> = keys.iter().filter_map(|key| key.access_key_id()).collect();
            found.sort_unstable();
            ensure!(found == theirs, "the keys of {user} are others: {} of them", found.len());
            Ok(())
        })
        .await?;
        for id in &theirs {
            self.iam.delete_access_key().user_name(&user).access_key_id(id).send().await?;
        }
        self.objects.annotate(QUOTA.0, "acceptance", "there is room").await?;
        self.objects.is_ready(QUOTA.0).await?;
        let theirs: Vec<&str> = theirs.iter().map(String::as_str).collect();
        self.only_key(&user, QUOTA.1, &theirs).await?;
        Ok("two keys of others: ForeignAccessKeys, none deleted, no third made; Ready once there is room".to_owned())
    }

    async fn throttle(&mut self) -> Result<String> {
        const METRIC: &str = "s3access_aws_throttled_total";
        let user = self.user_name(MANAGED.0).await?;
        let key = self.only_key(&user, MANAGED.1, &[]).await?;
        let patient = admin(self.site, self.recorder, 1);
        let before = self.metric(METRIC).await?;
        for burst in 0..BURST.1 {
            // The operator reads amid the burst.
            self.objects.annotate(MANAGED.0, "acceptance", &format!("burst {burst}")).await?;
            let calls = (0..BURST.0).map(|_| patient.list_access_keys().user_name(&user).send());
            // Those that are refused are what this is about.
            drop(join_all(calls).await);
            self.objects.is_ready(MANAGED.0).await?;
            if self.metric(METRIC).await? > before {
                break;
            }
        }
        let throttled = self.metric(METRIC).await? - before;
        self.objects.is_ready(MANAGED.0).await?;
        ensure!(self.only_key(&user, MANAGED.1, &[]).await? == key, "another key was made");
        if throttled == 0.0 {
            self.notes.push(format!("throttling was not provoked by {} calls", BURST.0 * BURST.1));
            return Ok("not provoked".to_owned());
        }
        Ok(format!("the operator was throttled {throttled} times, counted it and waited; the user stays Ready"))
    }

    async fn delete(&mut self) -> Result<String> {
        self.objects.delete_users(&[MANAGED.0, INLINE.0, LATIN, QUOTA.0]).await?;
        let path = self.scope.users_path();
        self.look("nothing to be left of the S3AccessUsers", async || {
            let users = self.iam.list_users().path_prefix(&path).send().await?;
            ensure!(users.users().iter().all(|user| !user.path().starts_with(&path)), "there are users");
            if self.site.has_managed() {
                let policies = self.iam.list_policies().scope("Local".into()).path_prefix(&path).send().await?;
                let ours = |policy: &&aws_sdk_iam::types::Policy| policy.path().is_some_and(|at| at.starts_with(&path));
                ensure!(policies.policies().iter().filter(ours).count() == 0, "there are policies");
            }
            Ok(())
        })
        .await?;
        Ok("0 users, 0 policies and 0 keys are left of the S3AccessUsers".to_owned())
    }
}
