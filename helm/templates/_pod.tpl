{{- /* The pod of the Deployment and of the StatefulSet. */}}
{{- define "jeton.pod" -}}
{{- $secrets := include "jeton.secrets" . | fromJson -}}
{{- $config := include "jeton.config" . | fromJson -}}
{{- $embedded := eq $config.store "embedded" -}}
metadata:
  annotations:
    kubectl.kubernetes.io/default-container: jeton
    checksum/config: {{ include "jeton.toml" . | sha256sum }}
    checksum/secrets: {{ include "jeton.generatedSecrets" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "jeton.podSelector" . | nindent 4 }}
    app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
    {{- with .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "jeton.serviceAccountName" . }}
  automountServiceAccountToken: false
  # Variables such as JETON_PORT are of no use to anybody.
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  # drain.delay, drain.timeout, and 10 s for the last writes and exports.
  terminationGracePeriodSeconds: {{ include "jeton.gracePeriod" $config }}
  containers:
    - name: jeton
      image: {{ include "jeton.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve]
      env:
        - name: JETON_CONFIG
          value: /etc/jeton/config/jeton.toml
        # For `kubectl exec … -- jeton …`. A certificate names the Service and no address.
        {{- if not (include "jeton.tls" .) }}
        - name: JETON_SERVER
          value: http://127.0.0.1:{{ include "jeton.grpcPort" . }}
        {{- else if include "jeton.certificateSecret" . }}
        - name: JETON_SERVER
          value: {{ include "jeton.server" . }}
        - name: JETON_CA_FILE
          value: /etc/jeton/tls/ca.crt
        {{- end }}
        {{- if and $embedded (not (hasKey $secrets "bootstrap.client_secret")) }}
        - name: JETON_CREDENTIALS
          value: /var/lib/jeton/bootstrap.json
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: grpc
          containerPort: {{ include "jeton.grpcPort" . }}
        {{- with include "jeton.httpPort" . }}
        - name: http
          containerPort: {{ . }}
        {{- end }}
        {{- with include "jeton.adminPort" . }}
        - name: admin
          containerPort: {{ . }}
        {{- end }}
      startupProbe:
        {{- include "jeton.probe" (list . "liveness" "/livez") | nindent 8 }}
        {{- toYaml .Values.probes.startup | nindent 8 }}
      readinessProbe:
        {{- include "jeton.probe" (list . "" "/readyz") | nindent 8 }}
        {{- toYaml .Values.probes.readiness | nindent 8 }}
      livenessProbe:
        {{- include "jeton.probe" (list . "liveness" "/livez") | nindent 8 }}
        {{- toYaml .Values.probes.liveness | nindent 8 }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: config
          mountPath: /etc/jeton/config
          readOnly: true
        {{- if $secrets }}
        - name: secrets
          mountPath: /etc/jeton/secrets
          readOnly: true
        {{- end }}
        {{- if include "jeton.certificateSecret" . }}
        - name: tls
          mountPath: /etc/jeton/tls
          readOnly: true
        {{- end }}
        {{- range $name, $_ := .Values.files }}
        - name: file-{{ $name }}
          mountPath: /etc/jeton/files/{{ $name }}
          readOnly: true
        {{- end }}
        {{- if $embedded }}
        - name: data
          mountPath: /var/lib/jeton
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "jeton.fullname" . }}
    {{- if $secrets }}
    - name: secrets
      projected:
        defaultMode: 0440
        sources:
          {{- range $path, $secret := $secrets }}
          - secret:
              name: {{ default (include "jeton.fullname" $) $secret.existingSecret }}
              items:
                - key: {{ default $path $secret.key }}
                  path: {{ $path }}
          {{- end }}
    {{- end }}
    {{- with include "jeton.certificateSecret" . }}
    - name: tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- range $name, $file := .Values.files }}
    - name: file-{{ $name }}
      {{- if $file.secret }}
      secret:
        secretName: {{ $file.secret }}
        defaultMode: 0440
      {{- else }}
      configMap:
        name: {{ $file.configMap }}
      {{- end }}
    {{- end }}
    {{- if $embedded }}
    {{- if not .Values.persistence.enabled }}
    - name: data
      emptyDir: {}
    {{- else if .Values.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim }}
    {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  {{- $own := dict "labelSelector" (dict "matchLabels" (include "jeton.podSelector" $ | fromYaml)) }}
  {{- $constraints := list }}
  {{- range . }}
  {{- $constraints = append $constraints (ternary . (merge (deepCopy .) $own) (hasKey . "labelSelector")) }}
  {{- end }}
  topologySpreadConstraints:
    {{- toYaml $constraints | nindent 4 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- /* Of the configuration. The defaults are jeton's own. */}}
{{- define "jeton.gracePeriod" -}}
{{- $delay := include "jeton.seconds" (dig "drain" "delay" "0s" .) | atoi -}}
{{- $timeout := include "jeton.seconds" (dig "drain" "timeout" "25s" .) | atoi -}}
{{- add $delay $timeout 10 -}}
{{- end }}

{{- /*
How Kubernetes asks, given the root, the service that gRPC health is asked for, and the path of the admin listener. The
kubelet speaks no TLS in gRPC probes and has no certificate to show: where callers need TLS it asks the admin listener.
*/}}
{{- define "jeton.probe" -}}
{{- if include "jeton.tls" (index . 0) -}}
httpGet:
  port: admin
  path: {{ index . 2 }}
  {{- if dig "admin" "tls" false (index . 0).Values.config }}
  scheme: HTTPS
  {{- end }}
{{- else -}}
grpc:
  port: {{ include "jeton.grpcPort" (index . 0) }}
  service: {{ index . 1 | quote }}
{{- end -}}
{{- end }}
