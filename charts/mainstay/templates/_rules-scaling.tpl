{{/* What scaling, switching over and deleting a cluster take, where the clusters are. */}}
{{- define "mainstay.rulesScaling" -}}
# spec.storage.retention: a claim that nobody uses is deleted where the spec says so, after another instance was seen
# to hold all of its transactions. `create` keeps a volume that can't be used as it is under a claim of another name.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [create, delete]
# The retention policy Snapshot: taken, waited for, never deleted.
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshots]
  verbs: [get, create]
# Finalizers, put on a cluster whose deletion has something to be done first, and taken off when it is done.
- apiGroups: [mysql.mainstay.dev]
  resources: [mysqlclusters]
  verbs: [patch]
# A cluster that is deleted with its claims: the pods go before the volumes do.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [delete]
{{- end -}}
