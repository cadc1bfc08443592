//! Quotas and sizes (IAM user guide, "IAM and AWS STS quotas").

/// Access keys a user; Inactive ones count.
pub const ACCESS_KEYS_PER_USER: usize = 2;
/// Users an account.
pub const USERS_PER_ACCOUNT: usize = 5_000;
/// Groups an account.
pub const GROUPS_PER_ACCOUNT: usize = 300;
/// Customer managed policies an account; AWS raises it to 5,000 on request.
pub const POLICIES_PER_ACCOUNT: usize = 1_500;
/// Groups that a user is in.
pub const GROUPS_PER_USER: usize = 10;
/// Managed policies attached to a user.
pub const ATTACHED_POLICIES_PER_USER: usize = 10;
/// Versions of a managed policy.
pub const VERSIONS_PER_POLICY: usize = 5;
/// Characters of a managed policy; white space is not counted.
pub const MANAGED_POLICY_CHARACTERS: usize = 6_144;
/// Characters of all inline policies of a user together; white space is not counted.
pub const INLINE_POLICIES_CHARACTERS: usize = 2_048;
/// Tags on a user or policy.
pub const TAGS: usize = 50;
/// Characters of a tag's key.
pub const TAG_KEY_CHARACTERS: usize = 128;
/// Characters of a tag's value.
pub const TAG_VALUE_CHARACTERS: usize = 256;
/// Characters of a user's name.
pub const USER_NAME_CHARACTERS: usize = 64;
/// Characters of a policy's or group's name.
pub const NAME_CHARACTERS: usize = 128;
/// Characters of a path.
pub const PATH_CHARACTERS: usize = 512;
/// Signing certificates a user.
pub const SIGNING_CERTIFICATES_PER_USER: usize = 2;
/// SSH public keys a user.
pub const SSH_KEYS_PER_USER: usize = 5;
/// MFA devices a user.
pub const MFA_DEVICES_PER_USER: usize = 8;
/// Credentials a user has for one service.
pub const SERVICE_CREDENTIALS_PER_SERVICE: usize = 2;
/// Items that a page may be asked to hold.
pub const PAGE_ITEMS: u32 = 1_000;
/// Items of a page when nothing is asked for.
pub const DEFAULT_PAGE_ITEMS: u32 = 100;
