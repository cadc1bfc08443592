variable "cluster_name" {
  description = "The EKS cluster. The account has an IAM OIDC provider for it."
  type        = string
}

data "aws_eks_cluster" "this" {
  name = var.cluster_name
}

module "s3_access_operator" {
  # From elsewhere: "git::https://github.com/s3-access-operator/s3-access-operator.git//deploy/iam/terraform?ref=v0.1.0"
  source      = "../.."
  identity    = "IRSA"
  oidc_issuer = data.aws_eks_cluster.this.identity[0].oidc[0].issuer
}

output "helm_set" {
  description = "The arguments of helm install."
  value       = module.s3_access_operator.helm_set
}

output "boundary_arn" {
  description = "The permissionsBoundaryArn of every class beside the chart's."
  value       = module.s3_access_operator.boundary_arn
}
