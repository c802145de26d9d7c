//! The cluster's own certificate authority, and the certificates that it issues.
//!
//! ECDSA on P-256 throughout: rustls and MySQL's OpenSSL both take it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use mainstay_crd::names::Names;
use mainstay_proto::pod::OPERATOR_SAN;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::{RootCertStore, crypto};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Days that an authority is good for.
const AUTHORITY_DAYS: i64 = 3653;
/// Days that a certificate is good for; it is renewed when two thirds of them are over.
const CERTIFICATE_DAYS: i64 = 90;

/// A certificate and its key, both PEM.
#[derive(Clone, Default)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Why a certificate was not made or is not fit. Says nothing of any key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// It was not made.
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// It can't be read.
    #[error("the {0} can't be read")]
    Unreadable(&'static str),
    /// It does not belong to the authority, or has ended.
    #[error("the certificate is not accepted: {0}")]
    Refused(String),
    /// It is for other names.
    #[error("the certificate is for other names")]
    Names,
    /// It ends soon.
    #[error("the certificate ends soon")]
    Expiring,
    /// The time is out of range.
    #[error("the time is out of range: {0}")]
    Time(#[from] jiff::Error),
}

/// DNS names of the instances and the Services of a cluster.
pub(super) fn instance_names(names: &Names) -> Vec<String> {
    let namespace = &names.namespace;
    let domains =
        [format!(".{namespace}"), format!(".{namespace}.svc"), format!(".{namespace}.svc.cluster.local")];
    let mut all = vec!["localhost".to_owned()];
    for service in [names.base(), names.primary_service(), names.read_service()] {
        all.extend(domains.iter().map(|domain| format!("{service}{domain}")));
        all.push(service);
    }
    all.extend(domains.iter().map(|domain| format!("*.{}{domain}", names.base())));
    all
}

/// DNS names of the operator.
pub(super) fn operator_names() -> Vec<String> {
    vec![OPERATOR_SAN.to_owned()]
}

/// Makes an authority for a cluster.
///
/// # Errors
/// If no key can be made.
pub(super) fn make_authority(cluster: &str, now: Timestamp) -> Result<Pair, CertificateError> {
    let mut params = params(&format!("{cluster} authority"), &[], now, AUTHORITY_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Issues a certificate for `names`, to serve and to connect with.
///
/// # Errors
/// If `authority` can't be used.
pub(super) fn issue(
    authority: &Pair,
    cluster: &str,
    names: &[String],
    now: Timestamp,
) -> Result<Pair, CertificateError> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let mut params = params(cluster, names, now, CERTIFICATE_DAYS)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(
    name: &str,
    names: &[String],
    now: Timestamp,
    days: i64,
) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Good from the day before, for nodes whose clocks are behind.
    let (from, to) = (day(now, -1)?, day(now, days)?);
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
    Ok(params)
}

/// Year, month and day `days` after `now`, in UTC.
fn day(now: Timestamp, days: i64) -> Result<(i32, u8, u8), CertificateError> {
    let date = now.to_zoned(TimeZone::UTC).date().checked_add(Span::new().try_days(days)?)?;
    Ok((date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs()))
}

/// Checks that certificates can be issued with `authority`.
///
/// # Errors
/// If it can't be read, its key is another's, or it has ended.
pub(super) fn check_authority(authority: &Pair, now: Timestamp) -> Result<(), CertificateError> {
    let der = certificate(&authority.certificate)?;
    let (_, parsed) =
        X509Certificate::from_der(&der).map_err(|_| CertificateError::Unreadable("certificate"))?;
    // Verifiers do not ask whether what they trust has ended.
    if now.as_second() >= parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Refused("it has ended".into()));
    }
    let probe = [OPERATOR_SAN.to_owned()];
    let issued = issue(authority, "probe", &probe, now)?;
    check(&issued, &authority.certificate, &probe, now)?;
    Ok(())
}

/// Checks that `pair` is what [`issue`] would make, and returns when it is to be renewed.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(
    pair: &Pair,
    authority: &str,
    names: &[String],
    now: Timestamp,
) -> Result<Timestamp, CertificateError> {
    let certificate = certificate(&pair.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())
        .map_err(|_| CertificateError::Unreadable("key"))?;
    let provider = Arc::new(crypto::ring::default_provider());
    rustls::sign::CertifiedKey::from_der(vec![certificate.clone()], key, &provider).map_err(refused)?;
    let (_, parsed) =
        X509Certificate::from_der(&certificate).map_err(|_| CertificateError::Unreadable("certificate"))?;
    let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    if names_in(&parsed)? != wanted {
        return Err(CertificateError::Names);
    }
    verify(&certificate, self::certificate(authority)?, names, now, provider)?;
    let (from, to) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
    let renew_at = Timestamp::from_second(from + (to - from) / 3 * 2)?;
    if now >= renew_at { Err(CertificateError::Expiring) } else { Ok(renew_at) }
}

/// Whether the PEM holds certificates and nothing else: it is shown to everybody.
pub(super) fn is_certificate(pem: &str) -> bool {
    let begins = |line: &str| line.trim_start().starts_with("-----BEGIN ");
    certificate(pem).is_ok()
        && pem.lines().filter(|line| begins(line)).all(|line| line.contains("BEGIN CERTIFICATE-"))
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertificateError::Unreadable("certificate"))
}

fn names_in<'a>(certificate: &'a X509Certificate<'_>) -> Result<BTreeSet<&'a str>, CertificateError> {
    let extension =
        certificate.subject_alternative_name().map_err(|_| CertificateError::Unreadable("certificate"))?;
    let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
        .collect())
}

/// As the other end will verify it.
fn verify(
    certificate: &CertificateDer<'_>,
    authority: CertificateDer<'static>,
    names: &[String],
    now: Timestamp,
    provider: Arc<crypto::CryptoProvider>,
) -> Result<(), CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(refused)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| CertificateError::Refused(error.to_string()))?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_second().unsigned_abs()));
    for name in names {
        let name = ServerName::try_from(name.replace('*', "any")).map_err(|_| CertificateError::Names)?;
        verifier.verify_server_cert(certificate, &[], &name, &[], now).map_err(refused)?;
    }
    Ok(())
}

fn refused(error: rustls::Error) -> CertificateError {
    CertificateError::Refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_proto::pod;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_instance_certificate_covers_instances_and_services_and_nothing_else() {
        let names = instance_names(&Names::new("db", "shop"));
        let ca = make_authority("shop", now()).unwrap();
        let pair = issue(&ca, "shop", &names, now()).unwrap();
        assert!(check(&pair, &ca.certificate, &names, now()).is_ok());
        let (der, root) = (certificate(&pair.certificate).unwrap(), certificate(&ca.certificate).unwrap());
        let accepts = |name: &str| {
            let provider = Arc::new(crypto::ring::default_provider());
            verify(&der, root.clone(), &[name.into()], now(), provider).is_ok()
        };
        for name in [pod::host("db", "shop", 4).as_str(), "shop-primary.db.svc", "shop-read", "localhost"] {
            assert!(accepts(name), "{name}");
        }
        for name in [pod::host("db", "other", 0).as_str(), &pod::host("dc", "shop", 0), OPERATOR_SAN] {
            assert!(!accepts(name), "{name}");
        }
    }

    #[test]
    fn a_certificate_of_another_authority_is_refused() {
        let names = operator_names();
        let (ours, theirs) = (make_authority("a", now()).unwrap(), make_authority("a", now()).unwrap());
        let pair = issue(&theirs, "a", &names, now()).unwrap();
        let error = check(&pair, &ours.certificate, &names, now()).unwrap_err();
        assert!(matches!(error, CertificateError::Refused(_)), "{error}");
    }

    #[test]
    fn an_authority_is_good_for_ten_years_and_no_longer() {
        let ca = make_authority("a", now()).unwrap();
        assert!(check_authority(&ca, "2035-12-01T00:00:00Z".parse().unwrap()).is_ok());
        assert!(check_authority(&ca, "2036-02-01T00:00:00Z".parse().unwrap()).is_err());
    }
}
