//! The account that is attacked, what the attacker holds, and where a move ended.

use ground::double::{
    Access, Account, CallError, Caller, Code, Context, Credentials, Request, Response, Settings, Tag, World,
};
use jiff::Timestamp;

use super::calls::{attach, create_policy, create_user, put_policy, tag_user};

pub const ACCOUNT: &str = "123456789012";
pub const OPERATOR: &str = "s3-access-operator";
pub const ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
const S3: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::team-a/*"}]}"#;
const DENY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ec2:*","Resource":"*"}]}"#;
const PASSER: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:PassRole","lambda:*"],"Resource":"*"}]}"#;

/// The shipped policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Default,
    WithLeftovers,
    WithMigration,
    Bounded,
    /// Not shipped: what it takes to see that a move is real.
    Administrator,
    /// What was shipped once, in the parts that matter.
    Before,
}

/// What somebody with the operator's credentials tries.
pub struct Move {
    pub what: &'static str,
    pub play: fn(&mut Attacker),
}

/// Where a move ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing that was asked for was granted.
    Refused,
    /// Something was, and all that it reached is the operator's to reach.
    Inside,
    /// Beyond.
    Out(String),
}

pub fn arn(resource: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:{resource}")
}

pub fn ours() -> Vec<Tag> {
    vec![Tag::new("s3access.dev/cluster", "c"), Tag::new("s3access.dev/uid", "u")]
}

fn shipped(name: &str) -> String {
    let path = format!("{}/deploy/iam/{name}.aws.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Variant {
    fn documents(self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::Default => &["operator-policy"],
            Self::WithLeftovers => &["operator-policy", "operator-policy.leftovers"],
            Self::WithMigration => &["operator-policy", "operator-policy.migration"],
            Self::Bounded => &["bounded/operator-policy"],
            Self::Administrator => return vec![ALL.to_owned()],
            Self::Before => return vec![shipped("operator-policy"), BEFORE.to_owned()],
        };
        names.iter().map(|name| shipped(name)).collect()
    }
}

const BEFORE: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":["iam:CreateUser","iam:TagUser"],"Resource":"arn:aws:iam::*:user/*",
     "Condition":{"StringLike":{"aws:RequestTag/s3access.dev/cluster":"*","aws:RequestTag/s3access.dev/uid":"*"}}},
    {"Effect":"Allow","Action":["iam:CreatePolicy","iam:TagPolicy"],"Resource":"arn:aws:iam::*:policy/*",
     "Condition":{"StringLike":{"aws:RequestTag/s3access.dev/cluster":"*","aws:RequestTag/s3access.dev/uid":"*"}}},
    {"Effect":"Allow","Action":["iam:CreateAccessKey","iam:CreatePolicyVersion"],"Resource":"*",
     "Condition":{"StringLike":{"aws:ResourceTag/s3access.dev/cluster":"*"}}},
    {"Effect":"Allow","Action":"iam:UpdateUser","Resource":"arn:aws:iam::*:user/*"}]}"#;

/// Whoever holds the operator's key, and what else he has got.
pub struct Attacker {
    world: World,
    now: Timestamp,
    operator: Credentials,
    minted: Vec<Credentials>,
    granted: bool,
    escape: Option<String>,
}

impl Attacker {
    /// Plays one move in an account of its own.
    pub fn play(variant: Variant, one: &Move) -> End {
        let mut attacker = Self::new(variant);
        let before = attacker.outside();
        (one.play)(&mut attacker);
        attacker.judge(&before)
    }

    fn new(variant: Variant) -> Self {
        let account = Account { id: ACCOUNT.to_owned(), partition: "aws".to_owned() };
        let none = Credentials { access_key_id: String::new(), secret_access_key: String::new(), session_token: None };
        let mut attacker = Self {
            world: World::new(account, Settings::default()),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            operator: none,
            minted: Vec::new(),
            granted: false,
            escape: None,
        };
        attacker.furnish();
        if variant == Variant::Bounded {
            let request = Request::PutUserPermissionsBoundary {
                user_name: "tenant".to_owned(),
                permissions_boundary: arn("policy/s3access-boundary"),
            };
            attacker.by_hand(&request);
        }
        attacker.by_hand(&create_user(OPERATOR, "/", &[], None));
        for (number, document) in variant.documents().iter().enumerate() {
            let name = if number == 0 { OPERATOR.to_owned() } else { format!("{OPERATOR}-{number}") };
            // An older version of the operator's own policy allowed more.
            attacker.by_hand(&create_policy(&name, "/", ALL, &[]));
            let policy_arn = arn(&format!("policy/{name}"));
            let policy_document = document.clone();
            attacker.by_hand(&Request::CreatePolicyVersion {
                policy_arn: policy_arn.clone(),
                policy_document,
                set_as_default: true,
            });
            attacker.by_hand(&attach(OPERATOR, &policy_arn));
        }
        attacker.operator = attacker.key_by_hand(OPERATOR);
        attacker
    }

    /// Strangers of every kind, and one tenant of ours.
    fn furnish(&mut self) {
        for (name, path) in
            [("admin", "/"), ("stranger", "/"), ("unused", "/"), ("neighbour", "/s3access-else/"), ("s3access", "/")]
        {
            self.by_hand(&create_user(name, path, &[], None));
        }
        for (name, document) in [("admins", ALL), ("passer", PASSER), ("unused", S3), ("s3access-else", ALL)] {
            self.by_hand(&create_policy(name, "/", document, &[]));
        }
        self.by_hand(&create_policy("s3access-boundary", "/", &shipped("bounded/users-boundary"), &[]));
        self.by_hand(&attach("admin", "arn:aws:iam::aws:policy/AdministratorAccess"));
        self.by_hand(&attach("stranger", &arn("policy/passer")));
        self.by_hand(&put_policy("stranger", DENY));
        let stranger = || "stranger".to_owned();
        for request in [
            tag_user("stranger", &[Tag::new("team", "payroll")]),
            Request::CreateLoginProfile { user_name: stranger(), password: "Abc-12345".to_owned() },
            Request::CreateGroup { group_name: "deny-all".to_owned(), path: None },
            Request::CreateGroup { group_name: "admins".to_owned(), path: None },
            Request::AddUserToGroup { user_name: stranger(), group_name: "deny-all".to_owned() },
            Request::CreateVirtualMFADevice { virtual_mfa_device_name: "spare".to_owned(), path: None },
            Request::CreateVirtualMFADevice { virtual_mfa_device_name: "phone".to_owned(), path: None },
            Request::EnableMFADevice {
                user_name: stranger(),
                serial_number: arn("mfa/phone"),
                authentication_code1: "123456".to_owned(),
                authentication_code2: "654321".to_owned(),
            },
        ] {
            self.by_hand(&request);
        }
        self.key_by_hand("stranger");
        let iam = self.world.account_mut(ACCOUNT).unwrap();
        iam.put_role("administrators", &[&arn("root")], None, &[ALL]).unwrap();

        self.by_hand(&create_user("tenant", "/s3access/", &ours(), None));
        self.by_hand(&create_policy("tenant", "/s3access/", S3, &ours()));
        self.by_hand(&attach("tenant", &arn("policy/s3access/tenant")));
    }

    /// Somebody who may.
    pub fn by_hand(&mut self, request: &Request) -> Response {
        let reply = self.world.call(self.now, Caller::root(ACCOUNT), request);
        reply.result.unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    fn key_by_hand(&mut self, user: &str) -> Credentials {
        let request = Request::CreateAccessKey { user_name: user.to_owned() };
        let Response::NewAccessKey(new) = self.by_hand(&request) else { panic!("no key") };
        Credentials { access_key_id: new.key.id, secret_access_key: new.key.secret, session_token: None }
    }

    /// The id of somebody's first key.
    pub fn key_of(&self, user: &str) -> String {
        self.world.account(ACCOUNT).unwrap().state().user(user).unwrap().keys[0].id.clone()
    }

    /// A call with the operator's credentials; what a move could not have is no end of it.
    pub fn call(&mut self, request: Request) -> Option<Response> {
        match self.world.call(self.now, &self.operator.clone(), &request).result {
            Ok(answer) => {
                self.granted = true;
                Some(answer)
            }
            Err(CallError::Api(error)) => {
                let of_form =
                    [Code::AccessDenied, Code::EntityAlreadyExists, Code::ValidationError, Code::NoSuchEntity];
                assert!(of_form.contains(&error.code), "the move is wrong: {request:?}: {error:?}");
                None
            }
            Err(error) => panic!("{request:?}: {error}"),
        }
    }

    /// A key for a user, to use from then on.
    pub fn mint(&mut self, user: &str) {
        if let Some(Response::NewAccessKey(new)) = self.call(Request::CreateAccessKey { user_name: user.to_owned() }) {
            let (id, secret) = (new.key.id, new.key.secret);
            self.minted.push(Credentials { access_key_id: id, secret_access_key: secret, session_token: None });
        }
    }

    /// A session of a role, to use from then on.
    pub fn assume(&mut self, role: &str) {
        let request = Request::AssumeRole {
            role_arn: arn(&format!("role/{role}")),
            role_session_name: "x".to_owned(),
            external_id: None,
            duration_seconds: None,
        };
        if let Some(Response::AssumedRole(role)) = self.call(request) {
            self.minted.push(Credentials {
                access_key_id: role.access_key_id,
                secret_access_key: role.secret_access_key,
                session_token: Some(role.session_token),
            });
        }
    }

    /// A call that the double does not carry out, and that would lead out: whether the operator's policies allow it,
    /// whatever the tags and the request say.
    pub fn ask(&mut self, action: &str, resource: &str) {
        let mut tagged = Context::new().with("iam:PolicyARN", arn("policy/s3access/tenant"));
        for tag in ours() {
            for key in ["aws:ResourceTag", "aws:RequestTag", "iam:ResourceTag"] {
                tagged.add(&format!("{key}/{}", tag.key), &tag.value);
            }
        }
        let bounded = tagged.clone().with("iam:PermissionsBoundary", arn("policy/s3access-boundary"));
        for context in [Context::new(), tagged, bounded] {
            if self.world.authorize(self.now, &self.operator, action, resource, &context) == Access::Allowed {
                self.escape = Some(format!("{action} on {resource}"));
            }
        }
    }

    /// Whether a policy of AWS's could be attached to a user of ours, under the boundary or not.
    pub fn attach_of_aws(&mut self, name: &str) {
        let policy = format!("arn:aws:iam::aws:policy/{name}");
        let context = Context::new().with("aws:ResourceTag/s3access.dev/cluster", "c").with("iam:PolicyARN", &policy);
        let bounded = context.clone().with("iam:PermissionsBoundary", arn("policy/s3access-boundary"));
        for context in [context, bounded] {
            let user = arn("user/s3access/tenant");
            let access = self.world.authorize(self.now, &self.operator, "iam:AttachUserPolicy", &user, &context);
            if access == Access::Allowed {
                self.escape = Some(format!("{policy} attached"));
            }
        }
    }

    /// All that is not the operator's: what does not lie under its path.
    fn outside(&self) -> Vec<String> {
        let state = self.world.account(ACCOUNT).unwrap().state();
        let users = state.users().filter(|user| !inside(&user.arn)).map(|user| format!("{user:?}"));
        let policies = state.local_policies().filter(|policy| !inside(&policy.arn));
        // Whom a policy is attached to is seen at the users.
        let policies = policies.map(|policy| {
            format!("{} {:?} {:?} v{}", policy.arn, policy.tags, policy.versions, policy.default_version)
        });
        let groups = state.groups().filter(|group| !inside(&group.arn)).map(|group| format!("{group:?}"));
        let devices = state.devices().filter(|device| !inside(&device.serial)).map(|device| format!("{device:?}"));
        users.chain(policies).chain(groups).chain(devices).collect()
    }

    fn judge(mut self, before: &[String]) -> End {
        if let Some(escape) = self.escape {
            return End::Out(escape);
        }
        let after = self.outside();
        if let Some(changed) =
            after.iter().find(|one| !before.contains(one)).or(before.iter().find(|one| !after.contains(one)))
        {
            return End::Out(format!("changed: {}", changed.chars().take(80).collect::<String>()));
        }
        for credentials in self.minted.clone() {
            for (action, resource) in BEYOND {
                let access = self.world.authorize(self.now, &credentials, action, resource, &Context::new());
                if access == Access::Allowed {
                    return End::Out(format!("a key that may {action} on {resource}"));
                }
            }
        }
        if self.granted { End::Inside } else { End::Refused }
    }
}

/// What no key of a user of ours is for; KMS only where S3 asks for it.
const BEYOND: &[(&str, &str)] = &[
    ("iam:CreateUser", "arn:aws:iam::123456789012:user/evil"),
    ("iam:CreateAccessKey", "arn:aws:iam::123456789012:user/admin"),
    ("iam:GetUser", "arn:aws:iam::123456789012:user/admin"),
    ("iam:PassRole", "arn:aws:iam::123456789012:role/administrators"),
    ("iam:PutUserPolicy", "arn:aws:iam::123456789012:user/s3access/tenant"),
    ("iam:DeleteUserPermissionsBoundary", "arn:aws:iam::123456789012:user/s3access/tenant"),
    ("sts:AssumeRole", "arn:aws:iam::123456789012:role/administrators"),
    ("ec2:RunInstances", "*"),
    ("lambda:CreateFunction", "*"),
    ("kms:Decrypt", "arn:aws:kms:eu-west-1:123456789012:key/payroll"),
    ("kms:PutKeyPolicy", "arn:aws:kms:eu-west-1:123456789012:key/payroll"),
    ("organizations:LeaveOrganization", "*"),
    ("secretsmanager:GetSecretValue", "*"),
];

fn inside(arn: &str) -> bool {
    let resource = arn.split(':').nth(5).unwrap_or_default();
    ["user", "policy", "group", "mfa"].iter().any(|kind| resource.starts_with(&format!("{kind}/s3access/")))
}
