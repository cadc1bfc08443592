variable "identity" {
  description = "How the operator proves who it is. PodIdentity and IRSA are for EKS; User is for every other cluster."
  type        = string
  default     = "PodIdentity"
  validation {
    condition     = contains(["PodIdentity", "IRSA", "User"], var.identity)
    error_message = "One of PodIdentity, IRSA and User."
  }
}

variable "name" {
  description = "The name of the role or user, and the first part of its policies' names. Two clusters of one account need two."
  type        = string
  default     = "s3-access-operator"
  validation {
    condition     = can(regex("^s3-access-operator[A-Za-z0-9-]{0,32}$", var.name))
    error_message = "It begins with s3-access-operator, since the policies name the identity so."
  }
}

variable "cluster_name" {
  description = "With PodIdentity, the EKS cluster to associate the role with. Empty makes no association, only the role."
  type        = string
  default     = ""
}

variable "oidc_issuer" {
  description = "With IRSA, the cluster's OIDC issuer, of which the account has an OIDC provider."
  type        = string
  default     = ""
}

variable "namespace" {
  description = "The operator's namespace."
  type        = string
  default     = "s3-access-system"
}

variable "service_account" {
  description = "The operator's service account."
  type        = string
  default     = "s3-access-operator"
}

variable "boundary" {
  description = "Create makes the policy s3access-boundary and binds the operator to it. Exists binds it to one that the account has already. None does without."
  type        = string
  default     = "Create"
  validation {
    condition     = contains(["Create", "Exists", "None"], var.boundary)
    error_message = "One of Create, Exists and None."
  }
}

variable "boundary_buckets" {
  description = "With boundary Create, the ARNs of the buckets, and of their objects, that the operator's users may reach at most: also patterns such as arn:aws:s3:::team-*, with this partition's prefix. An asterisk is every bucket."
  type        = list(string)
  default     = ["*"]
  validation {
    condition     = length(var.boundary_buckets) > 0 && length([for arn in var.boundary_buckets : arn if !can(regex("^([*]|arn:aws[a-z-]*:s3:::[A-Za-z0-9./*?_-]+)$", arn))]) == 0
    error_message = "ARNs of buckets and of objects, or an asterisk."
  }
}

variable "path" {
  description = "The IAM path of the operator's users and policies. Nothing of yours belongs there."
  type        = string
  default     = "/s3access/"
  validation {
    condition     = can(regex("^(/[A-Za-z0-9-]+)+/$", var.path))
    error_message = "It begins and ends with a slash, and is not the root."
  }
  validation {
    condition     = !can(regex("^/s3-access-operator", var.path))
    error_message = "It does not begin with /s3-access-operator: what is called so, the operator may not change, since it is called so itself."
  }
}

variable "cluster_id" {
  description = "The only cluster whose users the operator may change, by the tag s3access.dev/cluster. It becomes the operator's cluster.id. An asterisk allows those of every cluster that uses the path."
  type        = string
  default     = "*"
  validation {
    condition     = can(regex("^([*]|[a-z0-9-]{1,63})$", var.cluster_id))
    error_message = "An asterisk, or lower-case letters, digits and hyphens."
  }
}

variable "options" {
  description = "Optional policies beside the operator's own: doctor, leftovers, migration, and for a User own-key."
  type        = set(string)
  default     = []
  validation {
    condition     = length(setsubtract(var.options, ["doctor", "leftovers", "migration", "own-key"])) == 0
    error_message = "Only doctor, leftovers, migration and own-key."
  }
}
