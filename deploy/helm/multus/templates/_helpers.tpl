{{- define "multus.image" -}}
{{- $text := "image.repository is missing: name the image with its registry, such as registry.example/multus" -}}
{{- $repository := required $text .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "multus.kubeVersion" -}}
{{ .Capabilities.KubeVersion.Version }}
{{- end }}

{{- define "multus.labels" -}}
app.kubernetes.io/name: multus-python
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "multus.settings" -}}
{{- $own := dict "chrootDir" "/host" "cniDir" "/var/lib/cni/multus" -}}
{{- $_ := set $own "kubeconfig" (printf "%s/multus.d/multus.kubeconfig" .Values.paths.netD) -}}
{{- if .Values.metrics.enabled -}}
{{- $_ := set $own "metricsAddress" .Values.metrics.address -}}
{{- $_ := set $own "metricsPort" (int .Values.metrics.port) -}}
{{- end -}}
{{ merge (dict) .Values.daemon $own | toPrettyJson }}
{{- end }}

{{- define "multus.keys" -}}
{{- $keys := deepCopy .Values.configuration -}}
{{- if not .Values.whereabouts.enabled -}}
{{- /* Without rights, it would refuse pods that the binary can serve. */ -}}
{{- $_ := set $keys "blockedPlugins" (append ($keys.blockedPlugins | default list) "ipam-whereabouts" | uniq) -}}
{{- end -}}
{{ $keys | toPrettyJson }}
{{- end }}

{{- define "multus.folders" -}}
{{- if ne .Values.paths.netD "/etc/cni/net.d" }}, --net-d, {{ .Values.paths.netD }}{{ end }}
{{- if ne .Values.paths.binDir "/opt/cni/bin" }}, --bin-dir, {{ .Values.paths.binDir }}{{ end }}
{{- end }}

{{- /* Where the pods of a DaemonSet run: the same nodes for installing and uninstalling. */ -}}
{{- define "multus.nodes" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
