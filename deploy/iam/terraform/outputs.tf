locals {
  set = concat(
    [{ name = "aws.region", value = data.aws_region.current.id, type = "auto" }],
    var.path == "/s3access/" ? [] : [{ name = "aws.path", value = var.path, type = "auto" }],
    var.cluster_id == "*" ? [] : [{ name = "cluster.id", value = var.cluster_id, type = "string" }],
    local.is_user ? [] : [{ name = "serviceAccount.name", value = var.service_account, type = "auto" }],
    var.identity == "IRSA" ? [{
      name  = "serviceAccount.annotations.eks\\.amazonaws\\.com/role-arn"
      value = aws_iam_role.operator[0].arn
      type  = "auto"
    }] : [],
    local.is_user ? [{ name = "aws.credentials.existingSecret", value = "s3-access-operator-aws", type = "auto" }] : [],
    contains(var.options, "own-key") ? [{ name = "aws.credentials.rotate", value = "true", type = "auto" }] : [],
    local.bounded ? [{ name = "defaultClass.spec.permissionsBoundaryArn", value = local.boundary_arn, type = "auto" }] : [],
  )
}

output "identity_arn" {
  description = "Who the operator is."
  value       = local.is_user ? one(aws_iam_user.operator[*].arn) : one(aws_iam_role.operator[*].arn)
}

output "boundary_arn" {
  description = "The permissionsBoundaryArn of every class, and of every S3AccessUser where there is no class. Null with boundary None."
  value       = local.bounded ? local.boundary_arn : null
}

output "set" {
  description = "For `set` of the helm provider's helm_release."
  value       = local.set
}

output "helm_set" {
  description = "The same as arguments of helm install, to paste or for xargs."
  value       = join(" ", [for one in local.set : "--set${one.type == "string" ? "-string" : ""} '${one.name}=${one.value}'"])
}

output "make_the_key" {
  description = "With User, makes the access key and puts it into the Secret, before helm install."
  value = local.is_user ? join(" ", [
    # A rehearsal: a key that finds no place is lost, and IAM has room for two.
    "kubectl -n ${var.namespace} create secret generic s3-access-operator-aws --dry-run=server --output=name &&",
    "KEY=$(aws iam create-access-key --user-name ${var.name} --output text",
    "--query 'AccessKey.[join(`=`,[`AWS_ACCESS_KEY_ID`,AccessKeyId]),join(`=`,[`AWS_SECRET_ACCESS_KEY`,SecretAccessKey])]') &&",
    "printf '%s\\n' \"$KEY\" | tr '\\t' '\\n' |",
    "kubectl -n ${var.namespace} create secret generic s3-access-operator-aws --from-env-file=/dev/stdin",
  ]) : null
}
