{{- define "edgesentry.name" -}}
{{- $name := ternary .Release.Name (printf "%s-edgesentry" .Release.Name) (contains "edgesentry" .Release.Name) -}}
{{- $name | trunc 36 | trimSuffix "-" -}}
{{- end }}

{{- define "edgesentry.selector" -}}
app.kubernetes.io/name: edgesentry
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "edgesentry.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "edgesentry.selector" . }}
{{- end }}

{{- /* An image by its digest, or by its tag: (list . .Values.image). */ -}}
{{- define "edgesentry.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "edgesentry.is-postgres" -}}
{{- if or .Values.ledger.existingSecret (regexMatch "^postgres(ql)?://" (.Values.settings.ledger | default "")) -}}true{{- end -}}
{{- end }}

{{- define "edgesentry.scheme" -}}
{{- if .Values.tls.existingSecret }}https{{ else }}http{{ end -}}
{{- end }}

{{- /* Fails on invalid combinations of values before anything is installed. */ -}}
{{- define "edgesentry.refuse" -}}
{{- $serve := .Values.settings.serve | default dict -}}
{{- $tls := $serve.tls | default dict -}}
{{- $ops := .Values.settings.ops | default dict -}}
{{- if and .Values.ledger.existingSecret .Values.settings.ledger -}}
{{- fail "ledger.existingSecret and settings.ledger both name the ledger: leave one out" -}}
{{- end -}}
{{- if not (include "edgesentry.is-postgres" .) -}}
{{- if gt (int .Values.replicas) 1 -}}
{{- fail "a SQLite ledger has one writer: set replicas to 1, or name a PostgreSQL ledger by ledger.existingSecret" -}}
{{- end -}}
{{- if not .Values.persistence.enabled -}}
{{- fail "a SQLite ledger would be lost with its pod: set persistence.enabled" -}}
{{- end -}}
{{- if .Values.ops.enabled -}}
{{- fail "ops.enabled needs a PostgreSQL ledger: name one by ledger.existingSecret" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.persistence.enabled (gt (int .Values.replicas) 1) -}}
{{- fail "persistence.enabled is for one node: set replicas to 1, or keep the payloads in S3" -}}
{{- end -}}
{{- if and $serve.mqtt (gt (int .Values.replicas) 1) -}}
{{- fail "settings.serve.mqtt: the broker keeps messages for one client_id, so set replicas to 1; nodes for HTTP are another release" -}}
{{- end -}}
{{- if and .Values.ops.enabled (not $ops.archive) -}}
{{- fail "ops.enabled needs an archive: set settings.ops.archive to s3://BUCKET/PREFIX" -}}
{{- end -}}
{{- if and .Values.drills.enabled (not .Values.ops.enabled) -}}
{{- fail "drills.enabled needs ops.enabled, whose volume keeps the reports" -}}
{{- end -}}
{{- if and .Values.tls.clientCaConfigMap (not .Values.tls.existingSecret) -}}
{{- fail "tls.clientCaConfigMap needs tls.existingSecret: without TLS there are no client certificates" -}}
{{- end -}}
{{- if and .Values.ingress.enabled .Values.tls.clientCaConfigMap -}}
{{- fail "an Ingress ends TLS, so that no client certificate reaches the service: use service.type LoadBalancer, or leave tls.clientCaConfigMap out" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.enabled needs ingress.host" -}}
{{- end -}}
{{- if $tls.require_client_certificate -}}
{{- fail "settings.serve.tls.require_client_certificate: the probes of the kubelet have no certificate; with tls.clientCaConfigMap senders must be known anyway" -}}
{{- end -}}
{{- range list "certificate" "key" "client_ca" -}}
{{- if hasKey $tls . -}}{{- fail (printf "settings.serve.tls.%s is set by the chart: use tls.existingSecret and tls.clientCaConfigMap" .) -}}{{- end -}}
{{- end -}}
{{- if hasKey $serve "listen" -}}{{- fail "settings.serve.listen is set by the chart: use service.port" -}}{{- end -}}
{{- end }}

{{- /* A table as TOML: (list TABLE NAME). Helm reads numbers as floats; whole ones are written as integers. */ -}}
{{- define "edgesentry.toml" -}}
{{- $table := index . 0 -}}{{- $name := index . 1 -}}
{{- range $key, $value := $table -}}
{{- if not (kindIs "map" $value) }}
{{ $key | toJson }} = {{ include "edgesentry.toml-value" $value }}
{{- end -}}
{{- end -}}
{{- range $key, $value := $table -}}
{{- if kindIs "map" $value }}
{{- $below := ternary ($key | toJson) (printf "%s.%s" $name ($key | toJson)) (eq $name "") }}

[{{ $below }}]
{{- include "edgesentry.toml" (list $value $below) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "edgesentry.toml-value" -}}
{{- if kindIs "slice" . -}}
[{{- range $at, $each := . }}{{ if $at }}, {{ end }}{{ include "edgesentry.toml-value" $each }}{{- end }}]
{{- else if and (kindIs "float64" .) (eq (float64 (int64 .)) .) -}}
{{ int64 . }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end }}

{{- /* Variables of the stores, from Secrets; every pod that opens them has these. */ -}}
{{- define "edgesentry.store-env" -}}
{{- with .Values.ledger }}{{ if .existingSecret }}
- name: EDS_LEDGER
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .key }}}}
{{- end }}{{ end }}
{{- with .Values.s3 }}{{ if .existingSecret }}
- name: EDS_S3__ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .accessKeyIdKey }}}}
- name: EDS_S3__SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .secretAccessKeyKey }}}}
{{- end }}{{ end }}
{{- end }}

{{- define "edgesentry.ops-env" -}}
{{- include "edgesentry.store-env" . }}
{{- with .Values.ops.postgres }}{{ if .existingSecret }}
- name: EDS_OPS__POSTGRES
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .key }}}}
{{- end }}{{ end }}
{{- with .Values.ops.s3 }}{{ if .existingSecret }}
- name: EDS_OPS__S3__ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .accessKeyIdKey }}}}
- name: EDS_OPS__S3__SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .secretAccessKeyKey }}}}
{{- end }}{{ end }}
{{- with .Values.ops.keys }}{{ if .existingSecret }}
{{- if .signingKey }}
- name: EDS_OPS__SIGNING_KEY
  value: /run/edgesentry/{{ .signingKey }}
{{- end }}
{{- if .identity }}
- name: EDS_OPS__IDENTITY
  value: /run/edgesentry/{{ .identity }}
{{- end }}
{{- end }}{{ end }}
- name: EDS_OPS__TEXTFILE
  value: /var/lib/edgesentry/metrics/ops.prom
- name: EDS_OPS__TEMP
  value: /var/tmp/edgesentry
- name: TMPDIR
  value: /var/tmp/edgesentry
{{- end }}

{{- /* The fields common to all pods. */ -}}
{{- define "edgesentry.pod" -}}
enableServiceLinks: false
automountServiceAccountToken: false
serviceAccountName: {{ include "edgesentry.name" . }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "edgesentry.container-security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* A volume that lives as long as its pod: (list SIZE CLASS). */ -}}
{{- define "edgesentry.temporary" -}}
ephemeral:
  volumeClaimTemplate:
    spec:
      accessModes: [ReadWriteOnce]
      {{- with index . 1 }}
      storageClassName: {{ . }}
      {{- end }}
      resources: {requests: {storage: {{ index . 0 }}}}
{{- end }}

{{- /* A ReadWriteOnce volume belongs to one node: that of the exporter. */ -}}
{{- define "edgesentry.state-affinity" -}}
{{- if eq .Values.ops.state.accessMode "ReadWriteOnce" -}}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "edgesentry.selector" . | nindent 12 }}
            app.kubernetes.io/component: exporter
{{- end }}
{{- end }}

{{- /* The directories of the state volume, which is empty at first. */ -}}
{{- define "edgesentry.folders" -}}
- name: folders
  image: {{ include "edgesentry.image" (list . .Values.image) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [mkdir, -p, /var/lib/edgesentry/metrics]
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 32Mi}
  {{- include "edgesentry.container-security" . | nindent 2 }}
  volumeMounts:
    - {name: state, mountPath: /var/lib/edgesentry}
{{- end }}

{{- /* A mounted Secret belongs to root and is readable by a group; a key must belong to its reader. */ -}}
{{- define "edgesentry.key-files" -}}
{{- if .Values.ops.keys.existingSecret -}}
- name: key-files
  image: {{ include "edgesentry.image" (list . .Values.image) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [sh, -ec, "install -m 400 /run/secrets/edgesentry/* /run/edgesentry"]
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 32Mi}
  {{- include "edgesentry.container-security" . | nindent 2 }}
  volumeMounts:
    - {name: key-secret, mountPath: /run/secrets/edgesentry, readOnly: true}
    - {name: key-files, mountPath: /run/edgesentry}
{{- end }}
{{- end }}

{{- define "edgesentry.key-volumes" -}}
{{- with .Values.ops.keys.existingSecret }}
- name: key-secret
  secret: {secretName: {{ . }}, defaultMode: 0400}
- name: key-files
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
{{- end }}
