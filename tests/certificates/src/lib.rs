//! Certificates that tests, examples and benches make for themselves, so that the repository has no key.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, RevocationReason, RevokedCertParams, SanType,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Of its key, and of those of its certificates.
    algorithm: &'static SignatureAlgorithm,
    /// Its certificate, in PEM.
    pub root: String,
    /// Its certificate, in DER.
    pub root_der: Vec<u8>,
}

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    serial: u64,
}

impl Authority {
    /// An authority with a new key.
    pub fn new(name: &str) -> Self {
        Self::with_keys_of(&PKCS_ECDSA_P256_SHA256, name)
    }

    /// An authority whose signatures, and those by the keys that it certifies, always have the same
    /// length. So handshakes have as many bytes each time.
    pub fn of_even_lengths(name: &str) -> Self {
        Self::with_keys_of(&PKCS_ED25519, name)
    }

    fn with_keys_of(algorithm: &'static SignatureAlgorithm, name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(algorithm).unwrap();
        let root = params.self_signed(&key).unwrap();
        Self {
            root: root.pem(),
            root_der: root.der().to_vec(),
            issuer: Issuer::new(params, key),
            algorithm,
        }
    }

    /// A certificate of a server with these names: hosts, or IP addresses.
    pub fn server(&self, names: &[&str]) -> Issued {
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        self.issue(1, names, purpose, |_| {})
    }

    /// A certificate of a client with a URI as its name, such as `spiffe://example.org/billing`.
    pub fn client(&self, uri: &str) -> Issued {
        self.numbered_client(2, uri)
    }

    /// The same, with a serial number, by which it can be [revoked](Self::revoked).
    pub fn numbered_client(&self, serial: u64, uri: &str) -> Issued {
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        self.issue(serial, &[], purpose, |params| {
            let uri = SanType::URI(uri.try_into().unwrap());
            params.subject_alt_names.push(uri);
        })
    }

    /// A certificate of a server that has expired.
    pub fn expired_server(&self, names: &[&str]) -> Issued {
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        self.issue(3, names, purpose, |params| {
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    /// A certificate of a client that has expired.
    pub fn expired_client(&self) -> Issued {
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        self.issue(3, &["client"], purpose, |params| {
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    /// A certificate of a client, with an extension of this length.
    pub fn long_client(&self, bytes: usize) -> Issued {
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        self.issue(4, &["client"], purpose, |params| {
            let extension =
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![7; bytes]);
            params.custom_extensions.push(extension);
        })
    }

    /// A list of revoked certificates, in PEM.
    pub fn revoked(&self, of: &[&Issued]) -> String {
        let revoked = of.iter().map(|issued| RevokedCertParams {
            serial_number: SerialNumber::from(issued.serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    fn issue(
        &self,
        serial: u64,
        names: &[&str],
        purpose: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = params("leaf", names);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate_for(self.algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            serial,
        }
    }
}

/// A certificate that its own key has signed, as `openssl req -x509` makes it.
pub fn self_signed(names: &[&str]) -> Issued {
    let mut params = params("own", names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    Issued {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
        serial: 0,
    }
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}
