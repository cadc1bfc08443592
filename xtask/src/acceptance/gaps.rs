//! Where the servers that are started here are known to differ from AWS, as a run sees it. The conformance suite has its
//! own list, by its cases.

use ground::recorder::Difference;

/// Differences for one reason.
struct Gap {
    server: &'static str,
    /// Such calls; empty for all.
    actions: &'static [&'static str],
    /// A part of the element, or of what the server said.
    part: &'static str,
    why: &'static str,
}

const MOTO: &str = "moto";
const VERSITYGW: &str = "versitygw";
const DETAILS: &[&str] = &["GetAccountAuthorizationDetails"];

const GAPS: &[Gap] = &[
    Gap { server: MOTO, actions: &[], part: "<time of another form>", why: "dates have fractions of a second" },
    Gap { server: MOTO, actions: &[], part: "<id without a prefix>", why: "identifiers have no prefix" },
    Gap { server: MOTO, actions: &[], part: "/IsTruncated", why: "lists do not say whether they are whole" },
    Gap {
        server: MOTO,
        actions: &[],
        part: "/PermissionsBoundaryUsageCount",
        why: "policies do not tell how many boundaries they are",
    },
    Gap {
        server: MOTO,
        actions: &["CreatePolicyVersion", "GetPolicyVersion", "ListPolicyVersions"],
        part: "plain: ",
        why: "documents of managed policies are not URL-encoded, and stand in answers that have none",
    },
    Gap { server: MOTO, actions: DETAILS, part: "Policies/member/PolicyId", why: "details name no policies" },
    Gap { server: MOTO, actions: DETAILS, part: "Policies/member/PolicyName", why: "details name no policies" },
    Gap { server: MOTO, actions: DETAILS, part: "/Description", why: "an absent description is an empty one" },
    Gap { server: MOTO, actions: &["DeletePolicy"], part: "200", why: "DeletePolicy does not look at versions" },
    Gap { server: MOTO, actions: &["CreateUser"], part: "already exists", why: "some messages have other words" },
    Gap {
        server: MOTO,
        actions: &["GetPolicy", "GetUserPolicy"],
        part: "not found",
        why: "some messages have other words",
    },
    Gap {
        server: VERSITYGW,
        actions: &["CreateUser"],
        part: "/Tags",
        why: "a user without tags has an empty list of them",
    },
    Gap {
        server: VERSITYGW,
        actions: &["UpdateUser"],
        part: "UpdateUserResponse/UpdateUserResult",
        why: "a user that was changed comes back in the answer",
    },
];

/// Why a difference is known, if it is.
pub(crate) fn of(server: &str, difference: &Difference) -> Option<&'static str> {
    let found = GAPS.iter().find(|gap| {
        gap.server == server
            && (gap.actions.is_empty() || gap.actions.contains(&difference.action.as_str()))
            && (difference.what.contains(gap.part) || difference.server.contains(gap.part))
    });
    found.map(|gap| gap.why)
}
