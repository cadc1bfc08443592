//! What people write for an action: the name of an API operation, or a word of the console.

/// The API operation or word, and the action to write instead, by service (Amazon S3 user guide, "Required permissions
/// for Amazon S3 API operations"; AWS KMS developer guide, "AWS KMS API permissions").
const NAMES: &[(&str, &str, &str)] = &[
    ("s3", "HeadBucket", "s3:ListBucket"),
    ("s3", "HeadObject", "s3:GetObject"),
    ("s3", "ListObjects", "s3:ListBucket"),
    ("s3", "ListObjectsV2", "s3:ListBucket"),
    ("s3", "ListObject", "s3:ListBucket"),
    ("s3", "ListObjectVersions", "s3:ListBucketVersions"),
    ("s3", "ListBuckets", "s3:ListAllMyBuckets"),
    ("s3", "UploadPart", "s3:PutObject"),
    ("s3", "UploadPartCopy", "s3:PutObject"),
    ("s3", "CreateMultipartUpload", "s3:PutObject"),
    ("s3", "InitiateMultipartUpload", "s3:PutObject"),
    ("s3", "CompleteMultipartUpload", "s3:PutObject"),
    ("s3", "CopyObject", "s3:PutObject"),
    ("s3", "PostObject", "s3:PutObject"),
    ("s3", "PutObjectCopy", "s3:PutObject"),
    ("s3", "CreateObject", "s3:PutObject"),
    ("s3", "UpdateObject", "s3:PutObject"),
    ("s3", "UploadObject", "s3:PutObject"),
    ("s3", "WriteObject", "s3:PutObject"),
    ("s3", "Upload", "s3:PutObject"),
    ("s3", "Write", "s3:PutObject"),
    ("s3", "DownloadObject", "s3:GetObject"),
    ("s3", "ReadObject", "s3:GetObject"),
    ("s3", "Download", "s3:GetObject"),
    ("s3", "Read", "s3:GetObject"),
    ("s3", "SelectObjectContent", "s3:GetObject"),
    ("s3", "List", "s3:ListBucket"),
    ("s3", "Delete", "s3:DeleteObject"),
    ("s3", "DeleteObjects", "s3:DeleteObject"),
    ("s3", "DeleteMultipleObjects", "s3:DeleteObject"),
    ("s3", "RemoveObject", "s3:DeleteObject"),
    ("s3", "ListParts", "s3:ListMultipartUploadParts"),
    ("s3", "ListMultipartUploads", "s3:ListBucketMultipartUploads"),
    ("s3", "GetBucketEncryption", "s3:GetEncryptionConfiguration"),
    ("s3", "PutBucketEncryption", "s3:PutEncryptionConfiguration"),
    ("s3", "DeleteBucketEncryption", "s3:PutEncryptionConfiguration"),
    ("s3", "GetBucketLifecycle", "s3:GetLifecycleConfiguration"),
    ("s3", "GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration"),
    ("s3", "PutBucketLifecycle", "s3:PutLifecycleConfiguration"),
    ("s3", "PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
    ("s3", "DeleteBucketLifecycle", "s3:PutLifecycleConfiguration"),
    ("s3", "GetBucketReplication", "s3:GetReplicationConfiguration"),
    ("s3", "PutBucketReplication", "s3:PutReplicationConfiguration"),
    ("s3", "DeleteBucketReplication", "s3:PutReplicationConfiguration"),
    ("s3", "GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration"),
    ("s3", "PutBucketAccelerateConfiguration", "s3:PutAccelerateConfiguration"),
    ("s3", "GetBucketAnalyticsConfiguration", "s3:GetAnalyticsConfiguration"),
    ("s3", "PutBucketAnalyticsConfiguration", "s3:PutAnalyticsConfiguration"),
    ("s3", "ListBucketAnalyticsConfigurations", "s3:GetAnalyticsConfiguration"),
    ("s3", "GetBucketInventoryConfiguration", "s3:GetInventoryConfiguration"),
    ("s3", "PutBucketInventoryConfiguration", "s3:PutInventoryConfiguration"),
    ("s3", "ListBucketInventoryConfigurations", "s3:GetInventoryConfiguration"),
    ("s3", "GetBucketMetricsConfiguration", "s3:GetMetricsConfiguration"),
    ("s3", "PutBucketMetricsConfiguration", "s3:PutMetricsConfiguration"),
    ("s3", "ListBucketMetricsConfigurations", "s3:GetMetricsConfiguration"),
    ("s3", "GetBucketIntelligentTieringConfiguration", "s3:GetIntelligentTieringConfiguration"),
    ("s3", "PutBucketIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration"),
    ("s3", "GetBucketNotificationConfiguration", "s3:GetBucketNotification"),
    ("s3", "PutBucketNotificationConfiguration", "s3:PutBucketNotification"),
    ("s3", "DeleteBucketTagging", "s3:PutBucketTagging"),
    ("s3", "DeleteBucketCors", "s3:PutBucketCORS"),
    ("s3", "DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
    ("s3", "GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
    ("s3", "PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    ("s3", "DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    ("s3", "GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration"),
    ("s3", "PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration"),
    ("kms", "ReEncrypt", "kms:ReEncrypt*"),
    ("s3express", "GetObject", "s3express:CreateSession"),
    ("s3express", "HeadObject", "s3express:CreateSession"),
    ("s3express", "PutObject", "s3express:CreateSession"),
    ("s3express", "CopyObject", "s3express:CreateSession"),
    ("s3express", "DeleteObject", "s3express:CreateSession"),
    ("s3express", "ListBucket", "s3express:CreateSession"),
    ("s3express", "ListObjectsV2", "s3express:CreateSession"),
];

/// What the AWS CLI and the SDKs call services, and the service as policies know it.
const PREFIXES: [(&str, &str); 5] = [
    ("s3api", "s3"),
    ("s3control", "s3"),
    ("s3outposts", "s3-outposts"),
    ("s3-express", "s3express"),
    ("amazons3", "s3"),
];

/// The action to write instead of this API operation.
pub(super) fn action_of_operation(service: &str, name: &str) -> Option<&'static str> {
    let of_name =
        |entry: &&(&str, &str, &str)| entry.0.eq_ignore_ascii_case(service) && entry.1.eq_ignore_ascii_case(name);
    NAMES.iter().find(of_name).map(|(_, _, action)| *action)
}

/// The service that policies know under another prefix than the CLI.
pub(super) fn service_of_client(prefix: &str) -> Option<&'static str> {
    PREFIXES.iter().find(|(client, _)| client.eq_ignore_ascii_case(prefix)).map(|(_, service)| *service)
}

#[cfg(test)]
mod tests {
    use super::super::reference::service;
    use super::*;
    use crate::core::class::Effort;

    #[test]
    fn no_operation_is_an_action_and_each_is_told_one() {
        for (prefix, operation, action) in NAMES {
            let of = service(prefix).unwrap();
            assert!(of.matching(operation, &Effort::default()).is_empty(), "{prefix}:{operation} is an action");
            let (instead, name) = action.split_once(':').unwrap();
            let matching = service(instead).unwrap().matching(name, &Effort::default());
            assert!(!matching.is_empty(), "{action} is no action");
        }
    }
}
