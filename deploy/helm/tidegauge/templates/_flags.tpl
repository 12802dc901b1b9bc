{{/*
Every flag that the chart sets, and nowhere else. A flag wins over the environment of the image and over the ConfigMap.
A test compares the names with the daemon's own table of settings.
*/}}
{{- define "tidegauge.flags" -}}
- --config.file=/etc/tidegauge/tidegauge.yaml
- --log.level={{ .Values.log.level }}
- --log.format={{ .Values.log.format }}
- --web.listen-address={{ include "tidegauge.address" .Values.ports.web }}
- --otlp.grpc.listen-address={{ include "tidegauge.address" .Values.ports.otlpGrpc }}
- --otlp.http.listen-address={{ include "tidegauge.address" .Values.ports.otlpHttp }}
- --keda.listen-address={{ include "tidegauge.address" .Values.ports.keda }}
{{- with .Values.auth.waive }}
- --auth.waive={{ join "," . }}
{{- end }}
{{- if .Values.auth.config }}
- --web.config.file=/etc/tidegauge/web.yaml
{{- end }}
{{- if ne .Values.keda.tenancy "off" }}
- --keda.tenancy={{ .Values.keda.tenancy }}
{{- end }}
{{- if .Values.keda.tls.secretName }}
- --keda.tls-cert-file=/etc/tidegauge/keda-tls/tls.crt
- --keda.tls-private-key-file=/etc/tidegauge/keda-tls/tls.key
{{- if .Values.keda.tls.requireClientCertificate }}
- --keda.tls-client-ca-file=/etc/tidegauge/keda-tls/ca.crt
{{- end }}
{{- end }}
{{- if .Values.scaling.watchPods }}
- --scaling.watch-pods=true
{{- end }}
{{- if .Values.replica.peer }}
- --replica.peer={{ .Values.replica.peer }}
- --replica.wait={{ .Values.replica.wait }}
{{- if .Values.replica.token.secretName }}
- --replica.token-file=/etc/tidegauge/replica/token
{{- end }}
{{- end }}
{{- if .Values.storage.path }}
- --storage.path={{ .Values.storage.path }}
{{- end }}
{{- if include "tidegauge.servesKubernetes" . }}
- --kubernetes.listen-address={{ include "tidegauge.address" .Values.ports.kubernetes }}
- --kubernetes.auth=delegated
- --kubernetes.service-name={{ include "tidegauge.kubernetesService" . }}
{{- if include "tidegauge.kubernetesTlsSecret" . }}
- --kubernetes.tls-cert-file=/etc/tidegauge/kubernetes-tls/tls.crt
- --kubernetes.tls-private-key-file=/etc/tidegauge/kubernetes-tls/tls.key
{{- else if .Values.storage.path }}
- --kubernetes.cert-dir={{ .Values.storage.path }}/certificates
{{- end }}
{{- if include "tidegauge.adapterConfig" . }}
- --kubernetes.adapter-config=/etc/tidegauge-adapter/config.yaml
{{- end }}
{{- else }}
- --kubernetes.listen-address=off
{{- end }}
{{- if or (eq .Values.keda.tenancy "namespace") .Values.keda.tls.requireClientCertificate }}
# Everybody reaches the OTLP port: KEDA's promises about who asks hold on its own port only.
- --compat.kedify.shared-port=false
{{- end }}
{{- with .Values.settings.metricStore }}
{{- if hasKey . "retentionSeconds" }}
- --compat.kedify.window={{ .retentionSeconds }}s
{{- end }}
{{- if hasKey . "errIfNotFound" }}
- --compat.kedify.error-if-not-found={{ .errIfNotFound }}
{{- end }}
{{- if hasKey . "valueIfNotFound" }}
- --compat.kedify.value-if-not-found={{ .valueIfNotFound }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tidegauge.address" -}}
{{- if gt (int .) 0 }}:{{ int . }}{{ else }}off{{ end -}}
{{- end }}
