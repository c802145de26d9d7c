//! Names, labels and annotations: every string that more than one part must agree on.

/// The API group.
pub const GROUP: &str = "mysql.mainstay.dev";
/// Most instances that a cluster can have; ordinals are `0..MAX_REPLICAS`.
pub const MAX_REPLICAS: u32 = 9;

/// Label: name of the cluster that an object belongs to. All watches of children select on its presence.
pub const LABEL_CLUSTER: &str = "mysql.mainstay.dev/cluster";
/// Label: the role of an instance's pod, `primary` or `replica`. Only the operator sets it.
pub const LABEL_ROLE: &str = "mysql.mainstay.dev/role";
/// Label: the cluster's id. On a claim it says that the data directory on it was complete once.
pub const LABEL_CLUSTER_ID: &str = "mysql.mainstay.dev/cluster-id";
/// Label: the ordinal of the instance that a claim or volume belongs to.
pub const LABEL_ORDINAL: &str = "mysql.mainstay.dev/ordinal";
/// Annotation on a pod template, and on the StatefulSet that holds it: hash of all that needs a new pod when it changes.
pub const ANNOTATION_TEMPLATE_HASH: &str = "mysql.mainstay.dev/template-hash";
/// Annotation on a StatefulSet: hash of all of its template, with what a release of the operator decides.
pub const ANNOTATION_TEMPLATE_CONTENT: &str = "mysql.mainstay.dev/template-content";
/// Annotation on a pod template: the option files of the ConfigMap that it mounts, in JSON, so that this can be made again
/// for as long as the StatefulSet's history has the template.
pub const ANNOTATION_CONFIG: &str = "mysql.mainstay.dev/config";
/// Annotation on a child: digest of what was applied last, so that an operator that begins can tell what differs.
pub const ANNOTATION_APPLIED: &str = "mysql.mainstay.dev/applied-hash";
/// Annotation on a `MySQLCluster`: a person asks that this pod lead, or `any` other than the one that does.
pub const ANNOTATION_SWITCHOVER_TO: &str = "mysql.mainstay.dev/switchover-to";
/// Value of [`ANNOTATION_SWITCHOVER_TO`] that leaves the choice to the operator.
pub const SWITCHOVER_TO_ANY: &str = "any";
/// Label on a claim: the ordinal of the instance whose volume it keeps, without being that instance's claim.
pub const LABEL_ASIDE: &str = "mysql.mainstay.dev/aside";
/// Annotation on a volume: the reclaim policy that it had before it was to be kept.
pub const ANNOTATION_FORMER_POLICY: &str = "mysql.mainstay.dev/former-reclaim-policy";
/// Annotation on a volume that is set aside: the UID of the claim that it was taken from. With another claim it says
/// nothing any more.
pub const ANNOTATION_ASIDE_OF: &str = "mysql.mainstay.dev/aside-of";
/// Annotation on a claim or volume: the GTID set, executed and received, that its instance held when it left.
pub const ANNOTATION_GTID_SET: &str = "mysql.mainstay.dev/gtid-set";
/// Annotation on a claim or volume: since when it is kept without an instance, in RFC 3339.
pub const ANNOTATION_KEPT_SINCE: &str = "mysql.mainstay.dev/kept-since";
/// Annotation on a claim: UID of the pod that its instance left with. It tells one leave from the next.
pub const ANNOTATION_LEFT_POD: &str = "mysql.mainstay.dev/left-pod";
/// Annotation on a claim that is kept without an instance: the ledger's entry of that, as in
/// `status.instances[].ledger`, in JSON. What comes back is held against it.
pub const ANNOTATION_LEDGER: &str = "mysql.mainstay.dev/ledger";
/// Annotation on a claim: the name of its VolumeSnapshot that is ready to use.
pub const ANNOTATION_SNAPSHOT: &str = "mysql.mainstay.dev/snapshot-ready";
/// Finalizer of a cluster whose claims are deleted or copied when it is deleted.
pub const FINALIZER_RETENTION: &str = "mysql.mainstay.dev/retention";
/// Finalizer of a cluster whose `spec.deletionProtection` is set.
pub const FINALIZER_PROTECTION: &str = "mysql.mainstay.dev/deletion-protection";
/// Label on a namespace, set by a person to `true`: the chart's admission policy refuses its deletion.
pub const LABEL_PROTECTED: &str = "mysql.mainstay.dev/deletion-protection";
/// Annotation on a `MySQLCluster`: a person asks that this volume, which was kept, be given back to its ordinal.
pub const ANNOTATION_GIVE_BACK: &str = "mysql.mainstay.dev/give-back";
/// Annotation on a `MySQLCluster`: a person asks that an instance lead with what it holds, because the primary's data is
/// gone. The value is the one that the condition `Blocked` spells out: a pod, and what ties the request to what would be
/// lost.
pub const ANNOTATION_LEAD_FROM: &str = "mysql.mainstay.dev/lead-from";
/// Value of [`LABEL_ROLE`] on the primary.
pub const ROLE_PRIMARY: &str = "primary";
/// Value of [`LABEL_ROLE`] on a replica that is in time.
pub const ROLE_REPLICA: &str = "replica";

/// Field manager of the children.
pub const MANAGER_CLUSTER: &str = "mainstay/cluster";
/// Field manager of `status`.
pub const MANAGER_STATUS: &str = "mainstay/status";
/// Field manager of role labels on pods.
pub const MANAGER_ROLE: &str = "mainstay/role";

/// What is appended to a cluster's name for the names of its children, by kind, where a kind has several. Two clusters
/// can want one name only where one of these is the end of another: `x-read` wants the Service that `x` reads from.
const SUFFIXES: [(&str, &[&str]); 2] =
    [("Service", &["", "-primary", "-read"]), ("Secret", &["-credentials", "-ca", "-tls", "-operator-tls"])];

/// Names of a cluster's children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The cluster's name.
    pub cluster: String,
    /// The namespace of it and of all its children.
    pub namespace: String,
}

impl Names {
    /// Names for the cluster `cluster` in `namespace`.
    pub fn new(namespace: impl Into<String>, cluster: impl Into<String>) -> Self {
        Names { cluster: cluster.into(), namespace: namespace.into() }
    }
    /// The StatefulSet, the headless Service and the ServiceAccount.
    pub fn base(&self) -> String {
        self.cluster.clone()
    }
    /// The Service that selects the primary.
    pub fn primary_service(&self) -> String {
        format!("{}-primary", self.cluster)
    }
    /// The Service that selects replicas that are in time.
    pub fn read_service(&self) -> String {
        format!("{}-read", self.cluster)
    }
    /// The ConfigMap with `common.cnf`, `primary.cnf` and `replica.cnf` of this hash.
    pub fn config_map(&self, hash: &str) -> String {
        format!("{}-config-{hash}", self.cluster)
    }
    /// The one ConfigMap of that kind which operators up to 0.1 made; pods that they made mount it.
    pub fn old_config_map(&self) -> String {
        format!("{}-config", self.cluster)
    }
    /// Whether a name is one that [`Names::config_map`] gives.
    pub fn is_config_map(&self, name: &str) -> bool {
        let hash = name.strip_prefix(self.cluster.as_str()).and_then(|rest| rest.strip_prefix("-config-"));
        hash.is_some_and(|hash| hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
    }
    /// The Secret with the passwords.
    pub fn credentials_secret(&self) -> String {
        format!("{}-credentials", self.cluster)
    }
    /// The ConfigMap with the authority's certificate alone (`ca.crt`), for clients.
    pub fn ca_config_map(&self) -> String {
        format!("{}-ca", self.cluster)
    }
    /// The Secret with the certificate authority (`tls.crt`, `tls.key`); never mounted in a pod.
    pub fn ca_secret(&self) -> String {
        format!("{}-ca", self.cluster)
    }
    /// The Secret with the instances' certificate (`ca.crt`, `tls.crt`, `tls.key`), mounted in every pod.
    pub fn tls_secret(&self) -> String {
        format!("{}-tls", self.cluster)
    }
    /// The Secret with the operator's client certificate (`ca.crt`, `tls.crt`, `tls.key`).
    pub fn operator_tls_secret(&self) -> String {
        format!("{}-operator-tls", self.cluster)
    }
    /// The PodDisruptionBudget of the primary.
    pub fn primary_pdb(&self) -> String {
        format!("{}-primary", self.cluster)
    }
    /// The PodDisruptionBudget of the replicas.
    pub fn replica_pdb(&self) -> String {
        format!("{}-replica", self.cluster)
    }
    /// The names of clusters that would have a child of the same kind and name as this one, with that child.
    pub fn rivals(&self) -> Vec<Rival> {
        let mut rivals = Vec::new();
        let mut add = |cluster: String, kind: &'static str, object: String| {
            if !cluster.is_empty() && !rivals.iter().any(|rival: &Rival| rival.cluster == cluster) {
                rivals.push(Rival { cluster, kind, object });
            }
        };
        for (kind, suffixes) in SUFFIXES {
            for (long, short) in
                suffixes.iter().flat_map(|long| suffixes.iter().map(move |short| (long, short)))
            {
                let Some(between) = long.strip_suffix(short).filter(|between| !between.is_empty()) else {
                    continue;
                };
                add(format!("{}{between}", self.cluster), kind, format!("{}{long}", self.cluster));
                if let Some(other) = self.cluster.strip_suffix(between) {
                    add(other.into(), kind, format!("{}{short}", self.cluster));
                }
            }
        }
        // The claims under which volumes are set aside end like an instance's.
        let claim = "PersistentVolumeClaim";
        for ordinal in 0..MAX_REPLICAS {
            let between = format!("-{ordinal}-aside");
            add(format!("{}{between}", self.cluster), claim, self.aside_claim(ordinal, 0));
            if let Some(other) = self.cluster.strip_suffix(&between) {
                add(other.into(), claim, self.claim(0));
            }
        }
        rivals
    }
    /// The pod of an ordinal, which is also the instance's name.
    pub fn pod(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.cluster)
    }
    /// The claim of an ordinal: `data-NAME-i`.
    pub fn claim(&self, ordinal: u32) -> String {
        format!("data-{}-{ordinal}", self.cluster)
    }
    /// The `n`th claim under which a volume of an ordinal is kept that could not be used any more.
    pub fn aside_claim(&self, ordinal: u32, n: u32) -> String {
        format!("{}-aside-{n}", self.claim(ordinal))
    }
    /// The ordinal whose volume a claim of this name keeps, if it has the form of [`Names::aside_claim`].
    pub fn ordinal_of_aside_claim(&self, claim: &str) -> Option<u32> {
        let (of, n) = claim.rsplit_once("-aside-")?;
        parse_ordinal(n)?;
        self.ordinal_of_claim(of)
    }
    /// The ordinal in the name of one of this cluster's pods.
    pub fn ordinal_of_pod(&self, pod: &str) -> Option<u32> {
        parse_ordinal(pod.strip_prefix(self.cluster.as_str())?.strip_prefix('-')?)
    }
    /// The ordinal in the name of one of this cluster's claims.
    pub fn ordinal_of_claim(&self, claim: &str) -> Option<u32> {
        self.ordinal_of_pod(claim.strip_prefix("data-")?)
    }
}

/// A cluster that would have a child of another's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Its name.
    pub cluster: String,
    /// The kind of the child that both would have.
    pub kind: &'static str,
    /// That child's name.
    pub object: String,
}

/// Only what a StatefulSet would write: no sign, no leading zero.
fn parse_ordinal(text: &str) -> Option<u32> {
    let ordinal: u32 = text.parse().ok()?;
    (ordinal.to_string() == text).then_some(ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_read_only_from_names_that_a_statefulset_writes() {
        let names = Names::new("db", "shop");
        assert_eq!(names.ordinal_of_pod("shop-0"), Some(0));
        assert_eq!(names.ordinal_of_claim("data-shop-8"), Some(8));
        for other in ["shop", "shop-", "shop-x", "shop-01", "shop-+1", "shopping-0", "shop-a-0"] {
            assert_eq!(names.ordinal_of_pod(other), None, "{other}");
        }
        assert_eq!(names.ordinal_of_claim(&names.aside_claim(2, 0)), None, "it is no instance's claim");
        assert_eq!(names.ordinal_of_aside_claim(&names.aside_claim(2, 11)), Some(2));
        for other in ["data-shop-2", "data-shop-2-aside-", "data-shop-2-aside-01", "data-x-2-aside-0"] {
            assert_eq!(names.ordinal_of_aside_claim(other), None, "{other}");
        }
    }

    /// Every name that a cluster's children can have, with their kinds.
    fn all(names: &Names) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("StatefulSet", names.base()),
            ("ServiceAccount", names.base()),
            ("Service", names.base()),
            ("Service", names.primary_service()),
            ("Service", names.read_service()),
            ("ConfigMap", names.config_map("0123abcd")),
            ("ConfigMap", names.old_config_map()),
            ("ConfigMap", names.ca_config_map()),
            ("Secret", names.credentials_secret()),
            ("Secret", names.ca_secret()),
            ("Secret", names.tls_secret()),
            ("Secret", names.operator_tls_secret()),
            ("PodDisruptionBudget", names.primary_pdb()),
            ("PodDisruptionBudget", names.replica_pdb()),
        ];
        for ordinal in 0..MAX_REPLICAS {
            all.push(("Pod", names.pod(ordinal)));
            all.push(("PersistentVolumeClaim", names.claim(ordinal)));
            all.extend((0..3).map(|n| ("PersistentVolumeClaim", names.aside_claim(ordinal, n))));
        }
        all
    }

    #[test]
    fn rivals_are_the_clusters_that_would_have_a_child_of_one_name_and_no_others() {
        let ends =
            ["", "-primary", "-read", "-replica", "-config", "-credentials", "-ca", "-tls", "-operator"];
        let more =
            ["-operator-tls", "-0", "-0-aside", "-8-aside", "-0-aside-0", "-config-0123abcd", "-aside"];
        let clusters: Vec<Names> =
            ends.iter().chain(&more).map(|end| Names::new("db", format!("x{end}"))).collect();
        for (a, b) in clusters.iter().flat_map(|a| clusters.iter().map(move |b| (a, b))) {
            if a == b {
                continue;
            }
            let theirs = all(b);
            let shared: Vec<_> = all(a).into_iter().filter(|object| theirs.contains(object)).collect();
            let rival = a.rivals().into_iter().find(|rival| rival.cluster == b.cluster);
            assert_eq!(rival.is_some(), !shared.is_empty(), "{} and {}: {shared:?}", a.cluster, b.cluster);
            if let Some(rival) = rival {
                assert!(shared.contains(&(rival.kind, rival.object.clone())), "{rival:?}: {shared:?}");
            }
        }
    }
}
