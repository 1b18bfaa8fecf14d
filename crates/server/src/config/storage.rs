//! The chunk storage: what the `storage.*`, `s3.*` and `swift.*` keys mean together.

use super::{Values, table, text_of};
use crate::service::ByteWay;
use stacksync_storage::HttpSetup;
use stacksync_storage::bundled::Making;
use stacksync_storage::ftp::{FtpPlace, FtpTls};
use stacksync_storage::s3::{Keys, S3Place, Style};
use stacksync_storage::sftp::{SftpPlace, SftpSecret};
use stacksync_storage::swift::{Login, LoginVersion, SwiftPlace};

/// Where the chunks are kept, and how devices get there.
#[derive(Clone, Debug)]
pub struct StorageChoice {
    /// Where.
    pub place: StoragePlace,
    /// How.
    pub way: ByteWay,
    /// How the service reaches it.
    pub setup: HttpSetup,
    /// Whether new bundles of small chunks are made; `None` where there are none.
    pub bundles: Option<Making>,
}

/// Where the chunks are kept.
#[derive(Clone, Debug)]
pub enum StoragePlace {
    /// In the data directory.
    Folder,
    /// In a bucket.
    S3(Box<S3Choice>),
    /// In containers.
    Swift(Box<SwiftPlace>),
    /// On an FTP server.
    Ftp(Box<FtpPlace>),
    /// On an SFTP server.
    Sftp(Box<SftpPlace>),
}

/// A bucket. Keys that are not configured are looked for when it is opened.
#[derive(Clone, Debug)]
pub struct S3Choice {
    /// Where it is.
    pub place: S3Place,
    /// As configured.
    pub keys: Option<Keys>,
    /// Where keys are that neither the configuration nor the environment has.
    pub profile: String,
}

/// Builds it of values that were checked one by one.
pub(super) fn choice(values: &Values) -> Result<StorageChoice, String> {
    let text = |name: &str| table::find(name).map_or("", |key| text_of(key, values));
    let place = match text("storage") {
        "s3" => StoragePlace::S3(Box::new(s3(&text)?)),
        "swift" => StoragePlace::Swift(Box::new(swift(values, &text)?)),
        "ftp" => StoragePlace::Ftp(Box::new(ftp(&text)?)),
        "sftp" => StoragePlace::Sftp(Box::new(sftp(&text)?)),
        _ => StoragePlace::Folder,
    };
    let idle: &[&str] = if matches!(place, StoragePlace::Folder) { &["storage.relay", "storage.ca"] } else { &["storage.path"] };
    if let Some(key) = idle.iter().find(|key| values.contains_key(**key)) {
        return Err(format!("{key} has no effect with storage={}; remove it", text("storage")));
    }
    let way = match (text("storage.relay"), &place) {
        ("off", StoragePlace::Ftp(_) | StoragePlace::Sftp(_)) => {
            return Err("storage.relay=off: devices do not go to such a server; remove it".to_owned());
        }
        (_, StoragePlace::Folder | StoragePlace::Ftp(_) | StoragePlace::Sftp(_)) | ("only", _) => ByteWay::Relay,
        ("off", _) => ByteWay::Direct,
        (_, StoragePlace::S3(_) | StoragePlace::Swift(_)) => ByteWay::DirectOrRelay,
    };
    let bundles = match (text("storage.bundles"), &place) {
        ("off", StoragePlace::S3(_) | StoragePlace::Swift(_)) => Some(Making::Off),
        (_, StoragePlace::S3(_) | StoragePlace::Swift(_)) => Some(Making::On),
        ("", _) => None,
        _ => return Err(format!("storage.bundles has no effect with storage={}; remove it", text("storage"))),
    };
    let authorities = Some(text("storage.ca")).filter(|file| !file.is_empty()).map(Into::into);
    Ok(StorageChoice { place, way, setup: HttpSetup { authorities }, bundles })
}

fn s3<'a>(text: &impl Fn(&str) -> &'a str) -> Result<S3Choice, String> {
    let (region, bucket, prefix) = (text("s3.region"), text("s3.bucket"), text("s3.prefix"));
    if bucket.is_empty() {
        return Err("s3.bucket: say which bucket the chunks are kept in".to_owned());
    }
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte));
    if !plain(bucket) || bucket.contains('/') {
        return Err(format!("s3.bucket: '{bucket}' is not the name of a bucket"));
    }
    if !plain(prefix) || prefix.starts_with('/') {
        return Err(format!("s3.prefix: '{prefix}' may have letters, digits, - . _ and / within"));
    }
    let endpoint = match text("s3.endpoint").trim_end_matches('/') {
        "" => format!("https://s3.{region}.amazonaws.com"),
        given => given.to_owned(),
    };
    let public_endpoint = match text("s3.public_endpoint").trim_end_matches('/') {
        "" => endpoint.clone(),
        given => given.to_owned(),
    };
    let place = S3Place {
        endpoint,
        public_endpoint,
        region: region.to_owned(),
        bucket: bucket.to_owned(),
        prefix: if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") },
        style: if text("s3.style") == "host" { Style::Host } else { Style::Path },
    };
    Ok(S3Choice { place, keys: s3_keys(text)?, profile: text("s3.profile").to_owned() })
}

fn s3_keys<'a>(text: &impl Fn(&str) -> &'a str) -> Result<Option<Keys>, String> {
    let token = Some(text("s3.session_token")).filter(|token| !token.is_empty()).map(|token| token.to_owned().into());
    match (text("s3.access_key"), text("s3.secret_key")) {
        ("", "") if token.is_none() => Ok(None),
        ("", _) | (_, "") => Err("s3.access_key and s3.secret_key go together; set both or none".to_owned()),
        (access, secret) => Ok(Some(Keys { access: access.to_owned(), secret: secret.to_owned().into(), token })),
    }
}

fn swift<'a>(values: &Values, text: &impl Fn(&str) -> &'a str) -> Result<SwiftPlace, String> {
    let own = format!("{}://{}:{}", text("swift.protocol"), text("swift.host"), text("swift.port"));
    let keystone = format!("{}://{}:{}", text("swift.keystone_protocol"), text("swift.keystone_host"), text("swift.keystone_port"));
    let prefix = text("swift.containers");
    if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(format!("swift.containers: '{prefix}' may have letters, digits, - . and _"));
    }
    let version = match text("swift.auth") {
        "v1" => LoginVersion::V1,
        "v2" => LoginVersion::V2,
        _ => LoginVersion::V3,
    };
    let login = Login {
        version,
        address: if version == LoginVersion::V1 { own.clone() } else { keystone },
        user: text("swift.user").to_owned(),
        password: text("swift.password").to_owned().into(),
        project: text("swift.tenant").to_owned(),
        domain: text("swift.domain").to_owned(),
        storage: (version != LoginVersion::V1 && values.contains_key("swift.host")).then_some(own),
    };
    let public = text("swift.public_url").trim_end_matches('/');
    Ok(SwiftPlace { login, public_address: (!public.is_empty()).then(|| public.to_owned()), prefix: prefix.to_owned() })
}

fn ftp<'a>(text: &impl Fn(&str) -> &'a str) -> Result<FtpPlace, String> {
    let folder = text("ftp.folder").trim_end_matches('/');
    if folder.contains(['\r', '\n', '*', '?']) || folder.split('/').any(|part| part == "..") {
        return Err(format!("ftp.folder: '{folder}' is not the name of a folder"));
    }
    let number = |name: &str| text(name).parse().map_err(|error| format!("{name}: {error}"));
    Ok(FtpPlace {
        host: text("ftp.host").to_owned(),
        port: text("ftp.port").parse().map_err(|error| format!("ftp.port: {error}"))?,
        user: text("ftp.user").to_owned(),
        password: text("ftp.password").to_owned().into(),
        folder: folder.to_owned(),
        tls: if text("ftp.tls") == "off" { FtpTls::Off } else { FtpTls::Explicit },
        connections: number("ftp.connections")?,
    })
}

fn sftp<'a>(text: &impl Fn(&str) -> &'a str) -> Result<SftpPlace, String> {
    let folder = text("sftp.folder").trim_end_matches('/');
    if folder.split('/').any(|part| part == "..") {
        return Err(format!("sftp.folder: '{folder}' is not the name of a folder"));
    }
    let passphrase = Some(text("sftp.passphrase")).filter(|text| !text.is_empty()).map(|text| text.to_owned().into());
    let secret = match (text("sftp.key"), text("sftp.password")) {
        (key, "") if !key.is_empty() => SftpSecret::Key { file: key.into(), passphrase },
        ("", password) if !password.is_empty() => SftpSecret::Password(password.to_owned().into()),
        _ => return Err("sftp.key or sftp.password: set one of the two".to_owned()),
    };
    let known_hosts = match text("sftp.known_hosts") {
        "" => directories::BaseDirs::new()
            .map(|places| places.home_dir().join(".ssh/known_hosts"))
            .ok_or_else(|| "sftp.known_hosts: this user has no home directory; say where host keys are known".to_owned())?,
        file => file.into(),
    };
    Ok(SftpPlace {
        host: text("sftp.host").to_owned(),
        port: text("sftp.port").parse().map_err(|error| format!("sftp.port: {error}"))?,
        user: text("sftp.user").to_owned(),
        secret,
        known_hosts,
        folder: folder.to_owned(),
        requests: text("sftp.requests").parse().map_err(|error| format!("sftp.requests: {error}"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources, load};

    fn from(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.properties");
        std::fs::write(&file, text).unwrap();
        load(&Sources { file: Some(file), ..Sources::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_bucket_is_described() {
        let config =
            from("storage=s3\ns3.bucket=b\ns3.prefix=a/b\ns3.region=eu-west-1\ns3.access_key=k\ns3.secret_key=hunter2").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        let StoragePlace::S3(place) = config.storage.place else { panic!("not S3") };
        assert_eq!((&*place.place.endpoint, &*place.place.prefix), ("https://s3.eu-west-1.amazonaws.com", "a/b/"));
        assert_eq!(config.storage.way, ByteWay::DirectOrRelay);
    }

    #[test]
    fn swift_is_described_by_the_keys_of_the_original() {
        let config = from("storage=swift\nswift.keystone_host=k\nswift.password=hunter2").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        let StoragePlace::Swift(place) = config.storage.place else { panic!("not Swift") };
        assert_eq!((&*place.login.address, place.login.storage), ("http://k:5000", None));
        assert_eq!((&*place.login.user, &*place.login.project), ("stacksync_admin", "stacksync"));
        let config = from("storage=swift\nswift.auth=v1\nswift.host=s\nswift.user=a:b\nstorage.relay=only").unwrap();
        assert_eq!(config.storage.way, ByteWay::Relay);
        let StoragePlace::Swift(place) = config.storage.place else { panic!("not Swift") };
        assert_eq!(place.login.address, "http://s:8080");
    }

    #[test]
    fn what_is_wrong_says_what_to_do() {
        for (text, expected) in [
            ("storage=s3", "s3.bucket: say which bucket"),
            ("storage=s3\ns3.bucket=a/b", "'a/b' is not the name of a bucket"),
            ("storage=s3\ns3.bucket=b\ns3.prefix=/a", "s3.prefix"),
            ("storage=s3\ns3.bucket=b\ns3.access_key=k", "go together"),
            ("s3.bucket=b", "'s3.bucket' has no effect with storage=filesystem; set storage=s3 or remove it"),
            ("storage.relay=off", "storage.relay has no effect with storage=filesystem"),
            ("storage=ftp\nstorage.path=/x", "storage.path has no effect with storage=ftp"),
            ("storage=ftp\nstorage.relay=off", "devices do not go to such a server"),
            ("storage=ftp\nstorage.bundles=on", "storage.bundles has no effect with storage=ftp"),
            ("storage=sftp", "sftp.key or sftp.password"),
            ("storage=sftp\nsftp.password=x\nsftp.key=y", "sftp.key or sftp.password"),
            ("storage=ftp\nftp.folder=a/../b", "ftp.folder"),
            ("storage=swift\nswift.protocol=gopher", "'gopher' is not known; use http, https"),
        ] {
            let error = from(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
