//! Keys from where other S3 programs have them: the environment, and the file of profiles.

use super::Keys;
use std::path::Path;
use zeroize::Zeroizing;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file of profiles cannot be read.
    #[error("cannot read {file}: {source}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It has no such profile, or not with both keys.
    #[error("{file} has no profile '{profile}' with aws_access_key_id and aws_secret_access_key")]
    NoProfile {
        /// Which file.
        file: String,
        /// Which profile.
        profile: String,
    },
}

/// Keys of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, with `AWS_SESSION_TOKEN` if it is set.
pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Keys> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    Some(Keys {
        access: set("AWS_ACCESS_KEY_ID")?,
        secret: Zeroizing::new(set("AWS_SECRET_ACCESS_KEY")?),
        token: set("AWS_SESSION_TOKEN").map(Zeroizing::new),
    })
}

/// Keys of a profile in a file like `~/.aws/credentials`.
///
/// # Errors
/// The file or the profile is not there.
pub fn from_profile(file: &Path, profile: &str) -> Result<Keys, CredentialsError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|source| CredentialsError::Unreadable { file: name.clone(), source })?;
    parse(&Zeroizing::new(text), profile).ok_or(CredentialsError::NoProfile { file: name, profile: profile.to_owned() })
}

fn parse(text: &str, profile: &str) -> Option<Keys> {
    let mut inside = false;
    let (mut access, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = section.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => access = Some(value),
                "aws_secret_access_key" => secret = Some(Zeroizing::new(value)),
                "aws_session_token" => token = Some(Zeroizing::new(value)),
                _ => {}
            }
        }
    }
    Some(Keys { access: access?, secret: secret?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_among_others() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=x\n# c\n[ backup ]\naws_access_key_id=B\n\
                    aws_secret_access_key = y=z\naws_session_token=t\n[half]\naws_access_key_id=C\n";
        let keys = parse(text, "backup").unwrap();
        assert_eq!((keys.access.as_str(), keys.secret.as_str()), ("B", "y=z"));
        assert_eq!(keys.token.unwrap().as_str(), "t");
        assert!(parse(text, "half").is_none());
        assert!(parse(text, "none").is_none());
    }

    #[test]
    fn the_environment_needs_both() {
        let one = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "A".to_owned());
        assert!(from_environment(one).is_none());
        assert!(from_environment(|name| Some(name.to_owned())).is_some());
    }
}
