//! The pure core: what should be, what is, and what to do about the difference.
//!
//! Nothing here imports a Kubernetes client or the AWS SDK, and nothing reads a clock: every function takes `now`.
//! So each crash point, clock and interleaving can be tried in microseconds, and the `plan` command is the very
//! function that the controller runs.
//!
//! | module | what it says |
//! |---|---|
//! | **facts** | |
//! | [`iam`] | IAM's own words: what can be a key id, an account or a secret half |
//! | [`names`] | under which names and tags a user or policy is found again, and proves that it is ours |
//! | [`desired`], [`observed`] | what should be; what is |
//! | [`secret_data`] | what a Secret contains, in every format |
//! | [`credential_report`] | what AWS tells of all keys of an account at once |
//! | [`provider`] | what serves IAM: AWS, or a system that speaks a part of it |
//! | **decisions** | |
//! | [`reads`] | how little a reconcile has to read, and what is remembered for that |
//! | [`plan`] | what to do next, and what each action leads to |
//! | [`curtail`] | what is taken away, before and apart from the plan |
//! | [`drift`] | what a bulk read proves, and of which accounts |
//! | [`rotation`], [`sessions`] | when a key is replaced and its predecessor goes, the operator's own, too; when a session is renewed |
//! | [`ends`] | why and when a key ends before anybody replaces it |
//! | [`adoption`] | which keys of an adopted user are ours |
//! | [`conditions`] | how it all stands, in words of the status |
//! | [`priority`], [`schedule`] | who is reconciled first; when again |
//! | **what a tenant may have** | |
//! | [`class`] | what the platform team sets and allows in one namespace |
//! | [`policy`] | the policy document: made from the spec, checked, compared by meaning |
//! | [`budget`] | how much of anything one object may ask for |
//! | [`lint`] | mistakes that IAM takes without a word |
//! | [`refusal`] | why a spec is refused: what every check answers |
//! | **machinery** | |
//! | [`queue`] | the fair work queue |
//! | [`rate`] | how fast to call: a rate that AWS's throttling takes down |

pub mod adoption;
pub mod budget;
pub mod class;
pub mod conditions;
pub mod credential_report;
pub mod curtail;
pub mod desired;
pub mod drift;
pub mod ends;
pub mod iam;
pub mod lint;
pub mod names;
pub mod observed;
pub mod plan;
pub mod policy;
pub mod priority;
pub mod provider;
pub mod queue;
pub mod rate;
pub mod reads;
pub mod refusal;
pub mod rotation;
pub mod schedule;
pub mod secret_data;
pub mod sessions;
