{{/* Names and labels. */}}
{{- define "tidegauge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "tidegauge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "tidegauge.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tidegauge.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{- define "tidegauge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tidegauge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidegauge.labels" -}}
{{ include "tidegauge.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: metrics
app.kubernetes.io/part-of: tidegauge
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tidegauge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tidegauge.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "tidegauge.image" -}}
{{- $repository := .Values.image.repository -}}
{{- if .Values.image.registry }}{{ $repository = printf "%s/%s" .Values.image.registry $repository }}{{ end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{/* The Service that leads to the Kubernetes port; its name is in the certificate. */}}
{{- define "tidegauge.kubernetesService" -}}
{{- printf "%s-kubernetes" (include "tidegauge.fullname" .) -}}
{{- end }}

{{/* Non-empty if the Kubernetes port is served. */}}
{{- define "tidegauge.servesKubernetes" -}}
{{- $api := .Values.kubernetesApi -}}
{{- if and (or $api.enabled $api.apiServices.external $api.apiServices.custom) (gt (int .Values.ports.kubernetes) 0) -}}
yes
{{- end -}}
{{- end }}

{{/* Versions of the groups that are registered, one a line: "v1beta1 external.metrics.k8s.io 100". */}}
{{- define "tidegauge.apiServices" -}}
{{- $api := .Values.kubernetesApi -}}
{{- $priority := int $api.versionPriority -}}
{{- if $api.apiServices.external }}
v1beta1 external.metrics.k8s.io {{ $priority }}
{{- end }}
{{- if $api.apiServices.custom }}
v1beta1 custom.metrics.k8s.io {{ $priority }}
v1beta2 custom.metrics.k8s.io {{ add $priority 100 }}
{{- end }}
{{- end }}

{{/* Text of the file with prometheus-adapter's configuration, or nothing. */}}
{{- define "tidegauge.adapterConfig" -}}
{{- if .Values.kubernetesApi.adapterConfigText -}}
{{- .Values.kubernetesApi.adapterConfigText -}}
{{- else if .Values.kubernetesApi.adapterConfig -}}
{{- toYaml .Values.kubernetesApi.adapterConfig -}}
{{- end -}}
{{- end }}

{{/* Secret with the certificate of the Kubernetes port, or nothing. */}}
{{- define "tidegauge.kubernetesTlsSecret" -}}
{{- $tls := .Values.kubernetesApi.tls -}}
{{- if include "tidegauge.servesKubernetes" . -}}
{{- if eq $tls.mode "certManager" -}}
{{- default (printf "%s-kubernetes-tls" (include "tidegauge.fullname" .)) $tls.secretName -}}
{{- else if eq $tls.mode "secret" -}}
{{- required "kubernetesApi.tls.secretName: the Secret to use with mode secret" $tls.secretName -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What cannot work is refused here, with the reason. */}}
{{- define "tidegauge.check" -}}
{{- if gt (int .Values.replicaCount) 1 -}}
{{- fail "replicaCount: each replica keeps only what it receives, so behind one Service two would know half each; want 1, and a second release with replica.peer" -}}
{{- end -}}
{{- if and .Values.replica.token.secretName (not .Values.replica.peer) -}}
{{- fail "replica.token.secretName: want replica.peer, the URL that the token is for" -}}
{{- end -}}
{{- if and .Values.settings (not .Values.compat.kedify.enabled) -}}
{{- fail "settings: these are values of Kedify's chart; set compat.kedify.enabled=true to use them" -}}
{{- end -}}
{{- if and .Values.keda.tls.requireClientCertificate (not .Values.keda.tls.secretName) -}}
{{- fail "keda.tls.requireClientCertificate: want keda.tls.secretName with tls.crt, tls.key and ca.crt" -}}
{{- end -}}
{{- if and .Values.compat.kedify.enabled (or .Values.keda.tls.requireClientCertificate (eq .Values.keda.tenancy "namespace")) -}}
{{- fail "compat.kedify.enabled: everybody reaches the port shared with OTLP, which asks nobody for a certificate; unset keda.tls.requireClientCertificate and keda.tenancy" -}}
{{- end -}}
{{- if and .Values.persistence.enabled (not .Values.storage.path) -}}
{{- fail "persistence.enabled: want storage.path, the folder of the volume" -}}
{{- end -}}
{{- if lt (int .Values.ports.web) 1 -}}
{{- fail "ports.web: probes and remote-write need it, want a port" -}}
{{- end -}}
{{- end }}

{{/* What the daemon watches to find what it scrapes: words among pods, services, pod monitors; empty for nothing. */}}
{{- define "tidegauge.scrapeWatches" -}}
{{- $services := hasKey .Values.scrape "service_monitors" }}
{{- $monitored := hasKey .Values.scrape "pod_monitors" }}
{{- $pods := or $services $monitored }}
{{- range .Values.scrape.scrape_configs }}{{- if .kubernetes_sd_configs }}{{- $pods = true }}{{- end }}{{- end }}
{{- if $pods }}pods{{ end }}{{ if $services }} services{{ end }}{{ if $monitored }} podmonitors{{ end }}
{{- end }}

{{/* Not empty if the pod needs the token of its account. */}}
{{- define "tidegauge.asksApiServer" -}}
{{- if or (include "tidegauge.servesKubernetes" .) (include "tidegauge.scrapeWatches" .) .Values.scaling.watchPods }}yes{{ end }}
{{- end }}

{{/* Probes of a web port that serves TLS. They show no certificate. */}}
{{- define "tidegauge.webScheme" -}}
{{- $ports := .Values.auth.config.ports | default dict -}}
{{- if hasKey $ports "web" }}{{ if ne (toString $ports.web) "off" }}, scheme: HTTPS{{ end }}
{{- else if .Values.auth.config.tls_server_config }}, scheme: HTTPS{{ end -}}
{{- end }}
