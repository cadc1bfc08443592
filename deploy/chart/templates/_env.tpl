{{/* A list of an address and a port, as one: IPv6 stands in brackets. */}}
{{- define "s3access.listen" -}}
{{- $address := first . }}
{{- printf "%s:%d" (contains ":" $address | ternary (printf "[%s]" $address) $address) (last . | int) }}
{{- end }}

{{/* The operator's settings; only what is not its default, and what the chart itself depends on. */}}
{{- define "s3access.env" -}}
- name: AWS_REGION
  value: {{ .Values.aws.region | quote }}
{{- with .Values.aws.endpoints.all }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- range $service, $address := include "s3access.endpoints" . | fromYaml }}
{{- with $address }}
- name: AWS_ENDPOINT_URL_{{ upper $service }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
- name: S3ACCESS_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: S3ACCESS_LISTEN
  value: {{ include "s3access.listen" (list .Values.listenAddress .Values.port) | quote }}
- name: S3ACCESS_LOG_FORMAT
  value: {{ .Values.operator.logFormat | quote }}
- name: S3ACCESS_LOG_LEVEL
  value: {{ .Values.operator.logLevel | quote }}
- name: S3ACCESS_LEADER_ELECTION
  value: {{ .Values.leaderElection.enabled | quote }}
- name: S3ACCESS_LEASE_NAME
  value: {{ include "s3access.fullname" . | quote }}
- name: S3ACCESS_LEASE_DURATION
  value: {{ .Values.leaderElection.leaseDuration | quote }}
- name: S3ACCESS_LEASE_RENEW_BEFORE
  value: {{ .Values.leaderElection.renewBefore | quote }}
- name: S3ACCESS_CLASSES
  value: {{ .Values.classes.enabled | quote }}
- name: S3ACCESS_REQUIRE_CLASS
  value: {{ .Values.requireClass | quote }}
{{- with .Values.classes.selector }}
- name: S3ACCESS_CLASS_SELECTOR
  value: {{ . | quote }}
{{- end }}
- name: S3ACCESS_PROVIDER
  value: {{ .Values.aws.provider | quote }}
{{- with .Values.aws.accountId }}
- name: S3ACCESS_ACCOUNT_ID
  value: {{ . | quote }}
{{- end }}
{{- with .Values.aws.path }}
- name: S3ACCESS_PATH
  value: {{ . | quote }}
{{- end }}
{{- if .Values.aws.credentials.rotate }}
- name: S3ACCESS_ROTATE_OWN_KEY
  value: {{ .Values.aws.credentials.existingSecret | quote }}
- name: S3ACCESS_OWN_KEY_INTERVAL
  value: {{ .Values.aws.credentials.rotateInterval | quote }}
{{- end }}
- name: S3ACCESS_REQUESTS_PER_SECOND
  value: {{ .Values.aws.requestsPerSecond | quote }}
- name: S3ACCESS_RESYNC_INTERVAL
  value: {{ .Values.operator.resyncInterval | quote }}
- name: S3ACCESS_ALARM_INTERVAL
  value: {{ .Values.operator.alarmInterval | quote }}
- name: S3ACCESS_REPORT_INTERVAL
  value: {{ .Values.operator.reportInterval | quote }}
- name: S3ACCESS_CONSISTENCY_WINDOW
  value: {{ .Values.operator.consistencyWindow | quote }}
- name: S3ACCESS_PROBE_INTERVAL
  value: {{ .Values.operator.probeInterval | quote }}
- name: S3ACCESS_MIN_ROTATION_INTERVAL
  value: {{ .Values.operator.minRotationInterval | quote }}
- name: S3ACCESS_CONCURRENCY
  value: {{ .Values.operator.concurrency | quote }}
{{- with .Values.cluster.id }}
- name: S3ACCESS_CLUSTER_ID
  value: {{ . | quote }}
{{- end }}
{{- with .Values.cluster.name }}
- name: S3ACCESS_CLUSTER_NAME
  value: {{ . | quote }}
{{- end }}
- name: S3ACCESS_METRICS_SECURE
  value: {{ .Values.metrics.secure.enabled | quote }}
{{- if .Values.metrics.secure.enabled }}
- name: S3ACCESS_METRICS_LISTEN
  value: {{ include "s3access.listen" (list .Values.listenAddress .Values.metrics.secure.port) | quote }}
{{- if .Values.metrics.secure.existingSecret }}
- name: S3ACCESS_METRICS_CERTIFICATES
  value: /etc/s3-access-operator/metrics
{{- end }}
{{- end }}
- name: S3ACCESS_USER_METRICS
  value: {{ .Values.metrics.perUser | quote }}
{{- with .Values.watchNamespaces }}
- name: S3ACCESS_WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}
