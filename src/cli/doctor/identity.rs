//! What an ARN and a region say of whoever calls.

/// Whose policies the simulator can be asked about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Principal<'a> {
    /// A user.
    User(&'a str),
    /// A role, by its name. A session's ARN says nothing of the role's path.
    Role(&'a str),
    /// The account itself, which may do everything.
    Root,
    /// A session of something else.
    Other,
}

impl<'a> Principal<'a> {
    /// By the ARN of GetCallerIdentity.
    pub(super) fn of(arn: &'a str) -> Self {
        let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
        match resource.split_once('/') {
            None if resource == "root" => Self::Root,
            Some(("user", _)) => Self::User(arn),
            Some(("assumed-role", rest)) => match rest.split_once('/') {
                Some((role, session)) if !role.is_empty() && !session.is_empty() => Self::Role(role),
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// By what the names of its regions begin with (AWS SDK for Rust, aws-partitions.json).
const PARTITIONS: [(&str, &str); 7] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
    ("eusc-", "aws-eusc"),
];

/// The partition that a region is of.
pub(super) fn partition_of(region: &str) -> &'static str {
    PARTITIONS.iter().find(|(start, _)| region.starts_with(start)).map_or("aws", |(_, partition)| partition)
}

/// Whether the region is of the partition that the credentials are of.
///
/// # Errors
/// What is wrong, and what to do.
pub(super) fn judge_region(region: &str, partition: &str) -> Result<String, String> {
    if region.is_empty() {
        return Err("no region is set: set AWS_REGION, or spec.region of the class".to_owned());
    }
    let of = partition_of(region);
    if of == partition {
        return Ok(format!("{region}, of partition {of}"));
    }
    Err(format!(
        "region {region} is of partition {of}, the credentials are of {partition}: set AWS_REGION, or spec.region of the class, to a region of {partition}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_a_user_a_role_or_nobody_with_policies() {
        for (arn, principal) in [
            ("arn:aws:iam::1:user/a/b/op", Principal::User("arn:aws:iam::1:user/a/b/op")),
            ("arn:aws-cn:sts::1:assumed-role/op/pod-1", Principal::Role("op")),
            ("arn:aws:sts::1:assumed-role/op", Principal::Other),
            ("arn:aws:sts::1:assumed-role//pod", Principal::Other),
            ("arn:aws:iam::1:root", Principal::Root),
            ("arn:aws:sts::1:federated-user/op", Principal::Other),
            ("", Principal::Other),
            ("root", Principal::Other),
        ] {
            assert_eq!(Principal::of(arn), principal, "{arn}");
        }
    }

    #[test]
    fn a_region_is_of_one_partition() {
        for (region, partition) in [
            ("eu-central-1", "aws"),
            ("us-east-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert!(judge_region(region, partition).is_ok(), "{region}");
            let error = judge_region(region, "aws-of-somebody").unwrap_err();
            assert!(error.contains(&format!("of partition {partition}, the credentials")), "{error}");
        }
        let error = judge_region("cn-north-1", "aws").unwrap_err();
        assert!(
            error.starts_with("region cn-north-1 is of partition aws-cn, the credentials are of aws: set AWS_REGION")
        );
        assert!(judge_region("", "aws").is_err());
    }
}
