use super::*;

fn identity(pod_uid: &str) -> Identity {
    Identity {
        cluster_id: "c".into(),
        ordinal: 1,
        pod_name: "shop-1".into(),
        pod_uid: pod_uid.into(),
        node: "a".into(),
        ..Identity::default()
    }
}

fn volume(root: &Path) -> Volume {
    let mut volume = Volume::new(root.to_owned(), identity("pod-uid"));
    volume.examine();
    volume
}

fn term(epoch: u64, revision: u64) -> Term {
    Term { epoch, revision }
}

/// What mysqld would leave behind.
fn fill(root: &Path) {
    fs::write(root.join("data/mysql.ibd"), "x").unwrap();
    fs::write(root.join("data/auto.cnf"), "[auto]\nserver-uuid=uuid-1\n").unwrap();
}

#[test]
fn a_directory_is_partial_until_its_operation_ends() {
    let root = crate::testing::directory();
    let mut volume = volume(&root);
    volume.begin(Kind::Initialize, "op", History::default()).unwrap();
    fill(&root);
    assert!(matches!(volume.directory(), Directory::Partial { operation, .. } if operation == "op"));
    assert!(volume.complete("another", "uuid-1").is_err());
    volume.complete("op", "uuid-1").unwrap();
    assert!(matches!(volume.directory(), Directory::Complete { .. }));
}

#[test]
fn a_partial_directory_is_wiped_as_a_whole_and_a_complete_one_never() {
    let root = crate::testing::directory();
    let mut volume = volume(&root);
    volume.begin(Kind::Clone, "op-1", History::default()).unwrap();
    fill(&root);
    volume.begin(Kind::Clone, "op-2", History::default()).unwrap();
    assert!(fs::read_dir(root.join(DATA)).unwrap().next().is_none());
    fill(&root);
    volume.complete("op-2", "uuid-1").unwrap();
    assert!(volume.begin(Kind::Clone, "op-3", History::default()).is_err());
    assert!(root.join("data/mysql.ibd").exists());
}

#[test]
fn nothing_of_others_is_wiped() {
    for marker in [None, Some("other")] {
        let root = crate::testing::directory();
        fs::create_dir(root.join(DATA)).unwrap();
        fill(&root);
        if let Some(cluster) = marker {
            // Another cluster's *partial* directory: not ours to judge.
            let mut theirs =
                Volume::new(root.to_owned(), Identity { cluster_id: cluster.into(), ..identity("x") });
            fs::remove_dir_all(root.join(DATA)).unwrap();
            theirs.examine();
            theirs.begin(Kind::Clone, "theirs", History::default()).unwrap();
            fill(&root);
        }
        assert!(volume(&root).begin(Kind::Initialize, "op", History::default()).is_err(), "{marker:?}");
        assert!(root.join("data/mysql.ibd").exists(), "{marker:?}");
    }
}

#[test]
fn the_highest_fence_survives_the_agent_once_there_is_a_marker() {
    let root = crate::testing::directory();
    {
        let mut first = volume(&root);
        first.raise(term(2, 7)).unwrap();
        first.begin(Kind::Initialize, "op", History::default()).unwrap();
        first.raise(term(2, 3)).unwrap();
        assert_eq!(first.highest(), term(2, 7));
    }
    let mut second = volume(&root);
    assert_eq!(second.highest(), term(2, 7));
    second.raise(term(3, 0)).unwrap();
    drop(second);
    assert_eq!(volume(&root).highest(), term(3, 0));
}

#[test]
fn without_the_lock_nothing_is_written() {
    let root = crate::testing::directory();
    let _first = volume(&root);
    let mut second = Volume::new(root.to_owned(), identity("second"));
    second.examine();
    assert!(matches!(second.directory(), Directory::Locked { holder } if holder.contains("uid pod-uid")));
    assert!(second.begin(Kind::Initialize, "op", History::default()).is_err());
    assert!(!root.join("mainstay.json").exists());
}
