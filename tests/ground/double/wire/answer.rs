//! The AWS query protocol: from an answer to XML.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::error::{ApiError, Code};
use super::super::model::{Group, Policy, Role, ServiceCredential, SigningCertificate, SshKey, Tag, Tags, User};
use super::super::operation::{Kind, Operation};
use super::super::response::{
    AccountDetails, AssumedRole, AttachedPolicy, Evaluation, Listing, Response, UserDetail, VersionView,
};
use super::xml::Xml;

const IAM: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

fn namespace(operation: Option<Operation>) -> &'static str {
    match operation.map(Operation::kind) {
        Some(Kind::Sts) => STS,
        _ => IAM,
    }
}

/// The body of an error's answer.
pub(super) fn failure(operation: Option<Operation>, error: &ApiError, request_id: &str) -> String {
    Xml::document("ErrorResponse", namespace(operation), |xml| {
        xml.element("Error", |xml| {
            xml.text("Type", if error.code == Code::ServiceFailure { "Receiver" } else { "Sender" });
            xml.text("Code", error.code.as_str());
            xml.text("Message", &error.message);
        });
        xml.text("RequestId", request_id);
    })
}

/// The body of a successful answer.
pub(super) fn success(operation: Operation, response: &Response, request_id: &str) -> String {
    Xml::document(&format!("{operation}Response"), namespace(Some(operation)), |xml| {
        if *response != Response::Done {
            xml.element(&format!("{operation}Result"), |xml| result(xml, response));
        }
        xml.element("ResponseMetadata", |xml| xml.text("RequestId", request_id));
    })
}

fn result(xml: &mut Xml, response: &Response) {
    match response {
        Response::Done => {}
        Response::User(user) => xml.element("User", |xml| {
            user_head(xml, user);
            boundary_and_tags(xml, user);
        }),
        // ListUsers leaves tags and boundaries out (API reference, ListUsers).
        Response::Users(users) => listing(xml, "Users", users, |xml, user| user_head(xml, user)),
        Response::Tags(tags) => listing(xml, "Tags", tags, |xml, tag| {
            xml.text("Key", &tag.key);
            xml.text("Value", &tag.value);
        }),
        Response::NewAccessKey(new) => xml.element("AccessKey", |xml| {
            xml.text("UserName", &new.user_name);
            xml.text("AccessKeyId", &new.key.id);
            xml.text("Status", new.key.status.as_str());
            xml.text("SecretAccessKey", &new.key.secret);
            xml.time("CreateDate", new.key.created);
        }),
        Response::AccessKeys(keys) => listing(xml, "AccessKeyMetadata", keys, |xml, key| {
            xml.text("UserName", &key.user_name);
            xml.text("AccessKeyId", &key.id);
            xml.text("Status", key.status.as_str());
            xml.time("CreateDate", key.created);
        }),
        Response::AccessKeyLastUsed { user_name, last_used } => {
            xml.text("UserName", user_name);
            xml.element("AccessKeyLastUsed", |xml| {
                if let Some(used) = last_used {
                    xml.time("LastUsedDate", used.at);
                }
                // A key that was never used has these two, and no date.
                xml.text("ServiceName", last_used.as_ref().map_or("N/A", |used| used.service.as_str()));
                xml.text("Region", last_used.as_ref().map_or("N/A", |used| used.region.as_str()));
            });
        }
        Response::Policy(policy) => xml.element("Policy", |xml| {
            policy_head(xml, policy);
            if !policy.description.is_empty() {
                xml.text("Description", &policy.description);
            }
            // An empty list is there, other than with users (recorded).
            all_tags(xml, policy.tags.values());
        }),
        // The description is left out, and tags are as they were sent (recorded).
        Response::NewPolicy { policy, tags } => xml.element("Policy", |xml| {
            policy_head(xml, policy);
            if !tags.is_empty() {
                all_tags(xml, tags);
            }
        }),
        Response::Policies(policies) => listing(xml, "Policies", policies, |xml, policy| policy_head(xml, policy)),
        Response::PolicyVersion(view) => xml.element("PolicyVersion", |xml| version(xml, view)),
        Response::PolicyVersions(versions) => listing(xml, "Versions", versions, version),
        Response::PolicyUsers(users) => {
            xml.members("PolicyGroups", [(); 0], |_, ()| ());
            xml.members("PolicyRoles", [(); 0], |_, ()| ());
            listing(xml, "PolicyUsers", users, |xml, (name, id)| {
                xml.text("UserName", name);
                xml.text("UserId", id);
            });
        }
        Response::AttachedPolicies(policies) => listing(xml, "AttachedPolicies", policies, attached_policy),
        Response::InlinePolicy { user_name, policy_name, document } => {
            xml.text("UserName", user_name);
            xml.text("PolicyName", policy_name);
            xml.text("PolicyDocument", encoded(document));
        }
        Response::PolicyNames(names) => {
            xml.element("PolicyNames", |xml| names.items.iter().for_each(|name| xml.text("member", name)));
            end_of_page(xml, names.marker.as_deref());
        }
        Response::AccountDetails(details) => account_details(xml, details),
        Response::AccountSummary(numbers) => xml.element("SummaryMap", |xml| {
            for (name, number) in numbers {
                xml.element("entry", |xml| {
                    xml.text("key", name);
                    xml.text("value", number);
                });
            }
        }),
        Response::CredentialReportState { state, description } => {
            xml.text("State", state);
            if let Some(description) = description {
                xml.text("Description", description);
            }
        }
        Response::CredentialReport { content, generated } => {
            xml.text("Content", BASE64_STANDARD.encode(content));
            xml.text("ReportFormat", "text/csv");
            xml.time("GeneratedTime", *generated);
        }
        Response::CallerIdentity(identity) => {
            xml.text("Arn", &identity.arn);
            xml.text("UserId", &identity.user_id);
            xml.text("Account", &identity.account);
        }
        Response::AssumedRole(assumed) => assumed_role(xml, assumed),
        Response::SessionToken(session) => xml.element("Credentials", |xml| {
            xml.text("AccessKeyId", &session.access_key_id);
            xml.text("SecretAccessKey", &session.secret_access_key);
            xml.text("SessionToken", &session.session_token);
            xml.time("Expiration", session.expiration);
        }),
        Response::Role(found) => xml.element("Role", |xml| role(xml, found)),
        Response::Evaluations(evaluations) => {
            xml.members("EvaluationResults", evaluations, evaluation);
            xml.text("IsTruncated", false);
        }
        leftover => leftover_result(xml, leftover),
    }
}

fn leftover_result(xml: &mut Xml, response: &Response) {
    match response {
        Response::LoginProfile { user_name, created } => xml.element("LoginProfile", |xml| {
            xml.text("UserName", user_name);
            xml.time("CreateDate", *created);
            xml.text("PasswordResetRequired", false);
        }),
        Response::MfaDevices { user_name, devices } => listing(xml, "MFADevices", devices, |xml, (serial, enabled)| {
            xml.text("UserName", user_name);
            xml.text("SerialNumber", serial);
            xml.time("EnableDate", *enabled);
        }),
        Response::VirtualMfaDevice { serial, seed } => xml.element("VirtualMFADevice", |xml| {
            xml.text("SerialNumber", serial);
            xml.text("Base32StringSeed", seed);
        }),
        Response::SigningCertificate { user_name, certificate } => {
            xml.element("Certificate", |xml| signing_certificate(xml, user_name, certificate));
        }
        Response::SigningCertificates { user_name, certificates } => {
            listing(xml, "Certificates", certificates, |xml, item| signing_certificate(xml, user_name, item));
        }
        Response::SshKey { user_name, key } => xml.element("SSHPublicKey", |xml| {
            ssh_key(xml, user_name, key);
            xml.text("SSHPublicKeyBody", &key.body);
        }),
        Response::SshKeys { user_name, keys } => {
            listing(xml, "SSHPublicKeys", keys, |xml, key| ssh_key(xml, user_name, key));
        }
        Response::ServiceCredential { user_name, credential, password } => {
            xml.element("ServiceSpecificCredential", |xml| {
                service_credential(xml, user_name, credential);
                xml.text("ServicePassword", password);
            });
        }
        Response::ServiceCredentials { user_name, credentials } => {
            xml.members("ServiceSpecificCredentials", credentials, |xml, item| {
                service_credential(xml, user_name, item);
            });
            // Never more than a page.
            end_of_page(xml, None);
        }
        Response::Group(item) => xml.element("Group", |xml| group(xml, item)),
        Response::Groups(groups) => listing(xml, "Groups", groups, |xml, item| group(xml, item)),
        // Every other answer is written by the caller of this function.
        _ => {}
    }
}

/// A list with the end of its page.
fn listing<T>(xml: &mut Xml, name: &str, page: &Listing<T>, mut content: impl FnMut(&mut Xml, &T)) {
    xml.members(name, &page.items, &mut content);
    end_of_page(xml, page.marker.as_deref());
}

fn end_of_page(xml: &mut Xml, marker: Option<&str>) {
    xml.text("IsTruncated", marker.is_some());
    if let Some(marker) = marker {
        xml.text("Marker", marker);
    }
}

/// What RFC 3986 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Policy documents are URL-encoded in answers, by RFC 3986 (API reference, GetPolicyVersion).
fn encoded(document: &str) -> String {
    utf8_percent_encode(document, UNRESERVED).to_string()
}

fn user_head(xml: &mut Xml, user: &User) {
    xml.text("Path", &user.path);
    xml.text("UserName", &user.name);
    xml.text("UserId", &user.id);
    xml.text("Arn", &user.arn);
    xml.time("CreateDate", user.created);
}

fn boundary_and_tags(xml: &mut Xml, user: &User) {
    if let Some(arn) = &user.boundary {
        xml.element("PermissionsBoundary", |xml| {
            xml.text("PermissionsBoundaryType", "Policy");
            xml.text("PermissionsBoundaryArn", arn);
        });
    }
    tags(xml, &user.tags);
}

fn tags(xml: &mut Xml, tags: &Tags) {
    if !tags.is_empty() {
        all_tags(xml, tags.values());
    }
}

fn all_tags<'a>(xml: &mut Xml, tags: impl IntoIterator<Item = &'a Tag>) {
    xml.members("Tags", tags, |xml, tag| {
        xml.text("Key", &tag.key);
        xml.text("Value", &tag.value);
    });
}

fn policy_head(xml: &mut Xml, policy: &Policy) {
    xml.text("PolicyName", &policy.name);
    xml.text("PolicyId", &policy.id);
    xml.text("Arn", &policy.arn);
    xml.text("Path", &policy.path);
    xml.text("DefaultVersionId", format!("v{}", policy.default_version));
    xml.text("AttachmentCount", policy.attached_to.size());
    xml.text("PermissionsBoundaryUsageCount", policy.bounds.size());
    xml.text("IsAttachable", true);
    xml.time("CreateDate", policy.created);
    xml.time("UpdateDate", policy.updated);
}

fn version(xml: &mut Xml, view: &VersionView) {
    if let Some(document) = &view.document {
        xml.text("Document", encoded(document));
    }
    xml.text("VersionId", &view.version_id);
    xml.text("IsDefaultVersion", view.is_default);
    xml.time("CreateDate", view.created);
}

fn attached_policy(xml: &mut Xml, policy: &AttachedPolicy) {
    xml.text("PolicyName", &policy.name);
    xml.text("PolicyArn", &policy.arn);
}

fn group(xml: &mut Xml, group: &Group) {
    xml.text("Path", &group.path);
    xml.text("GroupName", &group.name);
    xml.text("GroupId", &group.id);
    xml.text("Arn", &group.arn);
    xml.time("CreateDate", group.created);
}

fn signing_certificate(xml: &mut Xml, user: &str, certificate: &SigningCertificate) {
    xml.text("UserName", user);
    xml.text("CertificateId", &certificate.id);
    xml.text("CertificateBody", &certificate.body);
    xml.text("Status", certificate.status.as_str());
    xml.time("UploadDate", certificate.uploaded);
}

fn ssh_key(xml: &mut Xml, user: &str, key: &SshKey) {
    xml.text("UserName", user);
    xml.text("SSHPublicKeyId", &key.id);
    xml.text("Status", key.status.as_str());
    xml.time("UploadDate", key.uploaded);
}

fn service_credential(xml: &mut Xml, user: &str, credential: &ServiceCredential) {
    xml.text("UserName", user);
    xml.text("ServiceSpecificCredentialId", &credential.id);
    xml.text("ServiceName", &credential.service);
    xml.text("ServiceUserName", &credential.service_user_name);
    xml.text("Status", credential.status.as_str());
    xml.time("CreateDate", credential.created);
}

fn account_details(xml: &mut Xml, details: &AccountDetails) {
    xml.members("UserDetailList", &details.users, user_detail);
    xml.members("GroupDetailList", &details.groups, |xml, item| group(xml, item));
    xml.members("RoleDetailList", &details.roles, role);
    xml.members("Policies", &details.policies, |xml, detail| {
        policy_head(xml, &detail.policy);
        xml.members("PolicyVersionList", &detail.versions, version);
    });
    end_of_page(xml, details.marker.as_deref());
}

fn user_detail(xml: &mut Xml, detail: &UserDetail) {
    user_head(xml, &detail.user);
    xml.members("UserPolicyList", &detail.inline, |xml, (name, document)| {
        xml.text("PolicyName", name);
        xml.text("PolicyDocument", encoded(document));
    });
    xml.element("GroupList", |xml| detail.user.groups.iter().for_each(|name| xml.text("member", name)));
    xml.members("AttachedManagedPolicies", &detail.attached, attached_policy);
    boundary_and_tags(xml, &detail.user);
}

fn role(xml: &mut Xml, role: &Role) {
    xml.text("Path", "/");
    xml.text("RoleName", &role.name);
    xml.text("RoleId", &role.id);
    xml.text("Arn", &role.arn);
}

/// One that names none of the statements that it goes by.
fn evaluation(xml: &mut Xml, evaluation: &Evaluation) {
    let decision = |xml: &mut Xml, [resource, decision]: [&str; 2]| {
        xml.text(resource, &evaluation.resource);
        xml.text(decision, evaluation.decision.simulated());
        xml.members("MatchedStatements", [(); 0], |_, ()| ());
        xml.members("MissingContextValues", [(); 0], |_, ()| ());
    };
    xml.text("EvalActionName", &evaluation.action);
    decision(xml, ["EvalResourceName", "EvalDecision"]);
    xml.members("ResourceSpecificResults", [()], |xml, ()| {
        decision(xml, ["EvalResourceName", "EvalResourceDecision"]);
    });
}

fn assumed_role(xml: &mut Xml, assumed: &AssumedRole) {
    xml.element("Credentials", |xml| {
        xml.text("AccessKeyId", &assumed.access_key_id);
        xml.text("SecretAccessKey", &assumed.secret_access_key);
        xml.text("SessionToken", &assumed.session_token);
        xml.time("Expiration", assumed.expiration);
    });
    xml.element("AssumedRoleUser", |xml| {
        xml.text("AssumedRoleId", &assumed.assumed_role_id);
        xml.text("Arn", &assumed.arn);
    });
}
