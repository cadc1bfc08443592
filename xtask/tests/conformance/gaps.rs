//! Where other servers are known to differ from AWS.

/// Cases that fail for one reason.
pub struct Gap {
    /// What the server does, or lacks.
    pub why: &'static str,
    /// The cases that see it.
    pub cases: &'static [&'static str],
}

/// The gaps of moto 5.2.5.
pub const OF_MOTO: &[Gap] = &[
    Gap {
        why: "Condition is ignored",
        cases: &["conditions_on_tags_of_the_request_hold", "conditions_on_tags_of_the_resource_hold"],
    },
    Gap {
        why: "CreateServiceSpecificCredential is not implemented: a page of HTML with the status 500",
        cases: &["a_user_with_a_service_credential_cannot_be_deleted", "service_credentials_come_and_go"],
    },
    Gap {
        why: "CreateUser ignores PermissionsBoundary",
        cases: &["a_boundary_has_to_exist", "a_user_is_created_with_a_boundary"],
    },
    Gap { why: "DeleteGroup does not look at members", cases: &["a_group_with_members_cannot_be_deleted"] },
    Gap { why: "DeletePolicy does not look at attachments", cases: &["an_attached_policy_cannot_be_deleted"] },
    Gap { why: "DeletePolicy does not look at versions", cases: &["a_policy_with_versions_cannot_be_deleted"] },
    Gap { why: "DeleteUser does not look at MFA devices", cases: &["a_user_with_an_mfa_device_cannot_be_deleted"] },
    Gap { why: "DeleteUser does not look at access keys", cases: &["a_user_with_a_key_cannot_be_deleted"] },
    Gap { why: "DeleteUser does not look at groups", cases: &["a_user_in_a_group_cannot_be_deleted"] },
    Gap {
        why: "DeleteUser does not look at the login profile",
        cases: &["a_user_with_a_login_profile_cannot_be_deleted"],
    },
    Gap {
        why: "DeleteUserPermissionsBoundary is not implemented: a page of HTML with the status 500",
        cases: &["removing_a_boundary_that_is_not_there_is_refused"],
    },
    Gap { why: "GetAccountAuthorizationDetails ignores MaxItems", cases: &["details_are_given_by_page"] },
    Gap { why: "Inactive keys work", cases: &["an_inactive_key_is_refused"] },
    Gap { why: "ListUsers ignores MaxItems", cases: &["users_are_listed_by_page"] },
    Gap { why: "Principal is let through", cases: &["principals_do_not_belong_in_it"] },
    Gap {
        why: "PutUserPermissionsBoundary is not implemented: a page of HTML with the status 500",
        cases: &[
            "a_boundary_cannot_be_deleted",
            "a_boundary_is_put_and_deleted",
            "a_boundary_limits_what_policies_allow",
            "a_user_with_a_boundary_is_deleted",
            "details_show_the_boundary_of_a_user",
        ],
    },
    Gap { why: "TagUser does not check characters and lengths", cases: &["tag_characters_are_checked"] },
    Gap { why: "TagUser does not count tags", cases: &["fifty_tags_at_most"] },
    Gap { why: "an attachment is counted again each time", cases: &["attaching_twice_is_no_error"] },
    Gap {
        why: "calls of IAM are held against the resource * only, so that a policy for an ARN allows none",
        cases: &["resources_limit_an_allowance"],
    },
    Gap {
        why: "documents of managed policies are not URL-encoded; those of inline policies are",
        cases: &["a_document_comes_back_with_its_meaning"],
    },
    Gap {
        why: "errors of authentication and permission lie in an <Errors> element that IAM does not send: SDKs see no code",
        cases: &["a_denial_can_be_read_by_the_sdk"],
    },
    Gap {
        why: "identifiers have no prefix",
        cases: &["the_identifier_of_a_policy_tells_its_type", "the_identifier_of_a_user_tells_its_type"],
    },
    Gap { why: "partitions in documents are not checked", cases: &["arns_are_of_the_own_partition"] },
    Gap { why: "paths are not checked", cases: &["paths_are_checked"] },
    Gap {
        why: "policies are told apart by ARN, not by name",
        cases: &["policy_names_are_unique_over_paths", "policy_names_are_unique_without_regard_to_case"],
    },
    Gap { why: "the credential report has no row of the root", cases: &["a_credential_report_has_a_row_of_the_root"] },
    Gap {
        why: "signatures of bodies with an encoded space (%20) do not match",
        cases: &[
            "a_user_with_a_signing_certificate_cannot_be_deleted",
            "a_user_with_an_ssh_key_cannot_be_deleted",
            "signing_certificates_come_and_go",
            "ssh_keys_come_and_go",
            "tags_may_hold_spaces",
            "white_space_in_a_document_is_no_matter",
            "white_space_is_not_counted",
        ],
    },
    Gap {
        why: "sizes are not checked",
        cases: &["a_policy_has_6144_characters_at_most", "inline_policies_have_2048_characters_together_at_most"],
    },
    Gap {
        why: "tag keys differ by case",
        cases: &["a_tag_key_twice_in_a_request_is_refused", "tag_keys_differ_by_more_than_case"],
    },
    Gap { why: "the prefix aws: is let through", cases: &["tags_of_aws_are_refused"] },
    Gap { why: "the quota of attached policies is not checked", cases: &["ten_policies_are_attached_at_most"] },
    Gap {
        why: "user names are compared with regard to case",
        cases: &["user_names_are_unique_without_regard_to_case", "users_are_found_without_regard_to_case"],
    },
    Gap {
        why: "user names are not checked",
        cases: &["user_names_are_checked", "user_names_have_64_characters_at_most"],
    },
];

/// The gaps of the IAM of versitygw 1.8.0.
pub const OF_VERSITYGW: &[Gap] = &[
    Gap { why: "CreateUser ignores PermissionsBoundary", cases: &["a_boundary_has_to_exist"] },
    Gap { why: "GetAccountAuthorizationDetails is not implemented", cases: &["details_are_given_by_page"] },
    Gap { why: "GetAccountSummary is not implemented", cases: &["the_summary_counts_users"] },
    Gap { why: "ListUsers shows tags", cases: &["a_list_of_users_shows_no_tags"] },
    Gap { why: "fields of a document that nobody knows are let through", cases: &["documents_are_checked"] },
    Gap { why: "identifiers of keys have 21 characters, not 20", cases: &["a_key_has_the_form_of_aws"] },
    Gap { why: "the prefix aws: is let through", cases: &["tags_of_aws_are_refused"] },
    Gap {
        why: "there are no MFA devices",
        cases: &["a_user_with_an_mfa_device_cannot_be_deleted", "mfa_devices_come_and_go"],
    },
    Gap { why: "there are no SSH keys", cases: &["a_user_with_an_ssh_key_cannot_be_deleted", "ssh_keys_come_and_go"] },
    Gap {
        why: "there are no groups",
        cases: &["a_group_with_members_cannot_be_deleted", "a_user_in_a_group_cannot_be_deleted", "groups_come_and_go"],
    },
    Gap {
        why: "there are no login profiles",
        cases: &[
            "a_second_login_profile_is_refused",
            "a_user_with_a_login_profile_cannot_be_deleted",
            "login_profiles_come_and_go",
        ],
    },
    Gap {
        why: "there are no managed policies",
        cases: &[
            "a_boundary_cannot_be_deleted",
            "a_boundary_is_put_and_deleted",
            "a_boundary_limits_what_policies_allow",
            "a_detached_policy_allows_nothing",
            "a_document_comes_back_with_its_meaning",
            "a_missing_policy_cannot_be_attached",
            "a_missing_policy_is_no_such_entity",
            "a_missing_user_has_no_attached_policies",
            "a_missing_version_is_no_such_entity",
            "a_policy_has_6144_characters_at_most",
            "a_policy_has_five_versions_at_most",
            "a_policy_is_created_and_shown",
            "a_policy_that_is_not_attached_cannot_be_detached",
            "a_policy_with_versions_cannot_be_deleted",
            "a_user_is_created_with_a_boundary",
            "a_user_with_a_boundary_is_deleted",
            "a_user_with_an_attached_policy_cannot_be_deleted",
            "a_version_is_made_the_default",
            "an_attached_policy_cannot_be_deleted",
            "attached_policies_count_as_inline_ones_do",
            "attaching_twice_is_no_error",
            "details_are_filtered",
            "details_show_the_boundary_of_a_user",
            "details_show_what_belongs_to_a_user",
            "policies_are_listed_by_scope",
            "policies_are_tagged",
            "policies_of_aws_can_be_attached",
            "policy_names_are_unique",
            "policy_names_are_unique_over_paths",
            "policy_names_are_unique_without_regard_to_case",
            "ten_policies_are_attached_at_most",
            "the_default_version_cannot_be_deleted",
            "the_entities_of_a_policy_are_listed",
            "the_identifier_of_a_policy_tells_its_type",
            "version_numbers_are_not_given_again",
            "what_is_attached_is_listed",
            "white_space_is_not_counted",
        ],
    },
    Gap {
        why: "there is no credential report",
        cases: &[
            "a_credential_report_has_a_row_of_the_root",
            "a_credential_report_shows_whose_keys_work_and_since_when",
        ],
    },
    Gap { why: "there are no permissions boundaries", cases: &["removing_a_boundary_that_is_not_there_is_refused"] },
    Gap {
        why: "there are no service-specific credentials",
        cases: &["a_user_with_a_service_credential_cannot_be_deleted", "service_credentials_come_and_go"],
    },
    Gap {
        why: "there are no signing certificates",
        cases: &["a_user_with_a_signing_certificate_cannot_be_deleted", "signing_certificates_come_and_go"],
    },
];
