{{- define "multus.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "multus.labels" -}}
app.kubernetes.io/name: multus-python
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "multus.settings" -}}
{{- $own := dict "chrootDir" "/host" "cniDir" "/var/lib/cni/multus" -}}
{{- $_ := set $own "kubeconfig" (printf "%s/multus.d/multus.kubeconfig" .Values.paths.netD) -}}
{{ merge (dict) .Values.daemon $own | toPrettyJson }}
{{- end }}

{{- define "multus.keys" -}}
{{ .Values.configuration | toPrettyJson }}
{{- end }}

{{- define "multus.folders" -}}
{{- if ne .Values.paths.netD "/etc/cni/net.d" }}, --net-d, {{ .Values.paths.netD }}{{ end }}
{{- if ne .Values.paths.binDir "/opt/cni/bin" }}, --bin-dir, {{ .Values.paths.binDir }}{{ end }}
{{- end }}
