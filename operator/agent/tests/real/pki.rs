//! Certificates as the operator would make them.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate with its key, as PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A cluster's certificates.
pub(crate) struct Pki {
    pub(crate) authority: String,
    pub(crate) instance: Pair,
    pub(crate) operator: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new(namespace: &str, cluster: &str) -> Pki {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Pki {
            authority,
            instance: pair(&issuer, &format!("*.{cluster}.{namespace}.svc"), 2100),
            operator: pair(&issuer, mainstay_proto::pod::OPERATOR_SAN, 2100),
            issuer,
        }
    }

    /// An instance's certificate whose time is over.
    #[allow(dead_code)]
    pub(crate) fn expired(&self, namespace: &str, cluster: &str) -> Pair {
        pair(&self.issuer, &format!("*.{cluster}.{namespace}.svc"), 2001)
    }

    /// The instances' certificate made anew, with another end.
    pub(crate) fn renewed(&self, namespace: &str, cluster: &str) -> Pair {
        pair(&self.issuer, &format!("*.{cluster}.{namespace}.svc"), 2101)
    }
}

fn pair(issuer: &Issuer<'_, KeyPair>, name: &str, until: i32) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, issuer).unwrap().pem();
    Pair { certificate, key: key.serialize_pem() }
}
