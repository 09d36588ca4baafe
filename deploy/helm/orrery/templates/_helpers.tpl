{{/* The image of a name in `images`: (list . "control"). */}}
{{- define "orrery.image" }}
{{- $root := index . 0 }}
{{- $image := index $root.Values.images (index . 1) }}
{{- $tag := $image.tag | default $root.Chart.AppVersion }}
{{- $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{/* The host name of `publicUrl`. */}}
{{- define "orrery.host" }}
{{- $url := required "publicUrl is empty: the Gateway or Ingress needs its host name; set publicUrl" .Values.publicUrl }}
{{- (urlParse $url).hostname }}
{{- end }}
