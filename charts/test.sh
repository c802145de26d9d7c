#!/bin/bash
# Tests of the charts that need no cluster: what they render, and which values they refuse.
# Needs helm 3 or 4: in PATH, or named by HELM.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

helm=${HELM:-helm}
command -v "$helm" >/dev/null || { echo "charts/test.sh: there is no $helm; install it, or set HELM" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
rendered=$work/rendered
said=$work/said

fail() {
  echo "FAILED: $test: $*" >&2
  failures=$((failures + 1))
}

# render NAME ARGUMENTS: what the operator's chart comes to, as release `mainstay` in `ops`.
render() {
  test=$1
  shift
  : >"$rendered"
  "$helm" template mainstay mainstay --namespace ops "$@" >"$rendered" 2>"$said" || fail "does not render: $(<"$said")"
}

has() { grep -qE -- "$1" "$rendered" || fail "lacks: $1"; }
lacks() { ! grep -nE -- "$1" "$rendered" >"$said" || fail "has: $(<"$said")"; }
# count NUMBER PATTERN
count() { local n; n=$(grep -cE -- "$2" "$rendered") || true; [[ $n == "$1" ]] || fail "has $n times, not $1: $2"; }

# refused FRAGMENT ARGUMENTS: the values are refused, with a message that holds FRAGMENT.
refused() {
  local fragment=$1
  shift
  test="refuse $*"
  if "$helm" template mainstay mainstay --namespace ops "$@" >/dev/null 2>"$said"; then
    fail "was accepted"
  else
    grep -qF -- "$fragment" "$said" || fail "is refused, but without '$fragment': $(<"$said")"
  fi
}

for chart in mainstay mainstay-crds; do
  test="lint $chart"
  "$helm" lint --strict "$chart" >"$said" 2>&1 || fail "$(<"$said")"
done

render "defaults"
count 1 '^kind: Deployment$'
count 3 '^kind: Role$'
count 3 '^kind: RoleBinding$'
count 2 '^  namespace: kube-node-lease$'
# Volumes and nodes are in no namespace; nothing else is read outside of the watched ones.
count 1 '^kind: ClusterRole$'
count 1 '^kind: ClusterRoleBinding$'
count 3 '^  name: ops-mainstay-storage$'
lacks '^kind: (PodMonitor|CustomResourceDefinition)$'
has '^            - --namespace=ops$'
lacks '--all-namespaces'
has '^            - --leader-election-namespace=ops$'
version=$(sed -n 's/^appVersion: //p' mainstay/Chart.yaml)
has "^          image: mainstay/mainstay:$version\$"
has "^            - --agent-image=mainstay/mainstay:$version\$"
# What Pod Security asks of a pod under its restricted profile.
has '^        runAsNonRoot: true$'
has '^          type: RuntimeDefault$'
has '^            allowPrivilegeEscalation: false$'
has '^            readOnlyRootFilesystem: true$'
has '^              drop: \[ALL\]$'
lacks 'hostPath|hostNetwork|privileged:'
has '^              path: /healthz$'
has '^              path: /readyz$'

test="rights"
lacks '"\*"|\[\*\]|- \*'
lacks 'pods/(exec|portforward)|deletecollection|escalate|impersonate|bind'
# A Secret is never deleted, nor a cluster, nor a volume's copy.
has '^    resources: \[persistentvolumeclaims\]$'
lacks_delete() { ! grep -A1 -E "resources: .*$1" "$rendered" | grep -q 'verbs:.*delete' || fail "$1 may be deleted"; }
for resource in secrets services mysqlclusters volumesnapshots persistentvolumes; do
  lacks_delete "$resource"
done
# Each rule of a role has its reason above it.
test="reasons of the rules"
awk '/^kind:/ { role = $2 ~ /Role$/ } role && /^ *- apiGroups:/ && previous !~ /^ *#/ { print; bad = 1 } { previous = $0 } END { exit bad }' "$rendered" >"$said" ||
  fail "no reason above: $(<"$said")"

render "namespaces" --set 'watchNamespaces={shop,blog}'
count 4 '^kind: Role$'
count 4 '^kind: RoleBinding$'
count 2 '^  namespace: shop$'
count 2 '^  namespace: blog$'
has '^            - --namespace=shop$'
has '^            - --namespace=blog$'
lacks '--namespace=ops$'
count 1 '^kind: ClusterRole$'

render "no rights outside of namespaces" --set storage.clusterRole=false
lacks '^kind: (Cluster|FlowSchema)'
lacks 'persistentvolumes\]|\[nodes\]|kube-node-lease'

test="rights on volumes and nodes"
render "the storage role" --show-only templates/rbac-storage.yaml
lacks 'verbs: .*(create|update|delete)'
count 1 'verbs: .*patch'
render "the storage role with taints" --show-only templates/rbac-storage.yaml --set storage.taintNodes=true
count 2 'verbs: .*patch'

render "all namespaces" --set clusterWide=true
count 2 '^kind: ClusterRole$'
count 2 '^kind: ClusterRoleBinding$'
count 2 '^kind: Role$'
has '^  name: ops-mainstay$'
has '^            - --all-namespaces$'
lacks '- --namespace='

render "deletion protection" --set clusterWide=true
count 2 '^kind: ValidatingAdmissionPolicy$'
count 2 '^kind: ValidatingAdmissionPolicyBinding$'
has 'operations: \[DELETE\]'
lacks 'matchConditions'
render "no deletion protection" --set clusterWide=true --set admission.deletionProtection=false
lacks '^kind: ValidatingAdmissionPolicy'
# The oldest Kubernetes that the chart names has no such policies; every other API that is rendered is there.
oldest=$(sed -n 's/^kubeVersion: ">= \(.*\)-0"$/\1/p' mainstay/Chart.yaml)
render "the oldest Kubernetes" --set clusterWide=true --set metrics.podMonitor.enabled=true --kube-version "$oldest"
lacks '^kind: ValidatingAdmissionPolicy'
others=$(grep -E '^apiVersion:' "$rendered" | sort -u | tr '\n' ' ')
[[ $others == "apiVersion: apps/v1 apiVersion: flowcontrol.apiserver.k8s.io/v1 apiVersion: monitoring.coreos.com/v1 apiVersion: rbac.authorization.k8s.io/v1 apiVersion: v1 " ]] ||
  fail "other APIs than were looked up for Kubernetes $oldest: $others"
render "Kubernetes 1.30" --set clusterWide=true --kube-version 1.30.0
count 2 '^kind: ValidatingAdmissionPolicy$'

render "the election's priority"
count 1 '^kind: FlowSchema$'
has '^    name: leader-election$'
render "no priority for the election" --set election.flowSchema=false
lacks '^kind: FlowSchema'
refused 'flowSchema' --set-string election.flowSchema=true

render "both families of addresses"
has '^            - --listen=\[::\]:8080$'

refused 'deletionProtection' --set-string admission.deletionProtection=true

render "an image of one's own" --set image.repository=registry.example.com/m --set-string image.tag=7
has '^          image: registry.example.com/m:7$'
has '^            - --agent-image=registry.example.com/m:7$'
render "an image by digest" --set "image.digest=sha256:$(printf '0%.0s' {1..64})"
has '^          image: mainstay/mainstay@sha256:0{64}$'
render "another image for the agent" --set agentImage=registry.example.com/agent:1
has '^            - --agent-image=registry.example.com/agent:1$'

render "placement and metadata" --set replicas=2 --set priorityClassName=high --set-string podAnnotations.a=1 \
  --set podLabels.team=db --set nodeSelector.disk=fast --set 'imagePullSecrets[0].name=pull' \
  --set 'tolerations[0].operator=Exists' --set 'serviceAccount.annotations.b=c'
has '^  replicas: 2$'
has '^      priorityClassName: high$'
has '^        a: "1"$'
has '^        team: db$'
has '^        disk: fast$'
has '^        - name: pull$'
has '^        - operator: Exists$'
has '^    b: c$'

render "a monitor" --set metrics.podMonitor.enabled=true --set metrics.podMonitor.labels.release=prometheus
count 1 '^kind: PodMonitor$'
has '^    release: prometheus$'

refused 'watchNamespaces and clusterWide exclude each other' --set clusterWide=true --set 'watchNamespaces={shop}'
refused 'replica' --set replica=2
refused 'replicas' --set replicas=many
refused 'replicas' --set replicas=-1
refused 'clusterWide' --set-string clusterWide=true
refused 'watchNamespaces' --set watchNamespaces=shop
refused 'watchNamespaces' --set 'watchNamespaces={Shop}'
refused 'logFormat' --set logFormat=xml
refused 'pullPolicy' --set image.pullPolicy=Sometimes
refused 'repository' --set image.repository=
refused 'digest' --set image.digest=abc
refused 'storage' --set-string storage.clusterRole=true
refused 'concurrency' --set concurrency=0
refused 'interval' --set metrics.podMonitor.interval=often

test="the resource definition"
"$helm" template crds mainstay-crds >"$rendered" 2>"$said" || fail "does not render: $(<"$said")"
count 1 '^kind: CustomResourceDefinition$'
has '^    helm.sh/resource-policy: keep$'
has '^  name: mysqlclusters.mysql.mainstay.dev$'
test="values for the resource definition"
! "$helm" template crds mainstay-crds --set x=y >/dev/null 2>&1 || fail "there are none, but one was accepted"

test="versions"
workspace=$(sed -n 's/^version = "\(.*\)"/\1/p' ../Cargo.toml | head -n 1)
for chart in mainstay mainstay-crds; do
  for field in version appVersion; do
    [[ $(sed -n "s/^$field: //p" "$chart/Chart.yaml") == "$workspace" ]] || fail "$chart: $field is not $workspace"
  done
done

((failures == 0)) || { echo "charts: $failures failures" >&2; exit 1; }
echo "charts: ok"
