// Nothing is built of this: the module's own archive has the CustomResourceDefinitions that users of it install.
module s3-access-operator/tests/tools/prometheus-crds

go 1.26

require github.com/prometheus-operator/prometheus-operator v0.85.0
