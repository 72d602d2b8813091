{{/* The controller's account is named in the admission policies, and its namespace with it. */}}
{{- define "prorata.namespace" -}}
{{- if ne .Release.Namespace "prorata-system" -}}
{{- fail (printf "install into the namespace prorata-system, not %s: helm install … --namespace prorata-system" .Release.Namespace) -}}
{{- end -}}
prorata-system
{{- end -}}

{{- define "prorata.labels" -}}
app.kubernetes.io/name: prorata
app.kubernetes.io/part-of: prorata
{{- end -}}

{{- define "prorata.controller" -}}
app.kubernetes.io/name: prorata
app.kubernetes.io/component: controller
{{- end -}}

{{- define "prorata.scheduler" -}}
app.kubernetes.io/name: prorata
app.kubernetes.io/component: scheduler
{{- end -}}

{{- define "prorata.agent" -}}
app.kubernetes.io/name: prorata
app.kubernetes.io/component: agent
{{- end -}}

{{/* Labels by which an operator of Prometheus finds ours. */}}
{{- define "prorata.monitoring" -}}
{{ include "prorata.labels" . }}
{{- with .Values.monitoring.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "prorata.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{/* The Configuration of the controller: what the chart decides wins over what a user adds. */}}
{{- define "prorata.configuration" -}}
{{- $tls := dict "certFile" "/etc/prorata/tls/tls.crt" "keyFile" "/etc/prorata/tls/tls.key" "clientCaFile" "/etc/prorata/tls/ca.crt" -}}
{{- $fixed := dict "apiVersion" "config.prorata.dev/v1alpha1" "kind" "Configuration" "gpuResource" .Values.gpuResource -}}
{{- $extender := dict "address" "0.0.0.0:8443" "tls" $tls -}}
{{- if .Values.controller.probe -}}
{{- $probe := dict "url" "https://prorata.prorata-system.svc:8443" "certFile" "/etc/prorata/probe/tls.crt" "keyFile" "/etc/prorata/probe/tls.key" "caFile" "/etc/prorata/probe/ca.crt" -}}
{{- $_ := set $extender "probe" $probe -}}
{{- end -}}
{{- $_ := set $fixed "extender" $extender -}}
{{- $_ := set $fixed "health" (dict "address" "0.0.0.0:8080") -}}
{{- if and .Values.ledger.claim .Values.ledger.secret -}}
{{- fail "ledger: there is one ledger: name a claim or a secret" -}}
{{- end -}}
{{- if and .Values.ledger.claim (gt (int .Values.controller.replicas) 1) -}}
{{- fail "ledger.claim: a SQLite file is for one controller alone: set controller.replicas=1, or name a ledger.secret" -}}
{{- end -}}
{{- if .Values.ledger.claim -}}
{{- $_ := set $fixed "ledger" (dict "url" "sqlite:///var/lib/prorata/ledger.db" "heartbeat" .Values.ledger.heartbeat "busyEvery" .Values.ledger.busyEvery "agentTokenFile" "/etc/prorata/agents/token") -}}
{{- else if .Values.ledger.secret -}}
{{- $_ := set $fixed "ledger" (dict "urlFile" "/etc/prorata/ledger/url" "heartbeat" .Values.ledger.heartbeat "busyEvery" .Values.ledger.busyEvery "agentTokenFile" "/etc/prorata/agents/token") -}}
{{- end -}}
{{- if .Values.dashboard.enabled -}}
{{- $pages := dict "certFile" "/etc/prorata/dashboard/tls.crt" "keyFile" "/etc/prorata/dashboard/tls.key" -}}
{{- $_ := set $fixed "dashboard" (dict "address" "0.0.0.0:8090" "tls" $pages "cluster" .Values.dashboard.cluster) -}}
{{- end -}}
{{- if and .Values.ledger.prices (or .Values.ledger.claim .Values.ledger.secret) -}}
{{- $_ := set $fixed "budgets" (dict "prices" "/etc/prorata/prices/prices.yaml") -}}
{{- end -}}
{{- mergeOverwrite (deepCopy .Values.controller.configuration) $fixed | toYaml -}}
{{- end -}}

{{/* What the strictest of Kubernetes' standards for pods asks for. */}}
{{- define "prorata.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "prorata.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
