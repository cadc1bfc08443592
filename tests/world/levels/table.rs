//! What each level may do: the one table that the tests hold three servers against, and that the documentation shows.

use On::{Account, Bucket, Inside, Listing, NewBucket, OtherBucket, OtherObject, Outside};
use s3_access_operator::api::AccessLevel;

/// The levels, in the order of the answers.
pub const LEVELS: [AccessLevel; 4] =
    [AccessLevel::ReadOnly, AccessLevel::WriteOnly, AccessLevel::ReadWrite, AccessLevel::Admin];

/// The prefix of the grants that have one.
pub const PREFIX: &str = "2026/";

/// One operation of S3.
pub struct Row {
    /// Its name in `tests/aws/s3_levels.py`.
    pub name: &'static str,
    /// The same for people.
    pub words: &'static str,
    /// What S3 asks IAM for it (Amazon S3 user guide, "Required permissions for Amazon S3 API operations").
    pub needs: &'static [(&'static str, On)],
    /// For each level two marks, without prefixes and with them: `y` allowed, `n` denied.
    pub answers: &'static str,
}

/// What an action is on.
#[derive(Clone, Copy)]
pub enum On {
    /// The account.
    Account,
    /// The granted bucket.
    Bucket,
    /// The granted bucket, with the parameter `prefix`.
    Listing(&'static str),
    /// An object below the prefix.
    Inside,
    /// An object of the same bucket that is not below the prefix.
    Outside,
    /// A bucket that is not granted.
    OtherBucket,
    /// An object in it.
    OtherObject,
    /// A bucket that does not exist, with a name that begins like that of the granted one.
    NewBucket,
}

const fn row(
    name: &'static str,
    words: &'static str,
    needs: &'static [(&'static str, On)],
    answers: &'static str,
) -> Row {
    Row { name, words, needs, answers }
}

const GET: &str = "s3:GetObject";
const PUT: &str = "s3:PutObject";
const LIST: &str = "s3:ListBucket";
const PUT_ACL: &str = "s3:PutObjectAcl";

/// Every operation.
pub const ROWS: &[Row] = &[
    row("list-buckets", "list the account's buckets", &[("s3:ListAllMyBuckets", Account)], "nn nn nn nn"),
    row("location", "ask for the bucket's location", &[("s3:GetBucketLocation", Bucket)], "yy yy yy yy"),
    row("head-bucket", "ask whether the bucket is there (HeadBucket)", &[(LIST, Bucket)], "yn nn yn yn"),
    row("list-all", "list without a prefix", &[(LIST, Bucket)], "yn nn yn yn"),
    row("list-prefix", "list below a granted prefix", &[(LIST, Listing(PREFIX))], "yy nn yy yy"),
    row("list-other-prefix", "list below another prefix", &[(LIST, Listing("private/"))], "yn nn yn yn"),
    row("list-versions", "list versions", &[("s3:ListBucketVersions", Listing(PREFIX))], "nn nn nn yy"),
    row("list-all-versions", "list versions without a prefix", &[("s3:ListBucketVersions", Bucket)], "nn nn nn yn"),
    // The request has a prefix, and S3 does not tell IAM.
    row("list-uploads", "list multipart uploads", &[("s3:ListBucketMultipartUploads", Bucket)], "nn yn yn yn"),
    row("get", "get an object", &[(GET, Inside)], "yy nn yy yy"),
    row("get-outside", "get an object outside the prefixes", &[(GET, Outside)], "yn nn yn yn"),
    row("get-presigned", "get an object by a presigned URL", &[(GET, Inside)], "yy nn yy yy"),
    row("head", "ask for an object's metadata (HeadObject)", &[(GET, Inside)], "yy nn yy yy"),
    row("head-outside", "the same outside the prefixes", &[(GET, Outside)], "yn nn yn yn"),
    row(
        "get-attributes",
        "get an object's attributes",
        &[(GET, Inside), ("s3:GetObjectAttributes", Inside)],
        "nn nn nn yy",
    ),
    row("get-version", "get a version of an object", &[("s3:GetObjectVersion", Inside)], "nn nn nn yy"),
    row("get-tags", "get an object's tags", &[("s3:GetObjectTagging", Inside)], "nn nn nn yy"),
    row("get-object-acl", "get an object's ACL", &[("s3:GetObjectAcl", Inside)], "nn nn nn yy"),
    row("put", "put an object", &[(PUT, Inside)], "nn yy yy yy"),
    row("put-outside", "put an object outside the prefixes", &[(PUT, Outside)], "nn yn yn yn"),
    row("multipart", "create and complete a multipart upload", &[(PUT, Inside)], "nn yy yy yy"),
    row("multipart-outside", "the same outside the prefixes", &[(PUT, Outside)], "nn yn yn yn"),
    row("list-parts", "list the parts of an upload", &[("s3:ListMultipartUploadParts", Inside)], "nn yy yy yy"),
    row("abort", "abort an upload", &[("s3:AbortMultipartUpload", Inside)], "nn yy yy yy"),
    row("copy", "copy an object within the prefix", &[(GET, Inside), (PUT, Inside)], "nn nn yy yy"),
    row("copy-out", "copy it out of the prefixes", &[(GET, Inside), (PUT, Outside)], "nn nn yn yn"),
    row("copy-in", "copy into the prefix from outside", &[(GET, Outside), (PUT, Inside)], "nn nn yn yn"),
    row("put-tags", "put an object's tags", &[("s3:PutObjectTagging", Inside)], "nn nn nn yy"),
    row("put-object-acl", "put an object's ACL", &[(PUT_ACL, Inside)], "nn nn nn nn"),
    row("put-public", "put an object that everybody can read", &[(PUT, Inside), (PUT_ACL, Inside)], "nn nn nn nn"),
    row("delete", "delete an object", &[("s3:DeleteObject", Inside)], "nn nn yy yy"),
    row("delete-outside", "delete an object outside the prefixes", &[("s3:DeleteObject", Outside)], "nn nn yn yn"),
    row("delete-several", "delete several objects at once", &[("s3:DeleteObject", Inside)], "nn nn yy yy"),
    row("delete-version", "delete a version of an object", &[("s3:DeleteObjectVersion", Inside)], "nn nn nn yy"),
    row("get-versioning", "get the bucket's versioning", &[("s3:GetBucketVersioning", Bucket)], "nn nn nn yn"),
    row("put-versioning", "put the bucket's versioning", &[("s3:PutBucketVersioning", Bucket)], "nn nn nn yn"),
    row("put-lifecycle", "put the bucket's lifecycle", &[("s3:PutLifecycleConfiguration", Bucket)], "nn nn nn yn"),
    row("put-cors", "put the bucket's CORS", &[("s3:PutBucketCORS", Bucket)], "nn nn nn yn"),
    row("put-bucket-tags", "put the bucket's tags", &[("s3:PutBucketTagging", Bucket)], "nn nn nn yn"),
    row("put-encryption", "put the bucket's encryption", &[("s3:PutEncryptionConfiguration", Bucket)], "nn nn nn yn"),
    row("get-bucket-acl", "get the bucket's ACL", &[("s3:GetBucketAcl", Bucket)], "nn nn nn yn"),
    row("get-policy", "get the bucket's policy", &[("s3:GetBucketPolicy", Bucket)], "nn nn nn yn"),
    row("put-policy", "put the bucket's policy", &[("s3:PutBucketPolicy", Bucket)], "nn nn nn nn"),
    row("delete-policy", "delete the bucket's policy", &[("s3:DeleteBucketPolicy", Bucket)], "nn nn nn nn"),
    row("put-bucket-acl", "put the bucket's ACL", &[("s3:PutBucketAcl", Bucket)], "nn nn nn nn"),
    row("put-ownership", "put the bucket's ownership", &[("s3:PutBucketOwnershipControls", Bucket)], "nn nn nn nn"),
    row(
        "put-access-block",
        "put the bucket's public access block",
        &[("s3:PutBucketPublicAccessBlock", Bucket)],
        "nn nn nn nn",
    ),
    row("put-website", "make the bucket a website", &[("s3:PutBucketWebsite", Bucket)], "nn nn nn nn"),
    row("other-location", "another bucket's location", &[("s3:GetBucketLocation", OtherBucket)], "nn nn nn nn"),
    row("other-list", "list another bucket", &[(LIST, OtherBucket)], "nn nn nn nn"),
    row("other-get", "get from another bucket", &[(GET, OtherObject)], "nn nn nn nn"),
    row("other-put", "put into another bucket", &[(PUT, OtherObject)], "nn nn nn nn"),
    row("other-copy", "copy from another bucket", &[(GET, OtherObject), (PUT, Inside)], "nn nn nn nn"),
    row("create-bucket", "create a bucket", &[("s3:CreateBucket", NewBucket)], "nn nn nn nn"),
    row("delete-bucket", "delete the bucket", &[("s3:DeleteBucket", Bucket)], "nn nn nn nn"),
];
