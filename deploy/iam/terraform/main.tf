data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  is_user   = var.identity == "User"
  bounded   = var.boundary != "None"
  issuer    = replace(var.oidc_issuer, "https://", "")

  boundary_arn = "arn:${local.partition}:iam::${local.account}:policy/s3access-boundary"

  # The very files that deploy/iam/README.md explains, by the last part of the policy's name.
  files = merge(
    { operator = local.bounded ? "bounded/operator-policy" : "operator-policy" },
    { for option in var.options : option => "operator-policy.${option}" },
  )
  # Of the path, all but its first slash and an asterisk: between two slashes, replace takes a text for a pattern.
  documents = {
    for key, name in merge(local.files, { boundary = "bounded/users-boundary" }) : key => replace(replace(replace(replace(
      file("${path.module}/../${name}.aws.json"),
      "\"arn:aws:", "\"arn:${local.partition}:"),
      ".amazonaws.com\"", ".${data.aws_partition.current.dns_suffix}\""),
      "/s3access/*", "${var.path}*"),
    "s3access.dev/cluster\": \"*\"", "s3access.dev/cluster\": \"${var.cluster_id}\"")
  }

  trust = {
    PodIdentity = {
      Effect = "Allow"
      # Its name is the same in every partition.
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Condition = { StringEquals = {
        "aws:RequestTag/kubernetes-namespace"       = var.namespace
        "aws:RequestTag/kubernetes-service-account" = var.service_account
      } }
    }
    IRSA = {
      Effect    = "Allow"
      Principal = { Federated = "arn:${local.partition}:iam::${local.account}:oidc-provider/${local.issuer}" }
      Action    = ["sts:AssumeRoleWithWebIdentity"]
      Condition = { StringEquals = {
        "${local.issuer}:sub" = "system:serviceaccount:${var.namespace}:${var.service_account}"
        # In China, clusters are found with either.
        "${local.issuer}:aud" = local.partition == "aws-cn" ? ["sts.amazonaws.com", "sts.amazonaws.com.cn"] : ["sts.amazonaws.com"]
      } }
    }
  }
}

resource "aws_iam_role" "operator" {
  count              = local.is_user ? 0 : 1
  name               = var.name
  description        = "s3-access-operator"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [local.trust[var.identity]] })
  lifecycle {
    precondition {
      condition     = var.identity != "IRSA" || local.issuer != ""
      error_message = "IRSA takes oidc_issuer."
    }
    precondition {
      condition     = !contains(var.options, "own-key")
      error_message = "own-key is for identity User, since roles have no key."
    }
  }
}

resource "aws_eks_pod_identity_association" "operator" {
  count           = var.identity == "PodIdentity" && var.cluster_name != "" ? 1 : 0
  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.operator[0].arn
}

# No key is made here: it would be in the state for good, and the state would fight the operator for it where that replaces
# its own.
resource "aws_iam_user" "operator" {
  count = local.is_user ? 1 : 0
  name  = var.name
  # The key that was made beside the state.
  force_destroy = true
}

resource "aws_iam_policy" "boundary" {
  count       = var.boundary == "Create" ? 1 : 0
  name        = "s3access-boundary"
  description = "What users of s3-access-operator may at most"
  policy      = replace(local.documents["boundary"], "\"*\"", join(", ", [for arn in var.boundary_buckets : jsonencode(arn)]))
}

resource "aws_iam_policy" "operator" {
  for_each = local.files
  name     = each.key == "operator" ? var.name : "${var.name}-${each.key}"
  policy   = local.documents[each.key]
}

resource "aws_iam_role_policy_attachment" "operator" {
  for_each   = local.is_user ? {} : local.files
  role       = aws_iam_role.operator[0].name
  policy_arn = aws_iam_policy.operator[each.key].arn
}

resource "aws_iam_user_policy_attachment" "operator" {
  for_each   = local.is_user ? local.files : {}
  user       = aws_iam_user.operator[0].name
  policy_arn = aws_iam_policy.operator[each.key].arn
}
