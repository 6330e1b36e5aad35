{{/* All take a dict: root is the chart's scope, name what the object is called, entry its values. */}}

{{- define "taskstream.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: taskstream
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "taskstream.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: taskstream
{{- end }}

{{/* What a pod may reach: the labels that the policies of the other side look for. */}}
{{- define "taskstream.uses" -}}
{{- range .uses }}
taskstream.io/uses-{{ . }}: "true"
{{- end }}
{{- end }}

{{- define "taskstream.image" -}}
{{- $image := .root.Values.image -}}
{{ .entry.image | default (printf "%s/%s:%s" $image.repository .name ($image.tag | default .root.Chart.AppVersion)) }}
{{- end }}

{{/* Settings are templates; of secrets only the place is known here. */}}
{{- define "taskstream.env" -}}
{{- range $setting, $value := .settings }}
- name: {{ $setting }}
  value: {{ tpl (toString $value) $.root | quote }}
{{- end }}
{{- range $optional, $settings := dict "" .secretSettings "optional" .optionalSecretSettings }}
{{- range $setting, $place := $settings }}
- name: {{ $setting }}
  valueFrom:
    secretKeyRef:
      name: {{ dir $place }}
      key: {{ base $place }}
      {{- if $optional }}
      optional: true
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "taskstream.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "taskstream.containerSecurity" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Sentences of a bad start go to the end of the log, where `kubectl describe` shows them. `command` is what follows
`taskstream`; `instead` is run in its place. */}}
{{- define "taskstream.cliPod" -}}
{{- $values := .root.Values -}}
serviceAccountName: taskstream-cli
{{ include "taskstream.podSecurity" .root }}
containers:
  - name: taskstream
    image: {{ include "taskstream.image" (dict "root" .root "name" "cli" "entry" $values.cli) }}
    command: {{ toJson (.instead | default (concat (list "python" "-m" "taskstream_cli") (.command | default list))) }}
    {{- include "taskstream.containerSecurity" .root | nindent 4 }}
    env:
      {{- include "taskstream.env" (dict
            "root" .root
            "settings" (merge dict (.settings | default dict) $values.cli.settings)
            "secretSettings" (merge dict (.secretSettings | default dict) $values.cli.secretSettings)
            "optionalSecretSettings" (merge dict (.optionalSecretSettings | default dict) $values.cli.optionalSecretSettings)
          ) | nindent 6 }}
    resources: {{ toYaml $values.cli.resources | nindent 6 }}
    {{- with .more }}
    {{- tpl (toYaml .) $.root | nindent 4 }}
    {{- end }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 16Mi}
{{- end }}
