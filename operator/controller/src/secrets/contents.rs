//! What belongs into each Secret.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use mainstay_proto::password;
use mainstay_proto::pod::credentials;
use rand::distr::{Alphanumeric, SampleString};

use super::bytes;
use super::certificates::{self, CertificateError, Pair};

/// A Secret's data.
pub(super) type Data = BTreeMap<String, ByteString>;

const CA: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Length of passwords: 190 bits.
const PASSWORD: usize = 32;

/// What a Secret is for.
pub(super) enum Content {
    /// Passwords of the accounts.
    Credentials,
    /// The cluster's own certificate authority.
    Authority,
    /// A certificate of that authority for these DNS names.
    Certificate {
        /// Subject alternative names.
        names: Vec<String>,
    },
}

/// What makes a Secret's data, and when it is to be looked at again.
type Make = Box<dyn FnOnce() -> Result<(Data, Option<Timestamp>), CertificateError> + Send>;

/// What was found in a Secret.
pub(super) enum Finding {
    /// Nothing is to be done before this time.
    Good {
        /// When it is to be looked at again.
        renew_at: Option<Timestamp>,
    },
    /// It is to hold this instead.
    Make(Make),
}

impl Content {
    /// The DNS names, if it is a certificate.
    pub(super) fn names(&self) -> &[String] {
        match self {
            Content::Certificate { names } => names,
            Content::Credentials | Content::Authority => &[],
        }
    }

    /// The Secret's `type`.
    pub(super) fn type_(&self) -> &'static str {
        match self {
            Content::Credentials => "Opaque",
            Content::Authority | Content::Certificate { .. } => "kubernetes.io/tls",
        }
    }

    /// Looks into `present`, a Secret of the cluster `cluster`.
    ///
    /// # Errors
    /// If it can't be used and is not replaced, because others rely on it: the authority's.
    pub(super) fn look(
        &self,
        present: &Data,
        authority: Option<&Data>,
        cluster: &str,
        now: Timestamp,
    ) -> Result<Finding, CertificateError> {
        let cluster = cluster.to_owned();
        match self {
            Content::Credentials => Ok(credentials_in(present)),
            Content::Authority if present.is_empty() => Ok(Finding::Make(Box::new(move || {
                let pair = certificates::make_authority(&cluster, now)?;
                Ok((data(&pair, None), None))
            }))),
            Content::Authority => {
                certificates::check_authority(&pair(present), now)?;
                Ok(Finding::Good { renew_at: None })
            }
            Content::Certificate { names } => {
                let authority = authority.map(pair).unwrap_or_default();
                let same = present.get(CA).is_some_and(|ca| ca.0 == authority.certificate.as_bytes());
                match certificates::check(&pair(present), &authority.certificate, names, now) {
                    Ok(renew_at) if same => Ok(Finding::Good { renew_at: Some(renew_at) }),
                    Ok(_) | Err(_) => Ok(renewed(authority, cluster, names.clone(), now)),
                }
            }
        }
    }
}

fn renewed(authority: Pair, cluster: String, names: Vec<String>, now: Timestamp) -> Finding {
    Finding::Make(Box::new(move || {
        let pair = certificates::issue(&authority, &cluster, &names, now)?;
        let renew_at = certificates::check(&pair, &authority.certificate, &names, now)?;
        Ok((data(&pair, Some(&authority.certificate)), Some(renew_at)))
    }))
}

/// Passwords that are there stay, whatever they are: accounts have them.
fn credentials_in(present: &Data) -> Finding {
    let lacks = |key: &&str| {
        present.get(*key).is_none_or(|value| password::unfit(key, &value.0) == Some(password::Unfit::Empty))
    };
    if !credentials::KEYS.iter().any(lacks) {
        return Finding::Good { renew_at: None };
    }
    let mut all = present.clone();
    for key in credentials::KEYS.iter().filter(|key| lacks(key)) {
        all.insert((*key).into(), bytes(Alphanumeric.sample_string(&mut rand::rng(), PASSWORD)));
    }
    Finding::Make(Box::new(move || Ok((all, None))))
}

fn data(pair: &Pair, ca: Option<&str>) -> Data {
    let mut data = Data::from([
        (CERTIFICATE.into(), bytes(pair.certificate.as_str())),
        (KEY.into(), bytes(pair.key.as_str())),
    ]);
    if let Some(ca) = ca {
        data.insert(CA.into(), bytes(ca));
    }
    data
}

/// The authority's certificate, if that can be read: then it is no key.
pub(super) fn certificate_in(authority: &Data) -> Option<String> {
    let certificate = pair(authority).certificate;
    certificates::is_certificate(&certificate).then_some(certificate)
}

fn pair(data: &Data) -> Pair {
    let text = |key: &str| {
        data.get(key).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
    };
    Pair { certificate: text(CERTIFICATE), key: text(KEY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn look(content: &Content, present: &Data, authority: Option<&Data>, now: &str) -> Option<Data> {
        match content.look(present, authority, "shop", now.parse().unwrap()).unwrap() {
            Finding::Good { .. } => None,
            Finding::Make(make) => Some(make().unwrap().0),
        }
    }

    #[test]
    fn passwords_are_made_once_and_never_replaced() {
        let made = look(&Content::Credentials, &Data::new(), None, NOW).unwrap();
        assert_eq!(made.len(), 4);
        assert!(made.values().all(|p| p.0.len() == 32 && p.0.iter().all(u8::is_ascii_alphanumeric)));
        assert_eq!(made.values().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert!(look(&Content::Credentials, &made, None, NOW).is_none());
        let mut partial = made.clone();
        partial.remove(credentials::CLONE);
        let whole = look(&Content::Credentials, &partial, None, NOW).unwrap();
        assert_eq!(whole[credentials::ROOT], made[credentials::ROOT]);
        assert_eq!(whole.len(), 4);
        partial.insert(credentials::CLONE.into(), bytes("\n"));
        let whole = look(&Content::Credentials, &partial, None, NOW).unwrap();
        assert_eq!(whole[credentials::CLONE].0.len(), 32, "a line break is no password");
    }

    #[test]
    fn a_certificate_is_renewed_when_it_ends_or_its_names_or_its_authority_change() {
        let ca = look(&Content::Authority, &Data::new(), None, NOW).unwrap();
        let content =
            |names: &[&str]| Content::Certificate { names: names.iter().map(|n| (*n).into()).collect() };
        let one = content(&["a.db.svc"]);
        let made = look(&one, &Data::new(), Some(&ca), NOW).unwrap();
        assert!(look(&one, &made, Some(&ca), "2026-02-20T00:00:00Z").is_none(), "good for two thirds");
        assert!(look(&one, &made, Some(&ca), "2026-03-05T00:00:00Z").is_some(), "the last third");
        assert!(look(&content(&["a.db.svc", "b.db.svc"]), &made, Some(&ca), NOW).is_some(), "another name");
        let other = look(&Content::Authority, &Data::new(), None, NOW).unwrap();
        assert!(look(&one, &made, Some(&other), NOW).is_some(), "another authority");
        let mut mixed = made.clone();
        mixed.insert(KEY.into(), look(&one, &Data::new(), Some(&ca), NOW).unwrap()[KEY].clone());
        assert!(look(&one, &mixed, Some(&ca), NOW).is_some(), "another's key");
    }

    #[test]
    fn an_authority_that_cannot_be_read_is_not_replaced() {
        let garbage = Data::from([(CERTIFICATE.into(), bytes("x")), (KEY.into(), bytes("y"))]);
        assert!(Content::Authority.look(&garbage, None, "shop", NOW.parse().unwrap()).is_err());
    }
}
