{{/* Written by `make chart` from deploy/kubernetes. Do not edit. */}}
{{- define "orrery.manifests.settings" }}
{{- if .Values.minio.enabled }}
AWS_ALLOW_HTTP: 'true'
{{- end }}
AWS_DEFAULT_REGION: us-east-1
{{- if .Values.minio.enabled }}
AWS_ENDPOINT_URL: "http://minio.{{ .Release.Namespace }}.svc:9000"
ORRERY_BUCKET_PATH_STYLE: 'true'
{{- end }}
{{- if .Values.keda.enabled }}
ORRERY_CLUSTER_AUTOSCALER: keda
{{- end }}
ORRERY_CLUSTER_BUCKET_SECRET: orrery-bucket
{{- if .Values.builder.enabled }}
ORRERY_CLUSTER_BUILD_NAMESPACE: "{{ .Release.Namespace }}-builds"
{{- end }}
ORRERY_CLUSTER_CONFIG_MAP: orrery-settings
ORRERY_CLUSTER_CONTROL_IMAGE: "{{ include "orrery.image" (list . "control") }}"
ORRERY_CLUSTER_ENGINE_SECRET: orrery-engines
{{- if .Values.gatewayApi.enabled }}
ORRERY_CLUSTER_GATEWAY: "{{ .Release.Namespace }}/orrery"
{{- end }}
{{- if .Values.pullSecrets.enabled }}
ORRERY_CLUSTER_IMAGE_PULL_SECRETS: {{ toJson .Values.pullSecrets.name }}
{{- end }}
ORRERY_CLUSTER_NAMESPACE: "{{ .Release.Namespace }}"
{{- if .Values.keda.enabled }}
ORRERY_CLUSTER_PROMETHEUS_URL: {{ toJson .Values.keda.prometheusUrl }}
{{- end }}
{{- if .Values.queues.enabled }}
ORRERY_CLUSTER_QUEUE: orrery
{{- end }}
{{- if .Values.keda.enabled }}
ORRERY_CLUSTER_REQUESTS_PER_REPLICA: {{ toJson .Values.keda.requestsPerReplica }}
{{- end }}
ORRERY_CLUSTER_SECRET: orrery-secrets
ORRERY_CLUSTER_SERVICE_ACCOUNT: orrery-run
ORRERY_CLUSTER_SERVING_IMAGE: "{{ include "orrery.image" (list . "serving") }}"
{{- if .Values.zones.enabled }}
ORRERY_CLUSTER_SPREAD_ZONES: 'true'
{{- end }}
ORRERY_CLUSTER_TRAINING_IMAGE: "{{ include "orrery.image" (list . "training") }}"
ORRERY_OBJECTS: {{ toJson .Values.objects }}
PGSSLROOTCERT: /etc/orrery/ca/ca.crt
{{- end }}
{{- define "orrery.settings" }}
{{- $given := dict }}
{{- if .Values.publicUrl }}{{- $_ := set $given "ORRERY_PUBLIC_URL" .Values.publicUrl }}{{- end }}
{{- if .Values.services.host }}{{- $_ := set $given "ORRERY_CLUSTER_SERVICES_HOST" .Values.services.host }}{{- end }}
{{- if .Values.services.url }}{{- $_ := set $given "ORRERY_CLUSTER_SERVICES_URL" .Values.services.url }}{{- end }}
{{- if and .Values.builder.registry .Values.builder.enabled }}{{- $_ := set $given "ORRERY_CLUSTER_REGISTRY" .Values.builder.registry }}{{- end }}
{{- $written := include "orrery.manifests.settings" . | fromYaml }}
{{- mergeOverwrite $written $given .Values.settings | toYaml }}
{{- end }}
