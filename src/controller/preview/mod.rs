//! What the operator would do about an S3AccessUser: the same plan over the same picture, and nothing is written.
//!
//! What an action would lead to is taken from its documented effect, as a reconcile does between two reads; only questions
//! are asked of AWS.

mod impact;

pub use impact::{Standing, Touched};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::class::{
    Changes, ClassResolver, Classes, KnownClass, Namespaces, OneAccount, OwnAccount, ResolvedClass, Stores,
};
use super::context::{Context, Pass};
use super::error::Error;
use super::observe::{self, Held, example_of_workload, read_level};
use super::state::State;
use crate::api::{Capabilities, MANAGED_BY_LABEL, MANAGER, Reason, S3AccessClass, S3AccessUser, annotations};
use crate::aws::{Session, SessionOptions};
use crate::core::class::{Class, Defaults, Overlap};
use crate::core::desired::{Desired, Owner, is_true};
use crate::core::drift::Coverage;
use crate::core::iam::AccessKeyId;
use crate::core::lint::Finding;
use crate::core::names::Cluster;
use crate::core::observed::{Minted, Observed, WorkloadState};
use crate::core::plan::{Action, Effect, Part, Parts, Plan, Progress, Retiring, Waits, plan, teardown};
use crate::core::reads::Reads;
use crate::core::reads::known::Known;
use crate::core::rotation::later;
use crate::core::sessions::{HeldSession, LONGEST};
use crate::kubernetes::{KubeClient, KubernetesError, SecretNames};
use crate::leadership::Leadership;
use crate::metrics::Metrics;

/// Enough for every chain of steps, with the waits between them.
const ROUNDS: usize = 64;

/// What a preview is made with.
pub struct Planner {
    /// The cluster, by the caller's rights.
    pub client: Client,
    /// What it is called in IAM.
    pub cluster: Cluster,
    /// The account of those who have no class.
    pub session: Arc<Session>,
    /// For what a class does not say of its account.
    pub session_options: SessionOptions,
    /// For what a class does not say of its users.
    pub defaults: Defaults,
    /// The operator's own namespace, with the credentials of classes.
    pub own_namespace: String,
    /// Whether there are classes.
    pub classes: bool,
    /// Only classes with these labels.
    pub class_selector: Option<String>,
    /// Whether a class is required.
    pub require_class: bool,
    /// Waits between steps.
    pub waits: Waits,
    /// Classes as they would be, instead of the cluster's of the same names.
    pub drafts: Vec<KnownClass>,
}

/// What would be done.
pub struct Preview {
    /// For whom.
    pub owner: Owner,
    /// What keeps all of it from being done.
    pub refusal: Option<(Reason, String)>,
    /// Each step, and how long after the first it would be taken.
    pub steps: Vec<(SignedDuration, Action)>,
    /// How the parts would stand then.
    pub parts: Parts,
    /// A replaced key, which goes later.
    pub retiring: Option<Retiring>,
    /// When the key would be replaced.
    pub next_rotation_at: Option<Timestamp>,
    /// What of its policy is surely a mistake, and holds nothing up.
    pub mistakes: Vec<Finding>,
}

impl Preview {
    /// What only somebody's action would help.
    pub fn blocked(&self) -> impl Iterator<Item = (Part, Reason, &str)> {
        Part::ALL.into_iter().filter_map(|part| match self.parts.of(part) {
            Progress::Blocked(reason, message) => Some((part, *reason, message.as_str())),
            _ => None,
        })
    }
}

impl Planner {
    /// What would be done about the S3AccessUser, as it would be in the cluster.
    ///
    /// # Errors
    /// Something could not be read.
    pub async fn preview(&self, user: &S3AccessUser) -> Result<Preview, Error> {
        let namespace = user.namespace().unwrap_or_default();
        let resolved = self.resolve(user, &namespace).await?;
        let class = &resolved.class;
        let asked = user;
        let mut user = user.clone();
        class.bound_secret(&mut user);
        let user = &user;
        let account = resolved.session.account().await?;
        let owner = Owner::of(user, account, &self.cluster, class);
        let deleting = user.metadata.deletion_timestamp.is_some();
        let desired = resolved.desired(asked, account, &self.cluster);
        let desired = match desired.map(|desired| Desired { owner: owner.clone(), ..desired }) {
            // Pausing holds no deletion up.
            _ if deleting => None,
            _ if is_true(user, annotations::PAUSED) => {
                return Ok(refused(owner, Reason::Paused, format!("remove the annotation {}", annotations::PAUSED)));
            }
            Ok(desired) => Some(desired),
            Err(refusal) => return Ok(refused(owner, refusal.reason, refusal.message)),
        };
        let ctx = self.context(&namespace, &resolved).await?;
        let pass = Pass { ctx: &ctx, resolved: &resolved, user, owner: &owner, desired: desired.as_ref() };
        if !deleting && let Err(error) = example_of_workload(pass) {
            return Ok(refused(owner, Reason::InvalidSpec, error.to_string()));
        }
        let mut held = Held::default();
        let mut seen = observe::secrets(pass, &mut held).await?;
        let observed = read_level(pass, Reads::Everything, &mut seen, &Known::default()).await?;
        let observed = observed.unwrap_or_else(Observed::nothing);
        let imagination = Imagination { session: &resolved.session, owner: &owner, held: &held, made: 0, wrote: false };
        let (steps, last) = imagination.follow(&ctx, desired.as_ref(), observed).await?;
        Ok(Preview {
            refusal: None,
            steps,
            parts: last.parts,
            retiring: last.retiring,
            next_rotation_at: last.next_rotation_at,
            mistakes: desired.and_then(|desired| desired.mistakes).unwrap_or_default(),
            owner,
        })
    }

    async fn resolve(&self, user: &S3AccessUser, namespace: &str) -> Result<ResolvedClass, Error> {
        if !self.classes {
            return OneAccount::new(self.own_account(self.session.clone())).of(user).await;
        }
        let classes = self.classes_with_drafts().await?;
        let api = Api::<Namespace>::all(self.client.clone());
        let found = api.get_metadata_opt(namespace).await;
        let found = found.map_err(|error| KubernetesError::of("get Namespace", "", namespace, &error))?;
        let mut found: Vec<_> = found.into_iter().collect();
        if classes.iter().any(|class| Overlap::of(&class.spec) != Overlap::None) {
            // Who may not list them is told all but which bucket is another namespace's: the operator says so later.
            let all = api.list_metadata(&ListParams::default()).await;
            found.extend(all.into_iter().flatten());
        }
        let resolved = self.classes_of(classes, found).of(user).await?;
        let system = resolved.class.system().cloned().or_else(|| Some(Capabilities::presumed()));
        Ok(ResolvedClass { class: resolved.class.on(system), ..resolved })
    }

    /// Its system is taken to do all, since trying it would write.
    fn own_account(&self, session: Arc<Session>) -> OwnAccount {
        OwnAccount::new(session, self.defaults.clone(), None)
    }

    async fn classes_with_drafts(&self) -> Result<Vec<KnownClass>, Error> {
        let (mut classes, _) = self.some_classes(None).await?;
        for draft in &self.drafts {
            let mut draft = draft.clone();
            let live = classes.iter().position(|class| class.name_any() == draft.name_any());
            let live = live.map(|at| classes.swap_remove(at));
            draft.metadata.uid = live.as_ref().and_then(|live| live.uid());
            draft.metadata.creation_timestamp =
                live.and_then(|live| live.metadata.creation_timestamp.clone()).or_else(|| Some(Time(Timestamp::now())));
            classes.push(draft);
        }
        Ok(classes)
    }

    /// The S3AccessClasses as they are now, at most so many; and whether there are more.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn some_classes(&self, most: Option<u32>) -> Result<(Vec<KnownClass>, bool), Error> {
        let (label_selector, limit) = (self.class_selector.clone(), most);
        let selected = ListParams { label_selector, limit, ..ListParams::default() };
        let classes = Api::<KnownClass>::all(self.client.clone()).list(&selected).await;
        let classes = classes.map_err(|error| KubernetesError::of("list S3AccessClasses", "", "", &error))?;
        let more = classes.metadata.continue_.is_some_and(|rest| !rest.is_empty());
        Ok((classes.items, more))
    }

    /// A session for a class, which may not write.
    ///
    /// # Errors
    /// Its credentials cannot be read, or its settings do not go together.
    pub async fn session_of(&self, class: &S3AccessClass) -> Result<Arc<Session>, Error> {
        self.classes_of(Vec::new(), Vec::new()).session_of(class).await
    }

    /// The IAM path of a class's users, where their specs name none.
    pub fn path_of(&self, class: &S3AccessClass) -> String {
        Class::of(class, "", &BTreeMap::new()).with(self.defaults_in_classes()).path(None)
    }

    fn defaults_in_classes(&self) -> Defaults {
        self.session_options.provider.in_classes(self.defaults.clone())
    }

    fn classes_of(&self, classes: Vec<KnownClass>, namespaces: Vec<PartialObjectMeta<Namespace>>) -> Classes {
        let listed: [CancellationToken; 3] = std::array::from_fn(|_| CancellationToken::new());
        listed.iter().for_each(CancellationToken::cancel);
        let stores = Stores {
            classes: store_of(classes),
            namespaces: Namespaces::of(store_of(namespaces), Changes::default()),
            // They tell when credentials have changed since; here, there is no since.
            credentials: store_of(Vec::new()),
            listed,
        };
        Classes {
            stores,
            secrets: Api::namespaced(self.client.clone(), &self.own_namespace),
            own: self.own_account(self.session.clone()),
            require_class: self.require_class,
            sharded: self.class_selector.is_some(),
            session_options: self.session_options.clone(),
            defaults: self.defaults_in_classes(),
            leadership: Leadership::nobody(),
            metrics: Arc::new(Metrics::default()),
            sessions: Mutex::default(),
        }
    }

    /// One that may not write.
    async fn context(&self, namespace: &str, resolved: &ResolvedClass) -> Result<Context, Error> {
        let ours = ListParams::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace).list_metadata(&ours).await;
        let secrets = secrets.map_err(|error| KubernetesError::of("list Secrets", namespace, "", &error))?;
        let names = SecretNames::default();
        secrets.items.into_iter().for_each(|secret| names.follow(&Event::Apply(secret)));
        let now = Timestamp::now();
        Ok(Context {
            cluster: self.cluster.clone(),
            own_namespace: self.own_namespace.clone(),
            kubernetes: Arc::new(KubeClient::new(self.client.clone(), Arc::new(names))),
            classes: Arc::new(OneAccount::new(self.own_account(resolved.session.clone()))),
            coverage: Arc::new(Coverage::default()),
            state: Arc::new(State::default()),
            metrics: Arc::new(Metrics::default()),
            waits: self.waits,
            resync_interval: SignedDuration::MAX,
            clock: Arc::new(move || now),
            leadership: Leadership::nobody(),
        })
    }
}

pub(super) fn store_of<K>(objects: Vec<K>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        writer.apply_watcher_event(&Event::InitApply(object));
    }
    writer.apply_watcher_event(&Event::InitDone);
    store
}

fn refused(owner: Owner, reason: Reason, message: String) -> Preview {
    let (steps, parts) = (Vec::new(), Parts::pending());
    let (retiring, next_rotation_at, mistakes) = (None, None, Vec::new());
    Preview { owner, refusal: Some((reason, message)), steps, parts, retiring, next_rotation_at, mistakes }
}

/// Follows a plan to where nothing is left to do but to let time pass.
struct Imagination<'a> {
    session: &'a Session,
    owner: &'a Owner,
    held: &'a Held,
    /// Keys made so far.
    made: usize,
    /// Something would have been written, so what AWS says now is not what it would say then.
    wrote: bool,
}

impl Imagination<'_> {
    async fn follow(
        mut self,
        ctx: &Context,
        desired: Option<&Desired>,
        mut observed: Observed,
    ) -> Result<(Vec<(SignedDuration, Action)>, Plan), Error> {
        let start = ctx.now();
        let mut now = start;
        let mut steps = Vec::new();
        let decide = |observed: &Observed, now| match desired {
            Some(desired) => plan(desired, observed, now, &ctx.waits),
            None => teardown(self.owner, observed, now, &ctx.waits),
        };
        for _ in 0..ROUNDS {
            let next = decide(&observed, now);
            if next.actions.is_empty() {
                let waits = Part::ALL.iter().any(|part| matches!(next.parts.of(*part), Progress::Waiting(..)));
                match next.wake_at.filter(|at| waits && *at > now) {
                    Some(at) => now = at,
                    None => return Ok((steps, next)),
                }
            }
            for action in next.actions.clone() {
                let effect = self.imagine(&action, now).await?;
                if action.writes() && !matches!(action, Action::Announce(_)) {
                    self.wrote = true;
                    steps.push((now.duration_since(start), action.clone()));
                }
                observed.record(self.owner, &action, &effect, now);
                if action == Action::RemoveFinalizer || effect == Effect::Probed(false) {
                    return Ok((steps, next));
                }
            }
        }
        let last = decide(&observed, now);
        Ok((steps, last))
    }

    async fn imagine(&mut self, action: &Action, now: Timestamp) -> Result<Effect, Error> {
        Ok(match action {
            Action::CreateUser { .. } => Effect::UserCreated(self.owner.user_arn()),
            Action::CreateAccessKey => {
                self.made += 1;
                let id = if self.made == 1 { "<new>".to_owned() } else { format!("<new {}>", self.made) };
                Effect::KeyCreated(Minted { id, created_at: now })
            }
            Action::ProbeKey { id } => match self.held.halves.get(id).filter(|_| !self.wrote) {
                Some(half) => Effect::Probed(self.session.sts.accepts(id, half).await?),
                None => Effect::Probed(true),
            },
            Action::ReadLastUsed { id } if !id.starts_with('<') => {
                Effect::LastUsed(self.session.iam.get_access_key_last_used(id).await?)
            }
            Action::ReadLastUsed { .. } => Effect::LastUsed(None),
            Action::WriteSecret { .. } => Effect::SecretWritten { uid: String::new(), resource_version: String::new() },
            Action::RenewSession { key_id } => Effect::Renewed {
                uid: String::new(),
                resource_version: String::new(),
                session: HeldSession::issued(AccessKeyId::of_iam(key_id), now, later(now, LONGEST)),
            },
            Action::MarkWorkload { key_id, .. } => Effect::Workload(WorkloadState::Present {
                resource_version: String::new(),
                created_at: now,
                key: Some(key_id.clone()),
            }),
            _ => Effect::Done,
        })
    }
}

/// The S3AccessUser of a file, as it would be in the cluster once it is applied to what is there.
pub fn applied(file: &S3AccessUser, live: Option<S3AccessUser>) -> S3AccessUser {
    let Some(mut user) = live else {
        let mut user = file.clone();
        // Nothing was made for it, and nothing is told by its status.
        (user.metadata.finalizers, user.status) = (None, None);
        user.metadata.uid = Some("unknown".to_owned());
        user.metadata.creation_timestamp = Some(Time(Timestamp::now()));
        return user;
    };
    if user.spec != file.spec {
        user.metadata.generation = user.metadata.generation.map(|generation| generation + 1);
    }
    user.spec = file.spec.clone();
    let named: BTreeMap<String, String> = file.annotations().clone();
    user.annotations_mut().extend(named);
    user
}
