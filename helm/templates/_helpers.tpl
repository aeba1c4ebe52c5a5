{{- define "jeton.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- /* Short enough for the longest suffix, `-headless`. */}}
{{- define "jeton.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- end }}

{{- define "jeton.selectorLabels" -}}
app.kubernetes.io/name: {{ include "jeton.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "jeton.labels" -}}
{{ include "jeton.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: jeton
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* What the pods of the service have and the pod of `helm test` has not. */}}
{{- define "jeton.podSelector" -}}
{{ include "jeton.selectorLabels" . }}
app.kubernetes.io/component: server
{{- end }}

{{- define "jeton.serviceAccountName" -}}
{{- $own := ternary (include "jeton.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $own .Values.serviceAccount.name -}}
{{- end }}

{{- define "jeton.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end }}

{{- /* The Secret with the certificate that the service shows; empty: none of ours. */}}
{{- define "jeton.certificateSecret" -}}
{{- if .Values.certificate.certManager.enabled -}}
{{ include "jeton.fullname" . }}-tls
{{- else -}}
{{ .Values.certificate.existingSecret }}
{{- end -}}
{{- end }}

{{- /* Whether callers must speak TLS; empty: no. */}}
{{- define "jeton.tls" -}}
{{- if or (include "jeton.certificateSecret" .) (dig "tls" "cert_file" "" .Values.config) -}}yes{{- end -}}
{{- end }}

{{- /*
Whether `helm test` can call: without a certificate of its own, and knowing who certified the service. Empty: no.
*/}}
{{- define "jeton.isTestable" -}}
{{- $trusts := or (not (include "jeton.tls" .)) (include "jeton.certificateSecret" .) -}}
{{- if and $trusts (ne (dig "tls" "client_auth" "off" .Values.config) "required") -}}yes{{- end -}}
{{- end }}

{{- /* The port of the first TCP address of a list; empty: there is none. */}}
{{- define "jeton.port" -}}
{{- range . -}}
{{- if not (hasPrefix "unix:" .) -}}{{ regexFind "[0-9]+$" . }}{{- break -}}{{- end -}}
{{- end -}}
{{- end }}
{{- define "jeton.grpcPort" -}}{{ include "jeton.port" .Values.config.listen }}{{- end }}
{{- define "jeton.httpPort" -}}{{ include "jeton.port" (dig "http" "listen" list .Values.config) }}{{- end }}
{{- define "jeton.adminPort" -}}{{ include "jeton.port" (dig "admin" "listen" list .Values.config) }}{{- end }}
{{- define "jeton.grpcServicePort" -}}{{ default (include "jeton.grpcPort" .) .Values.service.port.grpc }}{{- end }}
{{- define "jeton.httpServicePort" -}}{{ default (include "jeton.httpPort" .) .Values.service.port.http }}{{- end }}

{{- /* A duration of the configuration in whole seconds, rounded up. */}}
{{- define "jeton.seconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- $millis := 0 -}}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 -}}
{{- $millis = add $millis (mul (regexFind "[0-9]+" . | atoi) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- div (add $millis 999) 1000 -}}
{{- end }}

{{- /* Secrets of the configuration that were given, as JSON, by key: {"redis.url": {"existingSecret": …}}. */}}
{{- define "jeton.secrets" -}}
{{- $found := dict -}}
{{- range $name, $at := .Values.secrets -}}
{{- if or (hasKey $at "existingSecret") (hasKey $at "key") (hasKey $at "value") -}}
{{- $_ := set $found $name $at -}}
{{- else -}}
{{- range $leaf, $secret := $at -}}{{- $_ := set $found (printf "%s.%s" $name $leaf) $secret -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end }}

{{- /* Those that the chart puts into a Secret of its own: texts by key. */}}
{{- define "jeton.generatedSecrets" -}}
{{- $values := dict -}}
{{- range $path, $secret := include "jeton.secrets" . | fromJson -}}
{{- with $secret.value -}}{{- $_ := set $values $path . -}}{{- end -}}
{{- end -}}
{{- toJson $values -}}
{{- end }}

{{- /* Where gRPC is served, by a name that the certificate has. */}}
{{- define "jeton.server" -}}
{{- $scheme := ternary "https" "http" (eq (include "jeton.tls" .) "yes") -}}
{{ $scheme }}://{{ include "jeton.fullname" . }}.{{ .Release.Namespace }}.svc:{{ include "jeton.grpcServicePort" . }}
{{- end }}

{{- define "jeton.publicUrl" -}}
{{- $scheme := ternary "https" "http" (eq (include "jeton.tls" .) "yes") -}}
{{- $port := default (include "jeton.grpcServicePort" .) (include "jeton.httpServicePort" .) -}}
{{ $scheme }}://{{ include "jeton.fullname" . }}.{{ .Release.Namespace }}.svc:{{ $port }}
{{- end }}

{{- /* The whole configuration as JSON: what the values say, and what follows from them. */}}
{{- define "jeton.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $derived := dict "public_url" (include "jeton.publicUrl" .) -}}
{{- if eq .Values.config.store "embedded" -}}
{{- $_ := set $derived "data_dir" "/var/lib/jeton" -}}
{{- end -}}
{{- if include "jeton.certificateSecret" . -}}
{{- $tls := dict "cert_file" "/etc/jeton/tls/tls.crt" "key_file" "/etc/jeton/tls/tls.key" -}}
{{- if ne (dig "tls" "client_auth" "off" $config) "off" -}}
{{- $_ := set $tls "client_ca_file" "/etc/jeton/tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $derived "tls" $tls -}}
{{- end -}}
{{- range $path, $_ := include "jeton.secrets" . | fromJson -}}
{{- $parts := splitList "." $path -}}
{{- $file := printf "/etc/jeton/secrets/%s" $path -}}
{{- if eq (len $parts) 1 -}}
{{- $_ := set $derived (printf "%s_file" $path) $file -}}
{{- else -}}
{{- $table := default dict (get $derived (first $parts)) -}}
{{- $_ := set $table (printf "%s_file" (last $parts)) $file -}}
{{- $_ := set $derived (first $parts) $table -}}
{{- end -}}
{{- end -}}
{{- /* What the values say wins. */ -}}
{{- merge $config $derived | toJson -}}
{{- end }}

{{- /* The same as TOML. Every text and list of JSON is one of TOML, too. */}}
{{- define "jeton.toml" -}}
{{- $config := include "jeton.config" . | fromJson -}}
{{- range $name, $value := $config -}}
{{- if not (kindIs "map" $value) }}
{{ $name }} = {{ toJson $value }}
{{- end -}}
{{- end -}}
{{- range $table, $values := $config -}}
{{- if and (kindIs "map" $values) $values }}

[{{ $table }}]
{{- range $name, $value := $values }}
{{ $name }} = {{ toJson $value }}
{{- end -}}
{{- end -}}
{{- end }}
{{ end }}
