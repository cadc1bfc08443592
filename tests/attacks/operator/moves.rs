//! What was tried with the operator's credentials.

use ground::double::{Request, Status};

use super::account::{ALL, Attacker, Move, OPERATOR, arn, ours};
use super::calls::{
    attach, bound, create_policy, create_user, new_version, put_policy, tag_policy, tag_user, unbound, update,
};

const ADMINISTRATOR: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

fn name(user: &str) -> String {
    user.to_owned()
}

fn a(what: &'static str, play: fn(&mut Attacker)) -> Move {
    Move { what, play }
}

pub fn all() -> Vec<Move> {
    let lists = [others_users(), others_credentials(), others_policies(), rights(), places(), groups(), beyond()];
    lists.into_iter().flatten().collect()
}

/// Somebody else's users.
fn others_users() -> Vec<Move> {
    vec![
        a("tag an administrator, then mint a key", |x| {
            x.call(tag_user("admin", &ours()));
            x.mint("admin");
        }),
        a("the same by another case of the name", |x| {
            x.call(tag_user("ADMIN", &ours()));
            x.mint("Admin");
        }),
        a("mint a key of an administrator", |x| x.mint("admin")),
        a("mint a second key of the operator", |x| x.mint(OPERATOR)),
        a("tag the operator, then mint", |x| {
            x.call(tag_user(OPERATOR, &ours()));
            x.mint(OPERATOR);
        }),
        a("mint a key of the user at the path's look-alike", |x| {
            x.call(tag_user("neighbour", &ours()));
            x.mint("neighbour");
        }),
        a("mint a key of the user named as the path", |x| {
            x.call(tag_user("s3access", &ours()));
            x.mint("s3access");
        }),
        a("untag somebody", |x| {
            x.call(Request::UntagUser { user_name: name("stranger"), tag_keys: vec![name("team")] });
        }),
        a("rename somebody", |x| {
            x.call(update("stranger", Some("renamed"), None));
        }),
        a("move an administrator under our path, then tag and mint", |x| {
            x.call(update("admin", None, Some("/s3access/")));
            x.call(tag_user("admin", &ours()));
            x.mint("admin");
        }),
        a("tag somebody, then move him under our path", |x| {
            x.call(tag_user("stranger", &ours()));
            x.call(update("stranger", None, Some("/s3access/")));
        }),
        a("move a user of ours to the path /", |x| {
            x.call(update("tenant", None, Some("/")));
        }),
        a("rename a user of ours out of the path", |x| {
            x.call(update("tenant", Some("administrator"), Some("/admins/")));
        }),
        a("delete somebody", |x| {
            x.call(Request::DeleteUser { user_name: name("unused") });
        }),
        a("tag somebody, then delete him", |x| {
            x.call(tag_user("unused", &ours()));
            x.call(Request::DeleteUser { user_name: name("unused") });
        }),
        a("bound somebody, so that he may nothing", |x| {
            x.call(bound("admin", &arn("policy/s3access-boundary")));
        }),
        a("bound the operator anew", |x| {
            x.call(bound(OPERATOR, ADMINISTRATOR));
        }),
        a("read what a user of ours may", |x| {
            x.call(Request::ListAttachedUserPolicies {
                user_name: name("tenant"),
                path_prefix: None,
                page: Default::default(),
            });
        }),
        a("delete a user of ours", |x| {
            x.call(Request::DetachUserPolicy { user_name: name("tenant"), policy_arn: arn("policy/s3access/tenant") });
            x.call(Request::DeleteUser { user_name: name("tenant") });
        }),
    ]
}

/// What somebody else gets in with.
fn others_credentials() -> Vec<Move> {
    vec![
        a("make somebody's key inactive", |x| {
            let access_key_id = x.key_of("stranger");
            x.call(Request::UpdateAccessKey { user_name: name("stranger"), access_key_id, status: Status::Inactive });
        }),
        a("delete somebody's key", |x| {
            let access_key_id = x.key_of("stranger");
            x.call(Request::DeleteAccessKey { user_name: name("stranger"), access_key_id });
        }),
        a("delete the operator's key", |x| {
            let access_key_id = x.key_of(OPERATOR);
            x.call(Request::DeleteAccessKey { user_name: name(OPERATOR), access_key_id });
        }),
        a("give the operator a password", |x| {
            x.call(Request::CreateLoginProfile { user_name: name(OPERATOR), password: name("Abc-12345") });
        }),
        a("give an administrator a password", |x| {
            x.call(Request::CreateLoginProfile { user_name: name("admin"), password: name("Abc-12345") });
        }),
        a("give a user of ours a password", |x| x.ask("iam:CreateLoginProfile", &arn("user/s3access/tenant"))),
        a("change somebody's password", |x| x.ask("iam:UpdateLoginProfile", &arn("user/stranger"))),
        a("take somebody's password", |x| {
            x.call(Request::DeleteLoginProfile { user_name: name("stranger") });
        }),
        a("switch somebody's second factor off", |x| {
            x.call(Request::DeactivateMFADevice { user_name: name("stranger"), serial_number: arn("mfa/phone") });
        }),
        a("tag somebody, then switch his second factor off", |x| {
            x.call(tag_user("stranger", &ours()));
            x.call(Request::DeactivateMFADevice { user_name: name("stranger"), serial_number: arn("mfa/phone") });
        }),
        a("delete somebody's device that is assigned to nobody", |x| {
            x.call(Request::DeleteVirtualMFADevice { serial_number: arn("mfa/spare") });
        }),
        a("give an administrator a second factor of one's own", |x| {
            x.call(Request::EnableMFADevice {
                user_name: name("admin"),
                serial_number: arn("mfa/spare"),
                authentication_code1: name("123456"),
                authentication_code2: name("654321"),
            });
        }),
        a("make a device", |x| {
            x.call(Request::CreateVirtualMFADevice { virtual_mfa_device_name: name("new"), path: None });
        }),
        a("give an administrator an SSH key", |x| {
            x.call(Request::UploadSSHPublicKey {
                user_name: name("admin"),
                ssh_public_key_body: name("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC0 x"),
            });
        }),
        a("give an administrator a certificate", |x| {
            let certificate_body = name("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----");
            x.call(Request::UploadSigningCertificate { user_name: name("admin"), certificate_body });
        }),
        a("give an administrator a credential for CodeCommit", |x| {
            let service_name = name("codecommit.amazonaws.com");
            x.call(Request::CreateServiceSpecificCredential { user_name: name("admin"), service_name });
        }),
        a("give a user of ours a credential for Bedrock", |x| {
            x.ask("iam:CreateServiceSpecificCredential", &arn("user/s3access/tenant"));
        }),
        a("reset somebody's credential for a service", |x| {
            x.ask("iam:ResetServiceSpecificCredential", &arn("user/stranger"));
        }),
        a("change somebody's SSH key", |x| x.ask("iam:UpdateSSHPublicKey", &arn("user/stranger"))),
        a("loosen the rule for passwords", |x| x.ask("iam:UpdateAccountPasswordPolicy", "*")),
    ]
}

/// Policies that are not the operator's to change.
fn others_policies() -> Vec<Move> {
    vec![
        a("tag a stranger's policy, then write a new version", |x| {
            x.call(tag_policy(&arn("policy/passer"), &ours()));
            x.call(new_version(&arn("policy/passer"), ALL));
        }),
        a("write a new version of a stranger's policy", |x| {
            x.call(new_version(&arn("policy/unused"), ALL));
        }),
        a("tag our own policy, then write a new version", |x| {
            let own = arn(&format!("policy/{OPERATOR}"));
            x.call(tag_policy(&own, &ours()));
            x.call(new_version(&own, ALL));
        }),
        a("go back to a version of our own policy that allowed more", |x| {
            let policy_arn = arn(&format!("policy/{OPERATOR}"));
            x.call(Request::SetDefaultPolicyVersion { policy_arn, version_id: name("v1") });
        }),
        a("delete a version of our own policy", |x| {
            let policy_arn = arn(&format!("policy/{OPERATOR}"));
            x.call(Request::DeletePolicyVersion { policy_arn, version_id: name("v1") });
        }),
        a("write a boundary that allows everything", |x| {
            x.call(tag_policy(&arn("policy/s3access-boundary"), &ours()));
            x.call(new_version(&arn("policy/s3access-boundary"), ALL));
        }),
        a("write a policy at the path's look-alike", |x| {
            x.call(tag_policy(&arn("policy/s3access-else"), &ours()));
            x.call(new_version(&arn("policy/s3access-else"), ALL));
        }),
        a("delete a stranger's policy", |x| {
            x.call(Request::DeletePolicy { policy_arn: arn("policy/unused") });
        }),
        a("untag a stranger's policy", |x| x.ask("iam:UntagPolicy", &arn("policy/unused"))),
        a("take a stranger's policy away", |x| {
            x.call(Request::DetachUserPolicy { user_name: name("stranger"), policy_arn: arn("policy/passer") });
        }),
        a("take a stranger's denial away", |x| {
            x.call(Request::DeleteUserPolicy { user_name: name("stranger"), policy_name: name("inline") });
        }),
        a("a policy ARN with the path in it twice", |x| {
            x.call(new_version(&arn("policy/s3access/../unused"), ALL));
        }),
    ]
}

/// More rights, for whom the operator may give rights to.
fn rights() -> Vec<Move> {
    vec![
        a("write everything into an inline policy of a user under the path", |x| {
            x.call(put_policy("tenant", ALL));
            x.mint("tenant");
        }),
        a("attach a policy of one's own, that allows everything, to a user under the path", |x| {
            x.call(create_policy("all", "/s3access/", ALL, &ours()));
            x.call(attach("tenant", &arn("policy/s3access/all")));
            x.mint("tenant");
        }),
        a("write everything into the policy of a user under the path", |x| {
            x.call(new_version(&arn("policy/s3access/tenant"), ALL));
            x.mint("tenant");
        }),
        a("make a user under the path with no boundary, and give it everything", |x| {
            x.call(create_user("evil", "/s3access/", &ours(), None));
            x.call(put_policy("evil", ALL));
            x.mint("evil");
        }),
        a("make a user under the path with a boundary that allows everything", |x| {
            x.call(create_user("evil", "/s3access/", &ours(), Some(ADMINISTRATOR)));
            x.call(put_policy("evil", ALL));
            x.mint("evil");
        }),
        a("make a user under the path bounded by a policy of one's own", |x| {
            x.call(create_policy("all", "/s3access/", ALL, &ours()));
            x.call(create_user("evil", "/s3access/", &ours(), Some(&arn("policy/s3access/all"))));
            x.call(put_policy("evil", ALL));
            x.mint("evil");
        }),
        a("take the boundary of a user under the path away, and give it everything", |x| {
            x.call(bound("tenant", &arn("policy/s3access-boundary")));
            x.call(unbound("tenant"));
            x.call(put_policy("tenant", ALL));
            x.mint("tenant");
        }),
        a("set another boundary for a user under the path, and give it everything", |x| {
            x.call(bound("tenant", ADMINISTRATOR));
            x.call(put_policy("tenant", ALL));
            x.mint("tenant");
        }),
        a("give a user of ours everything within the boundary, made with it", |x| {
            x.call(create_user("evil", "/s3access/", &ours(), Some(&arn("policy/s3access-boundary"))));
            x.call(put_policy("evil", ALL));
            x.mint("evil");
        }),
        a("attach AdministratorAccess", |x| {
            x.call(attach("tenant", ADMINISTRATOR));
            x.mint("tenant");
        }),
        a("attach IAMFullAccess", |x| {
            x.call(attach("tenant", "arn:aws:iam::aws:policy/IAMFullAccess"));
            x.mint("tenant");
        }),
        a("attach a stranger's policy of everything", |x| {
            x.call(attach("tenant", &arn("policy/admins")));
            x.mint("tenant");
        }),
        a("attach a stranger's policy that passes roles", |x| {
            x.call(attach("tenant", &arn("policy/passer")));
            x.mint("tenant");
        }),
        a("attach a policy of AWS that passes roles, by its name", |x| {
            x.attach_of_aws("AmazonS3OutpostsFullAccess");
        }),
        a("attach a policy of AWS for roles of services", |x| {
            x.attach_of_aws("service-role/AmazonS3ObjectLambdaExecutionRolePolicy");
        }),
        a("attach a policy of AWS whose name only begins as ours", |x| {
            x.attach_of_aws("AmazonS3FullAccessAndMore");
        }),
        a("attach the operator's own policy", |x| {
            x.call(attach("tenant", &arn(&format!("policy/{OPERATOR}"))));
            x.mint("tenant");
        }),
        a("attach AdministratorAccess to the operator", |x| {
            x.call(attach(OPERATOR, ADMINISTRATOR));
        }),
        a("write an inline policy for the operator", |x| {
            x.call(put_policy(OPERATOR, ALL));
        }),
        a("take the operator's policy away", |x| {
            let policy_arn = arn(&format!("policy/{OPERATOR}"));
            x.call(Request::DetachUserPolicy { user_name: name(OPERATOR), policy_arn });
        }),
        a("write an inline policy for a stranger", |x| {
            x.call(put_policy("stranger", ALL));
        }),
    ]
}

/// Tricks with paths and names.
fn places() -> Vec<Move> {
    vec![
        a("make a user at the path /", |x| {
            x.call(create_user("evil", "/", &ours(), Some(&arn("policy/s3access-boundary"))));
        }),
        a("make a user at the path in capitals", |x| {
            x.call(create_user("evil", "/S3ACCESS/", &ours(), Some(&arn("policy/s3access-boundary"))));
        }),
        a("make a user at a longer path that begins as ours", |x| {
            x.call(create_user("evil", "/s3access-else/", &ours(), Some(&arn("policy/s3access-boundary"))));
        }),
        a("make a user at a path with another before ours", |x| {
            x.call(create_user("evil", "/x/s3access/", &ours(), Some(&arn("policy/s3access-boundary"))));
        }),
        a("a user at a path that climbs: /s3access/../", |x| {
            // IAM knows no climbing: it is a path under ours, and the name of the administrator is taken.
            x.call(create_user("admin", "/s3access/../", &ours(), Some(&arn("policy/s3access-boundary"))));
            x.call(create_user("evil", "/s3access/../", &ours(), Some(&arn("policy/s3access-boundary"))));
            x.mint("evil");
        }),
        a("a user name with the path in it", |x| {
            x.call(tag_user("s3access/admin", &ours()));
            x.mint("s3access/admin");
            x.mint("s3access/../admin");
        }),
        a("make a policy at the path /", |x| {
            x.call(create_policy("evil", "/", ALL, &ours()));
        }),
        a("make a policy named as the operator's will be", |x| {
            x.call(create_policy("s3-access-operator-next", "/", ALL, &ours()));
        }),
        a("make a policy at a path that begins as ours", |x| {
            x.call(create_policy("evil", "/s3accessible/", ALL, &ours()));
        }),
    ]
}

/// Groups carry rights, and denials.
fn groups() -> Vec<Move> {
    vec![
        a("take somebody out of a group that denies", |x| {
            x.call(Request::RemoveUserFromGroup { user_name: name("stranger"), group_name: name("deny-all") });
        }),
        a("put a user of ours into the administrators' group", |x| {
            x.call(Request::AddUserToGroup { user_name: name("tenant"), group_name: name("admins") });
        }),
        a("put the operator into the administrators' group", |x| {
            x.call(Request::AddUserToGroup { user_name: name(OPERATOR), group_name: name("admins") });
        }),
        a("put an administrator into a group that denies", |x| {
            x.call(Request::AddUserToGroup { user_name: name("admin"), group_name: name("deny-all") });
        }),
        a("make a group", |x| {
            x.call(Request::CreateGroup { group_name: name("evil"), path: None });
        }),
        a("delete a group", |x| {
            x.call(Request::DeleteGroup { group_name: name("admins") });
        }),
        a("write a policy for a group", |x| x.ask("iam:PutGroupPolicy", &arn("group/deny-all"))),
        a("attach a policy to a group", |x| x.ask("iam:AttachGroupPolicy", &arn("group/deny-all"))),
        a("rename a group", |x| x.ask("iam:UpdateGroup", &arn("group/deny-all"))),
    ]
}

/// Roles, trust and other services.
fn beyond() -> Vec<Move> {
    vec![
        a("assume the administrators' role", |x| x.assume("administrators")),
        a("trust oneself in a role", |x| x.ask("iam:UpdateAssumeRolePolicy", &arn("role/administrators"))),
        a("pass a role to a service", |x| x.ask("iam:PassRole", &arn("role/administrators"))),
        a("make a role", |x| x.ask("iam:CreateRole", &arn("role/s3access/evil"))),
        a("write a policy for the operator's role", |x| x.ask("iam:PutRolePolicy", &arn("role/s3-access-operator"))),
        a("attach a policy to the operator's role", |x| {
            x.ask("iam:AttachRolePolicy", &arn("role/s3-access-operator"));
        }),
        a("take a role's boundary away", |x| x.ask("iam:DeleteRolePermissionsBoundary", &arn("role/administrators"))),
        a("tag a role that others trust by its tags", |x| x.ask("iam:TagRole", &arn("role/administrators"))),
        a("make a role of a service", |x| x.ask("iam:CreateServiceLinkedRole", &arn("role/aws-service-role/x/y"))),
        a("put a role into an instance profile", |x| {
            x.ask("iam:AddRoleToInstanceProfile", &arn("instance-profile/x"));
        }),
        a("make a SAML provider", |x| x.ask("iam:CreateSAMLProvider", &arn("saml-provider/x"))),
        a("replace a SAML provider's metadata", |x| x.ask("iam:UpdateSAMLProvider", &arn("saml-provider/x"))),
        a("make an OIDC provider", |x| x.ask("iam:CreateOpenIDConnectProvider", &arn("oidc-provider/x"))),
        a("let another client in at an OIDC provider", |x| {
            x.ask("iam:AddClientIDToOpenIDConnectProvider", &arn("oidc-provider/x"));
        }),
        a("replace a server's certificate", |x| x.ask("iam:UploadServerCertificate", &arn("server-certificate/x"))),
        a("make an account alias", |x| x.ask("iam:CreateAccountAlias", "*")),
        a("take the root's second factor over, from the organization", |x| {
            x.ask("iam:EnableOrganizationsRootCredentialsManagement", "*");
        }),
        a("federate into a user of one's own", |x| {
            x.ask("sts:GetFederationToken", "arn:aws:sts::123456789012:federated-user/x")
        }),
        a("leave the organization", |x| x.ask("organizations:LeaveOrganization", "*")),
        a("read a bucket with the operator's own key", |x| x.ask("s3:GetObject", "arn:aws:s3:::payroll/2026")),
        a("change a KMS key's policy", |x| x.ask("kms:PutKeyPolicy", "arn:aws:kms:eu-west-1:123456789012:key/payroll")),
        a("start a machine with a role", |x| x.ask("ec2:RunInstances", "*")),
        a("stop the account's trail", |x| x.ask("cloudtrail:StopLogging", "*")),
    ]
}

/// What the bounded policy asks of whoever uses it; each leads out where it is not so.
pub fn preconditions() -> Vec<Move> {
    vec![
        a("somebody made an administrator under the path, without the boundary", |x| {
            x.by_hand(&create_user("made-by-hand", "/s3access/", &[], None));
            x.by_hand(&attach("made-by-hand", ADMINISTRATOR));
            x.call(tag_user("made-by-hand", &ours()));
            x.mint("made-by-hand");
        }),
        a("a user of before the boundary, whose policy is ours", |x| {
            x.by_hand(&unbound("tenant"));
            x.call(new_version(&arn("policy/s3access/tenant"), ALL));
            x.mint("tenant");
        }),
    ]
}
