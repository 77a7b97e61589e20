{{- /* One CronJob: (dict "root" "name" "when" "arguments" "image" "resources"). */ -}}
{{- define "edgesentry.cronjob" -}}
{{- $root := .root -}}
{{- $name := include "edgesentry.name" $root -}}
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ printf "%s-%s" $name .name | trunc 52 }}
  labels: {{- include "edgesentry.labels" $root | nindent 4 }}
spec:
  schedule: {{ .when.schedule | quote }}
  timeZone: {{ $root.Values.ops.timeZone }}
  suspend: {{ .when.suspend | default false }}
  concurrencyPolicy: Forbid
  # The job still runs if the controller was away at its time.
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      # No retry: the next scheduled run is the next attempt.
      backoffLimit: 0
      activeDeadlineSeconds: 43200
      template:
        metadata:
          labels:
            {{- include "edgesentry.labels" $root | nindent 12 }}
            app.kubernetes.io/component: {{ .name }}
        spec:
          restartPolicy: Never
          {{- include "edgesentry.pod" $root | nindent 10 }}
          terminationGracePeriodSeconds: 120
          {{- include "edgesentry.state-affinity" $root | nindent 10 }}
          initContainers:
            {{- include "edgesentry.folders" $root | nindent 12 }}
            {{- include "edgesentry.key-files" $root | nindent 12 }}
          containers:
            - name: eds
              image: {{ include "edgesentry.image" (list $root .image) }}
              imagePullPolicy: {{ $root.Values.image.pullPolicy }}
              args: {{ .arguments | toJson }}
              env:
                {{- include "edgesentry.ops-env" $root | nindent 16 }}
              resources: {{- toYaml .resources | nindent 16 }}
              {{- include "edgesentry.container-security" $root | nindent 14 }}
              volumeMounts:
                - {name: settings, mountPath: /etc/eds/eds.toml, subPath: eds.toml, readOnly: true}
                - {name: state, mountPath: /var/lib/edgesentry}
                - {name: tmp, mountPath: /tmp}
                - {name: temp, mountPath: /var/tmp/edgesentry}
                {{- if $root.Values.ops.keys.existingSecret }}
                - {name: key-files, mountPath: /run/edgesentry, readOnly: true}
                {{- end }}
                {{- if $root.Values.drills.keysConfigMap }}
                - {name: keys, mountPath: /etc/eds/keys, readOnly: true}
                {{- end }}
          volumes:
            - name: settings
              configMap: {name: {{ $name }}}
            - name: state
              persistentVolumeClaim: {claimName: {{ $name }}-state}
            {{- include "edgesentry.key-volumes" $root | nindent 12 }}
            - name: tmp
              emptyDir: {sizeLimit: 1Gi}
            - name: temp
              {{- if has .name (list "heads" "retention" "check-archive" "watch-postgres" "drill-report") }}
              emptyDir: {sizeLimit: 1Gi}
              {{- else }}
              {{- include "edgesentry.temporary" (list $root.Values.ops.temp.size $root.Values.ops.temp.storageClass) | nindent 14 }}
              {{- end }}
            {{- with $root.Values.drills.keysConfigMap }}
            - name: keys
              configMap: {name: {{ . }}}
            {{- end }}
{{- end }}
