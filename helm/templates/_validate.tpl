{{- /*
Rules between values, which a schema cannot express. All mistakes are reported at once.
*/}}
{{- define "jeton.validate" -}}
{{- $v := .Values -}}
{{- $config := $v.config -}}
{{- $secrets := include "jeton.secrets" . | fromJson -}}
{{- $tls := include "jeton.tls" . -}}
{{- $grpc := include "jeton.grpcPort" . -}}
{{- $http := include "jeton.httpPort" . -}}
{{- $admin := include "jeton.adminPort" . -}}
{{- $wrong := list -}}

{{- if eq $config.store "embedded" -}}
  {{- if gt (int $v.replicaCount) 1 -}}
    {{- $wrong = append $wrong "replicaCount: the embedded store serves one pod; set config.store to redis for more" -}}
  {{- end -}}
  {{- if $v.autoscaling.enabled -}}
    {{- $wrong = append $wrong "autoscaling.enabled: the embedded store serves one pod; set config.store to redis for more" -}}
  {{- end -}}
  {{- if hasKey $secrets "redis.url" -}}
    {{- $wrong = append $wrong "secrets.redis.url: has no effect with the embedded store; set config.store to redis, too" -}}
  {{- end -}}
{{- else -}}
  {{- range list "redis.url" "master_key" -}}
    {{- if not (hasKey $secrets .) -}}
      {{- $wrong = append $wrong (printf "secrets.%s: config.store redis requires it" .) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}

{{- range $path, $secret := $secrets -}}
  {{- if and $secret.existingSecret $secret.value -}}
    {{- $wrong = append $wrong (printf "secrets.%s: has existingSecret and value; give one of the two" $path) -}}
  {{- else if not (or $secret.existingSecret $secret.value) -}}
    {{- $wrong = append $wrong (printf "secrets.%s: give existingSecret, or value while you try things out" $path) -}}
  {{- else if and $secret.value $secret.key -}}
    {{- $wrong = append $wrong (printf "secrets.%s.key: belongs to existingSecret" $path) -}}
  {{- end -}}
{{- end -}}
{{- $id := dig "bootstrap" "client_id" "" $config -}}
{{- if ne (empty $id) (not (hasKey $secrets "bootstrap.client_secret")) -}}
  {{- $wrong = append $wrong "config.bootstrap.client_id, secrets.bootstrap.client_secret: set both or neither" -}}
{{- end -}}
{{- $webhook := dig "webhook" "url" "" $config -}}
{{- if ne (hasKey $secrets "webhook.secret") (and (ne $webhook "") (ne $webhook "log:")) -}}
  {{- $wrong = append $wrong "config.webhook.url, secrets.webhook.secret: a URL requires a secret that signs the events, and the secret requires a URL" -}}
{{- end -}}
{{- if and (hasKey $secrets "otlp.headers") (not (dig "otlp" "endpoint" "" $config)) -}}
  {{- $wrong = append $wrong "secrets.otlp.headers: requires config.otlp.endpoint" -}}
{{- end -}}

{{- range $path, $addresses := dict "listen" $config.listen "http.listen" (dig "http" "listen" list $config) "admin.listen" (dig "admin" "listen" list $config) -}}
  {{- $reached := not $addresses -}}
  {{- $first := true -}}
  {{- range $addresses -}}
    {{- if and (not (hasPrefix "unix:" .)) $first -}}
      {{- $first = false -}}
      {{- $host := trimSuffix (regexFind ":[0-9]+$" .) . -}}
      {{- $port := regexFind "[0-9]+$" . | atoi -}}
      {{- $reached = not (or (hasPrefix "127." $host) (has $host (list "localhost" "[::1]"))) -}}
      {{- if or (eq $port 0) (gt $port 65535) -}}
        {{- $wrong = append $wrong (printf "config.%s: %s has no port that a Service can name" $path .) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- if not $reached -}}
    {{- $wrong = append $wrong (printf "config.%s: its first host:port is what the pod is reached at, from outside of it; write 0.0.0.0:PORT or [::]:PORT" $path) -}}
  {{- end -}}
{{- end -}}
{{- if or (eq $grpc $http) (eq $grpc $admin) (and $http (eq $http $admin)) -}}
  {{- $wrong = append $wrong "config.listen, config.http.listen, config.admin.listen: each requires a port of its own" -}}
{{- end -}}

{{- $cert := $v.certificate -}}
{{- if and $cert.existingSecret $cert.certManager.enabled -}}
  {{- $wrong = append $wrong "certificate: has existingSecret and certManager; use one of the two" -}}
{{- end -}}
{{- if and $cert.certManager.enabled (not $cert.certManager.issuerRef.name) -}}
  {{- $wrong = append $wrong "certificate.certManager.issuerRef.name: names no issuer" -}}
{{- end -}}
{{- if and (include "jeton.certificateSecret" .) (or (dig "tls" "cert_file" "" $config) (dig "tls" "key_file" "" $config)) -}}
  {{- $wrong = append $wrong "config.tls.cert_file, config.tls.key_file: the chart sets them for `certificate`; use one of the two" -}}
{{- end -}}
{{- range list "tls" "redis" -}}
  {{- if ne (empty (dig . "cert_file" "" $config)) (empty (dig . "key_file" "" $config)) -}}
    {{- $wrong = append $wrong (printf "config.%s.cert_file, config.%s.key_file: set both or neither" . .) -}}
  {{- end -}}
{{- end -}}
{{- $asks := ne (dig "tls" "client_auth" "off" $config) "off" -}}
{{- if and $asks (not $tls) -}}
  {{- $wrong = append $wrong "config.tls.client_auth: callers show certificates only to a service that has one; see certificate" -}}
{{- end -}}
{{- if and (not $asks) (dig "tls" "client_ca_file" "" $config) -}}
  {{- $wrong = append $wrong "config.tls.client_ca_file: has no effect while config.tls.client_auth is off" -}}
{{- end -}}
{{- if and $asks (not (include "jeton.certificateSecret" .)) (not (dig "tls" "client_ca_file" "" $config)) -}}
  {{- $wrong = append $wrong "config.tls.client_ca_file: config.tls.client_auth requires it" -}}
{{- end -}}
{{- if and (dig "admin" "tls" false $config) (not $tls) -}}
  {{- $wrong = append $wrong "config.admin.tls: requires a certificate" -}}
{{- end -}}
{{- if and $tls (not $admin) -}}
  {{- $wrong = append $wrong "config.admin.listen: with TLS, probes have nothing else to ask" -}}
{{- end -}}

{{- range $name, $file := $v.files -}}
  {{- if eq (empty $file.secret) (empty $file.configMap) -}}
    {{- $wrong = append $wrong (printf "files.%s: give secret or configMap" $name) -}}
  {{- end -}}
{{- end -}}
{{- range $v.extraEnv -}}
  {{- if hasPrefix "JETON_" .name -}}
    {{- $wrong = append $wrong (printf "extraEnv: %s would beat the configuration unseen; use config or secrets" .name) -}}
  {{- end -}}
{{- end -}}

{{- if $v.autoscaling.enabled -}}
  {{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
    {{- $wrong = append $wrong "autoscaling.minReplicas: is above maxReplicas" -}}
  {{- end -}}
  {{- if not (or $v.autoscaling.targetCPUUtilizationPercentage $v.autoscaling.metrics) -}}
    {{- $wrong = append $wrong "autoscaling: requires targetCPUUtilizationPercentage or metrics" -}}
  {{- end -}}
{{- end -}}
{{- if and $v.podDisruptionBudget.enabled (eq (kindIs "invalid" $v.podDisruptionBudget.minAvailable) (kindIs "invalid" $v.podDisruptionBudget.maxUnavailable)) -}}
  {{- $wrong = append $wrong "podDisruptionBudget: give one of minAvailable and maxUnavailable, and set the other to null" -}}
{{- end -}}
{{- if $v.serviceMonitor.enabled -}}
  {{- if not $admin -}}
    {{- $wrong = append $wrong "serviceMonitor.enabled: metrics want config.admin.listen" -}}
  {{- else if and $v.networkPolicy.enabled (not $v.networkPolicy.ingress.admin) -}}
    {{- $wrong = append $wrong "serviceMonitor.enabled: name Prometheus in networkPolicy.ingress.admin, which lets nobody in" -}}
  {{- end -}}
{{- end -}}
{{- range $name, $on := dict "ingress" $v.ingress.enabled "httpRoute" $v.httpRoute.enabled -}}
  {{- if and $on (not $http) -}}
    {{- $wrong = append $wrong (printf "%s.enabled: requires config.http.listen" $name) -}}
  {{- end -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
  {{- $wrong = append $wrong "ingress.hosts: names no host" -}}
{{- end -}}
{{- range $name, $route := dict "httpRoute" $v.httpRoute "grpcRoute" $v.grpcRoute -}}
  {{- if and $route.enabled (not $route.parentRefs) -}}
    {{- $wrong = append $wrong (printf "%s.parentRefs: names no gateway" $name) -}}
  {{- end -}}
{{- end -}}

{{- with $wrong -}}
{{- fail (printf "the values do not go together:\n  - %s" (join "\n  - " .)) -}}
{{- end -}}
{{- end }}
