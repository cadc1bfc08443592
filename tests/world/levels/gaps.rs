//! Where servers are known to answer otherwise than AWS.

/// Rows that a server answers otherwise, for one reason.
pub struct Gap {
    /// What the server does, or lacks.
    pub why: &'static str,
    /// The rows, with what the server answers: marks as in the table and one for the administrator, where `!` is an
    /// error that is no denial.
    pub rows: &'static [(&'static str, &'static str)],
}

/// The gaps of moto 5.2.5.
pub const OF_MOTO: &[Gap] = &[
    Gap {
        why: "Condition is ignored",
        rows: &[
            ("list-all", "yy nn yy yy y"),
            ("list-other-prefix", "yy nn yy yy y"),
            ("list-all-versions", "nn nn nn yy y"),
        ],
    },
    Gap {
        why: "HeadBucket is held against s3:HeadBucket, which AWS does not have",
        rows: &[("head-bucket", "nn nn nn nn y")],
    },
    Gap {
        why: "a presigned URL is answered with the status 500 where permissions are checked",
        rows: &[("get-presigned", "!! !! !! !! !")],
    },
    Gap { why: "GetObjectAttributes is held against s3:GetObject only", rows: &[("get-attributes", "yy nn yy yy y")] },
    Gap {
        why: "CopyObject is held against s3:PutObject only",
        rows: &[
            ("copy", "nn yy yy yy y"),
            ("copy-out", "nn yn yn yn y"),
            ("copy-in", "nn yy yy yy y"),
            ("other-copy", "nn yy yy yy y"),
        ],
    },
    Gap { why: "an ACL in PutObject is held against s3:PutObject only", rows: &[("put-public", "nn yy yy yy y")] },
    Gap {
        why: "DeleteObjects is held against the bucket, not against the objects",
        rows: &[("delete-several", "nn nn nn nn y")],
    },
    Gap { why: "PutBucketEncryption is held against s3:CreateBucket", rows: &[("put-encryption", "nn nn nn nn y")] },
];

/// The gaps of versitygw 1.8.0.
pub const OF_VERSITYGW: &[Gap] = &[
    Gap {
        why: "there are no ACLs of objects",
        rows: &[("get-object-acl", "nn nn nn !! !"), ("put-object-acl", "nn nn nn nn !")],
    },
    Gap { why: "an ACL in PutObject is passed over", rows: &[("put-public", "nn yy yy yy y")] },
    Gap { why: "there are no lifecycles", rows: &[("put-lifecycle", "!! !! !! !! !")] },
    Gap { why: "there is no choice of encryption", rows: &[("put-encryption", "!! !! !! !! !")] },
    Gap { why: "there are no public access blocks", rows: &[("put-access-block", "!! !! !! !! !")] },
];
