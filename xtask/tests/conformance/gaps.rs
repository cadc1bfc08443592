//! Where other servers are known to differ from AWS.

/// The gaps of moto 5.2.5: the case that fails, and why.
pub const OF_MOTO: &[(&str, &str)] = &[
    (
        "a_boundary_cannot_be_deleted",
        "PutUserPermissionsBoundary is not implemented: a page of HTML with the status 500",
    ),
    ("a_boundary_has_to_exist", "CreateUser ignores PermissionsBoundary"),
    (
        "a_boundary_is_put_and_deleted",
        "PutUserPermissionsBoundary is not implemented: a page of HTML with the status 500",
    ),
    (
        "a_boundary_limits_what_policies_allow",
        "PutUserPermissionsBoundary is not implemented: a page of HTML with the status 500",
    ),
    (
        "a_denial_can_be_read_by_the_sdk",
        "errors of authentication and permission lie in an <Errors> element that IAM does not send: SDKs see no code",
    ),
    (
        "a_document_comes_back_with_its_meaning",
        "documents of managed policies are not URL-encoded; those of inline policies are",
    ),
    (
        "a_group_with_members_cannot_be_deleted",
        "DeleteGroup does not look at members",
    ),
    ("a_policy_has_6144_characters_at_most", "sizes are not checked"),
    (
        "a_policy_with_versions_cannot_be_deleted",
        "DeletePolicy does not look at versions",
    ),
    ("a_tag_key_twice_in_a_request_is_refused", "tag keys differ by case"),
    (
        "a_user_in_a_group_cannot_be_deleted",
        "DeleteUser does not look at groups",
    ),
    (
        "a_user_is_created_with_a_boundary",
        "CreateUser ignores PermissionsBoundary",
    ),
    (
        "a_user_with_a_boundary_is_deleted",
        "PutUserPermissionsBoundary is not implemented: a page of HTML with the status 500",
    ),
    (
        "a_user_with_a_key_cannot_be_deleted",
        "DeleteUser does not look at access keys",
    ),
    (
        "a_user_with_a_login_profile_cannot_be_deleted",
        "DeleteUser does not look at the login profile",
    ),
    (
        "a_user_with_a_service_credential_cannot_be_deleted",
        "CreateServiceSpecificCredential is not implemented: a page of HTML with the status 500",
    ),
    (
        "a_user_with_a_signing_certificate_cannot_be_deleted",
        "signatures of bodies with an encoded space (%20) do not match",
    ),
    (
        "a_user_with_an_mfa_device_cannot_be_deleted",
        "DeleteUser does not look at MFA devices",
    ),
    (
        "a_user_with_an_ssh_key_cannot_be_deleted",
        "signatures of bodies with an encoded space (%20) do not match",
    ),
    (
        "an_attached_policy_cannot_be_deleted",
        "DeletePolicy does not look at attachments",
    ),
    ("an_inactive_key_is_refused", "Inactive keys work"),
    (
        "arns_are_of_the_own_partition",
        "partitions in documents are not checked",
    ),
    (
        "attaching_twice_is_no_error",
        "an attachment is counted again each time",
    ),
    ("conditions_on_tags_of_the_request_hold", "Condition is ignored"),
    ("conditions_on_tags_of_the_resource_hold", "Condition is ignored"),
    (
        "details_are_given_by_page",
        "GetAccountAuthorizationDetails ignores MaxItems",
    ),
    (
        "details_show_the_boundary_of_a_user",
        "PutUserPermissionsBoundary is not implemented: a page of HTML with the status 500",
    ),
    ("fifty_tags_at_most", "TagUser does not count tags"),
    ("identifiers_tell_their_type", "identifiers have no prefix"),
    (
        "inline_policies_have_2048_characters_together_at_most",
        "sizes are not checked",
    ),
    ("paths_are_checked", "paths are not checked"),
    (
        "policies_of_aws_can_be_attached",
        "AWS's managed policies are loaded only if an environment variable asks for them",
    ),
    (
        "policy_names_are_unique_over_paths",
        "policies are told apart by ARN, not by name",
    ),
    (
        "policy_names_are_unique_without_regard_to_case",
        "policies are told apart by ARN, not by name",
    ),
    ("principals_do_not_belong_in_it", "Principal is let through"),
    (
        "removing_a_boundary_that_is_not_there_is_refused",
        "DeleteUserPermissionsBoundary is not implemented: a page of HTML with the status 500",
    ),
    (
        "resources_limit_an_allowance",
        "calls of IAM are held against the resource * only, so that a policy for an ARN allows none",
    ),
    (
        "service_credentials_come_and_go",
        "CreateServiceSpecificCredential is not implemented: a page of HTML with the status 500",
    ),
    (
        "signing_certificates_come_and_go",
        "signatures of bodies with an encoded space (%20) do not match",
    ),
    (
        "ssh_keys_come_and_go",
        "signatures of bodies with an encoded space (%20) do not match",
    ),
    (
        "tag_characters_are_checked",
        "TagUser does not check characters and lengths",
    ),
    ("tag_keys_differ_by_more_than_case", "tag keys differ by case"),
    (
        "tags_may_hold_spaces",
        "signatures of bodies with an encoded space (%20) do not match",
    ),
    ("tags_of_aws_are_refused", "the prefix aws: is let through"),
    (
        "ten_policies_are_attached_at_most",
        "the quota of attached policies is not checked",
    ),
    ("user_names_are_checked", "user names are not checked"),
    (
        "user_names_are_unique_without_regard_to_case",
        "user names are compared with regard to case",
    ),
    ("user_names_have_64_characters_at_most", "user names are not checked"),
    (
        "users_are_found_without_regard_to_case",
        "user names are compared with regard to case",
    ),
    ("users_are_listed_by_page", "ListUsers ignores MaxItems"),
    (
        "white_space_in_a_document_is_no_matter",
        "signatures of bodies with an encoded space (%20) do not match",
    ),
    (
        "white_space_is_not_counted",
        "signatures of bodies with an encoded space (%20) do not match",
    ),
];
