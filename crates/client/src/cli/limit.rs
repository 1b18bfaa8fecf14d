//! `limit`: how fast this device may send and receive, from now on.

use super::args::LimitArgs;
use super::exit::{Exit, Failure};
use super::out::Out;
use crate::home::Home;
use serde_json::json;

/// Changes what is given, and shows what counts then.
pub fn limit(home: &Home, wanted: LimitArgs, out: Out) -> Result<Exit, Failure> {
    let mut config = home.config()?;
    let changes = wanted.up.is_some() || wanted.down.is_some();
    config.limits.up = wanted.up.unwrap_or(config.limits.up);
    config.limits.down = wanted.down.unwrap_or(config.limits.down);
    if changes {
        home.save(&config)?;
    }
    let (up, down) = (config.limits.up.to_string(), config.limits.down.to_string());
    out.answer(&json!({ "up": up, "down": down }), || format!("Up:   {up}\nDown: {down}"));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Config, Token};

    #[test]
    fn what_is_not_given_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().join("home"))).unwrap();
        home.create(&Config::example(dir.path()), &Token::new("x".into())).unwrap();
        let set = |up: Option<&str>, down: Option<&str>| {
            let parse = |text: Option<&str>| text.map(|text| text.parse().unwrap());
            limit(&home, LimitArgs { up: parse(up), down: parse(down) }, Out::Text).unwrap();
            let limits = home.config().unwrap().limits;
            (limits.up.to_string(), limits.down.to_string())
        };
        let texts = |up: &str, down: &str| (up.to_owned(), down.to_owned());
        assert_eq!(set(Some("22:00-06:00=off, 1MiB/s"), None), texts("22:00-06:00=off, 1MiB/s", "off"));
        assert_eq!(set(None, Some("5Mbit/s")), texts("22:00-06:00=off, 1MiB/s", "5Mbit/s"));
        assert_eq!(set(None, None), texts("22:00-06:00=off, 1MiB/s", "5Mbit/s"));
        assert_eq!(set(Some("off"), Some("off")), texts("off", "off"));
        assert!(home.config().unwrap().limits.is_none());
    }
}
