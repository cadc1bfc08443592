{{- define "s3access.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for the longest name that is made of it. */}}
{{- define "s3access.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "s3access.selectorLabels" -}}
app.kubernetes.io/name: {{ include "s3access.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The port of metrics, by its name. */}}
{{- define "s3access.metricsPort" -}}
{{- .Values.metrics.secure.enabled | ternary "https" "http" }}
{{- end }}

{{/* Where the release's objects lie. */}}
{{- define "s3access.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* The chart's own labels win: selectors go by them. */}}
{{- define "s3access.labels" -}}
{{- $own := dict "app.kubernetes.io/part-of" "s3-access-operator" "app.kubernetes.io/managed-by" .Release.Service "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- merge $own (include "s3access.selectorLabels" . | fromYaml) .Values.commonLabels | toYaml }}
{{- end }}

{{/* Without the chart's version, which would restart the pods for nothing. */}}
{{- define "s3access.podLabels" -}}
{{- $own := dict "app.kubernetes.io/part-of" "s3-access-operator" }}
{{- merge $own (include "s3access.selectorLabels" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml }}
{{- end }}

{{/* The labels and annotations of an object: a dict of root, and of labels and annotations that it alone has. */}}
{{- define "s3access.marks" -}}
labels:
  {{- merge (include "s3access.labels" .root | fromYaml) (.labels | default dict) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "s3access.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "s3access.fullname" .) .Values.serviceAccount.name }}
{{- else if or .Values.serviceAccount.name (not .Values.rbac.create) }}
{{- default "default" .Values.serviceAccount.name }}
{{- else }}
{{- fail "serviceAccount.create: false needs serviceAccount.name: every pod of the namespace that names no account would have the operator's rights, on all Secrets" }}
{{- end }}
{{- end }}

{{/* The image; a registry that global.imageRegistry names takes the place of the one that the repository may begin with. */}}
{{- define "s3access.image" -}}
{{- $repository := .Values.image.repository }}
{{- with .Values.global.imageRegistry }}
{{- $parts := splitList "/" $repository }}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) }}
{{- $parts = rest $parts }}
{{- end }}
{{- $repository = printf "%s/%s" . (join "/" $parts) }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Binds a Role or ClusterRole to the operator: a dict of root, kind (of the binding), role (the role's kind), name, and
     namespace for a RoleBinding. */}}
{{- define "s3access.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  {{- include "s3access.marks" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .role }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "s3access.serviceAccountName" .root }}
    namespace: {{ include "s3access.namespace" .root }}
{{- end }}

{{/* Where the services of the operator's own account are. An S3-compatible system has all of them: else the SDK would send AWS what
     is signed with the system's key. Its STS is where its IAM is, unless something else is said. */}}
{{- define "s3access.endpoints" -}}
{{- $endpoints := omit .Values.aws.endpoints "all" }}
{{- if eq .Values.aws.provider "s3-compatible" }}
{{- $iam := coalesce $endpoints.iam .Values.aws.endpoints.all "" }}
{{- $s3 := coalesce $endpoints.s3 .Values.aws.endpoints.all "" }}
{{- if not (and $iam $s3) }}
{{- fail "aws.provider: s3-compatible needs aws.endpoints.iam and aws.endpoints.s3, or aws.endpoints.all: the addresses of the system" }}
{{- end }}
{{- $endpoints = dict "iam" $iam "sts" (coalesce $endpoints.sts .Values.aws.endpoints.all $iam) "s3" $s3 }}
{{- end }}
{{- $endpoints | toYaml }}
{{- end }}

{{/* The operator's path where neither a class nor aws.path names one: what `--path` has by default. */}}
{{- define "s3access.path" -}}
{{- .Values.aws.path | default (eq .Values.aws.provider "s3-compatible" | ternary "/" "/s3access/") }}
{{- end }}

{{/* A policy and its binding, from a file of the kustomize base: a dict of root, file and name. The base's service account
     and the operator's path become the release's. */}}
{{- define "s3access.admission" -}}
{{- $root := .root }}
{{- $name := printf "%s-%s" (include "s3access.fullname" $root) .name }}
{{- $account := printf "system:serviceaccount:%s:%s" (include "s3access.namespace" $root) (include "s3access.serviceAccountName" $root) }}
{{- $text := $root.Files.Get .file | replace "system:serviceaccount:s3-access-system:s3-access-operator" $account }}
{{- $text = $text | replace "'/s3access/'" (include "s3access.path" $root | squote) }}
{{- with $root.Values.aws.credentials }}
{{- if .rotate }}
{{- $text = $text | replace "expression: \"[]\"" (printf "expression: \"['%s']\"" .existingSecret) }}
{{- end }}
{{- end }}
{{- range $text | splitList "\n---\n" }}
{{- $object := fromYaml . }}
{{- $_ := set $object "metadata" (include "s3access.marks" (dict "root" $root) | fromYaml | merge (dict "name" $name)) }}
{{- if hasKey $object.spec "failurePolicy" }}
{{- /* What only warns keeps nobody from anything, whatever the value says. */}}
{{- if ne $object.spec.failurePolicy "Ignore" }}
{{- $_ := set $object.spec "failurePolicy" $root.Values.admissionPolicy.failurePolicy }}
{{- end }}
{{- else }}
{{- $_ := set $object.spec "policyName" $name }}
{{- end }}
---
{{ $object | toYaml }}
{{- end }}
{{- end }}
