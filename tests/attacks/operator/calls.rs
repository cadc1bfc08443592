//! Calls, shortly.

use ground::double::{Request, Tag};

pub fn create_user(name: &str, path: &str, tags: &[Tag], boundary: Option<&str>) -> Request {
    Request::CreateUser {
        user_name: name.to_owned(),
        path: Some(path.to_owned()),
        permissions_boundary: boundary.map(ToOwned::to_owned),
        tags: tags.to_vec(),
    }
}

pub fn create_policy(name: &str, path: &str, document: &str, tags: &[Tag]) -> Request {
    Request::CreatePolicy {
        policy_name: name.to_owned(),
        path: Some(path.to_owned()),
        policy_document: document.to_owned(),
        description: None,
        tags: tags.to_vec(),
    }
}

pub fn new_version(policy_arn: &str, document: &str) -> Request {
    Request::CreatePolicyVersion {
        policy_arn: policy_arn.to_owned(),
        policy_document: document.to_owned(),
        set_as_default: true,
    }
}

pub fn attach(user: &str, policy_arn: &str) -> Request {
    Request::AttachUserPolicy { user_name: user.to_owned(), policy_arn: policy_arn.to_owned() }
}

pub fn put_policy(user: &str, document: &str) -> Request {
    Request::PutUserPolicy {
        user_name: user.to_owned(),
        policy_name: "inline".to_owned(),
        policy_document: document.to_owned(),
    }
}

pub fn tag_user(user: &str, tags: &[Tag]) -> Request {
    Request::TagUser { user_name: user.to_owned(), tags: tags.to_vec() }
}

pub fn tag_policy(policy_arn: &str, tags: &[Tag]) -> Request {
    Request::TagPolicy { policy_arn: policy_arn.to_owned(), tags: tags.to_vec() }
}

pub fn bound(user: &str, policy_arn: &str) -> Request {
    Request::PutUserPermissionsBoundary { user_name: user.to_owned(), permissions_boundary: policy_arn.to_owned() }
}

pub fn unbound(user: &str) -> Request {
    Request::DeleteUserPermissionsBoundary { user_name: user.to_owned() }
}

pub fn update(user: &str, new_name: Option<&str>, new_path: Option<&str>) -> Request {
    Request::UpdateUser {
        user_name: user.to_owned(),
        new_user_name: new_name.map(ToOwned::to_owned),
        new_path: new_path.map(ToOwned::to_owned),
    }
}
