{{- define "dspex.name" -}}
{{- if eq .Release.Name .Chart.Name }}{{ .Chart.Name }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "dspex.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "dspex.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "dspex.name" .) }}
{{- end }}

{{- define "dspex.image" -}}
image: {{ printf "%s:%s" .Values.image.repository .Values.image.tag | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "dspex.env" -}}
- name: DSPEX_LM
  value: {{ .Values.endpoint.lm | quote }}
- name: DSPEX_STORE
  valueFrom:
    secretKeyRef: {name: {{ .Values.secrets.store.name }}, key: {{ .Values.secrets.store.key }}}
{{- end }}

{{- define "dspex.envFrom" -}}
- secretRef: {name: {{ .Values.secrets.models.name }}, optional: true}
{{- end }}

{{- define "dspex.podSecurity" -}}
serviceAccountName: {{ include "dspex.serviceAccount" . }}
automountServiceAccountToken: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "dspex.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "dspex.raylet" -}}
livenessProbe: # the raylet, and on the head the cluster's own store
  httpGet: {path: /api/healthz, port: 52365}
  initialDelaySeconds: 30
  periodSeconds: 10
  timeoutSeconds: 6
  failureThreshold: 12
readinessProbe:
  httpGet: {path: /api/healthz, port: 52365}
  initialDelaySeconds: 10
  periodSeconds: 5
  timeoutSeconds: 6
  failureThreshold: 12
{{- end }}

{{- define "dspex.job" -}}
# HTTPMode: the operator hands the job to the cluster itself, so no pod with another image is needed.
submissionMode: HTTPMode
entrypoint: >-
  dspex optimize {{ .Values.program }} --data {{ .Values.optimize.data }} --trials {{ .Values.optimize.trials }}
  --budget-usd {{ .Values.optimize.budgetUsd }} --json
runtimeEnvYAML: |
  env_vars:
    RAY_JOB_STOP_WAIT_TIME_S: "30"
shutdownAfterJobFinishes: true
ttlSecondsAfterFinished: 600
activeDeadlineSeconds: {{ .Values.optimize.deadlineSeconds }}
backoffLimit: 0 # what was found is kept: go on with --resume instead of beginning anew
rayClusterSpec:
  rayVersion: {{ .Values.rayVersion | quote }}
  authOptions:
    mode: token
    secretName: {{ .Values.secrets.ray.name }}
  headGroupSpec:
    rayStartParams:
      dashboard-host: 0.0.0.0 # the operator asks it; the network policy keeps others out
    template:
      metadata:
        labels:
          {{- include "dspex.labels" . | nindent 10 }}
          app.kubernetes.io/component: optimize
      spec:
        {{- include "dspex.podSecurity" . | nindent 8 }}
        containers:
          - name: ray-head
            {{- include "dspex.image" . | nindent 12 }}
            {{- include "dspex.containerSecurity" . | nindent 12 }}
            ports:
              - {name: gcs-server, containerPort: 6379}
              - {name: dashboard, containerPort: 8265}
            env:
              {{- include "dspex.env" . | nindent 14 }}
            envFrom:
              {{- include "dspex.envFrom" . | nindent 14 }}
            volumeMounts:
              - {name: data, mountPath: /srv/data, readOnly: true}
            resources:
              {{- toYaml .Values.head.resources | nindent 14 }}
            {{- include "dspex.raylet" . | nindent 12 }}
        volumes:
          - name: data
            persistentVolumeClaim: {claimName: {{ .Values.optimize.volume.claim }}, readOnly: true}
  workerGroupSpecs:
    - groupName: workers
      replicas: {{ .Values.workers.replicas }}
      minReplicas: {{ .Values.workers.replicas }}
      maxReplicas: {{ .Values.workers.replicas }}
      rayStartParams: {}
      template:
        metadata:
          labels:
            {{- include "dspex.labels" . | nindent 12 }}
            app.kubernetes.io/component: optimize
        spec:
          {{- include "dspex.podSecurity" . | nindent 10 }}
          containers:
            - name: ray-worker
              {{- include "dspex.image" . | nindent 14 }}
              {{- include "dspex.containerSecurity" . | nindent 14 }}
              env:
                {{- include "dspex.env" . | nindent 16 }}
              envFrom:
                {{- include "dspex.envFrom" . | nindent 16 }}
              resources:
                {{- toYaml .Values.workers.resources | nindent 16 }}
              {{- include "dspex.raylet" . | nindent 14 }}
{{- end }}
