{{- define "mainstay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "mainstay.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "mainstay.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "mainstay.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A cluster-wide object's name has the namespace in it: two releases of one name don't share their rights. */}}
{{- define "mainstay.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "mainstay.fullname" .) -}}
{{- end -}}

{{- define "mainstay.selector" -}}
app.kubernetes.io/name: {{ include "mainstay.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mainstay.labels" -}}
{{ include "mainstay.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "mainstay.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces that get a Role, one a line. */}}
{{- define "mainstay.namespaces" -}}
{{- join "\n" (default (list .Release.Namespace) .Values.watchNamespaces | uniq | sortAlpha) -}}
{{- end -}}

{{/* What the operator may do where its clusters are. */}}
{{- define "mainstay.rules" -}}
# What is wanted. The operator never changes a MySQLCluster's spec.
- apiGroups: [mysql.mainstay.dev]
  resources: [mysqlclusters]
  verbs: [get, list, watch]
# What it found and what it recorded. `update` writes the record with its resourceVersion, so that two can't.
- apiGroups: [mysql.mainstay.dev]
  resources: [mysqlclusters/status]
  verbs: [get, patch, update]
# Children name their cluster as owner and block its removal; some API servers ask for this right then.
- apiGroups: [mysql.mainstay.dev]
  resources: [mysqlclusters/finalizers]
  verbs: [update]
# The instances. Server-side apply is `create` the first time and `patch` afterwards. `delete` only to replace one whose
# claims are to grow, which can't be changed in place; its pods stay and are taken up by the next.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
# Names for clients, configuration, and the pods' account, which can do nothing. Applied; they go with their
# owner.
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch]
# A configuration belongs to a template: removed once no pod mounts it.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [delete]
# The template that was proven last is in the StatefulSet's history: it is put back while another is tried.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list]
# Passwords and certificates, which the operator makes. RBAC can't bound `list` and `watch` by label, so this reads
# every Secret of the namespace; the operator asks for its own by label, and for the metadata of those only.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch]
# Where the data is. `patch` writes on a claim whose data is on it, and what, and lets it grow. `delete` only as
# spec.storage.retention says, and where spec.storage.local.replaceAfter replaces a volume that no node can mount.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, patch, delete]
# Roles are labels on pods, and a pod is deleted to replace it. The StatefulSet makes them. `create` only in dry runs:
# whether quota, admission and Pod Security take a pod is asked before any is replaced for a change.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
# Drains take one instance at a time. Deleted where a cluster is scaled to one instance, which has none.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Why a claim is not bound, or a pod's volume not mounted: the provisioner's and the kubelet's own words. Read only
# while one is in trouble.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
# What happened, for `kubectl describe`. `patch` counts an event that is repeated.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
