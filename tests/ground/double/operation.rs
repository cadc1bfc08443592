//! The calls that the double answers.

/// Defines [`Operation`] from one table, so that a name and its properties cannot drift apart.
macro_rules! operations {
    ($($kind:ident { $($name:ident)* })*) => {
        /// An API call of IAM or STS, by the name that AWS gives it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the AWS API reference documents each call under this very name")]
        pub enum Operation { $($($name,)*)* }

        impl Operation {
            /// Every call, for tests that must try each one.
            pub const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// The name on the wire, as in the `Action` parameter.
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)*)* }
            }

            /// What the call does to the account.
            pub fn kind(self) -> Kind {
                match self { $($(Self::$name => Kind::$kind,)*)* }
            }
        }
    };
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads the account's IAM state, possibly from a replica that is behind; a credential report that it makes is no part of that state.
    Read,
    /// Changes the account's IAM state; it always sees the latest state.
    Write,
    /// Belongs to STS: changes no IAM state.
    Sts,
}

operations! {
    Read {
        GetUser ListUsers ListUserTags
        ListAccessKeys GetAccessKeyLastUsed
        GetPolicy GetPolicyVersion ListPolicyVersions ListPolicies ListEntitiesForPolicy ListAttachedUserPolicies
        GetUserPolicy ListUserPolicies
        GetLoginProfile ListMFADevices ListSigningCertificates ListSSHPublicKeys ListServiceSpecificCredentials
        ListGroupsForUser
        GetAccountAuthorizationDetails GetAccountSummary
        GenerateCredentialReport GetCredentialReport
        GetRole SimulatePrincipalPolicy
    }
    Write {
        CreateUser UpdateUser DeleteUser TagUser UntagUser
        PutUserPermissionsBoundary DeleteUserPermissionsBoundary
        CreateAccessKey UpdateAccessKey DeleteAccessKey
        CreatePolicy CreatePolicyVersion DeletePolicyVersion SetDefaultPolicyVersion DeletePolicy TagPolicy UntagPolicy
        AttachUserPolicy DetachUserPolicy
        PutUserPolicy DeleteUserPolicy
        CreateLoginProfile DeleteLoginProfile
        CreateVirtualMFADevice DeleteVirtualMFADevice EnableMFADevice DeactivateMFADevice
        UploadSigningCertificate DeleteSigningCertificate
        UploadSSHPublicKey DeleteSSHPublicKey
        CreateServiceSpecificCredential DeleteServiceSpecificCredential
        CreateGroup DeleteGroup AddUserToGroup RemoveUserFromGroup
    }
    Sts { GetCallerIdentity AssumeRole GetSessionToken }
}

impl Operation {
    /// Finds a call by its name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.as_str() == name)
    }

    /// Whether the call can change the account: what an operator at rest must not do.
    pub fn is_write(self) -> bool {
        self.kind() == Kind::Write
    }

    /// The action that a policy has to allow, such as `iam:CreateUser`.
    pub fn action(self) -> String {
        let service = if self.kind() == Kind::Sts { "sts" } else { "iam" };
        format!("{service}:{}", self.as_str())
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}
